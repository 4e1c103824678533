// SPDX-License-Identifier: Apache-2.0

package mrib

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"mcr/dataplane/plan"
)

// anyPort is a rule for every port; its outputs keep it, but for those of a port of their own.
func anyPort(name string, outs ...*Output) *Rule {
	r := rule(name, "", outs...)
	r.Port = 0
	return r
}

func onPort(o *Output, port uint16) *Output {
	o.Port = port
	return o
}

// learn tells the table of ports that the learner of eth0 saw.
func (w *world) learn(ports ...uint16) {
	c := Change{Now: t0, Knobs: knobs()}
	for _, p := range ports {
		c.Learn = append(c.Learn, plan.PointKey{IfIndex: 1, Group: group, Port: p})
	}
	w.table = w.table.Stage(c, w.host)
}

func (w *world) forget(ports ...uint16) {
	c := Change{Now: t0, Knobs: knobs()}
	for _, p := range ports {
		c.Forget = append(c.Forget, plan.PointKey{IfIndex: 1, Group: group, Port: p})
	}
	w.table = w.table.Stage(c, w.host)
}

// ports are those that have receive points; 0 is the learner.
func (w *world) ports() (ports []uint16) {
	for _, p := range w.table.Points() {
		ports = append(ports, p.Port)
	}
	return ports
}

// on are the copies of a datagram that comes for a port, as the dataplane walks them, with the output each counts for.
func (w *world) on(port uint16, source string) (out []string) {
	w.t.Helper()
	p := w.table.PlanPoint(plan.PointKey{IfIndex: 1, Group: group, Port: port})
	if p == nil {
		return []string{"no receive point"}
	}
	for _, c := range walk(names(w.table), p, netip.MustParseAddr(source)) {
		if c.up {
			out = append(out, fmt.Sprintf("%s %v", c.name, c.dest))
		}
	}
	slices.Sort(out)
	return out
}

// copied is a copy that a route makes.
type copied struct {
	name string // rule/output of the branch
	dest netip.AddrPort
	up   bool
}

// names are the outputs of a table as rule/output.
func names(t *Table) map[plan.OutputID]string {
	all := map[plan.OutputID]string{}
	for _, e := range t.Entries {
		for _, m := range e.Members {
			all[m.ID()] = m.Rule + "/" + m.Static.Name
		}
	}
	return all
}

func walk(names map[plan.OutputID]string, p *plan.Point, source netip.Addr) (out []copied) {
	route := p.BySource[source]
	if route == nil {
		route = p.Any
	}
	if route == nil {
		return nil
	}
	for i, l := range route.Lists {
		for j, o := range l.Outputs {
			if i < len(route.Skip) && slices.Contains(route.Skip[i], int32(j)) {
				continue
			}
			if o.Dest.Port() == 0 || o.Dest.Addr().IsUnspecified() || o.Shares != 0 {
				continue // sends nothing itself
			}
			branch := o.Branch
			if branch == 0 {
				branch = o.ID
			}
			out = append(out, copied{names[branch], o.Dest, o.Up})
		}
	}
	return out
}

// P1.8: each port has its own copies of the outputs that keep the port, and shares the others.
func TestP1_8_PortIsKept(t *testing.T) {
	w := newWorld(t)
	w.set(anyPort("r", onPort(multicast("lan", "eth1"), 0), onPort(unicast("spoke", "gre0", "10.2.0.5"), 7000)))
	if diff := gocmp.Diff([]uint16{0}, w.ports()); diff != "" {
		t.Fatalf("before anything came: receive points (-want +got):\n%s", diff)
	}
	w.learn(5004, 5000, 5004)
	if diff := gocmp.Diff([]uint16{0, 5000, 5004}, w.ports()); diff != "" {
		t.Fatalf("receive points (-want +got):\n%s", diff)
	}
	for _, port := range []uint16{5000, 5004} {
		want := []string{fmt.Sprintf("r/lan 239.1.1.1:%d", port), "r/spoke 10.2.0.5:7000"}
		if diff := gocmp.Diff(want, w.on(port, "10.0.0.9")); diff != "" {
			t.Errorf("port %d (-want +got):\n%s", port, diff)
		}
	}
	a, b := w.table.Points()[1].Any.Lists, w.table.Points()[2].Any.Lists
	e := w.table.Entries[RuleKey(anyPort("r"))]
	if a[0] != b[0] || a[0] != e.List || a[1] == b[1] {
		t.Errorf("lists %v and %v; the first is the entry's", a, b)
	}
	was := w.table.Points()[1]
	w.learn(5008)
	if w.table.Points()[1] != was {
		t.Error("another port touched the receive point of port 5000")
	}
	w.forget(5000, 5008)
	if diff := gocmp.Diff([]uint16{0, 5004}, w.ports()); diff != "" {
		t.Errorf("after silence (-want +got):\n%s", diff)
	}
}

// P1.8, P3.7: port 5000 meets every port: each copy once, the more specific rule's; either goes: still once, without a gap.
func TestP1_8_PortMeetsEveryPort(t *testing.T) {
	w := newWorld(t)
	wide := anyPort("wide", onPort(multicast("lan", "eth1"), 0), onPort(unicast("same", "gre0", "10.2.0.5"), 0), onPort(unicast("fix", "gre0", "10.2.0.6"), 5000))
	narrow := rule("narrow", "", multicast("lan", "eth1"), unicast("fix", "gre0", "10.2.0.6"), unicast("own", "gre0", "10.2.0.7"))
	both := []string{"narrow/fix 10.2.0.6:5000", "narrow/lan 239.1.1.1:5000", "narrow/own 10.2.0.7:5000", "wide/same 10.2.0.5:5000"}
	alone := []string{"wide/fix 10.2.0.6:5000", "wide/lan 239.1.1.1:5000", "wide/same 10.2.0.5:5000"}
	check := func(what string, want []string) {
		t.Helper()
		if diff := gocmp.Diff(want, w.on(5000, "10.0.0.9")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	w.set(wide, narrow)
	check("both", both)
	w.set(wide)
	check("without port 5000's rule", alone)
	w.set(wide, narrow)
	check("both again", both)
	w.set(narrow)
	check("without the rule for every port", []string{"narrow/fix 10.2.0.6:5000", "narrow/lan 239.1.1.1:5000", "narrow/own 10.2.0.7:5000"})
	w.set(wide)
	check("the one in the other's place", alone)
}

// P1.8: an output that keeps the port is the output of that port, within one rule too.
func TestP1_8_KeptPortIsTheFixedOne(t *testing.T) {
	w := newWorld(t)
	w.set(anyPort("r", onPort(unicast("keep", "gre0", "10.2.0.5"), 0), onPort(unicast("fix", "gre0", "10.2.0.5"), 5000)))
	w.learn(5000, 5001)
	if diff := gocmp.Diff([]string{"r/fix 10.2.0.5:5000"}, w.on(5000, "10.0.0.9")); diff != "" {
		t.Errorf("port 5000 (-want +got):\n%s", diff)
	}
	if diff := gocmp.Diff([]string{"r/fix 10.2.0.5:5000", "r/keep 10.2.0.5:5001"}, w.on(5001, "10.0.0.9")); diff != "" {
		t.Errorf("port 5001 (-want +got):\n%s", diff)
	}
}

// Q1: the number of learnt ports is bounded, and the learner is told so; a lower limit closes the newest.
func TestQ1_LearntPortsAreBounded(t *testing.T) {
	w := newWorld(t)
	w.set(anyPort("r", onPort(multicast("lan", "eth1"), 0)))
	var many []uint16
	for p := range uint16(100) {
		many = append(many, 5000+p)
	}
	w.learn(many...)
	if n := len(w.ports()) - 1; n != 64 {
		t.Errorf("%d ports, want 64", n)
	}
	if !w.table.Points()[0].Full {
		t.Error("the learner is not told that it is full")
	}
	k := knobs()
	k.MaximumLearntPorts = 2
	w.table = w.table.Stage(Change{Now: t0, Knobs: k}, w.host)
	if diff := gocmp.Diff([]uint16{0, 5000, 5001}, w.ports()); diff != "" {
		t.Errorf("lower limit (-want +got):\n%s", diff)
	}
	k.MaximumLearntPorts = 3
	w.table = w.table.Stage(Change{Now: t0, Knobs: k}, w.host)
	if w.table.Points()[0].Full {
		t.Error("the learner is full below the limit")
	}
	learner := w.table.Points()[0].PointKey
	w.table = w.table.Stage(Change{Now: t0, Knobs: k, Starved: map[plan.PointKey]bool{learner: true}}, w.host)
	if !w.table.Points()[0].Full {
		t.Error("the learner goes on without sockets")
	}
	w.learn(6000)
	if n := len(w.ports()); n != 3 {
		t.Errorf("%d receive points, want 3", n)
	}
}

// DESIGN §4: which method a receive point has, and why.
func TestReceiveMethod(t *testing.T) {
	with := func(r *Rule, m ReceiveMethod) *Rule { r.Method = m; return r }
	lan := multicast("lan", "eth1")
	for _, tt := range []struct {
		name   string
		rules  []*Rule
		filter string
		taken  bool
		want   string
	}{
		{"auto", []*Rule{rule("r", "", lan)}, "", false, "socket: nothing keeps the datagrams from a socket"},
		{"asked for", []*Rule{with(rule("r", "", lan), ReceivePacket)}, "", false, "packet: rule r asks for it"},
		{"socket asked for", []*Rule{with(rule("r", "10.0.0.9", lan), ReceiveSocket)}, "10.0.0.9", true, "socket: configured"},
		{"source is filtered", []*Rule{rule("r", "10.0.0.9", lan)}, "10.0.0.9", false, "packet: the kernel's reverse-path filter would drop 10.0.0.9"},
		{"another source is filtered", []*Rule{rule("r", "10.0.0.9", lan)}, "10.0.0.8", false, "socket: nothing keeps the datagrams from a socket"},
		{"address is taken", []*Rule{rule("r", "", lan)}, "", true, "packet: another socket holds the address"},
		{
			"one asks for packet, one for a socket",
			[]*Rule{with(rule("a", "10.0.0.9", lan), ReceiveSocket), with(rule("b", "", lan), ReceivePacket)},
			"", false, "packet: rule b asks for it",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			if tt.filter != "" {
				w.host.filter = map[netip.Addr]bool{netip.MustParseAddr(tt.filter): true}
			}
			w.set(tt.rules...)
			if tt.taken {
				w.table = w.table.Stage(Change{Now: t0, Knobs: knobs(), Taken: map[plan.PointKey]bool{w.point().PointKey: true}}, w.host)
			}
			m, why := w.table.Receive(RuleKey(tt.rules[0]))
			if got := m.String() + ": " + why; got != tt.want || w.point().Method != m {
				t.Errorf("got %q, want %q; the Plan has %v", got, tt.want, w.point().Method)
			}
		})
	}
	t.Run("follows the route to the source", func(t *testing.T) {
		w := newWorld(t)
		w.set(rule("r", "10.0.0.9", lan))
		w.host.filter = map[netip.Addr]bool{netip.MustParseAddr("10.0.0.9"): true}
		doubt := func(a netip.Addr) bool { return a == netip.MustParseAddr("10.0.0.9") }
		w.table = w.table.Stage(Change{Now: t0, Knobs: knobs(), DoubtSource: doubt}, w.host)
		if w.point().Method != plan.MethodPacket {
			t.Error("still a socket")
		}
	})
}

// randomPorts tells of ports that came, and of such as fell silent.
func randomPorts(rng *rand.Rand, table *Table, k Knobs) Change {
	c := Change{Now: t0, Knobs: k}
	for _, p := range table.Points() {
		if p.Port == 0 && rng.IntN(2) == 0 {
			key := p.PointKey
			key.Port = 5000 + uint16(rng.IntN(4))
			c.Learn = append(c.Learn, key)
		}
	}
	for key := range table.Learnt() {
		if rng.IntN(6) == 0 {
			c.Forget = append(c.Forget, key)
		}
	}
	return c
}

// checkRoutes compares what each receive point does with each source with the rule in words: the outputs of every entry that
// matches, each identity once, the more specific entry's.
func checkRoutes(t *testing.T, table *Table) {
	t.Helper()
	all := names(table)
	for _, p := range table.Points() {
		if p.Port == 0 {
			continue
		}
		for _, source := range []string{"10.0.0.7", "10.0.0.8", "10.0.0.9"} {
			src := netip.MustParseAddr(source)
			var want []copied
			have := map[OutputKey]bool{}
			for _, key := range []EntryKey{
				{p.IfName, src, p.Group, p.Port},
				{p.IfName, src, p.Group, 0},
				{p.IfName, netip.IPv4Unspecified(), p.Group, p.Port},
				{p.IfName, netip.IPv4Unspecified(), p.Group, 0},
			} {
				e := table.Entries[key]
				if e == nil {
					continue
				}
				// Within one entry the outputs that name the port come first.
				for _, fixed := range []bool{true, false} {
					for _, m := range e.Members {
						if (m.Key.Port != 0) != fixed || m.Copies != 1 || m.Same != 0 {
							continue
						}
						k := m.Key
						if k.Port == 0 {
							k.Port = p.Port
						}
						if !have[k] {
							have[k] = true
							want = append(want, copied{m.Rule + "/" + m.Static.Name, k.Endpoint(), m.Plan.Up})
						}
					}
				}
			}
			got := walk(all, p, src)
			order := func(a, b copied) int { return cmp.Or(strings.Compare(a.name, b.name), a.dest.Compare(b.dest)) }
			slices.SortFunc(got, order)
			slices.SortFunc(want, order)
			if !slices.Equal(got, want) {
				t.Fatalf("%v, source %v:\ngot  %v\nwant %v", p.PointKey, src, got, want)
			}
		}
	}
}
