// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

// portless is what the Router does about an entry without port: one output to a fixed port, which all ports share, and one that
// keeps the port.
type portless struct {
	*lab
	e      *Engine
	ports  []uint16
	full   bool
	delay  time.Duration // between learning and answering
	shared *plan.List
	told   map[uint16]int // how often a port was told
}

func newPortless(l *lab, e *Engine) *portless {
	p := &portless{lab: l, e: e, told: map[uint16]int{}}
	p.shared = &plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000")}}
	p.commit()
	return p
}

func (p *portless) learner() plan.PointKey { return plan.PointKey{IfIndex: p.in0, Group: group} }

func (p *portless) plan() *plan.Plan {
	route := &plan.Route{Lists: []*plan.List{p.shared}}
	points := []*plan.Point{{PointKey: p.learner(), IfName: "in0", JoinAny: true, Full: p.full, Any: route}}
	for _, port := range p.ports {
		k := p.learner()
		k.Port = port
		keep := &plan.List{ID: 1000 + plan.ListID(port), Outputs: []*plan.Output{
			p.output(1000+plan.OutputID(port), fmt.Sprintf("10.9.0.2:%d", port)),
		}}
		points = append(points, &plan.Point{
			PointKey: k, IfName: "in0", JoinAny: true, Method: p.lab.method, Any: &plan.Route{Lists: []*plan.List{keep, p.shared}},
		})
	}
	return p.withEngine(p.e, &plan.Plan{Points: points})
}

func (p *portless) commit() { p.t.Helper(); p.apply(p.e, p.plan()) }

// serve answers what the learner tells, until ended is closed and nothing more comes.
func (p *portless) serve(ended <-chan struct{}) {
	p.t.Helper()
	for {
		select {
		case ev := <-p.e.Events():
			p.learn(ev)
			continue
		case <-ended:
		}
		select {
		case ev := <-p.e.Events():
			p.learn(ev)
		case <-time.After(200 * time.Millisecond): // longer than a learner takes
			return
		}
	}
}

// serveUntil answers until port was told.
func (p *portless) serveUntil(port uint16) {
	p.t.Helper()
	for p.told[port] == 0 {
		select {
		case ev := <-p.e.Events():
			p.learn(ev)
		case <-time.After(5 * time.Second):
			p.t.Fatalf("port %d is not told", port)
		}
	}
}

func (p *portless) learn(ev plan.Event) {
	p.t.Helper()
	added := false
	for _, k := range ev.Learnt {
		p.told[k.Port]++
		if !slices.Contains(p.ports, k.Port) && !p.full {
			p.ports, added = append(p.ports, k.Port), true
		}
	}
	if added {
		time.Sleep(p.delay) // how slow the Router is
		p.commit()
	}
}

// to sends to a port of the group.
func (p *portless) to(port uint16) *net.UDPConn { return p.dial(sourceIP, port, 5, 46<<2) }

// stream sends payloads at pps from now on, and closes what it returns when they were sent.
func stream(c *net.UDPConn, payloads []string, pps int) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		begin := time.Now()
		for i, p := range payloads {
			due := time.Duration(i) * time.Second / time.Duration(pps)
			for time.Since(begin) < due {
				time.Sleep(time.Millisecond) // a pace, not a wait
			}
			// Where the machine stood still the rest comes later, not at once: a queue of the kernel's own, before any socket, holds 1,000.
			begin = begin.Add(max(time.Since(begin)-due-20*time.Millisecond, 0))
			c.Write([]byte(p)) //nolint:errcheck // seen at the receiver
		}
	}()
	return ended
}

// learnersOf runs a test with each back end and each way of receiving the learnt ports.
func learnersOf(t *testing.T, f func(p *portless)) {
	methods(t, func(_ *testing.T, l *lab, e *Engine) { f(newPortless(l, e)) })
}

// P1.8: the first datagram of a port arrives, and all that follow, each once, in order and unchanged, on the port it came to.
func TestP1_8_HandOver(t *testing.T) {
	learnersOf(t, func(p *portless) {
		t := p.t
		fixed, kept := p.receiver("10.9.0.1:6000"), p.receiver("10.9.0.2:5000")
		sent := numbered(8000, 200)
		p.serve(stream(p.to(5000), sent, 20000))
		p.settle(uint64(len(sent)))
		for name, r := range map[string]*receiver{"fixed port": fixed, "kept port": kept} {
			got := r.all(len(sent))
			if diff := cmp.Diff(sent, payloads(got)); diff != "" {
				t.Errorf("%s: %d of %d (-want +got):\n%.2000s", name, len(got), len(sent), diff)
			}
			for _, g := range got {
				if g.tos != 46<<2 || g.ttl != 64 {
					t.Fatalf("%s: %+v", name, g)
				}
			}
		}
		if lost := p.e.Totals().LostAtHandOver; lost != 0 {
			t.Errorf("%d lost", lost)
		}
	})
}

// settle waits until so many datagrams were received at all learnt points, or counted as lost.
func (p *portless) settle(n uint64) {
	p.t.Helper()
	sum := uint64(0)
	deadline := time.Now().Add(5 * time.Second)
	for time.Now().Before(deadline) {
		sum = p.e.Totals().LostAtHandOver
		for _, port := range p.ports {
			k := p.learner()
			k.Port = port
			c, _ := p.e.Point(k)
			sum += c.Packets
		}
		if sum >= n {
			break
		}
		time.Sleep(time.Millisecond) // polls
	}
	if sum != n {
		p.t.Errorf("received or lost: %d, want %d (lost %d)", sum, n, p.e.Totals().LostAtHandOver)
	}
	p.tryApply(p.e, p.e.plan)
}

// P1.8, Q1: a Router that answers late costs what the learner has no room for, counted, and nothing is doubled.
func TestP1_8_HandOverLate(t *testing.T) {
	learnersOf(t, func(p *portless) {
		t := p.t
		p.delay, p.e.learners.most = 300*time.Millisecond, 100
		r := p.receiver("10.9.0.1:6000")
		sent := numbered(5000, 100)
		p.serve(stream(p.to(5000), sent, 5000))
		p.settle(uint64(len(sent)))
		lost := int(p.e.Totals().LostAtHandOver)
		got := payloads(r.all(len(sent) - lost))
		if len(got)+lost != len(sent) || lost == 0 {
			t.Errorf("%d arrived, %d lost, of %d", len(got), lost, len(sent))
		}
		if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Error("doubled, or out of order")
		}
	})
}

// P1.8, D5: many ports at once, among them fragments and a sender's own segmentation.
func TestP1_8_ManyPorts(t *testing.T) {
	learnersOf(t, func(p *portless) {
		t := p.t
		r := p.receiver("10.9.0.1:6000")
		const ports, each = 40, 5
		var want []string
		ended := make(chan struct{})
		var conns []*net.UDPConn
		for i := range ports {
			c := p.to(uint16(7000 + i))
			if i%4 == 1 {
				p.must(control(c, func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 1000) }))
			}
			conns = append(conns, c)
		}
		message := func(i, n int) []string {
			head := fmt.Sprintf("%d/%d ", i, n)
			switch i % 4 {
			case 1:
				return numberedAs(head, 7, 1000)
			case 2:
				return []string{head + strings.Repeat("f", 4000)} // fragments
			}
			return []string{head}
		}
		for n := range each {
			for i := range ports {
				want = append(want, message(i, n)...)
			}
		}
		go func() {
			defer close(ended)
			for n := range each {
				for i, c := range conns {
					c.Write([]byte(strings.Join(message(i, n), ""))) //nolint:errcheck // seen at the receiver
				}
				time.Sleep(5 * time.Millisecond) // a pace
			}
		}()
		p.serve(ended)
		p.settle(uint64(len(want)))
		got := payloads(r.rest())
		lost := int(p.e.Totals().LostAtHandOver)
		slices.Sort(got)
		slices.Sort(want)
		missing := 0
		want = slices.DeleteFunc(want, func(w string) bool {
			_, arrived := slices.BinarySearch(got, w)
			first := !arrived && strings.Contains(w, "/0 ff") // in fragments, and taught the port: it may be lost
			if first {
				missing++
			}
			return first
		})
		if lost != missing || !slices.Equal(got, want) {
			t.Errorf("%d lost; (-want +got):\n%.2000s", lost, cmp.Diff(want, got))
		}
	})
}

// numberedAs is n payloads of size bytes that begin with head.
func numberedAs(head string, n, size int) (ps []string) {
	for i := range n {
		ps = append(ps, (fmt.Sprintf("%s%d ", head, i) + strings.Repeat("s", size))[:size])
	}
	return ps
}

// P1.8, Q1: where the limit is reached, the ports that are known go on undisturbed; the rest is counted and costs no reading.
func TestP1_8_Full(t *testing.T) {
	learnersOf(t, func(p *portless) {
		t := p.t
		r := p.receiver("10.9.0.2:5000")
		p.send(p.to(5000), "first")
		p.serveUntil(5000)
		p.full = true
		p.commit()
		const others = 3000
		ended := stream(p.to(5000), numbered(2000, 50), 10000)
		c := p.to(6)
		for i := range others {
			_, err := c.WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(group, uint16(10000+i)))
			_ = err
			p.must(control(c, func(fd int) error {
				return unix.Sendto(fd, []byte("x"), 0, &unix.SockaddrInet4{Addr: group.As4(), Port: 10000 + i})
			}))
		}
		<-ended
		p.settle(2001)
		if got := payloads(r.all(2001)); len(got) != 2001 {
			t.Errorf("port 5000 got %d of 2001", len(got))
		}
		eventually(t, "counted", func() bool { c, _ := p.e.Point(p.learner()); return c.Limit >= others })
		if c, _ := p.e.Point(p.learner()); c.Limit != others {
			t.Errorf("%+v", c)
		}
		p.serve(closed())
		if len(p.told) != 1 {
			t.Errorf("told %v", p.told)
		}
		// There is room again: the next ones are learnt.
		p.full = false
		p.commit()
		other := p.receiver("10.9.0.2:10000")
		p.send(p.to(10000), "again")
		p.serveUntil(10000)
		if g := other.next(); g.payload != "again" {
			t.Errorf("%+v", g)
		}
		if c, _ := p.e.Point(p.learner()); c.Limit != others || p.told[10000] != 1 {
			t.Errorf("%+v, told %v", c, p.told)
		}
	})
}

func closed() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// P1.8: a datagram whose fragments come partly before and partly after the hand-over reaches a point that has a socket, and then it is
// not counted as lost; one by packet does not have its beginning.
func TestP1_8_HandOverAmidADatagram(t *testing.T) {
	learnersOf(t, func(p *portless) {
		t := p.t
		r := p.receiver("10.9.0.1:6000")
		asked := func(f func(l *learner, a *askedPort) bool) func() bool {
			return func() bool {
				l := p.e.learnerOf(p.learner())
				p.e.learners.mu.Lock()
				defer p.e.learners.mu.Unlock()
				a := l.asked[groupPort]
				return a != nil && f(l, a)
			}
		}
		p.ports = []uint16{groupPort + 1}
		p.commit()
		c := p.to(groupPort)
		p.send(c, strings.Repeat("a", 3000)) // its rest goes by: it might be of the port that has a point
		eventually(t, "the first is begun", asked(func(_ *learner, a *askedPort) bool { return a.begun == 1 }))
		small := 0
		eventually(t, "what comes is stamped", func() bool {
			small++
			p.send(c, "small")
			return asked(func(l *learner, _ *askedPort) bool { return l.stamped })()
		})
		first, rest := p.fragments(groupPort, strings.Repeat("b", 2000))
		p.injectPacket(first, func([]byte) {})
		eventually(t, "the second is begun", asked(func(_ *learner, a *askedPort) bool { return a.begun == 2 }))
		p.ports = append(p.ports, groupPort)
		p.commit()
		p.injectPacket(rest, func([]byte) {})
		bs, lost := 1, uint64(1)
		if p.lab.method == plan.MethodPacket {
			bs, lost = 0, 2
		}
		for range small {
			if g := r.next(); g.payload != "small" {
				t.Fatalf("%d bytes, %.5q", len(g.payload), g.payload)
			}
		}
		for range bs {
			if g := r.next(); g.payload != strings.Repeat("b", 2000) {
				t.Fatalf("%d bytes, %.5q", len(g.payload), g.payload)
			}
		}
		eventually(t, "the loss is counted", func() bool { return p.e.Totals().LostAtHandOver == lost })
		if more := r.rest(); len(more) > 0 {
			t.Errorf("%d more", len(more))
		}
	})
}

// A port whose point goes is looked for again; one without answer is told twice and given up; what no route wants is not told.
func TestP1_8_Ask(t *testing.T) {
	learnersOf(t, func(p *portless) {
		t := p.t
		r := p.receiver("10.9.0.1:6000")
		p.send(p.to(5000), "one")
		p.serveUntil(5000)
		p.ports = nil
		a, err := p.e.Prepare(p.plan())
		p.must(err)
		<-a.Commit()
		eventually(t, "the janitor", func() bool { p.e.mu.RLock(); defer p.e.mu.RUnlock(); return len(p.e.retired) == 0 })
		p.send(p.to(5000), "two")
		delete(p.told, 5000)
		p.serveUntil(5000)
		if diff := cmp.Diff([]string{"one", "two"}, payloads(r.rest())); diff != "" || p.told[5000] != 1 {
			t.Errorf("told %v (-want +got):\n%s", p.told, diff)
		}

		told := 0
		p.send(p.to(5001), "never answered")
		eventually(t, "told twice", func() bool {
			select {
			case ev := <-p.e.Events():
				told += len(ev.Learnt)
			default:
			}
			return told == 2
		})
		eventually(t, "given up", func() bool { return p.e.Totals().LostAtHandOver == 1 })

		bySource := p.plan()
		bySource.Points[0].BySource = map[netip.Addr]*plan.Route{netip.MustParseAddr("10.8.0.77"): bySource.Points[0].Any}
		bySource.Points[0].Any = nil
		p.apply(p.e, bySource)
		p.send(p.to(5002), "from another source")
		p.serve(closed())
		if p.told[5002] != 0 {
			t.Errorf("told %v", p.told)
		}
	})
}
