// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mcr/dataplane/plan"
)

// set changes the settings of e and nothing else.
func (l *lab) set(e *Engine, change func(*plan.Settings)) {
	l.t.Helper()
	p := &plan.Plan{Points: e.plan.Points, Settings: e.plan.Settings}
	change(&p.Settings)
	l.apply(e, p)
}

// P1.6: knobs change under traffic; nothing is lost, nothing comes twice.
func TestP1_6_KnobsUnderTraffic(t *testing.T) {
	engines(t, func(t *testing.T, l *lab, e *Engine) {
		r := l.receiver("10.9.0.1:6000")
		outs := []*plan.Output{l.output(1, "10.9.0.1:6000")}
		for i := range 60 { // as many as make zero copy pay
			outs = append(outs, l.output(plan.OutputID(i+2), fmt.Sprintf("10.9.1.%d:6001", i+1)))
		}
		sink := l.receiver("0.0.0.0:6001")
		l.apply(e, l.onePoint(&plan.List{ID: 1, Outputs: outs}))
		src := l.source(5, 0)
		sent := numbered(6000, 1200)
		ended := l.feed(e, src, sent)
		knobs := []func(*plan.Settings){
			func(s *plan.Settings) { s.Coalesce = 200 * time.Microsecond },
			func(s *plan.Settings) { s.Coalesce = 5 * time.Millisecond },
			func(s *plan.Settings) { s.BusyPoll = time.Millisecond },
			func(s *plan.Settings) { s.ZeroCopy = plan.ZeroCopyOn },
			func(s *plan.Settings) { s.GSOMaxSegments = 128 },
			func(s *plan.Settings) { s.GSOMaxSegments = 1 },
			func(s *plan.Settings) { s.ZeroCopy, s.GSOMaxSegments = plan.ZeroCopyOff, 0 },
			func(s *plan.Settings) { s.Coalesce, s.BusyPoll, s.ZeroCopy = 0, 0, plan.ZeroCopyAuto },
		}
		changes := 0
		for running := true; running; changes++ {
			select {
			case <-ended:
				running = false
			default:
				l.set(e, knobs[changes%len(knobs)])
			}
		}
		l.received(e, uint64(len(sent)))
		if diff := cmp.Diff(sent, payloads(r.all(len(sent)))); diff != "" {
			t.Errorf("(-want +got):\n%.500s", diff)
		}
		for _, o := range outs {
			if c, _, _ := e.Output(o.ID); c.Packets != uint64(len(sent)) || c.Errors+c.Dropped != 0 {
				t.Errorf("output %d: %+v", o.ID, c)
			}
		}
		sink.Close()
		t.Logf("%d changes, %+v", changes, e.Totals())
	})
}

// D4, F1: a run that is not copied arrives like any other, at receivers on this host, where the kernel has to copy in the end; a
// closed port costs nobody anything; the counters are exact.
func TestD4_ZeroCopy(t *testing.T) {
	for mode, name := range map[plan.ZeroCopy]string{plan.ZeroCopyAuto: "auto", plan.ZeroCopyOn: "on", plan.ZeroCopyOff: "off"} {
		t.Run("uring/socket/"+name, func(t *testing.T) {
			l := newLab(t)
			e := l.start()
			if e.uringErr != nil {
				t.Skipf("no io_uring here: %v", e.uringErr)
			}
			l.apply(e, &plan.Plan{Settings: plan.Settings{Engine: plan.EngineURing, ZeroCopy: mode}})
			const n = 100
			var outs []*plan.Output
			for i := range n {
				o := l.output(plan.OutputID(i+1), netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 0, byte(i + 1)}), 6000).String())
				o.TTL = uint8(i + 10) // tells the receiver whose it is
				if i%10 == 9 {
					o.MTU = 700 // takes no segments of this size: copied, one by one
				}
				outs = append(outs, o)
			}
			outs[3].Dest = netip.MustParseAddrPort("10.9.0.4:6999") // nobody listens
			r := l.receiver("0.0.0.0:6000")
			p := l.onePoint(&plan.List{ID: 1, Outputs: outs})
			p.Settings = e.plan.Settings
			l.apply(e, p)
			src := l.source(5, 0)
			const rounds, burst = 5, 40
			total := 0
			for round := range rounds {
				sent := numbered(burst, 1316)
				hold, release := l.hold()
				l.send(src, fmt.Sprint("first of ", round))
				<-hold
				l.send(src, sent...)
				close(release)
				total += burst + 1
				l.received(e, uint64(total))
				by := map[int][]string{}
				for _, g := range r.rest() {
					by[g.ttl] = append(by[g.ttl], g.payload)
				}
				sent = append([]string{fmt.Sprint("first of ", round)}, sent...)
				for i := range n {
					if diff := cmp.Diff(sent, by[i+10]); diff != "" && i != 3 {
						t.Fatalf("round %d, output %d (-want +got):\n%.300s", round, i+1, diff)
					}
				}
			}
			for i := range n {
				c, _, _ := e.Output(plan.OutputID(i + 1))
				if c.Packets+c.Errors != uint64(total) || (i != 3 && c.Errors != 0) || (i == 3 && c.Refused == 0) {
					t.Errorf("output %d: %+v", i+1, c)
				}
			}
			c := e.Totals()
			if c.OutPackets+c.Errors != uint64(n*total) || c.CompletionOverflows != 0 {
				t.Errorf("%+v", c)
			}
			t.Logf("%d sends without a copy, %d copied", c.ZeroCopySends, c.ZeroCopyCopied)
			switch has := slices.Contains(e.Info().Features, "zero-copy"); {
			case !has:
				t.Logf("no zero copy here: %q", e.Info().Missing)
			case mode == plan.ZeroCopyOff && c.ZeroCopySends != 0, mode == plan.ZeroCopyOn && c.ZeroCopySends < rounds*80:
				t.Errorf("%d sends without a copy", c.ZeroCopySends)
			case mode == plan.ZeroCopyAuto && (c.ZeroCopySends == 0 || c.ZeroCopySends >= rounds*80):
				t.Errorf("%d sends without a copy, although the kernel copied %d", c.ZeroCopySends, c.ZeroCopyCopied)
			}
		})
	}
}

// F6: datagrams that come one by one are sent together, and nothing waits for ever.
func TestF6_Coalesce(t *testing.T) {
	engines(t, func(t *testing.T, l *lab, e *Engine) {
		r := l.receiver("10.9.0.1:6000")
		l.apply(e, l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000")}}))
		src := l.source(5, 0)
		paced := func() (runs uint64) {
			before := e.Workers()[0].Runs
			sent := numbered(40, 300)
			for _, s := range sent {
				l.send(src, s)
				time.Sleep(200 * time.Microsecond) // a pace, not a wait
			}
			for i, want := range sent {
				if g := r.next(); g.payload != want {
					t.Fatalf("datagram %d: %.10q", i, g.payload)
				}
			}
			return e.Workers()[0].Runs - before
		}
		at0 := paced()
		l.set(e, func(s *plan.Settings) { s.Coalesce = 100 * time.Millisecond })
		at100ms := paced()
		if at100ms > 10 || at0 < 3*at100ms {
			t.Errorf("40 datagrams in %d runs, with 100 ms to wait in %d", at0, at100ms)
		}
		// 64 are enough: with the longest time there is, they do not wait.
		l.set(e, func(s *plan.Settings) { s.Coalesce = time.Second })
		sent := numbered(64, 300)
		start := time.Now()
		l.send(src, sent...)
		for range sent {
			r.next()
		}
		if took := time.Since(start); took > 900*time.Millisecond {
			t.Errorf("64 datagrams waited %v", took)
		}
		// A change of the table does not wait either.
		l.send(src, "one")
		start = time.Now()
		l.set(e, func(s *plan.Settings) { s.Coalesce = 0 })
		if took := time.Since(start); took > 900*time.Millisecond {
			t.Errorf("a change of the table waited %v", took)
		}
		if g := r.next(); g.payload != "one" {
			t.Errorf("%q", g.payload)
		}
	})
}

// G9: a worker that polls has the traffic all the same, takes changes over at once, and sleeps when its time is over.
func TestG9_BusyPoll(t *testing.T) {
	engines(t, func(t *testing.T, l *lab, e *Engine) {
		r := l.receiver("10.9.0.1:6000")
		l.apply(e, l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000")}}))
		src := l.source(5, 0)
		for _, d := range []time.Duration{20 * time.Microsecond, time.Second} {
			l.set(e, func(s *plan.Settings) { s.BusyPoll = d })
			for i := range 100 {
				want := fmt.Sprint(d, " ", i)
				l.send(src, want)
				if g := r.next(); g.payload != want {
					t.Fatalf("%q, want %q", g.payload, want)
				}
			}
		}
		start := time.Now()
		l.set(e, func(s *plan.Settings) { s.BusyPoll = 0 })
		if took := time.Since(start); took > 900*time.Millisecond {
			t.Errorf("a change of the table waited %v", took)
		}
	})
}

// G1: where the kernel takes it, up to 128 datagrams leave in one send; older ones get 64, and that shows.
func TestG1_SegmentsOfOneSend(t *testing.T) {
	for _, limit := range []int{0, 64} {
		t.Run(fmt.Sprint("limit_", limit), func(t *testing.T) {
			engines(t, func(t *testing.T, l *lab, e *Engine) {
				if limit > 0 {
					e.segmentLimit = limit
				}
				r := l.receiver("10.9.0.1:6000")
				p := l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000")}})
				p.Settings.GSOMaxSegments = 128
				l.apply(e, p)
				if got := e.Info().GSOSegments; got != e.segmentLimit {
					t.Errorf("%d segments in use, want %d", got, e.segmentLimit)
				}
				_, s, _ := e.Output(1)
				if clipped := strings.Contains(s.GSOReason, "64 at a time"); clipped != (e.segmentLimit == 64) {
					t.Errorf("reason %q", s.GSOReason)
				}
				src := l.source(5, 0)
				hold, release := l.hold()
				l.send(src, "first")
				<-hold
				sent := numbered(384, 100)
				l.send(src, sent...)
				close(release)
				r.next()
				for i, want := range sent {
					if g := r.next(); g.payload != want {
						t.Fatalf("datagram %d: %.10q", i, g.payload)
					}
				}
				if runs := e.Workers()[0].Runs; runs > uint64(384/e.segmentLimit+4) {
					t.Errorf("%d runs", runs)
				}
				if c, _, _ := e.Output(1); c.Packets != 385 || c.Errors+c.TooBig+c.Other != 0 {
					t.Errorf("%+v", c)
				}
			})
		})
	}
}

// F6, G9: whatever a worker waits for, bursts that come while it sends, waits or polls leave by themselves, all of them; and when
// nothing comes it sleeps.
func TestF6_BurstsWhileWaiting(t *testing.T) {
	engines(t, func(t *testing.T, l *lab, e *Engine) {
		r := l.receiver("10.9.0.1:6000")
		l.apply(e, l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000"), l.output(2, "10.9.0.2:6001")}}))
		src := l.source(5, 0)
		var burst []string
		for i, n := range []int{1316, 1316, 188, 1316, 1, 7, 1472, 3001, 1316, 1316, 1316, 500, 1316} {
			burst = append(burst, strings.Repeat(string(rune('a'+i)), n))
		}
		for name, change := range map[string]func(*plan.Settings){
			"coalesce":          func(s *plan.Settings) { s.Coalesce, s.BusyPoll = 200*time.Microsecond, 0 },
			"busy poll":         func(s *plan.Settings) { s.Coalesce, s.BusyPoll = 0, time.Millisecond },
			"coalesce and poll": func(s *plan.Settings) { s.Coalesce, s.BusyPoll = 2*time.Millisecond, 100*time.Microsecond },
		} {
			l.set(e, change)
			for i := range 60 {
				l.send(src, burst...)
				for j, want := range burst {
					if g := r.next(); g.payload != want {
						t.Fatalf("%s: burst %d, datagram %d: %d bytes, want %d", name, i, j, len(g.payload), len(want))
					}
				}
				time.Sleep(time.Duration(i*50) * time.Microsecond) // another phase for each burst
			}
			asleep := func() bool {
				before := e.Workers()[0].Wakeups
				time.Sleep(50 * time.Millisecond) // nothing comes
				return e.Workers()[0].Wakeups-before <= 2
			}
			eventually(t, name+": asleep", asleep)
		}
	})
}
