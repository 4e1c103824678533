// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync/atomic"

	"mcr/dataplane/plan"
	"mcr/dataplane/sock"
)

// view is what a point does with what it receives. Immutable, as are route, leg and fanout, once committed.
type view struct {
	plan     *plan.Point
	any      *route
	bySource map[uint32]*route
}

// route is a plan.Route with its lists looked up.
type route struct {
	plan *plan.Route
	legs []leg
}

// leg is one list of a route, and the ascending positions in it that an earlier list serves.
type leg struct {
	*fanout
	skip []int32
}

// fanout is a plan.List with its outputs looked up.
type fanout struct {
	plan   *plan.List
	list   *list
	minTTL uint8
	all    []*output // as in the plan
	up     []*output // those that send
	pos    []int32   // their positions in all
}

// find returns what datagrams from src take, or nil.
func (v *view) find(src uint32) *route {
	if v == nil {
		return nil
	}
	if r, ok := v.bySource[src]; ok {
		return r
	}
	return v.any
}

// served says that committed routes lead to one of the view's lists. Control side.
func (v *view) served() bool {
	if v.any.served() {
		return true
	}
	for _, r := range v.bySource {
		if r.served() {
			return true
		}
	}
	return false
}

func (r *route) served() bool {
	return r != nil && slices.ContainsFunc(r.legs, func(l leg) bool { return l.list.refs > 0 })
}

// widest is the most outputs that a datagram can take.
func (v *view) widest() int {
	if v == nil {
		return 0
	}
	n := v.any.width()
	for _, r := range v.bySource {
		n = max(n, r.width())
	}
	return n
}

func (r *route) width() (n int) {
	if r != nil {
		for i := range r.legs {
			n += len(r.legs[i].up)
		}
	}
	return n
}

// list is a plan.ListID: it lives as long as some Plan names it.
type list struct {
	id     plan.ListID
	shards []shard // by worker

	// Control side, see Engine.mu.
	view *fanout
	refs int // legs of committed routes
}

// shard is what one worker counts on a list. Padded: two workers do not share a cache line.
type shard struct {
	out        sum
	droppedTTL atomic.Uint64
	last       atomic.Int64 // when it was last fanned out, Unix ns
	previous   int64        // the time before that; the worker's own
	_          [128 - 40]byte
}

// sum counts datagrams and octets of payload. One goroutine adds, any may read.
type sum struct{ packets, octets atomic.Uint64 }

func (s *sum) add(packets, octets uint64) {
	s.packets.Add(packets)
	s.octets.Add(octets)
}

// point is a plan.PointKey: it lives as long as the Plan names it.
type point struct {
	key plan.PointKey

	// Control side, see Engine.mu. The worker reads fd of those that it was given.
	plan      *plan.Point
	committed *view
	fd        int // -1: could not be opened
	member    *sock.Membership
	pending   bool // a Prepare has widened the membership
	// takesOver: another point serves some of its lists up to now, so that a stream may come to both. Set by Commit before the
	// worker knows the point.
	takesOver bool

	// The worker's.
	view   *view // nil once it is retired
	armed  bool  // a receive is under way (uring)
	errors int   // in a row

	in                 sum
	noMatch, truncated atomic.Uint64
	broken             atomic.Bool // it receives nothing any more
}

// egress is what outputs on one interface share. Another MTU is another egress, so that a change of the link gives
// segmentation a new chance.
type egress struct {
	key  egressKey
	off  atomic.Uint32 // why segmentation is off; 0: on
	refs int           // control side
}

type egressKey struct {
	ifIndex plan.IfIndex
	mtu     int
}

// Bits of egress.off.
const (
	offConfigured = 1 << iota
	offRefused    // EIO or EINVAL
)

// number is an IPv4 address in host order, 0 for anything else.
func number(a netip.Addr) uint32 {
	if !a.Is4() {
		return 0
	}
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}
