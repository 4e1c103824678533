// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"net/netip"
	"sync"

	"mcr/dataplane/plan"
)

// mostPrefixes is how many routes may change until it is cheaper to doubt them all.
const mostPrefixes = 4096

// doubt is what the kernel's messages make doubtful. It grows with the number of links and mostPrefixes, not of messages.
type doubt struct {
	links    map[plan.IfIndex]bool // true: it was deleted, and what is there by now is another
	prefixes map[netip.Prefix]bool
	via      map[plan.IfIndex]bool // routes lead by these, as they do to a WireGuard peer that was just added; 0: by any
	routes   bool                  // all of them
	all      bool                  // links, too: messages were lost, or it is time for an audit
}

func newDoubt() doubt {
	return doubt{links: map[plan.IfIndex]bool{}, prefixes: map[netip.Prefix]bool{}, via: map[plan.IfIndex]bool{}}
}

func (d *doubt) add(h hint) {
	switch {
	case h.link != 0:
		d.links[h.link] = d.links[h.link] || h.deleted
	case h.routes:
		d.routes = true
	default:
		d.via[h.via] = true
		if len(d.prefixes) < mostPrefixes {
			d.prefixes[h.prefix] = true
		} else {
			d.routes = true
		}
	}
}

// doubts hands what is doubtful from the goroutine that hears the kernel to the one that asks it. Whoever adds never
// waits, so that the kernel's buffer is emptied while the other is busy.
type doubts struct {
	wake chan struct{} // holds one token after something was added

	mu sync.Mutex // guards what follows
	d  doubt
}

func newDoubts() *doubts { return &doubts{wake: make(chan struct{}, 1), d: newDoubt()} }

func (d *doubts) add(h hint) { d.change(func(d *doubt) { d.add(h) }) }

// everything is in doubt.
func (d *doubts) everything() { d.change(func(d *doubt) { d.all = true }) }

// again puts back what could not be settled.
func (d *doubts) again(old doubt) {
	d.change(func(d *doubt) {
		for i, deleted := range old.links {
			d.add(hint{link: i, deleted: deleted})
		}
		for p := range old.prefixes {
			d.add(hint{prefix: p})
		}
		for i := range old.via {
			d.via[i] = true
		}
		d.routes, d.all = d.routes || old.routes, d.all || old.all
	})
}

func (d *doubts) change(f func(*doubt)) {
	d.mu.Lock()
	f(&d.d)
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// take returns what is in doubt and forgets it.
func (d *doubts) take() doubt {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := d.d
	d.d = newDoubt()
	return out
}
