// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

// prep is a Prepare under way, and then its plan.Adoption. It changes nothing that a reader or a worker sees; Commit
// does. An equal pointer in the Plan means unchanged, so that the work is that of the difference.
type prep struct {
	e        *Engine
	plan     *plan.Plan
	settings settings
	problems []plan.Problem
	err      error // the Plan contradicts itself

	inlets  []*inletPrep
	gone    []*inlet
	lists   map[plan.ListID]*listPrep
	routes  map[*plan.Route]*route
	outputs []*outputPrep
	made    map[plan.OutputID]*output // new

	branchPorts map[*output]uint16 // source ports that branches were given now

	load    []int // of the shards, with what this Plan adds
	stamped bool  // the kernel stamps all that arrives, for the points that take the place of others
	awaited bool  // whether it does was found out
	limit   int   // of sockets
	sockets int   // opened less those that will close
	short   *shortage
}

// inletPrep is an inlet that is new or changed.
type inletPrep struct {
	in   *inlet
	plan *plan.Point
	view *view

	first *shard   // of the primary point
	keep  []*point // the primary one first
	add   []*point // opened now; the primary one first
	drop  []*point

	learner *learner // opened now, where the port is 0
}

// listPrep is a list that some changed inlet names, or named.
type listPrep struct {
	list            *list
	view            *fanout // new; nil: unchanged
	taken, released int     // legs
}

// outputPrep is an output that is new, changed, moved or gone.
type outputPrep struct {
	o        *output
	plan     *plan.Output
	from, to *list // removed from, wanted in
	up       bool
	sock     *socket // from now on; nil: none
	opened   bool    // sock is new
	header   bool    // sock is the old one, with another TTL or TOS
	denied   error   // nothing is received for it on its shard
	egress   *egress
}

// Prepare makes p ready: it opens what p needs and has not yet, and computes what has to change. Traffic is not touched.
// What cannot be had is a Problem of the Adoption: that point or output does not work, and is tried again when a later
// Plan holds another pointer for it. The error is for a Plan that contradicts itself, and for an Engine that has ended.
func (e *Engine) Prepare(p *plan.Plan) (plan.Adoption, error) {
	e.prepMu.Lock()
	defer e.prepMu.Unlock()
	switch {
	case e.closed:
		return nil, ErrClosed
	case e.prepared != nil:
		return nil, errors.New("the Plan prepared before was neither committed nor discarded")
	case p == nil:
		return nil, errors.New("no Plan")
	}
	pr := &prep{
		e: e, plan: p, settings: settingsOf(p.Settings, len(e.shards)),
		lists: map[plan.ListID]*listPrep{}, routes: map[*plan.Route]*route{},
		made: map[plan.OutputID]*output{}, limit: e.limit,
	}
	if m := p.Settings.MaximumSockets; m > 0 {
		pr.limit = min(pr.limit, m)
	}
	pr.short = &shortage{limit: pr.limit}
	pr.settings.segments = min(pr.settings.segments, e.segmentLimit)
	if e.segmentErr != nil {
		pr.settings.segments = 1
	}
	pr.checkSettings()
	pr.preparePoints()
	pr.checkLists()
	if pr.err != nil {
		pr.discard()
		return nil, pr.err
	}
	pr.place()
	pr.openInlets()
	pr.prepareOutputs()
	pr.finishLists()
	pr.checkLimit()
	slices.SortFunc(pr.problems, func(a, b plan.Problem) int { return int(a.Output) - int(b.Output) })
	e.prepared = pr
	return pr, nil
}

// Problems lists what will not work.
func (p *prep) Problems() []plan.Problem { return p.problems }

func (p *prep) pointProblem(k plan.PointKey, err error) {
	p.problems = append(p.problems, plan.Problem{Point: k, Err: err})
}

// preparePoints finds the points that differ.
func (p *prep) preparePoints() {
	before, after := p.e.plan.Points, p.plan.Points
	rest := map[plan.PointKey]struct{}{} // of before, not yet met in after
	var differ []*plan.Point
	for i := range max(len(before), len(after)) {
		if i < len(before) && i < len(after) && before[i] == after[i] {
			continue
		}
		if i < len(before) && before[i] != nil {
			rest[before[i].PointKey] = struct{}{}
		}
		if i < len(after) && after[i] != nil {
			differ = append(differ, after[i])
		}
	}
	met := map[plan.PointKey]struct{}{}
	var change []*plan.Point
	for _, np := range differ {
		in := p.e.points[np.PointKey]
		_, old := rest[np.PointKey]
		if _, twice := met[np.PointKey]; twice || (in != nil && !old) {
			p.pointProblem(np.PointKey, fmt.Errorf("receive point %v twice: %w", np.PointKey, unix.EEXIST))
			continue
		}
		met[np.PointKey] = struct{}{}
		delete(rest, np.PointKey)
		if in == nil || in.plan != np {
			change = append(change, np)
		}
	}
	for k := range rest { // first: what closes makes room under the limit
		if in := p.e.points[k]; in != nil {
			p.gone = append(p.gone, in)
			p.dropRoutes(in.committed, nil)
			p.sockets -= in.sockets()
		}
	}
	for _, np := range change {
		p.prepareInlet(p.e.points[np.PointKey], np)
	}
}

// prepareInlet makes the new view of an inlet.
func (p *prep) prepareInlet(in *inlet, np *plan.Point) {
	if in == nil {
		in = &inlet{key: np.PointKey}
	}
	ip := &inletPrep{in: in, plan: np}
	p.inlets = append(p.inlets, ip)
	old := in.committed
	ip.view = &view{plan: np, any: p.route(oldAny(old), np.Any), bySource: make(map[uint32]*route, len(np.BySource))}
	for src, r := range np.BySource {
		n := number(src)
		if n == 0 {
			p.pointProblem(np.PointKey, fmt.Errorf("source %v: %w", src, unix.EAFNOSUPPORT))
			continue
		}
		ip.view.bySource[n] = p.route(oldSource(old, n), r)
	}
	p.dropRoutes(old, ip.view)
}

func oldAny(v *view) *route {
	if v == nil {
		return nil
	}
	return v.any
}

func oldSource(v *view, src uint32) *route {
	if v == nil {
		return nil
	}
	return v.bySource[src]
}
