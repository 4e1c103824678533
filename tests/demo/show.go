// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"time"

	"mcr/tests/lab"
)

const (
	rule = "eth0:239.1.1.1:5000" // the name that mcrctl add gives
	rate = 1000                  // datagrams a second
	size = 1316                  // bytes of payload, as of an MPEG transport stream: 10.5 Mbit/s

	// patience is for what should be there at once; the machine may be busy.
	patience = 10 * time.Second
)

// roadmapAdd is the command line of the roadmap.
const roadmapAdd = "add --input-interface eth0 --input-group 239.1.1.1 --input-port 5000 " +
	"--outputs 239.1.1.1:5000:eth1,239.1.1.1:5000:gre0@10.2.0.5"

const picture = `
   source                          mcr                             receivers
   10.0.0.1 ── 239.1.1.1:5000 ──►  eth0 ─ mcrd ─┬─ eth1 ────────►  lan     joins 239.1.1.1
                                                ├─ gre0 ══tun═══►  tunnel  10.2.0.5   multicast off, peer address
                                                └─ wg0 ─┬───────►  A       10.1.0.5 ┐
                                                        ├───────►  B       10.3.0.5 ├ multicast off
                                                        └───────►  C       10.4.0.5 ┘`

// show is what the demo works on.
type show struct {
	t        lab.TB
	src, rtr *lab.Host
	mcrd     *lab.MCRD
	gnmi     *client

	lan, tunnel, a, b, c, d *receiver
}

// build makes the topology and its receivers, and starts mcrd.
func build(t lab.TB) *show {
	t.Logf("MCR: multicast comes in, and goes out as multicast and as unicast\n%s", picture)
	l := lab.New(t)
	s := &show{t: t, src: l.Host("source"), rtr: l.Host("mcr")}
	lan, hub := l.Host("lan"), l.Host("hub")
	l.Link(s.src, "eth0", "10.0.0.1/24", s.rtr, "eth0", "10.0.0.2/24")
	l.Link(s.rtr, "eth1", "10.0.1.2/24", lan, "eth0", "10.0.1.1/24")
	l.Link(s.rtr, "wg0", "10.0.9.1/24", hub, "eth0", "10.0.9.2/24")
	s.rtr.Multicast("wg0", false)
	s.rtr.NoChecksumOffload("eth1") // so that what arrives has the checksum that a wire would carry
	s.rtr.NoChecksumOffload("wg0")

	s.lan = newReceiver(t, "lan", "239.1.1.1", "eth1", 15, lan.GroupSink("eth0", "239.1.1.1:5000"), lan.Tap("eth0"))
	s.tunnel = newReceiver(t, "tunnel", "10.2.0.5", "gre0", 64, nil, s.rtr.TUN("gre0", "10.2.0.1", "10.2.0.5").Capture)
	wire := hub.Tap("eth0")
	spoke := func(name, addr string) *receiver {
		hub.Addr("eth0", addr+"/32")
		s.rtr.Route(addr+"/32", "dev wg0")
		return newReceiver(t, name, addr, "wg0", 64, hub.Sink(addr+":5000"), wire)
	}
	s.a, s.b, s.c, s.d = spoke("A", "10.1.0.5"), spoke("B", "10.3.0.5"), spoke("C", "10.4.0.5"), spoke("D", "10.5.0.5")
	s.mcrd = s.rtr.MCRD(lab.MCRDConfig{})
	s.gnmi = &client{t, s.mcrd.GNMI()}
	return s
}

// play is the demo.
func (s *show) play() {
	s.configure()
	sender := s.send()
	s.telemetry(s.lan, s.tunnel, s.a, s.b, s.c)
	sent := s.replace(sender)
	sent += s.crash(s.lan, s.tunnel, s.a, s.b, s.d)
	s.judge(sent)
}

func (s *show) send() *lab.Sender {
	return s.src.StartSend(lab.Stream{Iface: "eth0", Group: "239.1.1.1", Port: 5000, Size: size, Rate: rate})
}

// step prints a heading.
func (s *show) step(format string, a ...any) { s.t.Logf("\n── %s", fmt.Sprintf(format, a...)) }

// configure makes the rule: two outputs with the roadmap's command line, three more with one gNMI Set.
func (s *show) configure() {
	s.step("1  Configure: the roadmap's command line, and one gNMI Set")
	s.t.Logf("$ mcrctl %s", roadmapAdd)
	s.ctl(strings.Fields(roadmapAdd)...)
	s.t.Logf("gNMI Set: update %s/outputs: A, B and C", rulePath)
	var outs []any
	for _, r := range []*receiver{s.a, s.b, s.c} {
		outs = append(outs, r.output())
	}
	s.gnmi.set("", rulePath+"/outputs", map[string]any{"output": outs})
	s.t.Logf("$ mcrctl list\n%s", strings.TrimRight(s.ctl("list"), "\n"))
}

func (s *show) ctl(args ...string) string {
	p := s.mcrd.Ctl(args...)
	if err := p.Wait(patience); err != nil {
		s.t.Fatalf("mcrctl %s: %v\n%s", strings.Join(args, " "), err, p.Stderr.String())
	}
	return p.Stdout.String()
}

// replace puts D in the place of C while the stream runs, and ends the stream. It returns how many datagrams were sent.
func (s *show) replace(sender *lab.Sender) uint64 {
	s.step("3  Replace a branch under traffic: C goes and D comes, in one gNMI Set")
	begin := time.Now()
	s.gnmi.set(s.c.path(), s.d.path(), s.d.output())
	s.t.Logf("in force after %.1f ms", time.Since(begin).Seconds()*1e3)
	s.d.more(rate)
	sent := sender.Stop().Sent
	for _, r := range []*receiver{s.lan, s.tunnel, s.a, s.b} {
		r.has(sent)
	}
	s.d.has(sent - s.c.received())
	s.t.Logf("%d were sent: C got the first %d and D the other %d, the siblings all of them", sent, s.c.received(), s.d.received())
	for _, r := range []*receiver{s.lan, s.tunnel, s.a, s.b, s.d} {
		s.gnmi.counts(r.path()+"/state/counters/packets", r.received())
	}
	s.gnmi.counts(rulePath+"/state/counters/packets", sent)
	s.t.Logf("mcrd's counters say the same, branch by branch")
	return sent
}

// crash kills mcrd while a second stream runs, and starts it again. It returns how many datagrams that stream had.
func (s *show) crash(live ...*receiver) uint64 {
	s.step("4  Kill mcrd with SIGKILL under traffic, and start it again")
	sender := s.send()
	for _, r := range live {
		r.more(rate / 2)
	}
	began, first := time.Now(), sender.Sent()
	pid := s.mcrd.Pid()
	s.mcrd.Kill()
	s.lan.quiet()
	s.t.Logf("killed, pid %d: nothing is forwarded", pid)
	s.mcrd.Start()
	for _, r := range live {
		r.more(1)
		r.gap = r.holes()
	}
	lostAtMost := sender.Sent() - first + 64 // what mcrd had received and not sent is lost with it
	s.t.Logf("started, pid %d: %.0f ms after the kill all branches flow again, by the stored configuration", s.mcrd.Pid(), time.Since(began).Seconds()*1e3)
	for _, r := range live {
		r.more(rate)
		if r.gap == 0 || r.gap > lostAtMost {
			s.t.Errorf("%s: %d lost in the outage, while at most %d were sent", r.name, r.gap, lostAtMost)
		}
	}
	return sender.Stop().Sent
}

// judge prints what everybody got of all that was sent, and fails on each wrong figure.
func (s *show) judge(sent uint64) {
	s.step("5  What the receivers got of %d datagrams", sent)
	share := s.c.received()
	s.c.want, s.d.want = share, sent-share
	all := []*receiver{s.lan, s.tunnel, s.a, s.b, s.c, s.d}
	for _, r := range all {
		if r != s.c && r != s.d {
			r.want = sent
		}
		r.has(r.want - r.gap)
		r.quiet()
	}
	s.t.Logf("%s", tableHead)
	for _, r := range all {
		row, faults := r.account()
		s.t.Logf("%s", row)
		for _, f := range faults {
			s.t.Errorf("%s: %s", r.name, f)
		}
	}
	s.t.Logf("\nLost are the datagrams of the outage, one stretch for each receiver. C and D share the stream that A and B have whole.")
}
