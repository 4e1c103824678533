// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"embed"
	"flag"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"mcr/dataplane/plan"
)

var update = flag.Bool("update", false, "write what this kernel says of each kind of link to testdata/links")

//go:embed testdata/links
var golden embed.FS

// kind is a kind of link, what the kernel says of it, and what is made of that for a static output.
type kind struct {
	name   string
	make   netlink.Link // nil: it exists where the one before does
	want   Link
	static string
}

func kinds() []kind {
	near, far, group := net.IPv4(192, 0, 2, 1), net.IPv4(192, 0, 2, 2), net.IPv4(239, 9, 9, 9)
	local, remote := ip("192.0.2.1"), ip("192.0.2.2")
	attrs := func(name string) netlink.LinkAttrs {
		a := netlink.NewLinkAttrs()
		a.Name = name
		return a
	}
	found := "192.0.2.2 outer-remote"
	return []kind{
		{"ipip", &netlink.Iptun{LinkAttrs: attrs("ipip"), Local: near, Remote: far}, Link{Kind: "ipip", Type: "ipip", PointPoint: true, NoARP: true, OuterLocal: local, OuterRemote: remote}, found},
		{"ipip-any", &netlink.Iptun{LinkAttrs: attrs("ipip-any"), Local: near}, Link{Kind: "ipip", Type: "ipip", NoARP: true, OuterLocal: local}, "multipoint"},
		{"gre", &netlink.Gretun{LinkAttrs: attrs("gre"), Local: near, Remote: far}, Link{Kind: "gre", Type: "gre", PointPoint: true, NoARP: true, OuterLocal: local, OuterRemote: remote}, found},
		{"gre-any", &netlink.Gretun{LinkAttrs: attrs("gre-any"), Local: near}, Link{Kind: "gre", Type: "gre", NoARP: true, OuterLocal: local}, "multipoint"},
		{"gre-external", &netlink.Gretun{LinkAttrs: attrs("gre-external"), Local: near, FlowBased: true}, Link{Kind: "gre", Type: "none", NoARP: true, External: true}, "collect-metadata"},
		{
			"gre-group", &netlink.Gretun{LinkAttrs: attrs("gre-group"), Local: near, Remote: group},
			Link{Kind: "gre", Type: "gre", PointPoint: true, OuterLocal: local, OuterRemote: ip("239.9.9.9")},
			"239.9.9.9 outer-remote=multicast-remote; multicast-remote",
		},
		{"gre0", nil, Link{Kind: "gre", Type: "gre", NoARP: true}, "multipoint"},
		{"gretap", &netlink.Gretap{LinkAttrs: attrs("gretap"), Local: near, Remote: far}, Link{Kind: "gretap", Type: "ether", Multicast: true, OuterLocal: local, OuterRemote: remote}, "no-peer-information"},
		{"sit", &netlink.Sittun{LinkAttrs: attrs("sit"), Local: near, Remote: far}, Link{Kind: "sit", Type: "sit", PointPoint: true, NoARP: true, OuterLocal: local, OuterRemote: remote}, found},
		{"vti", &netlink.Vti{LinkAttrs: attrs("vti"), Local: near, Remote: far, IKey: 7, OKey: 7}, Link{Kind: "vti", Type: "ipip", PointPoint: true, NoARP: true, OuterLocal: local, OuterRemote: remote}, found},
		{"vxlan", &netlink.Vxlan{LinkAttrs: attrs("vxlan"), VxlanId: 7, SrcAddr: near, Group: far, Port: 4789}, Link{Kind: "vxlan", Type: "ether", Multicast: true, OuterLocal: local, OuterRemote: remote}, "no-peer-information"},
		{"geneve", &netlink.Geneve{LinkAttrs: attrs("geneve"), ID: 7, Remote: far}, Link{Kind: "geneve", Type: "ether", Multicast: true, OuterRemote: remote}, "no-peer-information"},
		{"wireguard", &netlink.Wireguard{LinkAttrs: attrs("wireguard")}, Link{Kind: "wireguard", Type: "none", PointPoint: true, NoARP: true}, "no-peer-information"},
		{"tun", &netlink.Tuntap{LinkAttrs: attrs("tun"), Mode: netlink.TUNTAP_MODE_TUN}, Link{Kind: "tun", Type: "none", PointPoint: true, NoARP: true, Multicast: true}, "no-peer-information"},
		{"dummy", &netlink.Dummy{LinkAttrs: attrs("dummy")}, Link{Kind: "dummy", Type: "ether", NoARP: true}, "no-peer-information"},
		{"veth", veth("veth", "veth-peer"), Link{Kind: "veth", Type: "ether", Multicast: true}, "no-peer-information"},
	}
}

// check compares a link as it was read, and its resolution.
func (k kind) check(t *testing.T, l *Link) {
	t.Helper()
	if diff := cmp.Diff(k.want, *l, cmpopts.EquateComparable(netip.Addr{}),
		cmpopts.IgnoreFields(Link{}, "Index", "Name", "MTU", "Up", "Running", "Oper", "LastChange")); diff != "" {
		t.Errorf("link (-want +got):\n%s", diff)
	}
	if got := brief(Resolve(l, isOwn, nil, Holder{})); got != k.static {
		t.Errorf("resolved to %q, want %q", got, k.static)
	}
}

// P2.1, P2.2, P2.3: what the kernel says of each kind, and what is made of it.
func TestP2_1_Kinds(t *testing.T) {
	inNamespace(t)
	missing := map[string]error{}
	for _, k := range kinds() {
		if k.make != nil {
			missing[k.name] = netlink.LinkAdd(k.make)
		} else {
			_, missing[k.name] = netlink.LinkByName(k.name)
		}
	}
	m, err := Open(discard())
	must(t, err)
	defer m.Close()
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			if err := missing[k.name]; err != nil {
				t.Skipf("SKIPPED: this kernel makes none: %v", err)
			}
			l := m.Snapshot().Link(k.name)
			if l == nil {
				t.Fatal("it is not there")
			}
			k.check(t, l)
			if *update {
				must(t, m.conn.ask(unix.RTM_GETLINK, 0, linkRequest(l.Index), func(b []byte) {
					must(t, os.WriteFile(filepath.Join("testdata", "links", k.name+".bin"), b, 0o644))
				}))
			}
		})
	}
}

// P2.1: the same for what Linux 6.1.192 (Debian 12) said, so that it is tested where the drivers are not.
func TestP2_1_GoldenLinks(t *testing.T) {
	said := goldenLinks(t)
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			data := said[k.name]
			l, ok := parseLink(data)
			if !ok {
				t.Fatalf("%d bytes are refused", len(data))
			}
			k.check(t, l)
			for n := range data { // cut off anywhere it is a link still, or none
				if l, ok := parseLink(data[:n]); ok && l.Name != k.name {
					t.Errorf("cut off after %d bytes its name is %q", n, l.Name)
				}
			}
		})
	}
	if len(said) != len(kinds()) {
		t.Errorf("%d golden messages, %d kinds", len(said), len(kinds()))
	}
}

// goldenLinks returns the RTM_NEWLINK messages in testdata/links, by name.
func goldenLinks(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := golden.ReadDir("testdata/links")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, f := range files {
		if out[strings.TrimSuffix(f.Name(), ".bin")], err = golden.ReadFile("testdata/links/" + f.Name()); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// P2.6: another remote of the same tunnel is told, with what else moved.
func TestP2_6_RemoteChanges(t *testing.T) {
	inNamespace(t)
	to := func(last byte) *netlink.Iptun {
		return &netlink.Iptun{LinkAttrs: netlink.LinkAttrs{Name: "ipip1"}, Local: net.IPv4(192, 0, 2, 1), Remote: net.IPv4(192, 0, 2, last)}
	}
	tun := to(2)
	if err := netlink.LinkAdd(tun); err != nil {
		t.Skipf("SKIPPED: this kernel has no ipip: %v", err)
	}
	must(t, netlink.LinkSetUp(tun))
	m := start(t)
	must(t, netlink.LinkModify(to(3)))
	ev := await(t, m, "the new remote", func(ev Event) bool {
		l := ev.Snapshot.Link("ipip1")
		return l != nil && l.OuterRemote == ip("192.0.2.3")
	})
	if !ev.Touched[plan.IfIndex(tun.Index)] {
		t.Error("the tunnel is not among the touched")
	}
}

// P2.2, P2.3, P2.6: peers of a real interface. No notice tells of one that is added: the route to it does, or the audit.
func TestP2_2_WireGuard(t *testing.T) {
	inNamespace(t)
	wg := &netlink.Wireguard{LinkAttrs: netlink.LinkAttrs{Name: "wg0"}}
	if err := netlink.LinkAdd(wg); err != nil {
		t.Skipf("SKIPPED: this kernel has no wireguard: %v", err)
	}
	must(t, netlink.LinkSetUp(wg))
	addr, err := netlink.ParseAddr("10.5.0.1/24")
	must(t, err)
	must(t, netlink.AddrAdd(wg, addr))
	client, err := wgctrl.New()
	must(t, err)
	defer client.Close()
	peers := func(replace bool, hosts ...string) {
		t.Helper()
		c := wgtypes.Config{ReplacePeers: replace}
		for _, h := range hosts {
			key, err := wgtypes.GenerateKey()
			must(t, err)
			c.Peers = append(c.Peers, wgtypes.PeerConfig{PublicKey: key.PublicKey(), AllowedIPs: []net.IPNet{ipNet(h + "/32")}})
		}
		must(t, client.ConfigureDevice("wg0", c))
	}
	resolved := func(want string) func(Event) bool {
		return func(ev Event) bool {
			got := strings.Split(brief(Resolve(ev.Snapshot.Link("wg0"), isOwn, nil, Holder{})), "; ")
			slices.Sort(got) // the order of peers is that of their keys
			return strings.Join(got, "; ") == want
		}
	}
	peers(true, "10.5.0.2")
	m := start(t)
	if s := (Event{Snapshot: m.Snapshot()}); !resolved("10.5.0.2 wireguard-peer")(s) {
		t.Fatalf("wg0 is %+v", *m.Snapshot().Link("wg0"))
	}
	peers(false, "10.6.0.2")
	route := &netlink.Route{LinkIndex: wg.Index, Dst: new(ipNet("10.6.0.2/32"))}
	must(t, netlink.RouteAdd(route))
	ev := await(t, m, "the second peer, by its route", resolved("10.5.0.2 wireguard-peer=several-peers; 10.6.0.2 wireguard-peer=several-peers; several-peers"))
	if !ev.Touched[plan.IfIndex(wg.Index)] {
		t.Error("wg0 is not among the touched")
	}
	peers(true, "10.5.0.7")
	m.SetAudit(50 * time.Millisecond)
	await(t, m, "the only peer, by the audit", resolved("10.5.0.7 wireguard-peer"))
}
