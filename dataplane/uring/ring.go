// SPDX-License-Identifier: Apache-2.0

package uring

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Set-up flags, features and the flags of io_uring_enter.
const (
	setupCQSize       = 1 << 3
	setupSubmitAll    = 1 << 7
	setupCoopTaskrun  = 1 << 8
	setupTaskrunFlag  = 1 << 9
	setupSingleIssuer = 1 << 12
	setupDeferTaskrun = 1 << 13
	setupNoSQArray    = 1 << 16

	featSingleMmap = 1 << 0
	featNoDrop     = 1 << 1
	featCQESkip    = 1 << 11
	featExtArg     = 1 << 8

	enterGetEvents = 1 << 0
	enterExtArg    = 1 << 3 // 5.11

	sqCQOverflow = 1 << 1
	sqTaskrun    = 1 << 2

	offSQRing = 0
	offSQEs   = 0x10000000
)

// tries holds what to ask for, the best first.
var tries = [...]Feature{
	SubmitAll | SingleIssuer | DeferTaskrun | NoSQArray,
	SubmitAll | SingleIssuer | DeferTaskrun,
	SubmitAll | SingleIssuer | CoopTaskrun,
	SubmitAll | CoopTaskrun,
	SubmitAll,
	0,
}

// setupFlags are the flags of io_uring_setup for what is wanted, less what is not to be used.
func setupFlags(want, without Feature) uint32 {
	want &^= without
	if !want.Has(SingleIssuer) {
		want &^= DeferTaskrun
	}
	flags := uint32(setupCQSize)
	for _, f := range [...]struct {
		one  Feature
		flag uint32
	}{
		{SubmitAll, setupSubmitAll},
		{CoopTaskrun, setupCoopTaskrun | setupTaskrunFlag},
		{SingleIssuer, setupSingleIssuer},
		{DeferTaskrun, setupDeferTaskrun | setupTaskrunFlag},
		{NoSQArray, setupNoSQArray},
	} {
		if want.Has(f.one) {
			flags |= f.flag
		}
	}
	return flags
}

// Ring is one io_uring instance.
type Ring struct {
	fd   int
	has  Feature // of the set-up, and of what needs no trial
	maps [][]byte
	arg  getEventsArg
	ts   unix.Timespec

	sqMask, sqEntries uint32
	sqHead            *uint32 // moved by the kernel
	sqTail            *uint32 // moved by us
	sqFlags           *uint32
	sqes              []SQE
	tail              uint32 // entries filled; the kernel sees them at Submit

	cqHead, cqTail, cqOverflow *uint32
	cqMask                     uint32
	cqes                       []CQE
	next, known                uint32 // completions taken, and those that are known to be there; cqHead follows

	files int // registered slots
}

// Open makes a ring of entries submissions and as many as completions completions, both powers of two. What without names
// is not used.
func Open(entries, completions int, without Feature) (*Ring, error) {
	p, fd, has, err := setup(uint32(entries), uint32(completions), without)
	if err != nil {
		return nil, err
	}
	r := &Ring{fd: fd, has: has}
	const need = featSingleMmap | featNoDrop
	if p.features&need != need {
		r.Close()
		return nil, fmt.Errorf("io_uring: features %#x, need %#x (Linux 5.5)", p.features, uint32(need))
	}
	for bit, one := range map[uint32]Feature{featCQESkip: CQESkip, featExtArg: TimedWait} {
		if p.features&bit != 0 {
			r.has |= one &^ without
		}
	}
	if err := r.mapRings(p); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func setup(entries, completions uint32, without Feature) (*params, int, Feature, error) {
	var errno unix.Errno
	for _, want := range tries {
		p := &params{flags: setupFlags(want, without), cqEntries: completions}
		var fd uintptr
		fd, _, errno = unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(p)), 0)
		if errno == 0 {
			unix.CloseOnExec(int(fd))
			return p, int(fd), featuresOf(p.flags), nil
		}
		if errno != unix.EINVAL {
			break
		}
	}
	return nil, -1, 0, fmt.Errorf("io_uring_setup: %w", errno) // ENOSYS; EPERM: io_uring_disabled, or a sandbox
}

func featuresOf(flags uint32) (has Feature) {
	for _, one := range [...]Feature{SubmitAll, CoopTaskrun, SingleIssuer, NoSQArray} {
		if f := setupFlags(one, 0); flags&f == f {
			has |= one
		}
	}
	if flags&setupDeferTaskrun != 0 {
		has |= DeferTaskrun
	}
	return has
}

func (r *Ring) mapRings(p *params) error {
	size := max(p.sqOff.array+p.sqEntries*4, p.cqOff.cqes+p.cqEntries*uint32(unsafe.Sizeof(CQE{})))
	ring, err := r.mmap(offSQRing, int(size))
	if err != nil {
		return err
	}
	entries, err := r.mmap(offSQEs, int(p.sqEntries)*int(unsafe.Sizeof(SQE{})))
	if err != nil {
		return err
	}
	u32 := func(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&ring[off])) }
	r.sqHead, r.sqTail, r.sqFlags = u32(p.sqOff.head), u32(p.sqOff.tail), u32(p.sqOff.flags)
	r.sqMask, r.sqEntries = *u32(p.sqOff.ringMask), p.sqEntries
	r.sqes = unsafe.Slice((*SQE)(unsafe.Pointer(&entries[0])), p.sqEntries)
	r.cqHead, r.cqTail, r.cqOverflow = u32(p.cqOff.head), u32(p.cqOff.tail), u32(p.cqOff.overflow)
	r.cqMask = *u32(p.cqOff.ringMask)
	r.cqes = unsafe.Slice((*CQE)(unsafe.Pointer(&ring[p.cqOff.cqes])), p.cqEntries)
	if p.flags&setupNoSQArray == 0 { // the identity, once: entry i is SQE i
		array := unsafe.Slice(u32(p.sqOff.array), p.sqEntries)
		for i := range array {
			array[i] = uint32(i)
		}
	}
	return nil
}

func (r *Ring) mmap(off int64, size int) ([]byte, error) {
	b, err := unix.Mmap(r.fd, off, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, os.NewSyscallError("mmap of the ring", err)
	}
	r.maps = append(r.maps, b)
	return b, nil
}

// Close ends the ring. Requests that are in flight are cancelled by the kernel, later: whoever needs them gone, cancels
// them and waits before. Safe twice.
func (r *Ring) Close() {
	for _, m := range r.maps {
		unix.Munmap(m) //nolint:errcheck // a mapping of our own
	}
	r.maps = nil
	if r.fd >= 0 {
		unix.Close(r.fd)
		r.fd = -1
	}
}

// SQE returns the next free entry, zeroed, or nil when the queue is full: Submit makes room.
func (r *Ring) SQE() *SQE {
	if r.tail-atomic.LoadUint32(r.sqHead) >= r.sqEntries {
		return nil
	}
	e := &r.sqes[r.tail&r.sqMask]
	*e = SQE{}
	r.tail++
	return e
}

// Idle says that the kernel took every entry so far, and holds back no completion for want of room. A request that cannot
// block has then done its work and told of it.
func (r *Ring) Idle() bool { return atomic.LoadUint32(r.sqHead) == r.tail && !r.overflown() }

func (r *Ring) overflown() bool { return atomic.LoadUint32(r.sqFlags)&sqCQOverflow != 0 }

// Submit hands the filled entries over. Call it until Idle: EBUSY, which is not returned, means that completions must be
// taken first.
func (r *Ring) Submit() error { return r.enter(0, 0) }

// Peek hands the filled entries over and makes the completions that are due, without sleeping.
func (r *Ring) Peek() error { return r.enter(0, enterGetEvents) }

// Wait hands the filled entries over and sleeps until there is a completion, or a signal.
func (r *Ring) Wait() error { return r.enter(1, enterGetEvents) }

// WaitFor is Wait for n completions, or until most has passed. It needs TimedWait. With DEFER_TASKRUN a receive that goes on
// counts as one completion, however many datagrams wait for it.
func (r *Ring) WaitFor(n int, most time.Duration) error {
	r.ts = unix.NsecToTimespec(int64(most))
	r.arg = getEventsArg{timeout: address(&r.ts)}
	return r.enter(n, enterGetEvents|enterExtArg)
}

// Pending says that there are completions, or that Peek may make some: the kernel sets IORING_SQ_TASKRUN after it has queued the
// work, which may have been done by then (io_req_local_work_add, io_uring/io_uring.c). It is a look at memory, for whoever polls.
func (r *Ring) Pending() bool {
	return r.Completed() || atomic.LoadUint32(r.sqFlags)&(sqTaskrun|sqCQOverflow) != 0
}

// Completed says that Next has something.
func (r *Ring) Completed() bool { return atomic.LoadUint32(r.cqTail) != r.next }

func (r *Ring) enter(wait int, flags uintptr) error {
	atomic.StoreUint32(r.sqTail, r.tail)
	n := uintptr(r.tail - atomic.LoadUint32(r.sqHead))
	if r.overflown() {
		flags |= enterGetEvents // with DEFER_TASKRUN completions of what waited are made inside such a call alone
	}
	if n == 0 && flags == 0 {
		return nil
	}
	var arg unsafe.Pointer
	var size uintptr
	if flags&enterExtArg != 0 {
		arg, size = unsafe.Pointer(&r.arg), unsafe.Sizeof(r.arg)
	}
	// Not a raw call, however few the entries: the kernel may do milliseconds of its own work (softirqs) before it returns,
	// and a garbage collection would wait for that.
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), n, uintptr(wait), flags, uintptr(arg), size)
	switch errno {
	case 0, unix.EINTR, unix.EAGAIN, unix.EBUSY, unix.ETIME: // EINTR is normal: Go's preemption signal
		return nil
	}
	return os.NewSyscallError("io_uring_enter", errno)
}

// Next takes the oldest completion. Their places are the kernel's again when it says that there is none: one store for all, since it
// costs as much as a few completions.
func (r *Ring) Next() (CQE, bool) {
	if r.next == r.known {
		if *r.cqHead != r.next {
			atomic.StoreUint32(r.cqHead, r.next)
		}
		if r.known = atomic.LoadUint32(r.cqTail); r.next == r.known {
			return CQE{}, false
		}
	}
	c := r.cqes[r.next&r.cqMask]
	r.next++
	return c, true
}

// Overflows is how many completions the kernel lost because it had no memory left to keep them.
func (r *Ring) Overflows() uint32 { return atomic.LoadUint32(r.cqOverflow) }

// Size of the mappings, bytes.
func (r *Ring) Size() uint64 {
	var n uint64
	for _, m := range r.maps {
		n += uint64(len(m))
	}
	return n
}

// Has says that the ring has been set up with all of fs.
func (r *Ring) Has(fs Feature) bool { return r.has.Has(fs) }
