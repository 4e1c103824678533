// SPDX-License-Identifier: Apache-2.0

package dataplane

import "mcr/dataplane/plan"

// LinksChanged tells of links that are not what they were, such as after ethtool or another route: what they refused is tried
// again. A run that is refused anew is sent datagram by datagram, so that trying costs no packet. It says whether
// anything was refused.
func (e *Engine) LinksChanged(links map[plan.IfIndex]bool) (any bool) {
	if len(links) == 0 {
		return false
	}
	e.prepMu.Lock()
	defer e.prepMu.Unlock()
	for k, eg := range e.egresses {
		if links[k.ifIndex] && eg.off.Load()&offRefused != 0 {
			eg.off.And(^uint32(offRefused))
			any = true
		}
	}
	return any
}
