// SPDX-License-Identifier: Apache-2.0

package state

import (
	"net/netip"
	"time"

	"mcr/dataplane/plan"
	"mcr/gen"
	"mcr/mroute"
	"mcr/mroute/mrib"
	"mcr/mroute/netif"
	"mcr/northbound/telemetry"
)

// rule publishes the state of a rule from what the router said last.
func (s *step) rule(name string) {
	path := rulePath(name)
	r := s.rules[name]
	if r == nil {
		s.remove(path)
		return
	}
	c := s.ruleConfig(name)
	l := s.leaves(24)
	l.moment("created", r.Created)
	l.optional("description", c.GetDescription())
	l.text("discard-reason", r.DiscardReason)
	l.text("down-reason", r.Reason.String())
	l.flag("enabled", r.Rule.Enabled)
	l.optional("input-group", s.addr(r.Rule.Group))
	l.text("input-interface", r.Rule.Interface)
	l.number("input-port", uint64(r.Rule.Port))
	if src := r.Rule.Source; src.IsValid() && !src.IsUnspecified() {
		l.optional("input-source", s.addr(src))
	}
	l.text("input-status", r.Status.String())
	l.flag("joined", joined(r.InputState, r.Rule.Group))
	l.moment("last-change", r.LastChange)
	l.number("minimum-input-ttl", uint64(inputTTL(r.Rule.MinimumInputTTL, s.global)))
	l.text("name", name)
	l.text("oper-status", r.Oper.String())
	l.count("output-count", r.Outputs)
	l.count("output-up-count", r.OutputsUp)
	l.value("receive-method", receiveMethod(c))
	l.optional("receive-method-reason", r.MethodReason)
	l.value("receive-method-used", methodUsed(&r.InputState, r.Point))
	l.moment("retry-time", r.Retry)
	l.number("silence-timeout", uint64(r.Rule.SilenceTimeout/time.Second))
	s.update(path, l, s.inputSample(&r.InputState, r.List, r.Point))
}

// ruleConfig returns the configuration of a rule, or nil, on which the getters work.
func (s *step) ruleConfig(name string) *gen.Mcr_Mcr_Forwarding_Rules_Rule_Config {
	return s.device.GetMcr().GetForwarding().GetRules().GetRule(name).GetConfig()
}

func receiveMethod(c *gen.Mcr_Mcr_Forwarding_Rules_Rule_Config) telemetry.Value {
	return enumValue(c.GetReceiveMethod())
}

// methodUsed says how an input receives; absent while it does not.
func methodUsed(in *mroute.InputState, p plan.PointKey) telemetry.Value {
	if p == (plan.PointKey{}) {
		return telemetry.Value{}
	}
	return telemetry.String(in.Method.String())
}

// inputTTL is the smallest TTL that a static rule takes: its own setting, else the global one, else 1.
func inputTTL(own *uint8, g *mroute.GlobalState) uint8 {
	switch {
	case own != nil:
		return *own
	case g != nil && g.Forwarding.MinimumInputTTL != nil:
		return *g.Forwarding.MinimumInputTTL
	}
	return 1
}

// joined says whether a membership is held: an own unicast address needs none.
func joined(in mroute.InputState, group netip.Addr) bool { return in.Joined && group.IsMulticast() }

// inputSample reads the counters of an input. What the receive point counts is there only while it has one.
func (s *step) inputSample(in *mroute.InputState, list plan.ListID, point plan.PointKey) func([]telemetry.Leaf) []telemetry.Leaf {
	if list == 0 {
		return nil
	}
	counters, packet := s.cfg.Counters, in.Method == plan.MethodPacket
	return func(dst []telemetry.Leaf) []telemetry.Leaf {
		c, ok := counters.List(list)
		if !ok {
			return dst
		}
		l := leaves(dst)
		p, has := plan.PointCounters{}, false
		if point != (plan.PointKey{}) {
			p, has = counters.Point(point)
		}
		if has {
			if packet { // with a socket the kernel throws them away, and counts them for all sockets together
				l.number("counters/dropped-checksum", p.Checksum)
				l.number("counters/dropped-gso", p.GSO)
			}
			l.number("counters/dropped-limit", p.Limit)
		}
		l.number("counters/dropped-loop", c.DroppedLoop)
		if has {
			l.number("counters/dropped-overrun", p.Overrun)
			l.number("counters/dropped-truncated", p.Truncated)
		}
		l.number("counters/dropped-ttl", c.DroppedTTL)
		l.number("counters/octets", c.Octets)
		l.number("counters/packets", c.Packets)
		l.moment("last-packet-time", c.LastPacketTime)
		return l
	}
}

var herModes = [...]string{mrib.HERAuto: "auto", mrib.HERAlways: "always", mrib.HERNever: "never"}

// ruleOutput publishes the state of a configured output.
func (s *step) ruleOutput(k mroute.RuleOutputKey, o *mroute.RuleOutputState) {
	path := ruleOutputPath(k)
	if o == nil {
		s.remove(path)
		return
	}
	c, st := o.Output, &o.OutputState
	l := s.leaves(28)
	branch(&l, st)
	l.moment("created", st.Created)
	l.text("down-reason", st.Reason.String())
	dscp(&l, st)
	l.flag("enabled", c.Enabled)
	l.text("encapsulation", "none")
	s.endpoint(&l, st)
	if c.Group.IsMulticast() { // beside unicast-dest it may be the input's, an own address
		l.optional("group", s.addr(c.Group))
	}
	gso(&l, st)
	l.flag("her-active", st.HERActive)
	if c.HERMode != mrib.HERInherit {
		l.text("her-mode", herModes[c.HERMode])
	}
	l.text("interface", c.Interface)
	l.moment("last-change", st.LastChange)
	s.local(&l, st)
	l.text("name", k.Output)
	l.text("oper-status", st.Oper.String())
	l.texts("origins", st.Origins)
	l.number("port", uint64(c.Port))
	l.optional("source-address", s.addr(c.Source))
	l.number("source-port", uint64(c.SourcePort))
	ttl(&l, st)
	l.optional("unicast-dest", s.addr(c.Unicast))
	s.update(path, l, s.outputSample(st.ID))
}

// The functions below write groups of leaves that all outputs have.

func branch(l *leaves, o *mroute.OutputState) { l.count("branch-count", o.Branches) }

// endpoint tells where copies go, if that is one place, and for unicast ones how that is known.
func (s *step) endpoint(l *leaves, o *mroute.OutputState) {
	known := o.Branches == 1
	if known {
		l.optional("endpoint", s.addr(o.Endpoint.Addr()))
	}
	if o.HERActive || o.Origin != netif.OriginNone {
		l.text("endpoint-origin", o.Origin.String())
	}
	if known {
		l.number("endpoint-port", uint64(o.Endpoint.Port()))
	}
}

func gso(l *leaves, o *mroute.OutputState) {
	l.optional("gso-reason", o.GSOReason)
	if o.ID != 0 {
		l.flag("gso-used", o.GSOUsed)
	}
}

func (s *step) local(l *leaves, o *mroute.OutputState) {
	if o.Branches > 1 { // each has its own
		return
	}
	l.optional("local-address", s.addr(o.Local.Addr()))
	if p := o.Local.Port(); p != 0 {
		l.number("local-port", uint64(p))
	}
}

func dscp(l *leaves, o *mroute.OutputState) {
	if o.DSCP >= 0 {
		l.number("dscp", uint64(o.DSCP))
	}
}

func ttl(l *leaves, o *mroute.OutputState) {
	if o.TTL != 0 {
		l.number("ttl", uint64(o.TTL))
	}
}

// outputSample reads the counters of an output.
func (s *step) outputSample(id plan.OutputID) func([]telemetry.Leaf) []telemetry.Leaf {
	if id == 0 {
		return nil
	}
	counters := s.cfg.Counters
	return func(dst []telemetry.Leaf) []telemetry.Leaf {
		c, _, ok := counters.Output(id)
		if !ok {
			return dst
		}
		l := leaves(dst)
		l.number("counters/dropped", c.Dropped)
		l.number("counters/errors", c.Errors)
		l.number("counters/errors-key", c.Key)
		l.number("counters/errors-no-buffer", c.NoBuffer)
		l.number("counters/errors-other", c.Other)
		l.number("counters/errors-permission", c.Permission)
		l.number("counters/errors-refused", c.Refused)
		l.number("counters/errors-size", c.TooBig)
		l.number("counters/errors-unreachable", c.Unreachable)
		l.optional("counters/last-error", c.LastError)
		l.moment("counters/last-error-time", c.LastErrorTime)
		l.number("counters/not-ready", c.NotReady)
		l.number("counters/octets", c.Octets)
		l.number("counters/packets", c.Packets)
		l.number("counters/skipped-ttl", c.SkippedTTL)
		l.moment("last-packet-time", c.LastPacketTime)
		return l
	}
}
