// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	udRecv = 1 << 63 // user_data of the multishot receive; sends carry group<<48 | round<<32 | output
	ctlLen = 32      // room for the UDP_GRO control message in each receive buffer
	// A coalesced datagram is up to 64 KiB, with header and control message; untouched pages cost nothing.
	uringBuf = 66048
	// zcRounds is how many wake-ups may have zero-copy sends under way.
	zcRounds = 8
)

// uringWays are the ways of the ring forwarders.
type uringWays struct{ gso, zeroCopy bool }

// round is what one wake-up received. Its buffers stay until every send has copied or, with zero copy, released them.
type round struct {
	g    *grouper
	bids []uint16
	refs int // zero-copy sends whose notification is still to come
	busy bool
	lin  []byte // zero copy: the payloads side by side, as an skb takes at most 17 fragments
}

// ringFwd is one thread with one ring. Each wake-up: take all received datagrams, group them, queue one SENDMSG for each
// (output, group), and submit those with the same io_uring_enter that waits for the next receive.
type ringFwd struct {
	uringWays
	ring   *Ring
	bufs   *BufRing
	outs   []int32
	tmpl   []byte // the msghdr of the receive
	got    []uint16
	rearm  bool
	noGSO  []bool // by output: its path refused UDP_SEGMENT
	rounds []*round
	cur    int
}

func uring(c *config, ways uringWays) error {
	runtime.LockOSThread() // SINGLE_ISSUER, DEFER_TASKRUN
	f := &ringFwd{uringWays: ways, ring: must(NewRing(4096, 16384)), outs: outputSockets(c), rearm: true, noGSO: make([]bool, len(c.outs))}
	in := inputSocket(c, ways.gso && c.gro)
	check(f.ring.RegisterFiles(append(f.outs[:len(f.outs):len(f.outs)], int32(in))))
	size := uringBuf
	if !ways.gso {
		size = 16384
	}
	f.bufs = must(f.ring.NewBufRing(0, c.bufs, size))
	f.tmpl = must(arena(unix.SizeofMsghdr))
	(*unix.Msghdr)(unsafe.Pointer(&f.tmpl[0])).Controllen = ctlLen
	n := 1
	if ways.zeroCopy {
		n = zcRounds
	}
	for range n {
		r := &round{g: newGrouper(c, c.bufs*2, c.bufs*4)}
		if ways.zeroCopy {
			r.lin = must(arena(4 << 20))
		}
		f.rounds = append(f.rounds, r)
	}
	for {
		f.wake()
	}
}

func (f *ringFwd) wake() {
	if f.rearm {
		e := f.ring.SQE()
		e.Opcode, e.Flags, e.IOPrio = opRecvmsg, sqeFixedFile|sqeBufferSelect, recvMultishot
		e.FD, e.Addr, e.Len, e.BufGroup, e.UserData = int32(len(f.outs)), uptr(&f.tmpl[0]), 1, f.bufs.Group, udRecv
		f.rearm = false
	}
	f.got = f.got[:0]
	check(f.ring.Enter(1))
	f.ring.Drain(f.complete)
	for !f.ring.Idle() { // EBUSY, EAGAIN: not all were taken
		check(f.ring.Enter(0))
		f.ring.Drain(f.complete)
	}
	// Every send queued before has been issued: a plain one has copied its data.
	f.recycle()
	if len(f.got) == 0 {
		return
	}
	r := f.rounds[f.cur]
	for r.busy { // zero copy: all rounds are still in flight
		check(f.ring.Enter(1))
		f.ring.Drain(f.complete)
		f.recycle()
	}
	f.collect(r)
	f.send(r)
	f.cur = (f.cur + 1) % len(f.rounds)
}

func (f *ringFwd) complete(q *CQE) {
	if q.UserData == udRecv {
		if q.Flags&cqeFMore == 0 {
			f.rearm = true // ended: no buffers, an empty datagram, or an error
		}
		if q.Res >= 0 && q.Flags&cqeFBuffer != 0 {
			f.got = append(f.got, uint16(q.Flags>>16))
		}
		return
	}
	r := f.rounds[q.UserData>>32&0xffff]
	if f.zeroCopy {
		if q.Flags&cqeFNotif != 0 {
			r.refs--
			return
		}
		if q.Flags&cqeFMore == 0 { // no notification will follow
			r.refs--
		}
	}
	if q.Res < 0 {
		out := int(q.UserData & 0xffffffff)
		f.noGSO[out] = retry(int(f.outs[out]), r.g, &r.g.groups[q.UserData>>48&0x7fff], unix.Errno(-q.Res)) || f.noGSO[out]
	}
}

// recycle gives the buffers of rounds back that nothing refers to any more.
func (f *ringFwd) recycle() {
	freed := false
	for _, r := range f.rounds {
		if !r.busy || r.refs > 0 {
			continue
		}
		for _, b := range r.bids {
			f.bufs.Put(b)
		}
		r.bids, r.busy, freed = r.bids[:0], false, true
	}
	if freed {
		f.bufs.Publish()
	}
}

// collect groups what was received.
func (f *ringFwd) collect(r *round) {
	r.busy = true
	r.g.reset()
	lin := r.lin
	for _, bid := range f.got {
		r.bids = append(r.bids, bid)
		b := f.bufs.Buf(bid)
		h := (*recvmsgOut)(unsafe.Pointer(&b[0]))
		if h.flags&unix.MSG_TRUNC != 0 {
			continue
		}
		p := b[unsafe.Sizeof(*h)+ctlLen:][:h.payloadLen]
		seg := len(p)
		if f.gso {
			seg = groSize(b[unsafe.Sizeof(*h):][:h.controlLen], seg)
		}
		if f.zeroCopy && len(p) <= len(lin) {
			n := copy(lin, p)
			p, lin = lin[:n], lin[n:]
		}
		r.g.add(p, seg, f.gso)
	}
	r.g.finish()
}

func (f *ringFwd) send(r *round) {
	for out := range f.outs {
		for gi := range r.g.groups {
			gr := &r.g.groups[gi]
			if f.noGSO[out] && gr.segs > 1 {
				check(f.ring.Enter(0)) // keep the order
				sendSingly(int(f.outs[out]), r.g, gr)
				continue
			}
			e := f.ring.SQE()
			e.Opcode, e.Flags = opSendmsg, sqeFixedFile|sqeCQESkipSuccess
			if f.zeroCopy {
				e.Opcode, e.Flags = opSendmsgZC, sqeFixedFile // CQE_SKIP_SUCCESS is refused here
				r.refs++
			}
			e.FD, e.Addr, e.Len, e.MsgFlags = int32(out), uint64(uintptr(unsafe.Pointer(gr.hdr))), 1, unix.MSG_DONTWAIT
			e.UserData = uint64(gi)<<48 | uint64(f.cur)<<32 | uint64(out)
		}
	}
}

// retry treats a failed send, and says whether the output must do without UDP_SEGMENT from now on.
func retry(fd int, g *grouper, gr *group, e unix.Errno) bool {
	switch e {
	case unix.ECONNREFUSED: // an earlier ICMP; it was reported instead of sending
		_ = sendHdr(fd, gr.hdr)
	case unix.EIO, unix.EINVAL, unix.EMSGSIZE:
		if gr.segs > 1 { // no checksum offload, segment above the MTU, or not supported on this path
			sendSingly(fd, g, gr)
			return true
		}
	}
	return false // EAGAIN, ENOBUFS, E*UNREACH: lost on this output alone
}

func sendHdr(fd int, h *unix.Msghdr) unix.Errno {
	_, _, e := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(h)), unix.MSG_DONTWAIT)
	return e
}

func sendSingly(fd int, g *grouper, gr *group) {
	for _, v := range g.iovs[gr.firstIov : gr.firstIov+gr.iovs] {
		for p := unsafe.Slice(v.Base, v.Len); len(p) > 0; {
			n := min(len(p), gr.seg)
			iov := unix.Iovec{Base: &p[0], Len: uint64(n)}
			if sendHdr(fd, &unix.Msghdr{Iov: &iov, Iovlen: 1}) == unix.ECONNREFUSED {
				_ = sendHdr(fd, &unix.Msghdr{Iov: &iov, Iovlen: 1}) // lost if it fails again
			}
			p = p[n:]
		}
	}
}
