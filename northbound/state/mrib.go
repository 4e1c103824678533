// SPDX-License-Identifier: Apache-2.0

package state

import (
	"mcr/mroute"
	"mcr/mroute/mrib"
)

// entry publishes the state of an MRIB entry.
func (s *step) entry(k mrib.EntryKey, e *mroute.EntryState) {
	path := append(s.entryPath(k), stateElem)
	if e == nil {
		s.remove(path)
		return
	}
	src := sourceOf(k)
	l := s.leaves(20)
	l.moment("created", e.Created)
	l.text("discard-reason", e.DiscardReason)
	l.text("down-reason", e.Reason.String())
	l.optional("group", s.addr(k.Group))
	l.text("input-status", e.Status.String())
	l.text("interface", k.Interface)
	l.flag("joined", joined(e.InputState, k.Group))
	if src.IsUnspecified() {
		l.text("kind", "wc")
	} else {
		l.text("kind", "sg")
	}
	if k.Port == 0 {
		l.count("learnt-port-count", e.LearntPorts)
	}
	l.text("oper-status", e.Oper.String())
	l.texts("origins", e.Origins)
	l.count("output-count", e.Outputs)
	l.number("port", uint64(k.Port))
	l.value("receive-method-used", methodUsed(&e.InputState, e.Point))
	l.moment("retry-time", e.Retry)
	l.optional("source", s.addr(src))
	s.update(path, l, s.inputSample(&e.InputState, e.List, e.Point))
}

// entryOutput publishes the state of one output of an MRIB entry.
func (s *step) entryOutput(k mroute.EntryOutputKey, o *mroute.EntryOutputState) {
	path := s.entryOutputPath(k)
	if o == nil {
		s.remove(path)
		return
	}
	st := &o.OutputState
	dest := destination(k.Output)
	l := s.leaves(28)
	branch(&l, st)
	l.moment("created", st.Created)
	l.optional("destination", s.addr(dest))
	l.text("down-reason", st.Reason.String())
	dscp(&l, st)
	l.text("encapsulation", k.Output.Encap.String())
	s.endpoint(&l, st)
	gso(&l, st)
	l.flag("her-active", st.HERActive)
	l.text("interface", k.Output.Interface)
	l.moment("last-change", st.LastChange)
	s.local(&l, st)
	l.text("oper-status", st.Oper.String())
	l.texts("origins", st.Origins)
	l.number("port", uint64(k.Output.Port))
	l.optional("rule", o.Rule)
	l.optional("rule-output", o.RuleOutput)
	l.number("source-port", uint64(k.Output.SourcePort))
	ttl(&l, st)
	s.update(path, l, s.outputSample(st.ID))
}
