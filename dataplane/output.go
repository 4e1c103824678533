// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

const (
	backOffAfter = 8                      // failures in a row
	backOffTime  = 100 * time.Millisecond // then one try in this time
	quietTime    = 5 * time.Second        // without an error until a refusing receiver counts as healthy; ICMP is rate-limited
	calmTime     = time.Second            // without an error until any other does: a queue that is full now and then is one trouble
	ttlQuietTime = time.Second            // without a skipped copy until the TTL counts as sufficient: two senders may differ
)

// Bits of output.state. With none set a send needs no look at the output's fortunes.
const (
	stCareful = 1 << iota // failed lately: sends go one by one, and their outcome is looked at
	stFailing             // what OutputStatus tells
	stRefused             // by an ICMP, such as ECONNREFUSED: one success does not mend it
	stTTLLow
)

// output is a plan.OutputID: it lives as long as some Plan names it. It is on one shard for life.
type output struct {
	// Read by the worker for each run; it changes them at adoption alone.
	binding
	state atomic.Uint32

	// Troubles, the worker's own.
	fails   int   // in a row
	nextTry int64 // Unix ns
	ttlSkip int64 // when a copy was last skipped, Unix ns
	queued  atomic.Bool

	// How the counters come about: written by the worker, at adoption under its seqlock.
	tally           atomic.Pointer[tally]
	up              atomic.Bool
	base            sum // E of its list, on its shard, when this state of affairs began
	sent, missed    sum // of earlier states, up and down
	unsent          sum // X: while up, for whatever reason
	skippedDown     atomic.Uint64
	lastSent        atomic.Int64 // Unix ns, where the list's time does not tell
	errors, dropped atomic.Uint64
	skippedTTL      atomic.Uint64
	errnos          [errnoClasses]atomic.Uint64
	lastErrno       atomic.Uint32
	lastError       atomic.Int64 // Unix ns
	_               [0]func()    // not comparable
	id              plan.OutputID
	tells           plan.OutputID // the name under which it is told of
	shard           *shard

	// Control side, see Engine.mu.
	plan     *plan.Output
	home     *list
	sock     *socket // nil: none
	port     uint16  // last source port, to be had again
	sends    bool    // up, and the socket is there
	branch   *output // of an instance
	outgoing *egress
	prep     *outputPrep // the Prepare under way works on it

	// Of a branch, and of an output that shares, see branch.go; control side.
	instances  []*output
	gone       plan.OutputCounters
	shares     *output
	sharedFrom plan.OutputCounters // its own when o began to share
}

// binding is how an output sends. The control side makes it, the worker takes it over at adoption.
type binding struct {
	fd      int32
	dst     uint32 // number of the destination
	maxSeg  int    // the longest segment that fits the MTU; 0: none
	variant variant
	atMost  uint16 // what arrives with a TTL below that leaves with one less, see run.variant; 0: nothing
	egress  *egress
}

// socket is an output's socket, and what it was made from.
type socket struct {
	socketKey
	fd       int
	port     uint16
	ttl, tos uint8
}

// socketKey is what a socket cannot change: another key is another socket.
type socketKey struct {
	ifIndex plan.IfIndex
	source  netip.Addr
	port    uint16 // as asked for
	dest    netip.AddrPort
}

func keyOf(o *plan.Output) socketKey {
	return socketKey{ifIndex: o.IfIndex, source: o.Source, port: o.SourcePort, dest: o.Dest}
}

// headerOf is what the socket writes of itself: TTL, where it is fixed, and TOS.
func headerOf(o *plan.Output) (ttl, tos uint8) {
	if o.TTLMode == plan.TTLFixed || o.TTLMode == plan.TTLAtMost {
		ttl = o.TTL
	}
	if o.DSCP > 0 {
		tos = uint8(o.DSCP) << 2
	}
	return ttl, tos
}

// Classes of errnos, as plan.OutputCounters has them.
const (
	errRefused = iota
	errUnreachable
	errNoBuffer
	errTooBig
	errPermission
	errKey
	errOther
	errnoClasses
)

func classOf(e unix.Errno) int {
	switch e {
	case unix.ECONNREFUSED:
		return errRefused
	case unix.EHOSTUNREACH, unix.ENETUNREACH, unix.ENETDOWN, unix.EHOSTDOWN, unix.ENONET:
		return errUnreachable
	case unix.ENOBUFS, unix.ENOMEM, unix.EAGAIN:
		return errNoBuffer
	case unix.EMSGSIZE:
		return errTooBig
	case unix.EPERM, unix.EACCES:
		return errPermission
	case unix.ENOKEY, unix.EDESTADDRREQ:
		return errKey
	}
	return errOther
}

// ofICMP says whether an errno may stem from an earlier ICMP error: the kernel reports each instead of sending, once. These are
// all of icmp_err_convert (net/ipv4/icmp.c), EMSGSIZE of "fragmentation needed" and EPROTO of "parameter problem".
func ofICMP(e unix.Errno) bool {
	switch e {
	case unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENONET, unix.ENOPROTOOPT,
		unix.EOPNOTSUPP, unix.EMSGSIZE, unix.EPROTO:
		return true
	}
	return false
}

// retries is how often a send is tried again at once for what may be an earlier ICMP: in a storm of them the next one comes
// while the first is dealt with.
const retries = 3

// enter ends the state of affairs that was, and begins that of c. Worker only, within its shard's seqlock.
func (o *output) enter(w *worker, c *change) {
	if t := o.tally.Load(); t != nil {
		packets, octets := t.since(&o.base)
		if o.up.Load() {
			o.sent.add(packets, octets)
			if packets > 0 && o.state.Load() == 0 {
				o.lastSent.Store(t.last.Load())
			}
		} else {
			o.missed.add(packets, octets)
		}
	}
	if c.tally != nil {
		packets, octets := c.tally.load()
		o.base.packets.Store(packets)
		o.base.octets.Store(octets)
	}
	o.tally.Store(c.tally)
	o.up.Store(c.up)
	o.binding = c.binding
	if c.fresh || !c.up {
		o.fails, o.nextTry = 0, 0
		if o.state.Swap(0) != 0 {
			w.notify(notice{output: o})
		}
	}
}

// counters of o. A writer never waits for it; it waits while a worker adopts.
func (o *output) counters() (c plan.OutputCounters) {
	var last int64
	o.shard.stable(func() { c, last = o.read() })
	if c.Packets > 0 && last != 0 {
		c.LastPacketTime = time.Unix(0, last)
	}
	if at := o.lastError.Load(); at != 0 {
		c.LastErrorTime = time.Unix(0, at)
		c.LastError = unix.ErrnoName(unix.Errno(o.lastErrno.Load()))
	}
	return c
}

// read sums up. X is read before E: the worker moves E first, so that E - base - X is never negative.
func (o *output) read() (c plan.OutputCounters, last int64) {
	unsentPackets, unsentOctets := o.unsent.packets.Load(), o.unsent.octets.Load()
	skipped := o.skippedDown.Load()
	c = plan.OutputCounters{
		Packets: o.sent.packets.Load(), Octets: o.sent.octets.Load(), NotReady: o.missed.packets.Load(),
		Dropped: o.dropped.Load(), SkippedTTL: o.skippedTTL.Load(), Errors: o.errors.Load(),
		Refused: o.errnos[errRefused].Load(), Unreachable: o.errnos[errUnreachable].Load(),
		NoBuffer: o.errnos[errNoBuffer].Load(), TooBig: o.errnos[errTooBig].Load(),
		Permission: o.errnos[errPermission].Load(), Key: o.errnos[errKey].Load(), Other: o.errnos[errOther].Load(),
	}
	last = o.lastSent.Load()
	if t := o.tally.Load(); t != nil {
		packets, octets := t.since(&o.base)
		if o.up.Load() {
			c.Packets += packets
			c.Octets += octets
			if packets > 0 && o.state.Load() == 0 {
				last = t.last.Load()
			}
		} else {
			c.NotReady += packets
		}
	}
	c.Packets -= unsentPackets
	c.Octets -= unsentOctets
	c.NotReady -= skipped
	return c, last
}
