// SPDX-License-Identifier: Apache-2.0

package mrib

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"mcr/dataplane/plan"
)

// Entry is one row. Immutable.
type Entry struct {
	Key     EntryKey
	Rule    *Rule // the static rule that makes it
	List    *plan.List
	Members []*Member // ascending by ID, one for each of List.Outputs
	Reason  Reason    // why the whole row is down: Loop, or ReasonNone
	Created time.Time

	her   bool // some member is made by head-end replication
	plain bool // every member is a row
}

// Plain says that each member is an output of the row and all there is of an output of the rule.
func (e *Entry) Plain() bool { return e.plain }

// Member is one output of an entry, or the head of several that an output of the rule has become. Immutable.
type Member struct {
	Key     OutputKey
	Input   netip.Addr // group, or own address, of which it is a copy
	Static  *Output    // as configured
	Rule    string     // the rule that configures it
	HER     bool       // a multicast output that is turned into unicast copies
	Reason  Reason     // ReasonNone: the table has nothing against it
	Plan    *plan.Output
	Created time.Time
	Changed time.Time // when Reason or the destination last changed

	// Copies is 1; of a trunk under HER the number of its endpoints: 0 while there is none, above 1 where each has an instance.
	Copies int
	// Same is another member of the entry that has the same identity and is the row; 0: none. Where Plan.Shares is set, what that one
	// sends is sent for this one as well.
	Same plan.OutputID
}

// ID returns the member's identity towards the dataplane.
func (m *Member) ID() plan.OutputID { return m.Plan.ID }

// Unicast says that copies go to a host.
func (m *Member) Unicast() bool { return !m.Key.Dest.IsMulticast() }

// Instance says that the member is for one endpoint of several; its trunk has the output's sums.
func (m *Member) Instance() bool { return m.Plan.Branch != 0 }

// Trunk is the member that stands for the whole output of the rule.
func (m *Member) Trunk() plan.OutputID {
	if m.Plan.Branch != 0 {
		return m.Plan.Branch
	}
	return m.Plan.ID
}

// Row says that the member is an output of the MRIB entry, as its state tells.
func (m *Member) Row() bool { return m.Copies <= 1 && m.Same == 0 }

// sends says that copies leave by the member itself, or by its instances for each port, once it is up.
func (m *Member) sends() bool { return m.Copies == 1 && m.Same == 0 }

// Ingress is what the host says about an input interface.
type Ingress struct {
	Reason  Reason       // why datagrams cannot come in
	IfIndex plan.IfIndex // 0: there is nothing to listen on
}

// Egress is what the host says about sending to one destination by one interface.
type Egress struct {
	Reason  Reason
	IfIndex plan.IfIndex
	MTU     int
	Source  netip.Addr
}

// Host answers what the MRIB has to know about the host. The answers hold for one Stage.
type Host interface {
	// Ingress says whether datagrams to group, which may be a unicast address, can come in by iface.
	Ingress(iface string, group netip.Addr) Ingress
	Egress(o *Output, dest netip.Addr) Egress
	// HER says what head-end replication does to a static multicast output: whether it is turned into unicast copies, and to
	// whom. It is not asked where the output names a host.
	HER(o *Output) HER
	// Filtered says whether the kernel's reverse-path filter drops what source sends to iface.
	Filtered(iface string, source netip.Addr) bool
}

// Knobs are the global settings that shape copies.
type Knobs struct {
	UnicastTTL, MulticastTTL uint8
	MulticastMode            plan.TTLMode
	MinimumInputTTL          *uint8 // nil: 1, which takes all
	MaximumLearntPorts       int    // of one group on one interface; 0: 64
}

// Table is the MRIB at one moment. Immutable; the zero value is the empty table.
type Table struct {
	Entries map[EntryKey]*Entry
	Version uint64

	points   map[pointKey]*point
	order    []*plan.Point         // of the points that have an interface, ordered by key
	learners map[groupKey]*learner // where there is an entry without port
	taken    map[pointKey]bool     // another socket holds the address
	lastOut  plan.OutputID
	lastLst  plan.ListID
}

// pointKey names a receive point by interface name, which outlives an index.
type pointKey struct {
	iface string
	group netip.Addr
	port  uint16
}

func (k EntryKey) point() pointKey { return pointKey{k.Interface, k.Group, k.Port} }

// Ingress returns what the host said about the entry's input when the table was made.
func (t *Table) Ingress(k EntryKey) Ingress {
	if p := t.points[k.point()]; p != nil {
		return p.ingress
	}
	return Ingress{Reason: InterfaceMissing}
}

// Point returns the key of the receive point that serves the entry, and false while there is none.
func (t *Table) Point(k EntryKey) (plan.PointKey, bool) {
	if p := t.points[k.point()]; p != nil && p.plan != nil {
		return p.plan.PointKey, true
	}
	return plan.PointKey{}, false
}

// Points returns the receive points of the table, for the Plan.
func (t *Table) Points() []*plan.Point { return t.order }

// PlanPoint returns the receive point with that key, or nil.
func (t *Table) PlanPoint(k plan.PointKey) *plan.Point {
	if i, ok := slices.BinarySearchFunc(t.order, k, func(p *plan.Point, k plan.PointKey) int { return comparePoints(p.PointKey, k) }); ok {
		return t.order[i]
	}
	return nil
}

func comparePoints(a, b plan.PointKey) int {
	return cmp.Or(cmp.Compare(a.IfIndex, b.IfIndex), a.Group.Compare(b.Group), cmp.Compare(a.Port, b.Port))
}

// RuleKey returns the row that a static rule makes.
func RuleKey(r *Rule) EntryKey {
	src := r.Source
	if !src.IsValid() {
		src = netip.IPv4Unspecified()
	}
	return EntryKey{Interface: r.Interface, Source: src, Group: r.Group, Port: r.Port}
}

// MemberKey returns the identity of a configured output under a rule: port 0 means the rule's, where it has one.
func MemberKey(r *Rule, o *Output) OutputKey {
	port := o.Port
	if port == 0 {
		port = r.Port
	}
	return OutputKey{Interface: o.Interface, Dest: o.Destination(), Port: port, SourcePort: o.SourcePort}
}

// Destination returns the address copies are sent to: a host given by the configuration overrides the group.
func (o *Output) Destination() netip.Addr {
	if o.Unicast.IsValid() {
		return o.Unicast
	}
	return o.Group
}

// Find returns the rule, and the output of it, that a Problem of the Plan is about. A learnt port is its rule's without
// port.
func (t *Table) Find(p plan.Problem) (rule, output string) {
	for _, e := range t.Entries {
		if p.Output == 0 {
			switch k, ok := t.Point(e.Key); {
			case !ok:
			case k == p.Point:
				return e.Rule.Name, ""
			case k == plan.PointKey{IfIndex: p.Point.IfIndex, Group: p.Point.Group}:
				rule = e.Rule.Name
			}
			continue
		}
		for _, m := range e.Members {
			if m.ID() == p.Output {
				return m.Rule, m.Static.Name
			}
		}
	}
	return rule, ""
}
