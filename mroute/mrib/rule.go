// SPDX-License-Identifier: Apache-2.0

package mrib

import (
	"net/netip"
	"time"
)

// ReceiveMethod is how a rule asks for its datagrams.
type ReceiveMethod uint8

// Receive methods. Auto is a socket, unless the kernel would keep the datagrams from it.
const (
	ReceiveAuto ReceiveMethod = iota
	ReceiveSocket
	ReceivePacket
)

// Rule is one static rule. Immutable.
type Rule struct {
	Name            string
	Enabled         bool
	Interface       string
	Group           netip.Addr
	Source          netip.Addr // invalid: any source
	Port            uint16     // 0: every port
	Method          ReceiveMethod
	MinimumInputTTL *uint8        // nil: the global setting
	SilenceTimeout  time.Duration // 0: never silent
	Outputs         []*Output     // ascending by name
}

// Output is one configured output. Immutable.
type Output struct {
	Name       string
	Enabled    bool
	Interface  string
	Group      netip.Addr // where no UnicastDest is given; never invalid after translation
	Unicast    netip.Addr // invalid: send to Group
	Port       uint16     // 0: keep
	Source     netip.Addr // invalid: the egress interface's
	SourcePort uint16     // 0: the kernel's choice
	TTL        uint8      // 0: the global setting
	DSCP       int8       // plan.DSCPKeep: as it arrived
	HERMode    HERMode
}
