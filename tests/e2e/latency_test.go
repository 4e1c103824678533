// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"slices"
	"testing"

	"mcr/tests/lab"
)

// P4.3: dead spokes move their siblings' 99th percentile by at most 10 %, against the same number of live ones. Not in
// parallel with other tests: it measures time. Each way is measured several times in turn and its best taken, since what
// disturbs a machine only ever makes a figure larger.
func TestP4_3_DeadSpokesDoNotDelaySiblings(t *testing.T) {
	const rounds, siblings, others = 7, 4, 4
	h := newHub(t)
	for i := range siblings + others {
		h.spokes.Addr("eth0", spoke(i+1)+"/32")
	}
	d := runRules(t, h.rtr, "")
	measure := func(round int, dead bool) float64 {
		var outs []obj
		var sinks, rest []*lab.Sink
		port := 6000 + round // a port of its own: nothing of an earlier round comes here
		listen := func(i int) *lab.Sink { return h.spokes.Sink(fmt.Sprintf("%s:%d", spoke(i), port)) }
		for i := 1; i <= siblings+others; i++ {
			dest := spoke(i)
			switch {
			case i <= siblings:
				sinks = append(sinks, listen(i))
			case !dead:
				rest = append(rest, listen(i))
			case i%2 == 0:
				dest = spoke(200 + i) // nobody answers ARP; the others are closed ports
			}
			outs = append(outs, uni(fmt.Sprintf("o%02d", i), "wg0", dest, port))
		}
		d.must(d.setRules(ruleOn("feed", "eth0", outs...)))
		s := feed(1500)
		s.Rate = 1000
		h.src.Send(s)
		var p99 []float64
		for _, sink := range sinks {
			p99 = append(p99, sink.Exactly(s.Count).Latency.P99)
		}
		for _, sink := range append(sinks, rest...) {
			sink.Close()
		}
		slices.Sort(p99)
		return p99[len(p99)/2]
	}
	var live, dead []float64
	for round := range rounds {
		live = append(live, measure(2*round, false))
		dead = append(dead, measure(2*round+1, true))
	}
	t.Logf("median p99 of %d siblings, µs, by round: beside live ones %.0f, beside dead ones %.0f", siblings, live, dead)
	if l, d := slices.Min(live), slices.Min(dead); d > 1.10*l {
		t.Errorf("p99 beside dead spokes is %.0f µs, beside live ones %.0f µs: more than 10 %% worse", d, l)
	}
}
