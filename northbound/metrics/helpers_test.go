// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"mcr/dataplane/plan"
	"mcr/mroute"
	"mcr/mroute/mrib"
	"mcr/northbound/state"
	"mcr/northbound/telemetry"
)

var (
	t0 = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	ip = netip.MustParseAddr
)

var schema = sync.OnceValue(func() *telemetry.Schema {
	out, err := state.NewSchema()
	if err != nil {
		panic(err)
	}
	return out
})

// counters is a dataplane with fixed figures. Output 1 has its troubles.
type counters struct{}

func (counters) Output(id plan.OutputID) (c plan.OutputCounters, s plan.OutputStatus, ok bool) {
	c = plan.OutputCounters{Packets: 100, Octets: 131600, LastPacketTime: t0.Add(1500 * time.Millisecond)}
	if id == 1 {
		c.Dropped, c.NotReady, c.SkippedTTL, c.Errors, c.Refused, c.Unreachable = 1, 2, 3, 11, 5, 6
		c.LastError, c.LastErrorTime = "EHOSTUNREACH", t0
	}
	return c, s, true
}

func (counters) List(plan.ListID) (plan.ListCounters, bool) {
	return plan.ListCounters{Packets: 110, Octets: 144760, DroppedTTL: 12, LastPacketTime: t0}, true
}

func (counters) Point(plan.PointKey) (plan.PointCounters, bool) {
	return plan.PointCounters{Packets: 130, Truncated: 13, Overrun: 14}, true
}
func (counters) Info() plan.Info { return plan.Info{BufferMemory: 1 << 20} }
func (counters) Totals() plan.TotalCounters {
	return plan.TotalCounters{
		InPackets: 1, InOctets: 2, OutPackets: 3, OutOctets: 4, Errors: 5, NoMatch: 6, NoBuffer: 7, ChecksumErrors: 8,
		CompletionOverflows: 9,
	}
}

func (counters) Workers() []plan.WorkerCounters {
	return []plan.WorkerCounters{{Packets: 1, Octets: 2, Runs: 3, Sends: 4, Wakeups: 5}}
}

// newTree is a tree as a daemon has it that has just started.
func newTree(t testing.TB) (*telemetry.Tree, *state.Publisher) {
	t.Helper()
	tree := telemetry.New(schema())
	return tree, state.New(state.Config{
		Tree: tree, Counters: counters{}, Version: "1.2.3", Commit: "abc", Start: t0, Clock: func() time.Time { return t0 },
	})
}

// many is a rule r1 with n unicast outputs that are up.
func many(n int) mroute.Batch {
	b := mroute.Batch{
		Time: t0,
		Rules: map[string]*mroute.RuleState{"r1": {
			Rule: &mroute.Rule{Name: "r1", Enabled: true, Interface: "eth0", Group: ip("239.1.1.1"), Port: 5000},
			List: 3, Point: plan.PointKey{IfIndex: 2, Group: ip("239.1.1.1"), Port: 5000},
			InputState: mroute.InputState{
				Created: t0, Status: mroute.InputReceiving, DiscardReason: "none", Joined: true, Oper: mrib.Up, LastChange: t0,
				Outputs: n, OutputsUp: n,
			},
		}},
		RuleOutputs: map[mroute.RuleOutputKey]*mroute.RuleOutputState{},
	}
	for i := range n {
		dest := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		name := fmt.Sprintf("wg0@%v:5000", dest)
		b.RuleOutputs[mroute.RuleOutputKey{Rule: "r1", Output: name}] = &mroute.RuleOutputState{
			Output: &mroute.Output{Name: name, Enabled: true, Interface: "wg0", Group: ip("239.1.1.1"), Unicast: dest, DSCP: plan.DSCPKeep},
			OutputState: mroute.OutputState{
				ID: plan.OutputID(i + 1), Created: t0, Oper: mrib.Up, LastChange: t0, Endpoint: netip.AddrPortFrom(dest, 5000),
				Local: netip.MustParseAddrPort("10.0.0.1:4000"), Origins: []string{"static"},
			},
		}
	}
	return b
}

// everything is a batch in which each family has something to say.
func everything() mroute.Batch {
	b := many(1)
	rule := b.Rules["r1"]
	rule.Rule.Source = ip("10.0.0.9")
	rule.Status, rule.DiscardReason, rule.Oper, rule.Outputs = mroute.InputDiscarding, "ttl", mrib.Degraded, 3
	b.Rules[`odd "name"`] = &mroute.RuleState{
		Rule:       &mroute.Rule{Name: `odd "name"`, Interface: "eth\xff", Group: ip("239.2.2.2")},
		InputState: mroute.InputState{Status: mroute.InputNotJoined, DiscardReason: "none", Oper: mrib.Down, Reason: mrib.AdminDisabled},
	}
	b.RuleOutputs[mroute.RuleOutputKey{Rule: "r1", Output: "lan"}] = &mroute.RuleOutputState{
		Output:      &mroute.Output{Name: "lan", Enabled: true, Interface: "eth1", Group: ip("239.7.7.7"), Port: 7000, DSCP: plan.DSCPKeep},
		OutputState: mroute.OutputState{Oper: mrib.Down, Reason: mrib.InterfaceMissing},
	}
	b.Egress = map[string]*mroute.EgressState{"lo": {GSOUsed: true}}
	b.Global = &mroute.GlobalState{
		Rules: 2, RuleOutputs: 2, Entries: 1, Outputs: 2, OutputsUp: 1, UnicastCount: 1, Version: 4,
		Dataplane: plan.Info{Engine: plan.EngineURing, Kernel: "6.18.0", Workers: []plan.WorkerInfo{{CPU: -1}}, InputSockets: 1, OutputSockets: 2, SocketLimit: 900000},
	}
	return b
}

// clients are the units in which the gNMI service shows itself.
func clients() telemetry.Changes {
	at := func(list string, keys ...telemetry.Key) telemetry.Path {
		return telemetry.Path{{Name: "mcr"}, {Name: "system"}, {Name: list + "s"}, {Name: list, Keys: keys}, {Name: "state"}}
	}
	client := func(id, rpc string, waiting uint64) *telemetry.Unit {
		return &telemetry.Unit{
			Path: at("client", telemetry.Key{Name: "id", Value: id}), Leaves: []telemetry.Leaf{{Name: "rpc", Value: telemetry.String(rpc)}},
			Sample: func(dst []telemetry.Leaf) []telemetry.Leaf {
				return append(dst, telemetry.Leaf{Name: "counters/waiting", Value: telemetry.Uint(waiting)})
			},
		}
	}
	counter := func(p telemetry.Path, leaf string, n uint64) *telemetry.Unit {
		return &telemetry.Unit{Path: p, Sample: func(dst []telemetry.Leaf) []telemetry.Leaf {
			return append(dst, telemetry.Leaf{Name: leaf, Value: telemetry.Uint(n)})
		}}
	}
	system := func(name string) telemetry.Path {
		return telemetry.Path{{Name: "mcr"}, {Name: "system"}, {Name: name}, {Name: "state"}}
	}
	return telemetry.Changes{Time: t0, Update: []*telemetry.Unit{
		client("1", "subscribe", 3), client("2", "subscribe", 4), client("3", "get", 0),
		counter(at("rpc", telemetry.Key{Name: "name", Value: "set"}, telemetry.Key{Name: "code", Value: "OK"}), "counters/calls", 17),
		counter(system("gnmi"), "counters/dropped-clients", 2),
		{Path: system("configuration"), Leaves: []telemetry.Leaf{
			{Name: "last-commit-time", Value: telemetry.Moment(t0)},
			{Name: "pending-commit-id", Value: telemetry.String("c1")},
			{Name: "revision", Value: telemetry.Uint(uint(8))},
			{Name: "start-file-differs", Value: telemetry.Bool(true)},
		}},
	}}
}
