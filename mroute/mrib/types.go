// SPDX-License-Identifier: Apache-2.0

package mrib

import (
	"fmt"
	"net/netip"
)

// EntryKey is the identity of an MRIB row.
type EntryKey struct {
	Interface string     // input interface; None while nothing tells it
	Source    netip.Addr // 0.0.0.0: any
	Group     netip.Addr
	Port      uint16 // 0: every port
}

// None stands for an input interface that is not known; no interface can be called that.
const None = ":none"

func (k EntryKey) String() string {
	src := "*"
	if !k.Source.IsUnspecified() {
		src = k.Source.String()
	}
	return fmt.Sprintf("(%s,%v:%d) on %s", src, k.Group, k.Port, k.Interface)
}

// Encapsulation is what the payload is wrapped in.
type Encapsulation uint8

// Encapsulations.
const (
	EncapNone Encapsulation = iota
	EncapAMT
)

func (e Encapsulation) String() string { return [...]string{"none", "amt"}[e] }

// OutputKey is the identity of an output within an entry: equal keys are one branch, whoever asks for it.
type OutputKey struct {
	Interface  string
	Dest       netip.Addr // group or host; 0.0.0.0 while an endpoint is not known
	Port       uint16     // effective: under an entry with a port never 0
	Encap      Encapsulation
	SourcePort uint16 // where the origin fixes it, else 0
}

// Endpoint is where copies go; port 0 keeps the port that arrived.
func (k OutputKey) Endpoint() netip.AddrPort { return netip.AddrPortFrom(k.Dest, k.Port) }

// Oper is an operational state.
type Oper uint8

// Operational states.
const (
	Up Oper = iota
	Down
	Degraded
)

func (o Oper) String() string { return [...]string{"up", "down", "degraded"}[o] }

// HERMode says when a multicast output is turned into unicast copies.
type HERMode uint8

// HER modes. Inherit is the zero value: the interface's and the global setting decide.
const (
	HERInherit HERMode = iota
	HERAuto
	HERAlways
	HERNever
)

// Reason says why something is not up. The names are those of the YANG type down-reason.
type Reason uint8

// Reasons.
const (
	ReasonNone Reason = iota
	AdminDisabled
	InterfaceMissing
	InterfaceDown
	NoAddress
	NoRoute
	EndpointUnresolved
	RouteElsewhere
	SendFailing
	LimitExceeded
	Loop
	NotRunning
	JoinFailed
	InterfaceEnslaved
	AddressInUse
	TTLTooLow
	Scope
	WireGuardNoPeer     // the kernel says ENOKEY
	WireGuardNoEndpoint // EDESTADDRREQ
)

var reasons = [...]string{
	"none", "admin-disabled", "interface-missing", "interface-down", "no-address", "no-route", "endpoint-unresolved",
	"route-elsewhere", "send-failing", "limit-exceeded", "loop", "not-running", "join-failed", "interface-enslaved",
	"address-in-use", "ttl-too-low", "scope", "wireguard-no-peer", "wireguard-no-endpoint",
}

func (r Reason) String() string { return reasons[r] }
