// SPDX-License-Identifier: Apache-2.0

package main

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	udRecv = 1 << 63 // user_data of the multishot receive; sends carry group<<32 | output
	ctlLen = 32      // room for the UDP_GRO control message in each receive buffer
	// A coalesced datagram is up to 64 KiB, with header and control message; untouched pages cost nothing.
	uringBuf = 66048
)

// received is one filled receive buffer.
type received struct {
	bid uint16
	n   int
}

// uringFwd is one thread with one ring. Each wake-up: take all received datagrams, group them, queue one SENDMSG for each
// (output, group), and submit those with the same io_uring_enter that waits for the next receive.
type uringFwd struct {
	ring  *Ring
	bufs  *BufRing
	outs  []int32
	g     *grouper
	tmpl  []byte // the msghdr of the receive
	got   []received
	rearm bool
	noGSO []bool // by output: its path refused UDP_SEGMENT
}

func fwdUring(c *fwdConf) error {
	runtime.LockOSThread() // SINGLE_ISSUER, DEFER_TASKRUN
	f := &uringFwd{ring: must(NewRing(4096, 16384)), outs: outputSockets(c), rearm: true, noGSO: make([]bool, len(c.outs))}
	in := inputSocket(c, c.gro)
	check(f.ring.RegisterFiles(append(f.outs[:len(f.outs):len(f.outs)], int32(in))))
	f.bufs = must(f.ring.NewBufRing(0, c.bufs, uringBuf))
	f.g = newGrouper(c, c.bufs*2, c.bufs*4)
	f.tmpl = must(arena(unix.SizeofMsghdr))
	(*unix.Msghdr)(unsafe.Pointer(&f.tmpl[0])).Controllen = ctlLen
	for {
		f.wake()
	}
}

func (f *uringFwd) wake() {
	if f.rearm {
		e := f.ring.SQE()
		e.Opcode, e.Flags, e.IOPrio = opRecvmsg, sqeFixedFile|sqeBufferSelect, recvMultishot
		e.FD, e.Addr, e.Len, e.BufGroup, e.UserData = int32(len(f.outs)), uptr(&f.tmpl[0]), 1, f.bufs.Group, udRecv
		f.rearm = false
	}
	held := f.got // their sends are queued
	f.got = nil
	check(f.ring.Enter(1))
	f.ring.Drain(f.complete)
	for !f.ring.Idle() { // EBUSY, EAGAIN: not all were taken
		check(f.ring.Enter(0))
		f.ring.Drain(f.complete)
	}
	// Every send queued before has been issued: it has copied its data.
	for _, r := range held {
		f.bufs.Put(r.bid)
	}
	if len(held) > 0 {
		f.bufs.Publish()
	}
	f.collect()
	f.send()
}

func (f *uringFwd) complete(q *CQE) {
	if q.UserData != udRecv { // only failed sends are reported
		out, gi := int(q.UserData&0xffffffff), int(q.UserData>>32&0x7fffffff)
		f.noGSO[out] = retry(int(f.outs[out]), f.g, &f.g.groups[gi], unix.Errno(-q.Res)) || f.noGSO[out]
		return
	}
	if q.Flags&cqeFMore == 0 {
		f.rearm = true // ended: no buffers, an empty datagram, or an error
	}
	if q.Res >= 0 && q.Flags&cqeFBuffer != 0 {
		f.got = append(f.got, received{uint16(q.Flags >> 16), int(q.Res)})
	}
}

// collect groups what was received.
func (f *uringFwd) collect() {
	f.g.reset()
	for _, r := range f.got {
		b := f.bufs.Buf(r.bid)
		h := (*recvmsgOut)(unsafe.Pointer(&b[0]))
		if h.flags&unix.MSG_TRUNC != 0 {
			continue
		}
		p := b[unsafe.Sizeof(*h)+ctlLen:][:h.payloadLen]
		f.g.add(p, groSize(b[unsafe.Sizeof(*h):][:h.controlLen], len(p)), true)
	}
	f.g.finish()
}

func (f *uringFwd) send() {
	for out := range f.outs {
		for gi := range f.g.groups {
			gr := &f.g.groups[gi]
			if f.noGSO[out] && gr.segs > 1 {
				check(f.ring.Enter(0)) // keep the order
				sendSingly(int(f.outs[out]), f.g, gr)
				continue
			}
			e := f.ring.SQE()
			e.Opcode, e.Flags = opSendmsg, sqeFixedFile|sqeCQESkipSuccess
			e.FD, e.Addr, e.Len, e.MsgFlags = int32(out), uint64(uintptr(unsafe.Pointer(gr.hdr))), 1, unix.MSG_DONTWAIT
			e.UserData = uint64(gi)<<32 | uint64(out)
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
