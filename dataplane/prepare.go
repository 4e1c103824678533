// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
	"mcr/dataplane/sock"
)

// prep is a Prepare under way, and then its plan.Adoption. It changes nothing that a reader or a worker sees; Commit
// does. An equal pointer in the Plan means unchanged, so that the work is that of the difference.
type prep struct {
	e        *Engine
	plan     *plan.Plan
	settings settings
	problems []plan.Problem
	err      error // the Plan contradicts itself

	points  []*pointPrep
	gone    []*point
	lists   map[plan.ListID]*listPrep
	routes  map[*plan.Route]*route
	outputs []*outputPrep
	made    map[plan.OutputID]*output // new

	limit   int // of sockets
	sockets int // opened less those that will close
}

// pointPrep is a point that is new or changed.
type pointPrep struct {
	pt     *point
	plan   *plan.Point
	view   *view
	fd     int // opened now; -1: not
	member *sock.Membership
}

// listPrep is a list that some changed point names, or named.
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
		e: e, plan: p, settings: settingsOf(p.Settings),
		lists: map[plan.ListID]*listPrep{}, routes: map[*plan.Route]*route{},
		made: map[plan.OutputID]*output{}, limit: e.limit,
	}
	if m := p.Settings.MaximumSockets; m > 0 {
		pr.limit = min(pr.limit, m)
	}
	if e.segmentErr != nil {
		pr.settings.segments = 1
	}
	pr.preparePoints()
	pr.checkLists()
	if pr.err != nil {
		pr.discard()
		return nil, pr.err
	}
	pr.prepareOutputs()
	pr.finishLists()
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
		pt := p.e.points[np.PointKey]
		_, old := rest[np.PointKey]
		if _, twice := met[np.PointKey]; twice || (pt != nil && !old) {
			p.pointProblem(np.PointKey, fmt.Errorf("receive point %v twice: %w", np.PointKey, unix.EEXIST))
			continue
		}
		met[np.PointKey] = struct{}{}
		delete(rest, np.PointKey)
		if pt == nil || pt.plan != np {
			change = append(change, np)
		}
	}
	for k := range rest { // first: what closes makes room under the limit
		if pt := p.e.points[k]; pt != nil {
			p.removePoint(pt)
		}
	}
	for _, np := range change {
		p.preparePoint(p.e.points[np.PointKey], np)
	}
}

func (p *prep) removePoint(pt *point) {
	p.gone = append(p.gone, pt)
	p.dropRoutes(pt.committed, nil)
	if pt.fd >= 0 {
		p.sockets--
	}
}

// preparePoint makes the new view of a point, and opens its socket if it has none.
func (p *prep) preparePoint(pt *point, np *plan.Point) {
	if pt != nil && pt.broken.Load() { // another one takes its place
		p.removePoint(pt)
		pt = nil
	}
	if pt == nil {
		pt = &point{key: np.PointKey, fd: -1}
	}
	pp := &pointPrep{pt: pt, plan: np, fd: -1, member: pt.member}
	p.points = append(p.points, pp)
	old := pt.committed
	pp.view = &view{plan: np, any: p.route(oldAny(old), np.Any), bySource: make(map[uint32]*route, len(np.BySource))}
	for src, r := range np.BySource {
		n := number(src)
		if n == 0 {
			p.pointProblem(np.PointKey, fmt.Errorf("source %v: %w", src, unix.EAFNOSUPPORT))
			continue
		}
		pp.view.bySource[n] = p.route(oldSource(old, n), r)
	}
	p.dropRoutes(old, pp.view)
	if err := p.open(pp); err != nil {
		p.pointProblem(np.PointKey, err)
	}
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

// open gives pp its socket, and joins what the old and the new Plan want; what the old alone wanted is left later.
func (p *prep) open(pp *pointPrep) error {
	pt, np := pp.pt, pp.plan
	any, sources := joins(np)
	if pt.fd >= 0 {
		oldAny, oldSources := joins(pt.plan)
		pt.pending = true
		return pt.member.Set(any || oldAny, slices.Concat(sources, oldSources))
	}
	if !np.Group.Is4() || np.IfIndex <= 0 || np.Port == 0 {
		return fmt.Errorf("receive point %v: %w", np.PointKey, unix.EINVAL)
	}
	if p.full() {
		return fmt.Errorf("receive point %v: the limit is %d sockets: %w", np.PointKey, p.limit, unix.EMFILE)
	}
	sp := sock.Point{IfIndex: int(np.IfIndex), Group: np.Group, Port: np.Port, ReceiveBuffer: p.settings.rcvbuf}
	fd, err := sock.OpenPoint(sp)
	if err != nil {
		return err
	}
	m := sock.NewMembership(fd, sp)
	if err := m.Set(any, sources); err != nil {
		m.Close()
		unix.Close(fd)
		return err
	}
	pp.fd, pp.member = fd, m
	p.sockets++
	return nil
}

// joins is what a point is to be a member of.
func joins(p *plan.Point) (any bool, sources []netip.Addr) {
	if p.JoinAny {
		return true, nil
	}
	return false, p.JoinSources
}

func (p *prep) full() bool { return p.e.sockets+p.sockets >= p.limit }
