// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"mcr/tests/lab"
)

// A branch comes and goes 40 times under traffic: its siblings lose nothing and get nothing twice, and every counter is what
// its receiver counted. P1.3, P1.6, P4.4.
func TestP4_4_Hitless(t *testing.T) {
	ways(t, hitless)
}

func hitless(t *testing.T, w way) {
	const packets, rate, rounds = 30_000, 3_000, 40
	b := newBed(t)
	lan := b.dst.GroupSink("eth0", "239.2.2.2:5000")
	one, two := b.dst.Sink("10.0.2.2:6001"), b.dst.Sink("10.0.2.2:6002")
	counted, other := b.dst.Sink("10.0.2.2:6003"), b.dst.Sink("10.0.2.2:6004") // guests by turns: what is late comes to nobody else
	siblings := map[string]*lab.Sink{"lan": lan, "one": one, "two": two}

	w.startWith(b, ruleOn("r", "in",
		multi("lan", "out", "239.2.2.2", 5000), uni("one", "out", "10.0.2.2", 6001), uni("two", "out", "10.0.2.2", 6002)))

	s := b.src.StartSend(steady(rate, packets))
	begin := time.Now()
	var slowest time.Duration
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, time.Since(begin))
	}
	for i := range rounds {
		guest, port := counted, 6003
		if i%2 == 1 {
			guest, port = other, 6004
		}
		begin = time.Now()
		before := guest.Received()
		do(b.c.update(outputPath("r", "guest"), uni("guest", "out", "10.0.2.2", port)))
		guest.Wait(before+20, 5*time.Second)
		if guest == counted { // switched off first, so that its last count can be read
			begin = time.Now()
			do(b.c.update(outputPath("r", "guest")+"/config", obj{"enabled": false}))
			guest.Quiet(20 * time.Millisecond)
			lab.Until(t, patience, "counter and receiver agree", func() error {
				if got, want := b.c.output("r", "guest").num("counters/packets"), guest.Received()-before; got != want {
					return fmt.Errorf("round %d: the guest's counter is %d, it received %d", i, got, want)
				}
				return nil
			})
		}
		begin = time.Now()
		do(b.c.remove(outputPath("r", "guest")))
	}
	if sent := s.Sent(); sent >= packets {
		t.Fatalf("the stream ended before the %d changes did", rounds)
	} else {
		t.Logf("%d changes within %d packets, the slowest took %v", rounds*5/2, sent, slowest)
	}
	counted.Quiet(20 * time.Millisecond)
	before := counted.Received()
	b.c.must(b.c.update(outputPath("r", "guest"), uni("guest", "out", "10.0.2.2", 6003)))

	for name, sink := range siblings {
		sink.Wait(packets, 20*time.Second)
		sink.Exactly(packets)
		if got := b.c.output("r", name).num("counters/packets"); got != sink.Received() {
			t.Errorf("%s: counter %d, received %d", name, got, sink.Received())
		}
	}
	got := b.c.output("r", "guest").num("counters/packets")
	counted.Wait(before+max(got, 1), patience)
	if want := counted.Received() - before; got != want {
		t.Errorf("guest: counter %d, received %d", got, want)
	}
	for _, guest := range []*lab.Sink{counted, other} {
		if r := guest.Report(0); r.Duplicated+r.Corrupted+r.Foreign+r.Reordered != 0 {
			t.Errorf("guest: %s", guest)
		}
	}
	if got := b.c.rule("r").num("counters/packets"); got != packets {
		t.Errorf("the rule counts %d packets, %d were sent", got, packets)
	}
	logged(t, b.d, 0, 0, "level=ERROR")
}
