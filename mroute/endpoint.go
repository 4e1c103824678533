// SPDX-License-Identifier: Apache-2.0

package mroute

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"mcr/mroute/mrib"
	"mcr/mroute/netif"
)

// farEnd is what was resolved for the static outputs of one interface, and from what.
type farEnd struct {
	link       *netif.Link
	configured []netif.ConfiguredEndpoint
	netif.Resolution
	endpoints []netip.Addr // in use, ascending
}

// farEnd resolves the far end of an interface, which need not exist. An answer stands until the link, the configuration, or, as update
// sees to, the addresses of the host are not what they were.
func (h *host) farEnd(name string) *farEnd {
	l, conf := h.links.Link(name), h.conf.Endpoints[name]
	if f := h.ends[name]; f != nil && f.link == l && slices.Equal(f.configured, conf) {
		return f
	}
	f := &farEnd{link: l, configured: conf, Resolution: netif.Resolve(l, h.links.IsLocal, conf, netif.Holder{})}
	f.endpoints = f.Endpoints()
	h.ends[name] = f
	return f
}

// origin says where an endpoint of an interface came from.
func (h *host) origin(iface string, endpoint netip.Addr) netif.Origin {
	for _, c := range h.farEnd(iface).Candidates {
		if c.Address == endpoint && c.InUse() {
			return c.Origin
		}
	}
	return netif.OriginNone
}

// HER implements mrib.Host.
func (h *host) HER(o *mrib.Output) mrib.HER {
	if !h.facts(o.Interface).Active(mrib.OriginStatic, o.HERMode) {
		return mrib.HER{}
	}
	return mrib.HER{Active: true, Endpoints: h.farEnd(o.Interface).endpoints}
}

// facts are what decides on head-end replication on an interface. One that does not exist lacks no flag.
func (h *host) facts(name string) mrib.HERFacts {
	f := mrib.HERFacts{
		Multicast: true, Auto: h.conf.Forwarding.AutoHER, Mode: h.conf.Forwarding.HERMode,
		PIM: h.conf.PIM.her(name), IGMP: h.conf.IGMP.her(name),
	}
	if l := h.links.Link(name); l != nil {
		f.PointPoint, f.Multicast = l.PointPoint, l.Multicast
	}
	return f
}

// her is what the protocol says of head-end replication on an interface: nothing where it is not enabled there.
func (p *Protocol) her(iface string) mrib.ProtocolHER {
	if i := p.Interfaces[iface]; p.Enabled && i.Enabled {
		return i.HER
	}
	return mrib.ProtocolHER{}
}

// forgetEnds forgets the far ends that one of these addresses may be, now that it came to the host or left it, and returns the
// interfaces.
func (h *host) forgetEnds(moved map[netip.Addr]bool) map[string]bool {
	forgot := map[string]bool{}
	if len(moved) == 0 {
		return forgot
	}
	for name, f := range h.ends {
		if slices.ContainsFunc(f.Candidates, func(c netif.Candidate) bool { return moved[c.Address] }) {
			delete(h.ends, name)
			forgot[name] = true
		}
	}
	return forgot
}

// movedAddrs are the addresses that the host has now or had before, not both.
func movedAddrs(old, now *netif.Snapshot) map[netip.Addr]bool {
	moved := map[netip.Addr]bool{}
	for _, name := range now.Differ(old) {
		for _, l := range [...]*netif.Link{old.Link(name), now.Link(name)} {
			if l == nil {
				continue
			}
			for _, addr := range l.Addrs {
				if old.IsLocal(addr.IP) != now.IsLocal(addr.IP) {
					moved[addr.IP] = true
				}
			}
		}
	}
	return moved
}

// herDoubt says of which outputs the configuration of head-end replication differs; nil: of none.
func herDoubt(a, b *Config) func(*mrib.Member) bool {
	if a.Forwarding.AutoHER != b.Forwarding.AutoHER || a.Forwarding.HERMode != b.Forwarding.HERMode {
		return func(m *mrib.Member) bool { return !m.Static.Unicast.IsValid() }
	}
	names := map[string]bool{}
	for _, c := range [...]*Config{a, b} {
		for name := range c.Endpoints {
			names[name] = names[name] || !slices.Equal(a.Endpoints[name], b.Endpoints[name])
		}
		for name := range c.PIM.Interfaces {
			names[name] = names[name] || !sameHER(a.PIM.her(name), b.PIM.her(name))
		}
		for name := range c.IGMP.Interfaces {
			names[name] = names[name] || !sameHER(a.IGMP.her(name), b.IGMP.her(name))
		}
	}
	maps.DeleteFunc(names, func(_ string, differs bool) bool { return !differs })
	if len(names) == 0 {
		return nil
	}
	return func(m *mrib.Member) bool { return names[m.Key.Interface] && !m.Static.Unicast.IsValid() }
}

func sameHER(a, b mrib.ProtocolHER) bool {
	return a.Mode == b.Mode && (a.Auto == nil) == (b.Auto == nil) && (a.Auto == nil || *a.Auto == *b.Auto)
}

// either is the doubt of both; nil doubts nothing.
func either(a, b func(*mrib.Member) bool) func(*mrib.Member) bool {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return func(m *mrib.Member) bool { return a(m) || b(m) }
}

// publishAllEndpoints tells the far ends of all interfaces, where they changed.
func (r *Router) publishAllEndpoints(b *Batch) {
	for name := range r.host.links.Links() {
		r.publishEndpoint(b, name)
	}
	for name := range r.cfg.Endpoints {
		r.publishEndpoint(b, name)
	}
	for name := range r.seen.endpoints {
		r.publishEndpoint(b, name)
	}
}

// publishEndpoint tells the far end of one interface, if it changed.
func (r *Router) publishEndpoint(b *Batch, name string) {
	was := r.seen.endpoints[name]
	l := r.host.links.Link(name)
	_, named := r.cfg.Endpoints[name]
	if !named && (l == nil || l.Multicast && !l.PointPoint) {
		delete(r.host.ends, name)
		if was != nil {
			b.Endpoints[name] = nil
			delete(r.seen.endpoints, name)
		}
		return
	}
	f := r.host.farEnd(name)
	her := r.host.facts(name).Active(mrib.OriginStatic, mrib.HERInherit)
	if was != nil && was.Link == l && was.HERActive == her && slices.Equal(was.Configured, f.configured) && sameResolution(was.Resolution, f.Resolution) {
		return
	}
	is := &EndpointState{
		Link: l, Configured: f.configured, Resolution: f.Resolution, HERActive: her,
		Since: make(map[netip.Addr]time.Time, len(f.Candidates)), LastChange: b.Time,
	}
	for _, c := range f.Candidates {
		is.Since[c.Address] = b.Time
		if was == nil {
			continue
		}
		if at, ok := was.Since[c.Address]; ok {
			is.Since[c.Address] = at
		}
	}
	if was != nil && !was.differs(is) {
		is.LastChange = was.LastChange
	}
	r.seen.endpoints[name], b.Endpoints[name] = is, is
	if was != nil && !sameResolution(was.Resolution, is.Resolution) {
		r.publishOrigins(b, name)
	}
}

func sameResolution(a, b netif.Resolution) bool {
	return a.Reason == b.Reason && slices.Equal(a.Candidates, b.Candidates)
}

// differs says that an endpoint, a flag or the reason is another.
func (s *EndpointState) differs(o *EndpointState) bool {
	flags := func(l *netif.Link) (f [3]bool) {
		if l != nil {
			f = [...]bool{true, l.PointPoint, l.Multicast}
		}
		return f
	}
	return s.Resolution.Reason != o.Resolution.Reason || flags(s.Link) != flags(o.Link) ||
		!slices.Equal(s.Resolution.Endpoints(), o.Resolution.Endpoints()) || s.Resolution.Origin() != o.Resolution.Origin()
}

// publishOrigins tells the outputs on an interface whose endpoint stays, and is known from elsewhere now.
func (r *Router) publishOrigins(b *Batch, iface string) {
	for _, e := range r.table.Entries {
		var changed []*mrib.Member
		for _, m := range e.Members {
			if m.HER && m.Key.Interface == iface && m.Row() {
				if seen := r.told(m); seen != nil && seen.Origin != r.originOf(m) {
					changed = append(changed, m)
				}
			}
		}
		r.publishChanged(b, e, changed)
	}
}

// originOf says where the unicast endpoint of a member came from.
func (r *Router) originOf(m *mrib.Member) netif.Origin {
	switch {
	case m.HER:
		return r.host.origin(m.Key.Interface, m.Key.Dest)
	case m.Unicast():
		return netif.Configured
	}
	return netif.OriginNone
}

// warnFlagless tells of interfaces without IFF_MULTICAST that multicast is sent on, once each (P3.3).
func (r *Router) warnFlagless() {
	now := map[string]bool{}
	last := "" // the interface that was looked at last: mostly that of the next one too
	for _, e := range r.table.Entries {
		for _, m := range e.Members {
			if m.Unicast() || !m.Plan.Up || m.Key.Interface == last {
				continue
			}
			last = m.Key.Interface
			if l := r.host.links.Link(last); l != nil && !l.Multicast {
				now[last] = true
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if !r.flagless[name] {
			r.warn.flagless(name)
		}
	}
	r.flagless = now
}
