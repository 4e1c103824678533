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

	"github.com/vishvananda/netlink"

	"mcr/tests/lab"
)

// patience is how long something may take that should be there at once; the guest is slow.
var patience = lab.Patience(10 * time.Second)

// spur is a source, a router, and the far end of a tunnel that has no multicast.
//
//	src              rtr: mcrd                                     dst
//	eth0 ─────────── eth0  eth1 ────────────────────────────────── eth0
//	10.0.1.1         .2    192.0.2.1                192.0.2.2, 192.0.2.3
//	                       t0 ═══════════════════════════════════════ t0
//	                       10.2.0.1              10.2.0.2, 10.2.0.6, 10.2.0.9
type spur struct {
	*lab.Lab
	src, rtr, dst *lab.Host
}

func newSpur(t *testing.T) *spur {
	t.Helper()
	l := lab.New(t)
	n := &spur{l, l.Host("src"), l.Host("rtr"), l.Host("dst")}
	l.Link(n.src, "eth0", "10.0.1.1/24", n.rtr, "eth0", "10.0.1.2/24")
	l.Link(n.rtr, "eth1", "192.0.2.1/24", n.dst, "eth0", "192.0.2.2/24")
	n.dst.Addr("eth0", "192.0.2.3/24")
	return n
}

// p2p is a kind of point-to-point interface, and how each end of it is made: t0, up, without addresses and multicast.
type p2p struct {
	kind  string
	setup func(t *testing.T, n *spur) // what stays when an end is deleted; may be nil
	near  func(n *spur) (remove func())
	far   func(n *spur)
	// What is known of the far end where t0 has an address with a wide prefix, 10.2.0.1/24: "" is nothing.
	endpoint, origin string
}

// p2ps are the kinds. A pppoe session over the cable stands for PPP.
func p2ps() []p2p {
	const near, far = "192.0.2.1", "192.0.2.2"
	outer := func(kind, more string) p2p {
		return p2p{
			kind: kind, endpoint: far, origin: "outer-remote",
			near: func(n *spur) func() { return tunnelEnd(n.rtr, kind, near, far, more) },
			far:  func(n *spur) { tunnelEnd(n.dst, kind, far, near, more) },
		}
	}
	vti := outer("vti", "key 42")
	vti.setup = func(t *testing.T, n *spur) { esp(n.rtr, near, far); esp(n.dst, far, near) }
	return []p2p{outer("ipip", ""), outer("gre", ""), outer("sit", ""), vti, wireGuardSpur(), {
		kind: "ppp",
		near: func(n *spur) func() {
			remove := n.rtr.PPPoE("t0", "eth1", n.dst.MAC("eth0"))
			n.rtr.Multicast("t0", false) // the one kind that has it by itself
			return remove
		},
		far: func(n *spur) { n.dst.PPPoE("t0", "eth0", n.rtr.MAC("eth1")) },
	}}
}

// make makes both ends of t0, the far one with its addresses.
func (k p2p) make(t *testing.T, n *spur) (remove func()) {
	t.Helper()
	if k.setup != nil {
		k.setup(t, n)
	}
	remove = k.near(n)
	k.far(n)
	for _, a := range []string{"10.2.0.2/24", "10.2.0.6/32", "10.2.0.9/32"} {
		n.dst.Addr("t0", a)
	}
	return remove
}

// tunnelEnd makes one end of an IP tunnel.
func tunnelEnd(h *lab.Host, kind, local, remote, more string) (remove func()) {
	ip(h, "link add t0 type "+kind+" local "+local+" remote "+remote+" "+more)
	if kind == "vti" { // ESP takes its part, and old kernels' vti drops what that makes too long
		ip(h, "link set t0 mtu 1400")
	}
	h.Up("t0")
	return func() { h.Delete("t0") }
}

// ip runs a command of iproute2.
func ip(h *lab.Host, words string) string {
	return h.Run(append([]string{"ip"}, strings.Fields(words)...)...)
}

// esp gives one end of a vti what it encrypts and decrypts with: it carries nothing without.
func esp(h *lab.Host, local, remote string) {
	const key = "0x0102030405060708090a0b0c0d0e0f1011121314"
	for _, d := range []struct{ dir, src, dst string }{{"out", local, remote}, {"in", remote, local}} {
		spi := "0x10" + d.src[len(d.src)-1:]
		ip(h, "xfrm state add src "+d.src+" dst "+d.dst+" proto esp spi "+spi+" mode tunnel mark 42 aead rfc4106(gcm(aes)) "+key+" 128")
		ip(h, "xfrm policy add src 0.0.0.0/0 dst 0.0.0.0/0 dir "+d.dir+" mark 42 tmpl src "+d.src+" dst "+d.dst+" proto esp mode tunnel")
	}
}

// wireGuardSpur has one peer with one host behind it.
func wireGuardSpur() p2p {
	var near, far wgKey
	end := func(h *lab.Host, own, peer wgKey, remote, allowed string) func() {
		h.Add(&netlink.Wireguard{LinkAttrs: lab.Attrs("t0")})
		h.Run("wg", "set", "t0", "listen-port", "51820", "private-key", own.file,
			"peer", peer.public, "endpoint", remote+":51820", "allowed-ips", allowed)
		return func() { h.Delete("t0") }
	}
	return p2p{
		kind: "wireguard", endpoint: "10.2.0.2", origin: "wireguard-peer",
		setup: func(t *testing.T, n *spur) { near, far = newWGKey(t), newWGKey(t) },
		near:  func(n *spur) func() { return end(n.rtr, near, far, "192.0.2.2", "10.2.0.2/32") },
		far:   func(n *spur) { end(n.dst, far, near, "192.0.2.1", "10.2.0.1/32") },
	}
}

// shake waits until WireGuard's two ends have greeted each other: while they have not, it keeps 128 packets and loses what is more.
func shake(from *lab.Host, iface string, to *lab.Host, addr string) {
	s := to.Sink(addr + ":9")
	from.Send(lab.Stream{Iface: iface, Group: addr, Port: 9, Count: 1, Rate: 1000})
	s.Wait(1, patience)
	s.Close()
}

// wgKey is a key pair of WireGuard: the private one in a file, as wg wants it.
type wgKey struct{ file, public string }

func newWGKey(t *testing.T) wgKey {
	t.Helper()
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(base64.StdEncoding.EncodeToString(k.Bytes())), 0o600); err != nil {
		t.Fatal(err)
	}
	return wgKey{file, base64.StdEncoding.EncodeToString(k.PublicKey().Bytes())}
}

// her is the configuration of a router that turns 239.1.1.1:5000, which comes in by eth0, into unicast copies on t0, and looks for
// changes without an event each second. Further outputs of the rule may follow.
func her(outputs ...string) lab.MCRDConfig {
	outputs = append([]string{`{ name: "far", interface: "t0", group: "239.1.1.1", port: 5000 }`}, outputs...)
	return lab.MCRDConfig{Config: fmt.Sprintf(`{
	  forwarding: { auto_her_for_p2p_tunnels: true, rediscovery_interval: 1 },
	  rules: [{ name: "r", input: { interface: "eth0", group: "239.1.1.1", port: 5000 }, outputs: [%s] }],
	}`, strings.Join(outputs, ", "))}
}

// feed is count datagrams for that.
func feed(count uint64) lab.Stream {
	return lab.Stream{Iface: "eth0", Group: "239.1.1.1", Port: 5000, Count: count, Rate: 400, Size: 400, TTL: 8}
}

// outputLeaf is a leaf of the state of an output of rule r, and endpointLeaf one of an interface's far end.
func outputLeaf(output, leaf string) string {
	return "mcr/forwarding/rules/rule[name=r]/outputs/output[name=" + output + "]/state/" + leaf
}

func endpointLeaf(iface, leaf string) string {
	return "mcr/tunnel-endpoints/tunnel-endpoint[interface=" + iface + "]/state/" + leaf
}

// leads waits until output far of rule r goes to an endpoint that came from there.
func leads(t *testing.T, d *lab.MCRD, endpoint, origin string) {
	t.Helper()
	for leaf, want := range map[string]string{"endpoint": endpoint, "endpoint-origin": origin, "her-active": "true", "branch-count": "1", "oper-status": "up"} {
		await(t, d, outputLeaf("far", leaf), want)
	}
	await(t, d, endpointLeaf("t0", "endpoint-address"), endpoint)
	await(t, d, endpointLeaf("t0", "endpoint-origin"), origin)
}

// configureEndpoints sets the endpoints of an interface: these and no other; none at all removes the entry.
func configureEndpoints(t *testing.T, d *lab.MCRD, iface string, addrs ...string) {
	t.Helper()
	path := "mcr/tunnel-endpoints/tunnel-endpoint[interface=" + iface + "]"
	args := []string{"delete", path}
	if len(addrs) > 0 {
		var list []string
		for _, a := range addrs {
			list = append(list, fmt.Sprintf(`{"address": %q, "config": {"address": %[1]q}}`, a))
		}
		args = []string{"set", "--replace", path, fmt.Sprintf(`{"config": {"interface": %q}, "endpoints": {"endpoint": [%s]}}`, iface, strings.Join(list, ", "))}
	}
	ctl(t, d, args...)
}

// ctl runs mcrctl, which must succeed, and returns what it printed.
func ctl(t *testing.T, d *lab.MCRD, args ...string) string {
	t.Helper()
	p := d.Ctl(args...)
	if err := p.Wait(patience); err != nil {
		t.Fatalf("mcrctl %s: %v\n%s", strings.Join(args, " "), err, p.Stderr.String())
	}
	return p.Stdout.String()
}

// why logs what mcrctl has to say of the far end of an interface, and demands these words.
func why(t *testing.T, d *lab.MCRD, iface string, words ...string) {
	t.Helper()
	text := ctl(t, d, "show", "endpoints", "--why", iface)
	t.Logf("$ mcrctl show endpoints --why %s\n%s", iface, text)
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("mcrctl show endpoints --why %s has no %q", iface, w)
		}
	}
}
