// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"encoding/binary"
	"hash/maphash"
	"math"
)

const (
	life  = 2e9 // ns that a print is remembered
	every = 5e8 // ns from one sample of a source to the next, after the first few
	burst = 4   // samples of a source at once, when something is new
	quota = burst
	arm   = 1e8 // ns between two times that a new source makes all worth a sample

	suspicion   = 16 // returns more than the first source sent
	ladderSteps = 3  // returns each with a lower TTL than any before
	constant    = 16 // repetitions by its own sender, of a print that nobody else sends: it tells nothing

	leastTest = 5e5 // ns that each half of a test takes, at least and at most
	mostTest  = 4e9
	silence   = 16  // returns that what the returner sends has room for, and none comes: a test need not take its time
	backlog   = 2e7 // ns that copies wait in queues, at most

	enough    = 3    // convictions
	memory    = 6e10 // ns after which a conviction no longer counts
	firstWait = 1e9  // ns from an acquittal to the next test
	lastWait  = 64e9
)

// Verdict says what becomes of a datagram.
type Verdict uint8

// Verdicts.
const (
	Pass   Verdict = iota
	Hold           // not to be forwarded
	Looped         // neither this one nor any other: what Returner sends are our own copies
)

// Key is a sender: its address, host order, and port.
func Key(addr uint32, port uint16) uint64 { return uint64(addr)<<16 | uint64(port) }

// Source is what a Detector knows of a sender. The pointer is good until the next Hear.
type Source struct {
	key     uint64
	next    int64 // when the next sample is due
	heard   int64
	samples int // since something was new
	sent    int // datagrams
	enough  int // sent, when a test may be over before its time; 0: none may
}

// Detector watches one receive point. It is made for one goroutine, allocates nothing, and takes the time in ns; the zero
// value is ready.
type Detector struct {
	filter   filter // what the prints resemble
	deadline int64  // when the next test ends
	last     *Source
	sources  [4]Source
	prints   [8]print

	armed       int64
	budget      int
	convictions int
	convicted   int64 // the latest
	returner    uint64
	retry       int64 // no test before
	wait        int64
}

type state uint8

const (
	free state = iota
	watched
	draining  // withheld: what is under way still comes
	listening // withheld: now it should have stopped
	withheld  // convicted
)

// print is a datagram that is remembered. "First" and "back" are the source it came from first, and the one it came back from.
type print struct {
	hash        uint64
	place       place
	first, back uint64 // keys
	at          int64  // when it came
	backAt      int64  // when it came back
	evenAt      int64  // when back had last sent it no more often than first
	halfAt      int64  // when half the suspicion was reached since
	until       int64  // when this half of the test ends
	quiet       int64  // how long the second half takes
	patience    int64  // no acquittal before
	ofFirst     int    // how often it came again; in a test, since this half began
	ofBack      int
	returns     int   // how often it came from any but the first
	halfway     int   // returns at halfAt
	halfSent    int   // what back had sent by halfAt, of anything
	gap         int64 // in a test: the time between two returns, before it
	share       int   // what back sent in that time; 0: not known, or no measure
	lastAt      int64 // when the latest came, and what back had sent by then
	lastSent    int
	repeats     int   // ofFirst before the test
	allowed     int   // returns more than the first source sends that are no proof of another sender
	ttl         uint8 // the lowest so far
	steps       uint8 // returns with a lower TTL than any before
	runaway     bool  // it came back faster and faster, and its first source never repeated it
	state       state
}

func (s state) test() bool { return s == draining || s == listening }

// Hear returns what is known of the sender of the datagrams that follow. A new one makes samples due.
func (d *Detector) Hear(now int64, key uint64) *Source {
	if s := d.last; s != nil && s.key == key {
		s.heard = now
		s.sent++
		return s
	}
	oldest := &d.sources[0]
	for i := range d.sources {
		s := &d.sources[i]
		if s.key == key {
			s.heard, d.last = now, s
			s.sent++
			return s
		}
		if s.heard < oldest.heard {
			oldest = s
		}
	}
	*oldest = Source{key: key, heard: now, sent: 1}
	d.last = oldest
	if now-d.armed >= arm || d.armed == 0 {
		d.armed, d.budget = now, 2*burst
		for i := range d.sources {
			d.sources[i].next, d.sources[i].samples = 0, 0
		}
	}
	return oldest
}

// Quick says that the datagram passes and need not be looked at: it resembles none that is remembered, and nothing is due.
func (d *Detector) Quick(now int64, s *Source, data []byte) bool {
	return now < s.next && now < d.due() && !s.saidEnough() && !d.filter.has(placeOf(data))
}

func (s *Source) saidEnough() bool { return s.enough != 0 && s.sent >= s.enough }

func (d *Detector) due() int64 {
	if d.deadline == 0 {
		return math.MaxInt64
	}
	return d.deadline
}

// Look judges a datagram of s.
func (d *Detector) Look(now int64, s *Source, ttl uint8, data []byte) Verdict {
	if now >= d.due() && d.endTests(now) {
		return Looped
	}
	if s.saidEnough() && d.endEarly(now, s) {
		return Looped
	}
	at := placeOf(data)
	if !d.filter.has(at) {
		if now >= s.next {
			d.sample(now, s, ttl, at, hashOf(data))
		}
		return Pass
	}
	hash := hashOf(data)
	for i := range d.prints {
		if p := &d.prints[i]; p.state != free && p.hash == hash {
			return d.again(now, p, s, ttl)
		}
	}
	if now >= s.next {
		d.sample(now, s, ttl, at, hash)
	}
	return Pass
}

// Returner is the sender of what came back when the verdict was Looped.
func (d *Detector) Returner() (addr uint32) { return uint32(d.returner >> 16) }

// sample remembers a datagram, and says when the source is sampled next.
func (d *Detector) sample(now int64, s *Source, ttl uint8, at place, hash uint64) {
	s.next = now + every
	p := d.place(now, s.key)
	if p == nil {
		return
	}
	if s.samples++; s.samples <= burst {
		if d.budget == 0 { // many senders are new
			s.next = d.armed + arm
			return
		}
		d.budget--
		s.next = now
	}
	*p = print{hash: hash, place: at, first: s.key, at: now, ttl: ttl, state: watched}
	d.refilter()
}

// place returns room for a print of this source: a free place, or that of the oldest print, of this source or of one that
// has many more, which nobody has sent again.
func (d *Detector) place(now int64, key uint64) *print {
	mine := 0
	for i := range d.prints {
		if p := &d.prints[i]; p.state != free && p.first == key {
			mine++
		}
	}
	var best *print
	for i := range d.prints {
		p := &d.prints[i]
		switch {
		case p.state == free:
			if mine < quota {
				return p
			}
		case p.state.test():
		case now-p.at > life:
			if mine < quota || p.first == key {
				return p
			}
		case p.ofBack > 0 || p.state == withheld:
		case p.first == key && mine < quota: // it has room to come
		case p.first != key && d.countOf(p.first) < mine+2:
		case best == nil || p.at < best.at:
			best = p
		}
	}
	return best
}

func (d *Detector) countOf(key uint64) (n int) {
	for i := range d.prints {
		if p := &d.prints[i]; p.state != free && p.first == key {
			n++
		}
	}
	return n
}

func (d *Detector) refilter() {
	d.filter, d.deadline = filter{}, 0
	for i := range d.sources {
		d.sources[i].enough = 0
	}
	for i := range d.prints {
		p := &d.prints[i]
		if p.state == free {
			continue
		}
		d.filter.add(p.place)
		if !p.state.test() {
			continue
		}
		if d.deadline == 0 || p.until < d.deadline {
			d.deadline = p.until
		}
		for i := range d.sources {
			if s := &d.sources[i]; s.key == p.back && p.share > 0 && (s.enough == 0 || p.silent() < s.enough) {
				s.enough = p.silent()
			}
		}
	}
}

func (d *Detector) forget(p *print) {
	p.state = free
	d.refilter()
}

// again judges a datagram that is remembered.
func (d *Detector) again(now int64, p *print, s *Source, ttl uint8) Verdict {
	if !p.state.test() && now-p.at > life {
		d.forget(p)
		return Pass
	}
	if s.key == p.first {
		p.ofFirst++
		switch {
		case p.state != watched:
		case p.ofBack == 0 && p.ofFirst >= constant:
			s.next = now + every
			d.forget(p)
		case p.ofBack > 0 && p.ofFirst-p.ofBack >= suspicion: // a constant payload: it may be that the other was first
			*p = print{hash: p.hash, place: p.place, first: p.back, at: now, ttl: ttl, state: watched}
		}
		return Pass
	}
	if p.state == watched {
		return d.watch(now, p, s, ttl)
	}
	p.came(now, s)
	if p.ofBack++; p.ofBack > p.ofFirst+p.allowed && now >= p.patience {
		switch {
		case !p.runaway || p.ofFirst > 0:
			d.acquit(now)
			return Pass
		case p.state.test() && d.convict(now, p):
			return Looped
		}
	}
	return Hold
}

// watch counts a return, and decides whether it is suspicious.
func (d *Detector) watch(now int64, p *print, s *Source, ttl uint8) Verdict {
	if p.back == 0 {
		p.back, p.backAt = s.key, now
	}
	p.returns++
	if s.key != p.back {
		return Pass
	}
	p.ofBack++
	if ttl < p.ttl {
		p.ttl = ttl
		p.steps++
	}
	if p.steps >= ladderSteps {
		d.test(now, p, s)
		p.allowed = math.MaxInt32 // many more may be under way
		if d.convict(now, p) {
			return Looped
		}
		return Hold
	}
	switch excess := p.ofBack - p.ofFirst - 1; {
	case excess <= 0:
		p.evenAt, p.halfAt = now, 0
	case excess >= suspicion && now >= d.retry:
		d.test(now, p, s)
		return Hold
	case excess >= suspicion/2 && p.halfAt == 0:
		p.halfAt, p.halfway, p.halfSent = now, p.returns, s.sent
	}
	return Pass
}

// test withholds p. How many copies of it may be under way is twice what lately came in the time that the first return took,
// or, where they come faster and faster, several times what came so far. When these have drained off, it has to be quiet for
// twelve times the gap that there was between two returns, but for the echoes of what the first source sends.
func (d *Detector) test(now int64, p *print, s *Source) {
	if p.halfAt == 0 {
		p.halfAt, p.halfSent = now, s.sent
	}
	round := p.backAt - p.at
	lately := max(p.returns-p.halfway, 1)
	gap := max((now-p.halfAt)/int64(lately), 1000)
	p.allowed = 1 + int(min(2*round/gap, 1000))
	if 4*(now-p.halfAt) <= 3*(p.halfAt-p.evenAt) {
		p.allowed, p.runaway = 8*p.returns, p.ofFirst == 0
	}
	p.quiet = clampTest(12 * max(gap, (now-p.evenAt)/suspicion))
	p.until = now + clampTest(max(4*round, int64(p.allowed)*gap))
	if p.ofFirst > 0 { // a constant payload: which one was it that came back? The round may be longer than it seems
		p.patience = now + backlog
		p.until = max(p.until, p.patience)
	}
	p.gap, p.share = gap, 0
	if p.ofFirst == 0 {
		p.share = max(s.sent-p.halfSent, 0) / lately
	}
	p.repeats, p.ofFirst, p.ofBack = p.ofFirst, 0, 0
	p.state = draining
	p.came(now, s)
	d.refilter()
}

// came notes that p came in its test.
func (p *print) came(now int64, s *Source) {
	if s.key != p.back {
		p.share = 0
	}
	p.lastAt, p.lastSent = now, s.sent
}

// silent is how much back has sent when p's silence is proof: as much as there was in so many returns before.
func (p *print) silent() int { return p.lastSent + silence*p.share }

// endEarly convicts the prints that s no longer sends although it goes on: a stall that made the returns seem rare, and
// the test long, is over. It returns whether that is a loop.
func (d *Detector) endEarly(now int64, s *Source) bool {
	for i := range d.prints {
		p := &d.prints[i]
		if p.state.test() && p.share > 0 && p.back == s.key && s.sent >= p.silent() &&
			now-p.lastAt >= max(3*p.gap/2, leastTest) && d.convict(now, p) {
			return true
		}
	}
	d.refilter()
	return false
}

func clampTest(ns int64) int64 { return min(max(ns, leastTest), mostTest) }

// endTests takes tests to their second half, and convicts the prints that it was quiet about; it returns whether that is a
// loop.
func (d *Detector) endTests(now int64) bool {
	for i := range d.prints {
		p := &d.prints[i]
		if p.state == draining && now >= p.until { // nothing came since then, or it would have been seen to
			p.state, p.until = listening, p.until+p.quiet
			p.allowed = 1 + p.ofFirst
			p.ofFirst, p.ofBack = 0, 0
		}
		if p.state == listening && now >= p.until && d.convict(now, p) {
			return true
		}
	}
	d.refilter()
	return false
}

// convict says that p went round; it returns whether it is one too many. A constant payload is tested anew.
func (d *Detector) convict(now int64, p *print) bool {
	if now-d.convicted > memory {
		d.convictions = 0
	}
	d.convictions++
	d.convicted, d.returner = now, p.back
	p.state, p.at = withheld, now
	if p.repeats > 0 {
		p.state = free
	}
	if d.convictions < enough {
		d.refilter()
		return false
	}
	*d = Detector{returner: p.back}
	return true
}

// acquit ends all tests: what is withheld here has a sender of its own.
func (d *Detector) acquit(now int64) {
	d.wait = min(max(2*d.wait, firstWait), lastWait)
	d.retry = now + d.wait
	d.convictions = 0
	for i := range d.prints {
		if p := &d.prints[i]; p.state.test() || p.state == withheld {
			p.state = free
		}
	}
	d.refilter()
}

// filter has a bit for each place. With all prints in use one datagram in sixty-four resembles one of them by chance, and is hashed.
type filter [8]uint64

// place is that of a datagram in the filter.
type place uint16

func (f *filter) has(p place) bool { return f[p>>6&7]>>(p&63)&1 != 0 }
func (f *filter) add(p place)      { f[p>>6&7] |= 1 << (p & 63) }

// placeOf goes by a few of a datagram's bytes.
func placeOf(b []byte) place {
	n := len(b)
	x := uint64(n)
	if n >= 8 {
		x ^= binary.LittleEndian.Uint64(b) ^ binary.LittleEndian.Uint64(b[n-8:])*3 ^ binary.LittleEndian.Uint64(b[(n-8)/2:])*5
	} else {
		for _, c := range b {
			x = x<<8 | uint64(c)
		}
	}
	return place(x * 0x9e3779b97f4a7c15 >> 55)
}

// seed makes hashes that nobody outside can foresee.
var seed = maphash.MakeSeed()

func hashOf(b []byte) uint64 { return maphash.Bytes(seed, b) }
