// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

// P1.1, P1.2, P1.3, D1, D2, D3, D5: each output gets each datagram once, unchanged, with the right header.
func TestForward(t *testing.T) {
	shards(t, func(t *testing.T, l *lab, e *Engine) {
		plain, multi, knobs, down := l.output(1, "10.9.0.1:6000"), l.output(2, "239.2.2.2:6001"), l.output(3, "10.9.0.3:6003"), l.output(4, "10.9.0.4:6004")
		multi.TTLMode = plan.TTLDecrement
		knobs.TTL, knobs.DSCP, knobs.SourcePort = 33, 10, 7777
		down.Up = false
		rs := []*receiver{l.receiver("10.9.0.1:6000"), l.receiver("239.2.2.2:6001"), l.receiver("10.9.0.3:6003"), l.receiver("10.9.0.4:6004")}
		l.apply(e, l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{plain, multi, knobs, down}}))
		src := l.source(9, 46<<2|1) // EF, ECN 1
		sent := []string{"hello", "", "odd", strings.Repeat("a", 1472), strings.Repeat("b", 3001)}
		l.send(src, sent...)

		_, st, _ := e.Output(1)
		for i, want := range []got{{ttl: 64, tos: 46 << 2}, {ttl: 8, tos: 46 << 2}, {ttl: 33, tos: 10 << 2}} {
			for _, p := range sent {
				g := rs[i].next()
				if g.payload != p || g.ttl != want.ttl || g.tos != want.tos || g.from.Addr() != nearIP {
					t.Errorf("output %d: %d bytes ttl %d tos %#x from %v; want %d bytes ttl %d tos %#x", i+1, len(g.payload), g.ttl, g.tos, g.from, len(p), want.ttl, want.tos)
				}
				if port := []uint16{st.LocalPort, 0, 7777}[i]; port != 0 && g.from.Port() != port {
					t.Errorf("output %d: source port %d, want %d", i+1, g.from.Port(), port)
				}
			}
		}
		for i, r := range rs {
			if rest := r.rest(); len(rest) > 0 {
				t.Errorf("output %d got %d more", i+1, len(rest))
			}
		}
		octets := uint64(len(strings.Join(sent, "")))
		for id := range plan.OutputID(5) {
			c, _, ok := e.Output(id)
			want := plan.OutputCounters{Packets: 5, Octets: octets}
			switch id {
			case 0:
				if ok {
					t.Error("there is an output 0")
				}
				continue
			case 4:
				want = plan.OutputCounters{NotReady: 5}
			}
			if c.Packets > 0 == c.LastPacketTime.IsZero() {
				t.Errorf("output %d: last packet %v", id, c.LastPacketTime)
			}
			c.LastPacketTime = time.Time{}
			if diff := cmp.Diff(want, c); diff != "" {
				t.Errorf("output %d (-want +got):\n%s", id, diff)
			}
		}
		if c, _ := e.List(1); c.Packets != 5 || c.Octets != octets {
			t.Errorf("list: %+v", c)
		}
		if c, _ := e.Point(l.key()); c.Packets != 5 || c.Octets != octets || c.NoMatch+c.Truncated+c.Overrun != 0 {
			t.Errorf("point: %+v", c)
		}
		if c := e.Totals(); c.InPackets != 5 || c.OutPackets != 15 || c.OutOctets != 3*octets {
			t.Errorf("totals: %+v", c)
		}
	})
}

// P1.3, D4, P4.4: bursts of mixed sizes, joined into runs and cut up again, arrive whole and in order, for an egress that
// takes segments and for those that do not.
func TestRunsKeepOrderAndContent(t *testing.T) {
	methods(t, func(t *testing.T, l *lab, e *Engine) {
		small := l.output(2, "10.9.0.2:6000")
		small.MTU = 700 // a segment of 1316 does not fit: one by one
		off := l.output(3, "239.2.2.2:6000")
		off.TTLMode = plan.TTLDecrement
		rs := []*receiver{l.receiver("10.9.0.1:6000"), l.receiver("10.9.0.2:6000"), l.receiver("239.2.2.2:6000")}
		p := l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000"), small, off}})
		l.apply(e, p)
		var sent []string
		for i, n := range []int{1316, 1316, 1316, 500, 1316, 0, 3001, 3001, 1472, 1472, 1472, 1, 3, 1316, 1316, 20000, 7, 7, 7, 5, 7} {
			sent = append(sent, strings.Repeat(string(rune('a'+i)), n))
		}
		sent = append(sent, numbered(1000, 1316)...)
		src := l.source(5, 0)
		hold, release := l.hold()
		l.send(src, "first")
		<-hold // the worker stands: the burst is received at once, and out of buffers
		l.send(src, sent...)
		close(release)
		sent = append([]string{"first"}, sent...)
		for i, r := range rs {
			for j, want := range sent {
				if g := r.next(); g.payload != want {
					t.Fatalf("output %d: datagram %d has %d bytes %.10q, want %d %.10q", i+1, j, len(g.payload), g.payload, len(want), want)
				}
			}
			if c, _, _ := e.Output(plan.OutputID(i + 1)); c.Packets != uint64(len(sent)) || c.Errors != 0 {
				t.Errorf("output %d: %+v", i+1, c)
			}
		}
		if s := e.Workers()[0]; s.Runs > 200 || s.Packets != uint64(len(sent)) || s.Wakeups > 100 {
			t.Errorf("nothing was joined: %+v", s)
		}
	})
}

// G7: what waits in the queue leaves in runs that are full, though the kernel hands out a few datagrams at a time, and behind the
// notifications of all sends without a copy.
func TestRunsAreFull(t *testing.T) {
	for name, mode := range map[string]plan.ZeroCopy{"zero-copy": plan.ZeroCopyOn, "copy": plan.ZeroCopyOff} {
		t.Run(name, func(t *testing.T) {
			methods(t, func(t *testing.T, l *lab, e *Engine) {
				const n, full = 490, 65507 / 1316
				outs := []*plan.Output{l.output(1, "10.9.0.1:6000")}
				for i := range 100 { // nobody is a member
					outs = append(outs, l.output(plan.OutputID(i+2), fmt.Sprintf("239.3.3.%d:6000", i+1)))
				}
				r := l.receiver("10.9.0.1:6000")
				p := l.onePoint(&plan.List{ID: 1, Outputs: outs})
				p.Settings.ZeroCopy = mode
				l.apply(e, p)
				src := l.source(5, 0)
				sent := append([]string{"first"}, numbered(n, 1316)...)
				hold, release := l.hold()
				l.send(src, sent[0])
				<-hold
				l.send(src, sent[1:]...)
				close(release)
				for i, want := range sent {
					if g := r.next(); g.payload != want {
						t.Fatalf("datagram %d: %.10q, want %.10q", i, g.payload, want)
					}
				}
				if runs := e.Workers()[0].Runs; runs > n/full+3 {
					t.Errorf("%d datagrams in %d runs, of up to %d", n+1, runs, full)
				}
			})
		})
	}
}

// A sender's own segmentation (UDP_SEGMENT, arriving as one message through UDP_GRO) is cut up as it was.
func TestSegmentedInput(t *testing.T) {
	engines(t, func(t *testing.T, l *lab, e *Engine) {
		r := l.receiver("10.9.0.1:6000")
		l.apply(e, l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000")}}))
		src := l.source(5, 0)
		l.must(control(src, func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 1000) }))
		want := numbered(30, 1000)
		want = append(want, strings.Repeat("z", 77))
		l.send(src, strings.Join(want, ""))
		for i, p := range want {
			if g := r.next(); g.payload != p {
				t.Fatalf("datagram %d: %d bytes, want %d", i, len(g.payload), len(p))
			}
		}
		if c, _ := e.Point(l.key()); c.Packets != 31 {
			t.Errorf("point: %+v", c)
		}
	})
}

// P1.6, P4.4: siblings of an output that comes, changes and goes lose nothing and get nothing twice; the counters
// are those of the receivers.
func TestChangesUnderTraffic(t *testing.T) {
	shards(t, func(t *testing.T, l *lab, e *Engine) {
		a, b := l.output(1, "10.9.0.1:6000"), l.output(2, "10.9.0.2:6000")
		ra, rb, rc := l.receiver("10.9.0.1:6000"), l.receiver("10.9.0.2:6000"), l.receiver("10.9.0.2:6002")
		l.apply(e, l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{a}}))
		src := l.source(5, 0)
		sent := numbered(some(4000), 200)
		ended := l.feed(e, src, sent)
		moved, quiet := *b, *b
		moved.Dest = netip.MustParseAddrPort("10.9.0.2:6002")
		quiet.Up = false
		marked := moved
		marked.DSCP, marked.TTL = 8, 20
		var ports []uint16
		changes := 0
		var before, after plan.OutputCounters // of b, over its life
		for running := true; running; {
			for _, outs := range [][]*plan.Output{{a, b}, {a, &moved}, {a, &marked}, {a, &quiet}, {a, b}} {
				l.apply(e, l.onePoint(&plan.List{ID: 1, Outputs: outs}))
				if _, s, _ := e.Output(2); s.LocalPort != 0 {
					ports = append(ports, s.LocalPort)
				}
				changes++
			}
			select {
			case <-ended:
				running = false
			default:
			}
		}
		l.received(e, uint64(len(sent)))
		if diff := cmp.Diff(sent, payloads(ra.all(len(sent)))); diff != "" {
			t.Errorf("the sibling lost or doubled something (-want +got):\n%.500s", diff)
		}
		got := uint64(len(rb.rest()) + len(rc.rest()))
		after, _, _ = e.Output(2)
		if after.Packets-before.Packets != got || after.Errors+after.Dropped != 0 {
			t.Errorf("output 2: %+v, its receivers got %d", after, got)
		}
		all, _ := e.List(1)
		if c, _, _ := e.Output(1); c.Packets != uint64(len(sent)) || all.Packets != uint64(len(sent)) {
			t.Errorf("output 1: %+v, list %+v", c, all)
		}
		if slices.Min(ports) != slices.Max(ports) {
			t.Errorf("the source port was not kept: %v", slices.Compact(ports)) // D1
		}
		t.Logf("%d changes", changes)
		l.apply(e, l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{a}}))
		if _, _, ok := e.Output(2); ok {
			t.Error("output 2 is still there")
		}
	})
}

// F1, P4.3: a closed port costs neither its siblings nor itself a datagram; it shows, and clears by itself.
func TestClosedPort(t *testing.T) {
	engines(t, func(t *testing.T, l *lab, e *Engine) {
		live := l.receiver("10.9.0.1:6000")
		l.apply(e, l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000"), l.output(2, "10.9.0.2:6000")}}))
		src := l.source(5, 0)
		sent := numbered(100, 300)
		for i, p := range sent {
			l.send(src, p)
			l.received(e, uint64(i+1))
		}
		if diff := cmp.Diff(sent, payloads(live.all(len(sent)))); diff != "" {
			t.Errorf("the sibling (-want +got):\n%.500s", diff)
		}
		eventually(t, "failing", func() bool { _, s, _ := e.Output(2); return s.Failing })
		c, s, _ := e.Output(2)
		if c.Refused < 50 || c.Packets != 100 || c.Errors != 0 || c.LastError != "ECONNREFUSED" || s.Err != unix.ECONNREFUSED {
			t.Errorf("closed port: %+v %+v", c, s)
		}
		if c, s, _ := e.Output(1); c.Refused != 0 || s.Failing {
			t.Errorf("live port: %+v %+v", c, s)
		}
		select {
		case ev := <-e.Events():
			if !slices.Contains(ev.Outputs, 2) {
				t.Errorf("event %+v", ev)
			}
		case <-time.After(5 * time.Second):
			t.Error("no event")
		}
		late := l.receiver("10.9.0.2:6000")
		l.send(src, "late", "later")
		if got := payloads([]got{late.next(), late.next()}); !slices.Equal(got, []string{"late", "later"}) {
			t.Errorf("got %q", got)
		}
	})
}

// P4.3: an interface that refuses costs little, shows, and everything comes back by itself.
func TestDeadInterface(t *testing.T) {
	engines(t, func(t *testing.T, l *lab, e *Engine) {
		r := l.receiver("10.9.0.1:6000")
		l.apply(e, l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000")}}))
		src := l.source(5, 0)
		l.send(src, "before")
		r.next()
		l.far0Down("out1", true) // no carrier at out0: the route goes
		l.near0("out0", false)
		sent := uint64(1)
		eventually(t, "failing", func() bool {
			l.send(src, "lost")
			sent++
			_, s, _ := e.Output(1)
			return s.Failing
		})
		for range 200 {
			l.send(src, "lost")
			sent++
		}
		l.received(e, sent)
		if c, s, _ := e.Output(1); c.Packets != 1 || c.Errors != sent-1 || s.Err == nil || c.Unreachable >= c.Errors {
			t.Errorf("%+v %+v, sent %d", c, s, sent)
		}
		l.near0("out0", true)
		l.far0Down("out1", false)
		l.must(netRouteReplace(l))
		eventually(t, "sending again", func() bool {
			l.send(src, "again")
			_, s, _ := e.Output(1)
			return !s.Failing && len(r.rest()) > 0
		})
	})
}

// P1.7: nothing goes to the packet's own source address.
func TestNotToTheSource(t *testing.T) {
	methods(t, func(t *testing.T, l *lab, e *Engine) {
		back := l.output(1, "10.8.0.1:6000")
		back.IfIndex, back.Source = l.in0, netip.MustParseAddr("10.8.0.2")
		r := l.receiver("10.8.0.1:6000")
		l.apply(e, l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{back}}))
		l.send(l.source(5, 0), "one", "two")
		l.received(e, 2)
		if c, s, _ := e.Output(1); c.Packets != 0 || c.Dropped != 2 || c.Errors != 0 || s.Failing || !c.LastPacketTime.IsZero() {
			t.Errorf("%+v %+v", c, s)
		}
		if rest := r.rest(); len(rest) > 0 {
			t.Errorf("the source got %d", len(rest))
		}
	})
}

// D2: what arrives with TTL 1 is not sent on with 0, and that shows; unicast copies have their own TTL.
func TestTTL(t *testing.T) {
	methods(t, func(t *testing.T, l *lab, e *Engine) {
		multi := l.output(1, "239.2.2.2:6000")
		multi.TTLMode = plan.TTLDecrement
		picky := l.output(3, "10.9.0.3:6000")
		rs := []*receiver{l.receiver("239.2.2.2:6000"), l.receiver("10.9.0.2:6000"), l.receiver("10.9.0.3:6000")}
		l.apply(e, l.onePoint(
			&plan.List{ID: 1, Outputs: []*plan.Output{multi, l.output(2, "10.9.0.2:6000")}},
			&plan.List{ID: 2, MinTTL: 2, Outputs: []*plan.Output{picky}}))
		one, more := l.source(1, 0), l.source(2, 0)
		l.send(one, "ttl 1")
		rs[1].next()
		eventually(t, "too low", func() bool { c, s, _ := e.Output(1); return s.TTLTooLow && c.SkippedTTL == 1 })
		eventually(t, "dropped", func() bool { c, _ := e.List(2); return c.DroppedTTL == 1 })
		c, _, _ := e.Output(1)
		if lc, _ := e.List(2); c.SkippedTTL != 1 || c.Packets != 0 || lc.DroppedTTL != 1 || lc.Packets != 0 {
			t.Errorf("output %+v, list %+v", c, lc)
		}
		l.send(more, "ttl 2")
		if g := rs[0].next(); g.ttl != 1 || g.payload != "ttl 2" {
			t.Errorf("%+v", g)
		}
		if g := rs[2].next(); g.ttl != 64 || g.payload != "ttl 2" {
			t.Errorf("%+v", g)
		}
		sent := uint64(1)
		eventually(t, "no longer too low", func() bool {
			l.send(more, "ttl 2")
			sent++
			_, s, _ := e.Output(1)
			return !s.TTLTooLow
		})
		l.received(e, sent+1)
		if c, _, _ := e.Output(1); c.Packets != sent || c.SkippedTTL != 1 {
			t.Errorf("output 1: %+v", c)
		}
	})
}

// Nothing is lost or doubled when the engine changes under traffic.
func TestEngineSwitch(t *testing.T) {
	l := newLab(t)
	e := l.start()
	if e.uringErr != nil {
		t.Skipf("no io_uring here: %v", e.uringErr)
	}
	r := l.receiver("10.9.0.1:6000")
	p := l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000")}})
	l.apply(e, p)
	src := l.source(5, 0)
	sent := numbered(5000, 700)
	ended := l.feed(e, src, sent)
	kinds := []plan.Engine{plan.EngineMMsg, plan.EngineURing}
	for i := 0; ; i++ {
		next := &plan.Plan{Points: p.Points, Settings: plan.Settings{Engine: kinds[i%2], ReceiveBuffers: 128 << (i % 3)}}
		l.apply(e, next)
		if got := e.Info(); got.Engine != kinds[i%2] {
			t.Fatalf("engine %v: %s", got.Engine, got.EngineReason)
		}
		select {
		case <-ended:
		default:
			continue
		}
		t.Logf("%d switches", i)
		break
	}
	l.received(e, uint64(len(sent)))
	if diff := cmp.Diff(sent, payloads(r.all(len(sent)))); diff != "" {
		t.Errorf("(-want +got):\n%.500s", diff)
	}
	if c, _, _ := e.Output(1); c.Packets != uint64(len(sent)) || c.Errors != 0 {
		t.Errorf("%+v", c)
	}
}

// P4.5: thousands of branches leave the host's ephemeral ports to others, and all send.
func TestManyOutputsFewPorts(t *testing.T) {
	engines(t, func(t *testing.T, l *lab, e *Engine) {
		l.must(os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("40000 41999"), 0o644))
		n := some(3000)
		var outs []*plan.Output
		for i := range n {
			outs = append(outs, l.output(plan.OutputID(i+1), netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), 6000).String()))
		}
		all := l.receiver("0.0.0.0:6000")
		few := l.onePoint(&plan.List{ID: 1, Outputs: outs})
		few.Settings.RingEntries = 64 // a run is submitted in many parts
		l.apply(e, few)
		ports := map[uint16]int{}
		for i := range n {
			_, s, _ := e.Output(plan.OutputID(i + 1))
			ports[s.LocalPort]++
		}
		if len(ports) > n/perPort+2 {
			t.Errorf("%d outputs took %d source ports", n, len(ports))
		}
		l.send(l.source(5, 0), "to all")
		eventually(t, "sent", func() bool { c := e.Totals(); return c.OutPackets == uint64(n) && c.Errors == 0 })
		if got := len(all.all(n)); got != n {
			t.Errorf("%d arrived", got)
		}
		all.Close() // every branch fails: more completions than the queue holds
		src, sent := l.source(5, 0), uint64(1)
		eventually(t, "all failing", func() bool {
			l.send(src, "refused")
			sent++
			eventually(t, "counted", func() bool { c := e.Totals(); return c.OutPackets+c.Errors == sent*uint64(n) })
			failing := 0
			for i := range n {
				if _, s, _ := e.Output(plan.OutputID(i + 1)); s.Failing {
					failing++
				}
			}
			return failing == n
		})
		if c := e.Totals(); c.CompletionOverflows != 0 || c.Errors != 0 {
			t.Errorf("%+v", c)
		}
		// One more costs no new socket but its own.
		before := e.Info().OutputSockets
		outs = append(slices.Clone(outs), l.output(plan.OutputID(n+1), "10.9.200.1:6000"))
		start := time.Now()
		a, err := e.Prepare(l.withEngine(e, l.onePoint(&plan.List{ID: 1, Outputs: outs})))
		l.must(err)
		if pr := a.(*prep); len(pr.outputs) != 1 || pr.sockets != 1 {
			t.Errorf("one more output touched %d and opened %d", len(pr.outputs), pr.sockets)
		}
		a.Discard()
		t.Logf("prepared one more in %v", time.Since(start))
		if got := e.Info().OutputSockets; got != before {
			t.Errorf("Discard left %d sockets, there were %d", got, before)
		}
	})
}

// A point or an output that cannot be had is a Problem, and harms nobody; another pointer tries again.
func TestProblems(t *testing.T) {
	engines(t, func(t *testing.T, l *lab, e *Engine) {
		r := l.receiver("10.9.0.1:6000")
		bad := l.output(2, "10.9.0.2:6000")
		bad.Source = netip.MustParseAddr("192.0.2.1") // not ours
		list := &plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000"), bad}}
		p := l.onePoint(list)
		gone := &plan.Point{PointKey: plan.PointKey{IfIndex: 9999, Group: group, Port: 1}, JoinAny: true, Any: &plan.Route{Lists: []*plan.List{list}}}
		p.Points = append(p.Points, gone)
		ps := l.tryApply(e, p)
		if len(ps) != 2 || ps[0].Point != gone.PointKey || ps[1].Output != 2 {
			t.Fatalf("problems: %v", ps)
		}
		l.send(l.source(5, 0), "works")
		if g := r.next(); g.payload != "works" {
			t.Errorf("%+v", g)
		}
		if c, s, _ := e.Output(2); c.NotReady != 1 || s.LocalPort != 0 {
			t.Errorf("%+v %+v", c, s)
		}
		fixed := *bad
		fixed.Source = nearIP
		r2 := l.receiver("10.9.0.2:6000")
		l.apply(e, l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{list.Outputs[0], &fixed}}))
		l.send(l.source(5, 0), "both")
		if g := r2.next(); g.payload != "both" {
			t.Errorf("%+v", g)
		}
		if c, _, _ := e.Output(2); c.NotReady != 1 || c.Packets != 1 {
			t.Errorf("%+v", c)
		}
		if _, err := e.Prepare(nil); err == nil {
			t.Error("no Plan was taken")
		}
	})
}

// An MTU that is smaller than we know, such as one that has just changed, costs no datagram. Linux says EMSGSIZE; up to 5.10 it says EINVAL,
// as to a device that refuses segmentation, so that there is none until the link is known to have changed.
func TestMTUSmallerThanKnown(t *testing.T) {
	engines(t, func(t *testing.T, l *lab, e *Engine) {
		r := l.receiver("10.9.0.1:6000")
		l.apply(e, l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000")}}))
		l.setMTU("out0", 1000)
		src := l.source(5, 0)
		sent := numbered(200, 1316)
		hold, release := l.hold()
		l.send(src, "first")
		<-hold
		l.send(src, sent...)
		close(release)
		r.next()
		for i, want := range sent {
			if g := r.next(); g.payload != want {
				t.Fatalf("datagram %d: %.10q, want %.10q", i, g.payload, want)
			}
		}
		c, s, _ := e.Output(1)
		told := c.TooBig > 0 && s.GSOUsed
		old := c.LastError == "EINVAL" && s.GSOReason == "the interface refused it"
		if c.Packets != 201 || c.Errors != 0 || s.Failing || !(told || old) {
			t.Errorf("%+v %+v", c, s)
		}
	})
}

// Run closes all that was opened.
func TestNothingStaysOpen(t *testing.T) {
	for _, kind := range []plan.Engine{plan.EngineMMsg, plan.EngineURing} {
		t.Run(kind.String(), func(t *testing.T) {
			l := newLab(t)
			src := l.source(5, 0)
			files := func() int {
				fds, err := os.ReadDir("/proc/self/fd")
				l.must(err)
				return len(fds)
			}
			before := files()
			e, end := l.startWith(Config{})
			p := l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000"), l.output(2, "239.2.2.2:6000")}})
			p.Settings.Engine = kind
			l.apply(e, p)
			l.send(src, "one")
			eventually(t, "sent", func() bool { return e.Totals().OutPackets == 2 })
			left, err := e.Prepare(l.withEngine(e, l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{l.output(3, "10.9.0.1:6000")}})))
			l.must(err)
			end()
			<-left.Commit()
			if got := files(); got != before {
				t.Errorf("%d descriptors are open, there were %d", got, before)
			}
			if _, err := e.Prepare(p); err == nil {
				t.Error("Prepare after the end")
			}
		})
	}
}
