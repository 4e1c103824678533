// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
	"mcr/dataplane/uring"
)

// crew is what the workers are made from: another crew is other workers.
type crew struct {
	engine      plan.Engine
	workers     int   // 1..number of shards
	cpus        []int // that they are pinned to, in turn; none: not pinned
	buffers     int   // receive buffers of each, a power of two
	ringEntries int   // of each, a power of two
}

func (c crew) same(d crew) bool {
	return c.engine == d.engine && c.workers == d.workers && c.buffers == d.buffers && c.ringEntries == d.ringEntries && slices.Equal(c.cpus, d.cpus)
}

// usableCPUs are the CPUs that this process may use: at least one.
func usableCPUs() (cpus []int) {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) == nil {
		for i := 0; len(cpus) < set.Count(); i++ {
			if set.IsSet(i) {
				cpus = append(cpus, i)
			}
		}
	}
	if len(cpus) == 0 {
		return []int{0}
	}
	return cpus
}

// supervise makes the workers, makes others where the settings ask for it, and ends them with ctx. It is the only one that does.
func (e *Engine) supervise(ctx context.Context, g *errgroup.Group) error {
	defer func() { e.dismiss(e.workers) }()
	var tried crew
	for {
		e.mu.Lock()
		want, waiting := e.set.crew, e.waiting
		e.waiting = nil
		e.mu.Unlock()
		if !want.same(tried) {
			tried = want
			if err := e.staff(want, g); err != nil {
				return err
			}
		}
		for _, a := range waiting {
			a.adopted(e)
		}
		select {
		case <-e.restart:
		case <-ctx.Done():
			return nil
		}
	}
}

// staff replaces the workers. The new ones are ready before the old ones end, each between two runs and with all sent that it
// has received; what comes from then on waits in the sockets. Where the new ones cannot be had the old go on.
func (e *Engine) staff(c crew, g *errgroup.Group) error {
	old := e.workers // changed here alone
	next, err := e.hire(c, g)
	if err != nil && len(old) == 0 && c.engine != plan.EngineMMsg {
		reason := fmt.Sprintf("no io_uring: %v", err)
		c.engine = plan.EngineMMsg
		if next, err = e.hire(c, g); err == nil {
			next[0].reason = reason
		}
	}
	switch {
	case err != nil && len(old) == 0:
		return err
	case err != nil:
		e.log.Error("the old workers go on", "err", err)
		e.tell(func(i *plan.Info) { i.EngineReason = fmt.Sprintf("as before, since the change failed: %v", err) })
		return nil
	}
	e.dismiss(old)
	for i, w := range next {
		for j := i; j < len(e.shards); j += len(next) {
			w.shards = append(w.shards, e.shards[j])
		}
	}
	e.mu.Lock()
	e.workers = next
	e.mu.Unlock()
	var memory uint64
	rings := 0
	for _, w := range next {
		memory += w.be.memory() + w.mem.Size()
		rings += w.be.rings()
	}
	engine, reason, features := next[0].engine, next[0].reason, next[0].be.features()
	for _, w := range next {
		w.begin <- true
	}
	e.tell(func(i *plan.Info) {
		i.Engine, i.EngineReason, i.BufferMemory, i.Rings = engine, reason, memory, rings
		i.Features = append(features, e.common...)
	})
	e.log.Info("dataplane engine", "engine", engine.String(), "reason", reason, "workers", len(next))
	return nil
}

// cpu is what worker i is pinned to; -1: nothing.
func (c crew) cpu(i int) int {
	if len(c.cpus) == 0 {
		return -1
	}
	return c.cpus[i%len(c.cpus)]
}

// hire makes workers that are ready to begin.
func (e *Engine) hire(c crew, g *errgroup.Group) ([]*worker, error) {
	var ws []*worker
	for i := range c.workers {
		w := newWorker(e, e.seats[i], c)
		ws = append(ws, w)
		g.Go(w.loop)
	}
	var errs []error
	for _, w := range ws {
		if err := <-w.opened; err != nil {
			errs = append(errs, fmt.Errorf("worker %d: %w", w.id, err))
		}
	}
	if len(errs) == 0 {
		return ws, nil
	}
	for _, w := range ws {
		w.begin <- false
		<-w.ended
	}
	return nil, errors.Join(errs...)
}

// dismiss ends workers, and returns when they have ended.
func (e *Engine) dismiss(ws []*worker) {
	for _, w := range ws {
		w.stopped.Store(true)
		w.wake()
	}
	for _, w := range ws {
		<-w.ended
	}
}

// info describes w. Under Engine.mu.
func (w *worker) info() plan.WorkerInfo {
	i := plan.WorkerInfo{CPU: w.cpu, TableVersion: math.MaxUint64}
	for _, s := range w.shards {
		i.Inputs += s.inputs
		i.Outputs += s.outputs
		i.TableVersion = min(i.TableVersion, s.version.Load())
	}
	return i
}

// open finds the back end of w. It has no sockets yet.
func (w *worker) open(c crew) error {
	if err := w.pin(c.cpu(w.id)); err != nil {
		return err
	}
	r, err := newRun(&w.mem)
	if err != nil {
		return err
	}
	w.run = *r
	w.queue = queue{packets: make([]packet, c.buffers)}
	w.reason = "configured"
	if c.engine != plan.EngineMMsg {
		err = w.e.uringErr
		if c.engine == plan.EngineAuto && err == nil {
			err = w.e.ringGainsNothing()
		}
		if err == nil {
			be, err := openRing(w, c)
			if err != nil {
				return err // supervise knows what to do: all workers have the same engine
			}
			w.be, w.engine = be, plan.EngineURing
			if c.engine == plan.EngineAuto {
				w.reason = "the kernel has all that it needs"
			}
			return nil
		}
		w.reason = fmt.Sprintf("no io_uring: %v", err)
	}
	be, err := openMmsg(w, c.buffers)
	if err != nil {
		return fmt.Errorf("mmsg: %w", err)
	}
	w.be, w.engine = be, plan.EngineMMsg
	return nil
}

// ringGainsNothing says why mmsg is the better choice although there is an io_uring. Grouping makes most of the gain; what a
// ring adds is a receive that costs no call and sends that complete without a word.
func (e *Engine) ringGainsNothing() error {
	if lacks := (uring.Multishot | uring.CQESkip) &^ e.support.Has; lacks != 0 {
		return fmt.Errorf("it lacks %v, and gains nothing without", lacks)
	}
	return nil
}

// pin binds the thread, which ends with the worker, to a CPU.
func (w *worker) pin(cpu int) error {
	if cpu < 0 {
		return nil
	}
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("pin to CPU %d: %w", cpu, err)
	}
	return nil
}
