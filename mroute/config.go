// SPDX-License-Identifier: Apache-2.0

package mroute

import (
	"fmt"
	"net/netip"
	"time"

	"mcr/dataplane/plan"
	"mcr/mroute/mrib"
	"mcr/mroute/netif"
)

// Config is the router's whole configuration in plain Go. It is immutable: a new one shares with the old whatever did
// not change, so that an equal pointer means "unchanged" and a difference costs what changed, not what there is.
type Config struct {
	Forwarding Forwarding
	Rules      map[string]*Rule // by name
	// Boundaries are the groups that do not pass an interface, by its name (D6).
	Boundaries map[string][]netip.Prefix

	// Dataplane settings; GSOOff holds interface names here, since an interface may not exist yet.
	Engine              plan.Engine
	Workers             int   // 0: one for each CPU that may be used
	CPUs                []int // that they are pinned to
	RingEntries         int
	ReceiveBuffers      int
	ReceiveSocketBuffer int // bytes
	GSOMaxSegments      int
	GSOOff              map[string]bool
	Coalesce            time.Duration
	BusyPoll            time.Duration
	ZeroCopy            plan.ZeroCopy
	PortLearner         PortLearner

	// Endpoints are the unicast endpoints that the configuration names, by interface, ordered by address.
	Endpoints map[string][]netif.ConfiguredEndpoint

	// Protocols that are configured and do not run yet: what their state is made from.
	PIM, IGMP Protocol
}

// Forwarding is what holds for all rules.
type Forwarding struct {
	UnicastTTL          uint8
	MulticastTTL        uint8 // under MulticastTTLMode TTLFixed
	MulticastTTLMode    plan.TTLMode
	MinimumInputTTL     *uint8        // nil: 1 for static rules
	RediscoveryInterval time.Duration // audit of links, addresses and routes without an event
	MaximumSockets      uint32        // 0: 90 % of the descriptor limit
	AutoHER             bool          // head-end replication on point-to-point interfaces
	HERMode             mrib.HERMode  // when to rewrite where it is on; HERInherit: HERAuto
}

// PortLearner says how entries without port find the ports of a group.
type PortLearner struct {
	MaximumPorts int           // of one group on one interface; 0: 64
	Hold         time.Duration // after the latest datagram a port is given up; 0: 210 s
}

// Protocol is PIM or IGMP as configured.
type Protocol struct {
	Enabled    bool
	Interfaces map[string]InterfaceProtocol // by name
}

// InterfaceProtocol is PIM or IGMP on one interface, as configured.
type InterfaceProtocol struct {
	Enabled bool
	HER     mrib.ProtocolHER
}

// Rule is one static rule, and Output one output of it. The MRIB takes them as they are.
type (
	Rule   = mrib.Rule
	Output = mrib.Output
)

// Refusal is one thing that the machine cannot do today: too few descriptors, no memory.
type Refusal struct {
	Rule, Output string // Output is empty where the input is refused
	Setting      string // of the dataplane, its leaf's name; Rule is empty then
	Interface    string // with an Endpoint, one that the configuration names there; Rule is empty then
	Endpoint     netip.Addr
	Err          error
}

// RefusalError is what Prepare returns where the machine, not the configuration, stands in the way.
type RefusalError struct{ Refusals []Refusal }

func (e *RefusalError) Error() string {
	r := e.Refusals[0]
	what := "rule " + r.Rule
	if r.Setting != "" {
		what = r.Setting
	}
	if r.Endpoint.IsValid() {
		what = fmt.Sprintf("endpoint %v on %s", r.Endpoint, r.Interface)
	}
	if r.Output != "" {
		what += " output " + r.Output
	}
	if n := len(e.Refusals) - 1; n > 0 {
		return fmt.Sprintf("%s: %v (and %d more)", what, r.Err, n)
	}
	return fmt.Sprintf("%s: %v", what, r.Err)
}

// Prepared is a Config that is ready to run: exactly one of Commit and Discard is called, soon, because the router's
// loop waits for it.
type Prepared interface {
	// Commit makes the Config the running one; it cannot fail. publish gets the state changes that follow from it, on the
	// router's loop and before any later Batch. It returns when the dataplane has adopted the new table, or after 1 s.
	Commit(publish func(Batch))
	// Discard leaves everything as it was.
	Discard()
}
