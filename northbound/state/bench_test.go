// SPDX-License-Identifier: Apache-2.0

package state

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/openconfig/ygot/ygot"

	"mcr/dataplane/plan"
	"mcr/gen"
	"mcr/mroute"
	"mcr/mroute/mrib"
	"mcr/northbound/telemetry"
)

// discard is a Tree that keeps nothing, so that a benchmark measures this package alone.
type discard struct{ units, leaves int }

func (d *discard) Apply(c telemetry.Changes) error {
	d.units += len(c.Update)
	for _, u := range c.Update {
		d.leaves += len(u.Leaves)
	}
	return nil
}

// many is one rule with n unicast outputs, as configuration and as the router tells it.
func many(n int) (*gen.Device, mroute.Batch) {
	d := &gen.Device{}
	r := d.GetOrCreateMcr().GetOrCreateForwarding().GetOrCreateRules().GetOrCreateRule("r1")
	r.GetOrCreateConfig().Name = ygot.String("r1")
	outs := r.GetOrCreateOutputs()
	b := mroute.Batch{
		Time: t0, RuleOutputs: map[mroute.RuleOutputKey]*mroute.RuleOutputState{},
		EntryOutputs: map[mroute.EntryOutputKey]*mroute.EntryOutputState{},
	}
	for i := range n {
		dest := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		name := fmt.Sprintf("wg0@%v:5000", dest)
		c := outs.GetOrCreateOutput(name).GetOrCreateConfig()
		c.Name, c.Interface, c.UnicastDest, c.Port = ygot.String(name), ygot.String("wg0"), ygot.String(dest.String()), ygot.Uint16(5000)
		st := sampleOutputState()
		st.ID, st.Endpoint = plan.OutputID(i+1), netip.AddrPortFrom(dest, 5000)
		o := &mroute.Output{Name: name, Enabled: true, Interface: "wg0", Group: ip("239.1.1.1"), Unicast: dest, Port: 5000, DSCP: plan.DSCPKeep}
		b.RuleOutputs[mroute.RuleOutputKey{Rule: "r1", Output: name}] = &mroute.RuleOutputState{Output: o, OutputState: st}
		k := mroute.EntryOutputKey{Entry: entryKey, Output: mrib.OutputKey{Interface: "wg0", Dest: dest, Port: 5000}}
		b.EntryOutputs[k] = &mroute.EntryOutputState{OutputState: st, Rule: "r1", RuleOutput: name}
	}
	return d, b
}

func BenchmarkFullSet(b *testing.B) {
	for _, n := range []int{10, 10000} {
		d, batch := many(n)
		b.Run(fmt.Sprint(n, "_outputs"), func(b *testing.B) {
			b.ReportAllocs()
			var sink discard
			for b.Loop() {
				p := newPublisher(b, &sink)
				s := p.begin(t0)
				s.config(nil, d, nil)
				s.batch(&batch)
				s.end()
			}
			b.ReportMetric(float64(sink.leaves)/float64(b.N), "leaves/op")
		})
	}
}

func BenchmarkAddOneOutput(b *testing.B) {
	for _, n := range []int{10, 10000} {
		d, _ := many(n)
		_, one := many(1)
		after := share(d, func(m map[string]*gen.Mcr_Mcr_Forwarding_Rules_Rule_Outputs_Output) {
			m["new"] = &gen.Mcr_Mcr_Forwarding_Rules_Rule_Outputs_Output{Config: &gen.Mcr_Mcr_Forwarding_Rules_Rule_Outputs_Output_Config{Name: ygot.String("new")}}
		})
		b.Run(fmt.Sprint("to_", n), func(b *testing.B) {
			b.ReportAllocs()
			p := newPublisher(b, &discard{})
			commit(p, nil, d)
			for b.Loop() {
				s := p.begin(t0)
				s.config(d, after, nil)
				s.batch(&one)
				s.end()
			}
		})
	}
}

// A change of one output costs the same number of allocations and Units among ten outputs and among ten thousand; what
// grows is a look at each pointer (BenchmarkAddOneOutput).
func TestOneOutputIsCheap(t *testing.T) {
	_, one := many(1)
	cost := func(n int) (allocs float64, units int) {
		d, _ := many(n)
		after := share(d, func(m map[string]*gen.Mcr_Mcr_Forwarding_Rules_Rule_Outputs_Output) {
			m["new"] = &gen.Mcr_Mcr_Forwarding_Rules_Rule_Outputs_Output{Config: &gen.Mcr_Mcr_Forwarding_Rules_Rule_Outputs_Output_Config{Name: ygot.String("new")}}
		})
		sink := &discard{}
		p := newPublisher(t, sink)
		allocs = testing.AllocsPerRun(10, func() {
			sink.units = 0
			s := p.begin(t0)
			s.config(d, after, nil)
			s.batch(&one)
			s.end()
		})
		return allocs, sink.units
	}
	few, units := cost(10)
	lots, unitsToo := cost(10000)
	if units != 3 || unitsToo != 3 {
		t.Errorf("%d units among 10 outputs and %d among 10,000, want 3", units, unitsToo)
	}
	if lots > few+2 || few > 60 {
		t.Errorf("%v allocations among 10 outputs, %v among 10,000", few, lots)
	}
}

// everyOutput counts the same for each output.
type everyOutput struct{ *counters }

func (everyOutput) Output(id plan.OutputID) (plan.OutputCounters, plan.OutputStatus, bool) {
	return plan.OutputCounters{Packets: uint64(id), Octets: 1316 * uint64(id), LastPacketTime: t0}, plan.OutputStatus{}, true
}

// manyTree is the whole tree with a rule of n outputs.
func manyTree(tb testing.TB, n int) (*telemetry.Tree, *Publisher) {
	tb.Helper()
	tree := telemetry.New(schema())
	d, batch := many(n)
	p := New(Config{Tree: tree, Counters: everyOutput{sampleCounters()}, Start: t0, Clock: func() time.Time { return t0 }})
	p.Commit(committed(nil, d, batch))
	return tree, p
}

func resolve(tb testing.TB, path string) *telemetry.Pattern {
	tb.Helper()
	p, err := ygot.StringToStructuredPath(path)
	if err != nil {
		tb.Fatal(err)
	}
	out, err := schema().Resolve(p.GetElem())
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// The trees that clients ask for, with ten thousand outputs.
func BenchmarkRead(b *testing.B) {
	tree, _ := manyTree(b, 10_000)
	root := resolve(b, "/")
	for name, enc := range map[string]telemetry.Encoding{"json_ietf": telemetry.EncodingIETF, "proto": telemetry.EncodingProto} {
		b.Run("get_all_"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if len(tree.Snapshot().Collect(root, telemetry.Filter{}, enc, t0)) == 0 {
					b.Fatal("nothing")
				}
			}
		})
	}
	b.Run("get_config_json_ietf", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			tree.Snapshot().Collect(root, telemetry.Filter{ConfigOnly: true}, telemetry.EncodingIETF, t0)
		}
	})
	for name, path := range map[string]string{"all": "/", "counters": "/mcr/forwarding/rules/rule/outputs/output/state/counters", "packets": "/mcr/forwarding/rules/rule/outputs/output/state/counters/packets"} {
		b.Run("sample_"+name, func(b *testing.B) {
			b.ReportAllocs()
			req := telemetry.Request{
				Encoding: telemetry.EncodingProto, Filter: telemetry.Filter{SampledOnly: true},
				Subscriptions: []telemetry.Subscription{{Pattern: resolve(b, path)}},
			}
			for b.Loop() {
				size := 0
				_ = tree.Once(req, func(m *telemetry.Message) error {
					b := m.Buffer()
					size += b.Len()
					b.Free()
					return nil
				})
				b.ReportMetric(float64(size), "wire-B/op")
			}
		})
	}
}

// A Set that changes one output, or all of them, among ten thousand; nobody, or a thousand clients, watch.
func BenchmarkApply(b *testing.B) {
	for _, clients := range []int{0, 1, 1000} {
		b.Run(fmt.Sprint("one_", clients, "_clients"), func(b *testing.B) {
			tree, p := manyTree(b, 10_000)
			for range clients {
				s := tree.Subscribe(telemetry.Request{Subscriptions: []telemetry.Subscription{{Pattern: resolve(b, "/"), Mode: telemetry.OnChange}}})
				b.Cleanup(s.Close)
			}
			b.ReportAllocs()
			_, one := many(1)
			for i := 0; b.Loop(); i++ {
				for _, o := range one.RuleOutputs {
					o.TTL = uint8(i)
				}
				p.Batch(one)
			}
		})
	}
	b.Run("all", func(b *testing.B) {
		tree, p := manyTree(b, 10_000)
		s := tree.Subscribe(telemetry.Request{Subscriptions: []telemetry.Subscription{{Pattern: resolve(b, "/"), Mode: telemetry.OnChange}}})
		b.Cleanup(s.Close)
		_, batch := many(10_000)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			for _, o := range batch.RuleOutputs {
				o.TTL = uint8(i)
			}
			p.Batch(batch)
		}
	})
	b.Run("come_and_go", func(b *testing.B) {
		_, p := manyTree(b, 10_000)
		_, one := many(1)
		gone := mroute.Batch{Time: t0, RuleOutputs: map[mroute.RuleOutputKey]*mroute.RuleOutputState{}}
		add := gone
		add.RuleOutputs = map[mroute.RuleOutputKey]*mroute.RuleOutputState{}
		for _, o := range one.RuleOutputs {
			k := mroute.RuleOutputKey{Rule: "r1", Output: "new"}
			gone.RuleOutputs[k], add.RuleOutputs[k] = nil, o
		}
		b.ReportAllocs()
		for b.Loop() {
			p.Batch(add)
			p.Batch(gone)
		}
	})
}
