// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"mcr/dataplane/plan"
)

// Output returns counters and status of an output of the committed Plan, with those of its instances.
func (e *Engine) Output(id plan.OutputID) (plan.OutputCounters, plan.OutputStatus, bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	o := e.outputs[id]
	if o == nil {
		return plan.OutputCounters{}, plan.OutputStatus{}, false
	}
	return o.sums(), e.statusOf(o), true
}

// Outputs calls f for each of ids that there is. It costs less than asking one by one.
func (e *Engine) Outputs(ids []plan.OutputID, f func(plan.OutputID, plan.OutputCounters, plan.OutputStatus)) {
	const atATime = 256 // then a Commit may come in between
	for len(ids) > 0 {
		n := min(len(ids), atATime)
		e.mu.RLock()
		for _, id := range ids[:n] {
			if o := e.outputs[id]; o != nil {
				f(id, o.sums(), e.statusOf(o))
			}
		}
		e.mu.RUnlock()
		ids = ids[n:]
	}
}

func (e *Engine) statusOf(o *output) plan.OutputStatus {
	var s plan.OutputStatus
	addStatus(&s, o)
	s.GSOUsed, s.GSOReason = e.segmentation(o)
	return s
}

// segmentation says whether runs to o are segmented by the kernel, and why.
func (e *Engine) segmentation(o *output) (bool, string) {
	off := o.outgoing.off.Load()
	switch {
	case e.segmentErr != nil:
		return false, e.segmentErr.Error()
	case e.set.segments == 1:
		return false, "gso-max-segments is 1"
	case off&offConfigured != 0:
		return false, "switched off for the interface"
	case off&offRefused != 0:
		return false, "the interface refused it"
	case o.plan.MTU <= overhead:
		return false, "the MTU is not known"
	}
	if most := e.segmentLimit; e.plan.Settings.GSOMaxSegments > most {
		return true, fmt.Sprintf("for datagrams that fit the MTU, %d at a time: the kernel takes no more", most)
	}
	return true, "for datagrams that fit the MTU"
}

// List returns the counters of a list of the committed Plan.
func (e *Engine) List(id plan.ListID) (plan.ListCounters, bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	l := e.lists[id]
	if l == nil {
		return plan.ListCounters{}, false
	}
	c := plan.ListCounters{Looped: l.looped.Load()}
	var last int64
	for i := range l.tallies {
		if t := l.tallies[i].Load(); t != nil {
			c.Packets += t.out.packets.Load()
			c.Octets += t.out.octets.Load()
			c.DroppedTTL += t.droppedTTL.Load()
			c.DroppedLoop += t.droppedLoop.Load()
			last = max(last, t.last.Load())
		}
	}
	if last != 0 {
		c.LastPacketTime = time.Unix(0, last)
	}
	return c, true
}

// Point returns the counters of a receive point of the committed Plan; those of a port learner have what all ports of its
// group counted.
func (e *Engine) Point(k plan.PointKey) (plan.PointCounters, bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	in := e.points[k]
	if in == nil {
		return plan.PointCounters{}, false
	}
	if k.Port == 0 {
		return e.groups[k].counters(e), true
	}
	return in.counters(e), true
}

// Totals returns the sums of the whole dataplane, since it began.
func (e *Engine) Totals() plan.TotalCounters {
	var t plan.TotalCounters
	for _, seat := range e.seats {
		s := &seat.stats
		t.InPackets += s.in.packets.Load()
		t.InOctets += s.in.octets.Load()
		lost, lostOctets := s.lost.packets.Load(), s.lost.octets.Load() // before tried, which is counted first
		t.OutPackets += s.tried.packets.Load() - lost
		t.OutOctets += s.tried.octets.Load() - lostOctets
		t.Errors += s.errors.Load()
		t.NoMatch += s.noMatch.Load()
		t.NoBuffer += s.noBuffer.Load()
		t.CompletionOverflows += s.overflows.Load()
		t.ZeroCopySends += s.zeroCopy.Load()
		t.ZeroCopyCopied += s.zeroCopied.Load()
	}
	t.LostAtHandOver = e.learners.lostAll()
	t.ChecksumErrors = e.checksumErrors()
	return t
}

// Workers returns the sums of each worker. Those of a number go on over restarts of the workers.
func (e *Engine) Workers() []plan.WorkerCounters {
	e.mu.RLock()
	defer e.mu.RUnlock()
	c, now := make([]plan.WorkerCounters, len(e.workers)), time.Now()
	for i, w := range e.workers {
		s := &w.stats
		c[i] = plan.WorkerCounters{
			Packets: s.in.packets.Load() + s.twin.packets.Load(), Octets: s.in.octets.Load() + s.twin.octets.Load(),
			Runs: s.runs.Load(), Sends: s.sends.Load(), Wakeups: s.wakeups.Load(),
		}
		c[i].ResidenceP50, c[i].ResidenceP99 = w.residence.quantiles(now)
	}
	return c
}

// checksumErrors is UdpInCsumErrors of the network namespace. It notes RcvbufErrors on the way.
func (e *Engine) checksumErrors() uint64 {
	if e.snmp == nil {
		return 0
	}
	b := make([]byte, 8192)
	n, _ := e.snmp.ReadAt(b, 0) // io.EOF as a rule
	e.queueFull.Store(snmpValue(b[:n], "Udp:", "RcvbufErrors"))
	return snmpValue(b[:n], "Udp:", "InCsumErrors")
}

// snmpValue finds a value in the form of /proc/net/snmp: for each protocol a line of names and a line of values.
func snmpValue(b []byte, protocol, name string) uint64 {
	var names [][]byte
	for line := range bytes.Lines(b) {
		f := bytes.Fields(line)
		if len(f) == 0 || string(f[0]) != protocol {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		for i, n := range names {
			if string(n) == name && i < len(f) {
				v, _ := strconv.ParseUint(string(f[i]), 10, 64)
				return v
			}
		}
		return 0
	}
	return 0
}
