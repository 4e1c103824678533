// SPDX-License-Identifier: Apache-2.0

package mroute

import (
	"time"

	"mcr/dataplane/plan"
	"mcr/mroute/mrib"
)

const (
	learnWait    = 5 * time.Millisecond // ports that are told within it make one Plan
	mostPending  = 1024                 // ports that wait for it; the learner tells the others again
	defaultHold  = 210 * time.Second
	reclaimEvery = 30 * time.Second
)

// learning is what the Router keeps about the ports that port learners tell of. It belongs to the loop.
type learning struct {
	pending []plan.PointKey  // told, and not in a table yet
	due     <-chan time.Time // when they get there; nil: there are none
	ports   map[plan.PointKey]*portWatch
	looked  time.Time // at ports
	claimed time.Time // when reclaim tried last
}

// portWatch follows the counters of the receive point of a learnt port.
type portWatch struct {
	packets uint64
	since   time.Time // nothing came
}

// heard takes in ports that a port learner saw.
func (r *Router) heard(ports []plan.PointKey) {
	l := &r.learning
	l.pending = append(l.pending, ports[:min(len(ports), mostPending-len(l.pending))]...)
	if l.due == nil && len(l.pending) > 0 {
		l.due = time.After(learnWait)
	}
}

// learn gives the ports that were told receive points and outputs, as far as there are sockets. Where there are none, the learner is
// told that it is full, and tells no more.
func (r *Router) learn() {
	l := &r.learning
	told := l.pending
	l.pending, l.due = nil, nil
	c := mrib.Change{Starved: map[plan.PointKey]bool{}}
	left := r.spareSockets()
	for _, k := range told {
		switch cost, ok := r.table.PortCost(k); {
		case !ok:
		case cost > left:
			c.Starved[plan.PointKey{IfIndex: k.IfIndex, Group: k.Group}] = true
		default:
			left -= cost
			c.Learn = append(c.Learn, k)
		}
	}
	r.restage(c, nil)
}

// spareSockets is how many sockets learnt ports may take yet: a tenth of all is kept for what is configured.
func (r *Router) spareSockets() int {
	i := r.dp.Info()
	return i.SocketLimit - i.SocketLimit/10 - i.InputSockets - i.OutputSockets
}

// watchPorts gives up learnt ports on which nothing came for the hold time, and such as could not be had for want of
// descriptors; and lets learners go on once there are sockets again.
func (r *Router) watchPorts() {
	l, now := &r.learning, r.now()
	c := mrib.Change{Starved: map[plan.PointKey]bool{}}
	for k := range r.table.Starved() {
		if cost, ok := r.table.PortCost(k); ok && cost <= r.spareSockets() {
			c.Starved[k] = false
		}
	}
	hold := r.cfg.PortLearner.Hold
	if hold == 0 {
		hold = defaultHold
	}
	if now.Sub(l.looked) >= min(max(hold/20, time.Second), 10*time.Second)-tickJitter {
		l.looked = now
		c.Forget = r.silentPorts(hold, now)
	}
	for k, p := range r.deaf {
		if scarce(p.err) && r.table.IsLearnt(k) {
			c.Forget = append(c.Forget, k)
			c.Starved[plan.PointKey{IfIndex: k.IfIndex, Group: k.Group}] = true
		}
	}
	if len(c.Starved)+len(c.Forget) > 0 {
		r.restage(c, nil)
	}
}

// silentPorts looks at all learnt ports and returns those that have been silent for the hold time.
func (r *Router) silentPorts(hold time.Duration, now time.Time) (silent []plan.PointKey) {
	watches := make(map[plan.PointKey]*portWatch, len(r.learning.ports))
	for k := range r.table.Learnt() {
		pc, _ := r.dp.Point(k)
		w := r.learning.ports[k]
		if w == nil || w.packets != pc.Packets {
			w = &portWatch{packets: pc.Packets, since: now}
		}
		if now.Sub(w.since) >= hold {
			silent = append(silent, k)
		}
		watches[k] = w
	}
	r.learning.ports = watches
	return silent
}

// reclaim tries whether receive points that do without their socket, since another one held the address, can have it now.
func (r *Router) reclaim() {
	now := r.now()
	if now.Sub(r.learning.claimed) < reclaimEvery {
		return
	}
	r.learning.claimed = now
	for k := range r.table.Taken() {
		next := r.stage(r.table, r.cfg, mrib.Change{Taken: map[plan.PointKey]bool{k: false}})
		a, err := r.dp.Prepare(r.plan(next, r.cfg))
		if err != nil {
			return // it was logged when it was staged for good
		}
		if failed(a.Problems(), k) {
			a.Discard()
			continue
		}
		b := r.batch()
		r.install(r.cfg, next, a, &b)
		r.emit(b)
	}
}

func failed(ps []plan.Problem, k plan.PointKey) bool {
	for _, p := range ps {
		if p.Output == 0 && p.Point == k {
			return true
		}
	}
	return false
}
