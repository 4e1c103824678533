// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"net/netip"
)

// Origin says where a unicast endpoint came from, the best first. The names are those of the YANG type endpoint-origin.
type Origin uint8

// Origins.
const (
	OriginNone Origin = iota
	Configured
	PeerAddress   // the peer of a point-to-point address
	SubnetPeer    // the other host of a /31 or /30
	PIMNeighbor   // whoever holds the claim
	IGMPReporter  // likewise
	WireGuardPeer // the single /32 of the only peer
	OuterRemote   // the tunnel's outer remote: reached inside the tunnel, never beside it
)

var origins = [...]string{
	"none", "configured", "peer-address", "subnet-peer", "pim-neighbor", "igmp-reporter", "wireguard-peer", "outer-remote",
}

func (o Origin) String() string { return origins[o] }

// Unresolved says why no endpoint is known. The names are those of the YANG type endpoint-reason.
type Unresolved uint8

// Reasons.
const (
	Resolved Unresolved = iota
	LinkMissing
	NoPeerInformation
	Multipoint       // the tunnel has no fixed remote
	CollectMetadata  // the remote is chosen per packet
	SeveralPeers     // of WireGuard
	NoHostAllowedIP  // the only WireGuard peer has no single /32
	SeveralEndpoints // are configured without a neighbour: they serve static outputs only
	MulticastRemote
)

var unresolved = [...]string{
	"none", "interface-missing", "no-peer-information", "multipoint", "collect-metadata", "several-peers", "no-host-allowed-ip",
	"several-endpoints", "multicast-remote",
}

func (u Unresolved) String() string { return unresolved[u] }

// PassedOver says why a candidate is not used. The names are those of the YANG type passed-over-reason.
type PassedOver uint8

// Reasons.
const (
	NotPassedOver PassedOver = iota
	Outranked
	OtherNeighbor
	OneOfSeveralEndpoints
	OneOfSeveralPeers
	OneOfSeveralHosts // among the allowed-ips of the only WireGuard peer
	IsMulticast
	OwnAddress
	RouteLeavesElsewhere
)

var passedOver = [...]string{
	"none", "outranked", "other-neighbor", "several-endpoints", "several-peers", "several-hosts", "multicast-remote", "own-address",
	"route-elsewhere",
}

func (p PassedOver) String() string { return passedOver[p] }

// ConfiguredEndpoint is an endpoint that the configuration names for an interface.
type ConfiguredEndpoint struct {
	Address  netip.Addr
	Neighbor netip.Addr // whose claims alone it serves; invalid: those of all others, and static outputs
}

// Holder is who asks for an output: a PIM neighbour or an IGMP reporter with its address on the link; the zero value is the
// configuration, for a static output.
type Holder struct {
	Addr   netip.Addr
	Origin Origin // PIMNeighbor or IGMPReporter
}

// Candidate is an address that might be an endpoint, used or not.
type Candidate struct {
	Address    netip.Addr
	Origin     Origin // the best of the places it came from
	PassedOver PassedOver
}

// InUse says that copies are sent to it.
func (c Candidate) InUse() bool { return c.PassedOver == NotPassedOver }

// Resolution is what is known of the far end of an interface, for one holder.
type Resolution struct {
	Candidates []Candidate // in the order of preference; those in use are the endpoints: several for a static output alone
	Reason     Unresolved  // Resolved where an endpoint is in use
}
