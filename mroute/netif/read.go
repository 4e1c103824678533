// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"maps"
	"slices"
	"time"

	"mcr/dataplane/plan"
)

// refresh reads what is in doubt. After an error it is in doubt as before.
func (m *Monitor) refresh() (*Event, error) {
	d := m.doubts.take()
	ev, err := m.read(d)
	if err != nil {
		m.doubts.again(d)
	}
	return ev, err
}

// read brings the snapshot up to date with the kernel where d doubts it.
func (m *Monitor) read(d doubt) (*Event, error) {
	old := m.Snapshot()
	links, err := m.truth(old, d)
	if err != nil {
		return nil, err
	}
	ev := &Event{Touched: map[plan.IfIndex]bool{}, Prefixes: slices.Collect(maps.Keys(d.prefixes)), All: d.all || d.routes}
	for i := range d.links {
		ev.Touched[i] = true
	}
	for i, l := range links {
		if went := d.links[i] || old.Index(i) == nil; went && l != nil && m.told.Index(i) != nil {
			links[i] = nil // until that is told
			ev.alone = true
			m.doubts.add(hint{link: i})
		}
	}
	var changed []plan.IfIndex
	ev.Snapshot, changed = old.with(links, time.Now())
	for _, i := range changed {
		ev.Touched[i] = true
	}
	m.mu.Lock()
	m.last = ev.Snapshot
	m.mu.Unlock()
	return ev, nil
}

// truth reads the links in doubt, and those that are tangled up with them; nil: there is none of that index. Few are read
// one by one: with 5,000 links a dump takes as long as a thousand of these.
func (m *Monitor) truth(old *Snapshot, d doubt) (map[plan.IfIndex]*Link, error) {
	doubtful := maps.Clone(d.links)
	for i := range old.wireguard(d.via) {
		doubtful[i] = false
	}
	var links map[plan.IfIndex]*Link
	var err error
	if d.all || 3*len(doubtful) > len(old.byIndex) {
		links, err = m.dump(old)
	} else {
		links, err = m.single(old, doubtful)
	}
	if err != nil {
		return nil, err
	}
	for i, l := range links {
		if l == nil || l.Kind != "wireguard" {
			continue
		}
		if _, ok := doubtful[i]; !ok && !d.all && old.byIndex[i] != nil {
			l.Peers = old.byIndex[i].Peers
		} else {
			l.Peers = m.wg.peers(l.Name)
		}
	}
	return links, nil
}

// wireguard returns which of the links by which routes lead are WireGuard's; 0 stands for any link.
func (s *Snapshot) wireguard(via map[plan.IfIndex]bool) map[plan.IfIndex]bool {
	out := map[plan.IfIndex]bool{}
	if via[0] {
		for i, l := range s.byIndex {
			if l.Kind == "wireguard" {
				out[i] = true
			}
		}
	}
	for i := range via {
		if l := s.byIndex[i]; l != nil && l.Kind == "wireguard" {
			out[i] = true
		}
	}
	return out
}

// single reads links one by one. A link that has the name of another is read with it: the other's notice is on its way.
func (m *Monitor) single(old *Snapshot, doubtful map[plan.IfIndex]bool) (map[plan.IfIndex]*Link, error) {
	links := make(map[plan.IfIndex]*Link, len(doubtful))
	todo := slices.Collect(maps.Keys(doubtful))
	for len(todo) > 0 {
		i := todo[0]
		todo = todo[1:]
		l, err := m.conn.link(i)
		if err != nil {
			return nil, err
		}
		links[i] = l
		if l == nil {
			continue
		}
		if o := old.byName[l.Name]; o != nil && o.Index != i {
			if _, ok := links[o.Index]; !ok {
				todo = append(todo, o.Index)
			}
		}
	}
	return links, nil
}

// dump reads all links. While links or addresses change the kernel says that a dump may lack some, all the more the more
// there are; what three dumps and what was known do not agree on is then read one by one. All else that changes meanwhile
// is told by notices.
func (m *Monitor) dump(old *Snapshot) (map[plan.IfIndex]*Link, error) {
	known := maps.Clone(old.byIndex)
	odd := map[plan.IfIndex]bool{}
	for range 3 {
		links, whole, err := m.conn.links()
		if err != nil {
			return nil, err
		}
		for i, was := range known {
			if l := links[i]; l == nil || !slices.Equal(was.Addrs, l.Addrs) {
				odd[i] = true
			}
		}
		for i, l := range links {
			if known[i] == nil {
				odd[i] = true
			}
			known[i] = l
		}
		if whole {
			for i := range old.byIndex {
				if links[i] == nil {
					links[i] = nil // gone
				}
			}
			return links, nil
		}
	}
	for i := range odd {
		l, err := m.conn.link(i)
		if err != nil {
			return nil, err
		}
		known[i] = l
	}
	return known, nil
}
