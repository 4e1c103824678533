// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"mcr/dataplane/sock"
)

const (
	// stampWait is how long a Prepare waits at most for the kernel to stamp what arrives, which takes it a thread of its own to begin,
	// and that thread a turn on a CPU.
	stampWait = 200 * time.Millisecond
	restBatch = 32   // messages; fewer than frameSlots
	restMost  = 4096 // batches: a flood must not hold the worker
)

// succeed puts pt, such as one of another receive method, in the place of the point before it, whose receive has ended. Nothing is
// lost or doubled; but where the kernel's stamps cannot be told from times of receiving, what comes during the change is lost.
//
//	before  ──1──2──3──4──5──6──7┐
//	pt            3──4──5──6──7──8──9     opened between 2 and 3
//
// At the change before has forwarded 1 to 3, say. First what waits in pt, 3 to 5, is thrown away: before has had it, or has it in its
// queue. Then that queue, 4 to 7, is forwarded; and of what pt receives from now on the time stamps tell 6 and 7, see handOver.
func (w *worker) succeed(pt *point) {
	before := pt.before
	pt.before = nil
	sock.Drain(int32(pt.fd))
	h, told := w.rest(before, pt.stamped)
	if !told { // rather lost than doubled
		sock.Drain(int32(pt.fd))
	}
	if !told || len(h.marks) == 0 {
		sock.StopStamps(pt.fd)
		return
	}
	slices.SortFunc(h.marks, mark.compare)
	h.born = time.Now()
	pt.hand = h
}

// rest forwards what waits in pt, which the back end no longer receives, and what it had received before that. It returns by what to know
// the former, and whether that tells everything. Where it is not known that all was stamped, a time after the look at the clock
// may be that of the receive.
func (w *worker) rest(pt *point, stamped bool) (h *handOver, told bool) {
	h = &handOver{}
	if w.now == 0 { // before its first wake-up
		w.now = w.e.clock().UnixNano()
	}
	for end := w.queue.tail; int32(end-w.queue.mid) > 0 && w.collect(); w.released() {
		if w.fan() != nil || w.be.flush() != nil {
			return h, false // the next wait tells
		}
	}
	var mem sock.Arena
	defer mem.Free()
	in, err := newInbox(&mem, restBatch)
	if err != nil {
		w.e.log.Warn("datagrams lost at the change of a receive point", "err", err)
		return h, false
	}
	told = sock.StartStamps(pt.fd) == nil
	// The point after it may have what came by now no more; what comes later, it has.
	until := time.Now().UnixNano()
	ps := make([]packet, 0, restBatch)
	for n := 0; n < restMost && (h.last <= until || !told); n++ {
		in.used = 0
		now := time.Now().UnixNano()
		if e := in.fetch(pt); in.used == 0 && (e != unix.EINVAL || pt.receiveFailed(e)) { // EINVAL: see receiveFailed
			return h, told
		}
		ps = ps[:0]
		for k := range in.used {
			p, stamp := w.parse(pt, in.arrival(k))
			if p.pt == nil {
				continue
			}
			ps = append(ps, p)
			h.marks = append(h.marks, mark{stamp, p.src})
			h.last = max(h.last, stamp)
			told = told && stamp != 0 && (stamped || stamp < now)
		}
		if !w.forward(ps) {
			return h, false
		}
	}
	return h, told
}

// forward sends ps at once. It says false where the back end failed, which the next wait tells.
func (w *worker) forward(ps []packet) bool {
	ok := true
	for todo := ps; len(todo) > 0 && ok; {
		w.run.begin(&todo[0])
		for len(todo) > 0 && w.run.take(&todo[0], w.settings.segments) && todo[0].off == len(todo[0].data) {
			todo = todo[1:]
		}
		w.counted()
		ok = w.fan() == nil && w.be.flush() == nil
	}
	for i := range ps {
		w.discard(&ps[i])
	}
	return ok
}
