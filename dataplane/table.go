// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"encoding/binary"
	"iter"
	"net/netip"
	"sync/atomic"

	"mcr/dataplane/loop"
	"mcr/dataplane/plan"
	"mcr/dataplane/sock"
)

// view is what a point does with what it receives. Immutable, as are route, leg and fanout, once committed.
type view struct {
	plan     *plan.Point
	any      *route
	bySource map[uint32]*route
	width    int // the most outputs that a datagram can take
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
	plan    *plan.List
	list    *list
	minTTL  uint8
	blocked bool
	all     []*output // as in the plan
	parts   []*part   // by shard; none is nil
	sends   int       // of all parts
}

// part are the outputs of a fanout on one shard that send.
type part struct {
	up  []*output
	pos []int32 // their positions in all
}

var noPart = &part{}

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
	for lg := range v.legs() {
		if lg.list.refs > 0 {
			return true
		}
	}
	return false
}

// legs calls yield for each leg of each route. A list may come several times.
func (v *view) legs() iter.Seq[*leg] {
	return func(yield func(*leg) bool) {
		if !v.any.each(yield) {
			return
		}
		for _, r := range v.bySource {
			if !r.each(yield) {
				return
			}
		}
	}
}

func (r *route) each(yield func(*leg) bool) bool {
	if r != nil {
		for i := range r.legs {
			if !yield(&r.legs[i]) {
				return false
			}
		}
	}
	return true
}

// room is what worker.later needs for the view.
func (v *view) room() int {
	if v == nil {
		return 0
	}
	return v.width
}

// widest finds v.width.
func (v *view) widest() int {
	n := v.any.width()
	for _, r := range v.bySource {
		n = max(n, r.width())
	}
	return n
}

func (r *route) width() (n int) {
	if r != nil {
		for i := range r.legs {
			n += r.legs[i].sends
		}
	}
	return n
}

// sends is how many outputs of a shard a datagram can take.
func (r *route) sends(shard int) (n int) {
	for i := range r.legs {
		n += len(r.legs[i].parts[shard].up)
	}
	return n
}

// list is a plan.ListID: it lives as long as some Plan names it.
type list struct {
	id plan.ListID
	// tallies, by shard. Prepare makes one before anything of that shard sees the list.
	tallies []atomic.Pointer[tally]

	// looped: its copies come back. A worker sets it, and from then on nothing is fanned out on any shard; Commit clears it
	// when a Plan no longer has the list blocked.
	looped atomic.Bool

	// Control side, see Engine.mu.
	view *fanout
	refs int // legs of committed routes
}

// tally is what one shard counts on a list. Padded: two workers do not share a cache line.
type tally struct {
	out         sum // fanned out by primary points: what the list has received
	twin        sum // and by twins, which received the same once more
	droppedTTL  atomic.Uint64
	droppedLoop atomic.Uint64
	last        atomic.Int64 // when it was last fanned out, Unix ns
	previous    int64        // the time before that; the worker's own
	_           [128 - 64]byte
}

// drop counts datagrams that are not fanned out, for their TTL or for a loop.
func (t *tally) drop(ttl bool, packets uint64) {
	if ttl {
		t.droppedTTL.Add(packets)
	} else {
		t.droppedLoop.Add(packets)
	}
}

// load is E: what was fanned out on this shard.
func (t *tally) load() (packets, octets uint64) {
	return t.out.packets.Load() + t.twin.packets.Load(), t.out.octets.Load() + t.twin.octets.Load()
}

// since is what was fanned out since base was E.
func (t *tally) since(base *sum) (packets, octets uint64) {
	packets, octets = t.load()
	return packets - base.packets.Load(), octets - base.octets.Load()
}

// tally returns that of a shard. Control side; to be called before the shard sees the list.
func (l *list) tally(s *shard) *tally {
	p := &l.tallies[s.id]
	if p.Load() == nil {
		p.Store(&tally{})
	}
	return p.Load()
}

// sum counts datagrams and octets of payload. One goroutine adds, any may read.
type sum struct{ packets, octets atomic.Uint64 }

func (s *sum) add(packets, octets uint64) {
	s.packets.Add(packets)
	s.octets.Add(octets)
}

// inlet is a plan.PointKey: it lives as long as the Plan names it. It has a receive point on each shard that has outputs of its
// lists, and each of these twins receives every datagram: that is how the kernel serves several sockets of one multicast
// group and port. The first, for life, is the primary one: it alone counts what the input receives.
type inlet struct {
	key plan.PointKey

	// Control side, see Engine.mu.
	plan      *plan.Point
	committed *view
	first     *shard   // of the primary point
	points    []*point // the primary one first; none: nothing could be opened

	learner *learner // of an inlet with port 0, in place of points

	// Counted by the worker of the primary point; checksum and gso by a learner, too.
	in                 sum
	noMatch, truncated atomic.Uint64
	checksum, gso      atomic.Uint64

	overrun uint64 // of points that are gone; control side
}

// point is a receive socket of an inlet, for one shard.
type point struct {
	*inlet
	shard   *shard
	fd      int
	primary bool
	method  plan.Method
	opened  int64 // its socket, after this time, Unix ns

	// Control side, see Engine.mu.
	member  *sock.Membership
	pending bool // a Prepare has widened the membership
	// takesOver: another point serves some of its lists up to now, so that a stream may come to both. Set by Commit before the
	// worker knows the point.
	takesOver bool
	before    *point    // whose place on its shard it takes, if any; nil once it has
	stamped   bool      // the kernel stamped all that arrived since then
	kept      *handOver // what hand was; its memory is free once the workers have adopted the point

	drops drops // of its socket, as readers see them

	// The worker's.
	view   *view         // once it is retired, nil or for the rest of what it received
	loops  loop.Detector // whether copies come back
	hand   *handOver     // what a learner kept for it; set by Commit before the worker knows the point, nil once that is over
	armed  bool          // a receive is under way (uring)
	errors int           // in a row

	broken atomic.Bool // it receives nothing any more
}

// sockets is how many are open.
func (in *inlet) sockets() (n int) {
	for _, pt := range in.points {
		n += pt.sockets()
	}
	if in.learner != nil {
		n += 2 // its own, and the one that joins
	}
	return n
}

// sockets is how many it has: one, and one that joins where it is not a UDP socket.
func (pt *point) sockets() int {
	if pt.method == plan.MethodPacket {
		return 2
	}
	return 1
}

// egress is what outputs on one interface share. Another MTU is another egress, so that a change of the link gives
// segmentation a new chance.
type egress struct {
	key  egressKey
	off  atomic.Uint32 // why segmentation is off; 0: on
	refs int           // control side

	copies copies // workers
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
