// SPDX-License-Identifier: Apache-2.0

package state

import (
	"net/netip"
	"time"

	"mcr/northbound/telemetry"
)

// leaves collects the leaves of a Unit, in ascending order of their names; that order is the caller's to keep.
type leaves []telemetry.Leaf

// next adds an empty leaf and returns it. A Leaf is large: written in place it is written once.
func (l *leaves) next(name string) *telemetry.Value {
	n := len(*l)
	if n < cap(*l) {
		*l = (*l)[:n+1]
		(*l)[n] = telemetry.Leaf{}
	} else {
		*l = append(*l, telemetry.Leaf{})
	}
	leaf := &(*l)[n]
	leaf.Name = name
	return &leaf.Value
}

// value leaves out what is absent.
func (l *leaves) value(name string, v telemetry.Value) {
	if v.Kind != 0 {
		*l.next(name) = v
	}
}

func (l *leaves) text(name, s string) {
	v := l.next(name)
	v.Kind, v.Str = telemetry.KindString, s
}

// optional leaves out an empty text.
func (l *leaves) optional(name, s string) {
	if s != "" {
		l.text(name, s)
	}
}

func (l *leaves) number(name string, n uint64) {
	v := l.next(name)
	v.Kind, v.Num = telemetry.KindUint, n
}

func (l *leaves) count(name string, n int) { l.number(name, uint64(max(n, 0))) }

func (l *leaves) flag(name string, b bool) {
	v := l.next(name)
	v.Kind = telemetry.KindBool
	if b {
		v.Num = 1
	}
}

// moment leaves out the zero time.
func (l *leaves) moment(name string, t time.Time) {
	if !t.IsZero() {
		l.number(name, uint64(t.UnixNano()))
	}
}

// texts leaves out an empty list. It keeps s.
func (l *leaves) texts(name string, s []string) {
	if len(s) > 0 {
		*l.next(name) = telemetry.Strings(s)
	}
}

// numbers leaves out an empty list.
func (l *leaves) numbers(name string, ns []uint16) {
	if len(ns) == 0 {
		return
	}
	wide := make([]uint64, len(ns))
	for i, n := range ns {
		wide[i] = uint64(n)
	}
	*l.next(name) = telemetry.Uints(wide)
}

// slab hands out room for the leaves of one Apply, which come and go together: ten thousand outputs have half a million.
type slab struct {
	room  []telemetry.Leaf
	addrs [8]struct { // latest addresses, as text: those of one output come up several times
		addr netip.Addr
		text string
	}
	next int

	size int // of the latest piece
}

// Pieces of a slab grow, so that one output costs little. At most one piece is kept alive by a single Unit.
const (
	slabMin = 64
	slabMax = 512
)

// leaves returns room for at most n leaves. Only one is in use at a time, until done says how many it needed.
func (s *slab) leaves(n int) leaves {
	if len(s.room) < n {
		s.size = min(max(2*s.size, slabMin), slabMax)
		s.room = make([]telemetry.Leaf, max(n, s.size))
	}
	return s.room[:0:n]
}

// done returns the leaves as they are to stay.
func (s *slab) done(l leaves) []telemetry.Leaf {
	n := len(l)
	if n > 0 && len(s.room) >= n && &l[0] == &s.room[0] {
		s.room = s.room[n:]
	}
	return l[:n:n]
}

// addr is the text of an address; the empty text for an invalid one.
func (s *slab) addr(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	for i := range s.addrs {
		if s.addrs[i].addr == a {
			return s.addrs[i].text
		}
	}
	text := a.String()
	s.addrs[s.next].addr, s.addrs[s.next].text = a, text
	s.next = (s.next + 1) % len(s.addrs)
	return text
}
