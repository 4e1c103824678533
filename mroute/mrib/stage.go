// SPDX-License-Identifier: Apache-2.0

package mrib

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"mcr/dataplane/plan"
)

// Change is what Stage is to do to a table.
type Change struct {
	Now   time.Time
	Knobs Knobs
	// Rules that are new or changed, by name; nil: the rule is gone. Disabled rules make no row.
	Rules map[string]*Rule
	Old   map[string]*Rule // what each of them was; no entry: nothing
	// Doubt says of which outputs the host's answer may have changed; nil: of none.
	Doubt func(*Member) bool
	// DoubtInput says the same of inputs, by interface and group, and DoubtSource of the way back to sources.
	DoubtInput  func(iface string, group netip.Addr) bool
	DoubtSource func(netip.Addr) bool
	// Boundaries are the groups that do not pass an interface, by its name (D6).
	Boundaries map[string][]netip.Prefix
	// Loops holds rows whose copies come back, and which are taken down (true) or tried again. A row whose rule changes is
	// tried again without being asked for.
	Loops map[EntryKey]bool
	// Retry holds receive points and outputs that the dataplane could not open: they are handed over anew.
	Retry map[plan.OutputID]bool
	Again map[plan.PointKey]bool
	// Learn holds ports that a port learner saw; what is beyond the limit, or of no learner, is passed over. Forget holds
	// learnt ports to be given up.
	Learn, Forget []plan.PointKey
	// Starved says of port learners, by key, whether there are no sockets for more ports.
	Starved map[plan.PointKey]bool
	// Taken says of receive points whether another socket holds the address, so that a method of choice must do without.
	Taken map[plan.PointKey]bool
}

// Stage returns the table as it is after the change; t stays as it is. Where nothing changes it returns t.
func (t *Table) Stage(c Change, host Host) *Table {
	s := &stage{Table: *t, old: t, c: c, host: host, dirty: map[pointKey][]netip.Addr{}}
	s.Entries = maps.Clone(t.Entries)
	if s.Entries == nil {
		s.Entries = map[EntryKey]*Entry{}
	}
	s.dropRules()
	s.makeRules()
	s.blockLoops()
	if c.Doubt != nil || len(c.Retry) > 0 {
		s.review()
	}
	s.remakePoints()
	if !s.changed {
		return t
	}
	s.Version++
	next := s.Table
	return &next
}

// stage is a table in the making: its maps are private copies.
type stage struct {
	Table
	old     *Table
	c       Change
	host    Host
	dirty   map[pointKey][]netip.Addr // receive points to be made anew, with the sources of entries that changed
	forced  map[pointKey]bool         // those that are handed over anew, changed or not
	groups  map[groupKey][]pointKey   // the receive points of each group; nil: not made yet
	changed bool
}

// put installs, or with nil removes, a row.
func (s *stage) put(k EntryKey, e *Entry) {
	if e == nil {
		delete(s.Entries, k)
	} else {
		s.Entries[k] = e
	}
	s.dirty[k.point()] = append(s.dirty[k.point()], k.Source)
	s.changed = true
}

// dropRules takes out the rows of rules that are gone, disabled, or moved to another input.
func (s *stage) dropRules() {
	for name, r := range s.c.Rules {
		was := s.c.Old[name]
		if was == nil || !was.Enabled {
			continue
		}
		if r == nil || !r.Enabled || RuleKey(r) != RuleKey(was) {
			s.put(RuleKey(was), nil)
		}
	}
}

// makeRules makes or changes the rows of rules that are in force. A rule that moves to another input takes its outputs,
// and so their counters and source ports, with it.
func (s *stage) makeRules() {
	for _, name := range slices.Sorted(maps.Keys(s.c.Rules)) {
		r := s.c.Rules[name]
		if r == nil || !r.Enabled {
			continue
		}
		var was *Entry
		if o := s.c.Old[name]; o != nil && o.Enabled {
			was = s.old.Entries[RuleKey(o)]
		}
		s.put(RuleKey(r), s.ruleEntry(r, was))
	}
}

// ruleEntry makes the row of a rule out of the one it had before, which may be nil.
func (s *stage) ruleEntry(r *Rule, was *Entry) *Entry {
	e := &Entry{Key: RuleKey(r), Rule: r, Created: s.c.Now}
	var members []*Member
	if was == nil {
		s.lastLst++
		e.List = &plan.List{ID: s.lastLst}
	} else {
		e.Created, e.List = was.Created, was.List
		members = was.Members
	}
	e.Members = s.ruleMembers(r, was, members)
	s.finish(e)
	return e
}

// blockLoops takes rows down and up again.
func (s *stage) blockLoops() {
	for k, down := range s.c.Loops {
		e := s.Entries[k]
		if e == nil || (e.Reason == Loop) == down {
			continue
		}
		next := *e
		if next.Reason = ReasonNone; down {
			next.Reason = Loop
		}
		s.finish(&next)
		s.put(k, &next)
	}
}

// finish makes the entry's list, sharing the outputs.
func (s *stage) finish(e *Entry) {
	l := &plan.List{ID: e.List.ID, MinTTL: s.minTTL(e.Rule), Blocked: e.Reason == Loop, Outputs: make([]*plan.Output, len(e.Members))}
	for i, m := range e.Members {
		l.Outputs[i] = m.Plan
	}
	e.List = l
}

func (s *stage) minTTL(r *Rule) uint8 {
	switch {
	case r.MinimumInputTTL != nil:
		return *r.MinimumInputTTL
	case s.c.Knobs.MinimumInputTTL != nil:
		return *s.c.Knobs.MinimumInputTTL
	}
	return 1 // a static rule is the operator's word
}

// ruleMembers matches the outputs of the rule with the members there are. First by identity, so that a branch which is
// renamed goes on without a gap; then by name, so that one which changes its destination keeps counters and source port.
func (s *stage) ruleMembers(r *Rule, was *Entry, members []*Member) []*Member {
	rest, changed := unchanged(r, was, members)
	if len(changed) == 0 {
		return rest.kept
	}
	byKey := map[OutputKey]*Member{}
	byName := map[string]*Member{}
	for _, m := range rest.free {
		byKey[m.Key], byName[m.Static.Name] = m, m
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
	out := slices.Clone(rest.kept)
	for i, o := range changed {
		out = append(out, s.member(r, o, from[i]))
	}
	byID := func(a, b *Member) int { return cmp.Compare(a.ID(), b.ID()) }
	if !slices.IsSortedFunc(out, byID) { // a new ID is the largest: only those that were kept can be out of order
		slices.SortFunc(out, byID)
	}
	return out
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
// is the rule's, and what it is a copy of.
func sameIdentities(a, b *Rule) bool {
	return a.Port == b.Port && a.Name == b.Name && a.Group == b.Group
}

// member makes the member of an output, out of the one it was before, which may be nil.
func (s *stage) member(r *Rule, o *Output, was *Member) *Member {
	m := &Member{Key: MemberKey(r, o), Input: r.Group, Static: o, Rule: r.Name, Created: s.c.Now, Changed: s.c.Now}
	var id plan.OutputID
	if was == nil {
		s.lastOut++
		id = s.lastOut
	} else {
		id, m.Created = was.ID(), was.Created
	}
	s.resolve(m, id, was)
	return m
}

// resolve asks the host, and fills in Reason, Plan and Changed. It returns whether anything differs from was.
func (s *stage) resolve(m *Member, id plan.OutputID, was *Member) bool {
	eg := Egress{Reason: AdminDisabled}
	switch {
	case !m.Static.Enabled:
	case s.kept(m):
		eg.Reason = Scope
	default:
		eg = s.host.Egress(m.Static, m.Key.Dest)
	}
	m.Reason = eg.Reason
	p := &plan.Output{
		ID: id, Up: eg.Reason == ReasonNone, Name: m.Rule + "/" + m.Static.Name,
		IfIndex: eg.IfIndex, IfName: m.Key.Interface, MTU: eg.MTU,
		Dest: m.Key.Endpoint(), Source: eg.Source, SourcePort: m.Key.SourcePort,
		DSCP: m.Static.DSCP,
	}
	p.TTLMode, p.TTL = s.ttl(m)
	m.Plan = p
	if was == nil {
		return true
	}
	if eg.Reason == InterfaceDown && p.IfIndex == was.Plan.IfIndex {
		p.Source = was.Plan.Source // the socket lives through down and up
	}
	if was.Reason == m.Reason && was.Key == m.Key {
		m.Changed = was.Changed
	}
	if *was.Plan == *p && !s.c.Retry[id] {
		m.Plan = was.Plan // nothing for the dataplane to do
	}
	return m.Plan != was.Plan || m.Reason != was.Reason
}

// ttl gives the rule for the copies' TTL (D2). For those of a unicast input the TTL is what guards against loops: it always
// falls (P4.6).
func (s *stage) ttl(m *Member) (plan.TTLMode, uint8) {
	mode, ttl := s.configuredTTL(m)
	switch {
	case m.Input.IsMulticast():
	case mode == plan.TTLFixed:
		mode = plan.TTLAtMost
	default:
		mode = plan.TTLDecrement
	}
	return mode, ttl
}

func (s *stage) configuredTTL(m *Member) (plan.TTLMode, uint8) {
	switch k := s.c.Knobs; {
	case m.Static.TTL != 0:
		return plan.TTLFixed, m.Static.TTL
	case m.Unicast():
		return plan.TTLFixed, k.UnicastTTL
	case k.MulticastMode == plan.TTLFixed:
		return plan.TTLFixed, k.MulticastTTL
	default:
		return k.MulticastMode, 0
	}
}

// review asks the host again about the members in doubt.
func (s *stage) review() {
	for key, e := range s.Entries {
		var members []*Member
		for i, m := range e.Members {
			if !s.c.Retry[m.ID()] && (s.c.Doubt == nil || !s.c.Doubt(m)) {
				continue
			}
			again := *m
			again.Changed = s.c.Now
			if !s.resolve(&again, m.ID(), m) {
				continue
			}
			if members == nil {
				members = slices.Clone(e.Members)
			}
			members[i] = &again
		}
		if members == nil && s.minTTL(e.Rule) == e.List.MinTTL {
			continue
		}
		next := *e
		if members != nil {
			next.Members = members
		}
		s.finish(&next)
		s.put(key, &next)
	}
}
