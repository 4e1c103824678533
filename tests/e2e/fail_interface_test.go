// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"mcr/tests/lab"
)

var errNothing = errors.New("nothing yet")

// soon is how long what came back may take to be in use.
const soon = time.Second

// sends says whether what the sink got comes from this address.
func sends(s *lab.Sink, source string) func() uint64 {
	return func() (n uint64) {
		for from, count := range s.Report(0).Sources {
			if from.Addr() == netip.MustParseAddr(source) {
				n += count
			}
		}
		return n
	}
}

// An egress goes and comes back under traffic: the output on it follows within a second, with the right source address and
// its source port, and its siblings lose nothing. F3, D1, D3.
func TestF3_EgressComesBack(t *testing.T) { engines(t, egressComesBack) }

func egressComesBack(t *testing.T, engine string) {
	for _, c := range []struct {
		name   string
		away   func(*bed)
		reason string // why it is down meanwhile; "": it never is
		back   func(*bed)
		source string // of the copies afterwards
	}{
		{"set down and up", func(b *bed) { b.rtr.Down("out2") }, "interface-down", func(b *bed) { b.rtr.Up("out2") }, "10.0.3.1"},
		{"deleted and made again", func(b *bed) { b.rtr.Delete("out2") }, "interface-missing", (*bed).link2, "10.0.3.1"},
		{
			"renamed away and back", func(b *bed) { b.rtr.Rename("out2", "other") }, "interface-missing",
			func(b *bed) { b.rtr.Rename("other", "out2") }, "10.0.3.1",
		},
		{
			"address taken and given back", func(b *bed) { b.rtr.ReAddress("out2", "") }, "no-address",
			func(b *bed) { b.rtr.Addr("out2", "10.0.3.1/24") }, "10.0.3.1",
		},
		{"given another address", nil, "", func(b *bed) { b.rtr.ReAddress("out2", "10.0.3.77/24") }, "10.0.3.77"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t)
			b.link2()
			lan, one := b.dst.GroupSink("eth0", "239.2.2.2:5000"), b.dst.Sink("10.0.2.2:6001")
			two := b.dst.Sink("10.0.3.2:6002")
			b.startWith(engine, ruleOn("r", "in",
				multi("lan", "out", "239.2.2.2", 5000), uni("one", "out", "10.0.2.2", 6001), uni("two", "out2", "10.0.3.2", 6002)))
			w := b.c.follow(rulePath("r"))
			reason := outputPath("r", "two") + "/state/down-reason"
			s := b.src.StartSend(steady(2000, 0))
			two.Wait(100, 5*time.Second)
			port := b.c.output("r", "two")["local-port"]

			if c.away != nil {
				c.away(b)
				w.is(soon, reason, c.reason)
				two.Quiet(50 * time.Millisecond) // ends only if nothing more comes
			}
			from := sends(two, c.source)
			before := from()
			c.back(b)
			begin := time.Now()
			lab.Until(t, soon, "copies from "+c.source, func() error {
				if from() > before {
					return nil
				}
				return errNothing
			})
			t.Logf("back after %v", time.Since(begin).Round(time.Millisecond))
			w.is(soon, reason, "none")
			if c.away == nil { // the old address is not used any more
				total := two.Received() - from()
				reaches(two, 100, 5*time.Second)
				if late := two.Received() - from() - total; late > 0 {
					t.Errorf("%d copies with the old source address after the first with the new one", late)
				}
			}
			reaches(two, 500, 5*time.Second)
			sent := s.Stop().Sent
			lan.Exactly(sent)
			one.Exactly(sent)
			o := b.c.output("r", "two")
			if o["local-address"] != c.source || o["local-port"] != port {
				t.Errorf("local %s:%s, want %s:%s", o["local-address"], o["local-port"], c.source, port)
			}
			if sum := o.num("counters/packets") + o.num("counters/not-ready") + o.num("counters/errors"); sum != sent {
				t.Errorf("packets, not-ready and errors are %d together, %d were sent\n%v", sum, sent, o)
			}
			// One warning per transition: the sends may fail some milliseconds before the kernel tells of the interface, and a new
			// one is down at first, and then without an address.
			least := 1
			if c.away == nil {
				least = 0
			}
			logged(t, b.d, least, 4, "level=WARN", "output is down", "output=two")
			if r := two.Report(0); r.Duplicated+r.Corrupted+r.Foreign > 0 {
				t.Errorf("two: %s", two)
			}
		})
	}
}

// The same of an input: the stream is back within a second, the other rule's loses nothing. F3, P1.10.
func TestF3_InputComesBack(t *testing.T) { engines(t, inputComesBack) }

func inputComesBack(t *testing.T, engine string) {
	for _, c := range []struct {
		name   string
		away   func(*bed)
		reason string
		back   func(*bed)
	}{
		{"set down and up", func(b *bed) { b.rtr.Down("in") }, "interface-down", func(b *bed) { b.rtr.Up("in") }},
		{"deleted and made again", func(b *bed) { b.rtr.Delete("in") }, "interface-missing", func(b *bed) {
			b.l.Link(b.src, "eth0", "10.0.1.1/24", b.rtr, "in", "10.0.1.2/24")
		}},
		{
			"renamed away and back", func(b *bed) { b.rtr.Rename("in", "other") }, "interface-missing",
			func(b *bed) { b.rtr.Rename("other", "in") },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t)
			b.l.Link(b.src, "eth1", "10.0.5.1/24", b.rtr, "in2", "10.0.5.2/24")
			one, two := b.dst.Sink("10.0.2.2:6001"), b.dst.Sink("10.0.2.2:6002")
			b.startWith(engine, ruleOn("r", "in", uni("one", "out", "10.0.2.2", 6001)), ruleOn("other", "in2", uni("two", "out", "10.0.2.2", 6002)))
			w := b.c.follow(rulePath("r"))
			beside := steady(2000, 0)
			beside.Iface = "eth1"
			side := b.src.StartSend(beside)
			s := b.src.StartSend(steady(2000, 0))
			one.Wait(100, 5*time.Second)

			s.Stop()
			c.away(b)
			w.is(soon, rulePath("r")+"/state/down-reason", c.reason)
			w.is(soon, rulePath("r")+"/state/oper-status", "down")
			one.Quiet(50 * time.Millisecond)
			c.back(b)
			b.src.StartSend(steady(2000, 0)) // anew: a socket does not outlive its interface
			t.Logf("back after %v", reaches(one, 1, soon).Round(time.Millisecond))
			w.is(soon, rulePath("r")+"/state/down-reason", "none")
			w.is(2*time.Second, rulePath("r")+"/state/input-status", "receiving")
			reaches(one, 500, 5*time.Second)
			two.Exactly(side.Stop().Sent)
			if r := one.Report(0); r.Duplicated+r.Corrupted+r.Foreign > 0 {
				t.Errorf("one: %s", one)
			}
			logged(t, b.d, 1, 2, "level=WARN", "input is down", "rule=r ")
		})
	}

	t.Run("given another address", func(t *testing.T) {
		b := newBed(t)
		one := b.dst.Sink("10.0.2.2:6001")
		b.startWith(engine, ruleOn("r", "in", uni("one", "out", "10.0.2.2", 6001)))
		s := b.src.StartSend(steady(2000, 0))
		one.Wait(100, 5*time.Second)
		b.rtr.ReAddress("in", "10.0.1.77/24")
		reaches(one, 500, 5*time.Second)
		b.rtr.ReAddress("in", "") // a group is received without an address too
		reaches(one, 500, 5*time.Second)
		one.Exactly(s.Stop().Sent)
	})
}
