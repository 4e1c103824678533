// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"math/bits"
	"slices"
	"sync/atomic"
	"time"

	"mcr/dataplane/plan"
	"mcr/dataplane/sock"
)

// settings are plan.Settings with the defaults filled in.
type settings struct {
	crew
	segments int // of a run
	rcvbuf   int // bytes
	coalesce time.Duration
	busyPoll time.Duration
	zeroCopy plan.ZeroCopy
}

// settingsOf fills in, and clips, for so many CPUs that may be used.
func settingsOf(s plan.Settings, cpus int) settings {
	return settings{
		crew: crew{
			engine:      s.Engine,
			workers:     within(s.Workers, cpus, 1, cpus),
			cpus:        s.CPUs,
			buffers:     powerOfTwo(within(s.ReceiveBuffers, 512, 128, 32768)),
			ringEntries: powerOfTwo(within(s.RingEntries, 4096, 64, 32768)),
		},
		segments: within(s.GSOMaxSegments, sock.OldMaxSegments, 1, maxSegments),
		rcvbuf:   within(s.ReceiveSocketBuffer, 8<<20, 4096, 1<<30),
		coalesce: min(max(s.Coalesce, 0), time.Second),
		busyPoll: min(max(s.BusyPoll, 0), time.Second),
		zeroCopy: s.ZeroCopy,
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

// adoption is the way from one Plan to the next: the changes alone, shard by shard. The lists and routes themselves were made
// by Prepare and hang on the views.
type adoption struct {
	version  uint64
	settings settings
	shares   []share    // by shard
	joins    []*point   // whose membership the janitor narrows
	narrow   []*learner // likewise
	learners []*learner // that go

	// What the janitor adds to the sums of others: instances to those of their branches, inlets to those of their groups.
	instances []*output
	inlets    []*inlet

	left atomic.Int32 // shards that have not adopted it yet, and 1 for the workers where they change
	done chan struct{}
}

// share is what one shard's worker does, between two runs.
type share struct {
	*adoption
	next *share // in shard.pending: the older

	changes       []change
	views         []newView
	addPoints     []*point
	removePoints  []*point
	addSockets    []int
	removeSockets []int
}

func newAdoption(version uint64, s settings, shards int) *adoption {
	a := &adoption{version: version, settings: s, shares: make([]share, shards), done: make(chan struct{})}
	for i := range a.shares {
		a.shares[i].adoption = a
	}
	a.left.Store(int32(shards))
	return a
}

// adopted tells that one of those that a waited for is done.
func (a *adoption) adopted(e *Engine) {
	if a.left.Add(-1) > 0 {
		return
	}
	e.tell(func(i *plan.Info) {
		i.TableVersion, i.TableTime = a.version, e.clock()
	})
	close(a.done)
}

type newView struct {
	pt   *point
	view *view
}

// change is the new state of affairs of one output.
type change struct {
	o     *output
	tally *tally // of its list, on its shard; nil: nothing is counted for it from now on
	up    bool
	fresh bool // another socket: old troubles are over
	binding

	// setHeader changes what the socket, which stays, writes into the header. The worker does it: no send is under way.
	setHeader, multicast bool
	ttl, tos             uint8
}

// adopt takes over what was pushed to the shards. All sends under the old table have left.
func (w *worker) adopt() {
	if !w.called.Load() {
		return
	}
	w.called.Store(false)
	for _, s := range w.shards {
		if s.pending.Load() != nil {
			w.adoptAll(s)
		}
	}
}

// adoptAll takes over what was pushed to s, oldest first.
func (w *worker) adoptAll(s *shard) {
	var oldest *share
	for sh := s.pending.Swap(nil); sh != nil; {
		sh, sh.next, oldest = sh.next, oldest, sh
	}
	for oldest != nil {
		sh := oldest
		oldest, sh.next = sh.next, nil
		w.apply(s, sh)
		w.settings, s.settings = sh.settings, sh.settings
		s.version.Store(sh.version)
		sh.adopted(w.e)
	}
}

// apply makes sh the state of s.
func (w *worker) apply(s *shard, sh *share) {
	s.seq.Add(1)
	for i := range sh.changes {
		sh.changes[i].o.enter(w, &sh.changes[i])
	}
	s.seq.Add(1)
	for i := range sh.changes {
		if c := &sh.changes[i]; c.setHeader {
			sock.SetHeader(int(c.fd), c.multicast, c.ttl, c.tos) //nolint:errcheck // both options took such values before
		}
	}
	for _, v := range sh.views {
		v.pt.view = v.view
		w.later = slices.Grow(w.later[:0], v.view.room())
	}
	for _, fd := range sh.addSockets {
		s.sockets[fd] = struct{}{}
	}
	for _, fd := range sh.removeSockets {
		delete(s.sockets, fd)
	}
	w.be.removeSockets(sh.removeSockets)
	w.be.addSockets(sh.addSockets)
	w.be.removePoints(sh.removePoints)
	for _, pt := range sh.removePoints {
		delete(s.points, pt)
		w.byFD[pt.fd] = nil
	}
	for _, pt := range sh.addPoints {
		s.points[pt] = struct{}{}
		w.know(pt)
		switch {
		case pt.hand != nil:
			w.replay(pt)
		case pt.before != nil:
			w.succeed(pt)
		case pt.takesOver: // what came since Prepare, the point before it has had
			sock.Drain(int32(pt.fd))
		}
	}
	w.be.addPoints(sh.addPoints)
}
