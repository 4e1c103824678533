// SPDX-License-Identifier: Apache-2.0

package sock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Membership is what a receive point has joined. It follows changes on the live socket without losing a datagram: the
// kernel swaps the whole source filter at once (MCAST_MSFILTER).
//
// A socket takes igmp_max_msf sources (10 by default). Beyond that the memberships move to holders: sockets that are bound to
// nothing and only join. The point then listens with IP_MULTICAST_ALL to whatever its interface has joined; being bound to the
// group it still gets no other. It does not go back.
//
// Set opens sockets where it joins, and so must run in the right network namespace; where it only leaves it opens none, as
// long as igmp_max_msf is not below its default.
//
// Not safe for use by several goroutines at once.
type Membership struct {
	fd      int
	group   netip.Addr
	ifIndex int

	any     bool
	sources []netip.Addr // sorted
	spread  bool
	holders []*holder
}

// holder is a socket that only joins: any source, or some.
type holder struct {
	fd      int
	any     bool
	sources []netip.Addr
}

// NewMembership of the point's socket fd, empty. For a unicast address it stays so. A point that is no UDP socket has none: fd is
// -1, and the memberships are on holders from the beginning.
func NewMembership(fd int, p Point) *Membership {
	return &Membership{fd: fd, group: p.Group, ifIndex: p.IfIndex, spread: fd < 0}
}

// maxSources is the default of igmp_max_msf.
const maxSources = 10

// Set makes the membership any source, or exactly these; none leaves the group. With both it is any source now, and
// ready to become these. After an error it is what it was, and possibly some more.
func (m *Membership) Set(any bool, sources []netip.Addr) error {
	if !m.group.IsMulticast() {
		return nil
	}
	sources = slices.Compact(slices.SortedFunc(slices.Values(sources), netip.Addr.Compare))
	if any == m.any && slices.Equal(sources, m.sources) {
		return nil
	}
	var err error
	m.spread = m.spread || len(sources) > maxSources
	if !m.spread {
		err = m.filter(any, sources)
		if errors.Is(err, unix.ENOBUFS) && len(sources) > 1 {
			m.spread = true
		}
	}
	if m.spread {
		err = m.hold(any, sources)
	}
	if err != nil {
		return fmt.Errorf("join %v on interface %d: %w", m.group, m.ifIndex, err)
	}
	m.any, m.sources = any, sources
	return nil
}

// Close leaves what was joined. The point's own socket stays open.
func (m *Membership) Close() {
	if m.joined() && !m.spread {
		leaveGroup(m.fd, m.group, m.ifIndex)
	}
	for _, h := range m.holders {
		unix.Close(h.fd)
	}
	m.any, m.sources, m.holders = false, nil, nil
}

func (m *Membership) joined() bool { return m.any || len(m.sources) > 0 }

// filter puts the memberships on the point's own socket.
func (m *Membership) filter(any bool, sources []netip.Addr) error {
	if any {
		sources = nil // MCAST_EXCLUDE would shut them out
	}
	switch {
	case !any && len(sources) == 0:
		leaveGroup(m.fd, m.group, m.ifIndex)
		return nil
	case m.joined():
		return setFilter(m.fd, m.group, m.ifIndex, any, sources)
	case any:
		return joinAny(m.fd, m.group, m.ifIndex)
	}
	for _, s := range sources {
		if err := sourceGroup(m.fd, unix.MCAST_JOIN_SOURCE_GROUP, m.group, s, m.ifIndex); err != nil {
			leaveGroup(m.fd, m.group, m.ifIndex)
			return err
		}
	}
	return nil
}

// hold puts the memberships on holders: joins come before leaves.
func (m *Membership) hold(any bool, sources []netip.Addr) error {
	var wanted, keep []*holder
	if any {
		h, err := m.holder(func(h *holder) bool { return h.any })
		if err != nil {
			return err
		}
		if !h.any {
			if err := joinAny(h.fd, m.group, m.ifIndex); err != nil {
				return err
			}
			h.any = true
		}
		wanted = append(wanted, h)
	}
	held := func(s netip.Addr) bool {
		return slices.ContainsFunc(m.holders, func(h *holder) bool { return slices.Contains(h.sources, s) })
	}
	for _, s := range sources {
		if !held(s) {
			if err := m.holdSource(s); err != nil {
				return err
			}
		}
	}
	if m.fd >= 0 {
		if err := unix.SetsockoptInt(m.fd, unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 1); err != nil {
			return os.NewSyscallError("IP_MULTICAST_ALL", err)
		}
		leaveGroup(m.fd, m.group, m.ifIndex) // EADDRNOTAVAIL from the second time on
	}
	for _, h := range m.holders {
		h.sources = slices.DeleteFunc(h.sources, func(s netip.Addr) bool {
			_, stays := slices.BinarySearchFunc(sources, s, netip.Addr.Compare)
			return !stays && sourceGroup(h.fd, unix.MCAST_LEAVE_SOURCE_GROUP, m.group, s, m.ifIndex) == nil
		})
		if len(h.sources) > 0 || slices.Contains(wanted, h) {
			keep = append(keep, h)
			continue
		}
		unix.Close(h.fd)
	}
	m.holders = keep
	return nil
}

// holdSource joins s on the first holder that takes it, or on a new one.
func (m *Membership) holdSource(s netip.Addr) error {
	for _, h := range m.holders {
		if h.any {
			continue
		}
		err := sourceGroup(h.fd, unix.MCAST_JOIN_SOURCE_GROUP, m.group, s, m.ifIndex)
		if err == nil {
			h.sources = append(h.sources, s)
			return nil
		}
		if !errors.Is(err, unix.ENOBUFS) {
			return err
		}
	}
	h, err := m.holder(func(*holder) bool { return false })
	if err != nil {
		return err
	}
	if err := sourceGroup(h.fd, unix.MCAST_JOIN_SOURCE_GROUP, m.group, s, m.ifIndex); err != nil {
		return err
	}
	h.sources = append(h.sources, s)
	return nil
}

// holder returns the one that fits, or opens one.
func (m *Membership) holder(fits func(*holder) bool) (*holder, error) {
	if i := slices.IndexFunc(m.holders, fits); i >= 0 {
		return m.holders[i], nil
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	h := &holder{fd: fd}
	m.holders = append(m.holders, h)
	return h, nil
}

func joinAny(fd int, group netip.Addr, ifIndex int) error {
	mreq := unix.IPMreqn{Multiaddr: group.As4(), Ifindex: int32(ifIndex)}
	return os.NewSyscallError("IP_ADD_MEMBERSHIP", unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &mreq))
}

// leaveGroup leaves with all sources. It can only fail where nothing was joined, or the interface is gone and the
// membership with it.
func leaveGroup(fd int, group netip.Addr, ifIndex int) {
	mreq := unix.IPMreqn{Multiaddr: group.As4(), Ifindex: int32(ifIndex)}
	unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_DROP_MEMBERSHIP, &mreq) //nolint:errcheck // see above
}

// sourceGroup joins or leaves one source: struct group_source_req, include/uapi/linux/in.h, Linux 2.6.
// Layout: gsr_interface u32, padding, gsr_group and gsr_source as sockaddr_storage of 128 bytes, aligned to 8.
func sourceGroup(fd, opt int, group, source netip.Addr, ifIndex int) error {
	b := make([]byte, 8, 8+2*sizeofStorage)
	binary.NativeEndian.PutUint32(b, uint32(ifIndex))
	b = appendStorage(appendStorage(b, group), source)
	return setsockopt("source join", fd, opt, b)
}

// setFilter swaps the filter of a group that is joined: struct group_filter, include/uapi/linux/in.h.
// Layout: gf_interface u32, padding, gf_group (128), gf_fmode u32, gf_numsrc u32, gf_slist (128 each).
func setFilter(fd int, group netip.Addr, ifIndex int, any bool, sources []netip.Addr) error {
	const exclude, include = 0, 1 // MCAST_EXCLUDE, MCAST_INCLUDE
	b := make([]byte, 8, 16+(1+len(sources))*sizeofStorage)
	binary.NativeEndian.PutUint32(b, uint32(ifIndex))
	b = appendStorage(b, group)
	mode := uint32(include)
	if any {
		mode = exclude
	}
	b = binary.NativeEndian.AppendUint32(b, mode)
	b = binary.NativeEndian.AppendUint32(b, uint32(len(sources)))
	for _, s := range sources {
		b = appendStorage(b, s)
	}
	return setsockopt("source filter", fd, unix.MCAST_MSFILTER, b)
}

const sizeofStorage = 128 // struct __kernel_sockaddr_storage

var _ [sizeofStorage]byte = [unix.SizeofSockaddrAny + 16]byte{}

func appendStorage(b []byte, a netip.Addr) []byte {
	var s [sizeofStorage]byte
	binary.NativeEndian.PutUint16(s[:], unix.AF_INET)
	a4 := a.As4()
	copy(s[4:], a4[:])
	return append(b, s[:]...)
}

func setsockopt(what string, fd, opt int, b []byte) error {
	_, _, e := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.IPPROTO_IP, uintptr(opt),
		uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0)
	if e != 0 {
		return fmt.Errorf("%s: %w", what, e)
	}
	return nil
}
