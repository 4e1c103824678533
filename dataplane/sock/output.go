// SPDX-License-Identifier: Apache-2.0

package sock

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// sendBuffer holds several runs of 64 KiB: with MSG_DONTWAIT a full one is a loss. Bytes.
const sendBuffer = 4 << 20

// Output says what a sending socket is bound and connected to.
type Output struct {
	IfIndex int            // egress; 0 leaves it to the routing table
	Source  netip.Addr     // local address; not valid: the route's
	Port    uint16         // local port; 0: any
	Dest    netip.AddrPort // unicast or multicast, IPv4
	TTL     uint8          // of datagrams without a control message; 0: the system's
	TOS     uint8
}

// OpenOutput makes the socket and returns it with its local port.
//
// SO_REUSEADDR comes before bind: sockets that differ in their peers may then share a local port, as the kernel finds the
// owner of an ICMP error by all four values. IP_BIND_ADDRESS_NO_PORT would gain nothing: UDP, unlike TCP, does not choose
// the port by the peer at connect().
func OpenOutput(o Output) (fd int, port uint16, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, 0, os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
			fd = -1
		}
	}()
	if err = outputOptions(fd, o); err != nil {
		return fd, 0, err
	}
	vrf, err := bind(fd, o)
	if err != nil {
		return fd, 0, fmt.Errorf("bind to %v port %d: %w", o.Source, o.Port, err)
	}
	if err = connect(fd, o, vrf); err != nil {
		return fd, 0, fmt.Errorf("connect to %v: %w", o.Dest, err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return fd, 0, os.NewSyscallError("getsockname", err)
	}
	if in, ok := sa.(*unix.SockaddrInet4); ok {
		port = uint16(in.Port)
	}
	return fd, port, nil
}

// bind binds the socket to its address and port. The address of a VRF's member is local in that VRF alone: to have it the
// socket must be bound to the device, and must stay so to get the ICMP errors of the VRF.
func bind(fd int, o Output) (vrf bool, err error) {
	local := unix.SockaddrInet4{Port: int(o.Port)}
	if o.Source.Is4() {
		local.Addr = o.Source.As4()
	}
	err = unix.Bind(fd, &local)
	if err != unix.EADDRNOTAVAIL || o.IfIndex == 0 || bindToDevice(fd, o.IfIndex) != nil {
		return false, err
	}
	return true, unix.Bind(fd, &local)
}

func bindToDevice(fd, ifIndex int) error {
	return os.NewSyscallError("setsockopt SO_BINDTOIFINDEX", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, ifIndex)) // 5.0
}

// connect connects the socket, with its interface fixed.
//
// For sends IP_UNICAST_IF fixes it on every kernel, but connect() obeys that from 6.0 on only, and caches the route that
// it takes. So the socket is bound to the device meanwhile; unbinding throws the cached route away (sock_bindtoindex,
// net/core/sock.c). It does not stay bound, since the kernel's own ICMP, for a neighbour that never answers, comes in by
// lo, and a socket that is bound to another device never hears of it (seen on 6.18). Without CAP_NET_RAW it does stay
// bound, and only that error is missed.
func connect(fd int, o Output, vrf bool) error {
	pin := o.IfIndex != 0 && !o.Dest.Addr().IsMulticast() && !vrf
	if pin {
		if err := bindToDevice(fd, o.IfIndex); err != nil {
			return err
		}
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: o.Dest.Addr().As4(), Port: int(o.Dest.Port())}); err != nil {
		return err
	}
	if pin {
		_ = bindToDevice(fd, 0)
	}
	return nil
}

// outputOptions sets what must be set before bind and connect.
func outputOptions(fd int, o Output) error {
	set := &setter{fd: fd}
	set.int("SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if o.IfIndex != 0 && !o.Dest.Addr().IsMulticast() {
		set.int("IP_UNICAST_IF", unix.IPPROTO_IP, unix.IP_UNICAST_IF, networkOrder(o.IfIndex))
	}
	// No memory sink: answers are dropped by the filter, and the error queue, which is never drained, stays below the
	// minimum of the receive buffer (1,664 bytes were seen).
	set.int("SO_RCVBUF", unix.SOL_SOCKET, unix.SO_RCVBUF, 0)
	set.do("SO_ATTACH_FILTER", attachDropAll(fd))
	// Without IP_RECVERR a neighbour that never answers, and a full queue, give no error at all.
	set.int("IP_RECVERR", unix.IPPROTO_IP, unix.IP_RECVERR, 1)
	// OMIT: no DF, learned path MTUs are ignored, longer datagrams are fragmented at the interface's MTU.
	set.int("IP_MTU_DISCOVER", unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_OMIT)
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer) != nil {
		set.int("SO_SNDBUF", unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
	}
	if o.Dest.Addr().IsMulticast() {
		mreq := unix.IPMreqn{Ifindex: int32(o.IfIndex)}
		if o.Source.Is4() {
			mreq.Address = o.Source.As4()
		}
		set.do("IP_MULTICAST_IF", unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &mreq))
		set.int("IP_MULTICAST_LOOP", unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, 0)
	}
	set.do("TTL and TOS", SetHeader(fd, o.Dest.Addr().IsMulticast(), o.TTL, o.TOS))
	return set.err
}

// SetHeader changes what a live socket writes into the IP header: ttl (0 leaves it) and tos. Nobody may send on the
// socket meanwhile, or a datagram may get the one and not the other.
func SetHeader(fd int, multicast bool, ttl, tos uint8) error {
	set := &setter{fd: fd}
	if ttl != 0 {
		opt := unix.IP_TTL
		if multicast {
			opt = unix.IP_MULTICAST_TTL
		}
		set.int("IP_TTL", unix.IPPROTO_IP, opt, int(ttl))
	}
	set.int("IP_TOS", unix.IPPROTO_IP, unix.IP_TOS, int(tos))
	return set.err
}

// networkOrder is v as IP_UNICAST_IF wants it: the bytes of a big-endian number.
func networkOrder(v int) int {
	return int(int32(binary.NativeEndian.Uint32(binary.BigEndian.AppendUint32(nil, uint32(v)))))
}

// setter sets options until one fails.
type setter struct {
	fd  int
	err error
}

func (s *setter) int(name string, level, opt, value int) {
	if s.err == nil {
		s.do(name, unix.SetsockoptInt(s.fd, level, opt, value))
	}
}

func (s *setter) do(name string, err error) {
	if s.err == nil && err != nil {
		s.err = fmt.Errorf("set %s: %w", name, err)
	}
}
