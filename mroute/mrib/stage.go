// SPDX-License-Identifier: Apache-2.0

package mrib

import (
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
	e.her, e.plain = false, true
	for i, m := range e.Members {
		l.Outputs[i] = m.Plan
		e.her = e.her || m.HER
		e.plain = e.plain && m.Copies <= 1 && m.Same == 0 && !m.Instance()
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

// review asks the host again about the members in doubt. A trunk and its instances are in doubt together.
func (s *stage) review() {
	for key, e := range s.Entries {
		next := *e
		same := true
		if doubtful := s.doubtful(e); len(doubtful) > 0 {
			next.Members = s.reviewed(e, doubtful)
			same = slices.Equal(next.Members, e.Members)
		}
		if same && s.minTTL(e.Rule) == e.List.MinTTL {
			continue
		}
		s.finish(&next)
		s.put(key, &next)
	}
}

// doubtful are the trunks of a row's members in doubt.
func (s *stage) doubtful(e *Entry) map[plan.OutputID]bool {
	var all map[plan.OutputID]bool
	for _, m := range e.Members {
		if s.c.Retry[m.ID()] || s.c.Doubt != nil && s.c.Doubt(m) {
			if all == nil {
				all = map[plan.OutputID]bool{}
			}
			all[m.Trunk()] = true
		}
	}
	return all
}

// reviewed are the members of a row, with those of the outputs in doubt as they are now.
func (s *stage) reviewed(e *Entry, doubtful map[plan.OutputID]bool) []*Member {
	var kept []*Member
	drafts := make([]draft, 0, len(doubtful))
	instances := instancesOf(e.Members)
	for _, m := range e.Members {
		switch {
		case !doubtful[m.Trunk()]:
			kept = append(kept, m)
		case !m.Instance():
			drafts = s.expand(drafts, e.Rule, m.Static, branch{m, instances[m.ID()]})
		}
	}
	return s.assemble(e.Rule, e, kept, drafts)
}
