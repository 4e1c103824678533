// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"container/list"
	"errors"
	"sync"
	"sync/atomic"
)

// maxUpdates bounds the updates of one notification, and with it a message's size.
const maxUpdates = 256

// Bounds of what waits at a queue with marks, which keep values apart that could be merged. What one commit changed always
// has room.
const (
	maxMarks  = 10_000
	maxMarked = 1 << 18 // values and deletes of several commits
)

// ErrSlow ends a stream with commit marks whose client does not keep up: values of two commits must not be merged, so there
// is no other bound to what waits.
var ErrSlow = errors.New("the client is too slow for the commits it subscribed to")

// queue holds what waits for one client: at most one value per leaf, and deletes in their order. A full queue cannot be:
// its length is bounded by the leaves that the client subscribed to and the nodes it was told of.
type queue struct {
	signal chan struct{} // has one element while something waits
	held   bool          // Tree.tell has the lock; under Tree.mu

	mu     sync.Mutex
	items  *list.List               // of *waiting; never copied, since its elements know where they are
	byLeaf map[string]*list.Element // values only, by canonical path; with marks only those after the latest mark
	marked int                      // marks that wait
	slow   bool                     // given up

	count *counts
}

// counts are figures of a queue and of what was taken from it.
type counts struct {
	waiting         atomic.Int64
	merged, dropped atomic.Uint64
}

// waiting is one value, one delete or one mark.
type waiting struct {
	change  *change
	fresh   bool   // the client was never told of the leaf
	merged  uint32 // values that this one replaced
	removal *removal
	mark    *CommitMark
}

func newQueue() *queue {
	return &queue{signal: make(chan struct{}, 1), items: list.New(), byLeaf: map[string]*list.Element{}, count: &counts{}}
}

// push queues w and is called with the lock held.
func (q *queue) push(w *waiting) *list.Element {
	q.count.waiting.Add(1)
	q.wake()
	return q.items.PushBack(w)
}

func (q *queue) drop(e *list.Element) {
	q.count.waiting.Add(-1)
	q.items.Remove(e)
}

// update queues a value; it takes the place of one that waits. It is called with the lock held.
func (q *queue) update(c *change) {
	key := c.path()
	if e := q.byLeaf[key]; e != nil {
		w := e.Value.(*waiting)
		if w.change != c { // overlapping subscriptions queue the same change twice
			w.change = c
			w.merged++
			q.items.MoveToBack(e) // with what happened at the same time: times never go back, and no Apply is split
			q.count.merged.Add(1)
		}
		return
	}
	if !q.slow {
		q.byLeaf[key] = q.push(&waiting{change: c, fresh: c.fresh})
	}
}

// commit queues a mark behind all that a commit changed. What comes later is not merged with what waits before the mark.
// Where too much waits the queue is given up. It is called with the lock held.
func (q *queue) commit(m *CommitMark) {
	if q.slow {
		return
	}
	if q.marked >= maxMarks || q.marked > 0 && q.items.Len() > maxMarked {
		q.count.dropped.Add(uint64(q.items.Len()))
		q.count.waiting.Add(-int64(q.items.Len()))
		q.items.Init()
		q.byLeaf = map[string]*list.Element{}
		q.slow = true
		q.wake()
		return
	}
	q.push(&waiting{mark: m})
	q.marked++
	q.byLeaf = map[string]*list.Element{}
}

// remove queues a delete, and takes the values out that wait below it. keys are the event-driven leaves that went and that
// the client gets; told says that the client knows of something else below the node. Nothing is queued if the client was
// never told of any of it. It is called with the lock held.
func (q *queue) remove(r *removal, keys []string, told bool) {
	for _, key := range keys {
		e := q.byLeaf[key]
		if e == nil {
			told = true
			continue
		}
		told = told || !e.Value.(*waiting).fresh
		delete(q.byLeaf, key)
		q.drop(e)
	}
	if told && !q.slow {
		q.push(&waiting{removal: r})
	}
}

// wake is called with the lock held.
func (q *queue) wake() {
	select {
	case q.signal <- struct{}{}:
	default:
	}
}

// take moves everything that waits to the caller.
func (q *queue) take() *queue {
	out := newQueue()
	q.mu.Lock()
	defer q.mu.Unlock()
	out.items, out.byLeaf, out.marked, out.slow, out.count = q.items, q.byLeaf, q.marked, q.slow, q.count
	q.items, q.byLeaf, q.marked = list.New(), map[string]*list.Element{}, 0
	return out
}

// next takes the next message's worth: deletes and then updates of one moment, or a mark; nil: nothing waits. n makes the
// message. The error is ErrSlow.
func (q *queue) next(n *notification) (*Message, error) {
	batch, err := q.batch()
	if len(batch) == 0 || err != nil {
		return nil, err
	}
	if m := batch[0].mark; m != nil {
		return syncDone(m), nil
	}
	n.time = batch[0].time()
	for _, w := range batch {
		if w.removal != nil {
			n.remove(w.removal.wire())
		} else {
			n.update(w.change.wire(n.enc), w.merged)
		}
	}
	return n.message(), nil
}

// batch takes what goes into one message.
func (q *queue) batch() (batch []*waiting, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.slow {
		return nil, ErrSlow
	}
	updates := false
	for e := q.items.Front(); e != nil && len(batch) < maxUpdates; e = q.items.Front() {
		w := e.Value.(*waiting)
		if len(batch) > 0 && (w.mark != nil || w.time() != batch[0].time() || updates && w.removal != nil) {
			break
		}
		q.drop(e)
		batch = append(batch, w)
		if w.mark != nil {
			q.marked--
			break
		}
		if w.change != nil {
			updates = true
			if key := w.change.path(); q.byLeaf[key] == e {
				delete(q.byLeaf, key)
			}
		}
	}
	if q.items.Len() > 0 {
		q.wake()
	}
	return batch, nil
}

func (w *waiting) time() int64 {
	if w.removal != nil {
		return w.removal.time
	}
	return w.change.leaf.Time
}
