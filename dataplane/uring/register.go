// SPDX-License-Identifier: Apache-2.0

package uring

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Operations of io_uring_register.
const (
	registerBuffers     = 0
	registerFiles       = 2
	registerFilesUpdate = 6
	registerPbufRing    = 22

	// MaxFiles is the longest table of registered files, IORING_MAX_FIXED_FILES; before Linux 5.19 it was OldMaxFiles.
	MaxFiles    = 1 << 20
	OldMaxFiles = 1 << 15
)

// bufferReg mirrors struct io_uring_buf_reg, Linux 5.19.
type bufferReg struct {
	addr    uint64
	entries uint32
	bgid    uint16
	flags   uint16
	resv    [3]uint64
}

// filesUpdate mirrors struct io_uring_files_update (io_uring_rsrc_update), Linux 5.5.
type filesUpdate struct {
	offset, resv uint32
	fds          uint64
}

// RegisterFiles makes a table of n empty slots, at most RLIMIT_NOFILE of them. A registered file saves the look-up and
// the reference of each request.
func (r *Ring) RegisterFiles(n int) error {
	fds := make([]int32, n)
	for i := range fds {
		fds[i] = -1
	}
	if e := r.register(registerFiles, unsafe.Pointer(unsafe.SliceData(fds)), n); e != 0 {
		return fmt.Errorf("register %d file slots: %w", n, e)
	}
	r.files = n
	return nil
}

// RegisterBuffer makes b, memory outside the Go heap, the registered buffer 0: its pages are pinned once, not for each send.
// They count as locked memory.
func (r *Ring) RegisterBuffer(b []byte) error {
	iov := unix.Iovec{Base: unsafe.SliceData(b), Len: uint64(len(b))}
	if e := r.register(registerBuffers, unsafe.Pointer(&iov), 1); e != 0 {
		return fmt.Errorf("register a buffer of %d bytes: %w", len(b), e)
	}
	return nil
}

// Files is how many slots there are.
func (r *Ring) Files() int { return r.files }

// UpdateFiles puts fds into the slots from first on; -1 empties one. No request to these slots may be queued.
func (r *Ring) UpdateFiles(first int, fds []int32) error {
	u := filesUpdate{offset: uint32(first), fds: address(unsafe.SliceData(fds))}
	e := r.register(registerFilesUpdate, unsafe.Pointer(&u), len(fds))
	runtime.KeepAlive(fds) // u holds a number, not a pointer
	if e != 0 {
		return fmt.Errorf("update %d file slots from %d: %w", len(fds), first, e)
	}
	return nil
}

func (r *Ring) register(op uintptr, arg unsafe.Pointer, n int) unix.Errno {
	for {
		_, _, e := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), op, uintptr(arg), uintptr(n), 0, 0)
		if e != unix.EINTR {
			return e
		}
	}
}

// Buffers is a ring of provided buffers: struct io_uring_buf_ring, Linux 5.19. Entry: addr u64, len u32, bid u16, and
// 16 bits that in the first entry are the ring's tail.
type Buffers struct {
	entries []bufferEntry
	data    []byte
	size    int
	tail    uint16
	bid0    uint16 // of entry 0: shares a word with the tail, so Publish writes it
	group   uint16
}

type bufferEntry struct {
	addr uint64
	len  uint32
	bid  uint16
	_    uint16
}

var _ [16]byte = [unsafe.Sizeof(bufferEntry{})]byte{}

// memory is where the buffers come from: outside the Go heap, and page aligned.
type memory interface{ Bytes(n int) ([]byte, error) }

// NewBuffers registers count (a power of two, at most 32768) buffers of size bytes as a group.
func (r *Ring) NewBuffers(mem memory, group uint16, count, size int) (*Buffers, error) {
	ring, err := mem.Bytes(count * int(unsafe.Sizeof(bufferEntry{})))
	if err != nil {
		return nil, err
	}
	data, err := mem.Bytes(count * size)
	if err != nil {
		return nil, err
	}
	reg := bufferReg{addr: address(unsafe.SliceData(ring)), entries: uint32(count), bgid: group}
	if e := r.register(registerPbufRing, unsafe.Pointer(&reg), 1); e != 0 {
		return nil, fmt.Errorf("register buffer ring: %w", e)
	}
	b := &Buffers{entries: unsafe.Slice((*bufferEntry)(unsafe.Pointer(unsafe.SliceData(ring))), count), data: data, size: size, group: group}
	for i := range count {
		b.Put(uint16(i))
	}
	b.Publish()
	return b, nil
}

// Group to name in a receive.
func (b *Buffers) Group() uint16 { return b.group }

// Buffer with this id.
func (b *Buffers) Buffer(bid uint16) []byte {
	off := int(bid) * b.size
	return b.data[off : off+b.size : off+b.size]
}

// Put gives a buffer back; the kernel sees it at the next Publish.
func (b *Buffers) Put(bid uint16) {
	i := int(b.tail) & (len(b.entries) - 1)
	e := &b.entries[i]
	e.addr, e.len = address(&b.data[int(bid)*b.size]), uint32(b.size)
	if i == 0 {
		b.bid0 = bid
	} else {
		e.bid = bid
	}
	b.tail++
}

// Publish shows the kernel what was put. The tail must be stored last; Go has no 16-bit atomic store, so that the bid
// of entry 0 and the tail are stored as one word. Little endian.
func (b *Buffers) Publish() {
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&b.entries[0].bid)), uint32(b.bid0)|uint32(b.tail)<<16)
}
