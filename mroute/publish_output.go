// SPDX-License-Identifier: Apache-2.0

package mroute

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
	"mcr/mroute/mrib"
	"mcr/mroute/netif"
)

// An output of a rule is told by its trunk, and an output of a row by the member that is one: mostly the same member.

// publishMembers tells the members of a row that are new, changed or gone. was may be nil. Both rows are ordered by ID.
func (r *Router) publishMembers(b *Batch, e, was *mrib.Entry) {
	var before, changed []*mrib.Member
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
			if before[i].Key != m.Key || before[i].Row() != m.Row() {
				r.forgetMember(b, e, before[i])
			}
			i++
			if same && r.problems[m.ID()].err == nil {
				continue
			}
		}
		changed = append(changed, m)
	}
	for ; i < len(before); i++ {
		r.forgetMember(b, e, before[i])
	}
	r.publishChanged(b, e, changed)
}

// publishChanged tells members of a row that changed, and what follows from them: an output of the rule changes with each of its
// instances, and with the member that sends for it.
func (r *Router) publishChanged(b *Batch, e *mrib.Entry, changed []*mrib.Member) {
	if len(changed) == 0 {
		return
	}
	if e.Plain() {
		for _, m := range changed {
			r.publishTrunk(b, e, m, nil)
		}
		return
	}
	ids, trunks := map[plan.OutputID]bool{}, map[plan.OutputID]bool{}
	for _, m := range changed {
		ids[m.ID()], trunks[m.Trunk()] = true, true
	}
	instances := map[plan.OutputID][]*mrib.Member{}
	for _, m := range e.Members {
		if ids[m.Same] {
			trunks[m.Trunk()] = true
		}
		if m.Instance() {
			instances[m.Trunk()] = append(instances[m.Trunk()], m)
		}
	}
	for _, m := range changed {
		if m.Instance() {
			r.publishInstance(b, e, m)
		}
	}
	for _, m := range e.Members {
		if trunks[m.ID()] {
			r.publishTrunk(b, e, m, instances[m.ID()])
		}
	}
}

// publishTrunk tells the state of an output of a rule, and of the row where it is one.
func (r *Router) publishTrunk(b *Batch, e *mrib.Entry, m *mrib.Member, instances []*mrib.Member) {
	var st OutputState
	if len(instances) > 0 {
		st = r.headState(e, m, instances)
	} else {
		st = r.outputState(e, m)
		r.noteBoundary(m, m.Reason == mrib.Scope)
	}
	k := RuleOutputKey{m.Rule, m.Static.Name}
	was := r.seen.outputs[k]
	if was == nil {
		was = &RuleOutputState{OutputState: st}
		was.Oper, was.Reason = mrib.Up, mrib.ReasonNone // only what is down is news
	} else {
		st.LastChange = lastChange(&was.OutputState, &st, b.Time)
	}
	r.warn.output(k, &was.OutputState, &st, e.Reason == mrib.Loop, r.reasonErr(e, m))
	is := &RuleOutputState{Output: m.Static, OutputState: st}
	r.seen.outputs[k], b.RuleOutputs[k] = is, is
	if m.Row() {
		b.EntryOutputs[EntryOutputKey{e.Key, m.Key}] = &EntryOutputState{OutputState: st, Rule: m.Rule, RuleOutput: m.Static.Name}
	}
}

// publishInstance tells the state of an output of the row that is one of several of the rule's output.
func (r *Router) publishInstance(b *Batch, e *mrib.Entry, m *mrib.Member) {
	r.noteBoundary(m, m.Reason == mrib.Scope)
	if !m.Row() {
		return
	}
	st := r.outputState(e, m)
	if was := r.seen.instances[m.ID()]; was != nil {
		st.LastChange = lastChange(was, &st, b.Time)
	}
	r.seen.instances[m.ID()] = &st
	b.EntryOutputs[EntryOutputKey{e.Key, m.Key}] = &EntryOutputState{OutputState: st, Rule: m.Rule, RuleOutput: m.Static.Name}
}

// told is what was told of a member last; nil: nothing.
func (r *Router) told(m *mrib.Member) *OutputState {
	if m.Instance() {
		return r.seen.instances[m.ID()]
	}
	if seen := r.seen.outputs[RuleOutputKey{m.Rule, m.Static.Name}]; seen != nil {
		return &seen.OutputState
	}
	return nil
}

func (r *Router) forgetMember(b *Batch, e *mrib.Entry, m *mrib.Member) {
	k := EntryOutputKey{e.Key, m.Key}
	if m.Row() && b.EntryOutputs[k] == nil { // another member may have taken the identity over in the same change
		b.EntryOutputs[k] = nil
	}
	_, faulty := r.faults[m.ID()]
	if !faulty && r.bounds.outputs[m.ID()] == nil && r.seen.instances[m.ID()] == nil || r.alive(m.ID()) {
		return
	}
	delete(r.faults, m.ID())
	delete(r.bounds.outputs, m.ID())
	delete(r.seen.instances, m.ID())
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

// publishKept tells the members of a row without port that send from another port than was told: with its first port an output
// gets a socket.
func (r *Router) publishKept(b *Batch, e *mrib.Entry) {
	var changed []*mrib.Member
	for _, m := range e.Members {
		if m.Key.Port != 0 || !m.Plan.Up || m.Copies > 1 {
			continue
		}
		_, ds, ok := r.dp.Output(m.ID())
		if seen := r.told(m); ok && seen != nil && seen.Local.Port() != ds.LocalPort {
			changed = append(changed, m)
		}
	}
	r.publishChanged(b, e, changed)
}

// publishSegmentation tells the outputs whose segmentation is not what was told: a setting changes it, and no row.
func (r *Router) publishSegmentation(b *Batch) {
	for _, e := range r.table.Entries {
		var changed []*mrib.Member
		for _, m := range e.Members {
			if !m.Plan.Up || m.Copies > 1 {
				continue
			}
			_, ds, ok := r.dp.Output(m.ID())
			if seen := r.told(m); ok && (seen == nil || seen.GSOUsed != ds.GSOUsed || seen.GSOReason != ds.GSOReason) {
				changed = append(changed, m)
			}
		}
		r.publishChanged(b, e, changed)
	}
}

// lastChange is when what was told of an output last changed.
func lastChange(was, is *OutputState, now time.Time) time.Time {
	if was.Oper == is.Oper && was.Endpoint == is.Endpoint && was.Branches == is.Branches {
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
			Endpoint: mrib.MemberKey(rule, o).Endpoint(), Origins: staticOrigin, DSCP: o.DSCP, Branches: 1,
		}}
		if o.Unicast.IsValid() {
			is.Origin = netif.Configured
		}
		if was := r.seen.outputs[k]; was != nil {
			is.Created = was.Created
			is.LastChange = lastChange(&was.OutputState, &is.OutputState, b.Time)
		}
		r.seen.outputs[k], b.RuleOutputs[k] = is, is
	}
}

var staticOrigin = []string{"static"}

// outputState puts together what the MRIB and the dataplane know of a member, and of the one that sends for it.
func (r *Router) outputState(e *mrib.Entry, m *mrib.Member) OutputState {
	by := sender(e, m)
	reason := r.reason(e, m)
	st := OutputState{
		ID: m.ID(), Created: m.Created, Reason: reason, LastChange: m.Changed,
		Endpoint: m.Plan.Dest, DSCP: by.Plan.DSCP, Origins: staticOrigin,
		HERActive: m.HER, Origin: r.originOf(m), Branches: m.Copies,
	}
	if by.Plan.TTLMode == plan.TTLFixed {
		st.TTL = by.Plan.TTL
	}
	if reason != mrib.ReasonNone {
		st.Oper = mrib.Down
	}
	if _, ds, ok := r.dp.Output(by.ID()); ok && by.Plan.Up {
		st.GSOUsed, st.GSOReason = ds.GSOUsed, ds.GSOReason
		if ds.LocalPort != 0 {
			st.Local = netip.AddrPortFrom(by.Plan.Source, ds.LocalPort)
		}
	}
	return st
}

// headState puts together the state of an output that several instances send for.
func (r *Router) headState(e *mrib.Entry, m *mrib.Member, instances []*mrib.Member) OutputState {
	slices.SortFunc(instances, func(a, b *mrib.Member) int { return a.Key.Dest.Compare(b.Key.Dest) })
	st := r.outputState(e, instances[0])
	st.ID, st.Created, st.LastChange = m.ID(), m.Created, m.Changed
	st.Endpoint, st.Local, st.Branches = netip.AddrPort{}, netip.AddrPort{}, len(instances)
	up := 0
	for _, i := range instances {
		if reason := r.reason(e, i); reason == mrib.ReasonNone {
			up++
		} else if st.Reason == mrib.ReasonNone {
			st.Reason = reason
		}
	}
	switch {
	case up == len(instances):
	case up > 0:
		st.Oper = mrib.Degraded
	default:
		st.Oper = mrib.Down
	}
	return st
}

// sender is the member that sends for m: mostly itself.
func sender(e *mrib.Entry, m *mrib.Member) *mrib.Member {
	if m.Plan.Shares != 0 {
		if by, ok := findMember(e, m.Plan.Shares); ok {
			return by
		}
	}
	return m
}

// reason is why a member of a row is not up.
func (r *Router) reason(e *mrib.Entry, m *mrib.Member) mrib.Reason {
	m = sender(e, m)
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

func (r *Router) reasonErr(e *mrib.Entry, m *mrib.Member) error {
	m = sender(e, m)
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

// sendReason says in the MRIB's words why sends fail. WireGuard answers ENOKEY where no peer may have the destination, and
// EDESTADDRREQ where that peer has no endpoint yet (wg_xmit, drivers/net/wireguard/device.c).
func sendReason(err error) mrib.Reason {
	switch {
	case errors.Is(err, unix.ENOKEY):
		return mrib.WireGuardNoPeer
	case errors.Is(err, unix.EDESTADDRREQ):
		return mrib.WireGuardNoEndpoint
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
	r.noteFaults(&b, func(id plan.OutputID) bool { return ev.Lost || ids[id] }, len(ev.Points) > 0)
	r.publishEgress(&b)
	if len(b.Egress) > 0 { // the dataplane tells of the output that met it; it is so for all of the interface
		r.publishSegmentation(&b)
	}
	r.emit(b)
}

// reviewFaults looks again at the outputs that fail: with what error they do, no event tells.
func (r *Router) reviewFaults(b *Batch) {
	if len(r.faults) > 0 {
		r.noteFaults(b, func(id plan.OutputID) bool { _, faulty := r.faults[id]; return faulty }, false)
	}
}

// noteFaults brings the state of members in line with the dataplane's status, and that of their inputs, or of all.
func (r *Router) noteFaults(b *Batch, which func(plan.OutputID) bool, inputs bool) {
	for _, e := range r.table.Entries {
		var changed []*mrib.Member
		for _, m := range e.Members {
			if which(m.ID()) && r.noteFault(m) {
				changed = append(changed, m)
			}
		}
		r.publishChanged(b, e, changed)
		if len(changed) > 0 || inputs {
			r.publishInput(b, e)
		}
	}
}

// noteFault brings faults in line with the dataplane's status of a member; it returns whether anything is to be told.
func (r *Router) noteFault(m *mrib.Member) bool {
	if m.Copies > 1 {
		return false // its instances are told of
	}
	_, ds, ok := r.dp.Output(m.ID())
	was, had := r.faults[m.ID()]
	is := fault{reason: mrib.ReasonNone}
	switch {
	case !ok || !m.Plan.Up:
	case ds.Failing:
		is.reason, is.err = sendReason(ds.Err), ds.Err
	case ds.TTLTooLow:
		is.reason = mrib.TTLTooLow
	}
	if is.reason == mrib.ReasonNone {
		delete(r.faults, m.ID())
	} else if was.reason != is.reason {
		r.faults[m.ID()] = is
	}
	seen := r.told(m)
	return was.reason != is.reason || had != (is.reason != mrib.ReasonNone) ||
		seen == nil || seen.GSOUsed != ds.GSOUsed || seen.GSOReason != ds.GSOReason
}
