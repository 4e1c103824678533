// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

// DESIGN §2: a source takes its own route, without what an earlier list serves; one that no entry wants is counted.
func TestSources(t *testing.T) {
	shards(t, func(t *testing.T, l *lab, e *Engine) {
		l.inFar(func() { l.address("in1", "10.8.0.77/24"); l.address("in1", "10.8.0.78/24") })
		s77, s78 := netip.MustParseAddr("10.8.0.77"), netip.MustParseAddr("10.8.0.78")
		own := &plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000")}}
		again := l.output(2, "10.9.0.1:6000") // the same place by the other entry
		shared := &plan.List{ID: 2, Outputs: []*plan.Output{again, l.output(3, "10.9.0.3:6000"), l.output(4, "10.9.0.4:6000")}}
		r1, r3, r4 := l.receiver("10.9.0.1:6000"), l.receiver("10.9.0.3:6000"), l.receiver("10.9.0.4:6000")
		pt := &plan.Point{
			PointKey: l.key(), IfName: "in0", JoinSources: []netip.Addr{s77, sourceIP},
			BySource: map[netip.Addr]*plan.Route{
				s77:      {Lists: []*plan.List{own, shared}, Skip: [][]int32{nil, {0, 2}}},
				sourceIP: {Lists: []*plan.List{shared}},
			},
		}
		l.apply(e, &plan.Plan{Points: []*plan.Point{pt}})
		c77, c1, c78 := l.sourceFrom(s77, 5, 0), l.source(5, 0), l.sourceFrom(s78, 5, 0)
		l.send(c77, "from 77")
		l.send(c1, "from 1")
		for r, want := range map[*receiver][]string{r1: {"from 1", "from 77"}, r3: {"from 1", "from 77"}, r4: {"from 1"}} {
			var got []string // in what order two senders are heard is the kernel's choice
			for range want {
				got = append(got, r.next().payload)
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("%v got %q, want %q", r.LocalAddr(), got, want)
			}
			if rest := r.rest(); len(rest) > 0 {
				t.Errorf("%v got more: %q", r.LocalAddr(), payloads(rest))
			}
		}
		for id, want := range map[plan.OutputID]uint64{1: 1, 2: 1, 3: 2, 4: 1} {
			if c, _, _ := e.Output(id); c.Packets != want || c.Errors+c.Dropped+c.NotReady != 0 {
				t.Errorf("output %d: %+v", id, c)
			}
		}
		// Another source is joined on the live socket; nobody wants it yet.
		wider := *pt
		wider.JoinSources = []netip.Addr{s77, sourceIP, s78}
		l.apply(e, &plan.Plan{Points: []*plan.Point{&wider}})
		eventually(t, "no match", func() bool {
			l.send(c78, "from 78")
			c, _ := e.Point(l.key())
			return c.NoMatch > 0
		})
		l.send(c77, "still")
		if g := r1.next(); g.payload != "still" {
			t.Errorf("%+v", g)
		}
	})
}

// P1.9: more sources than a socket takes, then any, then none: joined, and really left.
func TestMemberships(t *testing.T) {
	engines(t, func(t *testing.T, l *lab, e *Engine) {
		r := l.receiver("10.9.0.1:6000")
		route := &plan.Route{Lists: []*plan.List{{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000")}}}}
		point := func(any bool, n int) *plan.Plan {
			pt := &plan.Point{PointKey: l.key(), IfName: "in0", JoinAny: any, Any: route}
			for i := range n {
				pt.JoinSources = append(pt.JoinSources, netip.AddrFrom4([4]byte{10, 8, 0, byte(100 - i)}))
			}
			return &plan.Plan{Points: []*plan.Point{pt}}
		}
		srcs := map[int]netip.Addr{}
		for _, last := range []int{100, 76} {
			a := netip.AddrFrom4([4]byte{10, 8, 0, byte(last)})
			l.inFar(func() { l.address("in1", a.String()+"/24") })
			srcs[last] = a
		}
		first, last := l.sourceFrom(srcs[100], 5, 0), l.sourceFrom(srcs[76], 5, 0)
		for _, step := range []struct {
			name    string
			any     bool
			n       int
			f, last bool
		}{
			{"three sources", false, 3, true, false},
			{"twenty-five sources", false, 25, true, true},
			{"three again", false, 3, true, false},
			{"any", true, 0, true, true},
			{"one", false, 1, true, false},
		} {
			l.apply(e, point(step.any, step.n))
			eventually(t, step.name+": left what is not wanted", func() bool {
				l.send(last, "last")
				return step.last == (len(r.rest()) > 0)
			})
			l.send(first, "first")
			t.Log(step.name)
			if g := r.next(); g.payload != "first" {
				t.Errorf("%s: got %q", step.name, g.payload)
			}
		}
		if !strings.Contains(igmp(t), "010101EF") {
			t.Fatalf("not joined:\n%s", igmp(t))
		}
		l.apply(e, &plan.Plan{})
		eventually(t, "left", func() bool { return !strings.Contains(igmp(t), "010101EF") })
		if _, ok := e.Point(l.key()); ok {
			t.Error("the point is still there")
		}
	})
}

// P1.6: a source that is wanted before and after a change is never shut out, also while the change is only prepared.
func TestMembershipsChangeWithoutLoss(t *testing.T) {
	engines(t, func(t *testing.T, l *lab, e *Engine) {
		r := l.receiver("10.9.0.1:6000")
		route := &plan.Route{Lists: []*plan.List{{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000")}}}}
		point := func(sources ...netip.Addr) *plan.Plan {
			return l.withEngine(e, &plan.Plan{Points: []*plan.Point{{
				PointKey: l.key(), IfName: "in0", JoinAny: len(sources) == 0, JoinSources: sources, Any: route,
			}}})
		}
		src := l.source(5, 0)
		l.apply(e, point(sourceIP))
		for _, step := range []struct {
			name string
			plan *plan.Plan
		}{
			{"from a source to any", point()},
			{"from any to a source", point(sourceIP)},
			{"from a source to two", point(sourceIP, netip.MustParseAddr("10.8.0.77"))},
		} {
			a, err := e.Prepare(step.plan)
			l.must(err)
			l.send(src, step.name)
			if g := r.next(); g.payload != step.name {
				t.Errorf("prepared: got %q, want %q", g.payload, step.name)
			}
			<-a.Commit()
			l.send(src, step.name)
			if g := r.next(); g.payload != step.name {
				t.Errorf("committed: got %q, want %q", g.payload, step.name)
			}
		}
	})
}

// Q1: beyond the limit of sockets an output does not work and the others do; what closes makes room for what opens.
func TestSocketLimit(t *testing.T) {
	l := newLab(t)
	e := l.start()
	one, two, three := l.output(1, "10.9.0.1:6000"), l.output(2, "10.9.0.2:6000"), l.output(3, "10.9.0.3:6000")
	limited := func(n int, outs ...*plan.Output) *plan.Plan {
		p := l.onePoint(&plan.List{ID: 1, Outputs: outs})
		p.Settings.MaximumSockets = n
		return p
	}
	ps := l.tryApply(e, limited(3, one, two, three))
	if len(ps) != 1 || ps[0].Output != 3 || !errors.Is(ps[0].Err, unix.EMFILE) {
		t.Fatalf("problems: %v", ps)
	}
	if i := e.Info(); i.SocketLimit != 3 || i.InputSockets != 1 || i.OutputSockets != 2 {
		t.Errorf("%+v", i)
	}
	l.apply(e, limited(3, two, l.output(3, "10.9.0.3:6000")))
	moved := l.output(2, "10.9.0.4:6000")
	l.apply(e, limited(3, moved, l.output(3, "10.9.0.3:6000")))
	away := limited(3, moved, l.output(3, "10.9.0.3:6000"))
	away.Points[0].Port++
	l.apply(e, away)
	l.apply(e, limited(0, moved, l.output(3, "10.9.0.3:6000"), l.output(4, "10.9.0.1:6000")))
	if i := e.Info(); i.SocketLimit != e.limit || i.OutputSockets != 3 {
		t.Errorf("without a limit: %+v", i)
	}
}

// What waits in a socket is forwarded when its receive is started, also where there are more to start than the ring has room for.
func TestMorePointsThanEntries(t *testing.T) {
	l := newLab(t)
	e := l.start()
	r := l.receiver("10.9.0.1:6000")
	list := &plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000")}}
	p := l.onePoint(list)
	p.Settings = plan.Settings{Engine: plan.EngineMMsg, RingEntries: 64}
	for i := range 500 {
		pt := *p.Points[0]
		pt.Port = 4000 + uint16(i)
		p.Points = append(p.Points, &pt)
	}
	l.apply(e, p)
	ring := *p
	ring.Settings.Engine = plan.EngineURing
	a, err := e.Prepare(&ring)
	l.must(err)
	reached, open := l.hold()
	adopted := a.Commit()
	<-reached
	l.send(l.source(5, 0), "waits")
	close(open)
	<-adopted
	if g := r.next(); g.payload != "waits" {
		t.Errorf("%+v", g)
	}
}

// F6: an egress that refuses segmented sends gets single ones from then on; nothing is lost, and state says so.
func TestSegmentationRefused(t *testing.T) {
	engines(t, func(t *testing.T, l *lab, e *Engine) {
		r := l.receiver("10.9.0.1:6000")
		p := l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000")}})
		l.apply(e, p)
		// Without a checksum to fill in, UDP_SEGMENT is EINVAL.
		l.must(unix.SetsockoptInt(e.outputs[1].sock.fd, unix.SOL_SOCKET, unix.SO_NO_CHECK, 1))
		reached, open := l.hold()
		sent := numbered(20, 500)
		src := l.source(5, 0)
		l.send(src, sent[0])
		<-reached
		l.send(src, sent[1:]...)
		close(open)
		l.received(e, uint64(len(sent)))
		if diff := cmp.Diff(sent, payloads(r.all(len(sent)))); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		c, s, _ := e.Output(1)
		if c.Packets != uint64(len(sent)) || c.Errors != 0 || s.GSOUsed || s.GSOReason != "the interface refused it" || s.Failing {
			t.Errorf("%+v %+v", c, s)
		}
		eventually(t, "told", func() bool { ev := <-e.Events(); return slices.Contains(ev.Outputs, 1) })

		// It stays off until the link changes; then it is tried, and refused again, or not.
		used := func(links map[plan.IfIndex]bool, again, want bool) {
			t.Helper()
			if got := e.LinksChanged(links); got != again {
				t.Errorf("LinksChanged %v: %v", links, got)
			}
			before := c.Packets
			reached, open := l.hold()
			l.send(src, sent[0])
			<-reached
			l.send(src, sent[1:]...)
			close(open)
			l.received(e, before+uint64(len(sent)))
			if diff := cmp.Diff(sent, payloads(r.all(len(sent)))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if c, s, _ = e.Output(1); s.GSOUsed != want || c.Errors != 0 {
				t.Errorf("after a change of %v: %+v %+v", links, c, s)
			}
		}
		used(map[plan.IfIndex]bool{l.in0: true}, false, false)
		used(map[plan.IfIndex]bool{l.out0: true}, true, false)
		l.must(unix.SetsockoptInt(e.outputs[1].sock.fd, unix.SOL_SOCKET, unix.SO_NO_CHECK, 0))
		used(map[plan.IfIndex]bool{l.out0: true}, true, true)
		used(map[plan.IfIndex]bool{l.out0: true}, false, true)
	})
}

// D4, F5: where an egress takes no segmented sends, or an MTU is too small for them, a run's datagrams leave singly, with the headers that each
// output has of its own, in order; and a closed port among them costs its siblings nothing.
func TestSinglesOfARun(t *testing.T) {
	engines(t, func(t *testing.T, l *lab, e *Engine) {
		dests := []string{"10.9.0.1:6000", "10.9.0.2:6000", "10.9.0.3:6000", "10.9.0.1:6001"}
		var rs []*receiver
		var outs []*plan.Output
		for i, d := range dests {
			rs = append(rs, l.receiver(d))
			outs = append(outs, l.output(plan.OutputID(i+1), d))
		}
		outs[0].DSCP = 0
		outs[1].TTLMode = plan.TTLDecrement
		outs[2].TTLMode, outs[2].DSCP = plan.TTLKeep, 10
		outs[3].MTU = 700
		want := []got{{ttl: 64}, {ttl: 8, tos: 0xb8}, {ttl: 9, tos: 10 << 2}, {ttl: 64, tos: 0xb8}}
		outs = append(outs, l.output(5, "10.9.0.4:6999")) // nobody listens
		p := l.onePoint(&plan.List{ID: 1, Outputs: outs})
		src := l.source(9, 0xb8)
		total := uint64(0)
		for _, off := range []map[plan.IfIndex]bool{{l.out0: true}, nil} {
			p.Settings = plan.Settings{Engine: e.plan.Settings.Engine, ZeroCopy: plan.ZeroCopyOn, GSOOff: off}
			l.apply(e, p)
			sent := append([]string{"first"}, numbered(500, 1316)...)
			sent = append(sent, "", "the last")
			reached, open := l.hold()
			l.send(src, sent[0])
			<-reached // the worker stands: what follows makes runs
			l.send(src, sent[1:]...)
			close(open)
			total += uint64(len(sent))
			l.received(e, total)
			for i, r := range rs {
				gs := r.all(len(sent))
				if diff := cmp.Diff(sent, payloads(gs)); diff != "" {
					t.Errorf("%s, off %v (-want +got):\n%.600s", dests[i], off, diff)
				}
				for _, g := range gs {
					if g.ttl != want[i].ttl || g.tos != want[i].tos {
						t.Fatalf("%s, off %v: TTL %d, TOS %#x, want %+v", dests[i], off, g.ttl, g.tos, want[i])
					}
				}
				if c, s, _ := e.Output(plan.OutputID(i + 1)); c.Packets != total || c.Errors != 0 || s.Failing {
					t.Errorf("%s, off %v: %+v %+v", dests[i], off, c, s)
				}
			}
			if c, s, _ := e.Output(5); c.Packets+c.Errors != total || c.Refused == 0 || !s.Failing {
				t.Errorf("nobody listens: %+v %+v", c, s)
			}
		}
	})
}

// A new input forwards what came from the moment it has joined, also before the worker knows of it.
func TestNewInputMissesNothing(t *testing.T) {
	methods(t, func(t *testing.T, l *lab, e *Engine) {
		r := l.receiver("10.9.0.1:6000")
		a, err := e.Prepare(l.withEngine(e, l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000")}})))
		l.must(err)
		l.send(l.source(5, 0), "early")
		<-a.Commit()
		if g := r.next(); g.payload != "early" {
			t.Errorf("%+v", g)
		}
	})
}

// A list that moves to another input, where the same stream comes in, sends nothing of what came there before.
func TestListMovesToAnotherInput(t *testing.T) {
	methods(t, func(t *testing.T, l *lab, e *Engine) {
		r := l.receiver("10.9.0.1:6000")
		list := &plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000")}}
		l.apply(e, l.onePoint(list))
		other := l.onePoint(list)
		other.Points[0].IfIndex = l.out0
		a, err := e.Prepare(l.withEngine(e, other))
		l.must(err)
		src, src2 := l.source(5, 0), l.source(5, 0)
		l.must(control(src2, func(fd int) error {
			return unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(l.out1)})
		}))
		l.send(src2, numbered(100, 20)...)
		l.send(src, numbered(100, 20)...)
		eventually(t, "before", func() bool { c, _, _ := e.Output(1); return c.Packets == 100 })
		<-a.Commit()
		l.send(src2, "the next")
		want := append(numbered(100, 20), "the next")
		eventually(t, "arrived", func() bool { c, _, _ := e.Output(1); return c.Packets >= uint64(len(want)) })
		if diff := cmp.Diff(want, payloads(r.all(len(want)))); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func igmp(t *testing.T) string {
	b, err := os.ReadFile("/proc/thread-self/net/igmp")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
