// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// kill -9 at any moment: what runs after the restart is the last configuration that was acknowledged, or the one in
// flight, whole. F4.
func TestF4_KillAnyTime(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	// Revision n says so in the description and has 1 + n%3 outputs whose ports say so too.
	rule := func(n int) obj {
		var outputs []obj
		for i := range 1 + n%3 {
			outputs = append(outputs, uni(fmt.Sprint("o", i), "out", fmt.Sprint("10.0.2.", 2+i), 1024+n))
		}
		return with(ruleOn("r", "in", outputs...), obj{"description": strconv.Itoa(n)})
	}
	const kills = 50
	acked, next, inFlight, lost := 0, 1, 0, 0
	b.start(rule(0))
	began := time.Now()
	b.c.must(b.c.setRules(rule(next)))
	one := max(time.Since(began), 2*time.Millisecond) // what a Set takes here
	acked, next = next, next+1
	for kill := range kills {
		moment := time.NewTimer(time.Duration(rand.Int64N(int64(4 * one))))
		done := make(chan struct{})
		d := b.d.Proc
		go func() {
			defer close(done)
			<-moment.C
			d.Kill()
		}()
		for b.c.setRules(rule(next)) == nil {
			acked = next
			next++
		}
		<-done
		b.d.Start()
		b.c = dial(t, b.d)
		is := b.c.get(rulesPath)
		n, err := strconv.Atoi(is[rulePath("r")+"/config/description"])
		if err != nil || (n != acked && n != next) {
			t.Fatalf("kill %d: revision %d was acknowledged and %d in flight; running is\n%v", kill, acked, next, is)
		}
		for i := range 4 {
			want := ""
			if i < 1+n%3 {
				want = strconv.Itoa(1024 + n)
			}
			if port := is[outputPath("r", fmt.Sprint("o", i))+"/config/port"]; port != want {
				t.Fatalf("kill %d: output o%d of revision %d has port %q, want %q", kill, i, n, port, want)
			}
		}
		if n == next {
			inFlight++
		} else {
			lost++
		}
		acked, next = n, max(n, next)+1
	}
	t.Logf("%d kills over %d revisions: the one in flight was there %d times, %d times not", kills, next, inFlight, lost)
	b.restart()
	left, err := os.ReadDir(b.d.StateDir)
	if err != nil || len(left) > 10 {
		t.Errorf("state dir after %d kills: %d files %v, %v", kills, len(left), left, err)
	}
}
