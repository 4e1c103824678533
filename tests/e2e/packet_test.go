// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"mcr/tests/lab"
)

// only demands that all datagrams of a report have one value, such as one TTL.
func only[K comparable](t *testing.T, what string, seen map[K]uint64, want K) {
	t.Helper()
	if len(seen) != 1 || seen[want] == 0 {
		t.Errorf("%s: seen %v, want %v alone", what, seen, want)
	}
}

// D1: the source port of a branch outlasts changes of destination, port, address, and the interface going down.
func TestD1_SourcePortIsStable(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		n := newHybrid(t)
		n.far.Addr("eth0", "10.2.0.6/24")
		d := w.runRules(t, n.rtr, hybridRule(uni("spoke", "gre0", "10.2.0.5", 5000)))
		spoke := outputPath("hybrid-feed", "spoke")
		var port uint16
		from := func(at, source string) {
			t.Helper()
			d.up("hybrid-feed", "spoke")
			sink := n.far.Sink(at)
			defer sink.Close()
			n.src.Send(feed(50))
			r := sink.Exactly(50)
			for s := range r.Sources {
				if port == 0 {
					port = s.Port()
				}
			}
			only(t, "source at "+at, r.Sources, netip.AddrPortFrom(netip.MustParseAddr(source), port))
			d.await(spoke+"/state/local-port", fmt.Sprint(port))
		}
		from("10.2.0.5:5000", "10.2.0.1")
		d.must(d.update(spoke+"/config/unicast-dest", "10.2.0.6"))
		from("10.2.0.6:5000", "10.2.0.1")
		d.must(d.update(spoke+"/config/port", 6000))
		from("10.2.0.6:6000", "10.2.0.1")
		n.rtr.ReAddress("gre0", "10.2.0.9/24")
		d.await(spoke+"/state/local-address", "10.2.0.9")
		from("10.2.0.6:6000", "10.2.0.9")
		n.rtr.Down("gre0")
		d.down("hybrid-feed", "spoke", "interface-down")
		n.rtr.Up("gre0")
		from("10.2.0.6:6000", "10.2.0.9")
		port = 4321
		d.must(d.update(spoke+"/config/source-port", port))
		from("10.2.0.6:6000", "10.2.0.9")
	})
}

// D2: unicast copies leave with 64, whatever arrived and whatever the host's default is; multicast ones with one less.
func TestD2_TTL(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		n := newHybrid(t)
		n.rtr.Sysctl("net/ipv4/ip_default_ttl", "33")
		sinks := map[string]*lab.Sink{
			"unicast": n.far.Sink("10.2.0.5:5000"), "own": n.far.Sink("10.2.0.5:5001"),
			"group": n.lan.GroupSink("eth0", "239.1.1.1:5000"), "own-group": n.lan.GroupSink("eth0", "239.1.1.1:5001"),
		}
		d := w.runRules(t, n.rtr, hybridRule(
			uni("unicast", "gre0", "10.2.0.5", 5000), with(uni("own", "gre0", "10.2.0.5", 5001), obj{"ttl": 7}),
			multi("group", "eth1", group, 5000), with(multi("own-group", "eth1", group, 5001), obj{"ttl": 9}),
		))
		total := uint64(0)
		var before map[string]map[uint8]uint64
		leaves := func(arriving int, want map[string]uint8) {
			t.Helper()
			s := feed(100)
			s.TTL = arriving
			n.src.Send(s)
			total += 100
			after := map[string]map[uint8]uint64{}
			for name, sink := range sinks {
				r := sink.Exactly(total)
				after[name] = maps.Clone(r.TTL)
				if got := r.TTL[want[name]] - before[name][want[name]]; got != 100 {
					t.Errorf("%s, arriving with %d: seen %v, before %v, want 100 more with %d", name, arriving, r.TTL, before[name], want[name])
				}
			}
			before = after
		}
		leaves(16, map[string]uint8{"unicast": 64, "own": 7, "group": 15, "own-group": 9})
		leaves(255, map[string]uint8{"unicast": 64, "own": 7, "group": 254, "own-group": 9})
		d.must(d.update("mcr/forwarding/config", obj{"unicast-ttl": 32, "multicast-ttl-policy": "fixed", "multicast-ttl": 20}))
		leaves(16, map[string]uint8{"unicast": 32, "own": 7, "group": 20, "own-group": 9})
		d.must(d.update("mcr/forwarding/config", obj{"multicast-ttl-policy": "keep"}))
		leaves(16, map[string]uint8{"unicast": 32, "own": 7, "group": 16, "own-group": 9})
	})
}

// D2: what arrives with TTL 1 goes to unicast branches; a multicast copy would have 0, is not sent, is counted, and the output
// says so until nothing but what may go on arrives.
func TestD2_ArrivingWithTTL1(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		n := newHybrid(t)
		lan, spoke := n.lan.GroupSink("eth0", "239.1.1.1:5000"), n.far.Sink("10.2.0.5:5000")
		d := w.runRules(t, n.rtr, hybridRule())
		last := feed(300)
		last.TTL = 1
		n.src.Send(last)
		spoke.Exactly(300)
		lan.Exactly(0)
		d.counts(outputPath("hybrid-feed", "lan")+"/state/counters/skipped-ttl", 300)
		d.sent("hybrid-feed", "lan", 0)
		d.await(outputPath("hybrid-feed", "lan")+"/state/down-reason", "ttl-too-low")
		if lines := logLines(d.MCRD, "ttl-too-low"); len(lines) != 1 {
			t.Errorf("%d warnings, want one: %v", len(lines), lines)
		}
		live := n.src.StartSend(feed(0))
		d.up("hybrid-feed", "lan") // after a while: streams of two TTLs must not make it flap
		sent := live.Stop().Sent
		lan.Exactly(sent)
		spoke.Exactly(300 + sent)
	})
}

// D2: minimum-input-ttl drops and counts, globally and for one rule.
func TestD2_MinimumInputTTL(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		n := newHybrid(t)
		spoke := n.far.Sink("10.2.0.5:5000")
		d := w.runRules(t, n.rtr, hybridRule(uni("spoke", "gre0", "10.2.0.5", 5000)))
		dropped, total := rulePath("hybrid-feed")+"/state/counters/dropped-ttl", uint64(0)
		send := func(ttl int, passes bool, drops uint64) {
			t.Helper()
			s := feed(100)
			s.TTL = ttl
			n.src.Send(s)
			if passes {
				total += 100
			}
			d.counts(dropped, drops)
			spoke.Exactly(total)
		}
		send(1, true, 0)
		d.must(d.update("mcr/forwarding/config/minimum-input-ttl", 5))
		send(4, false, 100)
		send(5, true, 100)
		d.must(d.update(rulePath("hybrid-feed")+"/config/minimum-input-ttl", 2))
		send(2, true, 100)
		send(1, false, 200)
	})
}

// D3: the source is the egress interface's address, follows it, and can be given.
func TestD3_SourceAddress(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		n := newHybrid(t)
		const rule = "hybrid-feed"
		d := w.runRules(t, n.rtr, hybridRule(
			uni("spoke", "gre0", "10.2.0.5", 5000), multi("lan", "eth1", group, 5000),
			with(uni("given", "gre0", "10.2.0.5", 5001), obj{"source-address": "10.0.1.2"}), // of eth1
		))
		from := func(spoke, lan, given string) {
			t.Helper()
			for name, want := range map[string]string{"spoke": spoke, "lan": lan, "given": given} {
				d.await(outputPath(rule, name)+"/state/local-address", want)
				d.up(rule, name)
			}
			sinks := map[string]*lab.Sink{
				spoke: n.far.Sink("10.2.0.5:5000"), lan: n.lan.GroupSink("eth0", "239.1.1.1:5000"), given: n.far.Sink("10.2.0.5:5001"),
			}
			n.src.Send(feed(50))
			for want, s := range sinks {
				seen := map[netip.Addr]uint64{}
				for a, count := range s.Exactly(50).Sources {
					seen[a.Addr()] += count
				}
				only(t, "source", seen, netip.MustParseAddr(want))
				s.Close()
			}
		}
		from("10.2.0.1", "10.0.1.2", "10.0.1.2")
		n.rtr.ReAddress("gre0", "10.2.0.77/24")
		from("10.2.0.77", "10.0.1.2", "10.0.1.2")
		n.rtr.Route("10.2.0.5/32", "dev gre0")
		d.must(d.update(outputPath(rule, "given")+"/config/source-address", "10.99.0.1")) // nobody's
		d.down(rule, "given", "no-address")
		n.rtr.Addr("eth1", "10.99.0.1/32")
		from("10.2.0.77", "10.0.1.2", "10.99.0.1")
	})
}

// D4: the UDP checksum is there and right, for unicast and multicast, also for no payload, odd ones, and segmented runs.
func TestD4_ChecksumIsRight(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		n := newHybrid(t)
		n.rtr.NoChecksumOffload("gre0")
		n.rtr.NoChecksumOffload("eth1")
		w.runRules(t, n.rtr, hybridRule())
		n.far.Sink("10.2.0.5:5000")
		taps := []*lab.Capture{n.far.Tap("eth0"), n.lan.Tap("eth0")}
		mixed := feed(500)
		mixed.Sizes = []int{0, 1, 3, 1316, 1472}
		n.src.Send(mixed)
		even := feed(640)
		even.Size, even.Burst = 1001, 64
		n.src.Send(even)
		for _, tap := range taps {
			got := tap.Wait(1140, patience, func(p lab.Packet) bool { return p.Protocol == 17 && p.Dst.Port() == 5000 && !p.Outgoing })
			if len(got) != 1140 {
				t.Errorf("%d packets, want 1140", len(got))
			}
			for _, p := range got {
				if p.Checksum != lab.ChecksumRight || p.Fragment {
					t.Fatalf("%v > %v, %d bytes: checksum %v, fragment %v", p.Src, p.Dst, len(p.Payload), p.Checksum, p.Fragment)
				}
			}
		}
	})
}

// tunInput adds a TUN device to the router that a test writes packets into, and a rule that receives them.
func tunInput(n hybrid, outputs ...obj) (*lab.TUN, obj) {
	return n.rtr.TUN("tun0", "10.8.0.1", "10.8.0.2"), ruleOn("tun", "tun0", outputs...)
}

var (
	tunSource = netip.MustParseAddrPort("10.8.0.2:4000")
	tunGroup  = netip.MustParseAddrPort("239.1.1.1:5000")
)

// D4, D5: a datagram that arrives damaged is dropped and counted, never made good again; and a layer-3 ingress works.
func TestD4_CorruptedDatagramIsDroppedAndCounted(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		n := newHybrid(t)
		n.rtr.NoChecksumOffload("gre0")
		n.far.Sink("10.2.0.5:5000")
		wire := n.far.Tap("eth0")
		tun, rule := tunInput(n, uni("spoke", "gre0", "10.2.0.5", 5000))
		d := w.runRules(t, n.rtr, rule)
		good := lab.UDP(tunSource, tunGroup, 9, []byte("good datagram"))
		bad := lab.UDP(tunSource, tunGroup, 9, []byte("bad! datagram"))
		bad[len(bad)-1] ^= 1
		for range 5 {
			tun.Inject(bad)
		}
		tun.Inject(good)
		d.counts("mcr/dataplane/state/counters/checksum-errors", 5)
		udp := func(p lab.Packet) bool { return p.Protocol == 17 }
		wire.Wait(1, patience, udp)
		d.sent("tun", "spoke", 1)
		got := wire.Packets(udp)
		if len(got) != 1 || string(got[0].Payload) != "good datagram" || got[0].Checksum != lab.ChecksumRight {
			t.Errorf("arrived: %s", wire)
		}
	})
}

// D5: DSCP is kept, or set by an output; ECN is 0.
func TestD5_DSCPIsKeptOrSetAndECNIsZero(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		n := newHybrid(t)
		kept, set := n.far.Sink("10.2.0.5:5000"), n.far.Sink("10.2.0.5:5001")
		lan, wire := n.lan.GroupSink("eth0", "239.1.1.1:5000"), n.far.Tap("eth0")
		outs := []obj{
			uni("kept", "gre0", "10.2.0.5", 5000), with(uni("set", "gre0", "10.2.0.5", 5001), obj{"dscp": 10}),
			multi("lan", "eth1", group, 5000),
		}
		tun, tunRule := tunInput(n, uni("ecn", "gre0", "10.2.0.5", 5009))
		w.runRules(t, n.rtr, hybridRule(outs...), tunRule)
		s := feed(100)
		s.DSCP = 46
		n.src.Send(s)
		only(t, "kept", kept.Exactly(100).DSCP, 46)
		only(t, "set", set.Exactly(100).DSCP, 10)
		only(t, "lan", lan.Exactly(100).DSCP, 46)

		p := lab.UDP(tunSource, tunGroup, 9, []byte("congested"))
		p[1] = 46<<2 | 3                                                                 // ECN: congestion experienced
		binary.BigEndian.PutUint16(p[10:], binary.BigEndian.Uint16(p[10:])-uint16(p[1])) // RFC 1624; this header's does not borrow
		tun.Inject(p)
		got := wire.Wait(1, patience, func(p lab.Packet) bool { return p.Dst.Port() == 5009 })
		if got[0].TOS != 46<<2 {
			t.Errorf("TOS %#x, want %#x", got[0].TOS, 46<<2)
		}
	})
}

// D5: datagrams above the egress MTU are fragmented, fragments that arrive are put together; jumbo frames arrive.
func TestD5_LargeDatagrams(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		n := newHybrid(t)
		lan, spoke := n.lan.GroupSink("eth0", "239.1.1.1:5000"), n.far.Sink("10.2.0.5:5000")
		d := w.runRules(t, n.rtr, hybridRule())
		total := uint64(0)
		send := func(sizes ...int) {
			t.Helper()
			s := feed(uint64(20 * len(sizes)))
			s.Sizes, s.Rate = sizes, 500
			n.src.Send(s)
			total += s.Count
			for _, r := range []*lab.Sink{lan, spoke} {
				if got := r.Exactly(total); got.MaxSize < slices.Max(sizes) {
					t.Errorf("largest %d, want %d", got.MaxSize, slices.Max(sizes))
				}
			}
		}
		send(1473, 3001, 9000, 65507)
		n.src.MTU("eth0", 9000)
		n.rtr.MTU("eth0", 9000)
		send(1472, 8972, 65507) // jumbo in, 1500 out
		n.rtr.MTU("gre0", 1000)
		send(972, 973, 1472) // a smaller MTU while it runs
		d.sent("hybrid-feed", "spoke", total)
	})
}
