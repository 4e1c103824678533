// SPDX-License-Identifier: Apache-2.0

package afpacket

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

// MaxGroups is how many groups a Stray looks for at a time: they are compared one by one in its filter.
const MaxGroups = 16

// snap is how much of a packet is kept: an IPv4 header with all options, and the UDP ports.
const snap = 64

// Stray is an AF_PACKET socket on all interfaces, packet(7), SOCK_DGRAM: the network header comes first whatever the link.
type Stray struct{ fd int }

// OpenStray opens it. It needs CAP_NET_RAW. Nothing is seen before Look.
func OpenStray() (*Stray, error) {
	// Protocol 0: it receives nothing until bind, and so nothing that the filter would have kept out.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	s := &Stray{fd: fd}
	for _, step := range []func() error{
		func() error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 64<<10) },
		func() error { return s.Look(nil) },
		func() error { return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_IP)}) },
	} {
		if err := step(); err != nil {
			unix.Close(fd)
			return nil, fmt.Errorf("set up packet socket: %w", err)
		}
	}
	return s, nil
}

// Close closes the socket.
func (s *Stray) Close() error {
	if s.fd < 0 {
		return nil
	}
	fd := s.fd
	s.fd = -1
	return unix.Close(fd)
}

// Look says which groups are looked for from now on, at most MaxGroups; what was queued for others stays queued.
func (s *Stray) Look(groups []netip.Addr) error {
	return attach(s.fd, filter(groups))
}

// filter keeps the head of UDP datagrams, first fragments included, to the groups; not what this host sends itself.
func filter(groups []netip.Addr) []bpf.Instruction {
	n := min(len(groups), MaxGroups)
	prog := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_OUTGOING, SkipTrue: uint8(n + 5)},
		bpf.LoadAbsolute{Off: 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: uint8(n + 3)},
		bpf.LoadAbsolute{Off: 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x1fff, SkipTrue: uint8(n + 1)},
		bpf.LoadAbsolute{Off: 16, Size: 4},
	}
	for i, g := range groups[:n] {
		a := g.As4()
		prog = append(prog, bpf.JumpIf{Cond: bpf.JumpEqual, Val: binary.BigEndian.Uint32(a[:]), SkipTrue: uint8(n - i)})
	}
	return append(prog, bpf.RetConstant{Val: 0}, bpf.RetConstant{Val: snap})
}

// Seen returns what has come since the last call: each stream once for each interface. It does not wait.
func (s *Stray) Seen() map[plan.Sight]bool {
	out := map[plan.Sight]bool{}
	var b [snap]byte
	for range 4096 { // the queue is far shorter; a flood must not hold the caller
		n, from, err := unix.Recvfrom(s.fd, b[:], unix.MSG_DONTWAIT)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			break
		}
		ll, ok := from.(*unix.SockaddrLinklayer)
		if !ok {
			continue
		}
		if group, port, ok := parse(b[:n]); ok {
			out[plan.Sight{IfIndex: plan.IfIndex(ll.Ifindex), Group: group, Port: port}] = true
		}
	}
	return out
}

// parse reads destination and UDP port of the head of an IPv4 packet.
func parse(b []byte) (netip.Addr, uint16, bool) {
	if len(b) < 20 || b[0]>>4 != 4 || b[9] != unix.IPPROTO_UDP {
		return netip.Addr{}, 0, false
	}
	udp := int(b[0]&15) * 4
	if udp < 20 || len(b) < udp+4 {
		return netip.Addr{}, 0, false
	}
	return netip.AddrFrom4([4]byte(b[16:20])), binary.BigEndian.Uint16(b[udp+2:]), true
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }
