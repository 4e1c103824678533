// SPDX-License-Identifier: Apache-2.0

package mroute

import (
	"net/netip"
	"time"

	"mcr/dataplane/plan"
	"mcr/mroute/mrib"
	"mcr/mroute/netif"
)

// Batch is a set of state changes that became true together. A nil value means that the thing is gone. The values are
// immutable. Batches are handed over in order, on the router's loop; the receiver must not block.
type Batch struct {
	Time time.Time

	Rules        map[string]*RuleState
	RuleOutputs  map[RuleOutputKey]*RuleOutputState
	Entries      map[mrib.EntryKey]*EntryState
	EntryOutputs map[EntryOutputKey]*EntryOutputState
	Links        map[string]*netif.Link // by name
	Egress       map[string]*EgressState
	Protocols    map[ProtocolInterface]*ProtocolState
	Boundaries   map[string]*BoundaryState // by interface
	Endpoints    map[string]*EndpointState // by interface
	Global       *GlobalState              // nil: unchanged
}

// RuleOutputKey names a configured output.
type RuleOutputKey struct{ Rule, Output string }

// EntryOutputKey names an output of an MRIB entry.
type EntryOutputKey struct {
	Entry  mrib.EntryKey
	Output mrib.OutputKey
}

// InputStatus says whether a stream comes in (F7).
type InputStatus uint8

// Input states.
const (
	InputReceiving InputStatus = iota
	InputSilent
	InputNever
	InputDiscarding
	InputNotJoined
)

func (s InputStatus) String() string {
	return [...]string{"receiving", "silent", "never", "discarding", "not-joined"}[s]
}

// InputState is the state of an input: of the rule and of the MRIB entry it makes.
type InputState struct {
	Created       time.Time
	Status        InputStatus
	DiscardReason string // a YANG discard-reason; "none" unless Status is discarding
	Joined        bool
	Oper          mrib.Oper
	Reason        mrib.Reason
	Retry         time.Time // when an input that is down for a loop is tried again; else zero
	LastChange    time.Time // of Oper
	Outputs       int
	OutputsUp     int
	Method        plan.Method // how it receives
	MethodReason  string
	LearntPorts   int // of an input without port
}

// RuleState is the state of one rule.
type RuleState struct {
	Rule *Rule // as in force
	InputState
	List  plan.ListID   // its counters; 0 while it has none
	Point plan.PointKey // its receive point's counters; zero while it has none
}

// OutputState is what an output is doing.
type OutputState struct {
	ID         plan.OutputID // its counters; 0 while it has none (a disabled rule)
	Created    time.Time
	Oper       mrib.Oper
	Reason     mrib.Reason
	LastChange time.Time // of Oper or Endpoint
	Endpoint   netip.AddrPort
	Local      netip.AddrPort // source of the copies; invalid while down
	TTL        uint8          // 0: follows the packet
	DSCP       int8
	GSOUsed    bool
	GSOReason  string
	Origins    []string
	HERActive  bool         // a multicast output that is being turned into unicast copies
	Origin     netif.Origin // of a unicast Endpoint
	Branches   int          // copies of each datagram; above 1 Endpoint and Local are not valid
}

// EndpointState is what is known of the far end of an interface: of each that is point-to-point, lacks IFF_MULTICAST, or is named
// in the configuration.
type EndpointState struct {
	Link       *netif.Link                // nil: there is none of that name
	Configured []netif.ConfiguredEndpoint // ordered by address
	Resolution netif.Resolution           // for a static output
	Since      map[netip.Addr]time.Time   // when each candidate was found
	HERActive  bool                       // multicast outputs here are turned into unicast copies
	LastChange time.Time                  // of an endpoint, a flag or the reason
}

// RuleOutputState is the state of one configured output.
type RuleOutputState struct {
	Output *Output // as in force
	OutputState
}

// EntryState is the state of one MRIB entry.
type EntryState struct {
	InputState
	Origins []string
	List    plan.ListID
	Point   plan.PointKey
}

// EntryOutputState is the state of one output of an MRIB entry.
type EntryOutputState struct {
	OutputState
	Rule, RuleOutput string
}

// EgressState is what the dataplane decided for an egress interface.
type EgressState struct {
	Configured bool // gso off is configured
	GSOUsed    bool
	GSOReason  string
}

// ProtocolInterface names an interface of PIM or IGMP.
type ProtocolInterface struct{ Protocol, Interface string } // "PIM" or "IGMP"

// ProtocolState is the state of a protocol on an interface.
type ProtocolState struct{ Reason mrib.Reason }

// GlobalState is what holds for the whole router.
type GlobalState struct {
	Forwarding   Forwarding
	Rules        int
	RuleOutputs  int
	Entries      int
	Outputs      int // of all entries
	OutputsUp    int
	UnicastCount int // outputs whose destination is a host
	Version      uint64
	Dataplane    plan.Info
	PortLearner  PortLearner
	LearntPorts  int // of all inputs
}
