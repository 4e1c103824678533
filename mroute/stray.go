// SPDX-License-Identifier: Apache-2.0

package mroute

import (
	"net/netip"
	"slices"

	"mcr/dataplane/plan"
	"mcr/mroute/mrib"
)

// strayGroups is how many groups are looked for at a time.
const strayGroups = 16

// strayWatch looks for the streams of quiet inputs on other interfaces. With more than strayGroups quiet groups it takes
// turns. It belongs to the loop.
type strayWatch struct {
	seer strays
	look []netip.Addr // what is looked for now
	turn int
}

func newStrayWatch(s strays) *strayWatch { return &strayWatch{seer: s} }

// find returns, by rule, the interface on which the stream of a quiet input was seen since the last call, and sets out
// what is looked for until the next.
func (s *strayWatch) find(r *Router) map[string]string {
	if s.seer == nil {
		return nil
	}
	var groups []netip.Addr
	quiet := map[plan.Sight][]*mrib.Entry{} // by group and port; port 0: every port
	inputs := map[plan.Sight]bool{}
	for _, e := range r.table.Entries {
		p, ok := r.table.Point(e.Key)
		if !ok {
			continue
		}
		inputs[plan.Sight(p)] = true
		if w := r.inputs[e.Rule.Name]; w != nil && w.status != InputReceiving {
			k := plan.Sight{Group: e.Key.Group, Port: e.Key.Port}
			quiet[k] = append(quiet[k], e)
			groups = append(groups, e.Key.Group)
		}
	}
	found := map[string]string{}
	if len(s.look) > 0 {
		seen := s.seer.Seen()
		for sight := range seen {
			l := r.host.links.Index(sight.IfIndex)
			anyPort := sight
			anyPort.Port = 0
			if l == nil || inputs[sight] || inputs[anyPort] { // where another rule takes it in, it is at home
				continue
			}
			for _, port := range [...]uint16{sight.Port, 0} {
				for _, e := range quiet[plan.Sight{Group: sight.Group, Port: port}] {
					home := sight
					if p, ok := r.table.Point(e.Key); ok {
						home.IfIndex = p.IfIndex
					}
					if home == sight || !seen[home] { // a macvlan's stream is seen on the interface below as well
						found[e.Rule.Name] = l.Name
					}
				}
			}
		}
	}
	s.aim(groups)
	return found
}

// aim sets the groups to look for. An error leaves what there was: it is a diagnosis, not a service.
func (s *strayWatch) aim(groups []netip.Addr) {
	slices.SortFunc(groups, netip.Addr.Compare)
	groups = slices.Compact(groups)
	if len(groups) > strayGroups {
		s.turn = (s.turn + strayGroups) % len(groups)
		groups = slices.Concat(groups[s.turn:], groups[:s.turn])[:strayGroups]
	}
	if !slices.Equal(groups, s.look) && s.seer.Look(groups) == nil {
		s.look = groups
	}
}
