// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"testing"
	"time"
)

// Dead branches cost their siblings no packet, and each says why it is dead. P1.10, P4.3, F1.
func TestF1_DeadBranchesBesideLive(t *testing.T) { ways(t, deadBesideLive) }

func deadBesideLive(t *testing.T, w way) {
	b := newBed(t)
	b.link2()
	b.rtr.Down("out2")
	b.rtr.Sysctl("net/ipv4/neigh/out/retrans_time_ms", "100") // an unresolved neighbour is given up after 0.3 s
	lan := b.dst.GroupSink("eth0", "239.2.2.2:5000")
	one, two := b.dst.Sink("10.0.2.2:6001"), b.dst.Sink("10.0.2.2:6002")
	w.startWith(b, ruleOn("r", "in",
		uni("closed", "out", "10.0.2.2", 6009),
		uni("down", "out2", "10.0.3.2", 6000),
		multi("down-group", "out2", "239.2.2.2", 5000),
		multi("lan", "out", "239.2.2.2", 5000),
		uni("missing", "nix0", "10.0.4.2", 6000),
		uni("nobody", "out", "10.0.2.99", 6000),
		uni("noroute", "out", "10.77.0.1", 6000),
		uni("one", "out", "10.0.2.2", 6001),
		uni("two", "out", "10.0.2.2", 6002),
	))
	state := b.c.follow(rulePath("r"))
	reason := func(output string) string { return outputPath("r", output) + "/state/down-reason" }
	for output, want := range map[string]string{
		"down": "interface-down", "down-group": "interface-down", "missing": "interface-missing", "noroute": "no-route", "one": "none",
	} {
		state.is(time.Second, reason(output), want)
	}

	b.src.Send(steady(1000, 3000))
	lan.Exactly(3000)
	one.Exactly(3000)
	two.Exactly(3000)
	state.is(2*time.Second, reason("closed"), "send-failing")
	state.is(2*time.Second, reason("nobody"), "send-failing")
	state.is(time.Second, rulePath("r")+"/state/oper-status", "degraded")
	for _, output := range []string{"down", "down-group", "missing", "noroute"} {
		if c := b.c.output("r", output); c.num("counters/not-ready") != 3000 || c.num("counters/packets") != 0 {
			t.Errorf("%s: of 3000 packets %d are counted as sent and %d as not ready", output, c.num("counters/packets"), c.num("counters/not-ready"))
		}
	}
	for output, errno := range map[string]string{"closed": "ECONNREFUSED", "nobody": "EHOSTUNREACH"} {
		c := b.c.output("r", output)
		if c["counters/last-error"] != errno || c.num("counters/errors-refused")+c.num("counters/errors-unreachable") == 0 {
			t.Errorf("%s: want errors counted, the last %s; state\n%v", output, errno, c)
		}
		if sum := c.num("counters/packets") + c.num("counters/errors") + c.num("counters/dropped"); sum != 3000 {
			t.Errorf("%s: packets, errors and dropped are %d together, want 3000\n%v", output, sum, c)
		}
	}

	// The port opens: what is sent from now on arrives, whatever ICMP came before; the state follows.
	before := b.c.output("r", "closed").num("counters/packets")
	opened := b.dst.Sink("10.0.2.2:6009")
	s := b.src.StartSend(steady(1000, 0))
	state.is(10*time.Second, reason("closed"), "none")
	sent := s.Stop().Sent
	one.Exactly(3000 + sent)
	if got := opened.Received(); got*100 < sent*99 {
		t.Errorf("the port that opened got %d of %d", got, sent)
	}
	if got := b.c.output("r", "closed").num("counters/packets") - before; got != opened.Received() {
		t.Errorf("the port that opened: %d counted, %d received", got, opened.Received())
	}
	// One warning per transition, none per packet.
	for output, n := range map[string]int{
		"closed": 1, "down": 1, "down-group": 1, "missing": 1, "nobody": 1, "noroute": 1, "lan": 0, "one": 0, "two": 0,
	} {
		logged(t, b.d, n, n, "level=WARN", "output is down", fmt.Sprintf("output=%s ", output))
	}
	logged(t, b.d, 1, 1, "output is up", "output=closed")
}

// gso off on an egress: state says so, nothing is segmented, all receivers get everything; and back. F6.
func TestF6_SegmentationOffOnOneEgress(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.link2()
	one, two := b.dst.Sink("10.0.2.2:6001"), b.dst.Sink("10.0.3.2:6002")
	tap := b.dst.Tap("eth0")
	b.start(ruleOn("r", "in", uni("one", "out", "10.0.2.2", 6001), uni("two", "out2", "10.0.3.2", 6002)))
	w := b.c.follow("mcr/dataplane/egress-interfaces", rulePath("r")+"/outputs")
	egress := func(name string) string {
		return "mcr/dataplane/egress-interfaces/egress-interface[name=" + name + "]"
	}

	burst := steady(2000, 3200)
	burst.Burst, burst.Size = 32, 1400
	sent := uint64(0)
	segmented := func() (n int) {
		t.Helper()
		had := len(tap.Packets(nil))
		b.src.Send(burst)
		sent += burst.Count
		one.Exactly(sent)
		two.Exactly(sent)
		for _, p := range tap.Packets(nil)[had:] { // a veth hands segmented sends on whole
			if p.Dst.Port() == 6001 && len(p.Payload) > 1400 {
				n++
			}
		}
		return n
	}
	if n := segmented(); n == 0 {
		t.Error("nothing is segmented by default: this test sees nothing")
	}
	b.c.must(b.c.update(egress("out"), obj{"name": "out", "config": obj{"name": "out", "gso": "off"}}))
	w.is(time.Second, egress("out")+"/state/gso-used", "false")
	w.is(time.Second, egress("out")+"/state/gso", "off")
	w.is(time.Second, outputPath("r", "one")+"/state/gso-used", "false")
	w.is(time.Second, outputPath("r", "two")+"/state/gso-used", "true")
	if why := b.c.get(egress("out") + "/state/gso-reason")[egress("out")+"/state/gso-reason"]; why == "" {
		t.Error("no reason why segmentation is off")
	}
	if n := segmented(); n > 0 {
		t.Errorf("%d segmented sends although gso is off", n)
	}
	b.c.must(b.c.remove(egress("out")))
	w.is(time.Second, outputPath("r", "one")+"/state/gso-used", "true")
	if n := segmented(); n == 0 {
		t.Error("nothing is segmented after gso off was taken back")
	}
}
