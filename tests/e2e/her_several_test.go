// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"mcr/tests/lab"
)

// herTo is a multicast output in head-end replication on an interface.
func herTo(name, iface string, port int) obj {
	return with(multi(name, iface, group, port), obj{"her-mode": "auto"})
}

// P3.8: a static output on an interface with several endpoints sends each packet to each of them once. Its counters are the sum, and never go
// back; branch-count follows.
func TestP3_8_StaticOutputGoesToEveryEndpoint(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		h := newHub(t)
		sinks, wire := h.sinks(4), h.spokes.Tap("eth0")
		d := runRules(t, h.rtr, engine, ruleOn("feed", "eth0", herTo("spokes", "wg0", 5000)))
		out := outputPath("feed", "spokes") + "/state/"
		want, sum, last := make([]uint64, len(sinks)), uint64(0), uint64(0)
		arrives := func(to ...int) { // with these endpoints, by number from 1
			t.Helper()
			var addrs []string
			for _, i := range to {
				addrs = append(addrs, spoke(i))
			}
			d.setEndpoints("wg0", addrs...)
			d.await(out+"branch-count", fmt.Sprint(len(to)))
			if len(to) == 0 {
				d.down("feed", "spokes", "endpoint-unresolved")
			} else {
				d.up("feed", "spokes")
			}
			endpoint := ""
			if len(to) == 1 {
				endpoint = addrs[0]
			}
			d.await(out+"endpoint", endpoint)
			h.src.Send(feed(100))
			for _, i := range to {
				want[i-1] += 100
				sum += 100
			}
			for i, s := range sinks {
				s.Exactly(want[i])
			}
			d.sent("feed", "spokes", sum)
			now := d.get(out + "counters")
			if n := now.num(out + "counters/octets"); n < last {
				t.Errorf("octets went back from %d to %d", last, n)
			} else {
				last = n
			}
		}
		arrives(1, 2, 3)
		arrives(1, 2, 3, 4)
		arrives(2, 4)
		arrives(2)
		arrives()
		arrives(3)
		arrives(1, 3)
		arrives(1, 2, 3, 4)
		if m := wire.Packets(func(p lab.Packet) bool { return p.Dst.Addr().IsMulticast() }); len(m) > 0 {
			t.Errorf("multicast on wg0: %v", m)
		}
	})
}

// P3.8, P4.4: endpoints are added and removed while 5,000 datagrams a second go through. Those that stay lose none and get none twice, and
// the output's counter is what all together received.
func TestP3_8_EndpointsComeAndGoUnderTraffic(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		h := newHub(t)
		sinks := h.sinks(4)
		standing, guests := sinks[:2], sinks[2:]
		beside := h.spokes.Sink(spoke(1) + ":6000")
		d := runRules(t, h.rtr, engine)
		d.setEndpoints("wg0", spoke(1), spoke(2))
		d.must(d.setRules(ruleOn("feed", "eth0", herTo("spokes", "wg0", 5000), uni("beside", "wg0", spoke(1), 6000))))
		d.await(outputPath("feed", "spokes")+"/state/branch-count", "2")
		live := feed(0)
		live.Rate, live.Burst = 5000, 5
		sender := h.src.StartSend(live)
		standing[0].Wait(100, patience)
		counter, last := outputPath("feed", "spokes")+"/state/counters/packets", uint64(0)
		forward := func() { // it never goes back
			t.Helper()
			now := d.get(counter).num(counter)
			if now < last {
				t.Errorf("the counter went from %d back to %d", last, now)
			}
			last = now
		}
		for range 10 {
			for i, guest := range guests {
				d.must(d.update(endpointPath("wg0", spoke(i+3))+"/config", obj{"address": spoke(i + 3)}))
				reaches(guest, 20, soon)
				forward()
			}
			d.must(d.remove(endpointPath("wg0", spoke(3))))
			guests[0].Quiet(quiet / 5)
			forward()
			d.must(d.remove(endpointPath("wg0", spoke(4))))
			guests[1].Quiet(quiet / 5)
			forward()
		}
		sent := sender.Stop().Sent
		sum := uint64(0)
		for _, s := range standing {
			sum += s.Exactly(sent).Received
		}
		beside.Exactly(sent)
		for _, s := range guests {
			r := s.Report(0)
			sum += r.Received
			if r.Duplicated+r.Reordered+r.Corrupted+r.Foreign > 0 {
				t.Errorf("a guest got doubled or broken datagrams: %s", s)
			}
		}
		d.sent("feed", "spokes", sum)
		d.sent("feed", "beside", sent)
		t.Logf("%d datagrams, 40 changes of the endpoints: %d copies arrived, as many are counted", sent, sum)
	})
}

// P3.8, P4.3: one of several endpoints that cannot be reached makes the output degraded and costs the others nothing.
func TestP3_8_DeadEndpointCostsOthersNothing(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		h := newHub(t)
		sinks := h.sinks(2)
		d := runRules(t, h.rtr, engine)
		d.setEndpoints("wg0", spoke(1), spoke(2), "192.0.2.7") // no route
		d.must(d.setRules(ruleOn("feed", "eth0", herTo("spokes", "wg0", 5000))))
		d.await(outputPath("feed", "spokes")+"/state/oper-status", "degraded")
		h.src.Send(feed(300))
		for _, s := range sinks {
			s.Exactly(300)
		}
		d.sent("feed", "spokes", 600)
		h.rtr.Route("192.0.2.7/32", "dev wg0")
		h.spokes.Addr("eth0", "192.0.2.7/32")
		late := h.spokes.Sink("192.0.2.7:5000")
		d.up("feed", "spokes")
		h.src.Send(feed(300))
		for _, s := range append(sinks, late) {
			s.Wait(300, patience)
		}
		late.Exactly(300)
		d.sent("feed", "spokes", 1500)
	})
}

// P1.7, P3.8: a source behind spoke A of the input interface, receivers behind all spokes: B and C get each packet once, A none. Where the
// interface takes multicast nothing goes out, since that would be a loop.
func TestP3_8_HERBranchOnTheInputInterface(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		h := newHub(t)
		h.spokes.Addr("eth0", "10.0.9.3/24")
		h.spokes.Addr("eth0", "10.0.9.4/24")
		a, b, c := h.spokes.Sink("10.0.9.2:5000"), h.spokes.Sink("10.0.9.3:5000"), h.spokes.Sink("10.0.9.4:5000")
		wire := h.spokes.Tap("eth0")
		d := runRules(t, h.rtr, engine)
		d.setEndpoints("wg0", "10.0.9.2", "10.0.9.3", "10.0.9.4")
		d.must(d.setRules(ruleOn("mesh", "wg0", herTo("spokes", "wg0", 0))))
		d.up("mesh", "spokes")
		joined(t, h.rtr, "wg0", group)
		from := func(source string) {
			t.Helper()
			s := feed(200)
			s.Source = source
			h.spokes.Send(s)
		}
		from("10.0.9.2")
		b.Exactly(200)
		c.Exactly(200)
		a.Exactly(0)
		from("10.0.9.3")
		a.Exactly(200)
		c.Exactly(400)
		b.Exactly(200)
		d.sent("mesh", "spokes", 800)
		d.counts(outputPath("mesh", "spokes")+"/state/counters/dropped", 400) // to its own source
		h.rtr.Multicast("wg0", true)
		d.down("mesh", "spokes", "loop")
		from("10.0.9.4")
		d.counts(rulePath("mesh")+"/state/counters/packets", 600)
		h.rtr.Multicast("wg0", false)
		d.up("mesh", "spokes")
		from("10.0.9.4")
		a.Exactly(400)
		b.Exactly(400)
		c.Exactly(400)
		back := wire.Packets(func(p lab.Packet) bool { return !p.Outgoing && p.Dst.Addr().IsMulticast() && p.Protocol == 17 })
		if len(back) > 0 {
			t.Errorf("%d datagrams came back to the group", len(back))
		}
	})
}

// P3.7's identity for static outputs: an explicit unicast-dest and an endpoint that come to the same place are one branch, each packet once;
// both outputs show it, and either may go.
func TestP3_7_SameIdentityTwiceIsOneBranch(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		n := newTunnel(t)
		far, lan := n.far.Sink("10.4.0.2:5000"), n.lan.GroupSink("eth0", group+":5000")
		d := runRules(t, n.rtr, engine)
		d.autoHER(true)
		total, first := uint64(0), outputPath("hybrid-feed", "explicit")
		d.must(d.setRules(hybridRule(multi("lan", "eth1", group, 5000), with(uni("explicit", "tun0", "10.4.0.2", 5000), obj{"ttl": 9}),
			with(multi("resolved", "tun0", group, 0), obj{"ttl": 33})))) // port 0 is the input's 5000
		ttl := map[uint8]uint64{}
		once := func(want uint8) {
			t.Helper()
			n.src.Send(feed(100))
			total += 100
			lan.Exactly(total)
			r := far.Exactly(total)
			if ttl[want] += 100; r.TTL[want] != ttl[want] {
				t.Errorf("TTLs %v, want 100 more with %d", r.TTL, want)
			}
		}
		for _, name := range []string{"explicit", "resolved"} {
			d.up("hybrid-feed", name)
			d.await(outputPath("hybrid-feed", name)+"/state/endpoint", "10.4.0.2")
		}
		once(9) // the explicit one's knobs
		d.must(d.remove(first))
		once(33)
		d.must(d.replace(first, with(uni("explicit", "tun0", "10.4.0.2", 5000), obj{"ttl": 9})))
		once(9)
		resolved := outputPath("hybrid-feed", "resolved")
		d.must(d.remove(resolved))
		once(9)
		d.must(d.replace(resolved, multi("resolved", "tun0", group, 0)))
		d.up("hybrid-feed", "resolved")
		once(9)

		// The endpoint moves away from the explicit destination, under traffic, and back: the explicit branch loses nothing by it.
		n.far.Addr("tun0", "10.4.0.3/32")
		other := n.far.Sink("10.4.0.3:5000")
		n.rtr.Route("10.4.0.3/32", "dev tun0")
		live := n.src.StartSend(feed(0))
		far.Wait(total+50, patience)
		for range 3 {
			d.setEndpoints("tun0", "10.4.0.3")
			reaches(other, 100, patience)
			d.setEndpoints("tun0")
			d.await(resolved+"/state/endpoint", "10.4.0.2")
			other.Quiet(quiet / 2)
		}
		sent := live.Stop().Sent
		lan.Exactly(total + sent)
		far.Exactly(total + sent)
	})
}

// P3.7: two multicast outputs of one rule that resolve to the same place, by their own groups.
func TestP3_7_TwoGroupsToOneEndpointAreOneBranch(t *testing.T) {
	t.Parallel()
	n := newTunnel(t)
	far := n.far.Sink("10.4.0.2:5000")
	d := runRules(t, n.rtr, "")
	d.autoHER(true)
	d.must(d.setRules(hybridRule(multi("one", "tun0", "239.1.1.1", 5000), multi("two", "tun0", "239.1.1.2", 5000))))
	d.up("hybrid-feed", "one")
	d.up("hybrid-feed", "two")
	n.src.Send(feed(100))
	far.Exactly(100)
	n.rtr.Multicast("tun0", true) // now they are two
	d.await(outputPath("hybrid-feed", "two")+"/state/endpoint", "239.1.1.2")
	groups := []*lab.Sink{n.far.GroupSink("tun0", "239.1.1.1:5000"), n.far.GroupSink("tun0", "239.1.1.2:5000")}
	n.src.Send(feed(100))
	for _, s := range groups {
		s.Exactly(100)
	}
	n.rtr.Multicast("tun0", false)
	d.await(outputPath("hybrid-feed", "two")+"/state/endpoint", "10.4.0.2")
	n.src.Send(feed(100))
	far.Exactly(200)
}

// P1.8 with head-end replication: a rule without port keeps each port on the way to each endpoint.
func TestP3_8_PortlessRuleKeepsPorts(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		h := newHub(t)
		first := h.sinks(2)
		second := []*lab.Sink{h.spokes.Sink(spoke(1) + ":5001"), h.spokes.Sink(spoke(2) + ":5001")}
		d := runRules(t, h.rtr, engine)
		d.setEndpoints("wg0", spoke(1), spoke(2))
		d.must(d.setRules(with(ruleOn("feed", "eth0", herTo("spokes", "wg0", 0)), obj{"input-port": 0})))
		d.up("feed", "spokes")
		other := feed(100)
		other.Port = 5001
		arrives := func(n1, n2 uint64) {
			t.Helper()
			h.src.Send(feed(100))
			h.src.Send(other)
			first[0].Exactly(n1)
			second[0].Exactly(n1)
			first[1].Exactly(n2)
			second[1].Exactly(n2)
			d.sent("feed", "spokes", 2*(n1+n2))
		}
		arrives(100, 100)
		d.setEndpoints("wg0", spoke(1))
		d.await(outputPath("feed", "spokes")+"/state/branch-count", "1")
		arrives(200, 100)
		d.setEndpoints("wg0", spoke(1), spoke(2))
		d.await(outputPath("feed", "spokes")+"/state/branch-count", "2")
		arrives(300, 200)
	})
}

// D6: a boundary holds for a HER branch by the group that it stands for, not by its endpoint.
func TestD6_BoundaryOfAHERBranch(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		n := newTunnel(t)
		lan, far := n.lan.GroupSink("eth0", group+":5000"), n.far.Sink("10.4.0.2:5000")
		beside := n.far.Sink("10.4.0.2:6000")
		wire := n.far.Tap("tun0")
		d := runRules(t, n.rtr, engine)
		d.autoHER(true)
		d.must(d.setRules(hybridRule(multi("lan", "eth1", group, 5000), multi("far", "tun0", group, 5000), multi("other", "tun0", "239.2.2.2", 6000))))
		d.up("hybrid-feed", "far")
		n.src.Send(feed(100))
		far.Exactly(100)
		beside.Exactly(100)
		const at = "mcr/forwarding/boundaries/boundary[interface=tun0]"
		d.must(d.replace(at, obj{"config": obj{"interface": "tun0", "group-prefix": []string{"239.1.0.0/16"}}}))
		d.down("hybrid-feed", "far", "scope")
		n.src.Send(feed(100))
		lan.Exactly(200)
		far.Exactly(100)
		beside.Exactly(200) // of another group
		d.counts(at+"/state/counters/packets", 100)
		// The endpoint moves meanwhile, and the flag: still nothing of the group.
		n.rtr.Multicast("tun0", true)
		d.await(outputPath("hybrid-feed", "other")+"/state/her-active", "false")
		n.src.Send(feed(100))
		lan.Exactly(300)
		if got := wire.Packets(toward(group)); len(got) > 0 {
			t.Errorf("%d datagrams of the group", len(got))
		}
		n.rtr.Multicast("tun0", false)
		d.await(outputPath("hybrid-feed", "other")+"/state/her-active", "true")
		d.must(d.remove(at))
		d.up("hybrid-feed", "far")
		n.src.Send(feed(100))
		far.Exactly(200)
	})
}

// P3.8: MRIB rows of an output with several endpoints are one for each, each with what it sent; with one or none there is one row.
func TestP3_8_MRIBShowsEachBranch(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	sinks := h.sinks(3)
	d := runRules(t, h.rtr, "", ruleOn("feed", "eth0", herTo("spokes", "wg0", 5000)))
	row := func(dest string) string {
		return "mcr/mrib/entries/entry[group=239.1.1.1][interface=eth0][port=5000][source=0.0.0.0]/outputs/output[destination=" + dest +
			"][encapsulation=none][interface=wg0][port=5000][source-port=0]/state/"
	}
	rows := func(addrs ...string) {
		t.Helper()
		d.must(d.replace(endpointsPath("wg0"), endpoints("wg0", addrs...)))
		want := map[string]bool{}
		for _, a := range append(addrs, "0.0.0.0")[:max(1, len(addrs))] { // the unspecified address while there is none
			want[row(a)+"oper-status"] = true
		}
		d.follow("mcr/mrib").until(soon, fmt.Sprint("rows for ", addrs), func(l leaves) bool {
			found := map[string]bool{}
			for path := range l {
				if strings.Contains(path, "/outputs/") && strings.HasSuffix(path, "/oper-status") {
					found[path] = true
				}
			}
			return maps.Equal(found, want)
		})
	}
	rows()
	rows(spoke(1))
	rows(spoke(1), spoke(2), spoke(3))
	h.src.Send(feed(100))
	for i, s := range sinks {
		s.Exactly(100)
		d.counts(row(spoke(i+1))+"counters/packets", 100)
	}
	rows(spoke(2), spoke(3))
	rows(spoke(3))
}
