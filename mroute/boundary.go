// SPDX-License-Identifier: Apache-2.0

package mroute

import (
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"

	"mcr/dataplane/plan"
	"mcr/mroute/mrib"
)

// BoundaryState is the state of an administrative boundary.
type BoundaryState struct {
	Prefixes []netip.Prefix
	Counters *BoundaryCounters
}

// BoundaryCounters are what a boundary kept back since it was configured. Any goroutine may read them.
type BoundaryCounters struct {
	Claims  atomic.Uint64 // inputs and outputs refused
	Packets atomic.Uint64 // copies that these outputs did not send; the router's loop adds them up once a second
}

// boundaries count what is kept back. They belong to the router's loop.
type boundaries struct {
	counters map[string]*BoundaryCounters // by interface
	outputs  map[plan.OutputID]*keptOutput
}

// keptOutput is an output that a boundary keeps down.
type keptOutput struct {
	iface    string
	notReady uint64 // as counted so far
}

func newBoundaries() boundaries {
	return boundaries{counters: map[string]*BoundaryCounters{}, outputs: map[plan.OutputID]*keptOutput{}}
}

// publishBoundaries tells the boundaries that are new, changed or gone.
func (r *Router) publishBoundaries(b *Batch, old *Config) {
	for name := range old.Boundaries {
		if _, ok := r.cfg.Boundaries[name]; !ok {
			b.Boundaries[name] = nil
			delete(r.bounds.counters, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.cfg.Boundaries)) {
		ps := r.cfg.Boundaries[name]
		was, known := old.Boundaries[name]
		if !known {
			r.bounds.counters[name] = &BoundaryCounters{}
		}
		if !known || !slices.Equal(was, ps) {
			b.Boundaries[name] = &BoundaryState{Prefixes: ps, Counters: r.bounds.counters[name]}
		}
	}
}

// claim counts an input or output that a boundary refuses.
func (b *boundaries) claim(iface string) {
	if c := b.counters[iface]; c != nil {
		c.Claims.Add(1)
	}
}

// noteBoundary notes that a boundary keeps an output down, or no longer does.
func (r *Router) noteBoundary(m *mrib.Member, kept bool) {
	k := r.bounds.outputs[m.ID()]
	switch {
	case kept && k == nil:
		c, _, _ := r.dp.Output(m.ID())
		r.bounds.outputs[m.ID()] = &keptOutput{m.Key.Interface, c.NotReady}
		r.bounds.claim(m.Key.Interface)
	case k != nil:
		r.addKept(m.ID(), k)
		if !kept {
			delete(r.bounds.outputs, m.ID())
		}
	}
}

// countKept adds up what the outputs that boundaries keep down did not send.
func (r *Router) countKept() {
	for id, k := range r.bounds.outputs {
		r.addKept(id, k)
	}
}

func (r *Router) addKept(id plan.OutputID, k *keptOutput) {
	c, _, ok := r.dp.Output(id)
	if !ok || c.NotReady < k.notReady {
		return
	}
	if b := r.bounds.counters[k.iface]; b != nil {
		b.Packets.Add(c.NotReady - k.notReady)
	}
	k.notReady = c.NotReady
}
