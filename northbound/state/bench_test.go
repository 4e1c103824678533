// SPDX-License-Identifier: Apache-2.0

package state

import (
	"fmt"
	"net/netip"
	"testing"

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
				s.config(nil, d)
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
				s.config(d, after)
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
			s.config(d, after)
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
