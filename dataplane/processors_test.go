// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"mcr/dataplane/plan"
)

// Q2: there are no more of Go's processors than the machine has, but for workers that keep theirs since they poll.
func TestProcessors(t *testing.T) {
	l := newLab(t)
	before := max(runtime.GOMAXPROCS(0), 2)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(before))
	e := l.start()
	points := l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000")}}).Points
	for _, c := range []struct {
		settings plan.Settings
		want     int
	}{
		{plan.Settings{}, before},
		{plan.Settings{BusyPoll: time.Millisecond, Workers: 1}, before + 1},
		{plan.Settings{BusyPoll: time.Millisecond}, before + len(e.shards)},
		{plan.Settings{}, before},
	} {
		l.apply(e, &plan.Plan{Points: points, Settings: c.settings})
		if got := runtime.GOMAXPROCS(0); got != c.want {
			t.Errorf("%+v: %d processors, want %d", c.settings, got, c.want)
		}
	}
}

// Of one CPU there is a second processor as long as it has time to spare, whatever else changes.
func TestProcessorsOfOneCPU(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	e := &Engine{procs: 1}
	var busy atomic.Bool
	begin, idle := time.Now(), 0.0
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- e.watchCPU(ctx, func() float64 {
			if !busy.Load() {
				idle = time.Since(begin).Seconds()
			}
			return idle
		})
	}()
	for _, c := range []struct {
		busy bool
		want int
	}{{false, 2}, {true, 1}, {false, 2}} {
		busy.Store(c.busy)
		eventually(t, "processors", func() bool { return runtime.GOMAXPROCS(0) == c.want })
	}
	e.prepMu.Lock()
	if got := e.processors(settings{busyPoll: time.Second, crew: crew{workers: 3}}); got != 4 {
		t.Errorf("%d processors for 3 workers that poll", got)
	}
	e.prepMu.Unlock()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A worker lets other goroutines run between its sends. After one that took its time it does not for a while: it leaves that to the
// scheduler, see turn.
func TestWorkerYields(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	w, b := fanWorker(t, 2*turnSends)
	fan := func() {
		t.Helper()
		w.queue.push(packet{pt: w.byFD[0], data: somePayload, seg: 1316, ttl: 9})
		if !w.collect() {
			t.Fatal("nothing to send")
		}
		if err := w.fan(); err != nil {
			t.Fatal(err)
		}
	}
	var ran atomic.Bool
	go func() {
		ran.Store(true)
		for begin := time.Now(); time.Since(begin) < 2*yieldQuick; {
		}
	}()
	begin := time.Now()
	fan()
	if !ran.Load() || b.sends < turnSends {
		t.Errorf("after %d sends nobody else has run", b.sends)
	}
	if rest := w.turn.until.Sub(begin); rest < turnShared {
		t.Errorf("somebody wanted the processor: the next yield is after %v", rest)
	}
}
