// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mcr/tests/lab"
)

// everyPort makes a rule one for every port of its group.
func everyPort(rule obj) obj { return with(rule, obj{"input-port": 0}) }

// on is the feed to another port.
func on(port uint16, s lab.Stream) lab.Stream {
	s.Port = port
	return s
}

// P1.8: without a port in the rule each datagram leaves on the port it came to, also what comes in fragments or was segmented
// by its sender; an output with a port of its own gets all of it; counters are exact; and so after a restart.
func TestP1_8_EveryPortIsKept(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		n := newHybrid(t)
		first, second, third := n.far.Sink("10.2.0.5:5000"), n.far.Sink("10.2.0.5:5004"), n.far.Sink("10.2.0.5:5008")
		all := n.far.Sink("10.2.0.5:7000")
		lan, lan2 := n.lan.GroupSink("eth0", "239.1.1.1:5000"), n.lan.GroupSink("eth0", "239.1.1.1:5004")
		d := w.runRules(t, n.rtr, everyPort(hybridRule(
			uni("kept", "gre0", "10.2.0.5", 0), uni("given", "gre0", "10.2.0.5", 7000), multi("lan", "eth1", group, 0),
		)))
		joined(t, n.rtr, "eth0", group)
		mixed := feed(700)
		mixed.Sizes, mixed.Rate = []int{0, 1, 1316, 1472, 3001, 9000, 29}, 1000
		plain := on(5004, feed(1000))
		plain.Burst = 16
		segmented := on(5008, feed(640))
		segmented.Size, segmented.Segments = 500, 32 // the sender has its kernel segment
		n.src.Send(mixed)
		n.src.StartSend(plain) // at once
		n.src.StartSend(segmented)
		for _, s := range []*lab.Sink{second, lan2} {
			s.Exactly(1000)
		}
		for _, s := range []*lab.Sink{first, lan} {
			if r := s.Exactly(700); r.MinSize != 0 || r.MaxSize != 9000 {
				t.Errorf("datagrams of %d to %d bytes, want 0 to 9000", r.MinSize, r.MaxSize)
			}
		}
		third.Exactly(640)
		all.Exactly(2340)
		for name, want := range map[string]uint64{"kept": 2340, "given": 2340, "lan": 2340} {
			d.sent("hybrid-feed", name, want)
		}
		d.counts(rulePath("hybrid-feed")+"/state/counters/packets", 2340)
		d.await("mcr/mrib/entries/entry[group=239.1.1.1][interface=eth0][port=0][source=0.0.0.0]/state/learnt-port-count", "3")
		d.await("mcr/dataplane/port-learner/state/learnt-port-count", "3")
		d.counts("mcr/dataplane/port-learner/state/counters/lost-at-hand-over", 0)

		d.Restart()
		d.up("hybrid-feed", "kept")
		n.src.Send(on(5004, feed(500)))
		second.Exactly(1500)
		d.sent("hybrid-feed", "kept", 500)
	})
}

// P1.8: a port that begins in fragments while others are served may lose its first datagrams, since only the first fragment says
// which port it is for. What is lost is counted, and nothing comes twice.
func TestP1_8_LossAtHandOverIsCounted(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		const packets = 400
		n := newHybrid(t)
		first, late := n.far.Sink("10.2.0.5:5000"), n.far.Sink("10.2.0.5:5004")
		d := runRules(t, n.rtr, engine, everyPort(hybridRule(uni("kept", "gre0", "10.2.0.5", 0))))
		n.src.Send(feed(100))
		first.Exactly(100)
		large := on(5004, feed(packets))
		large.Sizes = []int{3001, 9000}
		n.src.Send(large)
		late.Wait(packets/2, patience)
		late.Quiet(quiet)
		r := late.Report(packets)
		if r.Duplicated+r.Corrupted+r.Foreign != 0 {
			t.Errorf("%s", late)
		}
		t.Logf("%d of %d lost at the hand-over", r.Lost, packets)
		d.counts("mcr/dataplane/port-learner/state/counters/lost-at-hand-over", r.Lost)
		d.sent("hybrid-feed", "kept", 100+r.Received)
	})
}

// P1.8, P3.7: a rule for port 5000 meets one for every port: each datagram once, while the one comes and goes, and the other.
func TestP1_8_PortMeetsEveryPort(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		n := newHybrid(t)
		spoke, lan := n.far.Sink("10.2.0.5:5000"), n.lan.GroupSink("eth0", "239.1.1.1:5000")
		outs := []obj{uni("spoke", "gre0", "10.2.0.5", 0), multi("lan", "eth1", group, 0)}
		wide := w.rule(everyPort(ruleOn("wide", "eth0", outs...)))
		narrow := w.rule(ruleOn("narrow", "eth0", uni("spoke", "gre0", "10.2.0.5", 5000), multi("lan", "eth1", group, 0)))
		d := runRules(t, n.rtr, w.engine, wide)
		s := n.src.StartSend(feed(0))
		spoke.Wait(100, patience)
		for range 5 {
			d.must(d.update(rulePath("narrow"), narrow))
			before := spoke.Received()
			spoke.Wait(before+100, patience)
			d.must(d.remove(rulePath("wide")))
			before = spoke.Received()
			spoke.Wait(before+100, patience)
			d.must(d.update(rulePath("wide"), wide))
			d.must(d.remove(rulePath("narrow")))
			before = spoke.Received()
			spoke.Wait(before+100, patience)
		}
		sent := s.Stop().Sent
		for _, sink := range []*lab.Sink{spoke, lan} {
			sink.Exactly(sent)
		}
	})
}

// flood sends one datagram to each of n ports of a group, from port first on, at most 256 in a ms: more than that the queue of a CPU
// (net.core.netdev_max_backlog) need not take while other programs have it.
func flood(t *testing.T, h *lab.Host, iface, source, group string, first, n int) {
	t.Helper()
	err := h.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInet4Addr(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, netip.MustParseAddr(source).As4()); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, 16); err != nil {
			return err
		}
		var b [32]byte
		for p := range n {
			binary.BigEndian.PutUint32(b[:], uint32(p))
			to := &unix.SockaddrInet4{Port: first + p, Addr: netip.MustParseAddr(group).As4()}
			if err := unix.Sendto(fd, b[:], 0, to); err != nil {
				return err
			}
			if p%256 == 255 {
				time.Sleep(time.Millisecond) // a pace, not a wait
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("flood from %s: %v", iface, err)
	}
}

// Q1: ten thousand ports through a rule for every port open sockets up to the limit and no further; the stream that was there
// first loses nothing; what was not served is counted, and the input says so. After silence the ports are given up.
func TestQ1_PortsAreBounded(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		const limit, ports, packets = 16, 10_000, 6000
		n := newHybrid(t)
		sink := n.far.Sink("10.2.0.5:5000")
		d := run(t, n.rtr, "")
		d.must(d.update("mcr/dataplane/config/engine", engine))
		d.must(d.update("mcr/dataplane/port-learner/config", obj{"maximum-learnt-ports": limit, "learnt-port-hold": 3}))
		d.must(d.setRules(everyPort(hybridRule(uni("kept", "gre0", "10.2.0.5", 0)))))
		s := n.src.StartSend(feed(packets))
		sink.Wait(200, patience)
		before := descriptors(t, d.MCRD)
		flood(t, n.src, "eth0", "10.0.0.1", group, 10_000, ports)
		entry := "mcr/mrib/entries/entry[group=239.1.1.1][interface=eth0][port=0][source=0.0.0.0]/state"
		d.await(entry+"/learnt-port-count", strconv.Itoa(limit))
		d.await(rulePath("hybrid-feed")+"/state/down-reason", "limit-exceeded")
		d.await(rulePath("hybrid-feed")+"/state/oper-status", "degraded")
		// A socket to receive and one to send for each port but the first one.
		if got := descriptors(t, d.MCRD) - before; got > 2*(limit-1)+2 {
			t.Errorf("%d more descriptors, want %d at most", got, 2*(limit-1)+2)
		}
		dropped := rulePath("hybrid-feed") + "/state/counters/dropped-limit"
		lab.Until(t, patience, "what was not served is counted", func() error {
			n, err := strconv.Atoi(d.get(dropped)[dropped])
			if err != nil || n < ports/2 || n > ports {
				return fmt.Errorf("dropped-limit %d, %v", n, err)
			}
			return nil
		})
		sink.Wait(packets, 30*time.Second)
		sink.Exactly(packets)
		s.Stop()
		d.await(entry+"/learnt-port-count", "0")
		d.await(rulePath("hybrid-feed")+"/state/oper-status", "up")
		n.src.Send(on(5000, feed(100)))
		sink.Exactly(packets + 100)
	})
}

// D1, P1.8: the source port of a branch that keeps the port is one and the same for all ports.
func TestD1_SourcePortIsOneForAllPorts(t *testing.T) {
	t.Parallel()
	n := newHybrid(t)
	sinks := []*lab.Sink{n.far.Sink("10.2.0.5:5000"), n.far.Sink("10.2.0.5:5004"), n.far.Sink("10.2.0.5:5008")}
	runRules(t, n.rtr, "", everyPort(hybridRule(uni("kept", "gre0", "10.2.0.5", 0))))
	var from []netip.AddrPort
	for i, s := range sinks {
		n.src.Send(on(uint16(5000+4*i), feed(20)))
		for a := range s.Exactly(20).Sources {
			from = append(from, a)
		}
	}
	if from = slices.Compact(from); len(from) != 1 {
		t.Errorf("copies come from %v, want one address and port", from)
	}
}

// DESIGN §4: where the kernel's reverse-path filter would drop the source, or another socket holds the address, MCR receives
// by packet without being told, says why, and goes back to a socket when the reason goes.
func TestP1_8_MethodIsChosen(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		n := newHybrid(t)
		n.src.Addr("eth0", "172.16.0.1/32")
		n.rtr.Sysctl("net/ipv4/conf/eth0/rp_filter", "1")
		sink := n.far.Sink("10.2.0.5:5000")
		d := runRules(t, n.rtr, engine, with(hybridRule(uni("spoke", "gre0", "10.2.0.5", 5000)), obj{"input-source": "172.16.0.1"}))
		state := rulePath("hybrid-feed") + "/state"
		d.await(state+"/receive-method-used", "packet")
		d.await(state+"/receive-method-reason", "the kernel's reverse-path filter would drop 172.16.0.1")
		far := feed(200)
		far.Source = "172.16.0.1"
		n.src.Send(far)
		sink.Exactly(200)
		n.rtr.Route("172.16.0.1/32", "dev eth0")
		d.await(state+"/receive-method-used", "socket")
		n.src.Send(far)
		sink.Exactly(400)

		release := hold(t, n.rtr, "239.1.1.9")
		d.must(d.setRules(onGroup(hybridRule(uni("spoke", "gre0", "10.2.0.5", 5000)), "239.1.1.9")))
		d.await(state+"/receive-method-used", "packet")
		d.await(state+"/receive-method-reason", "another socket holds the address")
		near := feed(200)
		near.Group = "239.1.1.9"
		n.src.Send(near)
		sink.Exactly(600)
		d.counts(state+"/counters/dropped-checksum", 0)
		release()
		d.must(d.update(rulePath("hybrid-feed")+"/config/receive-method", "socket"))
		d.await(state+"/receive-method-used", "socket")
		d.await(state+"/receive-method-reason", "configured")
		n.src.Send(near)
		sink.Exactly(800)
	})
}
