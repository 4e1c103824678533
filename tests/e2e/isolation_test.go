// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"mcr/tests/lab"
)

// trouble is one way in which a branch goes wrong while its siblings are well.
type trouble struct {
	name   string
	iface  string // of the branch; "out" is that of its siblings, "out2" another
	dest   string
	begin  func(*isolation) // makes it
	end    func(*isolation) // ends it
	errno  string           // what the kernel says to a send; "": nothing
	class  string           // the counter that grows by it
	reason string           // why the branch is down meanwhile; "": it is not
	// loss says that copies are lost on the branch itself, quiet that the kernel does not tell of all of them.
	loss, quiet bool
}

// isolation is the bed of one trouble.
type isolation struct {
	*bed
	bad   *lab.Sink
	bytes int // size of a datagram
}

const badPort = 6009

func troubles() []trouble {
	return []trouble{
		{
			name: "full-queue", iface: "out2", dest: "10.0.3.2", errno: "ENOBUFS", class: "no-buffer", reason: "send-failing", loss: true, quiet: true,
			begin: func(b *isolation) {
				// Too small for two: what the kernel segments itself is cut up here, and each piece counted.
				b.rtr.Run("tc", "qdisc", "add", "dev", "out2", "root", "tbf", "rate", "400kbit", "burst", "1600", "limit", "4000")
			},
			end: func(b *isolation) { // and keeps its counters
				b.rtr.Run("tc", "qdisc", "change", "dev", "out2", "root", "tbf", "rate", "1gbit", "burst", "100k", "limit", "10m")
			},
		},
		{
			name: "black-hole", iface: "out", dest: "10.0.2.66", loss: true, quiet: true,
			begin: func(b *isolation) { b.rtr.Neigh("out", "10.0.2.66", net.HardwareAddr{2, 0, 0, 0, 0, 99}) },
			end:   func(b *isolation) { b.rtr.Neigh("out", "10.0.2.66", b.dst.MAC("eth0")) },
		},
		{
			name: "filter", iface: "out", dest: "10.0.2.2", errno: "EPERM", class: "permission", reason: "send-failing", loss: true,
			begin: func(b *isolation) {
				b.rtr.Run("nft", fmt.Sprintf("add table ip t; add chain ip t out { type filter hook output priority 0; }; add rule ip t out udp dport %d drop", badPort))
			},
			end: func(b *isolation) { b.rtr.Run("nft", "delete table ip t") },
		},
		{
			name: "policy", iface: "out", dest: "10.0.2.2", errno: "EPERM", class: "permission", reason: "send-failing", loss: true,
			begin: func(b *isolation) { b.policy("add", "action", "block") },
			end:   func(b *isolation) { b.policy("del") },
		},
		{
			name: "closed-port", iface: "out", dest: "10.0.2.2", errno: "ECONNREFUSED", class: "refused", reason: "send-failing", loss: true, quiet: true,
			begin: func(b *isolation) { b.bad.Close() },
			end:   func(b *isolation) { b.bad = b.dst.Sink(b.at("10.0.2.2")) },
		},
		{
			name: "no-neighbour", iface: "out", dest: "10.0.2.77", errno: "EHOSTUNREACH", class: "unreachable", reason: "send-failing", loss: true, quiet: true,
			begin: func(b *isolation) {
				b.rtr.Sysctl("net/ipv4/neigh/out/retrans_time_ms", "100") // given up after 0.3 s
				b.dst.Run("ip", "addr", "del", "10.0.2.77/24", "dev", "eth0")
				b.rtr.NeighFailed("out", "10.0.2.77")
			},
			end: func(b *isolation) { b.dst.Addr("eth0", "10.0.2.77/24") },
		},
		{
			name: "interface-flaps", iface: "out2", dest: "10.0.3.2", loss: true, quiet: true,
			begin: func(b *isolation) {
				for range 5 {
					b.rtr.Down("out2")
					b.c.follow(outputPath("r", "bad")+"/state").is(patience, outputPath("r", "bad")+"/state/down-reason", "interface-down")
					b.rtr.Up("out2")
					b.c.follow(outputPath("r", "bad")+"/state").is(patience, outputPath("r", "bad")+"/state/down-reason", "none")
				}
			},
			end: func(*isolation) {},
		},
		{
			name: "mtu-shrinks", iface: "out2", dest: "10.0.3.2",
			begin: func(b *isolation) {
				for range 20 { // for some milliseconds each, mcrd does not know
					b.rtr.MTU("out2", 600)
					reaches(b.bad, 20, patience)
					b.rtr.MTU("out2", 1500)
					reaches(b.bad, 20, patience)
				}
			},
			end: func(*isolation) {},
		},
	}
}

// policy forbids or allows what goes to the bad port.
func (b *isolation) policy(what string, action ...string) {
	b.t.Helper()
	b.rtr.Run(append([]string{"ip", "xfrm", "policy", what, "dst", "10.0.2.2/32", "proto", "udp", "dport", fmt.Sprint(badPort), "dir", "out"}, action...)...)
}

func (b *isolation) at(addr string) string { return fmt.Sprintf("%s:%d", addr, badPort) }

// P4.3, F1: whatever befalls one branch, its siblings lose nothing; it is counted by its errno on that branch alone, warned
// of once, and the branch comes back by itself.
func TestP4_3_TroubleStaysOnItsBranch(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		for _, tr := range troubles() {
			t.Run(tr.name, func(t *testing.T) {
				t.Parallel()
				tr.isolated(t, engine)
			})
		}
	})
}

func (tr trouble) isolated(t *testing.T, engine string) {
	b := &isolation{bed: newBed(t), bytes: 1000}
	b.link2()
	if tr.dest != "10.0.2.2" && tr.dest != "10.0.3.2" {
		b.dst.Addr("eth0", tr.dest+"/24")
	}
	siblings := map[string]*lab.Sink{
		"lan": b.dst.GroupSink("eth0", "239.2.2.2:5000"), "one": b.dst.Sink("10.0.2.2:6001"), "two": b.dst.Sink("10.0.2.2:6002"),
	}
	b.bad = b.dst.Sink(b.at(tr.dest))
	b.startWith(engine, ruleOn("r", "in",
		multi("lan", "out", "239.2.2.2", 5000), uni("one", "out", "10.0.2.2", 6001),
		uni("bad", tr.iface, tr.dest, badPort), uni("two", "out", "10.0.2.2", 6002)))
	state := outputPath("r", "bad") + "/state/"
	w := b.c.follow(outputPath("r", "bad") + "/state")
	stream := steady(2000, 0)
	stream.Size, stream.Burst = b.bytes, 4
	s := b.src.StartSend(stream)
	b.bad.Wait(100, patience)

	first := b.bad
	tr.begin(b)
	if tr.errno != "" {
		lab.Until(t, patience, "errors are counted", func() error {
			if o := b.c.output("r", "bad"); o.num("counters/errors-"+tr.class) == 0 || o["counters/last-error"] != tr.errno {
				return fmt.Errorf("want %s and errors-%s\n%v", tr.errno, tr.class, o)
			}
			return nil
		})
	}
	if tr.reason != "" {
		w.is(patience, state+"down-reason", tr.reason)
		b.says(tr)
	}
	reaches(siblings["one"], 1000, patience) // while it lasts
	tr.end(b)
	reaches(b.bad, 200, patience)
	w.is(patience, state+"oper-status", "up")
	sent := s.Stop().Sent
	for name, sink := range siblings {
		sink.Exactly(sent)
		o := b.c.output("r", name)
		if o.num("counters/packets") != sent || o.num("counters/errors") != 0 || o["counters/last-error"] != "" {
			t.Errorf("%s: want %d packets and no error\n%v", name, sent, o)
		}
	}
	b.account(tr, first, sent)
	if tr.reason != "" {
		logged(t, b.d, 1, 1, "level=WARN", "output is down", "output=bad ")
		logged(t, b.d, 1, 1, "output is up", "output=bad ")
	}
	logged(t, b.d, 0, 0, "level=WARN", "output=one ")
	logged(t, b.d, 0, 0, "level=ERROR")
}

// says demands that mcrctl names the cause.
func (b *isolation) says(tr trouble) {
	b.t.Helper()
	p := b.d.Ctl("show", "rule", "r")
	if err := p.Wait(patience); err != nil {
		b.t.Fatalf("mcrctl show rule: %v\n%s", err, p.Stderr.String())
	}
	if first, _, _ := strings.Cut(p.Stdout.String(), "\n"); !strings.Contains(first, "output bad does not send: ") || !strings.Contains(first, tr.errno) {
		b.t.Errorf("mcrctl says %q", first)
	}
}

// account demands that every datagram of the branch is accounted for: what was sent arrived, where the kernel tells.
func (b *isolation) account(tr trouble, first *lab.Sink, sent uint64) {
	b.t.Helper()
	b.bad.Quiet(quiet)
	got := b.bad.Received()
	if first != b.bad {
		got += first.Received()
	}
	if r := b.bad.Report(0); r.Duplicated+r.Corrupted+r.Foreign+r.Reordered > 0 {
		b.t.Errorf("bad: %s", b.bad)
	}
	o := b.c.output("r", "bad")
	packets := o.num("counters/packets")
	if sum := packets + o.num("counters/errors") + o.num("counters/dropped") + o.num("counters/not-ready"); sum != sent {
		b.t.Errorf("of %d datagrams %d are accounted for\n%v", sent, sum, o)
	}
	switch {
	case !tr.loss && got != sent:
		b.t.Errorf("%d of %d arrived\n%s", got, sent, b.bad)
	case !tr.quiet && packets != got:
		b.t.Errorf("%d counted as sent, %d arrived\n%v", packets, got, o)
	case packets < got:
		b.t.Errorf("%d counted as sent, and %d arrived\n%v", packets, got, o)
	}
	if tr.name == "full-queue" {
		const path = "mcr/dataplane/egress-interfaces/egress-interface[name=out2]/state/counters/transmit-dropped"
		if dropped := b.c.get(path).num(path); dropped != sent-got {
			b.t.Errorf("transmit-dropped is %d, %d of %d did not arrive", dropped, sent-got, sent)
		}
	}
	b.t.Logf("%d sent, %d arrived; packets %d, errors %d, not ready %d", sent, got, packets, o.num("counters/errors"), o.num("counters/not-ready"))
}
