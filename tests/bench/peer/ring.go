// SPDX-License-Identifier: Apache-2.0

package peer

// A small io_uring binding: only what a UDP replicator needs. No cgo.
//
// Feature                                   first kernel   how it is found here
//   io_uring, SENDMSG/RECVMSG                5.1 / 5.3      io_uring_setup
//   one mmap for SQ+CQ (FEAT_SINGLE_MMAP)    5.4            params.features (required)
//   SETUP_CQSIZE                             5.5            try, EINVAL -> leave out
//   no lost CQEs (FEAT_NODROP)               5.5            params.features
//   IOSQE_CQE_SKIP_SUCCESS (FEAT_CQE_SKIP)   5.17           params.features
//   SETUP_SUBMIT_ALL                         5.18           try
//   SETUP_COOP_TASKRUN, TASKRUN_FLAG         5.19           try
//   provided-buffer ring (REGISTER_PBUF_RING)5.19           try to register
//   multishot recvmsg, SINGLE_ISSUER         6.0            try
//   SENDMSG_ZC, SETUP_DEFER_TASKRUN          6.1            try
//   SETUP_NO_SQARRAY                         6.6            try
//
// So Debian 11 (5.10) has none of the fast parts and must use recvmmsg/sendmmsg,
// Ubuntu 22.04 (5.15) likewise, Debian 12 (6.1) has everything except NO_SQARRAY.

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	setupCQSize       = 1 << 3
	setupSubmitAll    = 1 << 7
	setupCoopTaskrun  = 1 << 8
	setupTaskrunFlag  = 1 << 9
	setupSingleIssuer = 1 << 12
	setupDeferTaskrun = 1 << 13
	setupNoSQArray    = 1 << 16

	featSingleMmap = 1 << 0
	featCQESkip    = 1 << 11

	enterGetEvents = 1 << 0

	regFiles    = 2
	regPbufRing = 22

	opSendmsg   = 9
	opRecvmsg   = 10
	opSend      = 26
	opSendmsgZC = 48

	sqeFixedFile      = 1 << 0
	sqeBufferSelect   = 1 << 5
	sqeCQESkipSuccess = 1 << 6

	recvMultishot = 1 << 1 // in sqe.ioprio

	cqeFBuffer = 1 << 0
	cqeFMore   = 1 << 1
	cqeFNotif  = 1 << 3

	sqCQOverflow = 1 << 1
	sqTaskrun    = 1 << 2

	offSQRing = 0
	offSQEs   = 0x10000000
)

type sqRingOffsets struct {
	head, tail, ringMask, ringEntries, flags, dropped, array, resv1 uint32
	userAddr                                                        uint64
}
type cqRingOffsets struct {
	head, tail, ringMask, ringEntries, overflow, cqes, flags, resv1 uint32
	userAddr                                                        uint64
}
type uringParams struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFD uint32
	resv                                                                   [3]uint32
	sqOff                                                                  sqRingOffsets
	cqOff                                                                  cqRingOffsets
}

// SQE is struct io_uring_sqe (64 bytes), with the names of the send/receive use.
type SQE struct {
	Opcode   uint8
	Flags    uint8
	IOPrio   uint16
	FD       int32 // a descriptor, or an index with sqeFixedFile
	Off      uint64
	Addr     uint64 // buffer (SEND) or msghdr (SENDMSG, RECVMSG)
	Len      uint32
	MsgFlags uint32
	UserData uint64
	BufGroup uint16
	_        uint16
	_        uint32
	_        [2]uint64
}

// CQE is struct io_uring_cqe (16 bytes).
type CQE struct {
	UserData uint64
	Res      int32
	Flags    uint32
}

// Ring is one io_uring instance. With DEFER_TASKRUN and SINGLE_ISSUER every call must come
// from the thread that made it: the owner runs under runtime.LockOSThread.
type Ring struct {
	fd        int
	Flags     uint32 // setup flags that this kernel took
	Features  uint32
	sqMask    uint32
	sqEntries uint32
	sqHead    *uint32 // moved by the kernel
	sqTail    *uint32 // moved by us
	sqFlags   *uint32
	sqes      []SQE
	tail      uint32 // local tail: SQEs filled, published by Enter
	cqHead    *uint32
	cqTail    *uint32
	cqMask    uint32
	cqes      []CQE
	Enters    uint64
	deferTW   bool
}

// NewRing makes a ring, leaving out setup flags that the kernel refuses, newest first.
func NewRing(entries, cqEntries uint32) (*Ring, error) {
	tries := []uint32{
		setupCQSize | setupSubmitAll | setupSingleIssuer | setupDeferTaskrun | setupTaskrunFlag | setupNoSQArray,
		setupCQSize | setupSubmitAll | setupSingleIssuer | setupDeferTaskrun | setupTaskrunFlag,
		setupCQSize | setupSubmitAll | setupCoopTaskrun | setupTaskrunFlag,
		setupCQSize | setupSubmitAll,
		setupCQSize,
	}
	var p uringParams
	var fd uintptr
	var errno unix.Errno
	for _, fl := range tries {
		p = uringParams{flags: fl, cqEntries: cqEntries}
		fd, _, errno = unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(&p)), 0)
		if errno != unix.EINVAL {
			break
		}
	}
	if errno != 0 {
		return nil, fmt.Errorf("io_uring_setup: %w", errno) // ENOSYS, or EPERM: io_uring_disabled, seccomp
	}
	r := &Ring{fd: int(fd), Flags: p.flags, Features: p.features}
	if p.features&featSingleMmap == 0 {
		unix.Close(r.fd)
		return nil, fmt.Errorf("io_uring: kernel older than 5.4")
	}
	size := max(p.sqOff.array+p.sqEntries*4, p.cqOff.cqes+p.cqEntries*16)
	ring, err := unix.Mmap(r.fd, offSQRing, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("mmap ring: %w", err)
	}
	sqeMem, err := unix.Mmap(r.fd, offSQEs, int(p.sqEntries)*64, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("mmap sqes: %w", err)
	}
	u32 := func(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&ring[off])) }
	r.sqHead, r.sqTail, r.sqFlags = u32(p.sqOff.head), u32(p.sqOff.tail), u32(p.sqOff.flags)
	r.sqMask, r.sqEntries = *u32(p.sqOff.ringMask), p.sqEntries
	r.sqes = unsafe.Slice((*SQE)(unsafe.Pointer(&sqeMem[0])), p.sqEntries)
	r.cqHead, r.cqTail, r.cqMask = u32(p.cqOff.head), u32(p.cqOff.tail), *u32(p.cqOff.ringMask)
	r.cqes = unsafe.Slice((*CQE)(unsafe.Pointer(&ring[p.cqOff.cqes])), p.cqEntries)
	if p.flags&setupNoSQArray == 0 { // identity map, once: entry i is SQE i
		arr := unsafe.Slice(u32(p.sqOff.array), p.sqEntries)
		for i := range arr {
			arr[i] = uint32(i)
		}
	}
	r.deferTW = p.flags&setupDeferTaskrun != 0
	return r, nil
}

// SQE returns the next free entry, zeroed, submitting what is queued when the ring is full.
func (r *Ring) SQE() *SQE {
	for r.tail-atomic.LoadUint32(r.sqHead) >= r.sqEntries {
		r.Enter(0)
	}
	e := &r.sqes[r.tail&r.sqMask]
	*e = SQE{}
	r.tail++
	return e
}

// Enter publishes the queued SQEs and, with wait > 0, sleeps until that many CQEs are there.
func (r *Ring) Enter(wait uint32) error {
	atomic.StoreUint32(r.sqTail, r.tail)
	n := r.tail - atomic.LoadUint32(r.sqHead)
	var flags uintptr
	if wait > 0 || r.deferTW || atomic.LoadUint32(r.sqFlags)&(sqTaskrun|sqCQOverflow) != 0 {
		flags = enterGetEvents // with DEFER_TASKRUN, completions are only run inside such a call
	}
	r.Enters++
	var errno unix.Errno
	if wait > 0 { // may sleep: tell the Go scheduler
		_, _, errno = unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(n), uintptr(wait), flags, 0, 0)
	} else {
		_, _, errno = unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(n), 0, flags, 0, 0)
	}
	if errno == 0 || errno == unix.EINTR || errno == unix.EAGAIN || errno == unix.EBUSY {
		return nil // the Go runtime's preemption signal makes EINTR normal; callers loop
	}
	return errno
}

// Idle says that every SQE filled so far has been taken by the kernel.
func (r *Ring) Idle() bool { return atomic.LoadUint32(r.sqHead) == r.tail }

// Drain calls fn for every CQE that is there and returns how many there were.
func (r *Ring) Drain(fn func(*CQE)) int {
	head, tail := *r.cqHead, atomic.LoadUint32(r.cqTail)
	n := int(tail - head)
	for ; head != tail; head++ {
		fn(&r.cqes[head&r.cqMask])
	}
	atomic.StoreUint32(r.cqHead, head)
	return n
}

// RegisterFiles makes fds usable as indices (sqeFixedFile), which saves the lookup and reference per SQE.
func (r *Ring) RegisterFiles(fds []int32) error {
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), regFiles,
		uintptr(unsafe.Pointer(&fds[0])), uintptr(len(fds)), 0, 0)
	if errno != 0 {
		return fmt.Errorf("register files: %w", errno)
	}
	return nil
}

// BufRing is a ring of provided buffers: the kernel takes one per received datagram.
type BufRing struct {
	mem     []byte // entries * 16 bytes: {addr u64, len u32, bid u16, resv u16}
	data    []byte
	bufSize int
	mask    uint16
	tail    uint16
	bid0    uint16
	Group   uint16
}

// NewBufRing registers entries (a power of two, at most 32768) buffers of size bytes as group id.
func (r *Ring) NewBufRing(id uint16, entries, size int) (*BufRing, error) {
	mem, err := arena(entries * 16)
	if err != nil {
		return nil, err
	}
	data, err := arena(entries * size)
	if err != nil {
		return nil, err
	}
	reg := struct {
		addr    uint64
		entries uint32
		bgid    uint16
		flags   uint16
		resv    [3]uint64
	}{addr: uint64(uintptr(unsafe.Pointer(&mem[0]))), entries: uint32(entries), bgid: id}
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), regPbufRing, uintptr(unsafe.Pointer(&reg)), 1, 0, 0)
	if errno != 0 {
		return nil, fmt.Errorf("register pbuf ring: %w", errno)
	}
	b := &BufRing{mem: mem, data: data, bufSize: size, mask: uint16(entries - 1), Group: id}
	for i := 0; i < entries; i++ {
		b.Put(uint16(i))
	}
	b.Publish()
	return b, nil
}

func (b *BufRing) Buf(bid uint16) []byte {
	off := int(bid) * b.bufSize
	return b.data[off : off+b.bufSize : off+b.bufSize]
}

// Put hands a buffer back; the kernel sees it at the next Publish.
func (b *BufRing) Put(bid uint16) {
	i := int(b.tail&b.mask) * 16
	*(*uint64)(unsafe.Pointer(&b.mem[i])) = uint64(uintptr(unsafe.Pointer(&b.data[int(bid)*b.bufSize])))
	*(*uint32)(unsafe.Pointer(&b.mem[i+8])) = uint32(b.bufSize)
	if i == 0 {
		b.bid0 = bid // shares a word with the tail: written by Publish
	} else {
		*(*uint16)(unsafe.Pointer(&b.mem[i+12])) = bid
	}
	b.tail++
}

// Publish makes the Puts visible. The tail is the 16-bit field behind entry 0's bid. Go has no
// 16-bit atomic store, so bid and tail are stored as one 32-bit release store (little endian).
func (b *BufRing) Publish() {
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&b.mem[12])), uint32(b.bid0)|uint32(b.tail)<<16)
}

// arena returns zeroed memory outside the Go heap: the kernel keeps addresses into it.
func arena(n int) ([]byte, error) {
	return unix.Mmap(-1, 0, (n+4095)&^4095, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
}

func uptr(b *byte) uint64 { return uint64(uintptr(unsafe.Pointer(b))) }

// recvmsgOut heads every buffer that a multishot RECVMSG fills; then come msg_namelen bytes of
// name, msg_controllen bytes of control (both as large as the template asked), then the payload.
type recvmsgOut struct{ nameLen, controlLen, payloadLen, flags uint32 }
