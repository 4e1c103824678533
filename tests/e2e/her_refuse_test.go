// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mcr/tests/lab"
)

// Endpoints that cannot be are refused with the reason and the path, and nothing changes: not the configuration, not a packet. P2.4, P1.7.
func TestP2_4_BadEndpointsAreRefused(t *testing.T) {
	t.Parallel()
	n := newTunnel(t)
	far, lan := n.far.Sink("10.4.0.2:5000"), n.lan.GroupSink("eth0", group+":5000")
	d := runRules(t, n.rtr, "")
	d.autoHER(true)
	d.must(d.setRules(hybridRule(multi("lan", "eth1", group, 5000), multi("far", "tun0", group, 5000))))
	config := d.config("mcr")
	live := n.src.StartSend(feed(0))
	far.Wait(50, patience)
	for _, c := range []struct {
		name, addr string
		more       obj    // leaves beside the address
		at, says   string // in the path at fault, and in the words; else the address
	}{
		{name: "a group", addr: "239.1.1.1"},
		{name: "class E", addr: "240.0.0.1"},
		{name: "broadcast", addr: "255.255.255.255"},
		{name: "zero", addr: "0.0.0.0"},
		{name: "loopback", addr: "127.0.0.1"},
		{name: "IPv6", addr: "2001:db8::1"},
		{name: "a name", addr: "spoke"},
		{name: "an own address", addr: "10.0.1.2"},
		{name: "the interface's own address", addr: "10.4.0.1"},
		{name: "a group for a neighbour", addr: "10.4.0.3", more: obj{"neighbor": "239.1.1.1"}, at: "neighbor", says: "239.1.1.1"},
		{name: "another key", addr: "10.4.0.3", more: obj{"address": "10.4.0.4"}, at: "address", says: "10.4.0.4"},
	} {
		at, says := c.at, c.says
		if at == "" {
			at, says = "endpoint[address="+c.addr+"]", c.addr
		}
		st := status.Convert(d.replace(endpointPath("tun0", c.addr), with(obj{"address": c.addr, "config": obj{"address": c.addr}}, c.more)))
		code := codes.InvalidArgument
		if strings.Contains(c.name, "own") { // today it cannot be, on another day it may
			code = codes.Aborted
		}
		if st.Code() != code {
			t.Errorf("%s: %v, want %v", c.name, st.Err(), code)
		} else if !faultNames(st, at) || !strings.Contains(st.Message(), says) {
			t.Errorf("%s: the refusal names neither …%s nor %q: %v, details %v", c.name, at, says, st.Err(), st.Details())
		}
		if now := d.config("mcr"); now != config {
			t.Fatalf("%s changed the configuration to\n%s", c.name, now)
		}
	}
	sent := live.Stop().Sent
	far.Exactly(sent)
	lan.Exactly(sent)
	logged(t, d.MCRD, 0, 0, "level=ERROR")
}

// faultNames says whether a refusal names a path with this in it.
func faultNames(st *status.Status, part string) bool {
	for _, d := range st.Details() {
		bad, _ := d.(*errdetails.BadRequest)
		for _, v := range bad.GetFieldViolations() {
			if strings.Contains(v.GetField(), part) {
				return true
			}
		}
	}
	return false
}

// P1.10, P2.4: what the machine makes impossible later is no fault of the configuration: it starts, with that endpoint passed over and the
// reason, and takes it up when it can.
func TestP1_10_EndpointThatBecameOurOwn(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		n := newTunnel(t)
		lan, spoke := n.lan.GroupSink("eth0", group+":5000"), n.far.Sink("10.2.0.5:5000")
		d := runRules(t, n.rtr, engine)
		d.setEndpoints("gre0", "10.2.0.5")
		d.must(d.setRules(hybridRule(multi("lan", "eth1", group, 5000), herTo("spoke", "gre0", 5000))))
		n.src.Send(feed(100))
		lan.Exactly(100)
		spoke.Exactly(100)
		n.rtr.Addr("eth1", "10.2.0.5/32")
		ours := func() {
			t.Helper()
			d.down("hybrid-feed", "spoke", "endpoint-unresolved")
			at := endpointsPath("gre0") + "/candidates/candidate[address=10.2.0.5]/state/"
			d.await(at+"passed-over-reason", "own-address")
			d.await(at+"in-use", "false")
		}
		ours()
		d.Restart()
		ours()
		n.src.Send(feed(100))
		lan.Exactly(200)
		spoke.Exactly(100)
		delAddr(n.rtr, "eth1", "10.2.0.5/32")
		d.up("hybrid-feed", "spoke")
		n.src.Send(feed(100))
		lan.Exactly(300)
		spoke.Exactly(200)
	})
}

// An endpoint beyond the reach of its interface is taken, and its branch is down with the reason, never a silent black hole; with a route
// it comes up by itself. On a point-to-point interface all is in reach. P1.10, P2.4.
func TestP1_10_EndpointBeyondReach(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		n := newTunnel(t)
		n.far.Addr("eth0", "10.9.0.9/32")
		n.far.Addr("tun0", "10.9.0.8/32")
		n.rtr.Route("10.9.0.0/24", "10.0.1.1") // by eth1
		far, through, lan := n.far.Sink("10.9.0.9:5000"), n.far.Sink("10.9.0.8:5000"), n.lan.GroupSink("eth0", group+":5000")
		d := runRules(t, n.rtr, engine)
		d.setEndpoints("gre0", "10.8.0.9")
		d.setEndpoints("tun0", "10.9.0.8")
		d.must(d.setRules(hybridRule(multi("lan", "eth1", group, 5000), herTo("spoke", "gre0", 5000), herTo("tunnel", "tun0", 5000))))
		d.down("hybrid-feed", "spoke", "no-route")
		d.setEndpoints("gre0", "10.9.0.9")
		d.down("hybrid-feed", "spoke", "route-elsewhere")
		d.up("hybrid-feed", "tunnel")
		n.src.Send(feed(100))
		lan.Exactly(100)
		through.Exactly(100)
		far.Exactly(0)
		d.counts(outputPath("hybrid-feed", "spoke")+"/state/counters/not-ready", 100)
		begin := time.Now()
		n.rtr.Route("10.9.0.9/32", "10.2.0.5") // by gre0
		d.up("hybrid-feed", "spoke")
		if took := time.Since(begin); took > soon {
			t.Errorf("up after %v", took)
		}
		n.src.Send(feed(100))
		far.Exactly(100)
		through.Exactly(200)
		n.rtr.DelRoute("10.9.0.9/32", "10.2.0.5")
		d.down("hybrid-feed", "spoke", "route-elsewhere")
		n.src.Send(feed(100))
		lan.Exactly(300)
		through.Exactly(300)
		far.Exactly(100)
	})
}

// P1.10: endpoints of interfaces that are not there, and outputs on them, are configured beforehand; state says so, and a restart and a
// kill find all as it was.
func TestP1_10_EndpointsOfMissingInterfaces(t *testing.T) {
	t.Parallel()
	n := newHybrid(t)
	lan := n.lan.GroupSink("eth0", group+":5000")
	d := runRules(t, n.rtr, "")
	d.setEndpoints("wg0", "10.8.0.5", "10.8.0.6")
	d.must(d.setRules(hybridRule(multi("lan", "eth1", group, 5000), herTo("spokes", "wg0", 5000))))
	config := d.config("mcr")
	missing := func() {
		t.Helper()
		d.down("hybrid-feed", "spokes", "interface-missing")
		d.await(endpointsPath("wg0")+"/state/reason", "interface-missing")
	}
	missing()
	d.Restart()
	missing()
	d.Kill()
	d.Start()
	missing()
	if now := d.config("mcr"); now != config {
		t.Errorf("configuration before\n%s\nand after\n%s", config, now)
	}
	n.Link(n.rtr, "wg0", "10.8.0.1/24", n.far, "eth1", "10.8.0.5/24")
	n.rtr.Multicast("wg0", false)
	n.far.Addr("eth1", "10.8.0.6/24")
	one, two := n.far.Sink("10.8.0.5:5000"), n.far.Sink("10.8.0.6:5000")
	d.up("hybrid-feed", "spokes")
	d.await(outputPath("hybrid-feed", "spokes")+"/state/branch-count", "2")
	n.src.Send(feed(100))
	for _, s := range []*lab.Sink{lan, one, two} {
		s.Exactly(100)
	}
	d.setEndpoints("wg0")
	d.down("hybrid-feed", "spokes", "endpoint-unresolved")
}

// Without CAP_NET_ADMIN what needs it is told once, and all else works: endpoints are found, followed, and served.
func TestP2_6_WithoutNetAdmin(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		n := newTunnel(t)
		n.far.Addr("tun0", "10.4.0.3/32")
		one, two, lan := n.far.Sink("10.4.0.2:5000"), n.far.Sink("10.4.0.3:5000"), n.lan.GroupSink("eth0", group+":5000")
		m := n.rtr.MCRD(lab.MCRDConfig{Under: []string{"setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"}})
		d := daemon{m, dial(t, m)}
		if capable(t, d, 12) {
			t.Fatal("mcrd has CAP_NET_ADMIN")
		}
		d.must(d.update("mcr/dataplane/config/engine", engine))
		d.await("mcr/dataplane/state/engine-used", engine)
		d.autoHER(true)
		d.must(d.setRules(hybridRule(multi("lan", "eth1", group, 5000), multi("far", "tun0", group, 5000))))
		d.up("hybrid-feed", "far")
		n.src.Send(feed(100))
		one.Exactly(100)
		n.rtr.ReAddress("tun0", "")
		n.rtr.Peer("tun0", "10.4.0.1", "10.4.0.3")
		d.await(outputPath("hybrid-feed", "far")+"/state/endpoint", "10.4.0.3")
		n.src.Send(feed(100))
		two.Exactly(100)
		lan.Exactly(200)
		one.Exactly(100)
		agreement{daemon: d, h: n.rtr, autoHER: true}.holds(soon, "without the capability")
		logged(t, d.MCRD, 0, 1, "NET_ADMIN")
		logged(t, d.MCRD, 0, 0, "level=ERROR")
	})
}

// capable says whether mcrd has a capability, by its number.
func capable(t *testing.T, d daemon, number int) bool {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var effective uint64
		if _, err := fmt.Sscanf(line, "CapEff: %x", &effective); err == nil {
			return effective>>number&1 == 1
		}
	}
	t.Fatalf("no CapEff in %s", text)
	return false
}
