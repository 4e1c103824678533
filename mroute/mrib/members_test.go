// SPDX-License-Identifier: Apache-2.0

package mrib

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcr/dataplane/plan"
)

// far makes the interface one whose multicast becomes copies to these.
func (w *world) far(iface string, endpoints ...string) {
	her := HER{Active: true}
	for _, e := range endpoints {
		her.Endpoints = append(her.Endpoints, netip.MustParseAddr(e))
	}
	w.host.her[iface] = her
}

// parts are the members of all rows: output, ID, destination, what it is, and its reason.
func (w *world) parts() []string {
	var out []string
	for _, e := range w.table.Entries {
		for _, m := range e.Members {
			what := "trunk"
			switch {
			case m.Instance():
				what = fmt.Sprint("of ", m.Trunk())
			case m.Copies > 1:
				what = fmt.Sprint("head of ", m.Copies)
			}
			if m.Plan.Shares != 0 {
				what += fmt.Sprint(" shares ", m.Plan.Shares)
			} else if m.Same != 0 {
				what += fmt.Sprint(" same as ", m.Same)
			}
			out = append(out, fmt.Sprintf("%s %d %v %s %v", m.Static.Name, m.ID(), m.Key.Dest, what, m.Reason))
		}
	}
	slices.Sort(out)
	return out
}

func (w *world) want(what string, got, want []string) {
	w.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// dests are the destinations of a datagram's copies.
func (w *world) dests() (out []string) {
	w.t.Helper()
	for _, c := range w.copies("10.0.0.9") {
		iface, rest, _ := strings.Cut(c, "@")
		dest, _, _ := strings.Cut(rest, " ")
		out = append(out, dest+"@"+iface)
	}
	slices.Sort(out)
	return out
}

// P3.4, P3.6, P2.6, P3.8: what an output under HER becomes with none, one and several endpoints, and without HER; its identity stays.
func TestP3_4_EndpointsComeAndGo(t *testing.T) {
	w := newWorld(t)
	lan, hub := multicast("lan", "eth1"), multicast("tun", "wg0")
	w.set(rule("r", "", lan, hub))
	w.want("multicast", w.parts(), []string{"lan 1 239.1.1.1 trunk none", "tun 2 239.1.1.1 trunk none"})
	step := func(what string, parts, dests []string) {
		t.Helper()
		was := w.point().Any.Lists[0].Outputs[0]
		w.hostChanged()
		w.want(what, w.parts(), parts)
		w.want(what+": copies", w.dests(), dests)
		if now := w.point().Any.Lists[0].Outputs[0]; now != was {
			t.Errorf("%s: the sibling is handed over anew", what)
		}
	}
	const sibling, lanCopy = "lan 1 239.1.1.1 trunk none", "239.1.1.1:5000@eth1"
	w.far("wg0")
	step("HER without endpoint", []string{sibling, "tun 2 0.0.0.0 trunk endpoint-unresolved"}, []string{lanCopy})
	w.far("wg0", "10.3.0.2")
	step("one", []string{sibling, "tun 2 10.3.0.2 trunk none"}, []string{"10.3.0.2:5000@wg0", lanCopy})
	w.far("wg0", "10.3.0.9")
	step("it moves", []string{sibling, "tun 2 10.3.0.9 trunk none"}, []string{"10.3.0.9:5000@wg0", lanCopy})
	w.far("wg0", "10.3.0.2", "10.3.0.9")
	step("two", []string{sibling, "tun 2 0.0.0.0 head of 2 none", "tun 3 10.3.0.2 of 2 none", "tun 4 10.3.0.9 of 2 none"},
		[]string{"10.3.0.2:5000@wg0", "10.3.0.9:5000@wg0", lanCopy})
	w.far("wg0", "10.3.0.2", "10.3.0.4")
	three := w.point().Any.Lists[0].Outputs[2]
	step("one of two moves", []string{sibling, "tun 2 0.0.0.0 head of 2 none", "tun 3 10.3.0.2 of 2 none", "tun 5 10.3.0.4 of 2 none"},
		[]string{"10.3.0.2:5000@wg0", "10.3.0.4:5000@wg0", lanCopy})
	if now := w.point().Any.Lists[0].Outputs[2]; now != three {
		t.Error("the one that stays is handed over anew")
	}
	w.host.down["wg0"] = true
	step("down", []string{sibling, "tun 2 0.0.0.0 head of 2 none", "tun 3 10.3.0.2 of 2 interface-down", "tun 5 10.3.0.4 of 2 interface-down"}, []string{lanCopy})
	w.host.down["wg0"] = false
	w.far("wg0", "10.3.0.4")
	step("one is left", []string{sibling, "tun 2 10.3.0.4 trunk none"}, []string{"10.3.0.4:5000@wg0", lanCopy})
	w.far("wg0")
	step("none is left", []string{sibling, "tun 2 0.0.0.0 trunk endpoint-unresolved"}, []string{lanCopy})
	delete(w.host.her, "wg0")
	step("multicast again", []string{sibling, "tun 2 239.1.1.1 trunk none"}, []string{"239.1.1.1:5000@eth1", "239.1.1.1:5000@wg0"})
}

// P2.5, P3.2: a host that the configuration names is never rewritten, nor is an output asked about that is switched off.
func TestP3_2_ExplicitHostStays(t *testing.T) {
	w := newWorld(t)
	w.far("wg0", "10.3.0.2")
	off := multicast("off", "wg0")
	off.Enabled = false
	w.set(rule("r", "", unicast("a", "wg0", "10.3.0.7"), off))
	w.want("members", w.parts(), []string{"a 1 10.3.0.7 trunk none", "off 2 239.1.1.1 trunk admin-disabled"})
}

// D2: a copy to a host has the TTL of unicast outputs.
func TestP3_1_CopyHasUnicastTTL(t *testing.T) {
	w := newWorld(t)
	w.far("wg0", "10.3.0.2")
	w.set(rule("r", "", multicast("tun", "wg0")))
	w.want("copies", w.copies("10.0.0.9"), []string{"wg0@10.3.0.2:5000 ttl 0/64"})
}

// A destination that an output names and an endpoint are one branch: each packet once, by the one that is named; whichever goes, the
// other goes on.
func TestP3_7_SameIdentityTwice(t *testing.T) {
	w := newWorld(t)
	w.far("wg0", "10.3.0.2")
	tun := multicast("a-tun", "wg0")
	named := unicast("named", "wg0", "10.3.0.2")
	named.TTL = 9
	w.set(rule("r", "", tun))
	w.want("alone", w.copies("10.0.0.9"), []string{"wg0@10.3.0.2:5000 ttl 0/64"})
	w.set(rule("r", "", tun, named))
	w.want("both", w.parts(), []string{"a-tun 1 10.3.0.2 trunk shares 2 none", "named 2 10.3.0.2 trunk none"})
	w.want("copies of both", w.copies("10.0.0.9"), []string{"wg0@10.3.0.2:5000 ttl 0/9"})
	w.far("wg0", "10.3.0.2", "10.3.0.4")
	w.hostChanged()
	w.want("one of two", w.parts(), []string{
		"a-tun 1 0.0.0.0 head of 2 none", "a-tun 3 10.3.0.2 of 1 shares 2 none", "a-tun 4 10.3.0.4 of 1 none", "named 2 10.3.0.2 trunk none",
	})
	w.want("copies", w.copies("10.0.0.9"), []string{"wg0@10.3.0.2:5000 ttl 0/9", "wg0@10.3.0.4:5000 ttl 0/64"})
	w.set(rule("r", "", tun))
	w.want("the named one goes", w.parts(), []string{"a-tun 1 0.0.0.0 head of 2 none", "a-tun 3 10.3.0.2 of 1 none", "a-tun 4 10.3.0.4 of 1 none"})
	w.want("copies", w.dests(), []string{"10.3.0.2:5000@wg0", "10.3.0.4:5000@wg0"})
	w.set(rule("r", "", tun, named))
	w.set(rule("r", "", named))
	w.want("the tunnel goes", w.copies("10.0.0.9"), []string{"wg0@10.3.0.2:5000 ttl 0/9"})
}

// Two groups on one tunnel come to the same host: the first by name sends; a boundary on its group leaves it to the other.
func TestP3_7_TwoGroupsOneHost(t *testing.T) {
	w := newWorld(t)
	w.far("wg0", "10.3.0.2")
	other := netip.MustParseAddr("239.2.2.2")
	b := multicast("b", "wg0")
	b.Group = other
	w.set(rule("r", "", multicast("a", "wg0"), b))
	w.want("members", w.parts(), []string{"a 1 10.3.0.2 trunk none", "b 2 10.3.0.2 trunk shares 1 none"})
	w.want("copies", w.dests(), []string{"10.3.0.2:5000@wg0"})
	w.far("wg0")
	w.hostChanged()
	w.want("unresolved", w.parts(), []string{"a 1 0.0.0.0 trunk endpoint-unresolved", "b 2 0.0.0.0 trunk same as 1 endpoint-unresolved"})
	w.far("wg0", "10.3.0.2", "10.3.0.3")
	w.hostChanged()
	w.want("several", w.parts(), []string{
		"a 1 0.0.0.0 head of 2 none", "a 3 10.3.0.2 of 1 none", "a 4 10.3.0.3 of 1 none",
		"b 2 0.0.0.0 head of 2 none", "b 5 10.3.0.2 of 2 shares 3 none", "b 6 10.3.0.3 of 2 shares 4 none",
	})
	w.want("copies", w.dests(), []string{"10.3.0.2:5000@wg0", "10.3.0.3:5000@wg0"})
	in := *w.rules["r"]
	in.Group = other // so that the boundary is about one output alone
	w.far("wg0", "10.3.0.2")
	w.set(&in)
	all := func(*Member) bool { return true }
	c := Change{Now: t0, Knobs: knobs(), Doubt: all, Boundaries: map[string][]netip.Prefix{"wg0": {netip.PrefixFrom(group, 32)}}}
	w.table = w.table.Stage(c, w.host)
	w.want("a boundary on the group of a", w.parts(), []string{"a 1 10.3.0.2 trunk same as 2 scope", "b 2 10.3.0.2 trunk none"})
	w.want("copies", w.dests(), []string{"10.3.0.2:5000@wg0"})
}

// D6: what a unicast copy stands for is kept by a boundary.
func TestD6_BoundaryKeepsHERBranches(t *testing.T) {
	w := newWorld(t)
	w.far("wg0", "10.3.0.2", "10.3.0.3")
	w.set(rule("r", "", multicast("tun", "wg0")))
	all := func(*Member) bool { return true }
	c := Change{Now: t0, Knobs: knobs(), Doubt: all, Boundaries: map[string][]netip.Prefix{"wg0": {netip.MustParsePrefix("239.1.0.0/16")}}}
	w.table = w.table.Stage(c, w.host)
	w.want("members", w.parts(), []string{"tun 1 0.0.0.0 head of 2 scope", "tun 2 10.3.0.2 of 1 scope", "tun 3 10.3.0.3 of 1 scope"})
	w.want("copies", w.dests(), nil)
	c.Boundaries = nil
	w.table = w.table.Stage(c, w.host)
	w.want("without it", w.dests(), []string{"10.3.0.2:5000@wg0", "10.3.0.3:5000@wg0"})
}

// A copy to a host may leave by the interface that the group comes in on; as multicast it would come back.
func TestHEROnTheInputInterface(t *testing.T) {
	w := newWorld(t)
	w.far("eth0", "10.0.0.2", "10.0.0.3")
	w.set(rule("r", "", multicast("back", "eth0")))
	w.want("copies", w.dests(), []string{"10.0.0.2:5000@eth0", "10.0.0.3:5000@eth0"})
	delete(w.host.her, "eth0")
	w.hostChanged()
	w.want("as multicast", w.parts(), []string{"back 1 239.1.1.1 trunk loop"})
	r := *w.rules["r"]
	r.Interface = "eth1"
	w.set(&r)
	w.want("of another input", w.parts(), []string{"back 1 239.1.1.1 trunk none"})
	w.set(rule("r", "", r.Outputs...))
	w.want("of its own again", w.parts(), []string{"back 1 239.1.1.1 trunk loop"})
}

// P1.8 with HER: each endpoint has its copies of each port, which are told as the endpoint's.
func TestP1_8_PortIsKeptToEachEndpoint(t *testing.T) {
	w := newWorld(t)
	w.far("wg0", "10.3.0.2", "10.3.0.3")
	w.set(anyPort("r", onPort(multicast("tun", "wg0"), 0), onPort(multicast("fix", "wg0"), 7000), onPort(unicast("named", "wg0", "10.3.0.3"), 0)))
	w.learn(5000, 5004)
	for _, port := range []uint16{5000, 5004} {
		want := []string{"r/fix 10.3.0.2:7000", "r/fix 10.3.0.3:7000", fmt.Sprintf("r/named 10.3.0.3:%d", port), fmt.Sprintf("r/tun 10.3.0.2:%d", port)}
		if diff := cmp.Diff(want, w.on(port, "10.0.0.9")); diff != "" {
			t.Errorf("port %d (-want +got):\n%s", port, diff)
		}
	}
	kept := w.table.PlanPoint(plan.PointKey{IfIndex: 1, Group: group, Port: 5000}).Any.Lists[1]
	for _, o := range kept.Outputs {
		for _, m := range w.table.Entries[RuleKey(anyPort("r"))].Members {
			if m.ID() == o.Branch && (m.Copies != 1 || m.Key.Dest != o.Dest.Addr()) {
				t.Errorf("instance %v of member %v, %d copies", o.Dest, m.Key, m.Copies)
			}
		}
	}
	w.far("wg0")
	w.hostChanged()
	want := []string{"r/named 10.3.0.3:5000"}
	if diff := cmp.Diff(want, w.on(5000, "10.0.0.9")); diff != "" {
		t.Errorf("unresolved (-want +got):\n%s", diff)
	}
}

// DESIGN §3 with HER: one output more asks the host about that one alone.
func TestAddingOneOutputAsksOnceUnderHER(t *testing.T) {
	w := newWorld(t)
	w.far("gre0", "10.2.0.2")
	outs := append(manyOutputs(1000), multicast("a-tun", "gre0"))
	w.set(rule("r", "", outs...))
	w.host.asked, w.host.askedHER = 0, 0
	w.set(rule("r", "", append(slices.Clone(outs), unicast("z", "gre0", "10.2.0.5"))...))
	if w.host.asked != 1 || w.host.askedHER != 0 {
		t.Errorf("the host was asked %d times for a way and %d times for HER, want 1 and 0", w.host.asked, w.host.askedHER)
	}
}
