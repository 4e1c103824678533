// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"mcr/tests/lab"
)

func endpointsPath(iface string) string {
	return "mcr/tunnel-endpoints/tunnel-endpoint[interface=" + iface + "]"
}

func endpointPath(iface, addr string) string {
	return endpointsPath(iface) + "/endpoints/endpoint[address=" + addr + "]"
}

// endpoints is the configuration of an interface's endpoints.
func endpoints(iface string, addrs ...string) obj {
	all := []obj{}
	for _, a := range addrs {
		all = append(all, obj{"address": a, "config": obj{"address": a}})
	}
	return obj{"interface": iface, "config": obj{"interface": iface}, "endpoints": obj{"endpoint": all}}
}

// setEndpoints makes these the only configured endpoints of an interface; none takes the interface out of the configuration.
func (d daemon) setEndpoints(iface string, addrs ...string) {
	d.t.Helper()
	if len(addrs) == 0 {
		d.must(d.remove(endpointsPath(iface)))
		return
	}
	d.must(d.replace(endpointsPath(iface), endpoints(iface, addrs...)))
}

// autoHER sets the global auto-her-for-p2p-tunnels.
func (d daemon) autoHER(on bool) {
	d.t.Helper()
	d.must(d.update("mcr/forwarding/config/auto-her-for-p2p-tunnels", on))
}

// isEndpoint waits until an interface's endpoint is this one, of this origin; "" is none.
func (d daemon) isEndpoint(iface, addr, origin string) {
	d.t.Helper()
	at := endpointsPath(iface) + "/state/"
	d.follow(endpointsPath(iface)).until(soon, "endpoint of "+iface+" is "+addr+" by "+origin, func(l leaves) bool {
		return l[at+"endpoint-address"] == addr && l[at+"endpoint-origin"] == origin
	})
}

// newTunnel is a hybrid with a tunnel beside:
//
//	rtr tun0 10.4.0.1 ── 10.4.0.2 tun0 far     point-to-point, without IFF_MULTICAST at rtr
func newTunnel(t *testing.T) hybrid {
	t.Helper()
	n := newHybrid(t)
	n.tunnel()
	return n
}

func (n hybrid) tunnel() { n.Tunnel(n.rtr, "tun0", "10.4.0.1", n.far, "tun0", "10.4.0.2") }

// P2.1: flags, kind, addresses, peers and masters of all kinds of interfaces are as the kernel has them, and follow each change
// of them within a second, by event.
func TestP2_1_InterfacesAreAsTheKernelHasThem(t *testing.T) {
	t.Parallel()
	n := newTunnel(t)
	rtr := n.rtr
	d := run(t, rtr, "")
	a := agreement{daemon: d, h: rtr}
	t.Logf("%d leaves at the start", a.holds(patience, "at the start"))
	for _, step := range []struct {
		what string
		do   func()
	}{
		{"multicast on", func() { rtr.Multicast("tun0", true) }},
		{"multicast off", func() { rtr.Multicast("tun0", false) }},
		{"another peer", func() { rtr.ReAddress("tun0", ""); rtr.Peer("tun0", "10.4.0.1", "10.4.0.9") }},
		{"a /31", func() { rtr.Addr("gre0", "10.5.0.0/31") }},
		{"the upper half of a /31", func() { delAddr(rtr, "gre0", "10.5.0.0/31"); rtr.Addr("gre0", "10.5.0.3/31") }},
		{"a /30", func() { rtr.Addr("gre0", "10.6.0.2/30") }},
		{"a peer on a veth", func() { rtr.Peer("gre0", "10.7.0.1", "10.7.9.9") }},
		{"a peer that is an own address", func() { rtr.Peer("tun0", "10.4.1.1", "10.0.0.2") }},
		{"no addresses", func() { rtr.ReAddress("gre0", "") }},
		{"MTU", func() { rtr.MTU("eth1", 1400) }},
		{"down", func() { rtr.Down("eth1") }},
		{"up", func() { rtr.Up("eth1") }},
		{"renamed", func() { rtr.Down("gre0"); rtr.Rename("gre0", "wg7"); rtr.Up("wg7") }},
		{"a dummy", func() { rtr.Dummy("dum0", "10.8.0.1/24") }},
		{"a VLAN", func() {
			if rtr.Has(vlanOn(rtr, "eth1")) {
				rtr.Add(vlanOn(rtr, "eth1"))
			} else {
				t.Log("no VLAN: this kernel has no driver for them")
			}
		}},
		{"a bridge", func() { rtr.Add(&netlink.Bridge{LinkAttrs: lab.Attrs("br0")}) }},
		{"a bridge port", func() { rtr.Run("ip", "link", "set", "wg7", "master", "br0") }},
		{"no bridge port", func() { rtr.Run("ip", "link", "set", "wg7", "nomaster") }},
		{"deleted", func() { rtr.Delete("tun0"); n.far.Delete("tun0") }},
		{"made again", n.tunnel},
		{"moved away", func() { rtr.Move("wg7", n.lan) }},
		{"moved back", func() { n.lan.Move("wg7", rtr) }},
		{"two swap their names", func() {
			rtr.Down("wg7")
			rtr.Down("tun0")
			rtr.Rename("wg7", "x")
			rtr.Rename("tun0", "wg7")
			rtr.Rename("x", "tun0")
		}},
	} {
		step.do()
		a.holds(soon, "after: "+step.what)
	}
}

// vlanOn is VLAN 7 of an interface.
func vlanOn(h *lab.Host, parent string) *netlink.Vlan {
	at := lab.Attrs("vlan7")
	at.ParentIndex = h.Index(parent)
	return &netlink.Vlan{LinkAttrs: at, VlanId: 7, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q}
}

// P2.2, P2.3: what endpoint each kind of evidence gives, and the reason where there is none. Nothing of it is an error.
func TestP2_2_EndpointOfEachEvidence(t *testing.T) {
	t.Parallel()
	n := newTunnel(t)
	rtr := n.rtr
	d := run(t, rtr, "")
	for _, c := range []struct {
		name, iface  string
		addrs        []string // in the words of ip(8)
		addr, origin string
	}{
		{"tun with a peer", "tun0", []string{"10.4.0.1 peer 10.4.0.2"}, "10.4.0.2", "peer-address"},
		{"tun with a subnet", "tun0", []string{"10.4.0.1/24"}, "", "none"},
		{"tun with a /31", "tun0", []string{"10.4.0.8/31"}, "10.4.0.9", "subnet-peer"},
		{"tun with a host address alone", "tun0", []string{"10.4.0.1/32"}, "", "none"},
		{"tun without address", "tun0", nil, "", "none"},
		{"veth with a peer", "gre0", []string{"10.2.0.1 peer 10.2.0.5"}, "10.2.0.5", "peer-address"},
		{"veth, lower of a /31", "gre0", []string{"10.2.0.4/31"}, "10.2.0.5", "subnet-peer"},
		{"veth, upper of a /31", "gre0", []string{"10.2.0.7/31"}, "10.2.0.6", "subnet-peer"},
		{"veth, first of a /30", "gre0", []string{"10.2.0.5/30"}, "10.2.0.6", "subnet-peer"},
		{"veth, second of a /30", "gre0", []string{"10.2.0.6/30"}, "10.2.0.5", "subnet-peer"},
		{"veth with a subnet", "gre0", []string{"10.2.0.1/24"}, "", "none"},
		{"veth with a /29", "gre0", []string{"10.2.0.1/29"}, "", "none"},
		{"a peer before a /31", "gre0", []string{"10.2.0.4/31", "10.3.0.1 peer 10.3.0.2"}, "10.3.0.2", "peer-address"},
		{"a /31 beside a subnet", "gre0", []string{"10.2.0.1/24", "10.3.0.4/31"}, "10.3.0.5", "subnet-peer"},
		{"a peer that is our own", "gre0", []string{"10.2.0.1 peer 10.0.0.2", "10.3.0.4/31"}, "10.3.0.5", "subnet-peer"},
	} {
		rtr.ReAddress(c.iface, "")
		for _, a := range c.addrs {
			addAddr(rtr, c.iface, a)
		}
		at := endpointsPath(c.iface) + "/state/"
		reason := "none"
		if c.addr == "" {
			reason = "no-peer-information"
		}
		d.follow(endpointsPath(c.iface)).until(soon, c.name, func(l leaves) bool {
			return l[at+"endpoint-address"] == c.addr && l[at+"endpoint-origin"] == c.origin && l[at+"reason"] == reason
		})
	}
	logged(t, d.MCRD, 0, 0, "level=ERROR")
}

// addAddr gives an address in the words of ip(8), "A/N" or "A peer B"; delAddr takes it away.
func addAddr(h *lab.Host, iface, addr string) { changeAddr(h, "add", iface, addr) }
func delAddr(h *lab.Host, iface, addr string) { changeAddr(h, "del", iface, addr) }

func changeAddr(h *lab.Host, verb, iface, addr string) {
	h.Run(slices.Concat([]string{"ip", "addr", verb}, strings.Fields(addr), []string{"dev", iface})...)
}

// P2.4: of all evidence at once the best is used, the next when that goes, and state shows each candidate, in use or why not.
func TestP2_4_OrderOfEvidence(t *testing.T) {
	t.Parallel()
	n := newTunnel(t)
	d := run(t, n.rtr, "")
	a := agreement{daemon: d, h: n.rtr, configured: map[string][]string{}}
	n.rtr.ReAddress("gre0", "10.6.0.1/30")
	n.rtr.Peer("gre0", "10.5.0.1", "10.5.0.2")
	d.setEndpoints("gre0", "10.7.0.9")
	a.configured["gre0"] = []string{"10.7.0.9"}
	d.isEndpoint("gre0", "10.7.0.9", "configured")
	a.holds(soon, "with all evidence")
	d.setEndpoints("gre0")
	a.configured["gre0"] = nil
	d.isEndpoint("gre0", "10.5.0.2", "peer-address")
	a.holds(soon, "without the configured one")
	delAddr(n.rtr, "gre0", "10.5.0.1 peer 10.5.0.2")
	d.isEndpoint("gre0", "10.6.0.2", "subnet-peer")
	a.holds(soon, "with the subnet alone")
	delAddr(n.rtr, "gre0", "10.6.0.1/30")
	d.isEndpoint("gre0", "", "none")
	a.holds(soon, "with nothing")
	n.rtr.Peer("gre0", "10.5.0.1", "10.5.0.2")
	d.isEndpoint("gre0", "10.5.0.2", "peer-address")
	a.holds(soon, "with the peer again")

	// A configured endpoint that is found as well is one candidate, of the better origin.
	d.setEndpoints("gre0", "10.5.0.2")
	a.configured["gre0"] = []string{"10.5.0.2"}
	d.isEndpoint("gre0", "10.5.0.2", "configured")
	at := endpointsPath("gre0") + "/candidates/"
	found := d.get(at)
	maps.DeleteFunc(found, func(path, _ string) bool { return !strings.HasSuffix(path, "/origin") })
	if want := (leaves{at + "candidate[address=10.5.0.2]/state/origin": "configured"}); !maps.Equal(found, want) {
		t.Errorf("candidates\n%v", found)
	}
}

// P2.4: each change of the endpoint is told, ON_CHANGE, with the time of it; nothing else moves meanwhile.
func TestP2_4_ChangesAreTold(t *testing.T) {
	t.Parallel()
	n := newTunnel(t)
	d := run(t, n.rtr, "")
	d.isEndpoint("tun0", "10.4.0.2", "peer-address")
	d.autoHER(true)
	w := d.follow("mcr/tunnel-endpoints")
	first := len(w.all())
	at := endpointsPath("tun0") + "/state/"
	n.rtr.ReAddress("tun0", "")
	w.is(soon, at+"reason", "no-peer-information")
	n.rtr.Peer("tun0", "10.4.0.1", "10.4.0.7")
	w.is(soon, at+"endpoint-address", "10.4.0.7")
	n.rtr.Multicast("tun0", true)
	w.is(soon, at+"her-active", "false")
	n.rtr.Multicast("tun0", false)
	w.is(soon, at+"her-active", "true")
	if got, want := w.values(at+"endpoint-address"), []string{"10.4.0.2", "", "10.4.0.7"}; !slices.Equal(got, want) {
		t.Errorf("endpoint-address was %q, want %q", got, want)
	}
	if got := w.values(at + "last-change"); len(got) < 5 || !slices.IsSorted(got) {
		t.Errorf("last-change was %q", got)
	}
	for _, c := range w.all()[first:] {
		if !strings.HasPrefix(c.path, endpointsPath("tun0")+"/") {
			t.Errorf("another interface moved: %s = %s", c.path, c.value)
		}
	}
}
