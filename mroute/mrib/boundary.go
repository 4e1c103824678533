// SPDX-License-Identifier: Apache-2.0

package mrib

import "net/netip"

// bounded says that a boundary on the interface keeps the group in or out, as multicast and as unicast copies (D6).
func (s *stage) bounded(iface string, group netip.Addr) bool {
	if !group.IsMulticast() {
		return false
	}
	for _, p := range s.c.Boundaries[iface] {
		if p.Contains(group) {
			return true
		}
	}
	return false
}

// kept says that a boundary keeps the copies of m from their interface. Multicast is kept by the group it is sent to, a
// unicast copy by the group that it is a copy of, or stands for.
func (s *stage) kept(m *Member) bool {
	switch {
	case !m.Unicast():
		return s.bounded(m.Key.Interface, m.Key.Dest)
	case m.HER && m.Static.Group.IsValid(): // in either form it is sent for its own group alone
		return s.bounded(m.Key.Interface, m.Static.Group)
	}
	return s.bounded(m.Key.Interface, m.Input) || s.bounded(m.Key.Interface, m.Static.Group)
}

// ingress is what the host says of an input, unless a boundary keeps its group out: then it is not even joined.
func (s *stage) ingress(k pointKey) Ingress {
	if s.bounded(k.iface, k.group) {
		return Ingress{Reason: Scope}
	}
	return s.host.Ingress(k.iface, k.group)
}
