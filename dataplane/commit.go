// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"runtime"
	"slices"

	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
	"mcr/dataplane/sock"
)

// Commit makes the Plan the running one. The channel is closed when the workers have adopted it.
func (p *prep) Commit() <-chan struct{} {
	e := p.e
	a := newAdoption(p.plan.Version, p.settings, len(e.shards))
	e.prepMu.Lock()
	defer e.prepMu.Unlock()
	if e.prepared != p {
		close(a.done)
		return a.done
	}
	if e.closed {
		p.discard()
		close(a.done)
		return a.done
	}
	e.prepared = nil
	p.handOver()
	e.mu.Lock()
	p.commitInlets(a)
	p.commitLists()
	p.commitOutputs(a)
	restart := !p.settings.same(e.set.crew)
	if restart {
		a.left.Add(1)
		e.waiting = append(e.waiting, a)
	}
	procs, before := e.processors(p.settings), e.processors(e.set)
	e.plan, e.set = p.plan, p.settings
	e.tell(func(i *plan.Info) { i.SocketLimit, i.GSOSegments = p.limit, p.settings.segments })
	e.sockets += p.sockets
	e.retired = append(e.retired, a)
	p.commitLearners(a)
	e.mu.Unlock()
	for i, s := range e.shards {
		s.push(&a.shares[i])
	}
	nudge(e.retire)
	if procs != before {
		runtime.GOMAXPROCS(procs)
	}
	if restart {
		nudge(e.restart)
	}
	return a.done
}

func nudge(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is known already
	}
}

func (p *prep) commitInlets(a *adoption) {
	e := p.e
	if p.settings.rcvbuf != e.set.rcvbuf {
		for _, in := range e.points {
			for _, pt := range in.points {
				sock.SetReceiveBuffer(pt.fd, p.settings.rcvbuf) //nolint:errcheck // the old size goes on
			}
			if in.learner != nil {
				e.learners.resize(in.learner, p.settings.rcvbuf)
			}
		}
	}
	for _, in := range p.gone {
		delete(e.points, in.key)
		a.inlets = append(a.inlets, in)
		for _, pt := range in.points {
			a.remove(pt, nil)
		}
	}
	for _, ip := range p.inlets {
		in := ip.in
		takesOver := len(in.points) > 0 || (in.committed == nil && ip.view.served())
		e.points[in.key] = in
		e.enterGroup(in)
		in.plan, in.committed, in.first = ip.plan, ip.view, ip.first
		for _, pt := range ip.drop {
			overrun, damaged := e.lostBy(pt)
			in.overrun += overrun
			if pt.primary {
				in.checksum.Add(damaged)
			}
			a.remove(pt, ip.inherits(pt))
		}
		for _, pt := range ip.keep {
			pt.pending = false
			a.joins = append(a.joins, pt)
			a.show(pt, ip.view)
		}
		for _, pt := range ip.add {
			pt.takesOver = takesOver
			pt.shard.inputs++
			a.show(pt, ip.view)
			sh := &a.shares[pt.shard.id]
			sh.addPoints = append(sh.addPoints, pt)
		}
		in.points = slices.Concat(ip.keep, ip.add)
		slices.SortStableFunc(in.points, func(a, b *point) int { return rank(a) - rank(b) })
	}
}

// inherits is the new view where pt makes room for one of another receive method.
func (ip *inletPrep) inherits(pt *point) *view {
	if slices.ContainsFunc(ip.add, func(other *point) bool { return other.shard == pt.shard }) {
		return ip.view
	}
	return nil
}

// rank is 0 for the primary point.
func rank(pt *point) int {
	if pt.primary {
		return 0
	}
	return 1
}

// show gives pt another view.
func (a *adoption) show(pt *point, v *view) {
	sh := &a.shares[pt.shard.id]
	sh.views = append(sh.views, newView{pt: pt, view: v})
}

// remove takes pt away. v is for what it has received and not forwarded yet.
func (a *adoption) remove(pt *point, v *view) {
	pt.shard.inputs--
	a.show(pt, v)
	sh := &a.shares[pt.shard.id]
	sh.removePoints = append(sh.removePoints, pt)
}

func (p *prep) commitLists() {
	for id, lp := range p.lists {
		l := lp.list
		l.refs += lp.taken - lp.released
		if lp.view != nil {
			if l.view != nil && l.view.plan.Blocked && !lp.view.plan.Blocked {
				l.looped.Store(false)
			}
			l.view = lp.view
		}
		if l.refs > 0 {
			p.e.lists[id] = l
		} else {
			l.view = nil
			delete(p.e.lists, id)
		}
	}
}

func (p *prep) commitOutputs(a *adoption) {
	e := p.e
	for _, op := range p.outputs {
		o := op.o
		o.prep = nil
		if op.ignored() {
			continue
		}
		sh := &a.shares[o.shard.id]
		if o.sock != nil && o.sock != op.sock {
			sh.removeSockets = append(sh.removeSockets, o.sock.fd)
		}
		if o.outgoing != nil {
			o.outgoing.refs--
		}
		if o.plan != nil && !isBranch(o.plan) {
			o.shard.outputs--
		}
		o.plan, o.home, o.sock, o.sends, o.outgoing = op.plan, op.to, op.sock, op.up, op.egress
		if op.to == nil {
			delete(e.outputs, o.id)
			if o.branch != nil {
				sh.changes = append(sh.changes, o.leave())
				a.instances = append(a.instances, o)
			}
			continue
		}
		e.outputs[o.id] = o
		p.enterBranch(o, op.plan)
		p.enterShare(o, op.plan)
		if !isBranch(op.plan) {
			o.shard.outputs++
		}
		op.egress.refs++
		sh.changes = append(sh.changes, op.change())
		if op.opened {
			o.port = op.sock.port
			sh.addSockets = append(sh.addSockets, op.sock.fd)
		} else if op.header {
			op.sock.ttl, op.sock.tos = headerOf(op.plan)
		}
	}
	for k, eg := range e.egresses {
		eg.configure(p.plan.Settings.GSOOff)
		if eg.refs == 0 {
			delete(e.egresses, k)
		}
	}
}

// Discard closes what Prepare opened.
func (p *prep) Discard() {
	p.e.prepMu.Lock()
	defer p.e.prepMu.Unlock()
	if p.e.prepared == p {
		p.discard()
	}
}

func (p *prep) discard() {
	p.e.prepared = nil
	for _, op := range p.outputs {
		op.o.prep = nil
		if op.opened {
			unix.Close(op.sock.fd)
		}
	}
	for _, ip := range p.inlets {
		p.e.closePoints(ip.add, nil)
		p.discardLearner(ip)
		for _, pt := range ip.keep {
			if pt.pending {
				pt.pending = false
				p.e.narrow(pt)
			}
		}
	}
}

// narrow leaves what the committed Plan does not want of a point.
func (e *Engine) narrow(pt *point) {
	if pt.pending || pt.fd < 0 || e.points[pt.key] != pt.inlet { // closed: its descriptor may be another's
		return
	}
	if err := pt.member.Set(joins(pt.plan)); err != nil {
		e.log.Warn("joined more than wanted", "group", pt.key.Group, "interface", pt.plan.IfName, "err", err)
	}
}

var _ plan.Adoption = (*prep)(nil)
