// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"net/netip"
	"time"

	"mcr/dataplane/plan"
)

// Link is one interface of the network namespace. Immutable.
type Link struct {
	Index      plan.IfIndex
	Name       string
	Kind       string // the kernel's link kind, such as "gre"; empty for hardware
	Type       string // the kernel's link type, such as "ether"
	MTU        int
	Up         bool         // IFF_UP
	Running    bool         // operational: RFC 2863 up or unknown
	Oper       string       // OpenConfig's spelling, such as "UP" or "LOWER_LAYER_DOWN"
	Multicast  bool         // IFF_MULTICAST
	PointPoint bool         // IFF_POINTOPOINT
	NoARP      bool         // IFF_NOARP
	Loopback   bool         // IFF_LOOPBACK
	Master     plan.IfIndex // 0: none
	MasterName string
	Enslaved   bool // a bridge port, or a slave of a bond or team: nothing arrives on it
	Addrs      []Addr
	LastChange time.Time // of Oper

	// Of tunnels.
	OuterLocal, OuterRemote netip.Addr // invalid: none
	External                bool       // the remote is chosen per packet (collect-metadata)
	Peers                   []Peer     // of WireGuard, ordered by key
}

// Peer is a WireGuard peer.
type Peer struct {
	Key        string // base64
	AllowedIPs []netip.Prefix
	Endpoint   netip.AddrPort // outer; invalid: not known yet
}

// Addr is an IPv4 address of a link.
type Addr struct {
	IP     netip.Addr
	Peer   netip.Addr // of a point-to-point address; invalid otherwise
	Prefix netip.Prefix
}
