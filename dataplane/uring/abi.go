// SPDX-License-Identifier: Apache-2.0

package uring

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Operations and their flags.
const (
	opPollAdd     = 6
	opSendmsg     = 9
	opRecvmsg     = 10
	opAsyncCancel = 14
	opRead        = 22
	opSend        = 26
	opSendmsgZC   = 48 // 6.1

	sqeFixedFile      = 1 << 0
	sqeBufferSelect   = 1 << 5
	sqeCQESkipSuccess = 1 << 6

	recvMultishot = 1 << 1 // these in ioprio
	fixedBuffer   = 1 << 2
	reportUsage   = 1 << 3

	cqeFBuffer = 1 << 0
	cqeFMore   = 1 << 1
	cqeFNotif  = 1 << 3

	notifCopied = -1 << 31 // IORING_NOTIF_USAGE_ZC_COPIED, in the res of a notification
)

// params mirrors struct io_uring_params, Linux 5.1.
type params struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFD uint32
	resv                                                                   [3]uint32
	sqOff                                                                  sqOffsets
	cqOff                                                                  cqOffsets
}

// sqOffsets mirrors struct io_sqring_offsets, Linux 5.1.
type sqOffsets struct {
	head, tail, ringMask, ringEntries, flags, dropped, array, resv1 uint32
	userAddr                                                        uint64
}

// cqOffsets mirrors struct io_cqring_offsets, Linux 5.1.
type cqOffsets struct {
	head, tail, ringMask, ringEntries, overflow, cqes, flags, resv1 uint32
	userAddr                                                        uint64
}

// SQE mirrors struct io_uring_sqe, Linux 5.1, with the names of what is used here.
type SQE struct {
	opcode   uint8
	flags    uint8
	ioprio   uint16
	fd       int32 // a descriptor, or a registered slot with sqeFixedFile
	off      uint64
	addr     uint64
	len      uint32
	opFlags  uint32
	UserData uint64
	bufGroup uint16
	_        uint16
	_        uint32
	_        [2]uint64
}

// CQE mirrors struct io_uring_cqe, Linux 5.1.
type CQE struct {
	UserData uint64
	Res      int32
	flags    uint32
}

// getEventsArg mirrors struct io_uring_getevents_arg, Linux 5.11.
type getEventsArg struct {
	sigmask         uint64
	sigmaskLen, pad uint32
	timeout         uint64 // address of a struct __kernel_timespec
}

// recvmsgOut mirrors struct io_uring_recvmsg_out, Linux 6.0. It heads each buffer that a multishot RECVMSG fills; then
// come name and control, both as long as the template asked, then the payload.
type recvmsgOut struct{ nameLen, controlLen, payloadLen, flags uint32 }

var (
	_ [120]byte = [unsafe.Sizeof(params{})]byte{}
	_ [40]byte  = [unsafe.Sizeof(sqOffsets{})]byte{}
	_ [40]byte  = [unsafe.Sizeof(cqOffsets{})]byte{}
	_ [64]byte  = [unsafe.Sizeof(SQE{})]byte{}
	_ [32]byte  = [unsafe.Offsetof(SQE{}.UserData)]byte{}
	_ [40]byte  = [unsafe.Offsetof(SQE{}.bufGroup)]byte{}
	_ [16]byte  = [unsafe.Sizeof(CQE{})]byte{}
	_ [16]byte  = [unsafe.Sizeof(recvmsgOut{})]byte{}
	_ [24]byte  = [unsafe.Sizeof(getEventsArg{})]byte{}
	_ [16]byte  = [unsafe.Sizeof(unix.Timespec{})]byte{}
	_ [40]byte  = [unsafe.Sizeof(bufferReg{})]byte{}
	_ [16]byte  = [unsafe.Sizeof(filesUpdate{})]byte{}
)

// More says that a multishot request goes on. Where it is false, whatever Res is, the request has ended.
func (c CQE) More() bool { return c.flags&cqeFMore != 0 }

// Buffer is the provided buffer that the completion used.
func (c CQE) Buffer() (uint16, bool) { return uint16(c.flags >> 16), c.flags&cqeFBuffer != 0 }

// Notification says that a zero-copy send needs its data no longer, and whether the kernel copied it all the same, which
// is known with ZeroCopyReport alone.
func (c CQE) Notification() (is, copied bool) {
	is = c.flags&cqeFNotif != 0
	return is, is && c.Res&notifCopied != 0
}

// Sendmsg sends h without waiting. A quiet one completes only on failure (CQESkip). h and what it points to stay untouched
// until the ring is idle.
func (e *SQE) Sendmsg(fd int32, fixed, quiet bool, h *unix.Msghdr) {
	e.opcode = opSendmsg
	if quiet {
		e.flags = sqeCQESkipSuccess
	}
	e.file(fd, fixed)
	// Without MSG_DONTWAIT a full socket buffer parks the request, and the order is lost.
	e.addr, e.len, e.opFlags = address(h), 1, unix.MSG_DONTWAIT
}

// Send sends what v points at, without waiting: what Sendmsg does for a header of this one iovec and nothing else, but the kernel copies no
// header. The memory must stay as it is until the ring is idle.
func (e *SQE) Send(fd int32, fixed, quiet bool, v *unix.Iovec) {
	e.opcode = opSend
	if quiet {
		e.flags = sqeCQESkipSuccess
	}
	e.file(fd, fixed)
	e.addr, e.len, e.opFlags = address(v.Base), uint32(v.Len), unix.MSG_DONTWAIT
}

// SendmsgZC sends h without waiting and without copying its data, which must stay untouched until the notification; all else
// until the ring is idle. It always completes (CQE_SKIP_SUCCESS is refused); More then says that a notification follows. An skb takes
// 17 fragments, so that the data should be contiguous. use holds ZeroCopyReport and ZeroCopyFixed as wanted; with the latter the
// data lies in the registered buffer 0.
func (e *SQE) SendmsgZC(fd int32, fixed bool, use Feature, h *unix.Msghdr) {
	e.opcode = opSendmsgZC
	e.file(fd, fixed)
	if use.Has(ZeroCopyReport) {
		e.ioprio |= reportUsage
	}
	if use.Has(ZeroCopyFixed) {
		e.ioprio |= fixedBuffer // bufGroup, here the index of the buffer, is 0
	}
	e.addr, e.len, e.opFlags = address(h), 1, unix.MSG_DONTWAIT
}

// PollIn completes once when there is something to read.
func (e *SQE) PollIn(fd int32, fixed bool) {
	e.opcode, e.opFlags = opPollAdd, unix.POLLIN // poll32_events, little endian
	e.file(fd, fixed)
}

// RecvMultishot receives until it is cancelled or out of buffers; tmpl says how long name and control may be.
func (e *SQE) RecvMultishot(fd int32, fixed bool, tmpl *unix.Msghdr, bufGroup uint16) {
	e.opcode, e.flags, e.ioprio = opRecvmsg, sqeBufferSelect, recvMultishot
	e.file(fd, fixed)
	e.addr, e.len, e.bufGroup = address(tmpl), 1, bufGroup
}

// Read reads into b, which lies outside the Go heap.
func (e *SQE) Read(fd int32, b []byte) {
	e.opcode, e.fd = opRead, fd
	e.addr, e.len = address(unsafe.SliceData(b)), uint32(len(b))
}

// Cancel ends the request that has this user data.
func (e *SQE) Cancel(userData uint64) { e.opcode, e.fd, e.addr = opAsyncCancel, -1, userData }

func (e *SQE) file(fd int32, fixed bool) {
	e.fd = fd
	if fixed {
		e.flags |= sqeFixedFile
	}
}

func address[T any](p *T) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }

// Received is one datagram in a buffer of a multishot RECVMSG.
type Received struct {
	Name, Control, Payload []byte
	Truncated              bool
}

// ParseReceived cuts up the first n bytes of b, the Res of the completion. It is false for what no kernel writes.
func ParseReceived(b []byte, n int, tmpl *unix.Msghdr) (Received, bool) {
	const head = int(unsafe.Sizeof(recvmsgOut{}))
	start := head + int(tmpl.Namelen) + int(tmpl.Controllen)
	if n < start || n > len(b) {
		return Received{}, false
	}
	h := (*recvmsgOut)(unsafe.Pointer(unsafe.SliceData(b)))
	control := b[head+int(tmpl.Namelen) : start]
	return Received{
		Name:      b[head:][:min(h.nameLen, tmpl.Namelen)],
		Control:   control[:min(int(h.controlLen), len(control))],
		Payload:   b[start:n:n],
		Truncated: h.flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0,
	}, true
}

// header is b, memory outside the Go heap, as a message header.
func header(b []byte) *unix.Msghdr { return (*unix.Msghdr)(unsafe.Pointer(&b[0])) }

// message lays out in b, memory outside the Go heap, the header of a message with this data.
func message(b, data []byte) *unix.Msghdr {
	h, iov := header(b), (*unix.Iovec)(unsafe.Pointer(&b[512]))
	*iov = unix.Iovec{Base: &data[0], Len: uint64(len(data))}
	*h = unix.Msghdr{Iov: iov, Iovlen: 1}
	return h
}
