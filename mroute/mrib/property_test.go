// SPDX-License-Identifier: Apache-2.0

package mrib

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcr/dataplane/plan"
)

// A table that went through many changes says what a table says that was made of the last state alone, and its Plan keeps the
// dataplane's rules: points in order, a list and an output only once.
func TestManyChangesEndWhereAFreshTableBegins(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 0))
		h, table, rules, k := newHost(), &Table{}, map[string]*Rule{}, knobs()
		for step := range 30 {
			c := Change{Now: t0, Rules: map[string]*Rule{}, Old: map[string]*Rule{}}
			switch rng.IntN(4) {
			case 0:
				changeHost(rng, h)
				c.Doubt, c.DoubtInput = func(*Member) bool { return true }, func(string, netip.Addr) bool { return true }
			case 1:
				c.Retry, c.Again = map[plan.OutputID]bool{plan.OutputID(rng.IntN(20)): true}, map[plan.PointKey]bool{}
				if ps := table.Points(); len(ps) > 0 {
					c.Again[ps[rng.IntN(len(ps))].PointKey] = true
				}
			case 2:
				ttl := uint8(rng.IntN(3))
				k.UnicastTTL, k.MinimumInputTTL, k.MaximumLearntPorts = 10+ttl, &ttl, 2+int(ttl)
				c.Doubt = func(*Member) bool { return true }
				fallthrough
			default:
				next := randomRules(rng, rules)
				for name, r := range next {
					if was := rules[name]; was != r {
						c.Rules[name] = r
						if was != nil {
							c.Old[name] = was
						}
					}
				}
				for name, was := range rules {
					if next[name] == nil {
						c.Rules[name], c.Old[name] = nil, was
					}
				}
				rules = next
			}
			c.Knobs = k
			table = table.Stage(c, h)
			table = table.Stage(randomPorts(rng, table, k), h)
			fresh := (&Table{}).Stage(Change{Now: t0, Knobs: k, Rules: rules}, h)
			fresh = fresh.Stage(Change{Now: t0, Knobs: k, Learn: slices.Collect(table.Learnt())}, h)
			checkRoutes(t, table)
			checkMembers(t, table)
			if diff := cmp.Diff(said(t, fresh), said(t, table)); diff != "" {
				t.Fatalf("seed %d, step %d (-fresh +table):\n%s", seed, step, diff)
			}
		}
	}
}

var someLinks = []string{"eth0", "eth1", "gre0", "wg0"}

// changeHost takes a link down or up, away or back, swaps two names, or changes an address.
func changeHost(rng *rand.Rand, h *fakeHost) {
	a, b := someLinks[rng.IntN(4)], someLinks[rng.IntN(4)]
	switch rng.IntN(7) {
	case 4: // endpoints, among them such as outputs name
		h.her[a] = HER{Active: true}
		for i := range 4 {
			if rng.IntN(3) > 0 {
				her := h.her[a]
				her.Endpoints = append(her.Endpoints, netip.AddrFrom4([4]byte{10, 5, 0, byte(10*i + rng.IntN(3))}))
				h.her[a] = her
			}
		}
	case 5:
		h.her[a] = HER{Active: true, Endpoints: []netip.Addr{netip.AddrFrom4([4]byte{10, 5, 0, byte(10*rng.IntN(4) + rng.IntN(3))})}}
	case 6:
		delete(h.her, a)
	case 0:
		h.down[a] = !h.down[a]
	case 1:
		if h.index[a] == 0 {
			h.index[a] = plan.IfIndex(100 + rng.IntN(1e6))
		} else {
			h.index[a] = 0
		}
	case 2:
		h.index[a], h.index[b] = h.index[b], h.index[a]
	case 3:
		h.source[a] = fmt.Sprintf("10.9.0.%d", rng.IntN(200))
	}
}

// randomRules keeps some of the rules, and some of the outputs of those that it makes anew.
func randomRules(rng *rand.Rand, rules map[string]*Rule) map[string]*Rule {
	next, inputs := map[string]*Rule{}, map[EntryKey]bool{}
	for i := range 4 {
		was := rules[fmt.Sprint("r", i)]
		r := was
		if was == nil || rng.IntN(2) == 0 {
			r = rule(fmt.Sprint("r", i), []string{"", "10.0.0.7", "10.0.0.8"}[rng.IntN(3)], randomOutputs(rng, was)...)
			r.Interface, r.Port, r.Enabled = someLinks[rng.IntN(2)], []uint16{0, 5000, 5001}[rng.IntN(3)], rng.IntN(5) > 0
		}
		if k := RuleKey(r); rng.IntN(5) > 0 && !inputs[k] {
			next[r.Name], inputs[k] = r, true
		}
	}
	return next
}

func randomOutputs(rng *rand.Rand, was *Rule) (outs []*Output) {
	for i := range 4 {
		o := unicast(fmt.Sprint("o", i), someLinks[rng.IntN(4)], fmt.Sprintf("10.5.0.%d", 10*i+rng.IntN(3)))
		if i > 0 && rng.IntN(3) == 0 {
			o.Name, outs[0].Name = outs[0].Name, o.Name // two names change places
		}
		o.Port, o.Enabled, o.TTL = []uint16{0, 5000, 6000}[rng.IntN(3)], rng.IntN(5) > 0, uint8(rng.IntN(3))
		if rng.IntN(2) == 0 { // multicast, HER or not; the groups differ
			o.Unicast, o.Group = netip.Addr{}, netip.AddrFrom4([4]byte{239, 5, 0, byte(i)})
			if rng.IntN(5) == 0 {
				o.HERMode = HERNever
			}
		}
		outs = append(outs, o)
	}
	if was != nil {
		for i, o := range outs {
			j := slices.IndexFunc(was.Outputs, func(w *Output) bool { return w.Name == o.Name })
			same := func(x *Output) bool {
				return x != o && x.Unicast == was.Outputs[j].Unicast && (x.Unicast.IsValid() || x.Group == was.Outputs[j].Group)
			}
			if rng.IntN(2) == 0 && !slices.ContainsFunc(outs, same) {
				outs[i] = was.Outputs[j]
			}
		}
	}
	return outs
}

// memberOf returns the member of a row with that ID.
func memberOf(e *Entry, id plan.OutputID) (*Member, bool) {
	for _, m := range e.Members {
		if m.ID() == id {
			return m, true
		}
	}
	return nil, false
}

// checkMembers looks at the parts that members play: each output has one trunk, each identity of a row one holder.
func checkMembers(t *testing.T, table *Table) {
	t.Helper()
	for _, e := range table.Entries {
		trunks, instances, rows := map[*Output]int{}, map[plan.OutputID]int{}, map[OutputKey]int{}
		for _, m := range e.Members {
			if m.Row() {
				rows[m.Key]++
			}
			if m.Instance() {
				instances[m.Trunk()]++
				if m.Trunk() >= m.ID() {
					t.Errorf("instance %d of trunk %d", m.ID(), m.Trunk())
				}
			} else {
				trunks[m.Static]++
			}
			if m.Same == 0 {
				continue
			}
			if by, ok := memberOf(e, m.Same); !ok || by.Same != 0 || by.Key != m.Key || by.Plan.Shares != 0 {
				t.Errorf("%v is the same as %d: %+v", m.Key, m.Same, by)
			}
		}
		for _, o := range e.Rule.Outputs {
			if trunks[o] != 1 {
				t.Errorf("output %s has %d trunks", o.Name, trunks[o])
			}
		}
		for _, m := range e.Members {
			if n := instances[m.ID()]; !m.Instance() && (n > 0) != (m.Copies > 1) || n > 0 && n != m.Copies {
				t.Errorf("%s has %d instances and %d copies", m.Static.Name, n, m.Copies)
			}
		}
		for k, n := range rows {
			if n != 1 {
				t.Errorf("%d members are the row of %v", n, k)
			}
		}
	}
}

// said is what the table says of its rows, and what its Plan does with each source.
func said(t *testing.T, table *Table) map[string][]string {
	out := map[string][]string{}
	for k, e := range table.Entries {
		for _, m := range e.Members {
			same := ""
			if by, ok := memberOf(e, m.Same); ok {
				same = by.Static.Name
			}
			out[k.String()] = append(out[k.String()], fmt.Sprint(e.Rule.Name, table.Ingress(k), m.Key, m.Reason, m.Rule, m.Static.Name,
				m.HER, m.Copies, m.Instance(), m.Plan.Shares == m.Same, same))
		}
		slices.Sort(out[k.String()])
	}
	lists, homes := map[plan.ListID]*plan.List{}, map[plan.OutputID]plan.ListID{}
	route := func(where string, r *plan.Route) {
		for i, l := range r.Lists {
			if was := lists[l.ID]; was != nil && was != l {
				t.Errorf("list %d is two lists", l.ID)
			}
			lists[l.ID] = l
			for j, o := range l.Outputs {
				if home, ok := homes[o.ID]; ok && home != l.ID || j > 0 && l.Outputs[j-1].ID >= o.ID {
					t.Errorf("output %d at place %d of list %d, home %d", o.ID, j, l.ID, home)
				}
				homes[o.ID] = l.ID
				if i >= len(r.Skip) || !slices.Contains(r.Skip[i], int32(j)) {
					same := *o
					same.ID, same.Branch, same.Shares = 0, 0, 0
					if !o.Up {
						same.Source = netip.Addr{} // that of before, for its socket
					}
					out[where] = append(out[where], fmt.Sprintf("%d %+v", l.MinTTL, same))
				}
			}
		}
		slices.Sort(out[where])
	}
	ps := table.Points()
	if !slices.IsSortedFunc(ps, func(a, b *plan.Point) int { return comparePoints(a.PointKey, b.PointKey) }) {
		t.Error("points are not in order")
	}
	for _, p := range ps {
		out[fmt.Sprint(p.PointKey)] = []string{fmt.Sprint(p.JoinAny, p.JoinSources)}
		if p.Any != nil {
			route(fmt.Sprint(p.PointKey, "any"), p.Any)
		}
		for src, r := range p.BySource {
			route(fmt.Sprint(p.PointKey, src), r)
		}
	}
	return out
}
