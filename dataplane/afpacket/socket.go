// SPDX-License-Identifier: Apache-2.0

package afpacket

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Config of a packet socket.
type Config struct {
	IfIndex int
	Filter  Filter
	Stamps  bool // SO_TIMESTAMPNS
}

// Open makes a packet socket, packet(7), SOCK_RAW, that receives frames as Parse reads them, from now on. It needs CAP_NET_RAW. The
// size of its receive queue is the system's.
//
// PACKET_VNET_HDR: a sender's segmented run comes as one frame with the size of its segments; Linux before 6.2 cannot tell that
// size, and fails the receive with EINVAL. PACKET_AUXDATA tells whether the UDP checksum was looked at. Both are for SOCK_RAW.
func Open(c Config) (fd int, err error) {
	// Protocol 0: it receives nothing until the last bind, and so nothing that the filter would have kept out.
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("open packet socket on interface %d: %w", c.IfIndex, err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
			fd, err = -1, fmt.Errorf("packet socket on interface %d: %w", c.IfIndex, err)
		}
	}()
	for _, o := range []struct {
		name       string
		level, opt int
		on         bool
	}{
		{"PACKET_VNET_HDR", unix.SOL_PACKET, unix.PACKET_VNET_HDR, true}, // 2.6.27
		{"PACKET_AUXDATA", unix.SOL_PACKET, unix.PACKET_AUXDATA, true},   // 2.6.21
		{"SO_TIMESTAMPNS", unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, c.Stamps},
	} {
		if o.on {
			if err = unix.SetsockoptInt(fd, o.level, o.opt, 1); err != nil {
				return fd, fmt.Errorf("set %s: %w", o.name, err)
			}
		}
	}
	// 4.20; without it the filter keeps our own out.
	unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1) //nolint:errcheck // see above
	if err = unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: c.IfIndex}); err != nil {
		return fd, fmt.Errorf("bind: %w", err)
	}
	if err = SetFilter(fd, c.IfIndex, c.Filter); err != nil {
		return fd, err
	}
	if err = unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: c.IfIndex, Protocol: htons(unix.ETH_P_IP)}); err != nil {
		return fd, fmt.Errorf("bind: %w", err)
	}
	return fd, nil
}

// SetFilter swaps the filter, for what comes from now on.
func SetFilter(fd, ifIndex int, f Filter) error {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return fmt.Errorf("link type: %w", err)
	}
	ll, ok := sa.(*unix.SockaddrLinklayer)
	if !ok {
		return fmt.Errorf("link type: %w", unix.EAFNOSUPPORT)
	}
	return attach(fd, f.program(ifIndex, ll.Hatype))
}

// Mute keeps out everything.
func Mute(fd int) error { return attach(fd, []bpf.Instruction{bpf.RetConstant{Val: 0}}) }

// NameSpace is the room that a frame's name takes: struct sockaddr_ll, linux/if_packet.h, without the hardware address: family u16,
// protocol u16, ifindex i32, hatype u16, pkttype u8, halen u8.
const NameSpace = 12

// Link is the ARPHRD type of the interface, out of a frame's name.
func Link(name []byte) uint16 {
	if len(name) < NameSpace || binary.NativeEndian.Uint16(name) != unix.AF_PACKET {
		return unix.ARPHRD_NONE
	}
	return binary.NativeEndian.Uint16(name[8:])
}

// Statistics is how many frames the filter has let through since the last call, and how many of them found the queue full.
func Statistics(fd int) (came, lost uint64) {
	s, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0, 0
	}
	return uint64(s.Packets), uint64(s.Drops)
}
