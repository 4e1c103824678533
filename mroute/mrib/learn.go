// SPDX-License-Identifier: Apache-2.0

package mrib

import (
	"cmp"
	"iter"
	"maps"
	"net/netip"
	"slices"

	"mcr/dataplane/plan"
)

// An entry without port is served port by port, with a receive point for each port that an entry names or the port learner
// of its group saw:
//
//	(*,G,*)  outputs: a to port 7000, b and c keep the port            learnt: 5000, 5004
//
//	point G:5000 ── F: a ── K@5000: b and c to port 5000
//	point G:5004 ── F: a ── K@5004: b and c to port 5004
//	point G:0 (the learner) ── F
//
// F is the entry's own list: it counts what comes for the entry, and its outputs of a fixed port are the same on every
// port. Outputs that keep the port are in F too, as the branches of their instances, and send nothing there.

const defaultLearntPorts = 64

// groupKey names what one port learner watches.
type groupKey struct {
	iface string
	group netip.Addr
}

func (k pointKey) of() groupKey            { return groupKey{k.iface, k.group} }
func (g groupKey) learner() pointKey       { return pointKey{iface: g.iface, group: g.group} }
func (g groupKey) at(port uint16) pointKey { return pointKey{g.iface, g.group, port} }

// learner is what is known of the ports of a group that has an entry without port. Immutable.
type learner struct {
	ports   []uint16 // learnt, the oldest first; some may have entries of their own by now
	starved bool     // no socket is left for more
}

func (l *learner) has(port uint16) bool { return slices.Contains(l.ports, port) }

// keep is what an entry without port adds on one port. Immutable.
type keep struct {
	list    *plan.List
	members []*Member // the branches of list.Outputs, place by place
}

// maxLearnt is how many ports a learner may have.
func (s *stage) maxLearnt() int {
	if n := s.c.Knobs.MaximumLearntPorts; n > 0 {
		return n
	}
	return defaultLearntPorts
}

// takeLearnt brings the learnt ports in line with the change.
func (s *stage) takeLearnt() {
	for _, key := range s.c.Forget {
		if k, ok := s.find(key); ok && s.learners[k.of()].knows(k.port) {
			l := *s.learners[k.of()]
			l.ports = slices.DeleteFunc(slices.Clone(l.ports), func(p uint16) bool { return p == k.port })
			s.learners[k.of()] = &l
			s.touch(k)
		}
	}
	for g, l := range s.learners {
		if most := s.maxLearnt(); len(l.ports) > most { // the limit was lowered
			for _, port := range l.ports[most:] {
				s.touch(g.at(port))
			}
			s.learners[g] = &learner{ports: slices.Clone(l.ports[:most]), starved: l.starved}
		} else if p := s.points[g.learner()]; p != nil && p.plan != nil && p.plan.Full != s.full(l) {
			s.touch(g.learner())
		}
	}
	for _, key := range s.c.Learn {
		k, ok := s.find(plan.PointKey{IfIndex: key.IfIndex, Group: key.Group})
		if l := s.learners[k.of()]; ok && key.Port != 0 && l != nil && s.points[k.of().at(key.Port)] == nil && !l.starved {
			s.adopt(k.of().at(key.Port))
		}
	}
	for key, starved := range s.c.Starved {
		if k, ok := s.find(key); ok && s.learners[k.of()] != nil && s.learners[k.of()].starved != starved {
			s.learners[k.of()] = &learner{ports: s.learners[k.of()].ports, starved: starved}
			s.touch(k)
		}
	}
}

func (l *learner) knows(port uint16) bool { return l != nil && port != 0 && l.has(port) }

// adopt makes a port a learnt one, if there is room, and returns the learner as it is then.
func (s *stage) adopt(k pointKey) *learner {
	l := s.learners[k.of()]
	if l.has(k.port) || len(l.ports) >= s.maxLearnt() {
		return l
	}
	l = &learner{ports: append(slices.Clone(l.ports), k.port), starved: l.starved}
	s.learners[k.of()] = l
	s.touch(k)
	return l
}

func (s *stage) full(l *learner) bool { return l.starved || len(l.ports) >= s.maxLearnt() }

// remakeLearners makes and drops port learners as there are entries without port. All points of such a group are made
// anew: they serve these entries.
func (s *stage) remakeLearners(before map[pointKey]plan.PointKey) {
	for _, k := range slices.Collect(maps.Keys(s.dirty)) {
		if k.port != 0 {
			continue
		}
		was, es := s.points[k], s.gather(k)
		before[k] = was.key()
		for _, at := range s.pointsOf(k.of()) {
			s.touch(at)
		}
		if l := s.learners[k.of()]; l != nil {
			for _, port := range l.ports {
				s.touch(k.of().at(port))
			}
		}
		if len(es) == 0 {
			delete(s.points, k)
			delete(s.learners, k.of())
			continue
		}
		if s.learners[k.of()] == nil {
			s.learners[k.of()] = &learner{}
		}
		s.points[k] = &point{entries: es}
	}
}

// finishLearners makes the plans of the port learners whose group has changed: another set of ports is another learner
// for the dataplane.
func (s *stage) finishLearners(before map[pointKey]plan.PointKey) {
	groups := map[groupKey]bool{}
	for k := range s.dirty {
		groups[k.of()] = s.learners[k.of()] != nil
	}
	for g, learns := range groups {
		k := g.learner()
		if !learns {
			continue
		}
		if _, ok := before[k]; !ok {
			before[k] = s.points[k].key()
		}
		s.touch(k)
		p := &point{entries: s.points[k].entries, ingress: s.ingress(k)}
		s.receive(k, p)
		if p.ingress.IfIndex != 0 {
			p.plan = p.build(k)
			p.plan.Full = s.full(s.learners[g])
		}
		s.points[k] = p
	}
}

// pointsOf are the points that the group had before the change.
func (s *stage) pointsOf(g groupKey) []pointKey {
	if s.groups == nil {
		s.groups = map[groupKey][]pointKey{}
		for k := range s.old.points {
			s.groups[k.of()] = append(s.groups[k.of()], k)
		}
	}
	return s.groups[g]
}

// keepsOf makes what the entries without port add on a port; what did not change stays what it was.
func (s *stage) keepsOf(k pointKey, wide map[netip.Addr]*Entry) map[netip.Addr]*keep {
	was := s.points[k]
	var out map[netip.Addr]*keep
	for src, e := range wide {
		var before *keep
		if was != nil {
			before = was.keeps[src]
		}
		if kp := s.keep(e, k.port, before); kp != nil {
			if out == nil {
				out = map[netip.Addr]*keep{}
			}
			out[src] = kp
		}
	}
	return out
}

// keep makes the instances of the outputs of e that keep the port; nil where there is none.
func (s *stage) keep(e *Entry, port uint16, was *keep) *keep {
	type instance struct {
		out *plan.Output
		of  *Member
	}
	before := map[plan.OutputID]instance{} // by branch
	if was != nil {
		for i, m := range was.members {
			before[m.ID()] = instance{was.list.Outputs[i], m}
		}
	}
	var all []instance
	same := true
	for _, m := range e.Members {
		if m.Key.Port != 0 || m.Copies > 1 || m.Plan.Shares != 0 {
			continue
		}
		old, had := before[m.ID()]
		if had && old.of.Plan == m.Plan {
			all = append(all, instance{old.out, m})
			same = same && old.of == m
			continue
		}
		same = false
		o := *m.Plan
		o.Branch, o.Dest = m.ID(), netip.AddrPortFrom(m.Plan.Dest.Addr(), port)
		if had {
			o.ID = old.out.ID
		} else {
			s.lastOut++
			o.ID = s.lastOut
		}
		all = append(all, instance{&o, m})
	}
	switch {
	case len(all) == 0:
		return nil
	case same && was != nil && len(all) == len(was.members) && was.list.MinTTL == e.List.MinTTL && was.list.Blocked == e.List.Blocked:
		return was
	}
	slices.SortFunc(all, func(a, b instance) int { return cmp.Compare(a.out.ID, b.out.ID) })
	kp := &keep{list: &plan.List{MinTTL: e.List.MinTTL, Blocked: e.List.Blocked}}
	for _, i := range all {
		kp.list.Outputs = append(kp.list.Outputs, i.out)
		kp.members = append(kp.members, i.of)
	}
	if was != nil {
		kp.list.ID = was.list.ID
	} else {
		s.lastLst++
		kp.list.ID = s.lastLst
	}
	return kp
}

// Receive returns how the entry's datagrams are received, and why so.
func (t *Table) Receive(k EntryKey) (plan.Method, string) {
	if p := t.points[k.point()]; p != nil {
		return p.method, p.why
	}
	return plan.MethodSocket, ""
}

// Learner returns the port learner of an entry without port, or nil. It is another one with each change of the group's ports.
func (t *Table) Learner(k EntryKey) *plan.Point {
	if p := t.points[k.point()]; p != nil && k.Port == 0 {
		return p.plan
	}
	return nil
}

// LearntPorts is how many ports an entry without port was found to have.
func (t *Table) LearntPorts(k EntryKey) int {
	if l := t.learners[k.point().of()]; l != nil && k.Port == 0 {
		return len(l.ports)
	}
	return 0
}

// IsLearnt says that the receive point is that of a learnt port.
func (t *Table) IsLearnt(key plan.PointKey) bool {
	p := t.PlanPoint(key)
	return p != nil && t.learners[groupKey{p.IfName, p.Group}].knows(key.Port)
}

// Learnt yields every learnt port that has a receive point.
func (t *Table) Learnt() iter.Seq[plan.PointKey] {
	return func(yield func(plan.PointKey) bool) {
		for g, l := range t.learners {
			for _, port := range l.ports {
				if k := t.points[g.at(port)].key(); k.Port != 0 && !yield(k) {
					return
				}
			}
		}
	}
}

// PortCost is how many sockets one more port of a port learner takes; false where there is no such learner.
func (t *Table) PortCost(key plan.PointKey) (int, bool) {
	p := t.PlanPoint(plan.PointKey{IfIndex: key.IfIndex, Group: key.Group})
	if p == nil {
		return 0, false
	}
	cost := 1
	for _, e := range t.points[pointKey{iface: p.IfName, group: p.Group}].entries {
		for _, m := range e.Members {
			if m.Key.Port == 0 && m.Plan.Up && m.sends() {
				cost++
			}
		}
	}
	return cost, true
}

// Starved yields the port learners that were told that there are no sockets for more ports.
func (t *Table) Starved() iter.Seq[plan.PointKey] {
	return func(yield func(plan.PointKey) bool) {
		for g, l := range t.learners {
			if k := t.points[g.learner()].key(); l.starved && k.IfIndex != 0 && !yield(k) {
				return
			}
		}
	}
}

// Taken yields the receive points that do without the socket which is their first choice, as another socket holds the
// address.
func (t *Table) Taken() iter.Seq[plan.PointKey] {
	return func(yield func(plan.PointKey) bool) {
		for k := range t.taken {
			if key := t.points[k].key(); key.IfIndex != 0 && !yield(key) {
				return
			}
		}
	}
}

// Choice says that the receive point is a socket by the MRIB's choice, so that packet may take its place.
func (t *Table) Choice(key plan.PointKey) bool {
	p := t.PlanPoint(key)
	if p == nil || key.Port == 0 || p.Method != plan.MethodSocket {
		return false
	}
	return t.points[pointKey{p.IfName, key.Group, key.Port}].auto
}
