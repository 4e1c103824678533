// SPDX-License-Identifier: Apache-2.0

package mrib

import "net/netip"

// HER is what head-end replication makes of a multicast output.
type HER struct {
	Active    bool         // it becomes unicast copies, one to each endpoint; without one it is down, EndpointUnresolved
	Endpoints []netip.Addr // ascending
}

// ProtocolHER is how PIM or IGMP is configured for head-end replication on one interface.
type ProtocolHER struct {
	Auto *bool   // auto-her; nil: not configured
	Mode HERMode // HERInherit: not configured
}
