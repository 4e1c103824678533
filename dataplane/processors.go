// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"runtime"
	"time"

	"github.com/prometheus/procfs"
)

// Go's scheduler takes its processor from a goroutine that is in a system call for more than 20 µs, but as long as another processor is idle
// only after 10 ms (retake, runtime/proc.go, Go 1.26). Of one processor no other is idle: then it looks every 20 µs, takes it each time a
// worker sleeps or sends much, and wakes a thread to use it, all on the worker's CPU. That is a third of what a copy costs where datagrams come
// one by one (docs/performance.md). So instead of one processor there are two, as long as a single CPU has time to spare. When it has not, each
// stop of the world would wait until the worker has had its turn: up to 10 ms, and with one processor 0.3.
const (
	spareLook = 250 * time.Millisecond
	spareFull = 0.05 // of the time the CPU is idle, or less: the second processor goes
	spareFree = 0.15 // and here it comes back
)

// processors is how many of Go's processors there are to be. There is one for each CPU, and no more: each marks for the collector, and
// where more threads mark than there are CPUs, the world is stopped and one that is to run or to stop waits for a CPU. A worker holds none
// while it is in the kernel. One that polls is not, so that for those there are others. Of a single CPU: see above.
func (e *Engine) processors(s settings) int {
	switch {
	case s.busyPoll > 0:
		return e.procs + s.workers
	case e.spare:
		return 2
	}
	return e.procs
}

// spareProcessor has the second one come and go, where there would be one. It ends with ctx.
func (e *Engine) spareProcessor(ctx context.Context) error {
	if e.procs > 1 {
		return nil
	}
	defer runtime.GOMAXPROCS(e.procs)
	if len(e.cpus) > 1 { // what is limited is the share of them: threads do not wait for each other
		e.setSpare(true)
		<-ctx.Done()
		return nil
	}
	proc, err := procfs.NewDefaultFS()
	if err != nil {
		e.log.Info("whether the CPU is busy cannot be told", "err", err)
		return nil
	}
	return e.watchCPU(ctx, func() float64 { return idleTime(proc, e.cpus[0]) })
}

// watchCPU sees whether a CPU has time to spare; idle is how long it was idle, in seconds. It ends with ctx.
func (e *Engine) watchCPU(ctx context.Context, idle func() float64) error {
	e.setSpare(true)
	tick := time.NewTicker(spareLook)
	defer tick.Stop()
	for at, before := time.Now(), idle(); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		now, sum := time.Now(), idle()
		share := (sum - before) / now.Sub(at).Seconds()
		at, before = now, sum
		switch {
		case e.spare && share < spareFull:
			e.setSpare(false)
		case !e.spare && share > spareFree:
			e.setSpare(true)
		}
	}
}

// setSpare is for watchCPU alone, which may read what it wrote; others have prepMu.
func (e *Engine) setSpare(spare bool) {
	e.prepMu.Lock()
	defer e.prepMu.Unlock()
	e.spare = spare
	runtime.GOMAXPROCS(e.processors(e.set))
}

// idleTime is how long a CPU was idle since it booted, in seconds; what cannot be read was none.
func idleTime(proc procfs.FS, cpu int) float64 {
	s, err := proc.Stat()
	if err != nil {
		return 0
	}
	c := s.CPU[int64(cpu)]
	return c.Idle + c.Iowait
}
