// SPDX-License-Identifier: Apache-2.0

package sock

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// MaxPayload is the longest UDP payload over IPv4, bytes.
const MaxPayload = 65535 - 20 - 8

// Message is struct mmsghdr, <sys/socket.h>, Linux 2.6.33.
type Message struct {
	Hdr unix.Msghdr
	Len uint32 // bytes received
	_   uint32
}

var (
	_ [64]byte = [unsafe.Sizeof(Message{})]byte{}
	_ [56]byte = [unsafe.Offsetof(Message{}.Len)]byte{}
	_ [56]byte = [unsafe.Sizeof(unix.Msghdr{})]byte{}
	_ [16]byte = [unsafe.Sizeof(unix.Iovec{})]byte{}
)

// Send sends one message without waiting. It is not a raw call all the same: on its way out the kernel may work off what
// arrived meanwhile, for milliseconds (net.core.netdev_budget_usecs), and a garbage collection would wait for that.
func Send(fd int32, h *unix.Msghdr) unix.Errno {
	for {
		_, _, e := unix.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(h)), unix.MSG_DONTWAIT)
		if e != unix.EINTR {
			return e
		}
	}
}

// Drain throws away what waits in the socket.
func Drain(fd int32) {
	// Each message takes a datagram and keeps next to nothing of it: a packet socket wants room for its virtio-net header.
	room := make([]byte, 16)
	iov := unix.Iovec{Base: &room[0], Len: uint64(len(room))}
	ms := make([]Message, 64)
	for i := range ms {
		ms[i].Hdr = unix.Msghdr{Iov: &iov, Iovlen: 1}
	}
	for range 4096 { // some times what the largest queue holds; a flood must not hold the caller
		n, e := Receive(fd, ms)
		if (e != 0 && e != unix.EINVAL) || (e == 0 && n < len(ms)) { // EINVAL: a frame of which a packet socket cannot tell the segments
			return
		}
	}
}

// Receive fills ms with what waits in the socket, and returns how many messages that were. It does not wait.
func Receive(fd int32, ms []Message) (int, unix.Errno) {
	for {
		n, _, e := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(ms))), uintptr(len(ms)), unix.MSG_DONTWAIT, 0, 0)
		if e == 0 {
			return int(n), 0
		}
		if e != unix.EINTR {
			return 0, e
		}
	}
}
