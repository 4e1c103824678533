// SPDX-License-Identifier: Apache-2.0

package mroute

import (
	"errors"
	"maps"
	"net/netip"

	"mcr/dataplane/plan"
	"mcr/mroute/mrib"
	"mcr/mroute/netif"
)

// host answers the MRIB's questions about the machine. It belongs to the loop.
type host struct {
	net    interfaces
	links  *netif.Snapshot
	routes map[routeKey]route // answers of the kernel, until an event makes them doubtful
	conf   *Config            // that the answers are for
	ends   map[string]*farEnd // by interface
}

type routeKey struct {
	dest netip.Addr
	oif  plan.IfIndex
}

type route struct {
	source netip.Addr
	err    error
}

func newHost(n interfaces) *host {
	return &host{net: n, links: n.Snapshot(), routes: map[routeKey]route{}, conf: &Config{}, ends: map[string]*farEnd{}}
}

// Ingress implements mrib.Host.
func (h *host) Ingress(iface string, group netip.Addr) mrib.Ingress {
	l := h.links.Link(iface)
	switch {
	case l == nil:
		return mrib.Ingress{Reason: mrib.InterfaceMissing}
	case l.Enslaved:
		return mrib.Ingress{Reason: mrib.InterfaceEnslaved} // bound to it, a socket sees nothing, silently
	case !group.IsMulticast() && !h.links.IsLocal(group):
		return mrib.Ingress{Reason: mrib.NoAddress}
	case !l.Up || !l.Running:
		return mrib.Ingress{Reason: mrib.InterfaceDown, IfIndex: l.Index} // the socket and its membership stay
	}
	return mrib.Ingress{IfIndex: l.Index}
}

// Filtered implements mrib.Host.
func (h *host) Filtered(iface string, source netip.Addr) bool {
	l := h.links.Link(iface)
	return l != nil && h.net.Filtered(source, l)
}

// Egress implements mrib.Host. There is no way to an unspecified address.
func (h *host) Egress(o *mrib.Output, dest netip.Addr) mrib.Egress {
	l := h.links.Link(o.Interface)
	if l == nil {
		return mrib.Egress{Reason: mrib.InterfaceMissing}
	}
	e := mrib.Egress{IfIndex: l.Index, MTU: l.MTU}
	switch {
	case l.Enslaved:
		e.Reason = mrib.InterfaceEnslaved
	case !l.Up || !l.Running:
		e.Reason = mrib.InterfaceDown
	case dest.IsUnspecified():
		e.Reason = mrib.EndpointUnresolved
	case o.Source.IsValid() && !h.links.IsLocal(o.Source):
		e.Reason = mrib.NoAddress
	case !o.Source.IsValid() && !l.HasAddr():
		e.Reason = mrib.NoAddress
	default:
		e.Source, e.Reason = h.source(o, dest, l)
	}
	return e
}

// source is the address copies to dest carry (D3), or why they cannot be sent.
func (h *host) source(o *mrib.Output, dest netip.Addr, l *netif.Link) (netip.Addr, mrib.Reason) {
	r := h.route(dest, l)
	switch {
	case errors.Is(r.err, netif.ErrRouteElsewhere):
		return netip.Addr{}, mrib.RouteElsewhere
	case r.err != nil:
		return netip.Addr{}, mrib.NoRoute
	case o.Source.IsValid():
		return o.Source, mrib.ReasonNone
	}
	return r.source, mrib.ReasonNone
}

func (h *host) route(dest netip.Addr, l *netif.Link) route {
	k := routeKey{dest, l.Index}
	r, ok := h.routes[k]
	if !ok {
		r.source, r.err = h.net.Route(dest, l)
		h.routes[k] = r
	}
	return r
}

// update takes the host as it is now, forgets the routes and far ends in doubt, and returns which outputs and inputs have to be looked
// at again, and the interfaces whose link is the same and whose far end may not be.
func (h *host) update(ev netif.Event) (mrib.Change, map[string]bool) {
	old := h.links
	h.links = ev.Snapshot
	ends := h.forgetEnds(movedAddrs(old, h.links))
	// With an address go the routes that prefer it, also those of other links, and the kernel does not tell of them.
	foreign := func(source netip.Addr) bool { return source.IsValid() && !h.links.IsLocal(source) }
	for k, was := range h.routes {
		if ev.All || ev.Touched[k.oif] || contains(ev.Prefixes, k.dest) || foreign(was.source) {
			delete(h.routes, k)
		}
	}
	changed := func(name string) bool {
		was, is := old.Link(name), h.links.Link(name)
		return was != is || (is != nil && ev.Touched[is.Index])
	}
	addrs := len(ev.Touched) > 0 // an explicit source address may have come or gone on any link
	return mrib.Change{
		Doubt: func(m *mrib.Member) bool {
			return ev.All || changed(m.Key.Interface) || ends[m.Key.Interface] || contains(ev.Prefixes, m.Key.Dest) || foreign(m.Plan.Source) ||
				(addrs && m.Static.Source.IsValid())
		},
		DoubtInput: func(name string, group netip.Addr) bool {
			return ev.All || changed(name) || (addrs && !group.IsMulticast())
		},
		DoubtSource: func(source netip.Addr) bool { return ev.All || contains(ev.Prefixes, source) },
	}, ends
}

// changedLinks are the links that an event is about. After one that says that everything may have changed they are those that
// look different: an audit finds most of them as they were.
func changedLinks(old *netif.Snapshot, ev netif.Event) map[plan.IfIndex]bool {
	links := maps.Clone(ev.Touched)
	for _, name := range ev.Snapshot.Differ(old) {
		if is := ev.Snapshot.Link(name); is != nil {
			if links == nil {
				links = map[plan.IfIndex]bool{}
			}
			links[is.Index] = true
		}
	}
	return links
}

func contains(ps []netip.Prefix, a netip.Addr) bool {
	for _, p := range ps {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
