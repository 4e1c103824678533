// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
	"mcr/dataplane/sock"
)

// Commit makes the Plan the running one. The channel is closed when the workers have adopted it.
func (p *prep) Commit() <-chan struct{} {
	e := p.e
	a := &adoption{version: p.plan.Version, settings: p.settings, done: make(chan struct{})}
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
	e.mu.Lock()
	p.commitPoints(a)
	p.commitLists()
	p.commitOutputs(a)
	e.plan, e.set = p.plan, p.settings
	e.tell(func(i *plan.Info) { i.SocketLimit = p.limit })
	e.sockets += p.sockets
	e.retired = append(e.retired, a)
	e.mu.Unlock()
	for _, w := range e.workers {
		w.push(a)
	}
	select {
	case e.retire <- struct{}{}:
	default:
	}
	return a.done
}

func (p *prep) commitPoints(a *adoption) {
	e := p.e
	if p.settings.rcvbuf != e.set.rcvbuf {
		for _, pt := range e.points {
			if pt.fd >= 0 {
				sock.SetReceiveBuffer(pt.fd, p.settings.rcvbuf) //nolint:errcheck // the old size goes on
			}
		}
	}
	for _, pt := range p.gone {
		delete(e.points, pt.key)
		a.views = append(a.views, newView{pt: pt})
		if pt.fd >= 0 {
			a.removePoints = append(a.removePoints, pt)
		}
	}
	for _, pp := range p.points {
		pt := pp.pt
		pt.takesOver = pt.committed == nil && pp.view.served()
		e.points[pt.key] = pt
		pt.plan, pt.committed, pt.member, pt.pending = pp.plan, pp.view, pp.member, false
		if pp.fd >= 0 {
			pt.fd = pp.fd
			a.addPoints = append(a.addPoints, pt)
		} else if pt.fd >= 0 {
			a.joins = append(a.joins, pt)
		}
		a.views = append(a.views, newView{pt: pt, view: pp.view})
	}
}

func (p *prep) commitLists() {
	for id, lp := range p.lists {
		l := lp.list
		l.refs += lp.taken - lp.released
		if lp.view != nil {
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
		if o.sock != nil && o.sock != op.sock {
			a.removeSockets = append(a.removeSockets, o.sock.fd)
		}
		if o.outgoing != nil {
			o.outgoing.refs--
		}
		o.plan, o.home, o.sock, o.sends, o.outgoing = op.plan, op.to, op.sock, op.up, op.egress
		if op.to == nil {
			delete(e.outputs, o.id)
			continue
		}
		e.outputs[o.id] = o
		op.egress.refs++
		a.changes = append(a.changes, op.change())
		if op.opened {
			o.port = op.sock.port
			a.addSockets = append(a.addSockets, op.sock.fd)
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
	for _, pp := range p.points {
		if pp.fd >= 0 {
			pp.member.Close()
			unix.Close(pp.fd)
		}
		if pt := pp.pt; pt.pending {
			pt.pending = false
			p.e.narrow(pt)
		}
	}
}

// narrow leaves what the committed Plan does not want of a point.
func (e *Engine) narrow(pt *point) {
	if pt.pending || pt.fd < 0 || e.points[pt.key] != pt { // closed: its descriptor may be another's
		return
	}
	if err := pt.member.Set(joins(pt.plan)); err != nil {
		e.log.Warn("joined more than wanted", "group", pt.key.Group, "interface", pt.plan.IfName, "err", err)
	}
}

var _ plan.Adoption = (*prep)(nil)
