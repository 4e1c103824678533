// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"sync/atomic"

	"mcr/dataplane/plan"
)

// notice is one thing that a worker has to tell: the state of an output changed, a point broke, or copies of a list come back.
type notice struct {
	output *output
	point  *point
	looped *list
	err    error
}

// notices is a queue from one worker to the notifier, bounded: what does not fit is lost, and that is told. The
// worker neither waits nor allocates.
type notices struct {
	ring       [4096]notice
	head, tail atomic.Uint64
	lost       atomic.Bool
	wake       chan<- struct{}
}

// notify tells n, once for an output until the notifier has looked.
func (w *worker) notify(n notice) {
	if n.output != nil && !n.output.queued.CompareAndSwap(false, true) {
		return
	}
	q := &w.notices
	tail := q.tail.Load()
	if tail-q.head.Load() == uint64(len(q.ring)) {
		if n.output != nil {
			n.output.queued.Store(false)
		}
		q.lost.Store(true)
	} else {
		q.ring[tail%uint64(len(q.ring))] = n
		q.tail.Store(tail + 1)
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take moves all notices into ev.
func (q *notices) take(ev *plan.Event) {
	ev.Lost = q.lost.Swap(false) || ev.Lost
	for head := q.head.Load(); head != q.tail.Load(); head++ {
		n := &q.ring[head%uint64(len(q.ring))]
		if n.output != nil {
			n.output.queued.Store(false) // before anybody looks at its state
			ev.Outputs = append(ev.Outputs, n.output.tells)
		}
		if n.point != nil {
			ev.Points = append(ev.Points, plan.Problem{Point: n.point.key, Err: n.err})
		}
		if n.looped != nil {
			ev.Loops = append(ev.Loops, n.looped.id)
		}
		*n = notice{}
		q.head.Store(head + 1)
	}
}

// notifier turns notices into events until ctx ends. A reader that is slow gets fewer and larger ones.
func (e *Engine) notifier(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.notice:
		}
		var ev plan.Event
		for _, s := range e.seats {
			s.notices.take(&ev)
		}
		e.learners.takeLearnt(&ev)
		if len(ev.Learnt)+len(ev.Outputs)+len(ev.Points)+len(ev.Loops) == 0 && !ev.Lost {
			continue
		}
		select {
		case e.events <- ev:
		case <-ctx.Done():
			return nil
		}
	}
}

// Events tells of outputs whose OutputStatus changed and of points that broke after Prepare. Whoever does not read, gets
// Lost set in a later one.
func (e *Engine) Events() <-chan plan.Event { return e.events }
