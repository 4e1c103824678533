// SPDX-License-Identifier: Apache-2.0

package state

import (
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/openconfig/ygot/ygot"

	"mcr/dataplane/plan"
	"mcr/gen"
	"mcr/mroute"
	"mcr/mroute/mrib"
	"mcr/mroute/netif"
	"mcr/northbound/config"
	"mcr/northbound/telemetry"
)

var t0 = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

var schema = sync.OnceValue(func() *telemetry.Schema {
	s, err := gen.Schema()
	if err != nil {
		panic(err)
	}
	out, err := telemetry.NewSchema(s)
	if err != nil {
		panic(err)
	}
	return out
})

// recorder is a Tree that remembers what it was given, and fails the test on what does not fit the schema.
type recorder struct {
	t       testing.TB
	tree    *telemetry.Tree
	changes []telemetry.Changes
}

func newRecorder(t testing.TB) *recorder { return &recorder{t: t, tree: telemetry.New(schema())} }

func (r *recorder) Apply(c telemetry.Changes) error {
	r.changes = append(r.changes, c)
	if err := r.tree.Apply(c); err != nil {
		r.t.Error(err)
	}
	return nil
}

// last returns the paths of the latest Changes, updates and deletes, sorted.
func (r *recorder) last() (update, remove []string) {
	c := r.changes[len(r.changes)-1]
	for _, u := range c.Update {
		update = append(update, u.Path.String())
	}
	for _, p := range c.Delete {
		remove = append(remove, p.String())
	}
	slices.Sort(update)
	slices.Sort(remove)
	return update, remove
}

// unit returns the leaves that are at a path now, with the sampled ones, as text.
func (r *recorder) unit(path string) map[string]string {
	r.t.Helper()
	var u *telemetry.Unit
	for _, c := range r.changes {
		for _, p := range c.Delete {
			if p.String() == path {
				u = nil
			}
		}
		for _, x := range c.Update {
			if x.Path.String() == path {
				u = x
			}
		}
	}
	if u == nil {
		return nil
	}
	all := slices.Clone(u.Leaves)
	if u.Sample != nil {
		all = u.Sample(all)
	}
	out := map[string]string{}
	for _, l := range all {
		out[l.Name] = text(l.Value)
	}
	return out
}

func text(v telemetry.Value) string {
	switch v.Kind {
	case telemetry.KindStrings:
		out := ""
		for _, s := range v.Strs() {
			out += "[" + s + "]"
		}
		return out
	case telemetry.KindUints:
		out := ""
		for _, n := range v.Nums() {
			out += "[" + telemetry.Uint(n).Text() + "]"
		}
		return out
	}
	return v.Text()
}

// counters is a dataplane with fixed figures.
type counters struct {
	outputs map[plan.OutputID]plan.OutputCounters
	lists   map[plan.ListID]plan.ListCounters
	points  map[plan.PointKey]plan.PointCounters
	info    plan.Info
	totals  plan.TotalCounters
	workers []plan.WorkerCounters
}

func (c *counters) Output(id plan.OutputID) (plan.OutputCounters, plan.OutputStatus, bool) {
	o, ok := c.outputs[id]
	return o, plan.OutputStatus{}, ok
}

func (c *counters) List(id plan.ListID) (plan.ListCounters, bool) {
	l, ok := c.lists[id]
	return l, ok
}

func (c *counters) Point(k plan.PointKey) (plan.PointCounters, bool) {
	p, ok := c.points[k]
	return p, ok
}
func (c *counters) Info() plan.Info                { return c.info }
func (c *counters) Totals() plan.TotalCounters     { return c.totals }
func (c *counters) Workers() []plan.WorkerCounters { return c.workers }

var (
	ip       = netip.MustParseAddr
	addrPort = netip.MustParseAddrPort
	pointKey = plan.PointKey{IfIndex: 2, Group: ip("239.1.1.1"), Port: 5000}
	entryKey = mrib.EntryKey{Interface: "eth0", Source: ip("0.0.0.0"), Group: ip("239.1.1.1"), Port: 5000}
	anyPort  = mrib.EntryKey{Interface: "eth1", Source: ip("0.0.0.0"), Group: ip("239.1.1.1")}
)

// sample is a dataplane, a configuration and a batch in which everything that can be said is said.
func sampleCounters() *counters {
	return &counters{
		outputs: map[plan.OutputID]plan.OutputCounters{7: {
			Packets: 100, Octets: 131600, Dropped: 1, NotReady: 2, SkippedTTL: 3, Errors: 4, Refused: 5, Unreachable: 6,
			NoBuffer: 7, TooBig: 8, Permission: 9, Key: 10, Other: 11, LastError: "EHOSTUNREACH", LastErrorTime: t0,
			LastPacketTime: t0.Add(time.Second),
		}},
		lists:   map[plan.ListID]plan.ListCounters{3: {Packets: 110, Octets: 144760, DroppedTTL: 12, DroppedLoop: 18, LastPacketTime: t0}},
		points:  map[plan.PointKey]plan.PointCounters{pointKey: {Packets: 130, Truncated: 13, Overrun: 14, Checksum: 15, GSO: 16, Limit: 17}},
		info:    sampleInfo(),
		totals:  plan.TotalCounters{InPackets: 1, InOctets: 2, OutPackets: 3, OutOctets: 4, Errors: 5, NoMatch: 6, NoBuffer: 7, ChecksumErrors: 8, CompletionOverflows: 9, LostAtHandOver: 10},
		workers: []plan.WorkerCounters{{Packets: 1, Octets: 2, Runs: 3, Sends: 4, Wakeups: 5, ResidenceP50: 6, ResidenceP99: 7}},
	}
}

func sampleInfo() plan.Info {
	return plan.Info{
		Engine: plan.EngineURing, EngineReason: "probed", Kernel: "6.18.0", Features: []string{"udp-gso"},
		Missing: []string{"min-wait"}, Workers: []plan.WorkerInfo{{CPU: 2, Inputs: 1, Outputs: 2, TableVersion: 7}}, Rings: 1, InputSockets: 1, OutputSockets: 2, SocketLimit: 900000,
		BufferMemory: 1 << 20, TableVersion: 4, TableTime: t0,
	}
}

func sampleDevice() *gen.Device {
	d := &gen.Device{}
	fwd := d.GetOrCreateMcr().GetOrCreateForwarding()
	r := fwd.GetOrCreateRules().GetOrCreateRule("r1")
	c := r.GetOrCreateConfig()
	c.Name, c.Description = ygot.String("r1"), ygot.String("feed")
	c.InputInterface, c.InputGroup, c.InputPort = ygot.String("eth0"), ygot.String("239.1.1.1"), ygot.Uint16(5000)
	c.ReceiveMethod = gen.McrTypes_ReceiveMethod_socket
	o := r.GetOrCreateOutputs().GetOrCreateOutput("o1").GetOrCreateConfig()
	o.Name, o.Interface, o.UnicastDest = ygot.String("o1"), ygot.String("gre0"), ygot.String("10.2.0.5")
	d.Mcr.GetOrCreateDataplane().GetOrCreateConfig().Cpus = []uint16{2, 3}
	ifc := d.GetOrCreateInterfaces().GetOrCreateInterface("eth0").GetOrCreateConfig()
	ifc.Name, ifc.Description = ygot.String("eth0"), ygot.String("uplink")
	d.Mcr.GetOrCreateRemoteJoin().GetOrCreateConfig().SharedKey = ygot.String("secret")
	e := d.Mcr.GetOrCreateTunnelEndpoints().GetOrCreateTunnelEndpoint("wg0").GetOrCreateEndpoints().GetOrCreateEndpoint("10.1.0.5").GetOrCreateConfig()
	e.Address, e.Neighbor = ygot.String("10.1.0.5"), ygot.String("10.1.0.1")
	protocols := d.GetOrCreateNetworkInstances().GetOrCreateNetworkInstance("default").GetOrCreateProtocols()
	pim := protocols.GetOrCreateProtocol(gen.McrTypes_INSTALL_PROTOCOL_TYPE_PIM, "pim").GetOrCreatePim().GetOrCreateInterfaces().GetOrCreateInterface("eth0").GetOrCreateConfig()
	pim.InterfaceId, pim.Enabled, pim.AutoHer, pim.HerMode = ygot.String("eth0"), ygot.Bool(true), ygot.Bool(true), gen.McrTypes_HerMode_always
	igmp := protocols.GetOrCreateProtocol(gen.McrTypes_INSTALL_PROTOCOL_TYPE_IGMP, "igmp").GetOrCreateIgmp().GetOrCreateInterfaces().GetOrCreateInterface("eth0").GetOrCreateConfig()
	igmp.InterfaceId, igmp.AutoHer, igmp.HerMode = ygot.String("eth0"), ygot.Bool(false), gen.McrTypes_HerMode_never
	return d
}

func sampleRule() *mroute.Rule {
	min := uint8(3)
	return &mroute.Rule{
		Name: "r1", Enabled: true, Interface: "eth0", Group: ip("239.1.1.1"), Source: ip("10.0.0.9"), Port: 5000,
		MinimumInputTTL: &min, SilenceTimeout: 10 * time.Second, Outputs: []*mroute.Output{sampleOutput()},
	}
}

func sampleOutput() *mroute.Output {
	return &mroute.Output{
		Name: "o1", Enabled: true, Interface: "gre0", Group: ip("239.1.1.1"), Unicast: ip("10.2.0.5"), Port: 5001,
		Source: ip("10.2.0.1"), SourcePort: 4000, TTL: 9, DSCP: 46, HERMode: mrib.HERAlways,
	}
}

func sampleInput() mroute.InputState {
	return mroute.InputState{
		Created: t0, Status: mroute.InputDiscarding, DiscardReason: "ttl", Joined: true, Oper: mrib.Degraded,
		Reason: mrib.ReasonNone, LastChange: t0, Outputs: 2, OutputsUp: 1, Method: plan.MethodPacket, MethodReason: "asked for",
		Retry: t0.Add(time.Second), LearntPorts: 3,
	}
}

func sampleOutputState() mroute.OutputState {
	return mroute.OutputState{
		ID: 7, Created: t0, Oper: mrib.Up, LastChange: t0, Endpoint: addrPort("10.2.0.5:5001"),
		Local: addrPort("10.2.0.1:4000"), TTL: 9, DSCP: 46, GSOUsed: true, GSOReason: "works", Origins: []string{"static"},
		Origin: netif.Configured, Branches: 1,
	}
}

var sampleOutputKey = mroute.EntryOutputKey{
	Entry:  entryKey,
	Output: mrib.OutputKey{Interface: "gre0", Dest: ip("10.2.0.5"), Port: 5001, SourcePort: 4000},
}

func sampleLink() *netif.Link {
	return &netif.Link{
		Index: 2, Name: "lo", Kind: "gre", Type: "ipgre", MTU: 1476, Up: true, Running: true, Oper: "UP", PointPoint: true, MasterName: "br0",
		Addrs:      []netif.Addr{{IP: ip("10.2.0.1"), Peer: ip("10.2.0.5"), Prefix: netip.MustParsePrefix("10.2.0.5/32")}},
		LastChange: t0, OuterLocal: ip("192.0.2.1"), OuterRemote: ip("192.0.2.2"),
	}
}

func sampleEndpoints() map[string]*mroute.EndpointState {
	return map[string]*mroute.EndpointState{
		"lo": {
			Link: sampleLink(),
			Resolution: netif.Resolution{Candidates: []netif.Candidate{
				{Address: ip("10.2.0.5"), Origin: netif.PeerAddress},
				{Address: ip("192.0.2.2"), Origin: netif.OuterRemote, PassedOver: netif.Outranked},
			}},
			Since:     map[netip.Addr]time.Time{ip("10.2.0.5"): t0, ip("192.0.2.2"): t0.Add(time.Second)},
			HERActive: true, LastChange: t0,
		},
		"wg0": {
			Configured: []netif.ConfiguredEndpoint{{Address: ip("10.1.0.5"), Neighbor: ip("10.1.0.1")}},
			Resolution: netif.Resolution{Reason: netif.LinkMissing},
			LastChange: t0,
		},
	}
}

func sampleBatch() mroute.Batch {
	min := uint8(2)
	return mroute.Batch{
		Time:        t0,
		Rules:       map[string]*mroute.RuleState{"r1": {Rule: sampleRule(), InputState: sampleInput(), List: 3, Point: pointKey}},
		RuleOutputs: map[mroute.RuleOutputKey]*mroute.RuleOutputState{{Rule: "r1", Output: "o1"}: {Output: sampleOutput(), OutputState: sampleOutputState()}},
		Entries: map[mrib.EntryKey]*mroute.EntryState{
			entryKey: {InputState: sampleInput(), Origins: []string{"static"}, List: 3, Point: pointKey},
			anyPort:  {InputState: sampleInput(), Origins: []string{"static"}},
		},
		EntryOutputs: map[mroute.EntryOutputKey]*mroute.EntryOutputState{sampleOutputKey: {OutputState: sampleOutputState(), Rule: "r1", RuleOutput: "o1"}},
		Links:        map[string]*netif.Link{"lo": sampleLink()},
		Egress:       map[string]*mroute.EgressState{"lo": {Configured: true, GSOReason: "configured off"}},
		Protocols: map[mroute.ProtocolInterface]*mroute.ProtocolState{
			{Protocol: "PIM", Interface: "eth0"}:  {Reason: mrib.NotRunning},
			{Protocol: "IGMP", Interface: "eth0"}: {Reason: mrib.NotRunning},
		},
		Boundaries: map[string]*mroute.BoundaryState{"eth0": sampleBoundary()},
		Endpoints:  sampleEndpoints(),
		Global: &mroute.GlobalState{
			Forwarding: mroute.Forwarding{
				UnicastTTL: 64, MulticastTTL: 32, MulticastTTLMode: plan.TTLFixed, MinimumInputTTL: &min, RediscoveryInterval: 30 * time.Second,
				AutoHER: true, HERMode: mrib.HERAlways,
			},
			Rules: 1, RuleOutputs: 1, Entries: 1, Outputs: 1, OutputsUp: 1, UnicastCount: 1, Version: 4, Dataplane: sampleInfo(),
			PortLearner: mroute.PortLearner{MaximumPorts: 64, Hold: 210 * time.Second}, LearntPorts: 3,
		},
	}
}

func sampleBoundary() *mroute.BoundaryState {
	b := &mroute.BoundaryState{Prefixes: []netip.Prefix{netip.MustParsePrefix("239.0.0.0/8")}, Counters: &mroute.BoundaryCounters{}}
	b.Counters.Claims.Store(21)
	b.Counters.Packets.Store(22)
	return b
}

func newPublisher(t testing.TB, tree Tree) *Publisher {
	t.Helper()
	return New(Config{
		Tree: tree, Counters: sampleCounters(), Version: "1.2.3", Commit: "abc", BuildTime: "", Start: t0,
		Clock: func() time.Time { return t0.Add(time.Minute) }, Subscriptions: func() int { return 3 },
		CarrierTransitions: func(iface string) (uint64, bool) { return 6, iface == "lo" },
	})
}

// committed is a change as the datastore tells it; each after has a revision one higher than what was before.
func committed(before, after *gen.Device, b mroute.Batch) config.Committed {
	c := config.Committed{New: &config.Snapshot{Tree: after, Revision: 8, User: "alice", Address: "10.0.0.9:50000", Time: t0, Digest: "d1"}, State: b}
	c.New.PendingID, c.New.PendingDeadline = "c1", t0
	if before != nil {
		c.Old = &config.Snapshot{Tree: before, Revision: 7}
		c.New.Revision = 9
	}
	c.New.Commits = []config.Commit{{Revision: c.New.Revision, User: "alice", Address: "10.0.0.9:50000", Time: t0, Changed: 1}}
	return c
}

// commit publishes the difference of two configurations that made no difference to the router.
func commit(p *Publisher, before, after *gen.Device) {
	p.Commit(committed(before, after, mroute.Batch{Time: t0}))
}
