// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net"
	"net/netip"
	"sync"
	"testing"

	"mcr/dataplane/plan"
)

// anyPort builds Plans for an entry without port: one output that keeps the port, and one to port 7000.
type anyPort struct {
	*lab
	head, fixed *plan.Output
	next        plan.OutputID
	lists       map[uint16]*plan.List // by port
}

func (l *lab) anyPort() *anyPort {
	a := &anyPort{lab: l, head: l.output(1, "10.9.0.1:0"), fixed: l.output(2, "10.9.0.2:7000"), next: 10, lists: map[uint16]*plan.List{}}
	return a
}

// plan has a receive point for each of ports.
func (a *anyPort) plan(ports ...uint16) *plan.Plan {
	shared := &plan.List{ID: 1, Outputs: []*plan.Output{a.head, a.fixed}}
	p := &plan.Plan{}
	for port := range a.lists {
		kept := false
		for _, is := range ports {
			kept = kept || is == port
		}
		if !kept {
			delete(a.lists, port)
		}
	}
	for _, port := range ports {
		if a.lists[port] == nil {
			a.next++
			o := *a.head
			o.ID, o.Branch, o.Dest = a.next, a.head.ID, netip.AddrPortFrom(a.head.Dest.Addr(), port)
			a.lists[port] = &plan.List{ID: plan.ListID(a.next), Outputs: []*plan.Output{&o}}
		}
		p.Points = append(p.Points, &plan.Point{
			PointKey: plan.PointKey{IfIndex: a.in0, Group: group, Port: port}, IfName: "in0", JoinAny: true,
			Any: &plan.Route{Lists: []*plan.List{shared, a.lists[port]}},
		})
	}
	return p
}

// P1.8, P4.4: the counters of an output that keeps the port are the sums over all ports, exact, and never go back while
// ports come and go.
func TestP4_4_BranchIsTheSumOfItsPorts(t *testing.T) {
	shards(t, func(t *testing.T, l *lab, e *Engine) {
		a := l.anyPort()
		ports := []uint16{5000, 5004, 5008}
		senders, receivers := map[uint16]*net.UDPConn{}, map[uint16]*receiver{}
		for _, p := range ports {
			senders[p] = l.dial(sourceIP, p, 5, 0)
			receivers[p] = l.receiver(netip.AddrPortFrom(netip.MustParseAddr("10.9.0.1"), p).String())
		}
		all := l.receiver("10.9.0.2:7000")
		l.apply(e, a.plan(ports...))

		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			var last plan.OutputCounters
			for {
				c, _, ok := e.Output(1)
				if !ok || c.Packets < last.Packets || c.Octets < last.Octets || c.NotReady != 0 {
					t.Errorf("the branch counts %+v after %+v, %v", c, last, ok)
					return
				}
				last = c
				select {
				case <-stop:
					return
				default:
				}
			}
		})
		sent := uint64(0)
		for round := range 30 {
			for _, p := range ports {
				if len(a.lists) == len(ports) || a.lists[p] != nil {
					l.send(senders[p], numbered(7, 100)...)
					sent += 7
				}
			}
			eventually(t, "counted", func() bool { c, _, _ := e.Output(1); return c.Packets == sent })
			if round%2 == 0 {
				gone := round / 2 % 3
				l.apply(e, a.plan(ports[(gone+1)%3], ports[(gone+2)%3]))
			} else {
				l.apply(e, a.plan(ports...))
			}
			if c, _, _ := e.Output(1); c.Packets != sent || c.Octets != 100*sent {
				t.Fatalf("round %d: the branch counts %d packets, %d octets; %d were sent", round, c.Packets, c.Octets, sent)
			}
		}
		close(stop)
		wg.Wait()

		got, from := uint64(0), map[netip.AddrPort]bool{}
		for _, p := range ports {
			for _, g := range receivers[p].rest() {
				got++
				from[g.from] = true
			}
		}
		if n := uint64(len(all.rest())); got != sent || n != sent {
			t.Errorf("%d and %d received, %d sent", got, n, sent)
		}
		if c, _, _ := e.Output(2); c.Packets != sent {
			t.Errorf("the output to one port counts %d, want %d", c.Packets, sent)
		}
		if c, ok := e.List(1); !ok || c.Packets != sent {
			t.Errorf("the entry counts %d, want %d", c.Packets, sent)
		}
		if len(from) != 1 {
			t.Errorf("copies came from %v, want one address and port", from)
		}

		// The rule gets a port: the branch becomes an output of its own, and keeps what it has counted.
		one := *a.head
		one.Dest = netip.MustParseAddrPort("10.9.0.1:5000")
		l.apply(e, l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{&one, a.fixed}}))
		l.send(senders[5000], "one more")
		receivers[5000].next()
		eventually(t, "counted", func() bool { c, _, _ := e.Output(1); return c.Packets == sent+1 })
		eventually(t, "instances are gone", func() bool {
			e.mu.RLock()
			defer e.mu.RUnlock()
			return len(e.outputs) == 2 && len(e.outputs[1].instances) == 0
		})
		l.apply(e, a.plan(ports...))
		l.send(senders[5004], "and one")
		receivers[5004].next()
		eventually(t, "counted", func() bool { c, _, _ := e.Output(1); return c.Packets == sent+2 })
		l.apply(e, &plan.Plan{})
		if len(e.outputs)+len(e.points)+len(e.lists)+len(e.egresses)+e.sockets != 0 {
			t.Errorf("left: %d outputs, %d points, %d lists, %d egresses, %d sockets", len(e.outputs), len(e.points), len(e.lists), len(e.egresses), e.sockets)
		}
		eventually(t, "no group is left", func() bool { e.mu.RLock(); defer e.mu.RUnlock(); return len(e.groups) == 0 })
	})
}

// F1: what an instance suffers is told of its branch.
func TestF1_TroubleOfAnInstanceIsTheBranchs(t *testing.T) {
	engines(t, func(t *testing.T, l *lab, e *Engine) {
		a := l.anyPort()
		l.receiver("10.9.0.2:7000")
		l.apply(e, a.plan(5000, 5004))
		s := l.dial(sourceIP, 5004, 5, 0) // nobody receives at port 5004 of 10.9.0.1
		told := make(chan struct{})
		go func() {
			defer close(told)
			for ev := range e.Events() {
				for _, id := range ev.Outputs {
					if id == a.head.ID {
						return
					}
				}
			}
		}()
		eventually(t, "told of the branch", func() bool {
			l.send(s, "refused")
			select {
			case <-told:
				return true
			default:
				return false
			}
		})
		c, st, _ := e.Output(1)
		if !st.Failing || c.Refused == 0 || c.LastError != "ECONNREFUSED" || st.LocalPort == 0 {
			t.Errorf("status %+v, counters %+v", st, c)
		}
		// A problem is told of the branch, too.
		e.limit = 4
		ps := l.tryApply(e, a.plan(5000, 5004, 5008))
		for _, p := range ps {
			if p.Output != 0 && p.Output != a.head.ID {
				t.Errorf("problem of output %d", p.Output)
			}
		}
		if len(ps) == 0 {
			t.Error("no problem with 4 sockets")
		}
	})
}
