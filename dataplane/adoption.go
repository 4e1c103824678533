// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"math/bits"
	"slices"

	"mcr/dataplane/plan"
	"mcr/dataplane/sock"
)

// settings are plan.Settings with the defaults filled in.
type settings struct {
	engine      plan.Engine
	segments    int // of a run
	buffers     int // receive buffers, a power of two
	ringEntries int // a power of two
	rcvbuf      int // bytes
}

func settingsOf(s plan.Settings) settings {
	return settings{
		engine:      s.Engine,
		segments:    within(s.GSOMaxSegments, maxSegments, 1, maxSegments),
		buffers:     powerOfTwo(within(s.ReceiveBuffers, 512, 2*maxSegments, 32768)),
		ringEntries: powerOfTwo(within(s.RingEntries, 4096, 64, 32768)),
		rcvbuf:      within(s.ReceiveSocketBuffer, 8<<20, 4096, 1<<30),
	}
}

// within is n, or def for 0, moved into lo..hi.
func within(n, def, lo, hi int) int {
	if n == 0 {
		return def
	}
	return min(max(n, lo), hi)
}

func powerOfTwo(n int) int { return 1 << bits.Len(uint(n-1)) }

// sameBackend says that the back end need not be opened anew.
func (s settings) sameBackend(t settings) bool {
	return s.engine == t.engine && s.buffers == t.buffers && s.ringEntries == t.ringEntries
}

// adoption is what a worker does to pass from one Plan to the next: the changes alone. The lists and routes themselves were
// made by Prepare and hang on the views.
type adoption struct {
	next     *adoption // in worker.pending the older, in worker.todo the newer
	version  uint64
	settings settings

	changes       []change
	views         []newView
	addPoints     []*point
	removePoints  []*point
	addSockets    []int
	removeSockets []int

	joins []*point // whose membership the janitor narrows
	done  chan struct{}
}

type newView struct {
	pt   *point
	view *view
}

// change is the new state of affairs of one output.
type change struct {
	o     *output
	list  *list
	up    bool
	fresh bool // another socket: old troubles are over
	binding

	// setHeader changes what the socket, which stays, writes into the header. The worker does it: no send is under way.
	setHeader, multicast bool
	ttl, tos             uint8
}

// push hands a to the worker.
func (w *worker) push(a *adoption) {
	for {
		a.next = w.pending.Load()
		if w.pending.CompareAndSwap(a.next, a) {
			break
		}
	}
	w.wake()
}

// adopt takes over what was pushed, oldest first. All sends under the old table have left. While one waits for another
// back end (held), later ones wait too.
func (w *worker) adopt() {
	if w.held != nil || (w.todo == nil && w.pending.Load() == nil) {
		return
	}
	w.todo = w.todo.followedBy(w.pending.Swap(nil))
	for w.todo != nil && w.held == nil {
		a := w.todo
		w.todo, a.next = a.next, nil
		w.apply(a)
		same := w.settings.sameBackend(a.settings)
		w.settings = a.settings
		if same {
			w.adopted(a)
		} else {
			w.held = a
		}
	}
}

// followedBy appends to the adoptions from a on, oldest first, those of a stack, newest first.
func (a *adoption) followedBy(stack *adoption) *adoption {
	var oldest *adoption
	for s := stack; s != nil; {
		s, s.next, oldest = s.next, oldest, s
	}
	if a == nil {
		return oldest
	}
	last := a
	for last.next != nil {
		last = last.next
	}
	last.next = oldest
	return a
}

// apply makes a the state of this worker, but for the back end.
func (w *worker) apply(a *adoption) {
	w.seq.Add(1)
	for i := range a.changes {
		a.changes[i].o.enter(&a.changes[i])
	}
	w.seq.Add(1)
	for i := range a.changes {
		if c := &a.changes[i]; c.setHeader {
			sock.SetHeader(int(c.fd), c.multicast, c.ttl, c.tos) //nolint:errcheck // both options took such values before
		}
	}
	for _, v := range a.views {
		v.pt.view = v.view
		w.later = slices.Grow(w.later[:0], v.view.widest())
	}
	for _, fd := range a.addSockets {
		w.sockets[fd] = struct{}{}
	}
	for _, fd := range a.removeSockets {
		delete(w.sockets, fd)
	}
	for _, pt := range a.addPoints {
		if pt.takesOver { // what came since Prepare, the point before it has had
			sock.Drain(int32(pt.fd))
		}
		w.points[pt] = struct{}{}
		for len(w.byFD) <= pt.fd {
			w.byFD = append(w.byFD, make([]*point, pt.fd+1-len(w.byFD))...)
		}
		w.byFD[pt.fd] = pt
	}
	w.be.removeSockets(a.removeSockets)
	w.be.addSockets(a.addSockets)
	w.be.removePoints(a.removePoints)
	for _, pt := range a.removePoints {
		delete(w.points, pt)
		w.byFD[pt.fd] = nil
	}
	w.be.addPoints(a.addPoints)
}

// adopted tells that a is in force.
func (w *worker) adopted(a *adoption) {
	w.e.tell(func(i *plan.Info) {
		i.TableVersion, i.TableTime = a.version, w.e.clock()
	})
	close(a.done)
}
