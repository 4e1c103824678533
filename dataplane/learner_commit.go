// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"mcr/dataplane/afpacket"
	"mcr/dataplane/plan"
	"mcr/dataplane/sock"
)

// What the control side does with learners. Prepare opens one, deaf; Commit makes it hear.

// learnerOf returns the learner that looks for k's port, of the committed Plan, or nil.
func (e *Engine) learnerOf(k plan.PointKey) *learner {
	k.Port = 0
	if in := e.points[k]; in != nil {
		return in.learner
	}
	return nil
}

// openLearner opens ip's learner, or joins what it wants as well as the old Plan.
func (p *prep) openLearner(ip *inletPrep) error {
	np := ip.plan
	any, sources := joins(np)
	if l := ip.in.learner; l != nil {
		oldAny, oldSources := joins(ip.in.plan)
		l.pending = true
		return l.member.Set(any || oldAny, slices.Concat(sources, oldSources))
	}
	if !np.Group.Is4() || !np.Group.IsMulticast() || np.IfIndex <= 0 {
		return fmt.Errorf("port learner %v: %w", np.PointKey, unix.EINVAL)
	}
	if p.full() {
		return p.refuse(fmt.Sprintf("port learner %v", np.PointKey))
	}
	fd, err := afpacket.Open(afpacket.Config{IfIndex: int(np.IfIndex), Filter: afpacket.Filter{Group: number(np.Group)}, Stamps: true})
	if err != nil {
		return err
	}
	l := &learner{in: ip.in, fd: fd, asked: map[uint16]*askedPort{}, full: true}
	l.member = sock.NewMembership(-1, sock.Point{IfIndex: int(np.IfIndex), Group: np.Group})
	if err = afpacket.Mute(fd); err == nil {
		err = l.member.Set(any, sources)
	}
	if err != nil {
		l.close()
		return err
	}
	ip.learner = l
	p.sockets += 2
	return nil
}

func (l *learner) close() {
	l.member.Close()
	unix.Close(l.fd)
}

func (p *prep) discardLearner(ip *inletPrep) {
	if ip.learner != nil {
		ip.learner.close()
	}
	if l := ip.in.learner; l != nil && l.pending {
		l.pending = false
		p.e.narrowLearner(l)
	}
}

// narrowLearner leaves what the committed Plan does not want of l.
func (e *Engine) narrowLearner(l *learner) {
	if l.pending || e.points[l.in.key] != l.in {
		return
	}
	if err := l.member.Set(joins(l.in.plan)); err != nil {
		e.log.Warn("joined more than wanted", "group", l.in.key.Group, "interface", l.in.plan.IfName, "err", err)
	}
}

// handOver gives new points what the learner of their group has kept for them.
func (p *prep) handOver() {
	for _, ip := range p.inlets {
		l := p.e.learnerOf(ip.in.key)
		if l == nil || ip.in.key.Port == 0 {
			continue
		}
		for i, pt := range ip.add {
			switch {
			case len(ip.in.points) > 0:
				p.e.learners.took(l, pt.key.Port)
				continue
			case i == 0:
				pt.kept = p.e.learners.handOver(l, pt)
			default: // a twin
				p.e.learners.took(l, pt.key.Port)
				pt.kept = ip.add[0].kept
			}
			pt.hand = pt.kept
		}
	}
}

// commitLearners makes the learners hear what the Plan wants, once all its points are known.
func (p *prep) commitLearners(a *adoption) {
	e := p.e
	for _, in := range p.gone {
		if in.learner != nil {
			a.learners = append(a.learners, in.learner)
			e.learners.deafen(in.learner)
		}
	}
	for _, ip := range p.inlets {
		if l := ip.in.learner; l != nil {
			l.pending = false
			a.narrow = append(a.narrow, l)
			e.learners.change(l, ip.view, ip.plan.Full, p.settings.rcvbuf)
		}
		if l := ip.learner; l != nil {
			ip.in.learner = l
			e.learners.add(l, ip.view, ip.plan.Full, e.busyPorts(l.in.key), p.settings.rcvbuf)
		}
	}
}

// busyPorts are the ports of the group that points receive, those included that some worker has not let go yet.
func (e *Engine) busyPorts(k plan.PointKey) map[uint16]int {
	busy := map[uint16]int{}
	see := func(pts []*point) {
		for _, pt := range pts {
			if pt.key.IfIndex == k.IfIndex && pt.key.Group == k.Group {
				busy[pt.key.Port]++
			}
		}
	}
	for _, in := range e.points {
		see(in.points)
	}
	for _, a := range e.retired {
		for i := range a.shares {
			see(a.shares[i].removePoints)
		}
	}
	return busy
}

// leave tells the learners which ports have no point any more, after a was adopted.
func (e *Engine) leave(a *adoption) {
	for i := range a.shares {
		for _, pt := range a.shares[i].removePoints {
			e.mu.RLock()
			l := e.learnerOf(pt.key)
			e.mu.RUnlock()
			if l != nil {
				e.learners.left(l, pt.key.Port)
			}
			if h := pt.hand; h != nil { // the worker is done with it
				h.over.Store(true)
			}
		}
		for _, pt := range a.shares[i].addPoints {
			if pt.kept != nil {
				e.learners.freeHand(pt.kept)
			}
		}
	}
}

// add makes l hear. busy are the ports that have points.
func (ls *learners) add(l *learner, v *view, full bool, busy map[uint16]int, rcvbuf int) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l.view, l.busy = v, busy
	ls.byFD[l.fd] = l
	if full {
		ls.filter(l)
		sock.SetReceiveBuffer(l.fd, 0) //nolint:errcheck // then more is queued
		return
	}
	l.hear(ls, false, rcvbuf)
}

// change gives l another view.
func (ls *learners) change(l *learner, v *view, full bool, rcvbuf int) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l.view = v
	if l.full != full {
		l.hear(ls, full, rcvbuf)
	}
}

// hear changes whether l is full: then nothing is read or kept, the kernel counts. Its queue takes next to nothing, so that a flood
// costs the filter and no more.
func (l *learner) hear(ls *learners, full bool, rcvbuf int) {
	if full {
		ls.drain(l)
		for port, p := range l.asked {
			delete(l.asked, port)
			l.limit += p.kept() + p.missed()
			ls.free(p.hand)
		}
		ls.watch(l, unix.EPOLL_CTL_DEL)
		ls.statistics(l)
		l.full = true
		ls.filter(l)
		sock.SetReceiveBuffer(l.fd, 0) //nolint:errcheck // then more is queued
		return
	}
	afpacket.Mute(l.fd) //nolint:errcheck // then some are counted twice
	sock.Drain(int32(l.fd))
	ls.statistics(l)
	l.full = false
	sock.SetReceiveBuffer(l.fd, rcvbuf) //nolint:errcheck // then it has little
	ls.filter(l)
	ls.watch(l, unix.EPOLL_CTL_ADD)
}

func (ls *learners) watch(l *learner, op int) {
	rc, err := ls.poll.SyscallConn()
	if err != nil {
		return // closed
	}
	rc.Control(func(fd uintptr) { //nolint:errcheck // closed
		ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(l.fd)}
		if err := unix.EpollCtl(int(fd), op, l.fd, &ev); err != nil {
			ls.log.Warn("the port learner is not watched", "group", l.in.key.Group, "err", err)
		}
	})
}

// statistics counts what the kernel did not queue, or all that came while l is full.
func (ls *learners) statistics(l *learner) {
	came, lost := afpacket.Statistics(l.fd)
	if l.full {
		l.limit += came
	} else {
		ls.lost += lost
	}
}

// handOver gives the port of pt, whose socket is open, to pt. All that came to the port is on the one socket or on the other then, or
// on both.
func (ls *learners) handOver(l *learner, pt *point) *handOver {
	port := pt.key.Port
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l.busy[port]++
	ls.filter(l)
	l.busy[port]-- // what waits is taken as before
	if !l.full {
		ls.drain(l)
	}
	l.busy[port]++
	p := l.asked[port]
	if p == nil {
		p = &askedPort{hand: &handOver{}}
	}
	delete(l.asked, port)
	missed := p.missed()
	if p.under && missed > 0 && pt.method == plan.MethodSocket { // its rest is still to come, and with it the kernel has it whole for pt
		missed--
	}
	p.hand.seal(missed, pt.opened)
	if p.begun > 0 {
		ls.filter(l)
	}
	ls.hands = append(ls.hands, p.hand)
	return p.hand
}

// took notes that another socket for port is there, and left that one has gone: nothing comes to it any more.
func (ls *learners) took(l *learner, port uint16) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l.busy[port]++; l.busy[port] == 1 {
		ls.filter(l)
	}
}

func (ls *learners) left(l *learner, port uint16) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l.busy[port]--; l.busy[port] <= 0 {
		delete(l.busy, port)
		ls.filter(l)
	}
}

// remove forgets l, whose socket is closed next.
func (ls *learners) remove(l *learner) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, p := range l.asked {
		ls.lost += p.kept() + p.missed()
		ls.free(p.hand)
	}
	l.asked = nil
	delete(ls.byFD, l.fd)
}

// deafen ends what l tells and keeps, before it is removed.
func (ls *learners) deafen(l *learner) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.statistics(l)
	delete(ls.byFD, l.fd)
	if !l.full {
		ls.watch(l, unix.EPOLL_CTL_DEL)
	}
}

// resize changes how much waits for l.
func (ls *learners) resize(l *learner, rcvbuf int) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if !l.full {
		sock.SetReceiveBuffer(l.fd, rcvbuf) //nolint:errcheck // the old size goes on
	}
}

// limited is how many datagrams came to ports beyond the limit.
func (ls *learners) limited(l *learner) uint64 {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.byFD[l.fd] == l {
		ls.statistics(l)
	}
	return l.limit
}

// lostAll is how many datagrams the hand-overs of all learners lost.
func (ls *learners) lostAll() uint64 {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, l := range ls.byFD {
		ls.statistics(l)
	}
	now, open, sum := time.Now(), ls.hands[:0], uint64(0)
	for _, h := range ls.hands {
		n, final := h.lost(now)
		if final {
			ls.lost += n
			continue
		}
		sum += n
		open = append(open, h)
	}
	clear(ls.hands[len(open):])
	ls.hands = open
	return ls.lost + sum
}

// freeHand is free, for others.
func (ls *learners) freeHand(h *handOver) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.free(h)
}
