// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"errors"
	"fmt"
	"testing"

	"mcr/tests/lab"
)

// ring is two routers that feed each other.
//
//	src eth0 ── in a out ── in b out ──┐
//	               a back ─────────────┘
type ring struct {
	*lab.Lab
	src, a, b *lab.Host
}

func newRing(t *testing.T) ring {
	t.Helper()
	l := lab.New(t)
	r := ring{l, l.Host("src"), l.Host("a"), l.Host("b")}
	l.Link(r.src, "eth0", "10.0.0.1/24", r.a, "in", "10.0.0.2/24")
	l.Link(r.a, "out", "10.0.1.1/24", r.b, "in", "10.0.1.2/24")
	l.Link(r.b, "out", "10.0.2.1/24", r.a, "back", "10.0.2.2/24")
	return r
}

// received is what a rule's input has received in all.
func received(d daemon, rule string) uint64 {
	d.t.Helper()
	return d.get(rulePath(rule) + "/state/counters").num(rulePath(rule) + "/state/counters/packets")
}

// F5: two routers looped back to back, by multicast, by HER and by both, do not storm: the row whose copies come back is down
// with reason loop after a bounded number of datagrams.
func TestF5_TwoRoutersInARing(t *testing.T) {
	for _, c := range []struct {
		name string
		a    []obj // outputs of A's two rules
		b    []obj // rules of B
		most uint64
	}{
		{"multicast", []obj{multi("m", "out", group, 5000)}, []obj{ruleOn("m", "in", multi("m", "out", group, 5000))}, 20_000},
		{"HER", []obj{uni("u", "out", "10.0.1.2", 7000)}, []obj{onOwn("u", "in", "10.0.1.2", 7000, multi("m", "out", group, 5000))}, 20_000},
		{
			"both", // each round doubles: the queues are full before the ring is known
			[]obj{multi("m", "out", group, 5000), uni("u", "out", "10.0.1.2", 7000)},
			[]obj{ruleOn("m", "in", multi("m", "out", group, 5000)), onOwn("u", "in", "10.0.1.2", 7000, multi("m", "out", group, 5000))},
			1_000_000,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			engines(t, func(t *testing.T, engine string) {
				n := newRing(t)
				a := runRules(t, n.a, engine, ruleOn("first", "in", c.a...), ruleOn("second", "back", c.a...))
				b := runRules(t, n.b, engine, c.b...)
				s := feed(200)
				s.TTL = 64
				n.src.Send(s)
				// Whoever heard a datagram twice first, cuts the ring.
				lab.Until(t, 3*patience, "down for a loop", func() error {
					for d, rules := range map[daemon][]string{a: {"first", "second"}, b: {"m", "u"}} {
						all := d.get(rulesPath)
						for _, r := range rules {
							if all[rulePath(r)+"/state/down-reason"] == "loop" {
								return nil
							}
						}
					}
					return errors.New("no rule is")
				})
				total := uint64(0)
				for _, r := range c.b {
					total += received(b, r["name"].(string))
				}
				t.Logf("200 datagrams were sent; B forwarded %d until it was down, A's rules %d and %d", total, received(a, "first"), received(a, "second"))
				if total > c.most {
					t.Errorf("B forwarded %d", total)
				}
			})
		})
	}
}

// onOwn is a rule that receives on an own unicast address.
func onOwn(name, iface, addr string, port int, outputs ...obj) obj {
	return with(ruleOn(name, iface, outputs...), obj{"input-group": addr, "input-port": port})
}

// P4.6: the far end turns HER back into multicast; its TTL is one less. The address may come later.
func TestP4_6_UnicastInput(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		n := newHybrid(t)
		d := runRules(t, n.rtr, engine, with(onOwn("far", "eth0", "10.0.0.9", 6000,
			multi("lan", "eth1", group, 5000), with(uni("spoke", "gre0", "10.2.0.5", 5000), obj{"ttl": 5})), obj{"silence-timeout": 1}))
		d.await(rulePath("far")+"/state/down-reason", "no-address")
		n.rtr.Addr("eth0", "10.0.0.9/24")
		d.await(rulePath("far")+"/state/oper-status", "up")
		lan, spoke := n.lan.GroupSink("eth0", "239.1.1.1:5000"), n.far.Sink("10.2.0.5:5000")
		total := uint64(0)
		for ttl, want := range map[int][2]uint8{64: {63, 5}, 6: {5, 5}, 4: {3, 3}, 2: {1, 1}} {
			s := feed(50)
			s.Group, s.Port, s.TTL = "10.0.0.9", 6000, ttl
			n.src.Send(s)
			total += 50
			for i, got := range []uint64{lan.Exactly(total).TTL[want[0]], spoke.Exactly(total).TTL[want[1]]} {
				if got < 50 {
					t.Errorf("TTL %d: sink %d saw %d with TTL %d", ttl, i, got, want[i])
				}
			}
		}
		s := feed(50)
		s.Group, s.Port, s.TTL = "10.0.0.9", 6000, 1
		n.src.Send(s)
		d.counts(outputPath("far", "spoke")+"/state/counters/skipped-ttl", 50)
		d.counts(outputPath("far", "lan")+"/state/counters/skipped-ttl", 50)
		lan.Exactly(total)
		spoke.Exactly(total)
	})
}

// P4.6: two unicast inputs wired into a ring forward a datagram a bounded number of times.
func TestP4_6_TwoUnicastInputsInARing(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		n := newRing(t)
		a := runRules(t, n.a, engine, onOwn("a", "in", "10.0.0.2", 7000, uni("b", "out", "10.0.1.2", 7000)),
			onOwn("back", "back", "10.0.2.2", 7000, uni("b", "out", "10.0.1.2", 7000)))
		b := runRules(t, n.b, engine, onOwn("b", "in", "10.0.1.2", 7000, uni("a", "out", "10.0.2.2", 7000)))
		s := feed(1)
		s.Group, s.Port, s.TTL = "10.0.0.2", 7000, 64
		n.src.Send(s)
		lab.Until(t, patience, "the ring is at rest", func() error {
			before := received(b, "b")
			w := received(a, "back")
			if w == 0 || before != received(b, "b") {
				return fmt.Errorf("%d forwarded", before)
			}
			return nil
		})
		t.Logf("one datagram: %d and %d forwarded", received(a, "back"), received(b, "b"))
		if got := received(b, "b"); got > 32 {
			t.Errorf("B forwarded one datagram %d times", got)
		}
	})
}

// D6: a boundary keeps a group from an interface, in and out, as multicast and as HER; what it kept back is counted.
func TestD6_Boundary(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		n := newHybrid(t)
		d := runRules(t, n.rtr, engine, hybridRule())
		lan, spoke := n.lan.GroupSink("eth0", "239.1.1.1:5000"), n.far.Sink("10.2.0.5:5000")
		const at = "mcr/forwarding/boundaries/boundary[interface=gre0]"
		d.must(d.replace(at, obj{"config": obj{"interface": "gre0", "group-prefix": []string{"239.0.0.0/8"}}}))
		d.down("hybrid-feed", "spoke", "scope")
		n.src.Send(feed(100))
		lan.Exactly(100)
		spoke.Exactly(0)
		d.counts(at+"/state/counters/packets", 100)
		d.counts(at+"/state/counters/claims", 1)
		d.must(d.remove(at))
		d.up("hybrid-feed", "spoke")
		n.src.Send(feed(100))
		lan.Exactly(200)
		spoke.Exactly(100)
		d.must(d.replace("mcr/forwarding/boundaries/boundary[interface=eth0]", obj{"config": obj{"interface": "eth0", "group-prefix": []string{"239.1.0.0/16"}}}))
		d.await(rulePath("hybrid-feed")+"/state/down-reason", "scope")
		d.await(rulePath("hybrid-feed")+"/state/joined", "false")
		n.src.Send(feed(100))
		lan.Exactly(200)
		d.must(d.remove("mcr/forwarding/boundaries/boundary[interface=eth0]"))
		d.await(rulePath("hybrid-feed")+"/state/joined", "true")
		n.src.Send(feed(100))
		lan.Exactly(300)
	})
}
