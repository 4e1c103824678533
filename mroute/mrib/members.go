// SPDX-License-Identifier: Apache-2.0

package mrib

import (
	"cmp"
	"net/netip"
	"slices"

	"mcr/dataplane/plan"
)

// Each output of a rule has a trunk: one member whose identity towards the dataplane lasts as long as the output, with counters and
// source port. Mostly it is all there is. Where head-end replication turns a multicast output into unicast copies, it follows the
// endpoint; with several endpoints it is a head that sends nothing, and each endpoint has an instance of it:
//
//	lan    eth1     ── trunk 239.1.1.1
//	spoke  gre0 HER ── trunk 10.2.0.5
//	late   ppp0 HER ── trunk 0.0.0.0, down
//	hub    wg0  HER ── trunk 0.0.0.0, head ─┬─ instance 10.3.0.2
//	                                        └─ instance 10.3.0.3
//
// Two outputs may come to the same identity: an explicit unicast-dest and an endpoint, or two groups on one interface. Then one of
// them holds it, and sends for both.

// draft is a member in the making: key and role are known, the host was not asked yet.
type draft struct {
	Member
	id, branch plan.OutputID
	was        *Member // nil: it is new
}

// branch is a trunk with its instances; the zero value is that of a new output.
type branch struct {
	trunk     *Member
	instances []*Member
}

// ruleMembers matches the outputs of the rule with the members there are. First by identity, so that a branch which is
// renamed goes on without a gap; then by name, so that one which changes its destination keeps counters and source port.
func (s *stage) ruleMembers(r *Rule, was *Entry, members []*Member) []*Member {
	rest, changed := unchanged(r, was, members)
	if len(changed) == 0 && (was == nil || was.plain) {
		return rest.kept
	}
	byKey := map[OutputKey]*Member{}
	byName := map[string]*Member{}
	for _, m := range rest.free {
		if !m.Instance() {
			byKey[MemberKey(was.Rule, m.Static)], byName[m.Static.Name] = m, m
		}
	}
	used := map[*Member]bool{}
	from := make([]*Member, len(changed))
	for i, o := range changed {
		if m := byKey[MemberKey(r, o)]; m != nil {
			from[i], used[m] = m, true
		}
	}
	for i, o := range changed {
		if m := byName[o.Name]; from[i] == nil && m != nil && !used[m] {
			from[i], used[m] = m, true
		}
	}
	instances := instancesOf(rest.free)
	drafts := make([]draft, 0, len(changed))
	for i, o := range changed {
		b := branch{trunk: from[i]}
		if b.trunk != nil {
			b.instances = instances[b.trunk.ID()]
		}
		drafts = s.expand(drafts, r, o, b)
	}
	return s.assemble(r, was, rest.kept, drafts)
}

// instancesOf are the instances among members, by their trunk.
func instancesOf(members []*Member) map[plan.OutputID][]*Member {
	var all map[plan.OutputID][]*Member
	for _, m := range members {
		if m.Instance() {
			if all == nil {
				all = map[plan.OutputID][]*Member{}
			}
			all[m.Trunk()] = append(all[m.Trunk()], m)
		}
	}
	return all
}

type split struct{ kept, free []*Member }

// unchanged splits the members into those whose output is the very same, and those that are free to be matched with the
// outputs that are not; it returns these outputs too. It costs one pass of pointer comparisons.
func unchanged(r *Rule, was *Entry, members []*Member) (split, []*Output) {
	if was == nil || !sameIdentities(was.Rule, r) {
		return split{free: members}, r.Outputs
	}
	gone := make(map[*Output]bool) // outputs of the old rule that the new one lacks: few
	var changed []*Output
	before := was.Rule.Outputs
	for _, o := range r.Outputs {
		for len(before) > 0 && before[0] != o && before[0].Name <= o.Name { // an equal pointer, the usual case, looks at no name
			gone[before[0]] = true
			before = before[1:]
		}
		if len(before) > 0 && before[0] == o {
			before = before[1:]
			continue
		}
		changed = append(changed, o)
	}
	for _, o := range before {
		gone[o] = true
	}
	if len(gone) == 0 {
		return split{kept: members}, changed
	}
	out := split{kept: make([]*Member, 0, len(members))}
	for _, m := range members {
		if gone[m.Static] {
			out.free = append(out.free, m)
		} else {
			out.kept = append(out.kept, m)
		}
	}
	return out, changed
}

// sameIdentities says that an output which did not change is the same branch under both rules: the port an output keeps
// is the rule's, and what it is a copy of; and whether it goes back to where that came from.
func sameIdentities(a, b *Rule) bool {
	return a.Port == b.Port && a.Name == b.Name && a.Group == b.Group && a.Interface == b.Interface
}

// expand appends the members of an output, out of those it had before.
func (s *stage) expand(to []draft, r *Rule, o *Output, was branch) []draft {
	var her HER
	if o.Enabled && !o.Unicast.IsValid() && o.Group.IsMulticast() {
		her = s.host.HER(o)
	}
	key := MemberKey(r, o)
	copies := 1
	if her.Active {
		if copies = len(her.Endpoints); copies == 1 {
			key.Dest = her.Endpoints[0]
		} else {
			key.Dest = netip.IPv4Unspecified()
		}
	}
	m := Member{Key: key, Input: r.Group, Static: o, Rule: r.Name, HER: her.Active, Copies: copies}
	trunk := s.draft(m, 0, was.trunk)
	to = append(to, trunk)
	if copies <= 1 {
		return to
	}
	m.Copies = 1
	for _, a := range her.Endpoints {
		m.Key.Dest = a
		i := slices.IndexFunc(was.instances, func(i *Member) bool { return i.Key.Dest == a })
		var before *Member
		if i >= 0 {
			before = was.instances[i]
		}
		to = append(to, s.draft(m, trunk.id, before))
	}
	return to
}

// draft begins a member. A new one gets the next ID, so that an instance comes after its trunk.
func (s *stage) draft(m Member, of plan.OutputID, was *Member) draft {
	m.Created, m.Changed = s.c.Now, s.c.Now
	if was != nil {
		m.Created = was.Created
		return draft{Member: m, id: was.ID(), branch: of, was: was}
	}
	s.lastOut++
	return draft{Member: m, id: s.lastOut, branch: of}
}

// assemble makes the members of a row that was, which may be nil, of those that stay and those that are made anew.
func (s *stage) assemble(r *Rule, was *Entry, kept []*Member, drafts []draft) []*Member {
	kept, drafts = s.share(was, kept, drafts)
	out := slices.Clone(kept)
	for i := range drafts {
		out = append(out, s.resolve(r, &drafts[i]))
	}
	byID := func(a, b *Member) int { return cmp.Compare(a.ID(), b.ID()) }
	if !slices.IsSortedFunc(out, byID) { // a new ID is the largest: only those that were kept can be out of order
		slices.SortFunc(out, byID)
	}
	return out
}

// share settles who holds an identity that several members have. One that is kept, and whose part in it changes, becomes a draft. One
// of the several is always made by head-end replication: the configuration is checked for others.
func (s *stage) share(was *Entry, kept []*Member, drafts []draft) ([]*Member, []draft) {
	if (was == nil || !was.her) && !slices.ContainsFunc(drafts, func(d draft) bool { return d.HER }) {
		return kept, drafts
	}
	held := map[OutputKey]holder{}
	for i := range drafts {
		held[drafts[i].Key] = holder{}
	}
	if was != nil && !was.plain { // else no two of those that are kept have anything in common
		for _, m := range kept {
			if m.HER {
				held[m.Key] = holder{}
			}
		}
	}
	claim := func(m *Member, id plan.OutputID) {
		if h, ok := held[m.Key]; ok && m.Copies <= 1 {
			if c := (holder{id, m.HER, s.kept(m), m.Static.Name}); h.id == 0 || c.before(h) {
				held[m.Key] = c
			}
		}
	}
	for _, m := range kept {
		claim(m, m.ID())
	}
	for i := range drafts {
		claim(&drafts[i].Member, drafts[i].id)
	}
	same := func(m *Member, id plan.OutputID) plan.OutputID {
		if h := held[m.Key]; m.Copies <= 1 && h.id != id {
			return h.id
		}
		return 0
	}
	for i := range drafts {
		drafts[i].Same = same(&drafts[i].Member, drafts[i].id)
	}
	stay := make([]*Member, 0, len(kept))
	for _, m := range kept {
		now := same(m, m.ID())
		if now == m.Same {
			stay = append(stay, m)
			continue
		}
		d := draft{Member: *m, id: m.ID(), branch: m.Plan.Branch, was: m}
		d.Same = now
		drafts = append(drafts, d)
	}
	return stay, drafts
}

// holder is who has an identity.
type holder struct {
	id   plan.OutputID
	her  bool
	kept bool // back by a boundary
	name string
}

// before says that h goes before o: what no boundary keeps back, what names the destination, the first by name.
func (h holder) before(o holder) bool {
	switch {
	case h.kept != o.kept:
		return o.kept
	case h.her != o.her:
		return o.her
	case h.name != o.name:
		return h.name < o.name
	}
	return h.id < o.id
}

// resolve asks the host, and makes the member of the draft: the one that was, where nothing differs.
func (s *stage) resolve(r *Rule, d *draft) *Member {
	m := d.Member
	m.Reason = ReasonNone
	eg := s.egress(r, &m)
	m.Reason = eg.Reason
	p := &plan.Output{
		ID: d.id, Branch: d.branch, Up: eg.Reason == ReasonNone, Name: m.Rule + "/" + m.Static.Name,
		IfIndex: eg.IfIndex, IfName: m.Key.Interface, MTU: eg.MTU,
		Dest: m.Key.Endpoint(), Source: eg.Source, SourcePort: m.Key.SourcePort,
		DSCP: m.Static.DSCP,
	}
	p.TTLMode, p.TTL = s.ttl(&m)
	switch {
	case m.Copies > 1:
		p.Up = true // its instances are down, or not
	case m.shares():
		p.Shares, p.Up = m.Same, false
	}
	m.Plan = p
	was := d.was
	if was == nil {
		return &m
	}
	if eg.Reason == InterfaceDown && p.IfIndex == was.Plan.IfIndex {
		p.Source = was.Plan.Source // the socket lives through down and up
	}
	if *was.Plan == *p && !s.c.Retry[d.id] {
		m.Plan = was.Plan // nothing for the dataplane to do
	}
	if m.Changed = was.Changed; m == *was {
		return was
	}
	if was.Reason != m.Reason || was.Key != m.Key {
		m.Changed = s.c.Now
	}
	return &m
}

// egress is what stands in the way of a member, or how it leaves.
func (s *stage) egress(r *Rule, m *Member) Egress {
	switch {
	case !m.Static.Enabled:
		return Egress{Reason: AdminDisabled}
	case s.kept(m):
		return Egress{Reason: Scope}
	case m.Copies > 1, m.shares():
		return Egress{}
	case m.Key.Dest == r.Group && m.Key.Interface == r.Interface && r.Group.IsMulticast():
		return Egress{Reason: Loop} // as unicast copies it would be another matter
	}
	eg := s.host.Egress(m.Static, m.Key.Dest)
	if m.Copies == 0 && eg.Reason == ReasonNone {
		eg.Reason, eg.Source = EndpointUnresolved, netip.Addr{}
	}
	return eg
}

// shares says that another member sends for m: one that is up as far as itself is concerned. What is disabled, or kept back by a
// boundary, has no part in what the other sends, nor has a trunk without endpoint.
func (m *Member) shares() bool { return m.Same != 0 && m.Copies == 1 && m.Reason == ReasonNone }
