// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"mcr/dataplane/plan"
)

// Every duration lies in its bucket, and a bucket's upper bound is at most a sixteenth above what is in it.
func TestResidenceBuckets(t *testing.T) {
	last := -1
	for d := time.Duration(1); d < 100*time.Second; d += 1 + d/37 {
		b := residenceBucket(d)
		if b < last || b >= residenceBuckets {
			t.Fatalf("%v is in bucket %d, after %d", d, b, last)
		}
		last = b
		up := residenceUpper(b)
		if in := max(d, residenceFloor); b < residenceBuckets-1 && (up <= in || up > in+in/16+1) {
			t.Fatalf("%v is in a bucket up to %v", d, up)
		}
	}
	if last != residenceBuckets-1 {
		t.Errorf("100 s is in bucket %d of %d", last, residenceBuckets)
	}
}

// The quantiles are those of the interval between two readings, whoever reads in between.
func TestResidenceQuantiles(t *testing.T) {
	var r residence
	now := time.Now()
	if p50, p99 := r.quantiles(now); p50 != 0 || p99 != 0 {
		t.Errorf("without a datagram: %v, %v", p50, p99)
	}
	fill := func(scale time.Duration) (sorted []time.Duration) {
		rng := rand.New(rand.NewPCG(1, uint64(scale)))
		for range 10_000 {
			d := scale + time.Duration(rng.Int64N(int64(9*scale)))
			b := &r.buckets[residenceBucket(d)]
			b.Store(b.Load() + 1)
			sorted = append(sorted, d)
		}
		slices.Sort(sorted)
		return sorted
	}
	near := func(what string, got, want time.Duration) {
		t.Helper()
		if got < want || got > want+want/16+1 {
			t.Errorf("%s is %v, want %v to a sixteenth more", what, got, want)
		}
	}
	for _, scale := range []time.Duration{time.Microsecond, time.Millisecond, 20 * time.Microsecond} {
		all := fill(scale)
		if p50, _ := r.quantiles(now.Add(time.Millisecond)); p50 != r.p50 {
			t.Error("a second reader changed the interval")
		}
		now = now.Add(time.Second)
		p50, p99 := r.quantiles(now)
		near("p50", p50, all[len(all)/2-1])
		near("p99", p99, all[len(all)-len(all)/100-1])
	}
	now = now.Add(time.Second)
	if p50, p99 := r.quantiles(now); p50 != 0 || p99 != 0 {
		t.Errorf("after a second without a datagram: %v, %v", p50, p99)
	}
}

// One wake-up is measured in each residenceEvery, also when the clock is set back.
func TestResidenceIsSampled(t *testing.T) {
	var r residence
	now, measured := int64(1e18), 0
	for range 1000 {
		now += int64(100 * time.Microsecond)
		if r.wake(now); r.on {
			measured++
		}
	}
	if measured < 45 || measured > 55 {
		t.Errorf("in 100 ms %d wake-ups are measured, want 50", measured)
	}
	if r.wake(now - int64(time.Hour)); !r.on {
		t.Error("nothing is measured after the clock was set back")
	}
}

// Q1: the time in the worker is told, and follows what the datagrams cost: with a hundred times the outputs it is far longer.
func TestResidenceOfTraffic(t *testing.T) {
	engines(t, func(t *testing.T, l *lab, e *Engine) {
		src, total := l.source(5, 0), uint64(0)
		l.receiver("0.0.0.0:6000") // or each send would be answered by an ICMP
		measure := func(outputs int) time.Duration {
			t.Helper()
			outs := make([]*plan.Output, outputs)
			for i := range outs {
				outs[i] = l.output(plan.OutputID(10*outputs+i), fmt.Sprintf("10.9.%d.%d:6000", i/250, 1+i%250))
			}
			l.apply(e, l.onePoint(&plan.List{ID: plan.ListID(outputs), Outputs: outs}))
			var p50, p99 time.Duration
			for range 2 { // the first interval begins with what was before
				for begin := time.Now(); time.Since(begin) < 50*residenceEvery; {
					l.send(src, numbered(5, 200)...)
					total += 5
					// No table is adopted here: those wake-ups might be the ones that are measured.
					eventually(t, "received", func() bool { c, _ := e.Point(l.key()); return c.Packets == total })
				}
				l.received(e, total)
				for _, w := range e.workers {
					w.residence.mu.Lock()
					w.residence.read = time.Time{} // a reading at once, else a second later
					w.residence.mu.Unlock()
				}
				for _, c := range e.Workers() {
					p50, p99 = max(p50, c.ResidenceP50), max(p99, c.ResidenceP99)
				}
			}
			if p50 <= 0 || p99 < p50 || p99 > time.Minute {
				t.Errorf("with %d outputs: p50 %v, p99 %v", outputs, p50, p99)
			}
			return p50
		}
		few, many := measure(10), measure(1000)
		t.Logf("10 outputs: %v, 1,000 outputs: %v", few, many)
		if many < 5*few {
			t.Errorf("p50 with 10 outputs is %v, with 1,000 it is %v", few, many)
		}
	})
}
