// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

// Snapshot is all links and IPv4 addresses as of one dump. Immutable.
type Snapshot struct {
	byName  map[string]*Link
	byIndex map[plan.IfIndex]*Link
	local   map[netip.Addr]bool
}

// Link returns the link of that name, or nil.
func (s *Snapshot) Link(name string) *Link { return s.byName[name] }

// Index returns the link with that index, or nil.
func (s *Snapshot) Index(i plan.IfIndex) *Link { return s.byIndex[i] }

// Links returns all links by name; the map must not be changed.
func (s *Snapshot) Links() map[string]*Link { return s.byName }

// IsLocal says whether a is an address of this host.
func (s *Snapshot) IsLocal(a netip.Addr) bool { return s.local[a] || a.IsLoopback() }

// HasAddr says whether the link has an IPv4 address to send from.
func (l *Link) HasAddr() bool { return len(l.Addrs) > 0 }

// NewSnapshot returns a Snapshot of these links. Their addresses are the host's.
func NewSnapshot(links ...*Link) *Snapshot {
	s := &Snapshot{
		byName: make(map[string]*Link, len(links)), byIndex: make(map[plan.IfIndex]*Link, len(links)),
		local: map[netip.Addr]bool{},
	}
	for _, l := range links {
		s.byName[l.Name], s.byIndex[l.Index] = l, l
		for _, a := range l.Addrs {
			s.local[a.IP] = true
		}
	}
	return s
}

// newSnapshot makes a Snapshot of a dump. Links that are as they were in old keep their pointer.
func newSnapshot(old *Snapshot, links []netlink.Link, addrs []netlink.Addr, now time.Time) *Snapshot {
	byIndex := make(map[int]*Link, len(links))
	all := make([]*Link, len(links))
	for i, nl := range links {
		all[i] = newLink(nl)
		all[i].LastChange = now
		byIndex[nl.Attrs().Index] = all[i]
	}
	for _, a := range addrs {
		// A link that went away between the two dumps is no loss: an event will follow.
		if addr, ok := newAddr(a); ok && byIndex[a.LinkIndex] != nil {
			l := byIndex[a.LinkIndex]
			l.Addrs = append(l.Addrs, addr)
		}
	}
	s := NewSnapshot(all...)
	for _, l := range s.byName {
		if m := s.byIndex[l.Master]; m != nil {
			l.MasterName = m.Name
			// A VRF or a router's own netns device is a master that takes nothing away; these do.
			l.Enslaved = m.Kind == "bridge" || m.Kind == "bond" || m.Kind == "team" || m.Kind == "ovs-system"
		}
	}
	if old != nil {
		for _, l := range s.byName {
			s.keep(old.byIndex[l.Index], l)
		}
	}
	return s
}

// keep carries over what did not change: the whole link, or the time of its last operational change.
func (s *Snapshot) keep(was, is *Link) {
	if was == nil || was.Name != is.Name {
		return
	}
	if was.Oper == is.Oper {
		is.LastChange = was.LastChange
	}
	if was.equal(is) {
		s.byName[is.Name], s.byIndex[is.Index] = was, was
	}
}

func (l *Link) equal(o *Link) bool {
	a, b := *l, *o
	a.Addrs, b.Addrs = nil, nil
	type flat struct { // all of Link that can be compared
		Index, Master                                                 plan.IfIndex
		Name, Kind, Type, Oper, MasterName                            string
		MTU                                                           int
		Up, Running, Multicast, PointPoint, NoARP, Loopback, Enslaved bool
	}
	f := func(x Link) flat {
		return flat{
			x.Index, x.Master, x.Name, x.Kind, x.Type, x.Oper, x.MasterName, x.MTU,
			x.Up, x.Running, x.Multicast, x.PointPoint, x.NoARP, x.Loopback, x.Enslaved,
		}
	}
	return f(a) == f(b) && slices.Equal(l.Addrs, o.Addrs)
}

func newLink(nl netlink.Link) *Link {
	a := nl.Attrs()
	l := &Link{
		Index: plan.IfIndex(a.Index), Name: a.Name, Type: a.EncapType, MTU: a.MTU,
		Up:         a.RawFlags&unix.IFF_UP != 0,
		Running:    a.RawFlags&unix.IFF_UP != 0 && (a.OperState == netlink.OperUp || a.OperState == netlink.OperUnknown),
		Multicast:  a.RawFlags&unix.IFF_MULTICAST != 0,
		PointPoint: a.RawFlags&unix.IFF_POINTOPOINT != 0,
		NoARP:      a.RawFlags&unix.IFF_NOARP != 0,
		Loopback:   a.RawFlags&unix.IFF_LOOPBACK != 0,
		Master:     plan.IfIndex(a.MasterIndex),
		Oper:       operName(a),
	}
	switch k := nl.Type(); k {
	case "device": // netlink's word for "no IFLA_INFO_KIND"
	case "tuntap":
		l.Kind = "tun"
	default:
		l.Kind = k
	}
	return l
}

// operName spells RFC 2863's state as OpenConfig does.
func operName(a *netlink.LinkAttrs) string {
	switch a.OperState {
	case netlink.OperUp:
		return "UP"
	case netlink.OperDown:
		return "DOWN"
	case netlink.OperLowerLayerDown:
		return "LOWER_LAYER_DOWN"
	case netlink.OperDormant:
		return "DORMANT"
	case netlink.OperTesting:
		return "TESTING"
	case netlink.OperNotPresent:
		return "NOT_PRESENT"
	}
	if a.RawFlags&unix.IFF_UP == 0 {
		return "DOWN" // drivers without the notion say unknown, up or not
	}
	return "UNKNOWN"
}

func newAddr(a netlink.Addr) (Addr, bool) {
	ip, ok := fromIP(a.IP)
	if !ok {
		return Addr{}, false
	}
	ones, _ := a.Mask.Size()
	out := Addr{IP: ip, Prefix: netip.PrefixFrom(ip, ones)}
	// Without a peer the kernel repeats the address itself (IFA_ADDRESS = IFA_LOCAL).
	if a.Peer != nil {
		if p, ok := fromIP(a.Peer.IP); ok && p != ip {
			out.Peer = p
		}
	}
	return out, true
}

func fromIP(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip)
	return a.Unmap(), ok && a.Unmap().Is4()
}

// String names the link and what is remarkable about it, for messages.
func (l *Link) String() string {
	parts := []string{l.Name, strings.ToLower(l.Oper)}
	if l.Kind != "" {
		parts = append(parts, l.Kind)
	}
	return strings.Join(parts, " ")
}
