// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"math/bits"

	"golang.org/x/sys/unix"

	"mcr/dataplane/loop"
)

// inspect looks whether the run's datagrams are copies that come back, and takes those out of it that are to be withheld. It
// may leave nothing.
func (w *worker) inspect() {
	r := &w.run
	d := &r.pt.loops
	if r.niov == 0 {
		s := d.Hear(w.now, loop.Key(r.src, r.ports[0]))
		if !d.Quick(w.now, s, nil) && w.look(s, nil) {
			r.segs = 0
			w.withheld(1)
		}
		return
	}
	var held [(maxSegments + 63) / 64]uint64
	n, any := 0, false
	for i, part := range r.parts[:r.niov] {
		s := d.Hear(w.now, loop.Key(r.src, r.ports[i]))
		for len(part) > 0 {
			size := min(r.seg, len(part))
			if !d.Quick(w.now, s, part[:size]) && w.look(s, part[:size]) {
				held[n/64] |= 1 << (n % 64)
				any = true
			}
			part = part[size:]
			n++
		}
	}
	if any {
		w.withheld(r.without(&held))
	}
}

// look judges one datagram of the run; it returns whether to withhold it.
func (w *worker) look(s *loop.Source, data []byte) bool {
	d := &w.run.pt.loops
	switch d.Look(w.now, s, w.run.ttl, data) {
	case loop.Hold:
		return true
	case loop.Looped:
		if rt := w.run.pt.view.find(d.Returner()); rt != nil {
			for i := range rt.legs {
				if l := rt.legs[i].list; l.looped.CompareAndSwap(false, true) {
					w.notify(notice{looped: l})
				}
			}
		}
	}
	return false
}

// withheld counts datagrams of the run that are not fanned out.
func (w *worker) withheld(n int) {
	if !w.run.pt.primary {
		return
	}
	for i := range w.route.legs {
		w.route.legs[i].list.tallies[w.shard.id].Load().droppedLoop.Add(uint64(n))
	}
}

// without takes datagrams out of the run, and returns how many. It is made anew of single ones: they fit, since a run has no more
// of them than it has room for parts.
func (r *run) without(held *[(maxSegments + 63) / 64]uint64) (gone int) {
	for _, word := range held {
		gone += bits.OnesCount64(word)
	}
	var kept [maxSegments][]byte
	n, all := 0, 0
	for _, part := range r.parts[:r.niov] {
		for len(part) > 0 {
			size := min(r.seg, len(part))
			if held[all/64]>>(all%64)&1 == 0 {
				kept[n] = part[:size:size]
				n++
			}
			part = part[size:]
			all++
		}
	}
	r.segs, r.niov, r.bytes = n, n, 0
	for i, data := range kept[:n] {
		r.parts[i] = data
		r.iov[i] = unix.Iovec{Base: &data[0], Len: uint64(len(data))}
		r.bytes += len(data)
	}
	if n > 0 {
		r.seg = len(kept[0])
	}
	return gone
}
