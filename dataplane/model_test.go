// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"mcr/dataplane/plan"
)

// model says what each output of random Plans must have counted, and each receiver got.
type model struct {
	*lab
	workers int // at most
	rng     *rand.Rand
	outputs map[plan.OutputID]*plan.Output
	want    map[plan.OutputID]*plan.OutputCounters
	got     map[netip.AddrPort]int
}

// P4.4: whatever changes, in whatever order, each output counts what its receiver gets, what came while it was down, and what
// its TTL kept back; nothing is doubled, and a Plan that is discarded leaves no trace.
func TestRandomPlansCountRight(t *testing.T) {
	for name, spread := range map[string]int{"one-shard": spreadFrom, "all-shards": 1} {
		t.Run(name, func(t *testing.T) { randomPlans(t, spread) })
	}
}

func randomPlans(t *testing.T, spread int) {
	l := newLab(t)
	e := l.start()
	e.spread = spread
	seed := rand.Uint64()
	t.Log("seed", seed)
	m := &model{
		lab: l, workers: min(2, len(e.shards)), rng: rand.New(rand.NewPCG(seed, 0)), outputs: map[plan.OutputID]*plan.Output{},
		want: map[plan.OutputID]*plan.OutputCounters{}, got: map[netip.AddrPort]int{},
	}
	second := netip.MustParseAddr("10.8.0.77")
	l.inFar(func() { l.address("in1", second.String()+"/24") })
	last, other := l.source(1, 0), l.sourceFrom(second, 5, 0)
	receivers := map[netip.AddrPort]*receiver{}
	for id := range plan.OutputID(6) {
		r := l.receiver(m.dest(id))
		receivers[netip.MustParseAddrPort(m.dest(id))] = r
	}
	for step := range some(100) {
		p, wild, own := m.plan(second)
		if m.rng.IntN(4) == 0 {
			a, err := e.Prepare(p)
			l.must(err)
			a.Discard()
		}
		l.apply(e, p)
		before, twins := packets(e), l.twins(e)
		n := m.rng.IntN(4)
		for range n {
			l.send(last, "from the one")
			l.send(other, "from the other")
		}
		m.expect(wild, n, 1)
		m.expect(own, n, 5)
		l.workersReceived(e, before+uint64(2*n*twins))
		for id, w := range m.want {
			c, _, ok := e.Output(id)
			if !ok || c.Packets != w.Packets || c.NotReady != w.NotReady || c.SkippedTTL != w.SkippedTTL || c.Errors+c.Dropped != 0 {
				t.Fatalf("step %d, output %d: %+v, want %+v", step, id, c, *w)
			}
		}
	}
	for dest, r := range receivers {
		if n := len(r.rest()); n != m.got[dest] {
			t.Errorf("%v got %d, want %d", dest, n, m.got[dest])
		}
	}
	l.apply(e, &plan.Plan{})
	if len(e.outputs)+len(e.points)+len(e.lists)+len(e.egresses)+e.sockets != 0 {
		t.Errorf("left: %d outputs, %d points, %d lists, %d egresses, %d sockets",
			len(e.outputs), len(e.points), len(e.lists), len(e.egresses), e.sockets)
	}
}

func (m *model) dest(id plan.OutputID) string { return fmt.Sprintf("10.9.0.%d:6000", id+1) }

// plan has six outputs at most, in three lists at most, in routes of any source and of second; both engines.
func (m *model) plan(second netip.Addr) (p *plan.Plan, wild, own *plan.Route) {
	lists := []*plan.List{{ID: 1}, {ID: 2}, {ID: 3}}
	for id := range plan.OutputID(6) {
		i := m.rng.IntN(4)
		if i == len(lists) {
			delete(m.outputs, id)
			continue
		}
		if m.outputs[id] == nil || m.rng.IntN(3) == 0 {
			m.outputs[id] = m.output(id)
		}
		lists[i].Outputs = append(lists[i].Outputs, m.outputs[id])
	}
	wild, own = m.route(lists), m.route(lists)
	pt := &plan.Point{PointKey: m.key(), JoinAny: true, Any: wild, BySource: map[netip.Addr]*plan.Route{second: own}}
	p = &plan.Plan{Points: []*plan.Point{pt}, Settings: plan.Settings{
		Engine: plan.EngineMMsg - plan.Engine(m.rng.IntN(2)), Workers: m.rng.IntN(m.workers + 1), ZeroCopy: plan.ZeroCopy(m.rng.IntN(3)),
	}}
	if m.rng.IntN(2) == 0 { // a point without traffic, which shares lists
		p.Points = append(p.Points, &plan.Point{PointKey: plan.PointKey{IfIndex: m.in0, Group: group, Port: 7777}, JoinAny: true, Any: m.route(lists)})
	}
	live := map[plan.OutputID]bool{}
	for _, r := range []*plan.Route{wild, own, p.Points[len(p.Points)-1].Any} {
		for _, l := range r.Lists {
			for _, o := range l.Outputs {
				live[o.ID] = true
			}
		}
	}
	for id := range plan.OutputID(6) {
		if !live[id] {
			delete(m.want, id)
		} else if m.want[id] == nil {
			m.want[id] = &plan.OutputCounters{}
		}
	}
	return p, wild, own
}

func (m *model) output(id plan.OutputID) *plan.Output {
	o := m.lab.output(id, m.dest(id))
	o.Up = m.rng.IntN(3) > 0
	o.MTU -= 100 * m.rng.IntN(2)
	o.TTLMode = plan.TTLMode(m.rng.IntN(2))
	o.TTL, o.DSCP = uint8(60+m.rng.IntN(3)), int8(m.rng.IntN(3)-1)
	if m.rng.IntN(4) == 0 {
		o.Source = netip.MustParseAddr("10.8.0.2")
	}
	return o
}

// route takes some of the lists, and skips some of their outputs.
func (m *model) route(lists []*plan.List) *plan.Route {
	r := &plan.Route{}
	for _, i := range m.rng.Perm(len(lists))[:m.rng.IntN(4)] {
		var skip []int32
		for pos := range lists[i].Outputs {
			if m.rng.IntN(4) == 0 {
				skip = append(skip, int32(pos))
			}
		}
		r.Lists, r.Skip = append(r.Lists, lists[i]), append(r.Skip, skip)
	}
	return r
}

// expect notes what n datagrams that arrive with ttl must do on r.
func (m *model) expect(r *plan.Route, n, ttl int) {
	for i, l := range r.Lists {
		for pos, o := range l.Outputs {
			switch w := m.want[o.ID]; {
			case slices.Contains(r.Skip[i], int32(pos)):
			case !o.Up:
				w.NotReady += uint64(n)
			case o.TTLMode == plan.TTLDecrement && ttl <= 1:
				w.SkippedTTL += uint64(n)
			default:
				w.Packets += uint64(n)
				m.got[o.Dest] += n
			}
		}
	}
}
