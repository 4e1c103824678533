// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	mcrgen "mcr/cmd/mcrgen/stream"
	"mcr/tests/lab"
)

// P2.6, F2: the endpoint changes while 5,000 datagrams a second go through: the new one gets them within a second, from then on the old
// one gets nothing, none is sent to both, and siblings lose none. Figures are told.
func TestP2_6_EndpointChangesUnderTraffic(t *testing.T) {
	for _, c := range []struct {
		name     string
		old, new string
		begin    func(hybrid, daemon)
		move     func(hybrid, daemon)
		iface    string // at rtr, and its end at far
		far      string
	}{
		{
			"another peer", "10.4.0.2", "10.4.0.3", func(hybrid, daemon) {},
			func(n hybrid, _ daemon) {
				n.rtr.Peer("tun0", "10.4.0.1", "10.4.0.3")
				delAddr(n.rtr, "tun0", "10.4.0.1 peer 10.4.0.2")
			},
			"tun0", "tun0",
		},
		{
			"another peer and address, the old gone first", "10.4.0.2", "10.4.0.3", func(hybrid, daemon) {},
			func(n hybrid, _ daemon) { n.rtr.ReAddress("tun0", ""); n.rtr.Peer("tun0", "10.4.0.9", "10.4.0.3") },
			"tun0", "tun0",
		},
		{
			"another /30", "10.6.0.2", "10.6.0.6", func(n hybrid, _ daemon) { n.rtr.ReAddress("gre0", "10.6.0.1/30") },
			func(n hybrid, _ daemon) { n.rtr.Addr("gre0", "10.6.0.5/30"); delAddr(n.rtr, "gre0", "10.6.0.1/30") },
			"gre0", "eth0",
		},
		{
			"another is configured", "10.2.0.5", "10.2.0.6", func(_ hybrid, d daemon) { d.setEndpoints("gre0", "10.2.0.5") },
			func(_ hybrid, d daemon) { d.setEndpoints("gre0", "10.2.0.6") },
			"gre0", "eth0",
		},
		{
			"one is configured over the peer", "10.4.0.2", "10.4.0.3", func(n hybrid, _ daemon) { n.rtr.Route("10.4.0.3/32", "dev tun0") },
			func(_ hybrid, d daemon) { d.setEndpoints("tun0", "10.4.0.3") },
			"tun0", "tun0",
		},
		{
			"the configured one goes, the peer is left", "10.4.0.3", "10.4.0.2",
			func(n hybrid, d daemon) { n.rtr.Route("10.4.0.3/32", "dev tun0"); d.setEndpoints("tun0", "10.4.0.3") },
			func(_ hybrid, d daemon) { d.setEndpoints("tun0") },
			"tun0", "tun0",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			engines(t, func(t *testing.T, engine string) {
				n := newTunnel(t)
				n.rtr.NoSegmentationOffload("gre0") // the wire is looked at, datagram by datagram
				for _, a := range []string{c.old, c.new} {
					if a != "10.4.0.2" && a != "10.2.0.5" { // they are there
						n.far.Addr(c.far, a+"/32")
					}
				}
				lan, spoke := n.lan.GroupSink("eth0", group+":5000"), n.lan.Sink("10.0.1.1:6000")
				before, after, wire := n.far.Sink(c.old+":5000"), n.far.Sink(c.new+":5000"), n.far.Tap(c.far)
				d := runRules(t, n.rtr, engine)
				c.begin(n, d)
				d.must(d.setRules(hybridRule(multi("lan", "eth1", group, 5000), uni("spoke", "eth1", "10.0.1.1", 6000),
					with(multi("her", c.iface, group, 5000), obj{"her-mode": "auto"}))))
				d.await(outputPath("hybrid-feed", "her")+"/state/endpoint", c.old)
				port := d.output("hybrid-feed", "her")["local-port"]
				live := feed(0)
				live.Rate, live.Burst = 5000, 5
				sender := n.src.StartSend(live)
				before.Wait(500, patience)

				at := time.Now()
				c.move(n, d)
				called := time.Since(at)
				after.Wait(1, soon)
				took := time.Since(at)
				d.await(outputPath("hybrid-feed", "her")+"/state/endpoint", c.new)
				reaches(after, 5000, patience)
				sent := sender.Stop().Sent
				lan.Exactly(sent)
				spoke.Exactly(sent)
				after.Quiet(quiet)

				late, twice := order(t, wire, c.old, c.new)
				got := before.Received() + after.Received()
				t.Logf("%s: first datagram at the new endpoint %v after the change began (the change itself took %v); after that %d at the old one; "+
					"%d of %d arrived, %d twice; siblings lost 0", engine, took.Round(time.Millisecond), called.Round(time.Millisecond), late, got, sent, twice)
				if late > 0 || twice > 0 {
					t.Errorf("%d datagrams at the old endpoint after the first at the new one, %d at both", late, twice)
				}
				for _, s := range []*lab.Sink{before, after} {
					if r := s.Report(0); r.Duplicated+r.Reordered+r.Corrupted+r.Foreign > 0 {
						t.Errorf("%s", s)
					}
				}
				o := d.output("hybrid-feed", "her")
				if o.num("counters/packets") != got || o["local-port"] != port {
					t.Errorf("the output counts %d and has port %s, want %d and %s\n%v", o.num("counters/packets"), o["local-port"], got, port, o)
				}
				if missed := o.num("counters/not-ready") + o.num("counters/errors"); got+missed != sent {
					t.Errorf("%d arrived and %d are told as not sent, of %d\n%v", got, missed, sent, o)
				}
			})
		})
	}
}

// order looks at what a wire carried to two addresses: how many came to the old one after the first at the new one, and how many to both.
func order(t *testing.T, wire *lab.Capture, old, new string) (late, twice int) {
	t.Helper()
	first, last := netip.MustParseAddr(old), netip.MustParseAddr(new)
	seen, moved := map[uint64]bool{}, false
	for _, p := range wire.Packets(func(p lab.Packet) bool { return p.Dst.Addr() == first || p.Dst.Addr() == last }) {
		h, verdict := mcrgen.Parse(p.Payload)
		if verdict != mcrgen.Whole {
			t.Fatalf("%v > %v is broken", p.Src, p.Dst)
		}
		if seen[h.Seq] {
			twice++
		}
		seen[h.Seq] = true
		if moved = moved || p.Dst.Addr() == last; moved && p.Dst.Addr() == first {
			late++
		}
	}
	return late, twice
}

// P2.6, P2.1: the kernel's queue of events overruns, since mcrd stands still while thousands of changes are made. All is as the kernel has it
// soon after it goes on, without the audit.
func TestP2_6_OverrunOfEventsLosesNothing(t *testing.T) {
	t.Parallel()
	n := newTunnel(t)
	d := run(t, n.rtr, "")
	a := agreement{daemon: d, h: n.rtr}
	d.must(d.update("mcr/forwarding/config/rediscovery-interval", 3600))
	d.isEndpoint("tun0", "10.4.0.2", "peer-address")
	d.Signal(unix.SIGSTOP)
	batch := &ipBatch{t: t, h: n.rtr, file: filepath.Join(t.TempDir(), "batch")}
	for i := range 4000 {
		batch.add("addr add 10.100.%d.%d/32 dev eth1", i>>8, i&255)
		batch.add("link set eth1 mtu %d", 1400+i%50)
		if i%4 != 0 {
			batch.add("addr del 10.100.%d.%d/32 dev eth1", i>>8, i&255)
		}
	}
	batch.add("addr del 10.4.0.1 peer 10.4.0.2 dev tun0")
	batch.add("addr add 10.4.0.1 peer 10.4.0.9 dev tun0")
	batch.run()
	lost := netlinkDrops(t, n.rtr)
	d.Signal(unix.SIGCONT)
	begin := time.Now()
	a.holds(patience, "after the overrun")
	t.Logf("%d events were lost; all is known again %v after mcrd goes on", lost, time.Since(begin).Round(time.Millisecond))
	if lost == 0 {
		t.Error("no event was lost: the test shows nothing")
	}
	d.isEndpoint("tun0", "10.4.0.9", "peer-address")
}

// netlinkDrops is how many messages the netlink sockets of a host did not take (/proc/net/netlink, column Drops).
func netlinkDrops(t *testing.T, h *lab.Host) (drops int) {
	t.Helper()
	var text []byte
	err := h.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/netlink")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) >= 9 {
			n, _ := strconv.Atoi(f[8]) // the heading is no number
			drops += n
		}
	}
	return drops
}

// P2.7, P1.10: an interface that appears after the start, or is deleted and made again with a new index, gets its endpoint and its
// copies within a second and without a restart.
func TestP2_7_InterfaceAppearsLate(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		n := newHybrid(t)
		lan := n.lan.GroupSink("eth0", group+":5000")
		d := run(t, n.rtr, `{ forwarding: { auto_her_for_p2p_tunnels: true }, rules: [
			{ name: "hybrid-feed", input: { interface: "eth0", group: "239.1.1.1", port: 5000 }, outputs: [
				{ name: "lan", interface: "eth1" }, { name: "far", interface: "tun0" } ] } ] }`)
		d.must(d.update("mcr/dataplane/config/engine", engine))
		d.await("mcr/dataplane/state/engine-used", engine)
		d.down("hybrid-feed", "far", "interface-missing")
		d.await(rulePath("hybrid-feed")+"/state/oper-status", "degraded")
		live := n.src.StartSend(feed(0))
		lan.Wait(100, patience)
		indexes := map[int]bool{}
		for range 3 {
			n.tunnel()
			indexes[n.rtr.Index("tun0")] = true
			far := n.far.Sink("10.4.0.2:5000")
			begin := time.Now()
			far.Wait(1, soon)
			t.Logf("interface %d: first datagram after %v", n.rtr.Index("tun0"), time.Since(begin).Round(time.Millisecond))
			reaches(far, 200, patience)
			d.up("hybrid-feed", "far")
			d.isEndpoint("tun0", "10.4.0.2", "peer-address")
			n.rtr.Delete("tun0")
			d.down("hybrid-feed", "far", "interface-missing")
			far.Close()
			n.far.Delete("tun0")
		}
		if len(indexes) != 3 {
			t.Errorf("the interface had the indexes %v: it was to have another each time", indexes)
		}
		lan.Exactly(live.Stop().Sent)
	})
}

// F3 of an output in head-end replication: its interface goes and comes back in each way, under traffic; the branch is down with the
// reason, and back within a second; siblings lose nothing.
func TestF3_HERInterfaceGoesAndComesBack(t *testing.T) {
	for _, c := range []struct {
		name   string
		away   func(hybrid)
		reason string
		back   func(hybrid)
	}{
		{"set down and up", func(n hybrid) { n.rtr.Down("tun0") }, "interface-down", func(n hybrid) { n.rtr.Up("tun0") }},
		{"deleted and made again", func(n hybrid) { n.rtr.Delete("tun0"); n.far.Delete("tun0") }, "interface-missing", hybrid.tunnel},
		{"renamed away and back", func(n hybrid) { n.rtr.Rename("tun0", "x") }, "interface-missing", func(n hybrid) { n.rtr.Rename("x", "tun0") }},
		{
			"renamed, and another comes under its name", func(n hybrid) { n.rtr.Rename("tun0", "x"); n.far.Delete("tun0") },
			"interface-missing", hybrid.tunnel,
		},
		{"moved to another namespace and back", func(n hybrid) { n.rtr.Move("tun0", n.src) }, "interface-missing", func(n hybrid) {
			n.src.Move("tun0", n.rtr)
			n.rtr.Peer("tun0", "10.4.0.1", "10.4.0.2")
			n.rtr.Up("tun0")
		}},
		{"addresses taken and given back", func(n hybrid) { n.rtr.ReAddress("tun0", "") }, "", func(n hybrid) {
			n.rtr.Peer("tun0", "10.4.0.1", "10.4.0.2")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			engines(t, func(t *testing.T, engine string) {
				n := newTunnel(t)
				lan, spoke := n.lan.GroupSink("eth0", group+":5000"), n.far.Sink("10.2.0.5:5000")
				d := runRules(t, n.rtr, engine)
				d.autoHER(true)
				d.must(d.setRules(hybridRule(multi("lan", "eth1", group, 5000), uni("spoke", "gre0", "10.2.0.5", 5000), multi("far", "tun0", group, 5000))))
				live := n.src.StartSend(feed(0))
				far := n.far.Sink("10.4.0.2:5000") // it outlasts the address
				far.Wait(100, patience)
				port := d.output("hybrid-feed", "far")["local-port"]
				w := d.follow(outputPath("hybrid-feed", "far") + "/state")
				state := outputPath("hybrid-feed", "far") + "/state/"
				for range 2 {
					c.away(n)
					w.is(soon, state+"oper-status", "down")
					if c.reason != "" {
						w.is(soon, state+"down-reason", c.reason)
					} else { // no endpoint is known then, and no address either
						w.until(soon, "a reason", func(l leaves) bool {
							return slices.Contains([]string{"endpoint-unresolved", "no-address"}, l[state+"down-reason"])
						})
					}
					far.Quiet(quiet / 2)
					had := far.Received()
					c.back(n)
					begin := time.Now()
					far.Wait(had+1, soon)
					t.Logf("%s: back after %v", engine, time.Since(begin).Round(time.Millisecond))
					w.is(soon, state+"oper-status", "up")
					w.is(soon, state+"endpoint", "10.4.0.2")
					reaches(far, 200, patience)
					if c.name == "renamed, and another comes under its name" {
						n.rtr.Delete("x")
					}
				}
				sent := live.Stop().Sent
				lan.Exactly(sent)
				spoke.Exactly(sent)
				o := d.output("hybrid-feed", "far")
				if sum := o.num("counters/packets") + o.num("counters/not-ready") + o.num("counters/errors"); sum != sent {
					t.Errorf("packets, not-ready and errors are %d together, %d were sent\n%v", sum, sent, o)
				}
				if o["local-port"] != port {
					t.Errorf("source port %s, before %s", o["local-port"], port)
				}
			})
		})
	}
}

// D3, D1: the source of a HER copy is the address of its interface, as the route to the endpoint prefers it, and follows; an explicit one
// goes before it. The source port stays.
func TestD3_SourceOfHERCopies(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		n := newTunnel(t)
		far := n.far.Sink("10.4.0.2:5000")
		d := runRules(t, n.rtr, engine)
		d.autoHER(true)
		d.must(d.setRules(hybridRule(multi("far", "tun0", group, 5000))))
		out := outputPath("hybrid-feed", "far")
		d.up("hybrid-feed", "far")
		port, total := d.output("hybrid-feed", "far")["local-port"], map[string]uint64{}
		from := func(source string) {
			t.Helper()
			d.await(out+"/state/local-address", source)
			n.src.Send(feed(50))
			total[source] += 50
			all := uint64(0)
			for _, count := range total {
				all += count
			}
			r := far.Exactly(all)
			for source, count := range total {
				if got := r.Sources[netip.MustParseAddrPort(source+":"+port)]; got != count {
					t.Errorf("%d from %s:%s, want %d; seen %v", got, source, port, count, r.Sources)
				}
			}
		}
		from("10.4.0.1")
		n.rtr.ReAddress("tun0", "")
		n.rtr.Peer("tun0", "10.4.0.8", "10.4.0.2")
		from("10.4.0.8")
		n.rtr.Addr("tun0", "10.4.9.9/32")
		n.rtr.Run("ip", "route", "replace", "10.4.0.2/32", "dev", "tun0", "src", "10.4.9.9")
		from("10.4.9.9")
		d.must(d.update(out+"/config/source-address", "10.0.0.2"))
		from("10.0.0.2")
		d.must(d.update(out+"/config/source-address", "10.1.1.1"))
		d.down("hybrid-feed", "far", "no-address")
		d.must(d.remove(out + "/config/source-address"))
		from("10.4.9.9")
		if ttl := far.Report(0).TTL; len(ttl) != 1 || ttl[64] == 0 {
			t.Errorf("TTL %v, want 64: they are unicast", ttl)
		}
		t.Logf("all from port %s: %s", port, fmt.Sprint(total))
	})
}
