// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"encoding/binary"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

// parseLink reads a message of type RTM_NEWLINK: struct ifinfomsg, linux/rtnetlink.h, and IFLA attributes, linux/if_link.h.
// Addresses, peers and the master's name are not in it.
func parseLink(data []byte) (*Link, bool) {
	if len(data) < unix.SizeofIfInfomsg {
		return nil, false
	}
	order := binary.NativeEndian
	hw := nl.IfInfomsg{IfInfomsg: unix.IfInfomsg{Type: order.Uint16(data[2:])}}
	flags, attrs := order.Uint32(data[8:]), data[unix.SizeofIfInfomsg:]
	l := &Link{
		Index: plan.IfIndex(order.Uint32(data[4:])), Type: hw.EncapType(),
		Up:         flags&unix.IFF_UP != 0,
		Multicast:  flags&unix.IFF_MULTICAST != 0,
		PointPoint: flags&unix.IFF_POINTOPOINT != 0,
		NoARP:      flags&unix.IFF_NOARP != 0,
		Loopback:   flags&unix.IFF_LOOPBACK != 0,
		MTU:        int(number(attrs, unix.IFLA_MTU)),
		Master:     plan.IfIndex(number(attrs, unix.IFLA_MASTER)),
	}
	name, _ := attribute(attrs, unix.IFLA_IFNAME)
	l.Name = unix.ByteSliceToString(name)
	if l.Index <= 0 || l.Name == "" {
		return nil, false
	}
	oper := netlink.LinkOperState(netlink.OperUnknown)
	if v, _ := attribute(attrs, unix.IFLA_OPERSTATE); len(v) > 0 {
		oper = netlink.LinkOperState(v[0])
	}
	l.Oper = operName(oper, l.Up)
	l.Running = l.Up && (oper == netlink.OperUp || oper == netlink.OperUnknown)
	info, _ := attribute(attrs, unix.IFLA_LINKINFO)
	kind, _ := attribute(info, unix.IFLA_INFO_KIND)
	l.Kind = unix.ByteSliceToString(kind)
	tunnel, _ := attribute(info, unix.IFLA_INFO_DATA)
	l.setOuter(tunnel)
	return l, true
}

// number returns an attribute of 32 bits; 0 where there is none.
func number(attrs []byte, typ uint16) uint32 {
	if v, _ := attribute(attrs, typ); len(v) >= 4 {
		return binary.NativeEndian.Uint32(v)
	}
	return 0
}

// outer names the attributes of IFLA_INFO_DATA that say where a tunnel over IPv4 leads, by kind; 0: there is none.
var outer = map[string]struct{ local, remote, external uint16 }{
	"gre":    {nl.IFLA_GRE_LOCAL, nl.IFLA_GRE_REMOTE, nl.IFLA_GRE_COLLECT_METADATA},
	"gretap": {nl.IFLA_GRE_LOCAL, nl.IFLA_GRE_REMOTE, nl.IFLA_GRE_COLLECT_METADATA},
	"erspan": {nl.IFLA_GRE_LOCAL, nl.IFLA_GRE_REMOTE, nl.IFLA_GRE_COLLECT_METADATA},
	"ipip":   {nl.IFLA_IPTUN_LOCAL, nl.IFLA_IPTUN_REMOTE, nl.IFLA_IPTUN_COLLECT_METADATA},
	"sit":    {nl.IFLA_IPTUN_LOCAL, nl.IFLA_IPTUN_REMOTE, nl.IFLA_IPTUN_COLLECT_METADATA},
	"vti":    {nl.IFLA_VTI_LOCAL, nl.IFLA_VTI_REMOTE, 0},
	"vxlan":  {nl.IFLA_VXLAN_LOCAL, nl.IFLA_VXLAN_GROUP, nl.IFLA_VXLAN_FLOWBASED},
	"geneve": {0, nl.IFLA_GENEVE_REMOTE, nl.IFLA_GENEVE_COLLECT_METADATA},
	// Their ends are IPv6.
	"ip6gre":    {0, 0, nl.IFLA_GRE_COLLECT_METADATA},
	"ip6gretap": {0, 0, nl.IFLA_GRE_COLLECT_METADATA},
	"ip6tnl":    {0, 0, nl.IFLA_IPTUN_COLLECT_METADATA},
}

// setOuter reads the ends of a tunnel. Only the kind says which attribute is which.
func (l *Link) setOuter(data []byte) {
	o, ok := outer[l.Kind]
	if !ok {
		return
	}
	l.OuterLocal, l.OuterRemote = host(data, o.local), host(data, o.remote)
	// A flag without value for some kinds, a byte for others.
	if v, ok := attribute(data, o.external); ok && o.external != 0 {
		l.External = len(v) == 0 || v[0] != 0
	}
}

// host returns an attribute that is an IPv4 address; invalid where there is none, or it says "any".
func host(attrs []byte, typ uint16) netip.Addr {
	v, _ := attribute(attrs, typ)
	a, ok := netip.AddrFromSlice(v)
	if !ok || !a.Is4() || a.IsUnspecified() || typ == 0 {
		return netip.Addr{}
	}
	return a
}

// operName spells RFC 2863's state as OpenConfig does.
func operName(oper netlink.LinkOperState, up bool) string {
	switch oper {
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
	if !up {
		return "DOWN" // drivers without the notion say unknown, up or not
	}
	return "UNKNOWN"
}

// linkAddr is an address and the link that has it.
type linkAddr struct {
	Addr
	link plan.IfIndex
}

// parseAddr reads a message of type RTM_NEWADDR: struct ifaddrmsg and IFA attributes, linux/if_addr.h. Without a peer the
// kernel repeats the address itself (IFA_ADDRESS = IFA_LOCAL); the prefix is that of IFA_ADDRESS.
func parseAddr(data []byte) (a linkAddr, ok bool) {
	if len(data) < unix.SizeofIfAddrmsg || data[0] != unix.AF_INET {
		return a, false
	}
	a.link = plan.IfIndex(binary.NativeEndian.Uint32(data[4:]))
	attrs := data[unix.SizeofIfAddrmsg:]
	a.IP = host(attrs, unix.IFA_LOCAL)
	on := host(attrs, unix.IFA_ADDRESS)
	if !on.IsValid() {
		on = a.IP
	}
	if !a.IP.IsValid() {
		a.IP = on
	}
	if !a.IP.IsValid() || a.link <= 0 || data[1] > 32 {
		return a, false
	}
	if on != a.IP {
		a.Peer = on
	}
	a.Prefix = netip.PrefixFrom(on, int(data[1]))
	return a, true
}

// hint is one message from the kernel, reduced to what it makes doubtful.
type hint struct {
	link    plan.IfIndex // 0: none
	deleted bool         // the link; by now there may be another of that index
	prefix  netip.Prefix // of a route
	via     plan.IfIndex // by which the route leads; 0: it may be any
	routes  bool         // all of them
}

// parseHint reads the fixed header of a message, and the destination and interface of a route.
func parseHint(typ uint16, data []byte) (hint, bool) {
	order := binary.NativeEndian
	switch typ {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		if len(data) < unix.SizeofIfInfomsg {
			return hint{}, false
		}
		// A port that leaves a bridge is told as a deletion too, in the bridge's family.
		deleted := typ == unix.RTM_DELLINK && data[0] == unix.AF_UNSPEC
		h := hint{link: plan.IfIndex(order.Uint32(data[4:])), deleted: deleted}
		return h, h.link > 0
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		if len(data) < unix.SizeofIfAddrmsg {
			return hint{}, false
		}
		h := hint{link: plan.IfIndex(order.Uint32(data[4:]))}
		return h, h.link > 0
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return parseRoute(data)
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		return hint{routes: true}, true
	}
	return hint{}, false
}

func parseRoute(data []byte) (hint, bool) {
	if len(data) < unix.SizeofRtMsg {
		return hint{}, false
	}
	bits, attrs := int(data[1]), data[unix.SizeofRtMsg:] // rtm_dst_len
	dst := netip.IPv4Unspecified()
	if v, ok := attribute(attrs, unix.RTA_DST); ok {
		if dst, ok = netip.AddrFromSlice(v); !ok || !dst.Is4() {
			return hint{}, false
		}
	}
	p, err := dst.Prefix(bits)
	if err != nil {
		return hint{routes: true}, true
	}
	return hint{prefix: p, via: plan.IfIndex(max(0, int32(number(attrs, unix.RTA_OIF))))}, true
}
