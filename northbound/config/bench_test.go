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

// DESIGN section 3: one output added to 10,000 costs about what one added to ten costs.
func TestCostFollowsTheChange(t *testing.T) {
	best := func(s *Store) time.Duration {
		least := time.Hour
		for i := range 40 {
			start := time.Now()
			toggle(t, s, i)
			least = min(least, time.Since(start))
		}
		return least
	}
	few, many := best(withOutputs(t, 10)), best(withOutputs(t, 10000))
	t.Logf("10 outputs: %v, 10,000 outputs: %v", few, many)
	if many > 20*few {
		t.Errorf("one output added to 10,000 takes %v, to 10 %v", many, few)
	}
}
