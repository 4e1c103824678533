// SPDX-License-Identifier: Apache-2.0

package mroute

import (
	"maps"
	"reflect"

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
	links   *netif.Snapshot
	global  *GlobalState

	instances map[plan.OutputID]*OutputState // rows that are a part of an output
	endpoints map[string]*EndpointState
}

func newPublished() published {
	return published{
		rules: map[string]*RuleState{}, outputs: map[RuleOutputKey]*RuleOutputState{},
		entries: map[mrib.EntryKey]*EntryState{}, egress: map[string]*EgressState{}, links: netif.NewSnapshot(),
		instances: map[plan.OutputID]*OutputState{}, endpoints: map[string]*EndpointState{},
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
	named := func(_, _ []netif.ConfiguredEndpoint) bool { return true }
	if herDoubt(oldCfg, r.cfg) != nil || !maps.EqualFunc(oldCfg.Endpoints, r.cfg.Endpoints, named) {
		r.publishAllEndpoints(b)
	}
	r.warnFlagless()
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
	is, row := r.inputState(e, b.Time)
	p, _ := r.table.Point(e.Key)
	if was := r.seen.entries[e.Key]; was == nil || was.InputState != row || was.Point != p || was.List != e.List.ID {
		st := &EntryState{InputState: row, Origins: staticOrigin, List: e.List.ID, Point: p}
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
	now := r.host.links
	for _, name := range now.Differ(r.seen.links) {
		b.Links[name] = now.Link(name)
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
			if !m.Plan.Up || m.Copies > 1 || m.Key.Interface == last {
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
		if st := r.seen.entries[key]; st != nil {
			g.OutputsUp += st.OutputsUp
		}
		for _, m := range e.Members {
			if !m.Row() {
				continue
			}
			g.Outputs++
			if m.Unicast() && m.Copies > 0 {
				g.UnicastCount++
			}
		}
	}
	if r.seen.global != nil && reflect.DeepEqual(*r.seen.global, *g) {
		return
	}
	r.seen.global, b.Global = g, g
}
