// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   uint32
}

var _ = [1]struct{}{}[unsafe.Sizeof(mmsghdr{})-64] // 64-bit only

// mmsg: recvmmsg of up to 64, then one sendmmsg of the batch for each output's connected socket. With gso, the batch is
// grouped into super-datagrams.
func mmsg(c *config, gso bool) error {
	runtime.LockOSThread()
	in := inputSocket(c, gso && c.gro)
	const batch = 64
	size := 65536
	mem := must(arena(batch * size))
	ctl := must(arena(batch * 64))
	rm := make([]mmsghdr, batch)
	ri := make([]unix.Iovec, batch)
	for i := range rm {
		ri[i].Base = &mem[i*size]
		ri[i].SetLen(size)
		rm[i].hdr.Iov, rm[i].hdr.Iovlen = &ri[i], 1
	}
	fds := outputSockets(c)
	g := newGrouper(c, batch*2, batch*64)
	sm := make([]mmsghdr, 0, max(1024, batch*64))
	flush := func(fd int32) {
		for off := 0; off < len(sm); {
			r, _, e := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&sm[off])), uintptr(len(sm)-off), unix.MSG_DONTWAIT, 0, 0)
			if e == unix.EINTR {
				continue
			}
			if e != 0 {
				r = 1 // skip the one that failed
			}
			off += int(r)
		}
		sm = sm[:0]
	}
	for {
		for i := range rm {
			rm[i].hdr.Control, rm[i].hdr.Controllen = &ctl[i*64], 64
		}
		r, _, e := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(in), uintptr(unsafe.Pointer(&rm[0])), batch, unix.MSG_WAITFORONE, 0, 0)
		if e != 0 {
			if e == unix.EINTR {
				continue
			}
			return e
		}
		n := int(r)
		g.reset()
		for i := 0; i < n; i++ {
			seg := int(rm[i].len)
			if gso {
				seg = groSize(ctl[i*64:i*64+int(rm[i].hdr.Controllen)], seg)
			}
			g.add(mem[i*size:i*size+int(rm[i].len)], seg, gso)
		}
		g.finish()
		for _, fd := range fds {
			for i := range g.groups {
				sm = append(sm, mmsghdr{hdr: *g.groups[i].hdr})
			}
			flush(fd)
		}
	}
}
