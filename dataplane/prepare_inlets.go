// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
	"mcr/dataplane/sock"
)

// openInlets gives each changed inlet a receive point on every shard that has outputs of its lists, and closes what is not
// needed any more. The primary point stays where it was first.
func (p *prep) openInlets() {
	for _, ip := range p.inlets {
		for _, pt := range ip.in.points {
			if pt.broken.Load() || pt.method != ip.plan.Method || !(pt.primary || ip.needs(pt.shard)) {
				ip.drop = append(ip.drop, pt)
				p.sockets -= pt.sockets()
			} else {
				ip.keep = append(ip.keep, pt)
			}
		}
	}
	for _, ip := range p.inlets {
		open := p.openInlet
		if ip.in.key.Port == 0 {
			open = p.openLearner
		}
		if err := open(ip); err != nil {
			p.pointProblem(ip.in.key, err)
		}
		for lg := range ip.view.legs() {
			for _, pt := range ip.keep {
				lg.list.tally(pt.shard)
			}
			for _, pt := range ip.add {
				lg.list.tally(pt.shard)
			}
		}
	}
}

// needs says that a shard has outputs of the inlet's lists.
func (ip *inletPrep) needs(s *shard) bool {
	for lg := range ip.view.legs() {
		if lg.parts[s.id] != noPart {
			return true
		}
	}
	return false
}

// openInlet opens what ip needs and has not. What is wanted of its points before and after is joined on all of them; what the
// old Plan alone wanted is left later.
func (p *prep) openInlet(ip *inletPrep) error {
	if len(ip.keep) > 0 {
		any, sources := joins(ip.plan)
		oldAny, oldSources := joins(ip.in.plan)
		for _, pt := range ip.keep {
			pt.pending = true
			if err := pt.member.Set(any || oldAny, slices.Concat(sources, oldSources)); err != nil {
				return err
			}
		}
	}
	if len(ip.keep) == 0 || !ip.keep[0].primary {
		if err := p.openPoint(ip, ip.first); err != nil {
			for _, pt := range ip.keep {
				p.sockets -= pt.sockets()
			}
			ip.keep, ip.drop = nil, append(ip.drop, ip.keep...) // without it nothing would be counted
			return err
		}
	}
	for _, s := range p.e.shards {
		has := func(pt *point) bool { return pt.shard == s }
		if !ip.needs(s) || slices.ContainsFunc(ip.keep, has) || slices.ContainsFunc(ip.add, has) {
			continue
		}
		err := errOnce
		if !ip.once() {
			err = p.openPoint(ip, s)
		}
		if err != nil && !p.deny(ip, s, err) {
			return err
		}
	}
	return nil
}

// once says that the kernel gives a datagram to one of several sockets alone: there can be no twins, and all outputs are on
// one shard.
func (ip *inletPrep) once() bool { return !ip.in.key.Group.IsMulticast() }

// errOnce is for an output that was made for other inputs, and came to one that is received on another shard.
var errOnce = fmt.Errorf("the input's address is not a group, so that one worker alone receives it, and this is an output of another: %w", unix.EXDEV)

// deny keeps outputs down whose shard could not be given a twin. It says whether these were all outputs of ip there.
func (p *prep) deny(ip *inletPrep, s *shard, err error) bool {
	all := true
	for lg := range ip.view.legs() {
		for _, o := range lg.all {
			switch {
			case o.shard != s:
			case o.prep == nil || o.prep.to != lg.list:
				all = false
			default:
				o.prep.denied = err
			}
		}
	}
	return all
}

// openPoint opens a receive point of ip for s and joins what the Plan wants.
func (p *prep) openPoint(ip *inletPrep, s *shard) error {
	np := ip.plan
	if !np.Group.Is4() || np.IfIndex <= 0 || np.Port == 0 {
		return fmt.Errorf("receive point %v: %w", np.PointKey, unix.EINVAL)
	}
	if p.full() || (s != ip.first && p.room() < 2) { // a twin without an output would be worth nothing
		return p.refuse(fmt.Sprintf("receive point %v", np.PointKey))
	}
	pt := &point{inlet: ip.in, shard: s, primary: s == ip.first, method: np.Method}
	pt.before = ip.on(s)
	stamps := pt.before != nil || (len(ip.in.points) == 0 && p.e.learnerOf(np.PointKey) != nil)
	if err := pt.open(np, p.settings.rcvbuf, stamps); err != nil {
		return err
	}
	if pt.before != nil {
		if !p.awaited { // once, however many points there are
			p.awaited, p.stamped = true, sock.AwaitStamps(stampWait)
		}
		pt.stamped = p.stamped
	}
	ip.add = append(ip.add, pt)
	p.sockets += pt.sockets()
	return nil
}

// on is the point on s that goes.
func (ip *inletPrep) on(s *shard) *point {
	for _, pt := range ip.drop {
		if pt.shard == s {
			return pt
		}
	}
	return nil
}

// open opens the socket of pt and joins what np wants. The membership is on that socket if it is a UDP one.
func (pt *point) open(np *plan.Point, rcvbuf int, stamps bool) (err error) {
	pt.opened = time.Now().UnixNano()
	sp := sock.Point{IfIndex: int(np.IfIndex), Group: np.Group, Port: np.Port, ReceiveBuffer: rcvbuf, Stamps: stamps}
	on := -1
	switch np.Method {
	case plan.MethodPacket:
		pt.fd, err = pt.openPacket(sp)
	default:
		pt.fd, err = sock.OpenPoint(sp)
		on = pt.fd
	}
	if err != nil {
		return err
	}
	pt.member = sock.NewMembership(on, sp)
	any, sources := joins(np)
	if err := pt.member.Set(any, sources); err != nil {
		pt.close()
		return err
	}
	return nil
}

// joins is what a point is to be a member of.
func joins(p *plan.Point) (any bool, sources []netip.Addr) {
	if p.JoinAny {
		return true, nil
	}
	return false, p.JoinSources
}
