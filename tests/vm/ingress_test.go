// SPDX-License-Identifier: Apache-2.0

package vm_test

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/openconfig/ygot/ygot"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"mcr/tests/lab"
)

// ingress is a kind of interface that a stream comes in by, named the same on both sides.
type ingress struct {
	name string
	kind string // of link, that a kernel may lack; "": every kernel has it
	make func(n *net3, name string)
}

// net3 is a source and a router that many kinds of link join, and a receiver.
//
//	src                     rtr: mcrd                      dst
//	KIND 10.I.0.1/24 ────── KIND 10.I.0.2/24
//	                        out 10.200.0.1/24 ──────────── eth0 10.200.0.2/24
type net3 struct {
	*lab.Lab
	src, rtr, dst *lab.Host
	from, to      string // addresses of the kind at hand, with prefix
}

func (n *net3) cable(name string) { n.Link(n.src, name, "", n.rtr, name, "") }

func (n *net3) addresses(name string) {
	n.src.Addr(name, n.from)
	n.rtr.Addr(name, n.to)
}

// outer is a cable for a tunnel, with these addresses.
func (n *net3) outer(name, src, rtr string) { n.Link(n.src, name, src+"/24", n.rtr, name, rtr+"/24") }

func vrf(name string) *netlink.Vrf { return &netlink.Vrf{LinkAttrs: lab.Attrs(name), Table: 10} }

func under(name string, parent int) netlink.LinkAttrs {
	a := lab.Attrs(name)
	a.ParentIndex = parent
	return a
}

var ingresses = []ingress{
	{"veth", "", func(n *net3, name string) { n.Link(n.src, name, n.from, n.rtr, name, n.to) }},
	{"jumbo", "", func(n *net3, name string) {
		n.Link(n.src, name, n.from, n.rtr, name, n.to)
		n.src.MTU(name, 9000)
		n.rtr.MTU(name, 9000)
	}},
	{"nouso", "", func(n *net3, name string) {
		n.Link(n.src, name, n.from, n.rtr, name, n.to)
		n.src.NoSegmentationOffload(name)
	}},
	{"vlan", "vlan", func(n *net3, name string) {
		n.cable("trunk")
		for _, h := range []*lab.Host{n.src, n.rtr} {
			h.Add(&netlink.Vlan{LinkAttrs: under(name, h.Index("trunk")), VlanId: 7, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q})
		}
		n.addresses(name)
	}},
	{"macvlan", "macvlan", func(n *net3, name string) {
		n.cable("lower")
		n.src.Add(&netlink.Macvlan{LinkAttrs: under(name, n.src.Index("lower")), Mode: netlink.MACVLAN_MODE_BRIDGE})
		n.rtr.Add(&netlink.Macvlan{LinkAttrs: under(name, n.rtr.Index("lower")), Mode: netlink.MACVLAN_MODE_BRIDGE})
		n.addresses(name)
	}},
	{"bridge", "bridge", func(n *net3, name string) {
		n.Link(n.src, name, n.from, n.rtr, "port", "")
		n.rtr.Add(&netlink.Bridge{LinkAttrs: lab.Attrs(name)})
		n.rtr.Run("ip", "link", "set", "port", "master", name)
		n.rtr.Addr(name, n.to)
		n.rtr.Up(name)
	}},
	{"bond", "bond", func(n *net3, name string) {
		n.Link(n.src, name, n.from, n.rtr, "slave", "")
		n.rtr.Run("ip", "link", "add", name, "type", "bond", "mode", "active-backup", "miimon", "10")
		n.rtr.Down("slave")
		n.rtr.Run("ip", "link", "set", "slave", "master", name)
		n.rtr.Addr(name, n.to)
		n.rtr.Up(name)
	}},
	{"vrf", "vrf", func(n *net3, name string) {
		n.cable(name)
		n.rtr.Add(vrf("vrf0"))
		n.rtr.Run("ip", "link", "set", "dev", name, "master", "vrf0")
		n.addresses(name)
	}},
	{"tun", "", func(n *net3, name string) { n.TunLink(n.src, name, n.from, n.rtr, name, n.to) }},
	{"gre", "gre", func(n *net3, name string) {
		n.outer("u-gre", "172.16.1.1", "172.16.1.2")
		n.src.Run("ip", "tunnel", "add", name, "mode", "gre", "local", "172.16.1.1", "remote", "172.16.1.2", "ttl", "16")
		n.rtr.Run("ip", "tunnel", "add", name, "mode", "gre", "local", "172.16.1.2", "remote", "172.16.1.1", "ttl", "16")
		n.addresses(name)
		n.rtr.Up(name)
		n.src.Up(name)
	}},
	{"ipip", "ipip", func(n *net3, name string) {
		n.outer("u-ipip", "172.16.2.1", "172.16.2.2")
		n.src.Run("ip", "tunnel", "add", name, "mode", "ipip", "local", "172.16.2.1", "remote", "172.16.2.2", "ttl", "16")
		n.rtr.Run("ip", "tunnel", "add", name, "mode", "ipip", "local", "172.16.2.2", "remote", "172.16.2.1", "ttl", "16")
		n.addresses(name)
		n.rtr.Up(name)
		n.src.Up(name)
	}},
	{"wg", "wireguard", func(n *net3, name string) {
		n.outer("u-wg", "172.16.3.1", "172.16.3.2")
		n.src.Add(&netlink.Wireguard{LinkAttrs: lab.Attrs(name)})
		n.rtr.Add(&netlink.Wireguard{LinkAttrs: lab.Attrs(name)})
		n.addresses(name)
		wireguard(n, name)
	}},
}

// wireguard makes the two ends know each other; what one of them may send and the other may take is any address.
func wireguard(n *net3, name string) {
	dir, err := os.MkdirTemp("", "wg-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	key := func(file string) (path, public string) {
		k, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			panic(err)
		}
		path = filepath.Join(dir, file)
		if err := os.WriteFile(path, []byte(base64.StdEncoding.EncodeToString(k.Bytes())), 0o600); err != nil {
			panic(err)
		}
		return path, base64.StdEncoding.EncodeToString(k.PublicKey().Bytes())
	}
	srcKey, srcPublic := key("src")
	rtrKey, rtrPublic := key("rtr")
	n.src.Run("wg", "set", name, "listen-port", "51820", "private-key", srcKey,
		"peer", rtrPublic, "endpoint", "172.16.3.2:51820", "allowed-ips", "0.0.0.0/0")
	n.rtr.Run("wg", "set", name, "listen-port", "51820", "private-key", rtrKey,
		"peer", srcPublic, "endpoint", "172.16.3.1:51820", "allowed-ips", "0.0.0.0/0")
}

// receiveMethods are what the tests of each kind of interface run with.
var receiveMethods = []string{"socket", "packet"}

// feeds are the streams of one test, by the last digit of the port. Each is of 48 datagrams.
var feeds = []struct {
	name string
	lab.Stream
	only string // the kind of interface that it is for; "": all
}{
	{"mixed", lab.Stream{Sizes: []int{1316, 0, 1, 33, 1400, 28}}, ""},
	{"fragments", lab.Stream{Sizes: []int{3000, 1316, 9001}}, ""},
	{"segmented", lab.Stream{Size: 1000, Segments: 16}, ""},
	{"jumbo", lab.Stream{Size: 8900}, "jumbo"},
}

// D5, P1.8: whatever the kind of interface, each datagram that comes in by it leaves once, unchanged and in order: small and
// empty ones, fragments, jumbo frames, and what a sender left to segmentation.
func TestD5_Ingress(t *testing.T) {
	l := lab.New(t)
	n := &net3{Lab: l, src: l.Host("src"), rtr: l.Host("rtr"), dst: l.Host("dst")}
	l.Link(n.rtr, "out", "10.200.0.1/24", n.dst, "eth0", "10.200.0.2/24")
	n.rtr.Neigh("out", "10.200.0.2", n.dst.MAC("eth0"))
	probe := l.Host("probe")
	const count = 48
	type stream struct {
		name, kind string
		lab.Stream
		sink *lab.Sink
	}
	var (
		streams []*stream
		rules   strings.Builder
		kinds   []string
	)
	has := map[string]bool{}
	for i, in := range ingresses {
		kinds = append(kinds, in.name)
		if in.kind != "" && !hasKind(t, probe, in.kind) {
			continue
		}
		has[in.name] = true
		n.from, n.to = fmt.Sprintf("10.%d.0.1/24", i+1), fmt.Sprintf("10.%d.0.2/24", i+1)
		in.make(n, in.name)
		for m, method := range receiveMethods {
			group := fmt.Sprintf("239.1.%d.%d", i+1, m+1)
			for f, feed := range feeds {
				if feed.only != "" && feed.only != in.name {
					continue
				}
				if feed.Segments > 0 && method == "packet" && before6_2(t) { // a packet socket cannot read them: dropped-gso
					continue
				}
				if feed.Segments > 0 && refusesSegments(t, n.src, in.name, group+":9") { // a TUN device before 6.2
					continue
				}
				port := uint16(5000 + 100*i + 10*m + f)
				fmt.Fprintf(&rules, `{ input: { interface: %q, group: %q, port: %d, receive_method: %q }, outputs: [{ interface: "out", unicast_dest: "10.200.0.2" }] },`,
					in.name, group, port, method)
				s := &stream{name: in.name + "/" + method + "/" + feed.name, kind: in.name, Stream: feed.Stream}
				s.Iface, s.Group, s.Port, s.Count, s.Rate, s.TTL = in.name, group, port, count, 400, 5
				s.sink = n.dst.Sink(fmt.Sprintf("10.200.0.2:%d", port))
				streams = append(streams, s)
			}
		}
	}
	n.rtr.MCRD(lab.MCRDConfig{Config: "{ rules: [" + rules.String() + "] }"})
	var senders []*lab.Sender
	for _, s := range streams {
		senders = append(senders, n.src.StartSend(s.Stream))
	}
	for _, s := range streams {
		s.sink.Wait(1, lab.Patience(10*time.Second)) // ARP and the tunnels' handshakes are done when the first is there
	}
	for i, s := range senders {
		for s.Sent() < count {
			streams[i].sink.Quiet(10 * time.Millisecond)
		}
		s.Stop()
	}
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			if !has[kind] {
				t.Skipf("this kernel has no %s", kind)
			}
			for _, s := range streams {
				if s.kind == kind {
					t.Run(strings.TrimPrefix(s.name, kind+"/"), func(t *testing.T) { clean(t, s.sink, count) })
				}
			}
		})
	}
}

// before6_2 says that the kernel is older than Linux 6.2.
func before6_2(t *testing.T) bool {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	return major < 6 || (major == 6 && minor < 2)
}

// clean demands that a sink has n datagrams, each once, unchanged and in order.
func clean(t *testing.T, s *lab.Sink, n uint64) {
	t.Helper()
	deadline := time.Now().Add(lab.Patience(10 * time.Second))
	for _, distinct, more := s.Counts(); distinct < n; _, distinct, more = s.Counts() {
		select {
		case <-more:
			continue
		case <-time.After(time.Until(deadline)):
		}
		break
	}
	s.Quiet(100 * time.Millisecond)
	if r := s.Report(n); r.Received != n || !r.Clean() {
		t.Errorf("want %d datagrams, clean\n%s", n, s)
	}
}

// D5: on a bridge port and a bond's slave nothing arrives: an input there, and an output, is down with a reason that names the
// master, and comes up when the interface is on its own again.
func TestD5_EnslavedInterfaces(t *testing.T) {
	for _, kind := range []string{"bridge", "bond"} {
		t.Run(kind, func(t *testing.T) {
			l := lab.New(t)
			src, rtr := l.Host("src"), l.Host("rtr")
			if !hasKind(t, rtr, kind) {
				t.Skipf("this kernel has no %s", kind)
			}
			l.Link(src, "eth0", "10.0.1.1/24", rtr, "eth0", "10.0.1.2/24")
			l.Link(rtr, "out", "10.0.2.1/24", src, "eth1", "10.0.2.2/24")
			sink := src.Sink("10.0.2.2:5000")
			rtr.Run("ip", "link", "add", "master0", "type", kind)
			free := func() { rtr.Run("ip", "link", "set", "eth0", "nomaster"); rtr.Up("eth0") }
			enslave := func() {
				rtr.Down("eth0") // or a bond will not have it
				rtr.Run("ip", "link", "set", "eth0", "master", "master0")
				rtr.Up("eth0")
			}
			d := rtr.MCRD(lab.MCRDConfig{Config: `{ rules: [{
				name: "r", input: { interface: "eth0", group: "239.1.1.1", port: 5000 },
				outputs: [{ interface: "out", unicast_dest: "10.0.2.2", port: 5000 }, { name: "back", interface: "eth0", unicast_dest: "10.0.1.1", port: 5001 }],
			}] }`})
			feed := lab.Stream{Iface: "eth0", Group: "239.1.1.1", Port: 5000, Count: 50, Rate: 500}
			src.Send(feed)
			sink.Exactly(50)
			const rule = "mcr/forwarding/rules/rule[name=r]"
			enslave()
			await(t, d, rule+"/state/down-reason", "interface-enslaved")
			await(t, d, rule+"/outputs/output[name=back]/state/down-reason", "interface-enslaved")
			says(t, d, "show rule r", "interface-enslaved", "receive on master0")
			free()
			await(t, d, rule+"/state/oper-status", "up")
			await(t, d, rule+"/outputs/output[name=back]/state/oper-status", "up")
			src.Send(feed)
			sink.Exactly(100)
		})
	}
}

// says demands these words of what mcrctl prints.
func says(t *testing.T, d *lab.MCRD, args string, words ...string) {
	t.Helper()
	p := d.Ctl(strings.Fields(args)...)
	if err := p.Wait(lab.Patience(10 * time.Second)); err != nil {
		t.Fatalf("mcrctl %s: %v\n%s", args, err, p.Stderr.String())
	}
	for _, w := range words {
		if !strings.Contains(p.Stdout.String(), w) {
			t.Errorf("mcrctl %s: no %q in\n%s", args, w, p.Stdout.String())
		}
	}
}

// await waits until a leaf has this value, as JSON without quotes.
func await(t *testing.T, d *lab.MCRD, leaf, want string) {
	t.Helper()
	path, err := ygot.StringToStructuredPath(leaf)
	if err != nil {
		t.Fatal(err)
	}
	c := d.GNMI()
	lab.Until(t, lab.Patience(10*time.Second), leaf, func() error {
		r, err := c.Get(t.Context(), &gpb.GetRequest{Path: []*gpb.Path{path}, Encoding: gpb.Encoding_JSON_IETF})
		if err != nil {
			return err
		}
		got := ""
		for _, n := range r.GetNotification() {
			for _, u := range n.GetUpdate() {
				got = strings.Trim(string(u.GetVal().GetJsonIetfVal()), `"`)
			}
		}
		if got != want {
			return fmt.Errorf("%q, want %q", got, want)
		}
		return nil
	})
}
