// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"maps"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"mcr/dataplane/plan"
)

// Snapshot is all links and IPv4 addresses at one moment. Immutable.
type Snapshot struct {
	byName  map[string]*Link
	byIndex map[plan.IfIndex]*Link
	local   map[netip.Addr]int // on how many links

	id, before uint64   // before: the snapshot that this one was made from; 0: none
	differ     []string // from that one
}

// snapshots numbers them.
var snapshots atomic.Uint64

// Link returns the link of that name, or nil.
func (s *Snapshot) Link(name string) *Link { return s.byName[name] }

// Index returns the link with that index, or nil.
func (s *Snapshot) Index(i plan.IfIndex) *Link { return s.byIndex[i] }

// Links returns all links by name; the map must not be changed.
func (s *Snapshot) Links() map[string]*Link { return s.byName }

// Differ returns the names whose links are not the same in both, in no order: new, changed, renamed, or gone. Between one
// snapshot and the next it costs nothing.
func (s *Snapshot) Differ(old *Snapshot) []string {
	switch {
	case s == old:
		return nil
	case s.before != 0 && s.before == old.id:
		return s.differ
	}
	var out []string
	for name, l := range s.byName {
		if old.byName[name] != l {
			out = append(out, name)
		}
	}
	for name := range old.byName {
		if s.byName[name] == nil {
			out = append(out, name)
		}
	}
	return out
}

// IsLocal says whether a is an address of this host.
func (s *Snapshot) IsLocal(a netip.Addr) bool { return s.local[a] > 0 || a.IsLoopback() }

// HasAddr says whether the link has an IPv4 address to send from.
func (l *Link) HasAddr() bool { return len(l.Addrs) > 0 }

// NewSnapshot returns a Snapshot of these links. Their addresses are the host's.
func NewSnapshot(links ...*Link) *Snapshot {
	s := &Snapshot{
		byName: make(map[string]*Link, len(links)), byIndex: make(map[plan.IfIndex]*Link, len(links)),
		local: map[netip.Addr]int{}, id: snapshots.Add(1),
	}
	for _, l := range links {
		s.byName[l.Name], s.byIndex[l.Index] = l, l
		for _, a := range l.Addrs {
			s.local[a.IP]++
		}
	}
	return s
}

// with returns the snapshot in which the links of read are as they were read just now, nil: gone, and which of all links
// are not what they were. What did not change keeps its pointer, and so does the snapshot. It completes what was read.
func (s *Snapshot) with(read map[plan.IfIndex]*Link, now time.Time) (*Snapshot, []plan.IfIndex) {
	for i, l := range read {
		if l != nil {
			l.setMaster(s.master(read, l))
			l.LastChange = now
			if was := s.byIndex[i]; was != nil && was.Name == l.Name && was.Oper == l.Oper {
				l.LastChange = was.LastChange
			}
		}
	}
	is := s.slaves(read)
	for i, l := range read {
		if was := s.byIndex[i]; !was.equal(l) {
			is[i] = l
		}
	}
	if len(is) == 0 {
		return s, nil
	}
	next := &Snapshot{
		byName: maps.Clone(s.byName), byIndex: maps.Clone(s.byIndex), local: maps.Clone(s.local),
		id: snapshots.Add(1), before: s.id,
	}
	names := map[string]bool{}
	for i := range is { // all of them first: two may have swapped names, or an address moved
		if was := s.byIndex[i]; was != nil {
			names[was.Name] = true
		}
		next.remove(i)
	}
	for _, l := range is {
		if l != nil {
			names[l.Name] = true
			next.add(l)
		}
	}
	next.differ = slices.Collect(maps.Keys(names))
	return next, slices.Collect(maps.Keys(is))
}

// master is the link above l: from read where it is there.
func (s *Snapshot) master(read map[plan.IfIndex]*Link, l *Link) *Link {
	if l.Master == 0 {
		return nil
	}
	if m, ok := read[l.Master]; ok {
		return m
	}
	return s.byIndex[l.Master]
}

// slaves returns links that were not read, and change all the same because their master did.
func (s *Snapshot) slaves(read map[plan.IfIndex]*Link) map[plan.IfIndex]*Link {
	out := map[plan.IfIndex]*Link{}
	moved := false // the name or kind of a link under which there may be others
	for i, l := range read {
		was := s.byIndex[i]
		moved = moved || was == nil || l == nil || was.Name != l.Name || was.Kind != l.Kind
	}
	if !moved {
		return out
	}
	for i, was := range s.byIndex {
		if _, ok := read[i]; ok || was.Master == 0 {
			continue
		}
		l := *was
		if l.setMaster(s.master(read, was)); !was.equal(&l) {
			out[i] = &l
		}
	}
	return out
}

func (s *Snapshot) remove(i plan.IfIndex) {
	l := s.byIndex[i]
	if l == nil {
		return
	}
	delete(s.byIndex, i)
	if s.byName[l.Name] == l {
		delete(s.byName, l.Name)
	}
	for _, a := range l.Addrs {
		if s.local[a.IP]--; s.local[a.IP] == 0 {
			delete(s.local, a.IP)
		}
	}
}

func (s *Snapshot) add(l *Link) {
	s.byName[l.Name], s.byIndex[l.Index] = l, l
	for _, a := range l.Addrs {
		s.local[a.IP]++
	}
}

// setMaster takes in what the link above says; nil: there is none, or it is not known yet.
func (l *Link) setMaster(m *Link) {
	l.MasterName, l.Enslaved = "", false
	if m != nil {
		l.MasterName = m.Name
		// A VRF or a router's own netns device is a master that takes nothing away; these do.
		l.Enslaved = m.Kind == "bridge" || m.Kind == "bond" || m.Kind == "team" || m.Kind == "ovs-system"
	}
}

// equal compares all but the time of the last change. Both may be nil.
func (l *Link) equal(o *Link) bool {
	if l == nil || o == nil {
		return l == o
	}
	a, b := *l, *o
	a.LastChange, b.LastChange = time.Time{}, time.Time{}
	return reflect.DeepEqual(a, b)
}

func fromIP(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip)
	return a.Unmap(), ok && a.Unmap().Is4()
}

// String names the link and what is remarkable about it, for messages.
func (l *Link) String() string {
	parts := []string{l.Name, strings.ToLower(l.Oper)}
	if l.Kind != "" {
		parts = append(parts, l.Kind)
	}
	return strings.Join(parts, " ")
}
