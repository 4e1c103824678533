// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mcr/dataplane/plan"
)

// hub builds Plans for an output that stands for several hosts: head 1, with an instance for each host where there are several, and
// beside it the sibling, output 2. Without a port of its own, what is for a host keeps the port that arrives.
type hub struct {
	*lab
	port      uint16 // of the entry; 0: every port
	sibling   *plan.Output
	next      plan.OutputID
	instances map[string]*plan.Output // by host
	kept      map[plan.OutputID]*plan.Output
}

func (l *lab) hub(port uint16) *hub {
	return &hub{
		lab: l, port: port, sibling: l.output(2, "10.9.9.9:7000"), next: 10,
		instances: map[string]*plan.Output{}, kept: map[plan.OutputID]*plan.Output{},
	}
}

func (h *hub) to(id plan.OutputID, host string) *plan.Output {
	return h.output(id, fmt.Sprintf("%s:%d", host, h.port))
}

// plan sends to these hosts. What is for one that stays is the same as before.
func (h *hub) plan(hosts ...string) *plan.Plan {
	head := h.to(1, "0.0.0.0")
	first := &plan.List{ID: 1, Outputs: []*plan.Output{head, h.sibling}}
	switch len(hosts) {
	case 0:
		head.Up = false
	case 1:
		*head = *h.to(1, hosts[0])
	default:
		for host := range h.instances {
			if !slices.Contains(hosts, host) {
				delete(h.instances, host)
			}
		}
		for _, host := range hosts {
			o := h.instances[host]
			if o == nil {
				h.next++
				o = h.to(h.next, host)
				o.Branch = head.ID
				h.instances[host] = o
			}
			first.Outputs = append(first.Outputs, o)
		}
		slices.SortFunc(first.Outputs, func(a, b *plan.Output) int { return int(a.ID) - int(b.ID) })
	}
	if len(hosts) < 2 {
		h.instances = map[string]*plan.Output{}
	}
	if h.port != 0 {
		return h.onePoint(first)
	}
	second, before := &plan.List{ID: 2}, h.kept
	h.kept = map[plan.OutputID]*plan.Output{}
	for _, of := range first.Outputs {
		if of.Dest.Port() != 0 || of.ID == head.ID && len(hosts) > 1 {
			continue
		}
		o := *of
		o.Branch, o.Dest = of.ID, netip.AddrPortFrom(of.Dest.Addr(), groupPort)
		is := before[of.ID]
		if is == nil || is.Dest != o.Dest || is.Up != o.Up {
			h.next++
			o.ID = h.next
			is = &o
		}
		h.kept[of.ID] = is
		second.Outputs = append(second.Outputs, is)
	}
	slices.SortFunc(second.Outputs, func(a, b *plan.Output) int { return int(a.ID) - int(b.ID) })
	return h.onePoint(first, second)
}

var hosts = []string{"10.9.0.1", "10.9.0.2", "10.9.0.3"}

// P3.8, P4.4: an output that stands for several hosts is the sum of them, exact, whichever come and go, and never goes back; with none it
// counts what it misses. Its copies leave from one port, and each host has each datagram once.
func TestP3_8_HeadIsTheSumOfItsHosts(t *testing.T) {
	for name, port := range map[string]uint16{"one-port": groupPort, "every-port": 0} {
		t.Run(name, func(t *testing.T) {
			shards(t, func(t *testing.T, l *lab, e *Engine) { sumOfHosts(t, l, e, port) })
		})
	}
}

func sumOfHosts(t *testing.T, l *lab, e *Engine, port uint16) {
	h := l.hub(port)
	seed := rand.Uint64()
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	source := l.source(5, 0)
	receivers, want := map[string]*receiver{}, map[string]int{}
	for _, host := range hosts {
		receivers[host] = l.receiver(fmt.Sprintf("%s:%d", host, groupPort))
	}
	all := l.receiver("10.9.9.9:7000")
	l.apply(e, h.plan(hosts[0]))

	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		var last plan.OutputCounters
		for {
			c, _, ok := e.Output(1)
			if !ok || c.Packets < last.Packets || c.Octets < last.Octets || c.NotReady < last.NotReady || c.Errors != 0 {
				t.Errorf("the head counts %+v after %+v, %v", c, last, ok)
				return
			}
			last = c
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	sent, copies, missed := 0, uint64(0), uint64(0)
	for round := range some(60) {
		var now []string
		for _, host := range hosts {
			if rng.IntN(2) == 0 {
				now = append(now, host)
			}
		}
		l.apply(e, h.plan(now...))
		l.send(source, numbered(7, 100)...)
		sent += 7
		copies += uint64(7 * len(now))
		if len(now) == 0 {
			missed += 7
		}
		for _, host := range now {
			want[host] += 7
		}
		eventually(t, fmt.Sprintf("round %d, %v: %d packets, %d missed", round, now, copies, missed), func() bool {
			c, _, _ := e.Output(1)
			sibling, _, _ := e.Output(2)
			return c.Packets == copies && c.Octets == 100*copies && c.NotReady == missed && sibling.Packets == uint64(sent)
		})
	}
	close(stop)
	wg.Wait()
	from := map[netip.AddrPort]bool{}
	for host, r := range receivers {
		got := r.all(want[host])
		if len(got) != want[host] {
			t.Errorf("%s got %d, want %d", host, len(got), want[host])
		}
		for _, g := range got {
			from[g.from] = true
		}
	}
	if len(from) != 1 {
		t.Errorf("copies came from %v, want one address and port", from)
	}
	if n := len(all.all(sent)); n != sent {
		t.Errorf("the sibling got %d, want %d", n, sent)
	}
	l.apply(e, &plan.Plan{})
	if len(e.outputs)+len(e.points)+len(e.lists)+len(e.egresses)+e.sockets != 0 {
		t.Errorf("left: %d outputs, %d points, %d lists, %d egresses, %d sockets", len(e.outputs), len(e.points), len(e.lists), len(e.egresses), e.sockets)
	}
}

// P2.6, F2: while hosts come and go under traffic, those that stay, and the sibling, get each datagram once, in order; also the one that is
// the only one now and one of several then.
func TestP2_6_HostThatStaysMissesNothing(t *testing.T) {
	for name, port := range map[string]uint16{"one-port": groupPort, "every-port": 0} {
		t.Run(name, func(t *testing.T) {
			engines(t, func(t *testing.T, l *lab, e *Engine) { hostStays(t, l, e, port) })
		})
	}
}

func hostStays(t *testing.T, l *lab, e *Engine, port uint16) {
	h := l.hub(port)
	stays, sibling := l.receiver(fmt.Sprintf("%s:%d", hosts[0], groupPort)), l.receiver("10.9.9.9:7000")
	for _, host := range hosts[1:] {
		l.receiver(fmt.Sprintf("%s:%d", host, groupPort))
	}
	l.apply(e, h.plan(hosts[0]))
	source := l.source(5, 0)
	stop := make(chan struct{})
	var sent atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		pace := time.NewTicker(100 * time.Microsecond)
		defer pace.Stop()
		for {
			if _, err := fmt.Fprintf(source, "%08d", sent.Load()); err != nil {
				t.Error(err)
				return
			}
			sent.Add(1)
			select {
			case <-stop:
				return
			case <-pace.C:
			}
		}
	})
	for i := range some(120) {
		l.apply(e, h.plan([][]string{{hosts[0], hosts[1]}, hosts, {hosts[0], hosts[2]}, {hosts[0]}}[i%4]...))
		enough := sent.Load() + 5
		eventually(t, "more datagrams", func() bool { return sent.Load() >= enough })
	}
	close(stop)
	wg.Wait()
	n := int(sent.Load())
	for name, r := range map[string]*receiver{"the host that stays": stays, "the sibling": sibling} {
		got := payloads(r.rest())
		for i, p := range got {
			if want := fmt.Sprintf("%08d", i); p != want {
				t.Fatalf("%s: datagram %d is %s of %d", name, i, p, n)
			}
		}
		if len(got) != n {
			t.Errorf("%s got %d of %d", name, len(got), n)
		}
	}
	if c, _, _ := e.Output(1); c.Packets < uint64(n) || c.Errors+c.NotReady != 0 {
		t.Errorf("the head counts %+v, %d were sent", c, n)
	}
}

// An output that shares counts what the other sends, from when it began to, and goes on when the other goes.
func TestP3_7_SharedOutputCountsWhatTheOtherSends(t *testing.T) {
	engines(t, func(t *testing.T, l *lab, e *Engine) {
		source, r := l.source(5, 0), l.receiver("10.9.0.1:5000")
		named, alone, sharing := l.output(1, "10.9.0.1:5000"), l.output(2, "10.9.0.1:5000"), l.output(2, "10.9.0.1:5000")
		sharing.Up, sharing.Shares = false, 1
		total := uint64(0)
		check := func(what string, first, second uint64) {
			t.Helper()
			l.send(source, numbered(10, 100)...)
			total += 10
			eventually(t, what+": counted", func() bool { c, _ := e.List(1); return c.Packets == total })
			l.tryApply(e, e.plan)
			a, _, _ := e.Output(1)
			b, _, _ := e.Output(2)
			if a.Packets != first || b.Packets != second || b.Octets != 100*second || b.NotReady != 0 {
				t.Errorf("%s: %d and %d packets, want %d and %d; %+v", what, a.Packets, b.Packets, first, second, b)
			}
		}
		list := func(os ...*plan.Output) *plan.Plan { return l.onePoint(&plan.List{ID: 1, Outputs: os}) }
		l.apply(e, list(named))
		check("the named one alone", 10, 0)
		l.apply(e, list(named, sharing))
		check("both", 20, 10)
		l.apply(e, list(alone))
		check("the named one goes", 0, 20)
		l.apply(e, list(l.output(1, "10.9.0.1:5000"), sharing))
		check("a new one comes", 10, 30)
		l.apply(e, list(l.output(3, "10.9.0.2:5000")))
		if n := len(r.all(int(total))); uint64(n) != total {
			t.Errorf("%d received, %d sent", n, total)
		}
		// What a Plan says against the rules is survived.
		self, circle := l.output(7, "10.9.0.3:5000"), l.output(8, "10.9.0.3:5000")
		self.Shares, circle.Shares = 8, 7
		odd := l.output(9, "10.9.0.3:5000")
		odd.Shares, odd.Branch = 9, 9
		l.apply(e, list(self, circle, odd))
		for id := plan.OutputID(7); id <= 9; id++ {
			if c, _, ok := e.Output(id); !ok || c.Packets != 0 {
				t.Errorf("output %d: %+v %v", id, c, ok)
			}
		}
		l.apply(e, &plan.Plan{})
		if len(e.outputs)+e.sockets != 0 {
			t.Errorf("left: %d outputs, %d sockets", len(e.outputs), e.sockets)
		}
	})
}
