// SPDX-License-Identifier: Apache-2.0

package mrib

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

var (
	group = netip.MustParseAddr("239.1.1.1")
	t0    = time.Unix(1_700_000_000, 0)
)

// fakeHost has interfaces with indices; what is not there is missing.
type fakeHost struct {
	index  map[string]plan.IfIndex
	down   map[string]bool
	source map[string]string // by interface
	filter map[netip.Addr]bool
	her    map[string]HER // by interface

	asked, askedHER int
}

func newHost() *fakeHost {
	return &fakeHost{
		index:  map[string]plan.IfIndex{"eth0": 1, "eth1": 2, "gre0": 3, "wg0": 4},
		down:   map[string]bool{},
		her:    map[string]HER{},
		source: map[string]string{"eth0": "10.0.0.1", "eth1": "10.1.0.1", "gre0": "10.2.0.1", "wg0": "10.3.0.1"},
	}
}

func (h *fakeHost) Ingress(name string, _ netip.Addr) Ingress {
	switch i := h.index[name]; {
	case i == 0:
		return Ingress{Reason: InterfaceMissing}
	case h.down[name]:
		return Ingress{Reason: InterfaceDown, IfIndex: i}
	default:
		return Ingress{IfIndex: i}
	}
}

func (h *fakeHost) HER(o *Output) HER {
	h.askedHER++
	if o.HERMode == HERNever {
		return HER{}
	}
	return h.her[o.Interface]
}

func (h *fakeHost) Filtered(_ string, source netip.Addr) bool { return h.filter[source] }

func (h *fakeHost) Egress(o *Output, _ netip.Addr) Egress {
	h.asked++
	switch i := h.index[o.Interface]; {
	case i == 0:
		return Egress{Reason: InterfaceMissing}
	case h.down[o.Interface]:
		return Egress{Reason: InterfaceDown, IfIndex: i, MTU: 1500}
	default:
		src := o.Source
		if !src.IsValid() {
			src = netip.MustParseAddr(h.source[o.Interface])
		}
		return Egress{IfIndex: i, MTU: 1500, Source: src}
	}
}

func rule(name, source string, outs ...*Output) *Rule {
	r := &Rule{Name: name, Enabled: true, Interface: "eth0", Group: group, Port: 5000}
	if source != "" {
		r.Source = netip.MustParseAddr(source)
	}
	slices.SortFunc(outs, func(a, b *Output) int { return cmpString(a.Name, b.Name) })
	r.Outputs = outs
	return r
}

func cmpString(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func multicast(name, iface string) *Output {
	return &Output{Name: name, Enabled: true, Interface: iface, Group: group, Port: 5000, DSCP: plan.DSCPKeep}
}

func unicast(name, iface, dest string) *Output {
	o := multicast(name, iface)
	o.Unicast = netip.MustParseAddr(dest)
	return o
}

// world is a table under test with the rules it was given.
type world struct {
	t     *testing.T
	host  *fakeHost
	table *Table
	rules map[string]*Rule
}

func newWorld(t *testing.T) *world {
	return &world{t: t, host: newHost(), table: &Table{}, rules: map[string]*Rule{}}
}

func knobs() Knobs { return Knobs{UnicastTTL: 64, MulticastMode: plan.TTLDecrement} }

// set makes these rules the only ones.
func (w *world) set(rules ...*Rule) {
	c := Change{Now: t0, Knobs: knobs(), Rules: map[string]*Rule{}, Old: w.rules}
	next := map[string]*Rule{}
	for name := range w.rules {
		c.Rules[name] = nil
	}
	for _, r := range rules {
		next[r.Name], c.Rules[r.Name] = r, r
	}
	w.table, w.rules = w.table.Stage(c, w.host), next
}

func (w *world) hostChanged() {
	all := func(*Member) bool { return true }
	c := Change{Now: t0.Add(time.Second), Knobs: knobs(), Doubt: all, DoubtInput: func(string, netip.Addr) bool { return true }}
	w.table = w.table.Stage(c, w.host)
}

// point returns the only receive point.
func (w *world) point() *plan.Point {
	w.t.Helper()
	if len(w.table.Points()) != 1 {
		w.t.Fatalf("%d receive points, want 1", len(w.table.Points()))
	}
	return w.table.Points()[0]
}

// copies are the destinations that a datagram of a source takes, as the dataplane walks them.
func (w *world) copies(source string) []string {
	w.t.Helper()
	p := w.point()
	route := p.BySource[netip.MustParseAddr(source)]
	if route == nil {
		route = p.Any
	}
	var out []string
	if route == nil {
		return nil
	}
	for i, l := range route.Lists {
		for j, o := range l.Outputs {
			if i < len(route.Skip) && slices.Contains(route.Skip[i], int32(j)) || !o.Up || o.Dest.Addr().IsUnspecified() {
				continue
			}
			out = append(out, fmt.Sprintf("%s@%v ttl %d/%d", o.IfName, o.Dest, o.TTLMode, o.TTL))
		}
	}
	return out
}

// T1: the unit test of the roadmap.
func TestT1_UnicastDestOverridesGroup(t *testing.T) {
	o := unicast("spoke", "gre0", "10.2.0.5")
	if got, want := o.Destination(), netip.MustParseAddr("10.2.0.5"); got != want {
		t.Errorf("destination %v, want %v", got, want)
	}
	if got := multicast("lan", "eth1").Destination(); got != group {
		t.Errorf("without unicast-dest: destination %v, want %v", got, group)
	}
}

// P1.3, D1, D2: multicast and unicast outputs side by side, ports and TTLs by rule.
func TestRuleBecomesOneRowWithItsOutputs(t *testing.T) {
	w := newWorld(t)
	keep := unicast("keep", "wg0", "10.9.0.1")
	keep.Port = 0
	fixed := unicast("fixed", "wg0", "10.9.0.2")
	fixed.TTL = 7
	w.set(rule("r", "", multicast("lan", "eth1"), unicast("spoke", "gre0", "10.2.0.5"), keep, fixed))
	want := []string{
		"wg0@10.9.0.2:5000 ttl 0/7", "wg0@10.9.0.1:5000 ttl 0/64", "eth1@239.1.1.1:5000 ttl 1/0", "gre0@10.2.0.5:5000 ttl 0/64",
	}
	if diff := cmp.Diff(want, w.copies("10.0.0.9")); diff != "" {
		t.Errorf("copies (-want +got):\n%s", diff)
	}
	if p := w.point(); !p.JoinAny || p.IfIndex != 1 || p.Port != 5000 {
		t.Errorf("receive point %+v", p)
	}
}

// P1.9 and DESIGN's match order: (S,G) and (*,G) share a receive point; a source takes both rows' outputs, each
// identity once, the knobs from the more specific.
func TestSourceTakesUnionOfMatchingRows(t *testing.T) {
	w := newWorld(t)
	shared := unicast("b", "gre0", "10.2.0.5")
	shared.TTL = 9
	w.set(
		rule("any", "", unicast("a", "gre0", "10.2.0.5"), multicast("lan", "eth1")),
		rule("one", "10.0.0.9", shared, unicast("c", "wg0", "10.3.0.9")),
	)
	want := []string{"gre0@10.2.0.5:5000 ttl 0/9", "wg0@10.3.0.9:5000 ttl 0/64", "eth1@239.1.1.1:5000 ttl 1/0"}
	if diff := cmp.Diff(want, w.copies("10.0.0.9")); diff != "" {
		t.Errorf("copies of the named source (-want +got):\n%s", diff)
	}
	want = []string{"gre0@10.2.0.5:5000 ttl 0/64", "eth1@239.1.1.1:5000 ttl 1/0"}
	if diff := cmp.Diff(want, w.copies("10.0.0.8")); diff != "" {
		t.Errorf("copies of another source (-want +got):\n%s", diff)
	}
	if p := w.point(); !p.JoinAny || p.JoinSources != nil {
		t.Errorf("with (*,G) the join is any-source; got %+v", p)
	}
	w.set(rule("one", "10.0.0.9", shared), rule("two", "10.0.0.7", unicast("d", "wg0", "10.3.0.8")))
	p := w.point()
	if diff := cmp.Diff([]string{"10.0.0.7", "10.0.0.9"}, addrs(p.JoinSources)); diff != "" || p.JoinAny {
		t.Errorf("source joins (-want +got):\n%s any %v", diff, p.JoinAny)
	}
	if got := w.copies("10.0.0.8"); got != nil {
		t.Errorf("an unnamed source takes %v, want nothing", got)
	}
}

func addrs(as []netip.Addr) (out []string) {
	for _, a := range as {
		out = append(out, a.String())
	}
	return out
}

// A disabled output of the more specific row blocks its branch for the other row.
func TestDisabledOutputBlocksItsBranch(t *testing.T) {
	w := newWorld(t)
	off := unicast("b", "gre0", "10.2.0.5")
	off.Enabled = false
	w.set(rule("any", "", unicast("a", "gre0", "10.2.0.5")), rule("one", "10.0.0.9", off))
	if got := w.copies("10.0.0.9"); got != nil {
		t.Errorf("copies %v, want none", got)
	}
}

// P1.6, D1: what happens to an output's identity towards the dataplane, and so to its counters and source port.
func TestOutputIdentityThroughChanges(t *testing.T) {
	id := func(w *world, name string) plan.OutputID {
		for _, e := range w.table.Entries {
			for _, m := range e.Members {
				if m.Static.Name == name {
					return m.ID()
				}
			}
		}
		w.t.Fatalf("no output %s", name)
		return 0
	}
	a, b := unicast("a", "gre0", "10.2.0.5"), unicast("b", "gre0", "10.2.0.6")
	start := func(t *testing.T) (*world, *plan.Point) {
		w := newWorld(t)
		w.set(rule("r", "", a, b))
		return w, w.point()
	}
	t.Run("unchanged siblings keep their plan output", func(t *testing.T) {
		w, p := start(t)
		w.set(rule("r", "", a, b, unicast("c", "gre0", "10.2.0.7")))
		now := w.point().Any.Lists[0].Outputs
		if old := p.Any.Lists[0].Outputs; now[0] != old[0] || now[1] != old[1] || len(now) != 3 {
			t.Errorf("outputs %v, were %v", now, old)
		}
	})
	t.Run("a new destination keeps the ID", func(t *testing.T) {
		w, _ := start(t)
		was := id(w, "b")
		w.set(rule("r", "", a, unicast("b", "gre0", "10.2.0.99")))
		if got := id(w, "b"); got != was {
			t.Errorf("ID %d, was %d", got, was)
		}
	})
	t.Run("a rename keeps the ID", func(t *testing.T) {
		w, _ := start(t)
		was := id(w, "b")
		w.set(rule("r", "", a, unicast("z", "gre0", "10.2.0.6")))
		if got := id(w, "z"); got != was {
			t.Errorf("ID %d, was %d", got, was)
		}
	})
	t.Run("swapped destinations swap IDs", func(t *testing.T) {
		w, _ := start(t)
		ida, idb := id(w, "a"), id(w, "b")
		w.set(rule("r", "", unicast("a", "gre0", "10.2.0.6"), unicast("b", "gre0", "10.2.0.5")))
		if id(w, "a") != idb || id(w, "b") != ida {
			t.Errorf("IDs a %d b %d, were a %d b %d", id(w, "a"), id(w, "b"), ida, idb)
		}
	})
	t.Run("removed and added again is a new one", func(t *testing.T) {
		w, _ := start(t)
		was := id(w, "b")
		w.set(rule("r", "", a))
		w.set(rule("r", "", a, b))
		if got := id(w, "b"); got == was {
			t.Errorf("ID %d was used twice", got)
		}
	})
	t.Run("another input takes the outputs along", func(t *testing.T) {
		w, p := start(t)
		was := id(w, "b")
		r := rule("r", "", a, b)
		r.Group = netip.MustParseAddr("239.1.1.2")
		w.set(r)
		if got := id(w, "b"); got != was || w.point().Any.Lists[0].ID != p.Any.Lists[0].ID {
			t.Errorf("ID %d, was %d; list %d", got, was, w.point().Any.Lists[0].ID)
		}
	})
}

// P1.10, F3: an interface that is missing or down leaves its outputs down with a reason, and they come back.
func TestOutputsFollowTheirInterface(t *testing.T) {
	w := newWorld(t)
	w.set(rule("r", "", multicast("lan", "eth1"), unicast("late", "tun7", "10.7.0.1")))
	reasons := func() map[string]Reason {
		out := map[string]Reason{}
		for _, e := range w.table.Entries {
			for _, m := range e.Members {
				out[m.Static.Name] = m.Reason
			}
		}
		return out
	}
	step := func(what string, change func(), want map[string]Reason) {
		change()
		w.hostChanged()
		if diff := cmp.Diff(want, reasons()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	step("at first", func() {}, map[string]Reason{"lan": ReasonNone, "late": InterfaceMissing})
	step("after down", func() { w.host.down["eth1"] = true }, map[string]Reason{"lan": InterfaceDown, "late": InterfaceMissing})
	if down := w.point().Any.Lists[0].Outputs[0]; down.Up || down.Source != netip.MustParseAddr("10.1.0.1") {
		t.Errorf("%+v: with its source goes its socket, which would live through down and up", down)
	}
	step("after up and add", func() {
		w.host.down["eth1"] = false
		w.host.index["tun7"], w.host.source["tun7"] = 77, "10.7.0.2"
	}, map[string]Reason{"lan": ReasonNone, "late": ReasonNone})
	was := w.point()
	step("made again with a new index", func() { w.host.index["eth0"] = 99 }, map[string]Reason{"lan": ReasonNone, "late": ReasonNone})
	if p := w.point(); p.IfIndex != 99 || p.Any.Lists[0] != was.Any.Lists[0] {
		t.Errorf("receive point %+v; the list must stay as it was", p)
	}
	delete(w.host.index, "eth0")
	w.hostChanged()
	if n := len(w.table.Points()); n != 0 {
		t.Errorf("%d receive points without an interface", n)
	}
}

func TestNothingChangedGivesTheSameTable(t *testing.T) {
	w := newWorld(t)
	w.set(rule("r", "", multicast("lan", "eth1")))
	was := w.table
	w.hostChanged()
	if w.table != was {
		t.Errorf("version %d, was %d", w.table.Version, was.Version)
	}
}

func TestRetryHandsOverAnew(t *testing.T) {
	w := newWorld(t)
	w.set(rule("r", "", multicast("a", "eth1"), unicast("b", "gre0", "10.2.0.5")))
	was := w.point()
	c := Change{Now: t0, Knobs: knobs(), Retry: map[plan.OutputID]bool{1: true}, Again: map[plan.PointKey]bool{was.PointKey: true}}
	w.table = w.table.Stage(c, w.host)
	now := w.point()
	if now == was || now.Any.Lists[0].Outputs[0] == was.Any.Lists[0].Outputs[0] || now.Any.Lists[0].Outputs[1] != was.Any.Lists[0].Outputs[1] {
		t.Errorf("point %p → %p, outputs %v → %v", was, now, was.Any.Lists[0].Outputs, now.Any.Lists[0].Outputs)
	}
}

func TestDisabledRuleHasNoRow(t *testing.T) {
	w := newWorld(t)
	r := rule("r", "", multicast("lan", "eth1"))
	w.set(r)
	off := *r
	off.Enabled = false
	w.set(&off)
	if len(w.table.Entries)+len(w.table.Points()) != 0 {
		t.Errorf("rows %v points %v", w.table.Entries, w.table.Points())
	}
	w.set(r)
	if len(w.table.Entries) != 1 {
		t.Errorf("rows %v", w.table.Entries)
	}
}

// Two rules may swap their inputs in one change.
func TestRulesSwapInputs(t *testing.T) {
	w := newWorld(t)
	a, b := rule("a", "", multicast("x", "eth1")), rule("b", "10.0.0.9", multicast("y", "gre0"))
	w.set(a, b)
	a2, b2 := *a, *b
	a2.Source, b2.Source = b.Source, a.Source
	w.set(&a2, &b2)
	if got := w.copies("10.0.0.8"); len(got) != 1 || got[0] != "gre0@239.1.1.1:5000 ttl 1/0" {
		t.Errorf("copies %v", got)
	}
}

func manyOutputs(n int) []*Output {
	outs := make([]*Output, n)
	for i := range outs {
		outs[i] = unicast(fmt.Sprintf("o%05d", i), "wg0", netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}).String())
	}
	return outs
}

// DESIGN §3: adding one output to a row of ten thousand asks the host about that one alone.
func TestAddingOneOutputAsksOnce(t *testing.T) {
	w := newWorld(t)
	outs := manyOutputs(10_000)
	w.set(rule("r", "", outs...))
	w.host.asked = 0
	w.set(rule("r", "", append(slices.Clone(outs), unicast("z", "gre0", "10.2.0.5"))...))
	if w.host.asked != 1 {
		t.Errorf("the host was asked %d times, want once", w.host.asked)
	}
}

func BenchmarkAddOneOutput(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			outs := manyOutputs(n)
			h := newHost()
			r := rule("r", "", outs...)
			t := (&Table{}).Stage(Change{Knobs: knobs(), Rules: map[string]*Rule{"r": r}}, h)
			more := rule("r", "", append(slices.Clone(outs), unicast("z", "gre0", "10.2.0.5"))...)
			c := Change{Knobs: knobs(), Rules: map[string]*Rule{"r": more}, Old: map[string]*Rule{"r": r}}
			b.ReportAllocs()
			for b.Loop() {
				t.Stage(c, h)
			}
		})
	}
}

// Ten thousand rules at once, as at a start, take a moment and not half a minute.
func TestManyRulesAtOnce(t *testing.T) {
	w := newWorld(t)
	var rs []*Rule
	for i := range 10000 {
		r := rule(fmt.Sprintf("r%05d", i), "", unicast("a", "eth1", "10.0.0.9"))
		r.Group = netip.AddrFrom4([4]byte{239, 1, byte(i >> 8), byte(i)})
		rs = append(rs, r)
	}
	began := worked(t)
	w.set(rs...)
	if d := worked(t) - began; d > 5*time.Second || len(w.table.Points()) != len(rs) {
		t.Errorf("%d receive points after %v of work", len(w.table.Points()), d)
	}
}

// worked is the processor time that this process has had: what others take from the machine is not its cost.
func worked(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
