// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"mcr/tests/lab"
)

// churn changes interfaces, addresses and routes of a router at random, and keeps no more account than it takes to do what is possible.
//
//	c0 c5 …  veth, the other end c0.x beside it        c1 …  dummy        c2 …  bridge
//	c3 …     VLAN on trunk                              c4 …  TUN that no program has open
type churn struct {
	rng       *rand.Rand
	rtr, away *lab.Host
	kinds     []string
	links     []churned
	routes    [churnRoutes]bool
	done      map[string]int // by what was done
}

// churned is an interface that comes and goes.
type churned struct {
	kind, name string // now; the name it is made with is c and its number
	here, gone bool   // it exists; it is in the other namespace
	addrs      map[string]bool
}

const churnRoutes = 8

func newChurn(t *testing.T, rtr, away *lab.Host, n int) *churn {
	c := &churn{rng: rand.New(rand.NewPCG(7, 11)), rtr: rtr, away: away, done: map[string]int{}, kinds: []string{"veth", "dummy", "bridge", "vlan", "tun"}}
	rtr.Run("ip", "link", "add", "trunk", "type", "veth", "peer", "name", "trunk.x")
	rtr.Run("ip", "link", "set", "trunk", "up")
	rtr.Run("ip", "link", "set", "trunk.x", "up")
	for kind, link := range map[string]netlink.Link{"dummy": &netlink.Dummy{LinkAttrs: lab.Attrs("try")}, "vlan": vlanOn(rtr, "trunk")} {
		if !rtr.Has(link) {
			t.Logf("no %s interfaces: this kernel has no driver for them", kind)
			c.kinds = slices.DeleteFunc(c.kinds, func(k string) bool { return k == kind })
		}
	}
	for i := range n {
		c.links = append(c.links, churned{kind: c.kinds[i%len(c.kinds)], addrs: map[string]bool{}})
	}
	return c
}

func churnName(i int) string { return fmt.Sprint("c", i) }

// outputs are one multicast output on each interface, every other one in head-end replication by its own word, and one to a host behind each
// of the routes that come and go.
func (c *churn) outputs() (all []obj) {
	for i := range c.links {
		o := multi(churnName(i), churnName(i), fmt.Sprint("239.8.0.", 1+i), 5000)
		if i%2 == 1 {
			o = with(o, obj{"her-mode": "auto"})
		}
		all = append(all, o)
	}
	for r := range churnRoutes {
		all = append(all, uni(fmt.Sprint("far", r), "out", fmt.Sprintf("10.98.%d.1", r), churnPort))
	}
	return all
}

const churnPort = 7098 // of the hosts behind these routes

// step does one change.
func (c *churn) step() {
	i := c.rng.IntN(len(c.links) + 2)
	if i >= len(c.links) {
		c.route()
		return
	}
	l := &c.links[i]
	switch {
	case l.gone:
		c.count("moved back")
		c.away.Move(l.name, c.rtr)
		l.gone, l.here = false, true
	case !l.here:
		c.count("made")
		c.make(i, l)
	default:
		c.change(i, l)
	}
}

func (c *churn) count(what string) { c.done[what]++ }

func (c *churn) ip(words string) { c.rtr.Run(append([]string{"ip"}, strings.Fields(words)...)...) }

func (c *churn) make(i int, l *churned) {
	name := churnName(i)
	*l = churned{kind: l.kind, name: name, here: true, addrs: map[string]bool{}}
	switch l.kind {
	case "veth":
		c.ip("link add " + name + " type veth peer name " + name + ".x")
		c.ip("link set " + name + ".x up")
	case "vlan":
		c.ip(fmt.Sprintf("link add link trunk name %s type vlan id %d", name, 10+i))
	case "tun":
		c.ip("tuntap add dev " + name + " mode tun")
	default:
		c.ip("link add " + name + " type " + l.kind)
	}
	c.ip("link set " + name + " up")
}

// change changes an interface that is there.
func (c *churn) change(i int, l *churned) {
	set := func(what, words string) {
		c.count(what)
		c.ip("link set " + l.name + " " + words)
	}
	switch c.rng.IntN(12) {
	case 0:
		c.count("deleted")
		c.ip("link del " + l.name)
		l.here = false
	case 1:
		to := churnName(i)
		if l.name == to {
			to = fmt.Sprint("r", i)
		}
		set("renamed", "down") // kernels before 6.2 want that
		c.ip("link set " + l.name + " name " + to)
		l.name = to
	case 2:
		if l.kind == "bridge" { // the kernel leaves it where it is
			set("down", "down")
			return
		}
		c.count("moved away")
		c.rtr.Move(l.name, c.away)
		l.here, l.gone, l.addrs = false, true, map[string]bool{}
	case 3, 4:
		set("multicast on", "multicast on")
	case 5, 6:
		set("multicast off", "multicast off")
	case 7:
		set("down", "down")
	case 8, 9:
		set("up", "up")
	case 10:
		set("MTU", fmt.Sprint("mtu ", 1300+c.rng.IntN(100)))
	default:
		c.address(i, l)
		c.address(i, l)
	}
}

// address gives or takes one of an interface's addresses: a subnet, a peer, a /31, a /30.
func (c *churn) address(i int, l *churned) {
	n := 20 + i
	all := []string{
		fmt.Sprintf("10.%d.0.1/24", n), fmt.Sprintf("10.%d.1.1 peer 10.%d.1.2", n, n), fmt.Sprintf("10.%d.2.0/31", n), fmt.Sprintf("10.%d.3.1/30", n),
	}
	which := c.rng.IntN(len(all))
	if which >= 2 && l.addrs[all[5-which]] { // not two of the same rank: which of them is used is nobody's promise
		which = 5 - which
	}
	addr := all[which]
	verb := "add"
	if l.addrs[addr] {
		verb = "del"
	}
	l.addrs[addr] = !l.addrs[addr]
	c.count("address " + verb)
	c.ip("addr " + verb + " " + addr + " dev " + l.name)
}

func (c *churn) route() {
	r := c.rng.IntN(churnRoutes)
	verb := "add"
	if c.routes[r] {
		verb = "del"
	}
	c.routes[r] = !c.routes[r]
	c.count("route " + verb)
	c.ip(fmt.Sprintf("route %s 10.98.%d.0/24 via 10.0.2.2", verb, r))
}

// wrong says what state of the outputs does not follow from what the kernel has now; global auto-her is on.
func (c *churn) wrong(t *testing.T, state leaves) error {
	t.Helper()
	links := map[string]*kernelLink{}
	own := map[string]bool{}
	for _, k := range kernelLinks(t, c.rtr) {
		links[k.Name] = &k
		for _, a := range k.Addrs {
			own[a.Local] = true
		}
	}
	var bad []string
	check := func(output, what, got string, want ...string) {
		if !slices.Contains(want, got) {
			bad = append(bad, fmt.Sprintf("%s: %s is %q, want %q", output, what, got, want))
		}
	}
	for i := range c.links {
		name := churnName(i)
		s := state.below(outputPath("r", name) + "/state/")
		k := links[name]
		if k == nil {
			check(name, "down-reason", s["down-reason"], "interface-missing")
			continue
		}
		her := !k.has("MULTICAST") && (i%2 == 1 || k.has("POINTOPOINT"))
		endpoint := ""
		for _, e := range k.candidates(nil, own) {
			if e.passedOver == "none" {
				endpoint = e.addr
			}
		}
		check(name, "her-active", s["her-active"], fmt.Sprint(her))
		switch {
		case !k.has("UP") || k.Oper != "UP" && k.Oper != "UNKNOWN":
			check(name, "down-reason", s["down-reason"], "interface-down")
		case len(k.Addrs) == 0 && her:
			check(name, "down-reason", s["down-reason"], "no-address", "endpoint-unresolved")
		case len(k.Addrs) == 0:
			check(name, "down-reason", s["down-reason"], "no-address")
		case her && endpoint == "":
			check(name, "down-reason", s["down-reason"], "endpoint-unresolved")
		case her: // nobody may be there to answer ARP
			check(name, "down-reason", s["down-reason"], "none", "send-failing")
			check(name, "endpoint", s["endpoint"], endpoint)
		default:
			check(name, "down-reason", s["down-reason"], "none")
		}
	}
	for r, there := range c.routes {
		name := fmt.Sprint("far", r)
		s := state.below(outputPath("r", name) + "/state/")
		if there {
			check(name, "down-reason", s["down-reason"], "none")
		} else {
			check(name, "down-reason", s["down-reason"], "no-route")
		}
	}
	if len(bad) == 0 {
		return nil
	}
	return fmt.Errorf("%d outputs are not as they should be:\n%s", len(bad), strings.Join(bad[:min(len(bad), 20)], "\n"))
}

// A thousand random changes a minute of links, addresses and routes under traffic: standing branches lose nothing and get nothing twice,
// and at the end state is the kernel's, leaf by leaf, and each output's what follows from it. P2.1, P2.7, P1.10, F3.
func TestSoak_LinkChanges(t *testing.T) { // not parallel: it measures
	const branches, interfaces, perMinute = 100, 25, 1000
	for _, engine := range soakEngines() {
		t.Run(engine, func(t *testing.T) {
			p := newPlant(t, engine, branches, 4)
			c := newChurn(t, p.rtr, p.l.Host("away"), interfaces)
			p.dst.Run("ip", "route", "add", "local", "10.98.0.0/16", "dev", "lo")
			listen(t, p.dst, "0.0.0.0", churnPort)
			p.c.must(p.c.update("mcr/forwarding/config/auto-her-for-p2p-tunnels", true))
			p.c.must(p.c.update(rulePath("r")+"/outputs", obj{"output": c.outputs()}))
			p.settle()
			overrun, memory, used := p.c.rule("r").num("counters/dropped-overrun"), resident(t, p.d), processorTime(t, p.d)

			s := p.src.StartSend(p.stream(1000))
			tick := time.NewTicker(time.Minute / perMinute)
			defer tick.Stop()
			begin, changes := time.Now(), 0
			for end := length(20*time.Second, 5*time.Minute); time.Since(begin) < end; changes++ {
				<-tick.C
				c.step()
			}
			lasted := time.Since(begin)
			at := time.Now()
			a := agreement{daemon: daemon{p.d, p.c}, h: p.rtr, autoHER: true}
			compared := a.holds(patience, "at the end")
			lab.Until(t, patience, "outputs follow", func() error { return c.wrong(t, p.c.get(rulePath("r")+"/outputs")) })
			settled := time.Since(at)
			sent := s.Stop().Sent
			used = processorTime(t, p.d) - used
			got := p.account()
			if lost := p.c.rule("r").num("counters/dropped-overrun") - overrun; got != sent || lost != 0 {
				t.Errorf("%d datagrams were sent, a standing branch got %d, the input's queues lost %d", sent, got, lost)
			}
			if did := float64(changes) / lasted.Minutes(); *soak && did < 0.9*perMinute {
				t.Errorf("%.0f changes a minute, want %d", did, perMinute)
			}
			logged(t, p.d, 0, 0, "level=ERROR")
			t.Logf("%s: %d changes in %v (%.0f a minute): %v; %d datagrams to each of %d branches, none lost; %d leaves as the kernel has them, %v after the last change; "+
				"%v of processor, memory %+d kB", engine, changes, lasted.Round(time.Second), float64(changes)/lasted.Minutes(), c.done, got, branches,
				compared, settled.Round(time.Millisecond), used.Round(time.Millisecond), resident(t, p.d)-memory)
		})
	}
}
