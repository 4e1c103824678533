// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"testing"

	"mcr/tests/lab"
)

// P1.1
func TestP1_1_OutputWithoutUnicastDestSendsToTheGroup(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		n := newHybrid(t)
		other, own := n.lan.GroupSink("eth0", "239.9.9.9:6000"), n.lan.GroupSink("eth0", "239.1.1.1:5000")
		w.runRules(t, n.rtr, hybridRule(
			multi("other", "eth1", "239.9.9.9", 6000),
			obj{"name": "own", "config": obj{"name": "own", "interface": "eth1"}}, // group and port of the input
		))
		n.src.Send(feed(200))
		other.Exactly(200)
		own.Exactly(200)
	})
}

// P1.2: unicast arrives, and no copy to the group leaves on that branch.
func TestP1_2_OutputWithUnicastDestSendsToTheHostAlone(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		n := newHybrid(t)
		spoke, wire := n.far.Sink("10.2.0.5:5000"), n.far.Tap("eth0")
		w.runRules(t, n.rtr, hybridRule(
			with(uni("spoke", "gre0", "10.2.0.5", 5000), obj{"group": group}), // as in the roadmap: the group is for display
		))
		n.src.Send(feed(200))
		spoke.Exactly(200)
		if m := wire.Packets(func(p lab.Packet) bool { return p.Dst.Addr().IsMulticast() }); len(m) > 0 {
			t.Errorf("multicast on gre0: %v", m)
		}
	})
}

// P1.3: each gets every packet exactly once, payload unchanged, with segmentation and without.
func TestP1_3_MulticastAndUnicastMix(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		n := newHybrid(t)
		sinks := []*lab.Sink{
			n.lan.GroupSink("eth0", "239.1.1.1:5000"), n.lan.Sink("10.0.1.1:5000"),
			n.far.Sink("10.2.0.5:5000"), n.far.Sink("10.2.0.5:5001"),
		}
		outs := []obj{
			multi("lan", "eth1", group, 5000), uni("host", "eth1", "10.0.1.1", 5000),
			uni("spoke", "gre0", "10.2.0.5", 5000), uni("spoke2", "gre0", "10.2.0.5", 5001),
		}
		d := w.runRules(t, n.rtr, hybridRule(outs...))

		mixed := feed(1400)
		mixed.Sizes = []int{0, 1, 27, 29, 1316, 1472, 3001} // empty, short, odd, full, fragmented
		n.src.Send(mixed)
		even := feed(3200)
		even.Size, even.Burst, even.Rate = 1316, 64, 6400 // runs that can be sent as one
		n.src.Send(even)

		for i, s := range sinks {
			r := s.Exactly(4600)
			if want := uint64(1400/7*(0+1+27+29+1316+1472+3001) + 3200*1316); r.Bytes != want || r.MinSize != 0 || r.MaxSize != 3001 {
				t.Errorf("%s: %d bytes in datagrams of %d to %d, want %d in 0 to 3001", outs[i]["name"], r.Bytes, r.MinSize, r.MaxSize, want)
			}
			name := outs[i]["name"].(string)
			d.sent("hybrid-feed", name, r.Received)
			d.counts(outputPath("hybrid-feed", name)+"/state/counters/octets", r.Bytes)
		}
		d.counts(rulePath("hybrid-feed")+"/state/counters/packets", 4600)
	})
}

// P1.8, D1: port 0 keeps the port of the input.
func TestP1_8_PortIsKeptWhenTheOutputNamesNone(t *testing.T) {
	t.Parallel()
	n := newHybrid(t)
	kept, given := n.far.Sink("10.2.0.5:5000"), n.far.Sink("10.2.0.5:6000")
	lan := n.lan.GroupSink("eth0", "239.1.1.1:5000")
	runRules(t, n.rtr, "", hybridRule(
		uni("kept", "gre0", "10.2.0.5", 0), uni("given", "gre0", "10.2.0.5", 6000), multi("lan", "eth1", group, 0),
	))
	n.src.Send(feed(100))
	for _, s := range []*lab.Sink{kept, given, lan} {
		s.Exactly(100)
	}
}
