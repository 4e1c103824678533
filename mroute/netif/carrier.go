// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"encoding/binary"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

// CarrierTransitions returns how often the carrier of a link came or went since the kernel made the link; false: that is not
// known. The kernel counts in 32 bits (IFLA_CARRIER_CHANGES, Linux 3.15), and /proc/net/dev does not show it. One link is asked
// for, on the socket of the other readers of counters.
func (m *Monitor) CarrierTransitions(name string) (uint64, bool) {
	l := m.Snapshot().Link(name)
	if l == nil {
		return 0, false
	}
	q := m.queues
	q.mu.Lock()
	defer q.mu.Unlock()
	req := &nl.NetlinkRequest{
		NlMsghdr: unix.NlMsghdr{Len: unix.SizeofNlMsghdr, Type: unix.RTM_GETLINK, Flags: unix.NLM_F_REQUEST},
		Sockets:  map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: q.socket},
	}
	info := nl.NewIfInfomsg(unix.AF_UNSPEC)
	info.Index = int32(l.Index)
	req.AddData(info)
	msgs, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil || len(msgs) != 1 { // it went meanwhile
		return 0, false
	}
	i, n, ok := parseCarrier(msgs[0])
	return uint64(n), ok && i == l.Index
}

// parseCarrier reads IFLA_CARRIER_CHANGES of a message of type RTM_NEWLINK, which begins with a struct ifinfomsg
// (linux/rtnetlink.h, linux/if_link.h).
func parseCarrier(data []byte) (i plan.IfIndex, n uint32, ok bool) {
	const iflaCarrierChanges = 35
	if len(data) < unix.SizeofIfInfomsg {
		return 0, 0, false
	}
	i = plan.IfIndex(binary.NativeEndian.Uint32(data[4:]))
	v, found := attribute(data[unix.SizeofIfInfomsg:], iflaCarrierChanges)
	if i <= 0 || !found || len(v) < 4 {
		return 0, 0, false
	}
	return i, binary.NativeEndian.Uint32(v), true
}
