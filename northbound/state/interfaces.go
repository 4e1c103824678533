// SPDX-License-Identifier: Apache-2.0

package state

import (
	"strings"

	"mcr/mroute/netif"
	"mcr/northbound/telemetry"
)

// link publishes the state of an interface from what the router said last. One that is configured and not there says so.
func (s *step) link(name string) {
	path := append(interfacePath(name), stateElem)
	l := s.links[name]
	c := s.device.GetInterfaces().GetInterface(name).GetConfig()
	switch {
	case l != nil:
		s.update(path, linkLeaves(l, c.GetDescription()), s.linkSample(name))
	case c != nil:
		out := make(leaves, 0, 3)
		out.optional("description", c.GetDescription())
		out.text("name", name)
		out.text("oper-status", "NOT_PRESENT")
		s.update(path, out, nil)
	default:
		s.remove(path)
	}
}

func linkLeaves(l *netif.Link, description string) leaves {
	out := make(leaves, 0, 12)
	if l.Up {
		out.text("admin-status", "UP")
	} else {
		out.text("admin-status", "DOWN")
	}
	out.optional("description", description)
	out.number("ifindex", uint64(uint32(l.Index)))
	out.text("kind", l.Kind)
	out.moment("last-change", l.LastChange)
	out.flag("logical", l.Kind != "" || l.Loopback)
	out.optional("master", l.MasterName)
	out.count("mtu", min(l.MTU, 65535))
	out.flag("multicast", l.Multicast)
	out.text("name", l.Name)
	out.optional("oper-status", l.Oper)
	out.flag("point-to-point", l.PointPoint)
	out.text("type", linkType(l))
	return out
}

// linkType is the YANG identity of an interface, from the kernel's link kind and hardware type.
func linkType(l *netif.Link) string {
	switch {
	case l.Loopback:
		return "softwareLoopback"
	case l.Kind == "bridge":
		return "bridge"
	case l.Kind == "vlan":
		return "l2vlan"
	case l.Kind == "bond", l.Kind == "team":
		return "ieee8023adLag"
	case l.Kind == "ppp", l.Type == "ppp":
		return "ppp"
	case l.Type == "ether":
		return "ethernetCsmacd"
	}
	switch l.Kind {
	case "gre", "ipip", "sit", "vti", "wireguard", "tun", "xfrm", "amt":
		return "tunnel"
	}
	if strings.Contains(l.Type, "tunnel") || strings.Contains(l.Type, "gre") {
		return "tunnel"
	}
	return "other"
}

func (s *step) linkSample(name string) func([]telemetry.Leaf) []telemetry.Leaf {
	proc, carrier := s.proc, s.cfg.CarrierTransitions
	return func(dst []telemetry.Leaf) []telemetry.Leaf {
		c, ok := proc.link(name)
		if !ok {
			return dst
		}
		l := leaves(dst)
		if carrier != nil {
			if n, ok := carrier(name); ok {
				l.number("counters/carrier-transitions", n)
			}
		}
		l.number("counters/in-discards", c.inDiscards)
		l.number("counters/in-errors", c.inErrors)
		l.number("counters/in-multicast-pkts", c.inMulticast)
		l.number("counters/in-octets", c.inOctets)
		l.number("counters/in-pkts", c.inPackets)
		l.number("counters/out-discards", c.outDiscards)
		l.number("counters/out-errors", c.outErrors)
		l.number("counters/out-octets", c.outOctets)
		l.number("counters/out-pkts", c.outPackets)
		return l
	}
}

// addresses publishes the addresses of an interface, which live below its only subinterface.
func (s *step) addresses(name string, was, is *netif.Link) {
	sub := append(subinterfacePath(name), stateElem)
	if is == nil {
		s.remove(sub)
	} else if was == nil {
		var l leaves
		l.number("index", 0)
		s.update(sub, l, nil)
	}
	base := addressesPath(name)
	path := func(ip string) telemetry.Path {
		return append(entryAt(base, "address", "ip", ip), stateElem)
	}
	have := map[string]bool{}
	if is != nil {
		for _, a := range is.Addrs {
			ip := a.IP.String()
			if have[ip] { // with two masks it is one address still
				continue
			}
			have[ip] = true
			var l leaves
			l.text("ip", ip)
			l.optional("peer", s.addr(a.Peer))
			if a.Prefix.IsValid() {
				l.count("prefix-length", a.Prefix.Bits())
			}
			s.update(path(ip), l, nil)
		}
	}
	if was != nil {
		for _, a := range was.Addrs {
			if ip := a.IP.String(); !have[ip] {
				s.remove(path(ip))
			}
		}
	}
}
