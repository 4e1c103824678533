// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"container/list"
	"sync"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
)

// maxUpdates bounds the updates of one notification, and with it a message's size.
const maxUpdates = 256

// queue holds what waits for one client: at most one value per leaf, and deletes in their order. A full queue cannot be:
// its length is bounded by the leaves that the client subscribed to and the nodes it was told of.
type queue struct {
	signal chan struct{} // has one element while something waits
	held   bool          // Tree.tell has the lock; under Tree.mu

	mu     sync.Mutex
	items  *list.List               // of *waiting; never copied, since its elements know where they are
	byLeaf map[string]*list.Element // values only, by canonical path
}

// waiting is one value or one delete.
type waiting struct {
	change  *change
	fresh   bool   // the client was never told of the leaf
	merged  uint32 // values that this one replaced
	removal *removal
}

func newQueue() *queue {
	return &queue{signal: make(chan struct{}, 1), items: list.New(), byLeaf: map[string]*list.Element{}}
}

// update queues a value; it takes the place of one that waits. It is called with the lock held.
func (q *queue) update(c *change) {
	_, key := c.path()
	if e := q.byLeaf[key]; e != nil {
		w := e.Value.(*waiting)
		if w.change != c { // overlapping subscriptions queue the same change twice
			w.change = c
			w.merged++
		}
		return
	}
	q.byLeaf[key] = q.items.PushBack(&waiting{change: c, fresh: c.fresh})
	q.wake()
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
		q.items.Remove(e)
	}
	if told {
		q.items.PushBack(&waiting{removal: r})
		q.wake()
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
	out.items, out.byLeaf = q.items, q.byLeaf
	q.items, q.byLeaf = list.New(), map[string]*list.Element{}
	return out
}

// next takes the next notification's worth: deletes and then updates of one moment, or nil if nothing waits.
func (q *queue) next(enc Encoding) *gpb.Notification {
	q.mu.Lock()
	var batch []*waiting
	updates := false
	for e := q.items.Front(); e != nil && len(batch) < maxUpdates; e = q.items.Front() {
		w := e.Value.(*waiting)
		if len(batch) > 0 && (w.time() != batch[0].time() || updates && w.removal != nil) {
			break
		}
		q.items.Remove(e)
		if w.change != nil {
			updates = true
			_, key := w.change.path()
			delete(q.byLeaf, key)
		}
		batch = append(batch, w)
	}
	if q.items.Len() > 0 {
		q.wake()
	}
	q.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	n := &gpb.Notification{Timestamp: batch[0].time()}
	for _, w := range batch {
		if w.removal != nil {
			n.Delete = append(n.Delete, &gpb.Path{Elem: w.removal.pathElems()})
			continue
		}
		elems, _ := w.change.path()
		n.Update = append(n.Update, &gpb.Update{Path: &gpb.Path{Elem: elems}, Val: w.change.typed(enc), Duplicates: w.merged})
	}
	return n
}

func (w *waiting) time() int64 {
	if w.removal != nil {
		return w.removal.time
	}
	return w.change.leaf.Time.UnixNano()
}

// waitingLen returns the number of values and deletes that wait.
func (q *queue) waitingLen() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.items.Len()
}
