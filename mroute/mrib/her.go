// SPDX-License-Identifier: Apache-2.0

package mrib

import "net/netip"

// HER is what head-end replication makes of a multicast output.
type HER struct {
	Active    bool         // it becomes unicast copies, one to each endpoint; without one it is down, EndpointUnresolved
	Endpoints []netip.Addr // ascending
}

// ProtocolHER is how PIM or IGMP is configured for head-end replication on one interface.
type ProtocolHER struct {
	Auto *bool   // auto-her; nil: not configured
	Mode HERMode // HERInherit: not configured
}

// Origin is who asks for an output.
type Origin uint8

// Origins.
const (
	OriginStatic Origin = iota // a rule
	OriginPIM
	OriginIGMP
	OriginOther // a lease, an AMT gateway, a remote join
)

// HERFacts are all that decides on head-end replication on one interface, whoever asks for the output.
type HERFacts struct {
	PointPoint, Multicast bool        // IFF_POINTOPOINT, IFF_MULTICAST
	Auto                  bool        // auto-her-for-p2p-tunnels
	Mode                  HERMode     // the global her-mode; HERInherit: HERAuto
	PIM, IGMP             ProtocolHER // zero where the protocol, or it on this interface, is not enabled
}

// Active says whether a multicast output on the interface becomes unicast copies (P3.2). own is the her-mode of a static
// output; other origins have none.
func (f HERFacts) Active(o Origin, own HERMode) bool {
	on, mode := f.setting(o)
	if o == OriginStatic && own != HERInherit {
		on, mode = true, own
	}
	switch {
	case !on, mode == HERNever:
		return false
	case mode == HERAlways:
		return true
	}
	return !f.Multicast
}

// setting is whether it is on for an origin, and under which mode. What one protocol alone sets holds for all. Where both set
// auto-her, and differ, each rules its own, and the others follow the global setting; likewise her-mode, which alone switches nothing
// on.
func (f HERFacts) setting(o Origin) (bool, HERMode) {
	pim, igmp := f.PIM, f.IGMP
	if pim.Auto != nil && igmp.Auto != nil && *pim.Auto != *igmp.Auto {
		if o != OriginPIM {
			pim = ProtocolHER{}
		}
		if o != OriginIGMP {
			igmp = ProtocolHER{}
		}
	}
	on := f.Auto && f.PointPoint
	if pim.Auto != nil {
		on = *pim.Auto
	} else if igmp.Auto != nil {
		on = *igmp.Auto
	}
	mode := f.Mode
	switch p, i := pim.Mode, igmp.Mode; {
	case p == HERInherit && i == HERInherit:
	case i == HERInherit, p == i, p != HERInherit && o == OriginPIM:
		mode = p
	case p == HERInherit, o == OriginIGMP:
		mode = i
	}
	return on, mode
}
