// SPDX-License-Identifier: Apache-2.0

package afpacket

import "time"

// Reassembler joins fragments, RFC 791 §3.2. The kernel could do it before a packet socket (PACKET_FANOUT_FLAG_DEFRAG), but not
// for two: all fan-out groups of an interface feed one queue per datagram, so that the first takes the datagram and the others
// leave the copies of its last fragment in that queue, until for want of memory nothing is reassembled any more on the whole
// host (ip_check_defrag and inet_frag_queue_insert, Linux 4.19 to 6.18).
//
// It holds at most as many datagrams as it was made for, each of them reassembleTime at most. Where it is full the oldest goes, those
// first that have no first fragment: the port of theirs is not known, and may be another's. Fragments may come in any
// order and be doubled, but where two differ in extent and overlap, the whole datagram is dropped, as by the kernel (RFC 5722).
//
// Datagrams to other ports are followed to their end as well, without their data. Their sockets may count their IDs each by itself, and
// what was left of them would be taken for a part of the datagram to which another socket gives the same ID later.
//
// Not safe for use by several goroutines at once. It allocates nothing.
type Reassembler struct {
	slots []slot
	next  uint64
}

// SlotSize is the memory that a Reassembler needs for each datagram, bytes. What nobody touches costs nothing.
const SlotSize = 1 << 16

const (
	// reassembleTime bounds how long a datagram waits for its rest, as Linux does: the rest may be in a long queue.
	reassembleTime = 30 * time.Second
	// settled and movedOn bound it where the sender is busy, and would soon use the same ID again (RFC 4963): after settled another ID of
	// its, so far away, ends it. Before that it may be another socket's, since each may count by itself.
	settled = time.Second
	movedOn = 1 << 13
	// longest is the most that an IP packet with the shortest header carries, bytes.
	longest = 65535 - ipHeader
	unit    = 8 // fragments begin and, but for the last, end at multiples of it
)

// slot holds one datagram.
type slot struct {
	state    slotState
	first    bool // the first fragment is there, and is wanted
	ignored  bool // the first fragment is there, and is not wanted
	key      fragmentKey
	datagram Datagram // what the first fragment said
	age      uint64   // order of beginning
	began    int64    // Unix ns
	have     [SlotSize / unit / 64]uint64
	units    int // in have
	end      int // length of the IP payload; 0: not known yet
	buf      []byte
}

type slotState uint8

const (
	slotFree slotState = iota
	slotFilling
	slotLent // given out whole
)

// fragmentKey tells datagrams apart. owner is whose socket received it: each has copies of its own.
type fragmentKey struct {
	owner, source, group uint32
	id                   uint16
}

// leftBehind says that the sender of k is at newer datagrams for long.
func (k fragmentKey) leftBehind(now fragmentKey) bool {
	distance := int16(now.id - k.id)
	return k.owner == now.owner && k.source == now.source && k.group == now.group && (distance > movedOn || distance < -movedOn)
}

// NewReassembler returns one that works in mem, for len(mem) / SlotSize datagrams.
func NewReassembler(mem []byte) *Reassembler {
	r := &Reassembler{slots: make([]slot, len(mem)/SlotSize)}
	for i := range r.slots {
		r.slots[i].buf = mem[i*SlotSize:][:SlotSize:SlotSize]
	}
	return r
}

// Add takes a fragment, which it copies. Whole: the datagram is complete, lies in the slot, and stays there until Release.
// Fragment: there is more to come. Any other verdict: it is complete or contradicts itself, and is gone.
func (r *Reassembler) Add(owner uint32, f Datagram, want Want, now int64) (d Datagram, slot int, v Verdict) {
	return r.add(owner, f, want, now, f.Offset == 0 && want.Port != 0 && f.Port != want.Port)
}

// Ignore takes the first fragment of a datagram that is not wanted, though it is to a port that Add would take.
func (r *Reassembler) Ignore(owner uint32, f Datagram, want Want, now int64) {
	r.add(owner, f, want, now, true)
}

func (r *Reassembler) add(owner uint32, f Datagram, want Want, now int64, ignore bool) (d Datagram, slot int, v Verdict) {
	n, end := len(f.Data), f.Offset+len(f.Data)
	if n == 0 || end > longest || (f.More && n%unit != 0) {
		return f, -1, BadHeader
	}
	i := r.find(fragmentKey{owner, f.Source, want.Group, f.ID}, now)
	if i < 0 {
		return f, -1, Fragment // all are given out: this one is lost
	}
	s := &r.slots[i]
	if (s.end > 0 && (end > s.end || (!f.More && end != s.end))) || (!f.More && s.beyond(end)) {
		s.state = slotFree
		return f, -1, BadHeader
	}
	switch had, all := s.mark(f.Offset/unit, (n+unit-1)/unit); {
	case had == all: // doubled
		return f, -1, Fragment
	case had > 0:
		s.state = slotFree
		return f, -1, BadHeader
	}
	if !f.More {
		s.end = end
	}
	if f.Offset == 0 {
		s.first, s.ignored, s.datagram = !ignore, ignore, f
		s.datagram.Data = nil
	}
	if !s.ignored {
		copy(s.buf[f.Offset:], f.Data)
	}
	if s.end == 0 || s.units < (s.end+unit-1)/unit {
		return f, -1, Fragment
	}
	if s.ignored {
		s.state = slotFree
		return s.datagram, -1, NotOurs
	}
	d = s.datagram
	if v = d.parseUDP(s.buf[:s.end:s.end], want); v == Whole && !checksumRight(d.Source, want.Group, s.buf[:udpHeader+len(d.Payload)]) {
		v = BadChecksum
	}
	if v != Whole {
		s.state = slotFree
		return d, -1, v
	}
	s.state = slotLent
	return d, i, Whole
}

// Release gives a slot back. Payloads in it are void from then on.
func (r *Reassembler) Release(slot int) { r.slots[slot].state = slotFree }

// find returns the slot of k, or makes it; -1 where none can be had.
func (r *Reassembler) find(k fragmentKey, now int64) int {
	best := -1
	for i := range r.slots {
		s := &r.slots[i]
		if s.state == slotFilling && now-s.began > int64(reassembleTime) {
			s.state = slotFree
		}
		if s.state == slotFilling && s.key == k {
			return i
		}
		if s.state == slotFilling && now-s.began > int64(settled) && s.key.leftBehind(k) {
			s.state = slotFree
		}
		if s.state != slotLent && (best < 0 || s.before(&r.slots[best])) {
			best = i
		}
	}
	if best < 0 {
		return -1
	}
	s := &r.slots[best]
	r.next++
	*s = slot{state: slotFilling, key: k, age: r.next, began: now, buf: s.buf}
	return best
}

// before says that s is to be taken rather than t.
func (s *slot) before(t *slot) bool {
	switch {
	case s.state != t.state:
		return s.state == slotFree
	case s.first != t.first:
		return t.first
	}
	return s.age < t.age
}

// mark notes that n units from first on are there, and says how many of them were before.
func (s *slot) mark(first, n int) (had, all int) {
	for u := first; u < first+n; u++ {
		if s.have[u/64]&(1<<(u%64)) != 0 {
			had++
		}
	}
	if had > 0 {
		return had, n
	}
	for u := first; u < first+n; u++ {
		s.have[u/64] |= 1 << (u % 64)
	}
	s.units += n
	return 0, n
}

// beyond says that something at or after end is there, which is to be the end.
func (s *slot) beyond(end int) bool {
	for u := (end + unit - 1) / unit; u < SlotSize/unit; u++ {
		if s.have[u/64]&(1<<(u%64)) != 0 {
			return true
		}
	}
	return false
}
