// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"mcr/dataplane/afpacket"
	"mcr/dataplane/sock"
)

// handOver is what a learner keeps for a port until the port has a point of its own, and how the point finds out which of
// what it receives the learner has seen too.
//
//	learner  ──1──2──3──4──5┐
//	point            3──4──5──6──7     opened between 2 and 3; 1 to 5 are forwarded from here, 3 to 5 dropped there
//
// One datagram carries the same time stamp on both sockets: the kernel takes it where the packet comes in, before it
// looks for sockets. From handOverSlack after the last one on the point receives as any other. So nothing is doubled, and
// nothing is lost but what the learner had no room for.
type handOver struct {
	packets []packet // what to forward, in order; their data lies in mem
	marks   []mark   // the same, ascending once it is the point's
	bare    []int64  // when the first of packets were read, Unix ns: those that have no stamp which the point would see as well
	last    int64    // the latest stamp that the learner saw, kept or not, Unix ns; 0: none
	missed  uint64   // datagrams that came and were not kept
	born    time.Time

	// recovered are those of missed that the point received after all. Written by the worker.
	recovered atomic.Uint64
	over      atomic.Bool // nothing is compared any more

	mem   sock.Arena
	chunk []byte // free rest of it
}

// mark names a datagram: two of one source do not come in the same nanosecond.
type mark struct {
	stamp  int64
	source uint32
}

func (m mark) compare(n mark) int {
	return cmp.Or(cmp.Compare(m.stamp, n.stamp), cmp.Compare(m.source, n.source))
}

// handOverSlack is how far behind a later one a datagram may come in the socket: two processors stamp and deliver on their own.
const handOverSlack = 50 * time.Millisecond

// keep copies d, if there is room. Of one without a stamp the time is noted: it was read before that.
func (ls *learners) keep(h *handOver, d afpacket.Datagram, stamp int64) {
	h.last = max(h.last, stamp)
	n := len(d.Payload)
	if !ls.room(h, n) {
		h.missed += count(d)
		return
	}
	data := h.chunk[:n:n]
	copy(data, d.Payload)
	h.chunk = h.chunk[n:]
	h.packets = append(h.packets, packet{data: data, seg: d.Segment, src: d.Source, sport: d.SourcePort, ttl: d.TTL, tos: d.TOS})
	h.marks = append(h.marks, mark{stamp, d.Source})
	if stamp == 0 {
		h.bare = append(h.bare, time.Now().UnixNano())
	}
}

// room makes room for n bytes.
func (ls *learners) room(h *handOver, n int) bool {
	if len(h.packets) >= ls.most {
		return false
	}
	if n <= len(h.chunk) {
		return true
	}
	size := nextChunk
	if h.mem.Size() == 0 {
		size = firstChunk
	}
	if int(h.mem.Size())+size > portMemory || ls.memory+size > learnerMemory {
		return false
	}
	chunk, err := h.mem.Bytes(size)
	if err != nil {
		return false
	}
	h.chunk, ls.memory = chunk, ls.memory+size
	return true
}

// free gives back the memory of h, whose packets nobody sends any more.
func (ls *learners) free(h *handOver) {
	ls.memory -= int(h.mem.Size())
	h.mem.Free()
	h.packets, h.chunk = nil, nil
}

// kept is how many datagrams the port has kept.
func (p *askedPort) kept() (n uint64) {
	for i := range p.hand.packets {
		n += p.hand.packets[i].datagrams()
	}
	return n
}

// missed is how many it has not. Of a datagram in fragments the later ones may not have passed the filter.
func (p *askedPort) missed() uint64 { return p.hand.missed + uint64(max(p.begun-p.done, 0)) }

func (p *packet) datagrams() uint64 {
	if p.seg == 0 {
		return 1
	}
	return uint64((len(p.data) + p.seg - 1) / p.seg)
}

// seal makes h the point's, whose socket was opened at that time: nothing is added any more. Of what has no stamp the point may have
// what was read later.
func (h *handOver) seal(missed uint64, opened int64) {
	h.missed, h.born = missed, time.Now()
	early := 0
	for early < len(h.bare) && h.bare[early] < opened {
		early++
	}
	for i := early; i < len(h.bare); i++ {
		h.missed += h.packets[i].datagrams()
	}
	h.packets = slices.Delete(h.packets, early, len(h.bare))
	h.marks = slices.Delete(h.marks, early, len(h.bare))
	slices.SortFunc(h.marks, mark.compare)
	if h.last == 0 {
		h.over.Store(true)
	}
}

// lost is how many datagrams the hand-over lost, and whether that is the last word.
func (h *handOver) lost(now time.Time) (n uint64, final bool) {
	final = h.over.Load() || now.Sub(h.born) > time.Minute
	if !final && now.Sub(h.born) < time.Second {
		return 0, false
	}
	return h.missed - min(h.missed, h.recovered.Load()), final
}

// seen says that a datagram that the point received was forwarded from h, and whether there is more to compare. A stamp
// of 0 was not told: then it is a later one.
func (h *handOver) seen(stamp int64, source uint32, datagrams uint64) (seen, more bool) {
	switch {
	case stamp == 0 || stamp > h.last+int64(handOverSlack):
		return false, false
	case stamp > h.last:
		return false, true
	}
	if _, seen = slices.BinarySearchFunc(h.marks, mark{stamp, source}, mark.compare); !seen {
		h.recovered.Add(datagrams)
	}
	return seen, true
}

// forwarded says that p, which pt received, was forwarded from what the learner kept.
func (pt *point) forwarded(stamp int64, p *packet) bool {
	n := p.datagrams()
	if !pt.primary {
		n = 0 // its twin counts
	}
	seen, more := pt.hand.seen(stamp, p.src, n)
	if !more {
		pt.endHandOver()
	}
	return seen
}

func (pt *point) endHandOver() {
	if pt.primary {
		pt.hand.over.Store(true)
	}
	pt.hand = nil
	sock.StopStamps(pt.fd)
}

// replay forwards what the learner kept for pt, which receives nothing yet.
func (w *worker) replay(pt *point) {
	if w.now == 0 { // before its first wake-up
		w.now = w.e.clock().UnixNano()
	}
	kept, r := pt.hand.packets, &w.run
	var p packet
	next := func() bool {
		if len(kept) == 0 {
			return false
		}
		p, kept = kept[0], kept[1:] // a copy: twins replay the same
		p.pt = pt
		return true
	}
	for more := next(); more; {
		r.begin(&p)
		for more && r.take(&p, w.settings.segments) {
			if p.off < len(p.data) {
				break
			}
			more = next()
		}
		w.counted()
		if w.fan() != nil || w.be.flush() != nil {
			break // the next wait tells
		}
	}
	if pt.hand.over.Load() {
		pt.endHandOver()
	}
}
