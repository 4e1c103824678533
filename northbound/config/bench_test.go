// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"testing"
	"time"
)

// withOutputs returns a store whose rule r1 has n outputs.
func withOutputs(tb testing.TB, n int) *Store {
	tb.Helper()
	s, _ := open(tb, tb.TempDir())
	mustSet(tb, s, replace(tb, "/", `{"mcr:mcr":{"forwarding":{"rules":{"rule":[`+manyOutputs(n)+`]}}}}`))
	return s
}

// toggle adds an output, or takes it away again.
func toggle(tb testing.TB, s *Store, i int) {
	const path = rulePath + "[name=r1]/outputs/output[name=new]"
	if i%2 == 0 {
		mustSet(tb, s, update(tb, path, outputJSON("new", "10.9.9.9", "")))
	} else {
		mustSet(tb, s, remove(tb, path))
	}
}

// BenchmarkSetOneOutput is a whole Set, with its fsync.
func BenchmarkSetOneOutput(b *testing.B) {
	for _, n := range []int{10, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := withOutputs(b, n)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				toggle(b, s, i)
			}
		})
	}
}

// BenchmarkTransactOneOutput is the same without the file: candidate, translation, bytes, digest, checks.
func BenchmarkTransactOneOutput(b *testing.B) {
	for _, n := range []int{10, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			base := withOutputs(b, n).Running().c
			op := update(b, rulePath+"[name=r1]/outputs/output[name=new]", outputJSON("new", "10.9.9.9", ""))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := transact(base, []change{changeOf(op)}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReplaceAll10000(b *testing.B) {
	s := withOutputs(b, 10000)
	text := string(s.Running().JSON())
	for b.Loop() {
		mustSet(b, s, replace(b, "/", text)) // decoded, compared, equal
	}
}

// DESIGN section 3: one output added to 10,000 costs about what one added to ten costs. Nothing is made anew for each
// output that stays; what grows is copying: the map, the lists of pointers, and the bytes of the state file.
func TestCostFollowsTheChange(t *testing.T) {
	few, many := withOutputs(t, 10).Running().c, withOutputs(t, 10000).Running().c
	op := update(t, rulePath+"[name=r1]/outputs/output[name=new]", outputJSON("new", "10.9.9.9", ""))
	add := func(base *compiled) {
		if _, err := transact(base, []change{changeOf(op)}); err != nil {
			t.Fatal(err)
		}
	}
	a, b := testing.AllocsPerRun(10, func() { add(few) }), testing.AllocsPerRun(10, func() { add(many) })
	if b > 2*a {
		t.Errorf("%v allocations for one output added to 10,000, %v to 10", b, a)
	}
	if raceEnabled {
		t.Skip("no times under the race detector")
	}
	time1 := func(base *compiled) time.Duration {
		start := time.Now()
		add(base)
		return time.Since(start)
	}
	// The best of many, since the machine has other work; below half a millisecond the ratio means nothing.
	bestFew, bestMany := time.Hour, time.Hour
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		bestFew, bestMany = min(bestFew, time1(few)), min(bestMany, time1(many))
		if bestMany < 20*max(bestFew, time.Millisecond/2) {
			return
		}
	}
	t.Errorf("one output added to 10,000 takes %v, to 10 %v", bestMany, bestFew)
}
