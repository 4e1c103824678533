// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"testing"

	"mcr/tests/lab"
)

// P1.10: outputs that cannot send, from the start on, are down with their reasons; the daemon starts, siblings flow, and each
// comes up by itself when what it lacks is there.
func TestP1_10_BrokenOutputsAreDownAndComeUp(t *testing.T) {
	t.Parallel()
	n := newHybrid(t)
	l := n.Lab
	lan, spoke := n.lan.GroupSink("eth0", "239.1.1.1:5000"), n.far.Sink("10.2.0.5:5000")
	l.Link(n.rtr, "down0", "10.3.0.1/24", n.far, "eth1", "10.3.0.5/24")
	n.rtr.Down("down0")
	l.Link(n.rtr, "bare0", "", n.far, "eth2", "10.4.0.5/24")
	n.rtr.Route("10.9.0.9/32", "10.0.1.1") // by eth1, and the output names gre0
	d := runRules(t, n.rtr, "", hybridRule(
		multi("lan", "eth1", group, 5000), uni("spoke", "gre0", "10.2.0.5", 5000),
		uni("down", "down0", "10.3.0.5", 5000),
		uni("no-address", "bare0", "10.4.0.5", 5000),
		uni("missing", "new0", "10.5.0.5", 5000), multi("missing-group", "new0", group, 5000),
		uni("no-route", "gre0", "10.6.0.5", 5000),
		uni("elsewhere", "gre0", "10.9.0.9", 5000),
	))
	const rule = "hybrid-feed"
	for name, reason := range map[string]string{
		"down": "interface-down", "no-address": "no-address", "missing": "interface-missing", "missing-group": "interface-missing",
		"no-route": "no-route", "elsewhere": "route-elsewhere",
	} {
		d.down(rule, name, reason)
	}
	d.await(rulePath(rule)+"/state/oper-status", "degraded")
	d.Restart() // a start is not stopped either
	n.src.Send(feed(100))
	lan.Exactly(100)
	spoke.Exactly(100)

	live := n.src.StartSend(feed(0))
	lan.Wait(200, patience)
	reach := func(s *lab.Sink, output string, fix func()) {
		t.Helper()
		fix()
		s.Wait(50, patience)
		d.up(rule, output)
	}
	reach(n.far.Sink("10.3.0.5:5000"), "down", func() { n.rtr.Up("down0") })
	reach(n.far.Sink("10.4.0.5:5000"), "no-address", func() { n.rtr.Addr("bare0", "10.4.0.1/24") })
	n.far.Addr("eth0", "10.6.0.5/32")
	reach(n.far.Sink("10.6.0.5:5000"), "no-route", func() { n.rtr.Route("10.6.0.0/24", "10.2.0.5") })
	n.far.Addr("eth0", "10.9.0.9/32")
	reach(n.far.Sink("10.9.0.9:5000"), "elsewhere", func() { n.rtr.Route("10.9.0.9/32", "10.2.0.5") })
	l.Link(n.rtr, "new0", "10.5.0.1/24", n.far, "eth3", "10.5.0.5/24")
	reach(n.far.Sink("10.5.0.5:5000"), "missing", func() {})
	reach(n.far.GroupSink("eth3", "239.1.1.1:5000"), "missing-group", func() {})
	d.await(rulePath(rule)+"/state/oper-status", "up")

	sent := live.Stop()
	lan.Exactly(100 + sent.Sent)
	spoke.Exactly(100 + sent.Sent)
}

// P1.10: the same for the input interface: missing, then without carrier, then up; deleted and made anew.
func TestP1_10_InputInterfaceComesAndGoes(t *testing.T) {
	t.Parallel()
	n := newHybrid(t)
	spoke := n.far.Sink("10.2.0.5:5000")
	d := run(t, n.rtr, `{ rules: [
		{ name: "late", input: { interface: "in0", group: "239.1.1.1", port: 5000 }, outputs: [{ interface: "gre0", unicast_dest: "10.2.0.5" }] },
		{ name: "other", input: { interface: "eth0", group: "239.1.1.2", port: 5000 }, outputs: [{ interface: "gre0", unicast_dest: "10.2.0.5", port: 5002 }] },
	] }`)
	d.await(rulePath("late")+"/state/down-reason", "interface-missing")
	other := n.far.Sink("10.2.0.5:5002")
	otherFeed := feed(100)
	otherFeed.Group = "239.1.1.2"
	n.src.Send(otherFeed)
	other.Exactly(100)

	total := uint64(0)
	for range 2 {
		n.Link(n.src, "out0", "10.7.0.1/24", n.rtr, "in0", "10.7.0.2/24")
		arrives := func() {
			t.Helper()
			d.await(rulePath("late")+"/state/oper-status", "up")
			joined(t, n.rtr, "in0", group)
			s := feed(100)
			s.Iface = "out0"
			n.src.Send(s)
			total += 100
			spoke.Exactly(total)
		}
		arrives()
		n.rtr.Down("in0")
		d.await(rulePath("late")+"/state/down-reason", "interface-down")
		n.rtr.Up("in0")
		arrives()
		n.rtr.Delete("in0")
		d.await(rulePath("late")+"/state/down-reason", "interface-missing")
	}
	n.src.Send(otherFeed)
	other.Exactly(200)
}
