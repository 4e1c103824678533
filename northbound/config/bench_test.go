// SPDX-License-Identifier: Apache-2.0

package config

import (
	"crypto/sha256"
	"fmt"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
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
	text := contents(b, s.Running().c)
	for b.Loop() {
		mustSet(b, s, replace(b, "/", text)) // decoded, compared, equal
	}
}

// DESIGN section 3: one output added to 10,000 costs about what one added to ten costs. Nothing is made anew for each
// output that stays; what grows is copying the map and the lists of pointers, and the digest.
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
	// Processor time of this thread alone, and the best of many: the machine has other work. The digest is over all bytes, so
	// what it takes comes on top.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	best := func(f func()) time.Duration {
		least := time.Hour
		for range 50 {
			start := threadTime(t)
			f()
			least = min(least, threadTime(t)-start)
		}
		return least
	}
	text := []byte(contents(t, many))
	hash := best(func() { sha256.Sum256(text) })
	ten, thousands := best(func() { add(few) }), best(func() { add(many) })
	if thousands > 20*ten+2*hash {
		t.Errorf("one output added to 10,000 takes %v, to 10 %v; the digest of the former %v", thousands, ten, hash)
	}
}

// threadTime is the processor time that the calling thread has used.
func threadTime(tb testing.TB) time.Duration {
	tb.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(ts.Nano())
}
