// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"mcr/dataplane/afpacket"
	"mcr/dataplane/sock"
)

// shard is a part of the outputs with the receive points that feed them. There are as many as usable CPUs, for the life of
// the Engine; outputs, points and their sockets never move to another. One worker serves a shard at a time, and hands it on
// as a whole when the workers are restarted.
type shard struct {
	e  *Engine
	id int

	// worker that serves it; nil or one that ends while the workers are restarted. The new one looks at pending first.
	worker atomic.Pointer[worker]
	// pending holds what is to be adopted, the newest first, linked by next. Commit pushes, the worker takes all.
	pending atomic.Pointer[share]
	// seq is odd while an adoption changes what counters are made from. Readers look before and after.
	seq     atomic.Uint64
	version atomic.Uint64 // of the Plan that was adopted last

	// Of the worker that serves it.
	points   map[*point]struct{} // that receive
	sockets  map[int]struct{}
	settings settings // that were adopted last

	// frags joins what packet points receive in fragments. Made with the first of them.
	frags           atomic.Pointer[afpacket.Reassembler]
	mem             sock.Arena // of frags
	inputs, outputs int        // receive points and outputs; control side, see Engine.mu
}

func newShard(e *Engine, id int) *shard {
	return &shard{e: e, id: id, settings: e.set, points: map[*point]struct{}{}, sockets: map[int]struct{}{}}
}

// push hands sh over for adoption.
func (s *shard) push(sh *share) {
	for {
		sh.next = s.pending.Load()
		if s.pending.CompareAndSwap(sh.next, sh) {
			break
		}
	}
	if w := s.worker.Load(); w != nil {
		w.wake()
	}
}

// stable calls f until it ran without an adoption in between.
func (s *shard) stable(f func()) {
	for {
		seq := s.seq.Load()
		if seq&1 == 0 {
			if f(); s.seq.Load() == seq {
				return
			}
		}
		runtime.Gosched()
	}
}

// seat is what workers of one number leave to the next.
type seat struct {
	id      int
	eventfd int // wakes the worker; anybody writes, at any time
	notices notices
	stats   stats

	residence residence // of the datagrams that it sends on
}

// stats of one seat; any goroutine may read.
type stats struct {
	in, twin                  sum // received by primary points, and by their twins, once more
	tried, lost               sum
	runs, sends, wakeups      atomic.Uint64
	errors, noMatch, noBuffer atomic.Uint64
	overflows                 atomic.Uint64
	zeroCopy, zeroCopied      atomic.Uint64 // sends without a copy, and those of them that the kernel copied all the same
	_                         [64]byte
}

func newSeat(id int, notice chan<- struct{}) (*seat, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	s := &seat{id: id, eventfd: fd}
	s.notices.wake = notice
	return s, nil
}
