// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"net"
	"slices"
	"testing"

	"mcr/tests/lab"
)

// BenchmarkP4_3_DeadSpokes measures how far dead spokes (closed ports, neighbours that do not answer) move the 99th percentile of
// their siblings' delay, against the same number of live ones: P4.3 allows 10 %. The two ways are measured in turn; the
// figures are medians over the rounds. It is no test, because a machine with something else to do moves the percentile
// by far more.
func BenchmarkP4_3_DeadSpokes(b *testing.B) {
	const siblings, others = 2, 10
	h := newHub(b)
	for i := range siblings + others {
		h.spokes.Addr("eth0", spoke(i+1)+"/32")
	}
	d := runRules(b, h.rtr, "")
	port := 6000
	measure := func(dead bool) float64 {
		port++ // one of its own: nothing of an earlier round comes here
		var outs []obj
		var sinks []*lab.Sink
		for i := 1; i <= siblings+others; i++ {
			dest := spoke(i)
			switch {
			case i <= siblings:
				sinks = append(sinks, h.spokes.Sink(fmt.Sprintf("%s:%d", dest, port)))
			case !dead:
				defer listen(b, h.spokes, dest, port).Close()
			case i%2 == 0:
				dest = spoke(200 + i) // nobody answers ARP; the others are closed ports
			}
			outs = append(outs, uni(fmt.Sprintf("o%02d", i), "wg0", dest, port))
		}
		d.must(d.setRules(ruleOn("feed", "eth0", outs...)))
		s := feed(2000)
		s.Rate = 1000
		h.src.Send(s)
		worst := 0.0
		for _, sink := range sinks {
			worst = max(worst, sink.Exactly(s.Count).Latency.P99)
			sink.Close()
		}
		return worst
	}
	var live, dead, ratio []float64
	for b.Loop() {
		l, d := measure(false), measure(true)
		live, dead, ratio = append(live, l), append(dead, d), append(ratio, d/l)
	}
	b.ReportMetric(median(live), "µs-p99-live")
	b.ReportMetric(median(dead), "µs-p99-dead")
	b.ReportMetric(median(ratio), "dead/live")
}

// listen opens a port that nobody reads: it is live, and costs no processor.
func listen(t testing.TB, h *lab.Host, addr string, port int) (c net.PacketConn) {
	t.Helper()
	err := h.Do(func() (err error) {
		c, err = net.ListenPacket("udp4", fmt.Sprintf("%s:%d", addr, port))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() }) // held until then: the collector closes what nobody holds
	return c
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}
