// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"mcr/dataplane/afpacket"
	"mcr/dataplane/plan"
	"mcr/dataplane/sock"
)

// worker receives and sends for its shards, on one locked OS thread. Its fields are its own, but for those that say otherwise.
type worker struct {
	*seat
	e    *Engine
	crew crew
	cpu  int // that it is pinned to; -1: none

	opened  chan error // the back end is there, or not
	begin   chan bool  // false: it is not wanted
	ended   chan struct{}
	stopped atomic.Bool // anybody writes, then wakes
	called  atomic.Bool // by whoever wants it to look at its shards

	be     backend
	engine plan.Engine
	reason string // why this engine

	shards   []*shard
	settings settings
	mem      sock.Arena
	queue    queue
	run      run
	route    *route    // of the run
	shard    *shard    // of the run
	later    []*output // of the run, to be sent to after the others
	now      int64     // Unix ns, of this wake-up
	turn     turn
	byFD     []*point // of all its shards
}

func newWorker(e *Engine, s *seat, c crew) *worker {
	return &worker{
		seat: s, e: e, crew: c, cpu: c.cpu(s.id),
		opened: make(chan error, 1), begin: make(chan bool, 1), ended: make(chan struct{}),
	}
}

// wake makes the worker look at its shards and at stopped.
func (w *worker) wake() {
	w.called.Store(true)
	one := [8]byte{1}             // in either byte order it is not 0
	unix.Write(w.eventfd, one[:]) //nolint:errcheck // EAGAIN: it is awake already
}

// loop runs until stopped. Its goroutine dies with its thread, which has the ring's identity and the pinning.
func (w *worker) loop() (err error) {
	runtime.LockOSThread()
	defer close(w.ended)
	defer w.mem.Free()
	err = w.open(w.crew)
	if w.be != nil {
		defer w.be.close()
	}
	w.opened <- err
	if err != nil || !<-w.begin {
		return nil // whoever hired it, knows
	}
	w.serve()
	for !w.stopped.Load() {
		if err := w.round(); err != nil {
			return fmt.Errorf("worker %d: %w", w.id, err)
		}
	}
	if err := w.finish(); err != nil {
		return fmt.Errorf("worker %d: %w", w.id, err)
	}
	return nil
}

// serve takes over the shards, as the worker before has left them.
func (w *worker) serve() {
	newest := uint64(0)
	for _, s := range w.shards {
		if v := s.version.Load(); v >= newest {
			newest, w.settings = v, s.settings
		}
		fds := make([]int, 0, len(s.sockets))
		for fd := range s.sockets {
			fds = append(fds, fd)
		}
		w.be.addSockets(fds)
		pts := s.receiving()
		for _, pt := range pts {
			w.know(pt)
			w.later = slices.Grow(w.later[:0], pt.view.room())
		}
		w.be.addPoints(pts)
		s.worker.Store(w)
	}
	w.called.Store(true)
	w.adopt() // what was pushed while nobody served them
}

// know makes pt one that is received by the worker.
func (w *worker) know(pt *point) {
	for len(w.byFD) <= pt.fd {
		w.byFD = append(w.byFD, make([]*point, pt.fd+1-len(w.byFD))...)
	}
	w.byFD[pt.fd] = pt
}

// receiving are the points of all shards.
func (w *worker) receiving() (pts []*point) {
	for _, s := range w.shards {
		pts = append(pts, s.receiving()...)
	}
	return pts
}

func (s *shard) receiving() []*point {
	pts := make([]*point, 0, len(s.points))
	for pt := range s.points {
		pts = append(pts, pt)
	}
	return pts
}

// finish ends receiving, and sends what was received.
func (w *worker) finish() error {
	if err := w.be.stop(); err != nil {
		return err
	}
	for w.collect() {
		if err := w.fan(); err != nil {
			return err
		}
		if err := w.be.flush(); err != nil {
			return err
		}
	}
	w.released()
	return nil
}

// round is one wake-up. The sends of the last run leave with the wait of the next round.
func (w *worker) round() error {
	if err := w.be.wait(); err != nil {
		return err
	}
	w.now = w.e.clock().UnixNano()
	w.stats.wakeups.Add(1)
	w.residence.wake(w.now)
	w.released()
	w.adopt()
	for w.due() && w.collect() {
		if err := w.fan(); err != nil {
			return err
		}
		if !w.due() && !w.residence.on {
			return nil
		}
		if err := w.be.flush(); err != nil {
			return err
		}
		if w.residence.on && w.route != nil {
			w.residence.sent(w.run.taken, w.run.segs)
		}
		w.released()
		w.adopt()
	}
	return nil
}

// due says that a run is to be made of what waits in the queue: it fills one, or the next wait brings nothing at once to fill it.
func (w *worker) due() bool { return !w.queue.empty() && (w.enough() || !w.be.more()) }

// received takes what a back end received.
func (w *worker) received(pt *point, a arrival) {
	p, stamp := w.parse(pt, a)
	if pt.hand != nil && p.pt != nil && pt.forwarded(stamp, &p) {
		w.discard(&p)
	}
	w.queue.push(p)
}

// parse makes a packet of what pt received, one without a point where there is nothing to send, and tells its time stamp.
func (w *worker) parse(pt *point, a arrival) (p packet, stamp int64) {
	pt.errors = 0
	p = packet{pt: pt, taken: w.residence.last, buf: a.buf}
	switch {
	case a.truncated:
		if pt.primary {
			pt.truncated.Add(1)
		}
		p.pt = nil
	case pt.method == plan.MethodPacket:
		stamp = w.frame(&p, &a)
	default:
		c := sock.ParseControl(a.control)
		p.data, p.seg, p.src, p.sport, p.ttl, p.tos = a.payload, len(a.payload), a.source(), a.port(), c.TTL, c.TOS
		if c.Segment > 0 && c.Segment < p.seg {
			p.seg = c.Segment
		}
		stamp = c.Stamp
	}
	return p, stamp
}

// discard makes p one of which nothing is sent; its buffer goes back in due course.
func (w *worker) discard(p *packet) {
	if p.slot > 0 {
		p.pt.shard.frags.Load().Release(int(p.slot) - 1)
	}
	p.pt, p.slot = nil, 0
}

// receiveFailed notes an error, and says whether pt is to be given up: there were too many in a row.
func (pt *point) receiveFailed(e unix.Errno) bool {
	if pt.method == plan.MethodPacket && e == unix.EINVAL {
		pt.reject(afpacket.UnknownSegment) // see afpacket.Open
		return false
	}
	pt.errors++
	return pt.errors >= brokenAfter
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
	w.counted()
	return true
}

// counted counts the run as received.
func (w *worker) counted() {
	r := &w.run
	if r.pt.primary {
		r.pt.in.add(uint64(r.segs), uint64(r.bytes))
		w.stats.in.add(uint64(r.segs), uint64(r.bytes))
	} else {
		w.stats.twin.add(uint64(r.segs), uint64(r.bytes))
	}
	w.stats.runs.Add(1)
}

// released gives back the buffers of runs whose sends have left. A message that was taken in part keeps its own.
func (w *worker) released() {
	q := &w.queue
	for ; q.head != q.mid; q.head++ {
		p := q.at(q.head)
		w.be.release(p.buf)
		if p.slot > 0 {
			p.pt.shard.frags.Load().Release(int(p.slot) - 1)
			p.slot = 0
		}
	}
}

// broken tells that pt receives nothing any more.
func (w *worker) broken(pt *point, err error) {
	pt.errors = 0
	pt.broken.Store(true)
	w.notify(notice{point: pt, err: err})
}
