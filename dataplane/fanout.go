// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
	"mcr/dataplane/sock"
)

// A ref names a send. Its lowest bits are the place in the shard's outputs of a leg; from refSingle on it has 0 for the whole run, or one more than
// the place of a single datagram in it; from refLeg on the leg. It has refBits in all.
const (
	refSingle = 24
	refLeg    = 32
	refBits   = 40
)

// fan sends the run to every output of its route. Those that need care come last, when the sends to the others have left:
// what a dead branch costs, its siblings do not wait for.
func (w *worker) fan() error {
	w.later = w.later[:0]
	w.spreadAll()
	if len(w.later) == 0 {
		return nil
	}
	if err := w.be.flush(); err != nil {
		return err
	}
	for _, o := range w.later {
		w.aside(o)
	}
	return nil
}

func (w *worker) spreadAll() {
	r := &w.run
	w.shard = r.pt.shard
	if w.route = r.pt.view.find(r.src); w.route == nil {
		if r.pt.primary {
			r.pt.noMatch.Add(uint64(r.segs))
			w.stats.noMatch.Add(uint64(r.segs))
		}
		return
	}
	if w.inspect(); r.segs == 0 {
		return
	}
	if mode := w.settings.zeroCopy; mode != plan.ZeroCopyOff && zeroCopyWorth(mode, r.bytes, w.route.sends(w.shard.id)) {
		r.pinned = w.be.pin(r)
	}
	if !r.pinned && joinWorth(r.niov, w.route.sends(w.shard.id)) {
		r.move(r.joined)
	}
	for i := range w.route.legs {
		w.spread(uint64(i)<<refLeg, &w.route.legs[i])
	}
}

// spread sends the run to the shard's outputs of one leg.
func (w *worker) spread(ref uint64, lg *leg) {
	r := &w.run
	packets, octets := uint64(r.segs), uint64(r.bytes)
	t, part := lg.list.tallies[w.shard.id].Load(), lg.parts[w.shard.id]
	if r.ttl < lg.minTTL || lg.blocked || lg.list.looped.Load() {
		if r.pt.primary {
			t.drop(r.ttl < lg.minTTL, packets)
		}
		return
	}
	t.previous = t.last.Load()
	t.last.Store(w.now)
	if r.pt.primary {
		t.out.add(packets, octets)
	} else {
		t.twin.add(packets, octets)
	}
	for _, p := range lg.skip {
		if o := lg.all[p]; o.shard == w.shard {
			o.passOver(packets, octets)
		}
	}
	skip, tried, sends := lg.skip, uint64(0), uint64(0)
	for i, o := range part.up {
		if len(skip) > 0 {
			for len(skip) > 0 && skip[0] < part.pos[i] {
				skip = skip[1:]
			}
			if len(skip) > 0 && skip[0] == part.pos[i] {
				continue
			}
		}
		v := r.variant(o)
		if o.state.Load() != 0 || o.dst == r.src || r.spent(v) {
			w.later = append(w.later, o) // room for all was made with the table
			continue
		}
		tried++
		if w.whole(o) {
			sends++
			w.be.send(ref|uint64(i), o, r.header(v))
			w.turn.sent()
			continue
		}
		sends += packets
		for k, hs := 0, r.singles(v); k < len(hs); k++ {
			w.be.send(ref|uint64(k+1)<<refSingle|uint64(i), o, &hs[k])
			w.turn.sent()
		}
	}
	w.stats.sends.Add(sends)
	w.stats.tried.add(tried*packets, tried*octets)
}

// whole says that o takes the run in one send.
func (w *worker) whole(o *output) bool {
	return w.run.segs == 1 || (w.run.seg <= o.maxSeg && o.egress.off.Load() == 0)
}

// passOver counts datagrams that another list serves.
func (o *output) passOver(packets, octets uint64) {
	if o.up.Load() {
		o.unsent.add(packets, octets)
	} else {
		o.skippedDown.Add(packets)
	}
}

// aside sends the run to an output that needs care, or does not send it. All it sends leaves at once; in the order of
// the output, since nothing of it is queued.
func (w *worker) aside(o *output) {
	r := &w.run
	packets, octets := uint64(r.segs), uint64(r.bytes)
	switch state := o.state.Load(); {
	case o.dst == r.src: // never back to the sender
		o.unsent.add(packets, octets)
		o.dropped.Add(packets)
	case r.spent(r.variant(o)):
		if state&stTTLLow == 0 {
			w.sentBefore(o)
			o.state.Or(stTTLLow)
			w.notify(notice{output: o})
		}
		o.ttlSkip = w.now
		o.unsent.add(packets, octets)
		o.skippedTTL.Add(packets)
	default:
		if state&stTTLLow != 0 && w.now-o.ttlSkip >= int64(ttlQuietTime) {
			o.state.And(^uint32(stTTLLow))
			w.notify(notice{output: o})
		}
		w.stats.tried.add(packets, octets)
		if o.backsOff(w.now) {
			w.lose(o, r.segs, r.bytes)
		} else {
			w.deliver(o, 0)
		}
	}
}

// failed is told by the back end that a send failed, before the next run is made. A single datagram that is sent again comes behind those
// of its run that were queued with it: once for an ICMP, since what failed lately goes aside.
func (w *worker) failed(ref uint64, e unix.Errno) {
	o := w.route.legs[ref>>refLeg].parts[w.shard.id].up[ref&(1<<refSingle-1)]
	if single(ref) {
		w.deliverSingle(o, int(uint8(ref>>refSingle))-1, e)
		return
	}
	w.deliver(o, e)
}

// single says that ref names a send of one datagram of a run.
func single(ref uint64) bool { return uint8(ref>>refSingle) != 0 }

// deliver brings the run to o, at once. e is how the first try ended; 0: not tried yet.
func (w *worker) deliver(o *output, e unix.Errno) {
	r := &w.run
	if !w.whole(o) {
		w.deliverSingly(o)
		return
	}
	h := r.header(r.variant(o))
	if e == 0 {
		e = sock.Send(o.fd, h)
		w.stats.sends.Add(1)
	}
	if e = w.again(o, h, e); e == 0 {
		w.succeeded(o)
		return
	}
	if r.segs > 1 {
		switch e {
		case unix.EIO, unix.EINVAL:
			w.deliverSingly(o)
			if o.fails == 0 { // so this device cannot have it segmented, until its link changes
				o.egress.off.Or(offRefused)
				w.notify(notice{output: o})
			}
			return
		case unix.EMSGSIZE: // the MTU is smaller than we know
			w.deliverSingly(o)
			return
		}
	}
	w.stumble(o, e)
	w.lose(o, r.segs, r.bytes)
}

// deliverSingly sends the run's datagrams one by one.
func (w *worker) deliverSingly(o *output) {
	for k := range w.run.segs {
		w.deliverSingle(o, k, 0)
	}
}

// deliverSingle brings datagram k of the run to o, at once, unless o backs off by now: the others need not wait for all of the run to
// be repeated in vain. e is how the first try ended; 0: not tried yet.
func (w *worker) deliverSingle(o *output, k int, e unix.Errno) {
	r := &w.run
	size := min(r.seg, r.bytes-k*r.seg)
	if o.backsOff(w.now) {
		if e != 0 {
			w.count(o, e)
		}
		w.lose(o, 1, size)
		return
	}
	h := &r.singles(r.variant(o))[k]
	if e == 0 {
		e = sock.Send(o.fd, h)
		w.stats.sends.Add(1)
		w.turn.sent()
	}
	if e = w.again(o, h, e); e == 0 {
		w.succeeded(o)
		return
	}
	w.stumble(o, e)
	w.lose(o, 1, size)
}

// again counts e, and tries once more where e may stem from an earlier ICMP: the kernel reports that instead of
// sending. It returns how the last try ended.
func (w *worker) again(o *output, h *unix.Msghdr, e unix.Errno) unix.Errno {
	if e == 0 {
		return 0
	}
	w.count(o, e)
	for try := 0; ofICMP(e) && try < retries; try++ {
		w.stats.sends.Add(1)
		last := e
		if e = sock.Send(o.fd, h); e != 0 {
			w.count(o, e)
			continue
		}
		// So it was an ICMP. Some say that the port is closed, or that nobody has the address, or that there is no way on.
		w.note(o, last)
		if c := classOf(last); c == errRefused || c == errUnreachable {
			w.mark(o, stCareful|stRefused|stFailing)
		} else {
			w.mark(o, stCareful)
		}
		return 0
	}
	w.note(o, e)
	return e
}

// count counts an errno.
func (w *worker) count(o *output, e unix.Errno) { o.errnos[classOf(e)].Add(1) }

// note keeps the latest errno, which is why o fails. One that a repetition came behind is not: WireGuard answers what it does not take with
// an ICMP as well (wg_xmit, drivers/net/wireguard/device.c), which the next send meets before the true reason.
func (w *worker) note(o *output, e unix.Errno) {
	o.lastErrno.Store(uint32(e))
	o.lastError.Store(w.now)
	if e == unix.ECONNREFUSED {
		w.mark(o, stCareful|stRefused|stFailing)
	}
}

// stumble notes that o failed for good. After backOffAfter times in a row it counts as failing, and is tried seldom; but a
// full queue empties, and what fits in then is to be sent.
func (w *worker) stumble(o *output, e unix.Errno) {
	o.fails++
	bits := uint32(stCareful)
	if o.fails >= backOffAfter {
		bits |= stFailing
		if classOf(e) != errNoBuffer {
			o.nextTry = w.now + int64(backOffTime)
		}
	}
	w.mark(o, bits)
}

func (o *output) backsOff(now int64) bool { return o.fails >= backOffAfter && now < o.nextTry }

// lose counts datagrams that are given up.
func (w *worker) lose(o *output, packets, octets int) {
	o.errors.Add(uint64(packets))
	o.unsent.add(uint64(packets), uint64(octets))
	w.stats.errors.Add(uint64(packets))
	w.stats.lost.add(uint64(packets), uint64(octets))
}

// succeeded notes that a send to o went out. It matters only where something failed lately.
func (w *worker) succeeded(o *output) {
	state := o.state.Load()
	if state == 0 {
		return
	}
	o.lastSent.Store(w.now)
	if state&stCareful == 0 {
		return
	}
	o.fails, o.nextTry = 0, 0
	over := uint32(0)
	switch since := w.now - o.lastError.Load(); {
	case since >= int64(quietTime):
		over = stCareful | stFailing | stRefused
	case since >= int64(calmTime) && state&stRefused == 0:
		over = stFailing
	}
	if over&state == 0 {
		return
	}
	o.state.And(^over)
	if over&state&stFailing != 0 {
		w.notify(notice{output: o})
	}
}

// sentBefore keeps when o last sent, before o.state says that the list's time does not tell. The run under way is
// counted already.
func (w *worker) sentBefore(o *output) {
	t := o.tally.Load()
	if packets, _ := t.since(&o.base); o.state.Load() == 0 && packets > uint64(w.run.segs) {
		o.lastSent.Store(t.previous)
	}
}

// mark sets bits of o.state, and tells if it is failing from now on.
func (w *worker) mark(o *output, bits uint32) {
	state := o.state.Load()
	if state&bits == bits {
		return
	}
	w.sentBefore(o)
	o.state.Or(bits)
	if bits&stFailing != 0 && state&stFailing == 0 {
		w.notify(notice{output: o})
	}
}
