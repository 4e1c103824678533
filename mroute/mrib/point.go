// SPDX-License-Identifier: Apache-2.0

package mrib

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"mcr/dataplane/plan"
)

// point is a receive point with the entries that it serves. Immutable.
type point struct {
	ingress Ingress
	method  plan.Method
	why     string                // the method
	auto    bool                  // some entry leaves the method to us
	entries map[netip.Addr]*Entry // those of this very port, by source; unspecified: any
	wide    map[netip.Addr]*Entry // those without port, likewise; nil for a port learner, whose own they are
	keeps   map[netip.Addr]*keep  // what those without port add here
	plan    *plan.Point           // nil while there is no interface
}

// key returns the point's key in the Plan; zero: it is not there.
func (p *point) key() plan.PointKey {
	if p == nil || p.plan == nil {
		return plan.PointKey{}
	}
	return p.plan.PointKey
}

// remakePoints brings the receive points in line with the rows, the host and what was learnt.
func (s *stage) remakePoints() {
	s.points, s.learners, s.taken = cloned(s.points), cloned(s.learners), cloned(s.taken)
	s.doubtPoints()
	s.takeLearnt()
	if len(s.dirty) == 0 {
		return
	}
	s.changed = true
	before := map[pointKey]plan.PointKey{}
	s.remakeLearners(before)
	for k := range s.dirty {
		if k.port != 0 {
			s.remakePoint(k, before)
		}
	}
	s.finishLearners(before)
	same := true // the receive points, if not what they do
	for k, was := range before {
		same = same && s.points[k].key() == was
	}
	s.arrange(same)
}

func cloned[K comparable, V any](m map[K]V) map[K]V {
	if m == nil {
		return map[K]V{}
	}
	return maps.Clone(m)
}

// touch has a point made anew.
func (s *stage) touch(k pointKey) {
	if _, ok := s.dirty[k]; !ok {
		s.dirty[k] = nil
	}
}

// doubtPoints finds the points that must be made anew although their entries are the same.
func (s *stage) doubtPoints() {
	for key, taken := range s.c.Taken {
		if k, ok := s.find(key); ok && s.taken[k] != taken {
			s.taken[k] = taken
			if !taken {
				delete(s.taken, k)
			}
			s.touch(k)
		}
	}
	s.forced = map[pointKey]bool{}
	for k, p := range s.points {
		if p.plan != nil && s.c.Again[p.plan.PointKey] {
			s.forced[k] = true
			s.touch(k)
		}
		if s.c.DoubtInput != nil && s.c.DoubtInput(k.iface, k.group) && s.ingress(k) != p.ingress || s.filterChanged(k, p) {
			s.touch(k)
		}
	}
}

// find returns the point with that key in the Plan.
func (s *stage) find(key plan.PointKey) (pointKey, bool) {
	p := s.PlanPoint(key)
	if p == nil {
		return pointKey{}, false
	}
	return pointKey{p.IfName, key.Group, key.Port}, true
}

// filterChanged says that the reverse-path filter, asked again, means another method.
func (s *stage) filterChanged(k pointKey, p *point) bool {
	if s.c.DoubtInput == nil && s.c.DoubtSource == nil {
		return false
	}
	doubt := s.c.DoubtInput != nil && s.c.DoubtInput(k.iface, k.group)
	for _, es := range []map[netip.Addr]*Entry{p.entries, p.wide} {
		for src, e := range es {
			if e.Rule.Method != ReceiveAuto || src.IsUnspecified() {
				continue
			}
			if doubt || s.c.DoubtSource != nil && s.c.DoubtSource(src) {
				again := *p
				s.receive(k, &again)
				return again.why != p.why
			}
		}
	}
	return false
}

// receive decides how a point receives. One entry that needs packet is enough.
func (s *stage) receive(k pointKey, p *point) {
	p.method, p.why, p.auto = plan.MethodSocket, "", false
	if !k.group.IsMulticast() { // without a socket the kernel would answer that the port is closed
		p.why = "an own address takes a socket"
		return
	}
	for _, es := range []map[netip.Addr]*Entry{p.entries, p.wide} {
		for _, src := range slices.SortedFunc(maps.Keys(es), netip.Addr.Compare) {
			switch e := es[src]; {
			case e.Rule.Method == ReceivePacket:
				p.method, p.why = plan.MethodPacket, "rule "+e.Rule.Name+" asks for it"
				return
			case e.Rule.Method == ReceiveSocket:
			default:
				p.auto = true
				if !src.IsUnspecified() && p.method == plan.MethodSocket && s.host.Filtered(k.iface, src) {
					p.method, p.why = plan.MethodPacket, fmt.Sprintf("the kernel's reverse-path filter would drop %v", src)
				}
			}
		}
	}
	switch {
	case p.why != "":
	case !p.auto:
		p.why = "configured"
	case s.taken[k]:
		p.method, p.why = plan.MethodPacket, "another socket holds the address"
	default:
		p.why = "nothing keeps the datagrams from a socket"
	}
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

// remakePoint makes the point of one port. before gets its key as it was.
func (s *stage) remakePoint(k pointKey, before map[pointKey]plan.PointKey) {
	was := s.points[k]
	before[k] = was.key()
	p := &point{entries: s.gather(k)}
	if l := s.learners[k.of()]; l != nil {
		if len(p.entries) == 0 && was != nil && len(was.entries) > 0 {
			l = s.adopt(k) // without a gap
		}
		if len(p.entries) > 0 || l.has(k.port) {
			p.wide = s.points[k.of().learner()].entries
			p.keeps = s.keepsOf(k, p.wide)
		}
	}
	if len(p.entries)+len(p.wide) == 0 {
		delete(s.points, k)
		delete(s.taken, k)
		return
	}
	p.ingress = s.ingress(k)
	s.receive(k, p)
	switch {
	case p.ingress.IfIndex == 0:
	case !s.forced[k] && was != nil && was.plan != nil && p.same(was):
		p.plan = was.plan
	default:
		p.plan = p.build(k)
	}
	s.points[k] = p
}

// same says that both make the same Plan.
func (p *point) same(o *point) bool {
	return p.ingress == o.ingress && p.method == o.method &&
		maps.Equal(p.entries, o.entries) && maps.Equal(p.wide, o.wide) && maps.Equal(p.keeps, o.keeps)
}

// gather returns the entries of a point's own port.
func (s *stage) gather(k pointKey) map[netip.Addr]*Entry {
	es := map[netip.Addr]*Entry{}
	collect := func(src netip.Addr) {
		if e := s.Entries[EntryKey{Interface: k.iface, Source: src, Group: k.group, Port: k.port}]; e != nil {
			es[src] = e
		}
	}
	if was := s.points[k]; was != nil {
		for src := range was.entries {
			collect(src)
		}
	}
	for _, src := range s.dirty[k] {
		collect(src)
	}
	return es
}

// build makes the plan of a receive point: each source takes the outputs of every entry that matches it, the more
// specific first, each identity once.
func (p *point) build(k pointKey) *plan.Point {
	out := &plan.Point{
		PointKey: plan.PointKey{IfIndex: p.ingress.IfIndex, Group: k.group, Port: k.port}, IfName: k.iface, Method: p.method,
	}
	any := netip.IPv4Unspecified()
	if p.entries[any] != nil || p.wide[any] != nil {
		out.JoinAny = true
		out.Any = union(p.legs(nil, any), k.port)
	}
	for _, src := range p.sources() {
		if out.BySource == nil {
			out.BySource = map[netip.Addr]*plan.Route{}
		}
		if !out.JoinAny {
			out.JoinSources = append(out.JoinSources, src)
		}
		out.BySource[src] = union(p.legs(p.legs(nil, src), any), k.port)
	}
	return out
}

// sources are those that an entry names, in order.
func (p *point) sources() []netip.Addr {
	all := slices.Collect(maps.Keys(p.entries))
	for src := range p.wide {
		if p.entries[src] == nil {
			all = append(all, src)
		}
	}
	all = slices.DeleteFunc(all, netip.Addr.IsUnspecified)
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

// leg is one list of a route, with the member that each of its outputs is of.
type leg struct {
	list    *plan.List
	members []*Member
}

// legs appends what the entries of one source bring.
func (p *point) legs(dst []leg, src netip.Addr) []leg {
	if e := p.entries[src]; e != nil {
		dst = append(dst, leg{e.List, e.Members})
	}
	if e := p.wide[src]; e != nil {
		dst = append(dst, leg{e.List, e.Members})
	}
	if k := p.keeps[src]; k != nil {
		dst = append(dst, leg{k.list, k.members})
	}
	return dst
}

// union is the route that takes these lists. An output that two of them have is the first one's, also when it is down there:
// a disabled static output blocks its branch. What keeps the port is, on a port, an output to that port.
func union(legs []leg, port uint16) *plan.Route {
	r := &plan.Route{Lists: make([]*plan.List, len(legs))}
	last := 0 // that has outputs: nobody asks what it has
	for i, l := range legs {
		r.Lists[i] = l.list
		if len(l.members) > 0 {
			last = i
		}
	}
	if port == 0 || last == 0 { // a learner's, which sends nothing; or nothing to be had twice
		return r
	}
	have := map[OutputKey]bool{}
	for i, l := range legs[:last+1] {
		var skip []int32
		for pos, m := range l.members {
			port := l.list.Outputs[pos].Dest.Port()
			if port == 0 || !m.sends() {
				continue // sends nothing itself
			}
			key := m.Key
			key.Port = port
			if have[key] {
				skip = append(skip, int32(pos))
			} else if i < last {
				have[key] = true
			}
		}
		if skip != nil {
			if r.Skip == nil {
				r.Skip = make([][]int32, len(legs))
			}
			r.Skip[i] = skip
		}
	}
	return r
}
