// SPDX-License-Identifier: Apache-2.0

package state

import (
	"net/netip"

	"mcr/mroute"
	"mcr/northbound/telemetry"
)

// tunnel publishes what is known of the far end of an interface.
func (s *step) tunnel(iface string, was, is *mroute.EndpointState) {
	base := tunnelPath(iface)
	if is == nil {
		s.remove(at(base, "state"))
	} else {
		s.update(at(base, "state"), s.tunnelLeaves(iface, is), nil)
	}
	s.configuredEndpoints(base, was, is)
	s.candidates(base, was, is)
}

func (s *step) tunnelLeaves(iface string, e *mroute.EndpointState) leaves {
	l := make(leaves, 0, 11)
	if used := e.Resolution.Endpoints(); len(used) == 1 {
		l.text("endpoint-address", s.addr(used[0]))
	}
	l.text("endpoint-origin", e.Resolution.Origin().String())
	l.flag("her-active", e.HERActive)
	l.text("interface", iface)
	if e.Link != nil {
		l.text("kind", e.Link.Kind)
	}
	l.moment("last-change", e.LastChange)
	if e.Link != nil {
		l.flag("multicast", e.Link.Multicast)
		l.optional("outer-local", s.addr(e.Link.OuterLocal))
		l.optional("outer-remote", s.addr(e.Link.OuterRemote))
		l.flag("point-to-point", e.Link.PointPoint)
	}
	l.text("reason", e.Resolution.Reason.String())
	return l
}

// configuredEndpoints publishes the endpoints that the configuration names.
func (s *step) configuredEndpoints(base telemetry.Path, was, is *mroute.EndpointState) {
	list := at(base, "endpoints")
	path := func(a netip.Addr) telemetry.Path {
		return append(entryAt(list, "endpoint", "address", s.addr(a)), stateElem)
	}
	have := map[netip.Addr]bool{}
	if is != nil {
		for _, e := range is.Configured {
			have[e.Address] = true
			var l leaves
			l.text("address", s.addr(e.Address))
			l.optional("neighbor", s.addr(e.Neighbor))
			s.update(path(e.Address), l, nil)
		}
	}
	if was != nil {
		for _, e := range was.Configured {
			if !have[e.Address] {
				s.remove(path(e.Address))
			}
		}
	}
}

// candidates publishes every address that might be an endpoint, used or not.
func (s *step) candidates(base telemetry.Path, was, is *mroute.EndpointState) {
	list := at(base, "candidates")
	path := func(a netip.Addr) telemetry.Path {
		return append(entryAt(list, "candidate", "address", s.addr(a)), stateElem)
	}
	have := map[netip.Addr]bool{}
	if is != nil {
		for _, c := range is.Resolution.Candidates {
			have[c.Address] = true
			var l leaves
			l.text("address", s.addr(c.Address))
			l.flag("in-use", c.InUse())
			l.moment("last-change", is.Since[c.Address])
			l.text("origin", c.Origin.String())
			l.text("passed-over-reason", c.PassedOver.String())
			s.update(path(c.Address), l, nil)
		}
	}
	if was != nil {
		for _, c := range was.Resolution.Candidates {
			if !have[c.Address] {
				s.remove(path(c.Address))
			}
		}
	}
}
