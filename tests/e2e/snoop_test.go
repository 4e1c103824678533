// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"mcr/tests/lab"
)

// snoopingSwitch joins src, rtr and a bystander by a bridge that forwards a group only to ports where it was joined:
//
//	src eth0 10.0.0.1 ──┐
//	                   br0 ── eth0 10.0.0.2 rtr gre0 10.2.0.1 ── 10.2.0.5 eth0 far
//	idle eth0 10.0.0.3 ─┘
//
// It returns when the bridge does so.
func snoopingSwitch(t *testing.T) (src, rtr, idle, far *lab.Host) {
	t.Helper()
	l := lab.New(t)
	src, rtr, idle, far = l.Host("src"), l.Host("rtr"), l.Host("idle"), l.Host("far")
	sw := l.Host("switch")
	sw.Add(&netlink.Bridge{LinkAttrs: lab.Attrs("br0")})
	for port, h := range map[string]*lab.Host{"p1": src, "p2": rtr, "p3": idle} {
		l.Link(h, "eth0", map[string]string{"p1": "10.0.0.1/24", "p2": "10.0.0.2/24", "p3": "10.0.0.3/24"}[port], sw, port, "")
		sw.Run("ip", "link", "set", port, "master", "br0")
	}
	l.Link(rtr, "gre0", "10.2.0.1/24", far, "eth0", "10.2.0.5/24")
	// A querier is needed, or the bridge floods; it begins to trust itself after one response interval.
	for _, setting := range [][]string{{"mcast_query_response_interval", "10"}, {"mcast_querier", "1"}} { // in this order
		sw.Run(append([]string{"ip", "link", "set", "br0", "type", "bridge"}, setting...)...)
	}
	tap := idle.Tap("eth0")
	to := func(dest string) func(lab.Packet) bool {
		return func(p lab.Packet) bool { return p.Dst.Addr() == netip.MustParseAddr(dest) }
	}
	tries, flooded := 0, 0
	lab.Until(t, patience, "the switch keeps a group that nobody joined from the bystander", func() error {
		src.Send(lab.Stream{Iface: "eth0", Group: "239.5.5.5", Port: 1, Count: 1})
		src.Send(lab.Stream{Iface: "eth0", Group: "10.0.0.3", Port: 1, Count: 1}) // a mark behind it
		tries++
		tap.Wait(tries, patience, to("10.0.0.3"))
		if n := len(tap.Packets(to("239.5.5.5"))); n > flooded {
			flooded = n
			return errors.New("it got one")
		}
		return nil
	})
	return src, rtr, idle, far
}

// P1.9: behind a switch that looks at IGMP the stream comes to MCR, because it joins, and to nobody else.
func TestP1_9_StreamArrivesThroughASnoopingSwitch(t *testing.T) {
	t.Parallel()
	src, rtr, idle, far := snoopingSwitch(t)
	spoke, bystander := far.Sink("10.2.0.5:5000"), idle.Tap("eth0")
	runRules(t, rtr, "", hybridRule(uni("spoke", "gre0", "10.2.0.5", 5000)))
	lab.Until(t, patience, "the switch knows of the membership", func() error {
		if src.Send(feed(1)); spoke.Received() == 0 {
			return errors.New("nothing came")
		}
		return nil
	})
	spoke.Quiet(quiet)
	before := spoke.Received()
	src.Send(feed(300))
	spoke.Exactly(before + 300)
	if got := bystander.Packets(func(p lab.Packet) bool { return p.Dst.Addr() == netip.MustParseAddr(group) && p.Protocol == 17 }); len(got) > 0 {
		t.Errorf("the bystander got %d: the switch floods, and the test shows nothing", len(got))
	}
}
