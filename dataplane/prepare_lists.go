// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

// route looks up the lists of r. old is what was there before.
func (p *prep) route(old *route, r *plan.Route) *route {
	if r == nil {
		return nil
	}
	if old != nil && old.plan == r {
		return old
	}
	rt := p.routes[r]
	if rt == nil {
		rt = &route{plan: r}
		for i, pl := range r.Lists {
			if pl != nil {
				rt.legs = append(rt.legs, leg{fanout: p.fanout(pl), skip: skips(r, i)})
			}
		}
		p.routes[r] = rt
	}
	for _, lg := range rt.legs {
		p.listOf(lg.list).taken++
	}
	return rt
}

// skips are the positions of list i to be left out. What is not ascending and in range is ignored.
func skips(r *plan.Route, i int) []int32 {
	if i >= len(r.Skip) || len(r.Skip[i]) == 0 {
		return nil
	}
	last, ok := int32(-1), true
	for _, pos := range r.Skip[i] {
		ok = ok && pos > last && int(pos) < len(r.Lists[i].Outputs)
		last = pos
	}
	if ok {
		return r.Skip[i]
	}
	s := slices.DeleteFunc(slices.Clone(r.Skip[i]), func(pos int32) bool { return pos < 0 || int(pos) >= len(r.Lists[i].Outputs) })
	slices.Sort(s)
	return slices.Compact(s)
}

// dropRoutes releases the lists of routes that old has and now has not.
func (p *prep) dropRoutes(old, now *view) {
	if old == nil {
		return
	}
	release := func(was, is *route) {
		if was == nil || was == is {
			return
		}
		for _, lg := range was.legs {
			p.listOf(lg.list).released++
		}
	}
	release(old.any, oldAny(now))
	for src, rt := range old.bySource {
		release(rt, oldSource(now, src))
	}
}

func (p *prep) listOf(l *list) *listPrep {
	lp := p.lists[l.id]
	if lp == nil {
		lp = &listPrep{list: l}
		p.lists[l.id] = lp
	}
	return lp
}

// fanout looks up the outputs of pl. Those of a new or changed one are finished by finishLists.
func (p *prep) fanout(pl *plan.List) *fanout {
	l := p.e.lists[pl.ID]
	if lp := p.lists[pl.ID]; lp != nil {
		l = lp.list
	}
	if l == nil {
		l = &list{id: pl.ID, tallies: make([]atomic.Pointer[tally], len(p.e.shards))}
	}
	lp := p.listOf(l)
	switch {
	case l.view != nil && l.view.plan == pl:
		return l.view
	case lp.view == nil:
		lp.view = &fanout{plan: pl, list: l, minTTL: pl.MinTTL, blocked: pl.Blocked}
		p.compare(lp)
	case lp.view.plan != pl:
		p.err = fmt.Errorf("list %d is two lists in one Plan", pl.ID)
	}
	return lp.view
}

// checkLists finds lists that nobody names any more, and such as changed behind the back of an unchanged point: its
// route would send on sockets that close.
func (p *prep) checkLists() {
	for id, lp := range p.lists {
		l := lp.list
		if lp.view != nil && l.refs > lp.released {
			p.err = fmt.Errorf("list %d changed, but not all routes that name it", id)
		}
		if l.refs+lp.taken > lp.released || l.view == nil {
			continue
		}
		for _, o := range l.view.all {
			if o.home == l {
				p.prepOf(o).from = l
			}
		}
	}
}

// prepOf is the work on o.
func (p *prep) prepOf(o *output) *outputPrep {
	if o.prep == nil {
		o.prep = &outputPrep{o: o}
		p.outputs = append(p.outputs, o.prep)
	}
	return o.prep
}

// compare walks the old and the new outputs of a list by ascending ID.
func (p *prep) compare(lp *listPrep) {
	l, now := lp.list, lp.view
	now.all = make([]*output, len(now.plan.Outputs))
	var before []*output
	if l.view != nil {
		before = l.view.all
	}
	last := plan.OutputID(0)
	for i, po := range now.plan.Outputs {
		if po == nil || (i > 0 && po.ID <= last) {
			p.err = fmt.Errorf("list %d: outputs are not ascending at position %d", l.id, i)
			return
		}
		last = po.ID
		for len(before) > 0 && before[0].id < po.ID {
			p.remove(before[0], l)
			before = before[1:]
		}
		if len(before) > 0 && before[0].id == po.ID {
			if o := before[0]; o.plan == po && o.home == l {
				now.all[i] = o
			} else {
				now.all[i] = p.want(po, l)
			}
			before = before[1:]
			continue
		}
		now.all[i] = p.want(po, l)
	}
	for _, o := range before {
		p.remove(o, l)
	}
}

func (p *prep) remove(o *output, l *list) {
	if o.home == l {
		p.prepOf(o).from = l
	}
}

// want notes that l is to hold po.
func (p *prep) want(po *plan.Output, l *list) *output {
	o := p.e.outputs[po.ID]
	if o == nil {
		if o = p.made[po.ID]; o == nil {
			o = &output{id: po.ID, tells: p.tells(po)}
			p.made[po.ID] = o
		}
	}
	op := p.prepOf(o)
	if op.to != nil && op.to != l {
		p.outputProblem(o, fmt.Errorf("output in list %d and list %d: %w", op.to.id, l.id, unix.EEXIST))
		return o
	}
	op.plan, op.to = po, l
	return o
}

func (p *prep) outputProblem(o *output, err error) {
	p.problems = append(p.problems, plan.Problem{Output: o.tells, Err: err})
}
