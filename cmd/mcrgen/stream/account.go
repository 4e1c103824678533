// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"maps"
	"net/netip"
	"time"
)

// Meta is what the receiver knows about a datagram beside its payload.
type Meta struct {
	Source  netip.AddrPort
	TTL     uint8
	TOS     uint8 // DSCP and ECN
	Arrival time.Time
}

// Account keeps the books of one receiver. The zero value is ready; it is not safe for concurrent use.
type Account struct {
	r           Report
	streams     map[uint32]*track
	latency     histogram
	first, last time.Time
}

// Report is the sum of what a receiver got; doc.go defines the words.
type Report struct {
	Received    uint64                    `json:"received"`
	Bytes       uint64                    `json:"bytes"` // UDP payload of Received
	Lost        uint64                    `json:"lost"`
	Duplicated  uint64                    `json:"duplicated"`
	Reordered   uint64                    `json:"reordered"`
	Corrupted   uint64                    `json:"corrupted"`
	Foreign     uint64                    `json:"foreign"`
	Short       uint64                    `json:"short"`
	SocketDrops uint64                    `json:"socket_drops"` // lost in the sink's own receive queue
	Streams     int                       `json:"streams"`
	MinSize     int                       `json:"min_size"`
	MaxSize     int                       `json:"max_size"`
	TTL         map[uint8]uint64          `json:"ttl"`
	DSCP        map[uint8]uint64          `json:"dscp"`
	ECN         map[uint8]uint64          `json:"ecn"`
	Sources     map[netip.AddrPort]uint64 `json:"sources"`
	Latency     Latency                   `json:"latency_us"`
	Seconds     float64                   `json:"seconds"` // from the first arrival to the last
}

// Latency is in microseconds from the sender's clock to the receiver's kernel; quantiles are exact to 1.6 %. With two clocks it
// holds their difference as well.
type Latency struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Distinct counts what came at least once.
func (r Report) Distinct() uint64 { return r.Received - r.Duplicated }

// Clean says that every datagram came once, in order and unchanged.
func (r Report) Clean() bool {
	return r.Lost+r.Duplicated+r.Reordered+r.Corrupted+r.Foreign == 0
}

// Take enters one datagram.
func (a *Account) Take(p []byte, m Meta) {
	h, v := Parse(p)
	switch v {
	case Foreign:
		a.r.Foreign++
		return
	case Corrupted:
		a.r.Corrupted++
		return
	case Short:
		a.r.Short++
	case Whole:
		a.number(h, m.Arrival)
	}
	if a.r.Received == 0 {
		a.first, a.r.MinSize = m.Arrival, len(p)
		a.r.TTL, a.r.DSCP, a.r.ECN = map[uint8]uint64{}, map[uint8]uint64{}, map[uint8]uint64{}
		a.r.Sources = map[netip.AddrPort]uint64{}
	}
	a.r.Received++
	a.r.Bytes += uint64(len(p))
	a.r.MinSize, a.r.MaxSize = min(a.r.MinSize, len(p)), max(a.r.MaxSize, len(p))
	a.r.TTL[m.TTL]++
	a.r.DSCP[m.TOS>>2]++
	a.r.ECN[m.TOS&3]++
	a.r.Sources[m.Source]++
	a.last = m.Arrival
}

func (a *Account) number(h Header, arrival time.Time) {
	t := a.streams[h.Stream]
	if t == nil {
		if a.streams == nil {
			a.streams = map[uint32]*track{}
		}
		t = &track{low: h.Seq, pages: map[uint64]*page{}}
		a.streams[h.Stream] = t
	}
	switch {
	case !t.add(h.Seq):
		a.r.Duplicated++
	case h.Seq < t.high:
		a.r.Reordered++
	}
	t.low, t.high = min(t.low, h.Seq), max(t.high, h.Seq)
	a.latency.add(arrival.Sub(h.Sent))
}

// Report sums up. expect is the number of datagrams that were sent in all, 0 if that is not known.
func (a *Account) Report(expect uint64) Report {
	r := a.r
	r.TTL, r.DSCP, r.ECN, r.Sources = maps.Clone(r.TTL), maps.Clone(r.DSCP), maps.Clone(r.ECN), maps.Clone(r.Sources)
	r.Streams = len(a.streams)
	r.Latency = a.latency.quantiles()
	r.Seconds = a.last.Sub(a.first).Seconds()
	if expect > 0 {
		r.Lost = expect - min(expect, r.Distinct())
		return r
	}
	for _, t := range a.streams {
		r.Lost += t.high - t.low + 1 - t.distinct
	}
	r.Lost -= min(r.Lost, r.Short) // they came, and left holes
	return r
}

// track knows which numbers of one stream came: a bit each, in pages, so that one far-off number costs one page.
type track struct {
	low, high, distinct uint64
	pages               map[uint64]*page
}

type page [64]uint64

// add is false for a number that was there before.
func (t *track) add(seq uint64) bool {
	p := t.pages[seq>>12]
	if p == nil {
		p = new(page)
		t.pages[seq>>12] = p
	}
	word, bit := &p[seq>>6&63], uint64(1)<<(seq&63)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	t.distinct++
	return true
}
