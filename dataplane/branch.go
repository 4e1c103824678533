// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"slices"

	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

// An output that keeps the port, of an entry without port, is a branch: it sends nothing itself, and has an instance for each
// port that is received. It is an output without socket and without tally, so that nothing is counted for it; what its
// instances count is told as its own, and stays with it when they go:
//
//	branch (port 0) ── instances: port 5000, port 5004     sums of the branch = gone + Σ instances
//	                   gone: what port 5008 had counted
//
// An instance that goes is folded twice: by its worker, into its own sums, when it adopts the Plan without it; and by the
// janitor, into gone, when all workers have. Readers see both in one piece, under Engine.mu, so that a sum never goes back.

// isBranch says that an output sends by its instances alone.
func isBranch(po *plan.Output) bool { return po != nil && po.Dest.Port() == 0 && po.Branch == 0 }

// branchOf is the name under which an output is told of.
func branchOf(po *plan.Output) plan.OutputID {
	if po.Branch != 0 {
		return po.Branch
	}
	return po.ID
}

// branchOf returns the branch of an instance; nil: it is none, or the Plan has no such branch.
func (p *prep) branchOf(po *plan.Output) *output {
	if po.Branch == 0 {
		return nil
	}
	b := p.e.outputs[po.Branch]
	if b == nil {
		b = p.made[po.Branch]
	}
	return b
}

// lastPort is the source port that an output is to have again: its own, or that of its branch.
func (p *prep) lastPort(op *outputPrep) uint16 {
	b := p.branchOf(op.plan)
	switch {
	case op.o.port != 0 || b == nil:
		return op.o.port
	case b.port != 0:
		return b.port
	}
	return p.branchPorts[b]
}

// notePort remembers the first source port that a branch was given.
func (p *prep) notePort(op *outputPrep) {
	if b := p.branchOf(op.plan); b != nil && b.port == 0 && p.branchPorts[b] == 0 {
		if p.branchPorts == nil {
			p.branchPorts = map[*output]uint16{}
		}
		p.branchPorts[b] = op.sock.port
	}
}

// enterBranch makes o an instance, where it is one. Commit, under Engine.mu.
func (p *prep) enterBranch(o *output, po *plan.Output) {
	if o.branch != nil {
		return
	}
	if o.branch = p.branchOf(po); o.branch != nil {
		o.branch.instances = append(o.branch.instances, o)
		if o.branch.port == 0 {
			o.branch.port = p.branchPorts[o.branch]
		}
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
		addOutput(&o.branch.gone, o.counters())
		o.branch.instances = slices.DeleteFunc(o.branch.instances, func(i *output) bool { return i == o })
	}
}

// sums are the counters of o as a branch. Under Engine.mu.
func (o *output) sums() plan.OutputCounters {
	c := o.counters()
	addOutput(&c, o.gone)
	for _, i := range o.instances {
		addOutput(&c, i.counters())
	}
	return c
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

// addStatus takes in the status of an instance: what one of them suffers, the branch does.
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
