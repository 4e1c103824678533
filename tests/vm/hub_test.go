// SPDX-License-Identifier: Apache-2.0

package vm_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"mcr/tests/lab"
)

// wgHub is a hub with one WireGuard interface to three spokes, each over a cable of its own.
//
//	src eth0 ── eth0 hub eth1 192.0.2.1 ── 192.0.2.2 eth0 a   wg0 10.7.0.2
//	                 hub eth2 198.51.100.1 ── 198.51.100.2 b  wg0 10.7.0.3
//	                 hub eth3 203.0.113.1 ── 203.0.113.2 c    wg0 10.7.0.4
//	                 wg0 10.7.0.1
type wgHub struct {
	*lab.Lab
	src, hub *lab.Host
	spokes   []*lab.Host
	keys     []wgKey
}

// outers are where the hub reaches each spoke.
var outers = []string{"192.0.2", "198.51.100", "203.0.113"}

// spoke is the address of a spoke, from 0.
func spoke(i int) string { return fmt.Sprintf("10.7.0.%d", i+2) }

func newWGHub(t *testing.T) *wgHub {
	t.Helper()
	l := lab.New(t)
	needs(t, l, "wireguard")
	n := &wgHub{Lab: l, src: l.Host("src"), hub: l.Host("hub")}
	l.Link(n.src, "eth0", "10.0.1.1/24", n.hub, "eth0", "10.0.1.2/24")
	own := newWGKey(t)
	n.hub.Add(&netlink.Wireguard{LinkAttrs: lab.Attrs("wg0")})
	n.hub.Addr("wg0", "10.7.0.1/24")
	n.hub.Run("wg", "set", "wg0", "listen-port", "51820", "private-key", own.file)
	for i, outer := range outers {
		s, key := l.Host(string(rune('a'+i))), newWGKey(t)
		l.Link(n.hub, fmt.Sprintf("eth%d", i+1), outer+".1/24", s, "eth0", outer+".2/24")
		s.Add(&netlink.Wireguard{LinkAttrs: lab.Attrs("wg0")})
		s.Addr("wg0", spoke(i)+"/24")
		s.Run("wg", "set", "wg0", "listen-port", "51820", "private-key", key.file,
			"peer", own.public, "endpoint", outer+".1:51820", "allowed-ips", "10.7.0.0/24,239.0.0.0/8")
		n.spokes, n.keys = append(n.spokes, s), append(n.keys, key)
	}
	return n
}

// meet tells the hub where a spoke is; without, it knows the spoke and cannot reach it.
func (n *wgHub) meet(i int, endpoint bool) {
	args := []string{"wg", "set", "wg0", "peer", n.keys[i].public, "allowed-ips", spoke(i) + "/32"}
	if endpoint {
		args = append(args, "endpoint", outers[i]+".2:51820")
	}
	n.hub.Run(args...)
}

// sinks listens on each spoke.
func (n *wgHub) sinks(port int) (all []*lab.Sink) {
	for i, s := range n.spokes {
		all = append(all, s.Sink(fmt.Sprintf("%s:%d", spoke(i), port)))
	}
	return all
}

// P4.1, P4.3, P3.8: the roadmap's wg0 with three spokes, each named by an output of one rule; and the same where one multicast output goes
// to the three endpoints of the interface. One spoke is dead: nobody knows where it is, then it does not answer. The others get each
// datagram once all along. When it lives, so does its branch.
func TestP4_3_SpokesOverWireGuard(t *testing.T) {
	for _, engine := range []string{"uring", "mmsg"} {
		t.Run(engine, func(t *testing.T) {
			n := newWGHub(t)
			n.meet(0, true)
			n.meet(1, true)
			n.meet(2, false)
			n.spokes[2].Down("wg0") // so that it does not find the hub by itself
			d := n.hub.MCRD(lab.MCRDConfig{Config: `{
			  forwarding: { auto_her_for_p2p_tunnels: true, rediscovery_interval: 1 },
			  rules: [
			    { name: "named", input: { interface: "eth0", group: "239.1.1.1", port: 5000 }, outputs: [
			      { interface: "wg0", unicast_dest: "10.7.0.2", port: 5000 },
			      { interface: "wg0", unicast_dest: "10.7.0.3", port: 5000 },
			      { name: "c", interface: "wg0", unicast_dest: "10.7.0.4", port: 5000 },
			    ] },
			    { name: "r", input: { interface: "eth0", group: "239.1.1.2", port: 5002 }, outputs: [
			      { name: "all", interface: "wg0", group: "239.1.1.2", port: 5002 },
			    ] },
			  ],
			}`})
			ctl(t, d, "set", "mcr/dataplane/config/engine", engine)
			await(t, d, "mcr/dataplane/state/engine-used", engine)
			await(t, d, endpointLeaf("wg0", "reason"), "several-peers")
			await(t, d, outputLeaf("all", "down-reason"), "endpoint-unresolved")
			why(t, d, "wg0", "several-peers")
			configureEndpoints(t, d, "wg0", spoke(0), spoke(1), spoke(2))
			await(t, d, outputLeaf("all", "branch-count"), "3")
			await(t, d, outputLeaf("all", "her-active"), "true")
			why(t, d, "wg0", spoke(0), spoke(1), spoke(2), "configured")

			shake(n.hub, "wg0", n.spokes[0], spoke(0))
			shake(n.hub, "wg0", n.spokes[1], spoke(1))
			named, all := n.sinks(5000), n.sinks(5002)
			streams := []lab.Stream{feed(0), feed(0)}
			for i := range streams {
				streams[i].Rate = 50
			}
			streams[1].Group, streams[1].Port = "239.1.1.2", 5002
			live := []*lab.Sender{n.src.StartSend(streams[0]), n.src.StartSend(streams[1])}
			const third = "mcr/forwarding/rules/rule[name=named]/outputs/output[name=c]/state/"
			await(t, d, third+"down-reason", "wireguard-no-endpoint")
			await(t, d, outputLeaf("all", "oper-status"), "degraded")
			await(t, d, outputLeaf("all", "down-reason"), "wireguard-no-endpoint")
			says(t, d, "show rule named", "the WireGuard peer has no endpoint yet")

			n.meet(2, true) // now it is known, and silent
			await(t, d, third+"oper-status", "up")
			before := all[1].Received()
			all[1].Wait(before+50, patience)

			n.spokes[2].Up("wg0") // and now it answers
			for _, s := range []*lab.Sink{named[2], all[2]} {
				s.Wait(50, patience)
			}
			await(t, d, outputLeaf("all", "oper-status"), "up")
			for i, sinks := range [][]*lab.Sink{named, all} {
				sent := live[i].Stop()
				for _, s := range sinks[:2] {
					s.Exactly(sent.Sent)
				}
				if r := sinks[2].Report(0); r.Duplicated+r.Corrupted+r.Foreign > 0 {
					t.Errorf("the third spoke got what it should not\n%s", sinks[2])
				}
			}
		})
	}
}

// P1.7, P4.6: a source behind one spoke. Its stream comes in by wg0, as multicast or to the hub's own address, and leaves by wg0: the other spokes
// get each datagram once, its own spoke none.
func TestP1_7_SourceBehindASpoke(t *testing.T) {
	n := newWGHub(t)
	for i := range n.spokes {
		n.meet(i, true)
	}
	d := n.hub.MCRD(lab.MCRDConfig{Config: `{
	  rules: [
	    { name: "r", input: { interface: "wg0", group: "239.1.1.1", port: 5000 }, outputs: [
	      { name: "back", interface: "wg0", group: "239.1.1.1", port: 5000, her_mode: "auto" },
	    ] },
	    { name: "own", input: { interface: "wg0", group: "10.7.0.1", port: 6000 }, outputs: [
	      { name: "back", interface: "wg0", group: "239.1.1.1", port: 6000, her_mode: "auto" },
	    ] },
	  ],
	}`})
	configureEndpoints(t, d, "wg0", spoke(0), spoke(1), spoke(2))
	await(t, d, outputLeaf("back", "branch-count"), "3")
	await(t, d, outputLeaf("back", "oper-status"), "up")
	await(t, d, "mcr/forwarding/rules/rule[name=own]/outputs/output[name=back]/state/branch-count", "3")
	group, own := n.sinks(5000), n.sinks(6000)
	const count = 100
	for _, c := range []struct {
		to    string
		port  uint16
		sinks []*lab.Sink
		ttl   uint8
	}{{"239.1.1.1", 5000, group, 64}, {"10.7.0.1", 6000, own, 7}} { // a copy of a unicast input has one less than what arrived
		n.spokes[0].Send(lab.Stream{Iface: "wg0", Group: c.to, Port: c.port, Count: count, Rate: 200, Size: 400, TTL: 8})
		for i, s := range c.sinks {
			if i == 0 {
				continue
			}
			r := s.Exactly(count)
			for from := range r.Sources {
				if from.Addr().String() != "10.7.0.1" {
					t.Errorf("source %v, want the hub's 10.7.0.1", from)
				}
			}
			if r.TTL[c.ttl] != count {
				t.Errorf("want TTL %d\n%s", c.ttl, s)
			}
		}
		c.sinks[0].Exactly(0)
	}
	if s := d.Stderr.String(); strings.Contains(s, "input is down") {
		t.Errorf("mcrd took its own copies for a loop\n%s", s)
	}
}

// P4.6: two routers. The first turns a group into unicast over a WireGuard tunnel whose far end it knows by itself; the second
// receives that on its own address and turns it into multicast on its LAN, where a host that wants the group gets each datagram once.
//
//	src ── eth0 rtr: mcrd ═══ t0 ═══ dst: mcrd eth1 ── eth0 host
func TestP4_6_TwoRoutersOverWireGuard(t *testing.T) {
	n := newSpur(t)
	needs(t, n.Lab, "wireguard")
	host := n.Host("host")
	n.Link(n.dst, "eth1", "10.3.0.1/24", host, "eth0", "10.3.0.5/24")
	wireGuardSpur().make(t, n)
	n.rtr.Addr("t0", "10.2.0.1/24")
	far := n.dst.MCRD(lab.MCRDConfig{Config: `{ rules: [{
	  name: "r", input: { interface: "t0", group: "10.2.0.2", port: 5000 },
	  outputs: [{ name: "lan", interface: "eth1", group: "239.5.5.5", port: 7000 }],
	}] }`})
	near := n.rtr.MCRD(her())
	leads(t, near, "10.2.0.2", "wireguard-peer")
	await(t, far, outputLeaf("lan", "oper-status"), "up")
	shake(n.rtr, "t0", n.dst, "10.2.0.2")
	wire, lan := host.Tap("eth0"), host.GroupSink("eth0", "239.5.5.5:7000")
	const count = 240
	s := feed(count)
	s.DSCP, s.Size, s.Sizes = 34, 0, []int{1316, 0, 1, 33, 1300, 2000}
	n.src.Send(s)
	r := lan.Exactly(count)
	if r.TTL[63] != count || r.DSCP[34] != count {
		t.Errorf("want TTL 63, which is one less than the tunnel's 64, and DSCP 34\n%s", lan)
	}
	for from := range r.Sources {
		if from.Addr().String() != "10.3.0.1" {
			t.Errorf("source %v, want the far router's 10.3.0.1", from)
		}
	}
	udp := func(p lab.Packet) bool {
		return p.Protocol == 17 && !p.Outgoing && p.Dst.Addr().String() != "239.5.5.5"
	}
	if other := wire.Packets(udp); len(other) > 0 {
		t.Errorf("on the LAN: %v > %v", other[0].Src, other[0].Dst)
	}
	await(t, near, outputLeaf("far", "counters/packets"), fmt.Sprint(count))
	await(t, far, outputLeaf("lan", "counters/packets"), fmt.Sprint(count))
	await(t, far, "mcr/forwarding/rules/rule[name=r]/state/counters/packets", fmt.Sprint(count))
}
