// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"mcr/tests/lab"
)

// hub is one input and one interface to many spokes, without IFF_MULTICAST:
//
//	src eth0 10.0.0.1 ── 10.0.0.2 eth0 rtr wg0 10.0.9.1 ── eth0 spokes 10.N.0.5, one address for each
type hub struct {
	*lab.Lab
	src, rtr, spokes *lab.Host
}

func newHub(t testing.TB) hub {
	t.Helper()
	l := lab.New(t)
	h := hub{l, l.Host("src"), l.Host("rtr"), l.Host("spokes")}
	l.Link(h.src, "eth0", "10.0.0.1/24", h.rtr, "eth0", "10.0.0.2/24")
	l.Link(h.rtr, "wg0", "10.0.9.1/24", h.spokes, "eth0", "10.0.9.2/24")
	h.rtr.Multicast("wg0", false)
	h.rtr.Route("10.0.0.0/8", "dev wg0")
	return h
}

// spoke is the address of the spoke with this number, from 1.
func spoke(i int) string { return fmt.Sprintf("10.%d.0.5", i) }

// sinks gives the host the addresses of n spokes and listens there.
func (h hub) sinks(n int) (all []*lab.Sink) {
	for i := range n {
		h.spokes.Addr("eth0", spoke(i+1)+"/32")
		all = append(all, h.spokes.Sink(spoke(i+1)+":5000"))
	}
	return all
}

// P4.1, P1.4: the roadmap's example as it stands: no group, no names.
func TestP4_1_RoadmapSpokesExample(t *testing.T) {
	both(t, func(t *testing.T, configure func(*lab.Host, string) daemon) {
		h := newHub(t)
		sinks, wire := h.sinks(3), h.spokes.Tap("eth0")
		d := configure(h.rtr, roadmap["spokes"])
		h.src.Send(feed(300))
		for i, s := range sinks {
			s.Exactly(300)
			d.sent("eth0:239.1.1.1:5000", "wg0@"+spoke(i+1)+":5000", 300)
		}
		if m := wire.Packets(func(p lab.Packet) bool { return p.Dst.Addr().IsMulticast() }); len(m) > 0 {
			t.Errorf("multicast on wg0: %v", m)
		}
	})
}

// P4.1, P4.2, P4.4 with 1, 10 and 100 branches: each spoke gets every packet once, also on a second port, and each counter is
// what its receiver got. P4.3 beside it: one in ten more spokes are dead.
func TestP4_ManySpokes(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		for _, count := range []int{1, 10, 100} {
			t.Run(fmt.Sprint(count), func(t *testing.T) {
				h := newHub(t)
				sinks, names := h.sinks(count), []string{}
				var outs []obj
				add := func(dest string, port int) {
					name := fmt.Sprintf("%s-%d", dest, port)
					names, outs = append(names, name), append(outs, uni(name, "wg0", dest, port))
				}
				for i := range count {
					add(spoke(i+1), 5000)
				}
				add(spoke(1), 5001)
				sinks = append(sinks, h.spokes.Sink(spoke(1)+":5001"))
				for i := range 1 + count/10 {
					add(spoke(1), 9000+i)   // a closed port
					add(spoke(201+i), 5000) // nobody answers ARP
				}
				d := w.runRules(t, h.rtr, ruleOn("feed", "eth0", outs...))
				s := feed(1000)
				s.Rate, s.Burst = 1000, 20
				h.src.Send(s)
				for i, sink := range sinks {
					r := sink.Exactly(1000)
					d.sent("feed", names[i], r.Received)
				}
			})
		}
	})
}

// P4.3: each kind of dead spoke costs its siblings no packet, and each shows why it is dead.
func TestP4_3_DeadSpokesCostSiblingsNothing(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		h := newHub(t)
		sinks := h.sinks(3)
		h.Link(h.rtr, "gone0", "10.210.0.1/24", h.spokes, "eth1", "10.210.0.5/24")
		h.rtr.Neigh("wg0", spoke(202), net.HardwareAddr{2, 0, 0, 0, 0, 99}) // a black hole
		closing := h.spokes.Sink(spoke(1) + ":7000")
		d := w.runRules(t, h.rtr, ruleOn("feed", "eth0",
			uni("a", "wg0", spoke(1), 5000),
			uni("closed", "wg0", spoke(1), 7000),
			uni("unresolved", "wg0", spoke(201), 5000),
			uni("b", "wg0", spoke(2), 5000),
			uni("black-hole", "wg0", spoke(202), 5000),
			uni("down", "gone0", "10.210.0.5", 5000),
			uni("missing", "none0", "10.211.0.5", 5000),
			uni("c", "wg0", spoke(3), 5000),
		))
		live := feed(0)
		live.Rate = 3000
		sender := h.src.StartSend(live)
		closing.Wait(100, patience)
		closing.Close()
		h.rtr.Down("gone0")
		d.down("feed", "down", "interface-down")
		d.down("feed", "missing", "interface-missing")
		closed, unresolved := outputPath("feed", "closed")+"/state/counters/", outputPath("feed", "unresolved")+"/state/counters/"
		lab.Until(t, patience, "errors of the dead are counted", func() error {
			c := d.get(closed, unresolved)
			if c.num(closed+"errors-refused") == 0 || c[closed+"last-error"] != "ECONNREFUSED" ||
				c.num(unresolved+"errors-unreachable") == 0 || c[unresolved+"last-error"] != "EHOSTUNREACH" {
				return fmt.Errorf("counters\n%v", c)
			}
			return nil
		})
		sent := sender.Stop()
		for i, s := range sinks {
			s.Exactly(sent.Sent)
			d.sent("feed", string(rune('a'+i)), sent.Sent)
		}
		d.counts(outputPath("feed", "missing")+"/state/counters/not-ready", sent.Sent)
		if says := d.ctl("show", "rule", "feed"); !strings.Contains(says, "interface-missing") {
			t.Errorf("mcrctl show rule says\n%s", says)
		}
	})
}

// P4.3, F1: a receiver that listens again gets all from then on, and its branch is up after a while without refusals.
func TestP4_3_ReceiverThatComesBackIsServed(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		h := newHub(t)
		other := h.sinks(1)[0]
		first := h.spokes.Sink(spoke(1) + ":7000")
		d := w.runRules(t, h.rtr, ruleOn("feed", "eth0", uni("back", "wg0", spoke(1), 7000), uni("other", "wg0", spoke(1), 5000)))
		h.src.Send(feed(100))
		first.Exactly(100)
		first.Close()
		h.src.Send(feed(500))
		other.Exactly(600)
		again := h.spokes.Sink(spoke(1) + ":7000")
		h.src.Send(feed(100)) // the first of them meets the error of an earlier one
		again.Exactly(100)
		other.Exactly(700)
		live := h.src.StartSend(feed(0))
		d.up("feed", "back")
		sent := live.Stop()
		again.Exactly(100 + sent.Sent)
	})
}
