// SPDX-License-Identifier: Apache-2.0

package mroute

import (
	"cmp"
	"errors"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
	"mcr/mroute/mrib"
	"mcr/mroute/netif"
)

// published is what the receiver of batches was told last.
type published struct {
	rules   map[string]*RuleState
	outputs map[RuleOutputKey]*RuleOutputState
	entries map[mrib.EntryKey]*EntryState
	egress  map[string]*EgressState
	links   map[string]*netif.Link
	global  *GlobalState
}

func newPublished() published {
	return published{
		rules: map[string]*RuleState{}, outputs: map[RuleOutputKey]*RuleOutputState{},
		entries: map[mrib.EntryKey]*EntryState{}, egress: map[string]*EgressState{}, links: map[string]*netif.Link{},
	}
}

func (r *Router) batch() Batch {
	return Batch{
		Time: r.now(), Rules: map[string]*RuleState{}, RuleOutputs: map[RuleOutputKey]*RuleOutputState{},
		Entries: map[mrib.EntryKey]*EntryState{}, EntryOutputs: map[EntryOutputKey]*EntryOutputState{},
		Links: map[string]*netif.Link{}, Egress: map[string]*EgressState{}, Protocols: map[ProtocolInterface]*ProtocolState{},
		Boundaries: map[string]*BoundaryState{}, Endpoints: map[string]*EndpointState{},
	}
}

func (b *Batch) empty() bool {
	return len(b.Rules)+len(b.RuleOutputs)+len(b.Entries)+len(b.EntryOutputs)+len(b.Links)+len(b.Egress)+len(b.Protocols)+len(b.Boundaries)+len(b.Endpoints) == 0 && b.Global == nil
}

// publishTable tells the difference between the table that was and the one that is. Rows, members and rules that kept
// their pointer are not looked at.
func (r *Router) publishTable(b *Batch, oldCfg *Config, old *mrib.Table) {
	r.publishBoundaries(b, oldCfg)
	for key, e := range old.Entries {
		if r.table.Entries[key] == nil {
			b.Entries[key] = nil
			delete(r.seen.entries, key)
			for _, m := range e.Members {
				r.forgetMember(b, e, m)
			}
		}
	}
	for name, was := range oldCfg.Rules {
		if is := r.cfg.Rules[name]; is != was {
			r.forgetRule(b, was, is)
		}
	}
	for key, e := range r.table.Entries {
		if was := old.Entries[key]; was != e {
			r.publishMembers(b, e, was)
		} else if key.Port == 0 && old.Learner(key) != r.table.Learner(key) {
			r.publishKept(b, e)
		}
	}
	for name, rule := range r.cfg.Rules {
		if !rule.Enabled && oldCfg.Rules[name] != rule {
			r.publishDisabled(b, rule)
		}
	}
	if !maps.Equal(oldCfg.GSOOff, r.cfg.GSOOff) || oldCfg.GSOMaxSegments != r.cfg.GSOMaxSegments {
		r.publishSegmentation(b)
	}
	r.publishInputs(b)
	r.publishEgress(b)
	r.publishProtocols(b)
}

// publishSegmentation tells the outputs whose segmentation is not what was told: a setting changes it, and no row.
func (r *Router) publishSegmentation(b *Batch) {
	for _, e := range r.table.Entries {
		for _, m := range e.Members {
			_, ds, ok := r.dp.Output(m.ID())
			seen := r.seen.outputs[RuleOutputKey{m.Rule, m.Static.Name}]
			if ok && m.Plan.Up && (seen == nil || seen.GSOUsed != ds.GSOUsed || seen.GSOReason != ds.GSOReason) {
				r.publishMember(b, e, m)
			}
		}
	}
}

// forgetRule takes back the state of a rule, or of those outputs that it no longer has. is may be nil.
func (r *Router) forgetRule(b *Batch, was, is *mrib.Rule) {
	if is == nil {
		b.Rules[was.Name] = nil
		delete(r.seen.rules, was.Name)
		delete(r.inputs, was.Name)
	}
	var now []*mrib.Output
	if is != nil {
		now = is.Outputs
	}
	for _, o := range was.Outputs { // both lists are ordered by name, and mostly the same
		for len(now) > 0 && now[0] != o && now[0].Name < o.Name {
			now = now[1:]
		}
		if len(now) > 0 && (now[0] == o || now[0].Name == o.Name) {
			now = now[1:]
			continue
		}
		k := RuleOutputKey{was.Name, o.Name}
		b.RuleOutputs[k] = nil
		delete(r.seen.outputs, k)
	}
}

// publishMembers tells the members of a row that are new, changed or gone. was may be nil. Both rows are ordered by ID.
func (r *Router) publishMembers(b *Batch, e, was *mrib.Entry) {
	var before []*mrib.Member
	if was != nil {
		before = was.Members
	}
	i := 0
	for _, m := range e.Members {
		for i < len(before) && before[i].ID() < m.ID() {
			r.forgetMember(b, e, before[i])
			i++
		}
		if i < len(before) && before[i].ID() == m.ID() {
			same := before[i] == m && was.Reason == e.Reason
			if before[i].Key != m.Key {
				r.forgetMember(b, e, before[i])
			}
			i++
			if same && r.problems[m.ID()].err == nil {
				continue
			}
		}
		r.publishMember(b, e, m)
	}
	for ; i < len(before); i++ {
		r.forgetMember(b, e, before[i])
	}
}

// publishKept tells the members of a row without port that send from another port than was told: with its first port an output
// gets a socket.
func (r *Router) publishKept(b *Batch, e *mrib.Entry) {
	for _, m := range e.Members {
		if m.Key.Port != 0 || !m.Plan.Up {
			continue
		}
		_, ds, ok := r.dp.Output(m.ID())
		if seen := r.seen.outputs[RuleOutputKey{m.Rule, m.Static.Name}]; ok && seen != nil && seen.Local.Port() != ds.LocalPort {
			r.publishMember(b, e, m)
		}
	}
}

func (r *Router) forgetMember(b *Batch, e *mrib.Entry, m *mrib.Member) {
	k := EntryOutputKey{e.Key, m.Key}
	if b.EntryOutputs[k] == nil { // another member may have taken the identity over in the same change
		b.EntryOutputs[k] = nil
	}
	if _, faulty := r.faults[m.ID()]; faulty && !r.alive(m.ID()) {
		delete(r.faults, m.ID())
	}
	if r.bounds.outputs[m.ID()] != nil && !r.alive(m.ID()) {
		delete(r.bounds.outputs, m.ID())
	}
}

// alive says whether an output of that ID is in the table still.
func (r *Router) alive(id plan.OutputID) bool {
	for _, e := range r.table.Entries {
		if _, ok := findMember(e, id); ok {
			return true
		}
	}
	return false
}

func findMember(e *mrib.Entry, id plan.OutputID) (*mrib.Member, bool) {
	i, ok := slices.BinarySearchFunc(e.Members, id, func(m *mrib.Member, id plan.OutputID) int { return cmp.Compare(m.ID(), id) })
	if !ok {
		return nil, false
	}
	return e.Members[i], true
}

// publishMember tells the state of one member, as an output of its row and of its rule.
func (r *Router) publishMember(b *Batch, e *mrib.Entry, m *mrib.Member) {
	st := r.outputState(e, m)
	r.noteBoundary(m, m.Reason == mrib.Scope)
	k := RuleOutputKey{m.Rule, m.Static.Name}
	was := r.seen.outputs[k]
	if was != nil {
		st.LastChange = lastChange(&was.OutputState, &st, b.Time)
		r.warn.output(k, was.Reason, st.Reason, r.reasonErr(m))
	} else if st.Reason != mrib.ReasonNone {
		r.warn.output(k, mrib.ReasonNone, st.Reason, r.reasonErr(m))
	}
	is := &RuleOutputState{Output: m.Static, OutputState: st}
	r.seen.outputs[k] = is
	b.RuleOutputs[k] = is
	b.EntryOutputs[EntryOutputKey{e.Key, m.Key}] = &EntryOutputState{OutputState: st, Rule: m.Rule, RuleOutput: m.Static.Name}
}

// lastChange is when what was told of an output last changed.
func lastChange(was, is *OutputState, now time.Time) time.Time {
	if was.Oper == is.Oper && was.Endpoint == is.Endpoint {
		return was.LastChange
	}
	return now
}

// publishDisabled tells of a rule that is switched off: it has no row.
func (r *Router) publishDisabled(b *Batch, rule *mrib.Rule) {
	for _, o := range rule.Outputs {
		k := RuleOutputKey{rule.Name, o.Name}
		is := &RuleOutputState{Output: o, OutputState: OutputState{
			Created: b.Time, Oper: mrib.Down, Reason: mrib.AdminDisabled, LastChange: b.Time,
			Endpoint: mrib.MemberKey(rule, o).Endpoint(), Origins: staticOrigin, DSCP: o.DSCP,
		}}
		if was := r.seen.outputs[k]; was != nil {
			is.Created = was.Created
			is.LastChange = lastChange(&was.OutputState, &is.OutputState, b.Time)
		}
		r.seen.outputs[k], b.RuleOutputs[k] = is, is
	}
}

var staticOrigin = []string{"static"}

// outputState puts together what the MRIB and the dataplane know of a member.
func (r *Router) outputState(e *mrib.Entry, m *mrib.Member) OutputState {
	reason := r.reason(e, m)
	st := OutputState{
		ID: m.ID(), Created: m.Created, Reason: reason, LastChange: m.Changed,
		Endpoint: m.Plan.Dest, DSCP: m.Plan.DSCP, Origins: staticOrigin,
	}
	if m.Plan.TTLMode == plan.TTLFixed {
		st.TTL = m.Plan.TTL
	}
	if reason != mrib.ReasonNone {
		st.Oper = mrib.Down
	}
	if _, ds, ok := r.dp.Output(m.ID()); ok && m.Plan.Up {
		st.GSOUsed, st.GSOReason = ds.GSOUsed, ds.GSOReason
		if ds.LocalPort != 0 {
			st.Local = netip.AddrPortFrom(m.Plan.Source, ds.LocalPort)
		}
	}
	return st
}

// reason is why a member of a row is not up.
func (r *Router) reason(e *mrib.Entry, m *mrib.Member) mrib.Reason {
	switch {
	case m.Reason != mrib.ReasonNone:
		return m.Reason
	case e.Reason != mrib.ReasonNone:
		return e.Reason
	}
	if p, ok := r.problems[m.ID()]; ok {
		return socketReason(p.err)
	}
	return r.faults[m.ID()].reason
}

func (r *Router) reasonErr(m *mrib.Member) error {
	if p, ok := r.problems[m.ID()]; ok {
		return p.err
	}
	return r.faults[m.ID()].err
}

// socketReason says in the MRIB's words why a socket could not be opened.
func socketReason(err error) mrib.Reason {
	switch {
	case scarce(err), errors.Is(err, unix.ENOBUFS):
		return mrib.LimitExceeded
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return mrib.NoAddress
	case errors.Is(err, unix.EADDRINUSE):
		return mrib.AddressInUse
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return mrib.InterfaceMissing
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH):
		return mrib.NoRoute
	}
	return mrib.SendFailing
}

// dataplaneChanged takes in what the dataplane says of outputs and receive points.
func (r *Router) dataplaneChanged(ev plan.Event) {
	r.heard(ev.Learnt)
	r.loopsFound(ev)
	if len(ev.Outputs)+len(ev.Points) == 0 && !ev.Lost {
		return
	}
	b := r.batch()
	for _, p := range ev.Points {
		pt := r.table.PlanPoint(p.Point) // nil: it went meanwhile
		if _, known := r.deaf[p.Point]; !known && pt != nil {
			r.deaf[p.Point] = problem{err: p.Err, point: pt}
		}
	}
	ids := make(map[plan.OutputID]bool, len(ev.Outputs))
	for _, id := range ev.Outputs {
		ids[id] = true
	}
	for _, e := range r.table.Entries {
		touched := false
		for _, m := range e.Members {
			if (ev.Lost || ids[m.ID()]) && r.noteFault(m) {
				r.publishMember(&b, e, m)
				touched = true
			}
		}
		if touched || len(ev.Points) > 0 {
			r.publishInput(&b, e)
		}
	}
	r.publishEgress(&b)
	if len(b.Egress) > 0 { // the dataplane tells of the output that met it; it is so for all of the interface
		r.publishSegmentation(&b)
	}
	r.emit(b)
}

// noteFault brings faults in line with the dataplane's status of a member; it returns whether anything is to be told.
func (r *Router) noteFault(m *mrib.Member) bool {
	_, ds, ok := r.dp.Output(m.ID())
	was, had := r.faults[m.ID()]
	is := fault{reason: mrib.ReasonNone}
	switch {
	case !ok || !m.Plan.Up:
	case ds.Failing:
		is.reason, is.err = mrib.SendFailing, ds.Err
	case ds.TTLTooLow:
		is.reason = mrib.TTLTooLow
	}
	if is.reason == mrib.ReasonNone {
		delete(r.faults, m.ID())
	} else if was.reason != is.reason {
		r.faults[m.ID()] = is
	}
	seen := r.seen.outputs[RuleOutputKey{m.Rule, m.Static.Name}]
	return was.reason != is.reason || had != (is.reason != mrib.ReasonNone) ||
		seen == nil || seen.GSOUsed != ds.GSOUsed || seen.GSOReason != ds.GSOReason
}

// publishInputs tells the state of the inputs of all rules, where it changed.
func (r *Router) publishInputs(b *Batch) {
	for _, e := range r.table.Entries {
		r.publishInput(b, e)
	}
	for name, rule := range r.cfg.Rules {
		if !rule.Enabled {
			r.publishRule(b, &RuleState{Rule: rule, InputState: r.disabledInput(name, len(rule.Outputs), b)})
		}
	}
}

// publishInput tells the state of a row's input, and of the rule that makes the row.
func (r *Router) publishInput(b *Batch, e *mrib.Entry) {
	is := r.inputState(e, b.Time)
	p, _ := r.table.Point(e.Key)
	if was := r.seen.entries[e.Key]; was == nil || was.InputState != is || was.Point != p || was.List != e.List.ID {
		st := &EntryState{InputState: is, Origins: staticOrigin, List: e.List.ID, Point: p}
		r.seen.entries[e.Key], b.Entries[e.Key] = st, st
	}
	r.publishRule(b, &RuleState{Rule: e.Rule, InputState: is, List: e.List.ID, Point: p})
}

func (r *Router) publishRule(b *Batch, is *RuleState) {
	was := r.seen.rules[is.Rule.Name]
	if was != nil && *was == *is {
		return
	}
	if is.Reason == mrib.Scope && (was == nil || was.Reason != mrib.Scope) {
		r.bounds.claim(is.Rule.Interface)
	}
	r.warn.input(is.Rule.Name, was, is)
	r.seen.rules[is.Rule.Name], b.Rules[is.Rule.Name] = is, is
}

// publishLinks tells the interfaces that are new, changed or gone.
func (r *Router) publishLinks(b *Batch) {
	now := r.host.links.Links()
	for name := range r.seen.links {
		if now[name] == nil {
			b.Links[name] = nil
		}
	}
	for name, l := range now {
		if r.seen.links[name] != l {
			b.Links[name] = l
		}
	}
	r.seen.links = now
}

// publishEgress tells what the dataplane decided for each interface that outputs use or the configuration names.
func (r *Router) publishEgress(b *Batch) {
	now := map[string]*EgressState{}
	for name := range r.cfg.GSOOff {
		now[name] = &EgressState{Configured: true}
	}
	last := "" // the interface that was looked at last and is known: mostly that of the next one too
	for _, e := range r.table.Entries {
		for _, m := range e.Members {
			if !m.Plan.Up || m.Key.Interface == last {
				continue
			}
			st := now[m.Key.Interface]
			if st == nil || st.GSOReason == "" { // the dataplane decides by interface: one output speaks for all
				if _, ds, ok := r.dp.Output(m.ID()); ok {
					st = &EgressState{Configured: r.cfg.GSOOff[m.Key.Interface], GSOUsed: ds.GSOUsed, GSOReason: ds.GSOReason}
					now[m.Key.Interface] = st
				}
			}
			if st != nil && st.GSOReason != "" {
				last = m.Key.Interface
			}
		}
	}
	for name := range r.seen.egress {
		if now[name] == nil {
			b.Egress[name] = nil
		}
	}
	for name, st := range now {
		if was := r.seen.egress[name]; was == nil || *was != *st {
			b.Egress[name] = st
		}
	}
	r.seen.egress = now
}

// publishProtocols says of each interface of PIM and IGMP that the protocol does not run there.
func (r *Router) publishProtocols(b *Batch) {
	now := map[ProtocolInterface]mrib.Reason{}
	for name, p := range map[string]Protocol{"PIM": r.cfg.PIM, "IGMP": r.cfg.IGMP} {
		for iface, i := range p.Interfaces {
			reason := mrib.NotRunning
			if !i.Enabled || !p.Enabled {
				reason = mrib.AdminDisabled
			}
			now[ProtocolInterface{name, iface}] = reason
		}
	}
	for k := range r.protocol {
		if _, ok := now[k]; !ok {
			b.Protocols[k] = nil
		}
	}
	for k, reason := range now {
		if was, ok := r.protocol[k]; !ok || was != reason {
			b.Protocols[k] = &ProtocolState{Reason: reason}
		}
	}
	r.protocol = now
}

// publishGlobal tells the figures of the whole router, if one changed.
func (r *Router) publishGlobal(b *Batch) {
	g := &GlobalState{
		Forwarding: r.cfg.Forwarding, Rules: len(r.cfg.Rules), Entries: len(r.table.Entries),
		Version: r.table.Version, Dataplane: r.dp.Info(), PortLearner: r.cfg.PortLearner,
	}
	for range r.table.Learnt() {
		g.LearntPorts++
	}
	for _, rule := range r.cfg.Rules {
		g.RuleOutputs += len(rule.Outputs)
	}
	for key, e := range r.table.Entries {
		g.Outputs += len(e.Members)
		if st := r.seen.entries[key]; st != nil {
			g.OutputsUp += st.OutputsUp
		}
		for _, m := range e.Members {
			if m.Unicast() {
				g.UnicastCount++
			}
		}
	}
	if r.seen.global != nil && reflect.DeepEqual(*r.seen.global, *g) {
		return
	}
	r.seen.global, b.Global = g, g
}
