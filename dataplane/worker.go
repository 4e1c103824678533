// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
	"mcr/dataplane/sock"
)

// worker receives and sends on one locked OS thread. Its fields are its own, but for those that say otherwise.
type worker struct {
	e       *Engine
	id      int
	eventfd int // wakes it; anybody writes

	// pending holds adoptions to be taken over, the newest first, linked by next. Commit pushes, the worker takes all.
	pending atomic.Pointer[adoption]
	stopped atomic.Bool
	// seq is odd while an adoption changes what counters are made from. Readers look before and after.
	seq atomic.Uint64

	be       backend
	settings settings
	mem      sock.Arena
	queue    queue
	run      run
	route    *route    // of the run
	later    []*output // of the run, to be sent to after the others
	now      int64     // Unix ns, of this wake-up
	byFD     []*point
	points   map[*point]struct{} // that receive
	sockets  map[int]struct{}
	todo     *adoption // taken from pending, oldest first
	held     *adoption // applied; waits for another back end
	notices  notices
	stats    stats
}

// stats of one worker; any goroutine may read.
type stats struct {
	in, tried, lost           sum
	runs, sends, wakeups      atomic.Uint64
	errors, noMatch, noBuffer atomic.Uint64
	overflows                 atomic.Uint64
	_                         [64]byte
}

func newWorker(e *Engine, id int) (*worker, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	w := &worker{e: e, id: id, eventfd: fd, points: map[*point]struct{}{}, sockets: map[int]struct{}{}, settings: settingsOf(plan.Settings{})}
	w.notices.wake = e.noticed
	return w, nil
}

// wake makes the worker look at pending and stopped.
func (w *worker) wake() {
	one := [8]byte{1}             // in either byte order it is not 0
	unix.Write(w.eventfd, one[:]) //nolint:errcheck // EAGAIN: it is awake already
}

// loop runs until stopped. Its goroutine dies with its thread, which has the ring's identity.
func (w *worker) loop() error {
	runtime.LockOSThread()
	r, err := newRun(&w.mem)
	if err != nil {
		return err
	}
	w.run = *r
	defer w.mem.Free()
	if err := w.openBackend(); err != nil {
		return err
	}
	defer func() { w.be.close() }()
	for !w.stopped.Load() {
		if err := w.round(); err != nil {
			return fmt.Errorf("worker %d: %w", w.id, err)
		}
	}
	return nil
}

// round is one wake-up. The sends of the last run leave with the wait of the next round.
func (w *worker) round() error {
	if err := w.be.wait(); err != nil {
		return err
	}
	w.now = w.e.clock().UnixNano()
	w.stats.wakeups.Add(1)
	w.released()
	w.adopt()
	for w.collect() {
		if err := w.fan(); err != nil {
			return err
		}
		if w.queue.empty() && w.held == nil {
			return nil
		}
		if err := w.be.flush(); err != nil {
			return err
		}
		w.released()
		w.adopt()
	}
	for w.held != nil {
		if err := w.change(); err != nil {
			return err
		}
		w.adopt()
	}
	return nil
}

// received takes what a back end received.
func (w *worker) received(pt *point, a arrival) {
	pt.errors = 0
	c := sock.ParseControl(a.control)
	p := packet{pt: pt, data: a.payload, seg: len(a.payload), src: a.source(), ttl: c.TTL, tos: c.TOS, buf: a.buf}
	if c.Segment > 0 && c.Segment < p.seg {
		p.seg = c.Segment
	}
	if a.truncated {
		pt.truncated.Add(1)
		p.pt = nil
	}
	w.queue.push(p)
}

// collect makes the next run out of the queue.
func (w *worker) collect() bool {
	q, r := &w.queue, &w.run
	for !q.empty() && q.at(q.mid).pt == nil { // nothing to send, but its buffer goes back
		q.mid++
	}
	if q.empty() {
		return false
	}
	r.begin(q.at(q.mid))
	for !q.empty() {
		p := q.at(q.mid)
		if p.pt == nil || !r.take(p, w.settings.segments) {
			break
		}
		if p.off < len(p.data) {
			break
		}
		q.mid++
	}
	r.pt.in.add(uint64(r.segs), uint64(r.bytes))
	w.stats.in.add(uint64(r.segs), uint64(r.bytes))
	w.stats.runs.Add(1)
	return true
}

// released gives back the buffers of runs whose sends have left. A message that was taken in part keeps its own.
func (w *worker) released() {
	q := &w.queue
	for ; q.head != q.mid; q.head++ {
		w.be.release(q.at(q.head).buf)
	}
}

// broken tells that pt receives nothing any more.
func (w *worker) broken(pt *point, err error) {
	pt.errors = 0
	pt.broken.Store(true)
	w.notify(notice{point: pt, err: err})
}

// stable calls f until it ran without an adoption in between.
func (w *worker) stable(f func()) {
	for {
		seq := w.seq.Load()
		if seq&1 == 0 {
			if f(); w.seq.Load() == seq {
				return
			}
		}
		runtime.Gosched()
	}
}
