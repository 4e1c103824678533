// SPDX-License-Identifier: Apache-2.0

package mrib

import (
	"maps"
	"net/netip"
	"slices"

	"mcr/dataplane/plan"
)

// remakePoints brings the receive points in line with the rows and the host.
func (s *stage) remakePoints() {
	s.points = maps.Clone(s.points)
	if s.points == nil {
		s.points = map[pointKey]*point{}
	}
	for k, p := range s.points {
		if s.c.DoubtInput != nil && s.c.DoubtInput(k.iface) && s.host.Ingress(k.iface) != p.ingress {
			s.dirty[k] = append(s.dirty[k], netip.Addr{}) // no entry did
		}
		if p.plan != nil && s.c.Again[p.plan.PointKey] {
			s.dirty[k] = append(s.dirty[k], netip.Addr{})
		}
	}
	if len(s.dirty) == 0 {
		return
	}
	s.changed = true
	same := true // the receive points, if not what they do
	for k := range s.dirty {
		before := s.points[k].key()
		s.remakePoint(k)
		same = same && s.points[k].key() == before
	}
	s.arrange(same)
}

// key returns the point's key in the Plan; zero: it is not there.
func (p *point) key() plan.PointKey {
	if p == nil || p.plan == nil {
		return plan.PointKey{}
	}
	return p.plan.PointKey
}

// arrange makes order anew. The order is the same from Plan to Plan, so that the dataplane finds what changed by
// comparing pointers, place by place.
func (s *stage) arrange(same bool) {
	if same {
		s.order = slices.Clone(s.order)
		for k := range s.dirty {
			if p := s.points[k]; p != nil && p.plan != nil {
				i, _ := slices.BinarySearchFunc(s.order, p.key(), func(o *plan.Point, k plan.PointKey) int { return comparePoints(o.PointKey, k) })
				s.order[i] = p.plan
			}
		}
		return
	}
	s.order = make([]*plan.Point, 0, len(s.points))
	for _, p := range s.points {
		if p.plan != nil {
			s.order = append(s.order, p.plan)
		}
	}
	slices.SortFunc(s.order, func(a, b *plan.Point) int { return comparePoints(a.PointKey, b.PointKey) })
}

func (s *stage) remakePoint(k pointKey) {
	p := &point{entries: map[netip.Addr]*Entry{}}
	if was := s.points[k]; was != nil {
		for src := range was.entries {
			s.collect(p, k, src)
		}
	}
	for _, src := range s.dirty[k] {
		s.collect(p, k, src)
	}
	if len(p.entries) == 0 {
		delete(s.points, k)
		return
	}
	p.ingress = s.host.Ingress(k.iface)
	if p.ingress.IfIndex != 0 {
		p.plan = p.build(k)
	}
	s.points[k] = p
}

func (s *stage) collect(p *point, k pointKey, src netip.Addr) {
	key := EntryKey{Interface: k.iface, Source: src, Group: k.group, Port: k.port}
	if e := s.Entries[key]; e != nil {
		p.entries[src] = e
	}
}

// build makes the plan of a receive point: each source takes the outputs of every entry that matches it, the more
// specific first, each identity once.
func (p *point) build(k pointKey) *plan.Point {
	out := &plan.Point{PointKey: plan.PointKey{IfIndex: p.ingress.IfIndex, Group: k.group, Port: k.port}, IfName: k.iface}
	any := p.entries[netip.IPv4Unspecified()]
	if any != nil {
		out.JoinAny = true
		out.Any = &plan.Route{Lists: []*plan.List{any.List}}
	}
	for _, src := range slices.SortedFunc(maps.Keys(p.entries), netip.Addr.Compare) {
		if src.IsUnspecified() {
			continue
		}
		e := p.entries[src]
		if out.BySource == nil {
			out.BySource = map[netip.Addr]*plan.Route{}
		}
		if any == nil {
			out.JoinSources = append(out.JoinSources, src)
		}
		out.BySource[src] = union(e, any)
	}
	return out
}

// union is the route of a source that has a row of its own beside (*,G). An output that both have is the specific row's,
// also when it is down there: a disabled static output blocks its branch.
func union(specific, general *Entry) *plan.Route {
	r := &plan.Route{Lists: []*plan.List{specific.List}}
	if general == nil {
		return r
	}
	r.Lists = append(r.Lists, general.List)
	have := make(map[OutputKey]bool, len(specific.Members))
	for _, m := range specific.Members {
		have[m.Key] = true
	}
	var skip []int32
	for i, m := range general.Members {
		if have[m.Key] {
			skip = append(skip, int32(i))
		}
	}
	if skip != nil {
		r.Skip = [][]int32{nil, skip}
	}
	return r
}
