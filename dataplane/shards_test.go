// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

// Nothing is lost or doubled when other workers take over under traffic: another number, engine, ring or set of buffers.
// The two outputs are on two shards.
func TestRestarts(t *testing.T) {
	l := newLab(t)
	e := l.start()
	e.spread = 1
	rs := []*receiver{l.receiver("10.9.0.1:6000"), l.receiver("10.9.0.2:6000")}
	list := &plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000"), l.output(2, "10.9.0.2:6000")}}
	points := l.onePoint(list).Points
	kinds := []plan.Settings{
		{Engine: plan.EngineMMsg, Workers: 1},
		{Engine: plan.EngineMMsg, Workers: len(e.shards)},
		{Engine: plan.EngineMMsg, ReceiveBuffers: 128, Workers: 1, BusyPoll: time.Millisecond},
	}
	if e.uringErr == nil {
		kinds = append(kinds,
			plan.Settings{Engine: plan.EngineURing, Workers: 1},
			plan.Settings{Engine: plan.EngineURing, Workers: len(e.shards), CPUs: e.cpus},
			plan.Settings{Engine: plan.EngineURing, Workers: 1, RingEntries: 64, ZeroCopy: plan.ZeroCopyOn},
			plan.Settings{Engine: plan.EngineURing, Workers: len(e.shards), BusyPoll: time.Millisecond, Coalesce: time.Millisecond})
	}
	l.apply(e, &plan.Plan{Points: points, Settings: kinds[0]})
	src := l.source(5, 0)
	sent := numbered(some(8000), 700)
	ended := l.feed(e, src, sent)
	restarts := 0
	for running := true; running; {
		for _, s := range kinds {
			l.apply(e, &plan.Plan{Points: points, Settings: s})
			restarts++
			i := e.Info()
			if want := max(s.Workers, 1); i.Engine != s.Engine || len(i.Workers) != want {
				t.Fatalf("%v with %d workers (%s), want %v with %d", i.Engine, len(i.Workers), i.EngineReason, s.Engine, want)
			}
			if len(s.CPUs) > 0 && i.Workers[0].CPU != s.CPUs[0] {
				t.Errorf("worker 0 is pinned to %d, want %d", i.Workers[0].CPU, s.CPUs[0])
			}
		}
		select {
		case <-ended:
			running = false
		default:
		}
	}
	t.Logf("%d restarts", restarts)
	l.workersReceived(e, uint64(len(sent)*l.twins(e)))
	for i, r := range rs {
		if diff := cmp.Diff(sent, payloads(r.all(len(sent)))); diff != "" {
			t.Errorf("output %d (-want +got):\n%.500s", i+1, diff)
		}
		if c, _, _ := e.Output(plan.OutputID(i + 1)); c.Packets != uint64(len(sent)) || c.Errors != 0 {
			t.Errorf("output %d: %+v", i+1, c)
		}
	}
	if c, _ := e.Point(l.key()); c.Packets != uint64(len(sent)) || c.Overrun != 0 {
		t.Errorf("the input counts %+v, want %d", c, len(sent))
	}
	if c := e.Totals(); c.InPackets != uint64(len(sent)) || c.OutPackets != uint64(2*len(sent)) {
		t.Errorf("totals: %+v", c)
	}
}

// P4.5: the outputs of one input go over all shards from a number on; each gets everything once and counts it, and those
// that stay notice nothing of changes.
func TestOneInputOverShards(t *testing.T) {
	engines(t, func(t *testing.T, l *lab, e *Engine) {
		if len(e.shards) < 2 {
			t.Skip("there is one CPU")
		}
		const n = 2000
		outs := make([]*plan.Output, n)
		for i := range outs {
			outs[i] = l.output(plan.OutputID(i+1), fmt.Sprintf("10.9.%d.%d:6000", i>>8, i&255))
		}
		all := l.receiver("0.0.0.0:6000")
		got := map[netip.Addr]int{}
		take := func(want int) {
			for range want {
				got[all.next().to]++
			}
			for _, g := range all.rest() {
				got[g.to]++
			}
		}
		l.apply(e, l.onePoint(&plan.List{ID: 1, Outputs: outs[:100]}))
		if twins := l.twins(e); twins != 1 {
			t.Errorf("%d receive points for 100 outputs", twins)
		}
		src := l.source(5, 0)
		l.send(src, numbered(3, 300)...)
		take(300)
		l.apply(e, l.onePoint(&plan.List{ID: 1, Outputs: outs}))
		if twins := l.twins(e); twins != len(e.shards) {
			t.Errorf("%d receive points for %d outputs over %d shards", twins, n, len(e.shards))
		}
		for i, w := range e.Info().Workers {
			if w.Outputs < n/len(e.shards)-1 || w.Outputs > n/len(e.shards)+1 || w.Inputs != 1 {
				t.Errorf("worker %d: %+v", i, w)
			}
		}
		// Every second one of the last thousand goes down and comes up meanwhile.
		some := slices.Clone(outs)
		for i := 1000; i < n; i += 2 {
			quiet := *some[i]
			quiet.Up = false
			some[i] = &quiet
		}
		for i := range 6 {
			l.send(src, fmt.Sprint("datagram ", i))
			take(1000)
			l.apply(e, l.onePoint(&plan.List{ID: 1, Outputs: [][]*plan.Output{some, outs}[i%2]}))
		}
		l.workersReceived(e, uint64(3+6*len(e.shards)))
		take(0)
		for i, o := range outs {
			c, s, _ := e.Output(o.ID)
			want := uint64(6)
			if i < 100 {
				want = 9
			}
			if c.Packets != uint64(got[o.Dest.Addr()]) || c.Packets+c.NotReady != want || c.Errors+c.Dropped != 0 || s.Failing {
				t.Fatalf("output %d: %+v, its receiver got %d, want %d", o.ID, c, got[o.Dest.Addr()], want)
			}
			if i < 1000 && c.NotReady != 0 {
				t.Fatalf("output %d lost something: %+v", o.ID, c)
			}
		}
		if c, _ := e.List(1); c.Packets != 9 {
			t.Errorf("the list counts %d", c.Packets)
		}
		if c, _ := e.Point(l.key()); c.Packets != 9 {
			t.Errorf("the input counts %d", c.Packets)
		}
		l.apply(e, l.onePoint(&plan.List{ID: 1, Outputs: outs[:1]}))
		if i := e.Info(); i.InputSockets != 1 || i.OutputSockets != 1 {
			t.Errorf("left: %d inputs, %d outputs", i.InputSockets, i.OutputSockets)
		}
	})
}

// 10,000 inputs go evenly over the shards, and the first and the last of them work alike.
func TestManyInputs(t *testing.T) {
	engines(t, func(t *testing.T, l *lab, e *Engine) {
		const n = 10_000
		p := &plan.Plan{}
		for i := range n {
			k := plan.PointKey{IfIndex: l.in0, Group: group, Port: uint16(20_000 + i)}
			o := l.output(plan.OutputID(i+1), fmt.Sprintf("10.9.0.1:%d", 20_000+i))
			list := &plan.List{ID: plan.ListID(i + 1)}
			if i%2 == 0 { // the limit of descriptors may be 20,000
				list.Outputs = []*plan.Output{o}
			}
			p.Points = append(p.Points, &plan.Point{PointKey: k, JoinAny: true, Any: &plan.Route{Lists: []*plan.List{list}}})
		}
		start := time.Now()
		l.apply(e, p)
		t.Logf("%d inputs with %d outputs in %v", n, n/2, time.Since(start))
		for i, w := range e.Info().Workers {
			if per := 3 * n / 2 / len(e.shards); w.Inputs+w.Outputs < per-2 || w.Inputs+w.Outputs > per+2 {
				t.Errorf("worker %d: %+v", i, w)
			}
		}
		for _, port := range []int{20_000, 20_002, 20_000 + n - 2} {
			r := l.receiver(fmt.Sprintf("10.9.0.1:%d", port))
			l.send(l.dial(sourceIP, uint16(port), 5, 0), "hello")
			if g := r.next(); g.payload != "hello" {
				t.Errorf("port %d: %+v", port, g)
			}
		}
		for _, s := range []plan.Settings{{Workers: 1}, {Workers: len(e.shards)}} {
			start = time.Now()
			l.apply(e, &plan.Plan{Points: p.Points, Settings: s})
			t.Logf("%d workers instead in %v", s.Workers, time.Since(start))
		}
	})
}

// Two workers do not share a cache line, nor the line beside it.
func TestTallySize(t *testing.T) {
	if n := reflect.TypeFor[tally]().Size(); n != 128 {
		t.Errorf("a tally has %d bytes", n)
	}
}

// Where the workers that are wanted cannot be had, the old ones go on, and state says why.
func TestRestartFails(t *testing.T) {
	engines(t, func(t *testing.T, l *lab, e *Engine) {
		r := l.receiver("10.9.0.1:6000")
		p := l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000")}})
		l.apply(e, p)
		before := e.Info()
		const none = 1023
		e.cpus = append(slices.Clone(e.cpus), none) // which the kernel will not have
		pinned := &plan.Plan{Points: p.Points, Settings: plan.Settings{CPUs: []int{none}}}
		src := l.source(5, 0)
		l.send(src, "before")
		l.apply(e, pinned)
		l.send(src, "after")
		if got := payloads([]got{r.next(), r.next()}); !slices.Equal(got, []string{"before", "after"}) {
			t.Errorf("got %q", got)
		}
		i := e.Info()
		if i.Engine != before.Engine || len(i.Workers) != len(before.Workers) || !strings.Contains(i.EngineReason, "pin to CPU 1023") {
			t.Errorf("%v with %d workers: %s", i.Engine, len(i.Workers), i.EngineReason)
		}
		l.apply(e, &plan.Plan{Points: p.Points, Settings: plan.Settings{Workers: 1}})
		if i = e.Info(); len(i.Workers) != 1 || strings.Contains(i.EngineReason, "pin") {
			t.Errorf("%d workers: %s", len(i.Workers), i.EngineReason)
		}
		l.send(src, "again")
		if g := r.next(); g.payload != "again" {
			t.Errorf("%+v", g)
		}
	})
}

// Q1: settings that the machine cannot give are told with the figure, once, and what can be had of them is in force.
func TestSettingsThatCannotBeHad(t *testing.T) {
	l := newLab(t)
	e := l.start()
	n := len(e.shards)
	outs := []*plan.Output{l.output(1, "10.9.0.1:6000"), l.output(2, "10.9.0.2:6000"), l.output(3, "10.9.0.3:6000")}
	points := l.onePoint(&plan.List{ID: 1, Outputs: outs}).Points
	l.apply(e, &plan.Plan{Points: points})
	for _, c := range []struct {
		settings      plan.Settings
		setting, says string
		workers, cpu  int
	}{
		{plan.Settings{Workers: n + 1}, "workers", fmt.Sprintf("%d are wanted, and %d CPUs", n+1, n), n, -1},
		{plan.Settings{CPUs: []int{e.cpus[0], 1000}}, "cpus", "may be used", n, e.cpus[0]},
		{plan.Settings{MaximumSockets: 2}, "maximum-sockets", "the limit is 2 sockets, and 4 are needed", n, -1},
	} {
		ps := l.tryApply(e, &plan.Plan{Points: points, Settings: c.settings})
		if len(ps) != 1 || ps[0].Setting != c.setting || !strings.Contains(ps[0].Err.Error(), c.says) {
			t.Errorf("%s: %v", c.setting, ps)
		}
		if i := e.Info(); len(i.Workers) != c.workers || i.Workers[0].CPU != c.cpu || i.OutputSockets != 3 {
			t.Errorf("%s: %+v", c.setting, i)
		}
		l.apply(e, &plan.Plan{Points: points, Settings: c.settings})
	}
	few := l.onePoint(&plan.List{ID: 2, Outputs: []*plan.Output{l.output(4, "10.9.0.4:6000"), l.output(5, "10.9.0.5:6000"), l.output(6, "10.9.0.6:6000")}})
	few.Settings.MaximumSockets = 2
	ps := l.tryApply(e, few)
	if len(ps) != 2 || !errors.Is(ps[0].Err, unix.EMFILE) || !strings.Contains(ps[0].Err.Error(), "and 4 are needed") {
		t.Errorf("%v", ps)
	}
}

// The kernel's receive queues change while they are in use.
func TestReceiveSocketBuffer(t *testing.T) {
	l := newLab(t)
	e := l.start()
	p := l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000")}})
	for _, n := range []int{65536, 1 << 20} {
		l.apply(e, &plan.Plan{Points: p.Points, Settings: plan.Settings{ReceiveSocketBuffer: n}})
		got, err := unix.GetsockoptInt(e.points[l.key()].points[0].fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
		if err != nil || got != 2*n { // the kernel doubles it for its own needs
			t.Errorf("%d bytes: SO_RCVBUF is %d, %v", n, got, err)
		}
	}
}

// Without room for a twin its outputs are down for it, and the others work.
func TestNoRoomForATwin(t *testing.T) {
	engines(t, func(t *testing.T, l *lab, e *Engine) {
		if len(e.shards) < 2 {
			t.Skip("there is one CPU")
		}
		e.spread = 1
		rs := []*receiver{l.receiver("10.9.0.1:6000"), l.receiver("10.9.0.2:6000")}
		list := &plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000"), l.output(2, "10.9.0.2:6000")}}
		p := l.onePoint(list)
		p.Settings.MaximumSockets = 2
		ps := l.tryApply(e, p)
		if len(ps) != 1 || ps[0].Output != 2 || !errors.Is(ps[0].Err, unix.EMFILE) {
			t.Fatalf("problems: %v", ps)
		}
		src := l.source(5, 0)
		l.send(src, "one")
		if g := rs[0].next(); g.payload != "one" {
			t.Errorf("%+v", g)
		}
		p = l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{list.Outputs[0], l.output(2, "10.9.0.2:6000")}})
		l.apply(e, p)
		l.send(src, "two")
		for i, r := range rs {
			if g := r.next(); g.payload != "two" {
				t.Errorf("output %d: %+v", i+1, g)
			}
		}
	})
}

// P3.7: of two lists that lead to one place the first serves it. Whichever comes or goes, each datagram is there once, also
// where the lists are over several shards.
func TestPlaceOfTwoListsIsServedOnce(t *testing.T) {
	shards(t, func(t *testing.T, l *lab, e *Engine) {
		var rs []*receiver
		wild := &plan.List{ID: 1}
		for i := range 4 {
			dest := fmt.Sprintf("10.9.0.%d:6000", i+1)
			rs = append(rs, l.receiver(dest))
			wild.Outputs = append(wild.Outputs, l.output(plan.OutputID(i+1), dest))
		}
		id := plan.OutputID(10)
		routes := func(i int) *plan.Route {
			if i%2 == 0 {
				return &plan.Route{Lists: []*plan.List{wild}}
			}
			place := i % 4
			id++
			own := &plan.List{ID: plan.ListID(id), Outputs: []*plan.Output{l.output(id, wild.Outputs[place].Dest.String())}}
			return &plan.Route{Lists: []*plan.List{own, wild}, Skip: [][]int32{nil, {int32(place)}}}
		}
		apply := func(i int) {
			l.apply(e, &plan.Plan{Points: []*plan.Point{{PointKey: l.key(), JoinAny: true, Any: routes(i)}}})
		}
		apply(0)
		src, sent := l.source(5, 0), numbered(5000, 300)
		ended := l.feed(e, src, sent)
		changes := 0
		for running := true; running; changes++ {
			apply(changes + 1)
			select {
			case <-ended:
				running = false
			default:
			}
		}
		t.Logf("%d changes, %d receive points", changes, l.twins(e))
		for i, r := range rs {
			if diff := cmp.Diff(sent, payloads(r.all(len(sent)))); diff != "" {
				t.Errorf("place %d (-want +got):\n%.500s", i+1, diff)
			}
		}
	})
}
