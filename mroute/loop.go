// SPDX-License-Identifier: Apache-2.0

package mroute

import (
	"time"

	"mcr/dataplane/plan"
	"mcr/mroute/mrib"
)

const (
	firstHold = 30 * time.Second // that a row stays down whose copies came back (F5)
	lastHold  = 10 * time.Minute // after several times in a row
)

// loops are the rows whose copies came back, lately or now. They belong to the router's loop.
type loops map[mrib.EntryKey]*loopHold

type loopHold struct {
	list  plan.ListID // to tell the row from a later one of that name
	down  bool
	hold  time.Duration // the latest
	until time.Time     // when it is tried again, or was
}

// retry is when a row that is down is tried again; zero for others.
func (l loops) retry(k mrib.EntryKey) time.Time {
	if h := l[k]; h != nil && h.down {
		return h.until
	}
	return time.Time{}
}

// loopsFound takes down the rows whose lists the dataplane names.
func (r *Router) loopsFound(ev plan.Event) {
	if len(ev.Loops) == 0 && !ev.Lost {
		return
	}
	named := make(map[plan.ListID]bool, len(ev.Loops))
	for _, id := range ev.Loops {
		named[id] = true
	}
	down := map[mrib.EntryKey]bool{}
	for k, e := range r.table.Entries {
		if e.Reason == mrib.Loop || !named[e.List.ID] && !ev.Lost {
			continue
		}
		if c, ok := r.dp.List(e.List.ID); !ok || !c.Looped {
			continue // the event is older than the table
		}
		r.loops.hold(k, e.List.ID, r.now())
		down[k] = true
	}
	if len(down) > 0 {
		r.restage(mrib.Change{Loops: down}, nil)
	}
}

// hold notes that a row goes down. Soon after it was tried, the time doubles.
func (l loops) hold(k mrib.EntryKey, list plan.ListID, now time.Time) {
	hold := firstHold
	if was := l[k]; was != nil && was.list == list && now.Sub(was.until) < was.hold {
		hold = min(2*was.hold, lastHold)
	}
	l[k] = &loopHold{list: list, down: true, hold: hold, until: now.Add(hold)}
}

// loopsOver tries the rows again whose time has come, and forgets those that work, went, or were changed by their rule.
func (r *Router) loopsOver() {
	again := map[mrib.EntryKey]bool{}
	now := r.now()
	for k, h := range r.loops {
		e := r.table.Entries[k]
		switch {
		case e == nil || e.List.ID != h.list:
			delete(r.loops, k)
		case h.down && e.Reason != mrib.Loop: // its rule changed, and it was tried then
			h.down, h.until = false, now
		case h.down && !now.Before(h.until):
			h.down, h.until = false, now
			again[k] = false
		case !h.down && now.Sub(h.until) >= h.hold:
			delete(r.loops, k)
		}
	}
	if len(again) > 0 {
		r.restage(mrib.Change{Loops: again}, nil)
	}
}
