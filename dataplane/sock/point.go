// SPDX-License-Identifier: Apache-2.0

package sock

import (
	"fmt"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Point says what a receive point is bound to.
type Point struct {
	IfIndex       int
	Group         netip.Addr // multicast, or an own unicast address
	Port          uint16
	ReceiveBuffer int  // SO_RCVBUF, bytes
	Stamps        bool // each datagram carries the time of its arrival, until StopStamps
}

// OpenPoint makes the socket of a receive point. It has no membership yet.
func OpenPoint(p Point) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	set := &setter{fd: fd}
	set.int("SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	set.int("SO_BINDTOIFINDEX", unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, p.IfIndex)
	set.int("IP_MULTICAST_ALL", unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0)
	set.int("UDP_GRO", unix.IPPROTO_UDP, unix.UDP_GRO, 1) // 5.0
	set.int("IP_RECVTTL", unix.IPPROTO_IP, unix.IP_RECVTTL, 1)
	set.int("IP_RECVTOS", unix.IPPROTO_IP, unix.IP_RECVTOS, 1)
	if p.Stamps {
		set.int("SO_TIMESTAMPNS", unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	}
	set.do("SO_RCVBUF", SetReceiveBuffer(fd, p.ReceiveBuffer))
	set.do("bind", unix.Bind(fd, &unix.SockaddrInet4{Addr: p.Group.As4(), Port: int(p.Port)}))
	if set.err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("receive point %v:%d on interface %d: %w", p.Group, p.Port, p.IfIndex, set.err)
	}
	return fd, nil
}

// StartStamps is Point.Stamps for what is received from now on.
func StartStamps(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
}

// StopStamps ends what Point.Stamps began: what is received from now on has no time.
func StopStamps(fd int) {
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 0) //nolint:errcheck // it goes on, and costs some ns
}

// SetReceiveBuffer asks for n bytes, past rmem_max where that is allowed.
func SetReceiveBuffer(fd, n int) error {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, n) == nil {
		return nil
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, n)
}

// Drops is how many datagrams the kernel threw away because the socket's queue was full: SK_MEMINFO_DROPS of
// SO_MEMINFO, include/uapi/linux/sock_diag.h, Linux 4.12. Asking costs the receiver nothing.
func Drops(fd int) uint32 {
	const skMeminfoDrops, skMeminfoVars = 8, 9
	var info [skMeminfoVars]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if e != 0 {
		return 0
	}
	return info[skMeminfoDrops]
}
