// SPDX-License-Identifier: Apache-2.0

package state

import (
	"mcr/mroute"
	"mcr/northbound/telemetry"
)

// boundary publishes the state of an administrative boundary.
func (s *step) boundary(iface string, b *mroute.BoundaryState) {
	path := append(entryAt(names("mcr", "forwarding", "boundaries"), "boundary", "interface", iface), stateElem)
	if b == nil {
		s.remove(path)
		return
	}
	prefixes := make([]string, len(b.Prefixes))
	for i, p := range b.Prefixes {
		prefixes[i] = p.String()
	}
	var l leaves
	l.texts("group-prefix", prefixes)
	l.text("interface", iface)
	c := b.Counters
	s.update(path, l, func(dst []telemetry.Leaf) []telemetry.Leaf {
		l := leaves(dst)
		l.number("counters/claims", c.Claims.Load())
		l.number("counters/packets", c.Packets.Load())
		return l
	})
}
