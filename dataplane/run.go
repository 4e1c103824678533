// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"time"

	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
	"mcr/dataplane/sock"
)

const (
	maxSegments = sock.MaxSegments
	overhead    = 28 // IPv4 and UDP headers, bytes
)

// packet is one received message: a datagram, or several of one sender that the kernel joined (UDP_GRO).
type packet struct {
	pt       *point
	data     []byte
	off      int           // what was taken into runs
	seg      int           // size of its datagrams, the last may be shorter
	taken    time.Duration // see residence
	src      uint32
	sport    uint16
	ttl, tos uint8
	buf      uint16
	slot     int16 // one more than that of the point's reassembler in which data lies; 0: it lies in the buffer
}

// queue holds what was received. A ring: [head, mid) went into runs and its buffers are in use, [mid, tail) waits. Its
// length is the number of receive buffers, so that it cannot overflow.
type queue struct {
	packets         []packet // a power of two
	head, mid, tail uint32
}

func (q *queue) at(i uint32) *packet { return &q.packets[i&uint32(len(q.packets)-1)] }
func (q *queue) empty() bool         { return q.mid == q.tail }

func (q *queue) push(p packet) {
	*q.at(q.tail) = p
	q.tail++
}

// variant tells what of a copy's IP header follows the datagram, and so needs control messages: a TTL mode, and the
// lowest bit for the DSCP. All outputs of a variant share one message header.
type variant uint8

const variants = 6

func variantOf(o *plan.Output) variant {
	v := variant(0)
	if o.TTLMode == plan.TTLDecrement || o.TTLMode == plan.TTLKeep {
		v = variant(o.TTLMode) << 1
	}
	if o.DSCP < 0 {
		v |= 1
	}
	return v
}

// run is what one segmented send can carry: datagrams of one point, source, TTL and TOS, all of one size, the last may
// be shorter. Its headers are made once and serve all outputs. They lie outside the Go heap.
type run struct {
	pt               *point
	src              uint32
	ttl, tos         uint8
	seg, segs, bytes int
	taken            time.Duration // of the first
	open             bool          // takes more
	pinned           bool          // its data stays where it is until the kernel needs it no longer

	parts [maxSegments][]byte // the payload
	ports [maxSegments]uint16 // from which each came
	iov   []unix.Iovec        // the same for the kernel
	niov  int

	joined []byte // room for the payload in one piece

	made    [variants]bool
	hdr     []unix.Msghdr // by variant
	control []byte

	split     [variants]bool
	single    [variants][]unix.Msghdr // by variant, of each datagram
	singleIov []unix.Iovec            // of each datagram
}

// The kernel looks at each piece of a run anew for each send: with 49 pieces that is 1 µs of the 5 that a send takes (Linux 6.18). To copy
// 64 KiB once takes 2.4.
const (
	joinPieces  = 4 // of a run, from where on it is made one piece first
	joinOutputs = 4 // of a run, likewise
)

func joinWorth(pieces, outputs int) bool { return pieces >= joinPieces && outputs >= joinOutputs }

func newRun(mem *sock.Arena) (*run, error) {
	r := &run{}
	var err error
	for _, m := range []struct {
		into *[]unix.Iovec
		n    int
	}{{&r.iov, maxSegments}, {&r.singleIov, maxSegments}} {
		if *m.into, err = sock.Make[unix.Iovec](mem, m.n); err != nil {
			return nil, err
		}
	}
	if r.hdr, err = sock.Make[unix.Msghdr](mem, variants); err != nil {
		return nil, err
	}
	for v := range r.single {
		if r.single[v], err = sock.Make[unix.Msghdr](mem, maxSegments); err != nil {
			return nil, err
		}
	}
	if r.joined, err = mem.Bytes(pieceSize); err != nil {
		return nil, err
	}
	r.control, err = mem.Bytes(2 * variants * sock.ControlSpace)
	return r, err
}

// begin makes r the run that starts with p.
func (r *run) begin(p *packet) {
	r.pt, r.src, r.ttl, r.tos, r.taken = p.pt, p.src, p.ttl, p.tos, p.taken
	r.seg, r.segs, r.bytes, r.niov = min(p.seg, len(p.data)-p.off), 0, 0, 0
	r.open, r.pinned, r.made, r.split = true, false, [variants]bool{}, [variants]bool{}
}

// take adds as much of p as fits, at most limit datagrams in all, and says whether that was anything.
func (r *run) take(p *packet, limit int) bool {
	if !r.open || p.pt != r.pt || p.src != r.src || p.ttl != r.ttl || p.tos != r.tos {
		return false
	}
	rest := p.data[p.off:]
	if len(rest) == 0 { // a datagram of 0 bytes is a run of its own, without iovec
		if r.segs > 0 {
			return false
		}
		r.segs, r.open, r.ports[0] = 1, false, p.sport
		return true
	}
	seg := min(p.seg, len(rest))
	if seg > r.seg || (seg < r.seg && len(rest) > seg) || r.segs >= limit || r.niov == len(r.iov) || r.bytes+seg > sock.MaxPayload {
		return false
	}
	k := max(1, min(limit-r.segs, (sock.MaxPayload-r.bytes)/r.seg, (len(rest)+seg-1)/seg))
	n := min(len(rest), k*seg)
	r.parts[r.niov], r.ports[r.niov] = rest[:n], p.sport
	r.iov[r.niov] = unix.Iovec{Base: &rest[0], Len: uint64(n)}
	r.niov++
	r.segs += (n + seg - 1) / seg
	r.bytes += n
	p.off += n
	r.open = r.bytes == r.segs*r.seg // a shorter one ends it
	return true
}

// move copies the data into b, which holds a run, and makes that the data.
func (r *run) move(b []byte) {
	n := 0
	for _, part := range r.parts[:r.niov] {
		n += copy(b[n:], part)
	}
	if n > 0 {
		r.parts[0], r.niov = b[:n:n], 1
		r.iov[0] = unix.Iovec{Base: &b[0], Len: uint64(n)}
	}
	r.made, r.split = [variants]bool{}, [variants]bool{}
}

// variant is the one of o for this run: a TTL at most is fixed for what arrives with more, and else one less than that.
func (r *run) variant(o *output) variant {
	if uint16(r.ttl) < o.atMost {
		return o.variant | variant(plan.TTLDecrement)<<1
	}
	return o.variant
}

// spent says that no copy may leave: its TTL would be 0.
func (r *run) spent(v variant) bool {
	switch plan.TTLMode(v >> 1) {
	case plan.TTLDecrement:
		return r.ttl <= 1
	case plan.TTLKeep:
		return r.ttl == 0
	}
	return false
}

// header of the whole run, for outputs of variant v.
func (r *run) header(v variant) *unix.Msghdr {
	h := &r.hdr[v]
	if r.made[v] {
		return h
	}
	r.made[v] = true
	*h = unix.Msghdr{}
	if r.niov > 0 {
		h.Iov, h.Iovlen = &r.iov[0], uint64(r.niov)
	}
	seg := 0
	if r.segs > 1 {
		seg = r.seg
	}
	r.setControl(h, int(v), v, seg)
	return h
}

// singles are the headers of the run's datagrams one by one, for outputs of variant v.
func (r *run) singles(v variant) []unix.Msghdr {
	hs := r.single[v][:r.segs]
	if r.split[v] {
		return hs
	}
	r.split[v] = true
	hs[0] = unix.Msghdr{}
	r.setControl(&hs[0], variants+int(v), v, 0)
	control, length := hs[0].Control, hs[0].Controllen
	n := 0
	for _, part := range r.parts[:r.niov] {
		for len(part) > 0 {
			size := min(len(part), r.seg)
			r.singleIov[n] = unix.Iovec{Base: &part[0], Len: uint64(size)}
			hs[n] = unix.Msghdr{Iov: &r.singleIov[n], Iovlen: 1, Control: control, Controllen: length}
			part = part[size:]
			n++
		}
	}
	return hs
}

func (r *run) setControl(h *unix.Msghdr, place int, v variant, seg int) {
	ttl, tos := uint8(0), -1
	switch plan.TTLMode(v >> 1) {
	case plan.TTLDecrement:
		ttl = r.ttl - 1
	case plan.TTLKeep:
		ttl = r.ttl
	}
	if keep := int(r.tos &^ 3); v&1 != 0 && keep != 0 { // 0 is what the socket has; ECN bits are not copied
		tos = keep
	}
	b := r.control[place*sock.ControlSpace:][:sock.ControlSpace]
	if n := sock.PutControl(b, uint16(seg), ttl, tos); n > 0 {
		h.Control, h.Controllen = &b[0], uint64(n)
	}
}
