// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"cmp"
	"slices"

	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

// A branch sends nothing itself, and has instances that do: an output that keeps the port, of an entry without port, has one for each
// port that is received; a head has one for each host that it stands for, and each of these may keep the port in its turn. A branch is
// an output without socket and without tally, so that nothing is counted for it; what its instances count is summed up in it, and
// stays with it when they go:
//
//	head ─┬─ host A (port 0) ── instances: port 5000, port 5004     sums of a branch = own + gone + Σ sums of its instances
//	      │                     gone: what port 5008 had counted
//	      └─ host B (port 0) ── instances: port 5000, port 5004
//	         gone: what host C had counted
//
// An instance that goes is folded twice: by its worker, into its own sums, when it adopts the Plan without it; and by the
// janitor, into gone, when all workers have. Readers see both in one piece, under Engine.mu, so that a sum never goes back.
//
// An output that shares sends nothing either: another one sends to the same place, and what that has counted since counts for both. Where
// it begins and ends is the moment of the Commit, so that what is on its way just then may count for it twice or not at all.

// isBranch says that an output sends nothing itself.
func isBranch(po *plan.Output) bool {
	return po != nil && (po.Dest.Port() == 0 || po.Shares != 0 || po.Up && po.Dest.Addr().IsUnspecified())
}

// tells is the name under which an output is told of: that of its branch, where it is an instance for one port.
func (p *prep) tells(po *plan.Output) plan.OutputID {
	if p.branchOf(po) == nil || p.headOf(po) != nil {
		return po.ID
	}
	return po.Branch
}

// headOf returns the branch of an instance that is for one host, not for one port; nil: it is no such.
func (p *prep) headOf(po *plan.Output) *output {
	b := p.branchOf(po)
	if b == nil || po.Dest.Port() == 0 {
		return b
	}
	of := b.plan
	if b.prep != nil && b.prep.plan != nil {
		of = b.prep.plan
	}
	if of != nil && of.Dest.Port() == 0 {
		return nil
	}
	return b
}

// branchOf returns the branch of an instance; nil: it is none, or the Plan has no such branch.
func (p *prep) branchOf(po *plan.Output) *output {
	if po.Branch == 0 || po.Branch >= po.ID { // so there are no circles
		return nil
	}
	return p.find(po.Branch)
}

// find returns an output that there is, or will be.
func (p *prep) find(id plan.OutputID) *output {
	if o := p.e.outputs[id]; o != nil {
		return o
	}
	return p.made[id]
}

// above is the branch of an output, committed or not.
func (p *prep) above(o *output) *output {
	switch {
	case o.branch != nil:
		return o.branch
	case o.prep != nil && o.prep.plan != nil:
		return p.branchOf(o.prep.plan)
	}
	return nil
}

// lastPort is the source port that an output is to have again: its own, or that of its branch.
func (p *prep) lastPort(op *outputPrep) uint16 {
	if op.o.port != 0 {
		return op.o.port
	}
	for b := p.above(op.o); b != nil; b = p.above(b) {
		if port := cmp.Or(b.port, p.branchPorts[b]); port != 0 {
			return port
		}
	}
	return 0
}

// notePort remembers the first source port that a branch was given.
func (p *prep) notePort(op *outputPrep) {
	for b := p.above(op.o); b != nil; b = p.above(b) {
		if b.port != 0 || p.branchPorts[b] != 0 {
			continue
		}
		if p.branchPorts == nil {
			p.branchPorts = map[*output]uint16{}
		}
		p.branchPorts[b] = op.sock.port
	}
}

// enterBranch makes o an instance, where it is one. Commit, under Engine.mu.
func (p *prep) enterBranch(o *output, po *plan.Output) {
	if o.branch == nil {
		if o.branch = p.branchOf(po); o.branch != nil {
			o.branch.instances = append(o.branch.instances, o)
		}
	}
	for b := o.branch; b != nil; b = b.branch {
		if b.port == 0 {
			b.port = p.branchPorts[b]
		}
	}
}

// enterShare makes o an output that shares, or ends that. Commit, under Engine.mu.
func (p *prep) enterShare(o *output, po *plan.Output) {
	var with *output
	if po.Shares != 0 && po.Shares != po.ID {
		if with = p.find(po.Shares); with != nil && with.shard == nil {
			with = nil
		}
	}
	if with == o.shares {
		return
	}
	if o.shares != nil {
		addOutput(&o.gone, o.shared())
	}
	if o.shares = with; with != nil {
		o.sharedFrom = with.own()
	}
}

// leave is what the worker does about an instance that goes.
func (o *output) leave() change { return change{o: o, binding: binding{fd: -1}} }

// foldBranches adds what the instances that a took away have counted to their branches.
func (e *Engine) foldBranches(a *adoption) {
	if len(a.instances) == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, o := range a.instances {
		addOutput(&o.branch.gone, o.sums())
		o.branch.instances = slices.DeleteFunc(o.branch.instances, func(i *output) bool { return i == o })
	}
}

// sums are the counters of o with those of its instances and of what it shares. Under Engine.mu.
func (o *output) sums() plan.OutputCounters {
	c := o.own()
	if o.shares != nil {
		addOutput(&c, o.shared())
	}
	for _, i := range o.instances {
		if i.shares != nil {
			addOutput(&c, i.shared())
		}
	}
	return c
}

// own are the counters of o with those of its instances, but for what they share.
func (o *output) own() plan.OutputCounters {
	c := o.counters()
	addOutput(&c, o.gone)
	for _, i := range o.instances {
		addOutput(&c, i.own())
	}
	return c
}

// shared is what counts for o of what another output sends.
func (o *output) shared() plan.OutputCounters {
	c, from := o.shares.own(), o.sharedFrom
	out := plan.OutputCounters{
		Packets: c.Packets - from.Packets, Octets: c.Octets - from.Octets, Dropped: c.Dropped - from.Dropped,
		NotReady: c.NotReady - from.NotReady, SkippedTTL: c.SkippedTTL - from.SkippedTTL, Errors: c.Errors - from.Errors,
		Refused: c.Refused - from.Refused, Unreachable: c.Unreachable - from.Unreachable, NoBuffer: c.NoBuffer - from.NoBuffer,
		TooBig: c.TooBig - from.TooBig, Permission: c.Permission - from.Permission, Key: c.Key - from.Key, Other: c.Other - from.Other,
	}
	if c.LastErrorTime.After(from.LastErrorTime) {
		out.LastErrorTime, out.LastError = c.LastErrorTime, c.LastError
	}
	if c.LastPacketTime.After(from.LastPacketTime) {
		out.LastPacketTime = c.LastPacketTime
	}
	return out
}

func addOutput(to *plan.OutputCounters, c plan.OutputCounters) {
	to.Packets += c.Packets
	to.Octets += c.Octets
	to.Dropped += c.Dropped
	to.NotReady += c.NotReady
	to.SkippedTTL += c.SkippedTTL
	to.Errors += c.Errors
	to.Refused += c.Refused
	to.Unreachable += c.Unreachable
	to.NoBuffer += c.NoBuffer
	to.TooBig += c.TooBig
	to.Permission += c.Permission
	to.Key += c.Key
	to.Other += c.Other
	if c.LastErrorTime.After(to.LastErrorTime) {
		to.LastErrorTime, to.LastError = c.LastErrorTime, c.LastError
	}
	if c.LastPacketTime.After(to.LastPacketTime) {
		to.LastPacketTime = c.LastPacketTime
	}
}

// addStatus takes in the status of an output and its instances: what one of them suffers, the branch does.
func addStatus(s *plan.OutputStatus, o *output) {
	state := o.state.Load()
	s.Failing = s.Failing || state&stFailing != 0
	s.TTLTooLow = s.TTLTooLow || state&stTTLLow != 0
	if o.sock != nil && s.LocalPort == 0 {
		s.LocalPort = o.sock.port
	}
	if state&stFailing != 0 && s.Err == nil {
		s.Err = unix.Errno(o.lastErrno.Load())
	}
	for _, i := range o.instances {
		addStatus(s, i)
	}
}

// portGroup is what the ports of one group on one interface count together: what is told of its port learner.
type portGroup struct {
	inlets []*inlet           // also those that go, until the janitor has folded them
	gone   plan.PointCounters // of those that went
}

func groupOf(k plan.PointKey) plan.PointKey { return plan.PointKey{IfIndex: k.IfIndex, Group: k.Group} }

// enterGroup is told of every inlet, and leaveGroup of every one that went.
func (e *Engine) enterGroup(in *inlet) {
	k := groupOf(in.key)
	g := e.groups[k]
	if g == nil {
		g = &portGroup{}
		e.groups[k] = g
	}
	if !slices.Contains(g.inlets, in) {
		g.inlets = append(g.inlets, in)
	}
}

func (e *Engine) leaveGroup(in *inlet) {
	k := groupOf(in.key)
	g := e.groups[k]
	addPoint(&g.gone, in.counters(e))
	g.inlets = slices.DeleteFunc(g.inlets, func(i *inlet) bool { return i == in })
	if len(g.inlets) == 0 {
		delete(e.groups, k)
	}
}

// foldGroups lets those inlets go that a took away, before their sockets close.
func (e *Engine) foldGroups(a *adoption) {
	if len(a.inlets) == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, in := range a.inlets {
		e.leaveGroup(in)
	}
}

// counters are those of one inlet. Under Engine.mu.
func (in *inlet) counters(e *Engine) plan.PointCounters {
	c := plan.PointCounters{
		Packets: in.in.packets.Load(), Octets: in.in.octets.Load(),
		NoMatch: in.noMatch.Load(), Truncated: in.truncated.Load(), GSO: in.gso.Load(),
	}
	c.Overrun, c.Checksum = e.lost(in)
	c.Checksum += in.checksum.Load()
	if in.learner != nil {
		c.Limit = e.learners.limited(in.learner)
	}
	return c
}

func (g *portGroup) counters(e *Engine) plan.PointCounters {
	c := g.gone
	for _, in := range g.inlets {
		addPoint(&c, in.counters(e))
	}
	return c
}

func addPoint(to *plan.PointCounters, c plan.PointCounters) {
	to.Packets += c.Packets
	to.Octets += c.Octets
	to.NoMatch += c.NoMatch
	to.Truncated += c.Truncated
	to.Overrun += c.Overrun
	to.Checksum += c.Checksum
	to.GSO += c.GSO
	to.Limit += c.Limit
}
