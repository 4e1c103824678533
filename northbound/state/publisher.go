// SPDX-License-Identifier: Apache-2.0

package state

import (
	"log/slog"
	"reflect"
	"time"

	"mcr/dataplane/plan"
	"mcr/gen"
	"mcr/mroute"
	"mcr/mroute/mrib"
	"mcr/mroute/netif"
	"mcr/northbound/config"
	"mcr/northbound/telemetry"
)

// Counters is what the dataplane counts. Its methods are called from any goroutine, also with ids that it no longer
// has, and must not block.
type Counters interface {
	Output(plan.OutputID) (plan.OutputCounters, plan.OutputStatus, bool)
	List(plan.ListID) (plan.ListCounters, bool)
	Point(plan.PointKey) (plan.PointCounters, bool)
	Info() plan.Info
	Totals() plan.TotalCounters
	Workers() []plan.WorkerCounters
}

// Tree takes what a Publisher makes; *telemetry.Tree is one.
type Tree interface {
	Apply(telemetry.Changes) error
}

// Config is what a Publisher needs. Tree and Counters are needed, the rest may be left out.
type Config struct {
	Tree     Tree
	Counters Counters
	Log      *slog.Logger // nil: nothing is logged

	Version   string // of MCR
	Commit    string // it was built from
	BuildTime string // RFC 3339; empty for a reproducible build
	Start     time.Time
	Clock     func() time.Time // nil: time.Now

	Subscriptions func() int // Subscribe calls that run; nil: not known
	// CarrierTransitions is how often the carrier of an interface came or went, where that is known; nil: nowhere.
	CarrierTransitions func(iface string) (uint64, bool)
	// QueueDrops is what the queueing disciplines of an interface threw away, where that is known; nil: nowhere.
	QueueDrops func(iface string) (uint64, bool)
}

// Publisher writes the state tree. Its methods are called one at a time.
type Publisher struct {
	cfg    Config
	proc   *procReader
	device *gen.Device // as last committed

	// What the router last said of the things whose state also shows configuration that the router does not know.
	rules     map[string]*mroute.RuleState
	links     map[string]*netif.Link
	protocols map[mroute.ProtocolInterface]*mroute.ProtocolState
	global    *mroute.GlobalState
	endpoints map[string]*mroute.EndpointState // to take back what is gone
	workers   int                              // that have a Unit

	commitRows []uint64 // revisions of the commits that have a Unit, ascending
}

// New returns a Publisher and publishes what holds from the start.
func New(c Config) *Publisher {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	p := &Publisher{
		cfg: c, proc: newProcReader(c.Clock),
		rules: map[string]*mroute.RuleState{}, links: map[string]*netif.Link{},
		protocols: map[mroute.ProtocolInterface]*mroute.ProtocolState{}, endpoints: map[string]*mroute.EndpointState{},
	}
	s := p.begin(c.Clock())
	s.system()
	s.end()
	return p
}

// Commit publishes a change of the configuration and what became of it in the router, as one.
func (p *Publisher) Commit(c config.Committed) {
	s := p.begin(c.State.Time)
	if c.Old == nil || c.Old.Revision != c.New.Revision { // else it is confirmed, which changes nothing
		s.changes.Commit = &telemetry.CommitMark{Number: c.New.Revision, ID: c.CommitID}
	}
	var before *gen.Device
	if c.Old != nil {
		before = c.Old.Tree
	}
	s.config(before, c.New.Tree, c.Touched)
	s.configuration(c.New)
	s.commits(c.New.Commits)
	s.batch(&c.State)
	s.end()
}

// Batch publishes what the router tells.
func (p *Publisher) Batch(b mroute.Batch) {
	s := p.begin(b.Time)
	s.batch(&b)
	s.end()
}

// step is one Apply in the making. The sets hold what has to be written anew when all is known.
type step struct {
	*Publisher
	changes telemetry.Changes
	slab
	entryKey  mrib.EntryKey // whose keys entryKeys are
	entryKeys []telemetry.Key

	dirtyRules     map[string]bool
	dirtyLinks     map[string]bool
	dirtyProtocols map[mroute.ProtocolInterface]bool
	dirtyWhole     bool // the figures and settings of the whole
}

func (p *Publisher) begin(t time.Time) *step {
	return &step{
		Publisher: p, changes: telemetry.Changes{Time: t},
		dirtyRules: map[string]bool{}, dirtyLinks: map[string]bool{}, dirtyProtocols: map[mroute.ProtocolInterface]bool{},
	}
}

// end writes what depends on several things, and hands all over.
func (s *step) end() {
	for name := range s.dirtyRules {
		s.rule(name)
	}
	for name := range s.dirtyLinks {
		s.link(name)
	}
	for k := range s.dirtyProtocols {
		s.protocol(k)
	}
	if s.dirtyWhole {
		s.forwarding()
		s.dataplane()
		s.remoteJoin()
	}
	if len(s.changes.Update) == 0 && len(s.changes.Delete) == 0 && s.changes.Commit == nil {
		return
	}
	if err := s.cfg.Tree.Apply(s.changes); err != nil {
		s.cfg.Log.Error("state does not fit the schema", "err", err)
	}
}

// update adds a Unit. Leaves that are in the slab's room get their place there.
func (s *step) update(path telemetry.Path, l leaves, sample func([]telemetry.Leaf) []telemetry.Leaf) {
	s.changes.Update = append(s.changes.Update, &telemetry.Unit{Path: path, Leaves: s.done(l), Sample: sample})
}

func (s *step) remove(path telemetry.Path) { s.changes.Delete = append(s.changes.Delete, path) }

// config publishes the difference of two configurations, and marks the state that shows some of it.
func (s *step) config(before, after *gen.Device, touched func(any, int) ([]reflect.Value, bool)) {
	s.device = after
	if before == after {
		return
	}
	d := &differ{slab: &s.slab, changes: &s.changes, changed: s.configChanged, touched: touched}
	d.walk(device(), reflect.ValueOf(before), reflect.ValueOf(after), before != nil, after != nil)
}

// configChanged marks the state that repeats leaves of a config container because the router does not know them.
func (s *step) configChanged(p telemetry.Path) {
	switch {
	case p[0].Name == "interfaces" && len(p) == 3:
		s.dirtyLinks[p[1].Keys[0].Value] = true
	case p[0].Name == "mcr" && len(p) > 3 && p[3].Name == "rule":
		if len(p) == 5 {
			s.dirtyRules[p[3].Keys[0].Value] = true
		}
	case p[0].Name == "mcr":
		s.dirtyWhole = true
	case p[0].Name == "network-instances":
		if k, ok := protocolInterface(p); ok && s.protocols[k] != nil {
			s.dirtyProtocols[k] = true
		}
	}
}

// batch takes in what the router tells.
func (s *step) batch(b *mroute.Batch) {
	n := 2 * (len(b.RuleOutputs) + len(b.EntryOutputs)) // a config Unit comes with many a state Unit
	s.changes.Update = append(make([]*telemetry.Unit, 0, len(s.changes.Update)+n), s.changes.Update...)
	for name, r := range b.Rules {
		set(s.rules, name, r)
		s.dirtyRules[name] = true
	}
	for k, o := range b.RuleOutputs {
		s.ruleOutput(k, o)
	}
	for k, e := range b.Entries {
		s.entry(k, e)
	}
	for k, o := range b.EntryOutputs {
		s.entryOutput(k, o)
	}
	for name, l := range b.Links {
		s.addresses(name, s.links[name], l)
		set(s.links, name, l)
		s.dirtyLinks[name] = true
	}
	for name, e := range b.Egress {
		s.egress(name, e)
	}
	for name, bs := range b.Boundaries {
		s.boundary(name, bs)
	}
	for iface, e := range b.Endpoints {
		s.tunnel(iface, s.endpoints[iface], e)
		set(s.endpoints, iface, e)
	}
	for k, p := range b.Protocols {
		set(s.protocols, k, p)
		s.dirtyProtocols[k] = true
	}
	if b.Global != nil {
		s.minimumTTL(b.Global)
		s.global = b.Global
		s.dirtyWhole = true
	}
}

// minimumTTL marks the rules whose smallest TTL follows the global one, where that changes.
func (s *step) minimumTTL(g *mroute.GlobalState) {
	if s.global != nil && inputTTL(nil, s.global) == inputTTL(nil, g) {
		return
	}
	for name, r := range s.rules {
		if r.Rule.MinimumInputTTL == nil {
			s.dirtyRules[name] = true
		}
	}
}

// set stores v, or forgets the key where v is nil.
func set[K comparable, V any](m map[K]*V, k K, v *V) {
	if v == nil {
		delete(m, k)
		return
	}
	m[k] = v
}

// instance publishes the one network instance, which is there without configuration.
func (s *step) instance() {
	var l leaves
	l.text("name", "default")
	l.text("type", "DEFAULT_INSTANCE")
	s.update(at(entryAt(names("network-instances"), "network-instance", "name", "default"), "state"), l, nil)
}
