// SPDX-License-Identifier: Apache-2.0

package mroute

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
	"mcr/mroute/mrib"
	"mcr/mroute/netif"
)

// fakeDataplane takes plans and remembers the one that runs.
type fakeDataplane struct {
	mu       sync.Mutex
	running  *plan.Plan
	fails    map[string]error // by output name: its socket cannot be opened
	deaf     error            // no receive point can be opened
	held     bool             // another socket holds the address of every one
	info     plan.Info
	points   map[plan.PointKey]plan.PointCounters
	status   map[plan.OutputID]plan.OutputStatus
	list     plan.ListCounters
	point    plan.PointCounters
	totals   plan.TotalCounters
	events   chan plan.Event
	discards int
	refused  plan.IfIndex // the link whose outputs are not segmented
}

func newDataplane() *fakeDataplane {
	return &fakeDataplane{running: &plan.Plan{}, fails: map[string]error{}, status: map[plan.OutputID]plan.OutputStatus{}, info: plan.Info{SocketLimit: 1000}, points: map[plan.PointKey]plan.PointCounters{}, events: make(chan plan.Event, 1)}
}

type fakeAdoption struct {
	dp       *fakeDataplane
	plan     *plan.Plan
	problems []plan.Problem
}

func (d *fakeDataplane) Prepare(p *plan.Plan) (plan.Adoption, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := &fakeAdoption{dp: d, plan: p}
	known := map[any]bool{} // as the real one, it tells of what it tries: new pointers
	for _, pt := range d.running.Points {
		known[pt] = true
		for _, l := range pt.Any.Lists {
			for _, o := range l.Outputs {
				known[o] = true
			}
		}
	}
	for _, pt := range p.Points {
		if d.deaf != nil && !known[pt] {
			a.problems = append(a.problems, plan.Problem{Point: pt.PointKey, Err: d.deaf})
		}
		if d.held && !known[pt] && pt.Method == plan.MethodSocket {
			a.problems = append(a.problems, plan.Problem{Point: pt.PointKey, Err: unix.EADDRINUSE})
		}
		for _, l := range pt.Any.Lists {
			for _, o := range l.Outputs {
				if err := d.fails[o.Name]; err != nil && o.Up && !known[o] {
					a.problems = append(a.problems, plan.Problem{Output: o.ID, Err: err})
				}
			}
		}
	}
	return a, nil
}

func (a *fakeAdoption) Problems() []plan.Problem { return a.problems }

func (a *fakeAdoption) Commit() <-chan struct{} {
	a.dp.mu.Lock()
	defer a.dp.mu.Unlock()
	a.dp.running = a.plan
	ch := make(chan struct{})
	close(ch)
	return ch
}

func (a *fakeAdoption) Discard() {
	a.dp.mu.Lock()
	defer a.dp.mu.Unlock()
	a.dp.discards++
}

func (d *fakeDataplane) Output(id plan.OutputID) (plan.OutputCounters, plan.OutputStatus, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	st, ok := d.status[id]
	if !ok {
		st = plan.OutputStatus{LocalPort: 40000}
	}
	return plan.OutputCounters{}, st, true
}

func (d *fakeDataplane) List(plan.ListID) (plan.ListCounters, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.list, true
}

func (d *fakeDataplane) Point(k plan.PointKey) (plan.PointCounters, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c, ok := d.points[k]; ok {
		return c, true
	}
	return d.point, true
}

func (d *fakeDataplane) Totals() plan.TotalCounters {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.totals
}

// LinksChanged lets everything be segmented again.
func (d *fakeDataplane) LinksChanged(links map[plan.IfIndex]bool) (again bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, st := range d.status {
		if links[d.refused] && !st.GSOUsed {
			d.status[id], again = plan.OutputStatus{GSOUsed: true, GSOReason: "fits"}, true
		}
	}
	return again
}

func (d *fakeDataplane) Info() plan.Info {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.info
}
func (d *fakeDataplane) Events() <-chan plan.Event { return d.events }

func (d *fakeDataplane) version() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.running.Version
}

// copies are the outputs that are up in the running plan.
func (d *fakeDataplane) copies() (out []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, pt := range d.running.Points {
		for _, l := range pt.Any.Lists {
			for _, o := range l.Outputs {
				if o.Up {
					out = append(out, fmt.Sprintf("%v>%v@%s", o.Source, o.Dest, o.IfName))
				}
			}
		}
	}
	return out
}

// fakeHostNet is a host whose links a test changes.
type fakeHostNet struct {
	mu       sync.Mutex
	links    []*netif.Link
	noRoute  map[netip.Addr]bool
	prefer   map[netip.Addr]netip.Addr // sources of routes that name one
	filtered map[netip.Addr]bool
	asked    int
	events   chan netif.Event
}

func newHostNet(links ...*netif.Link) *fakeHostNet {
	return &fakeHostNet{links: links, noRoute: map[netip.Addr]bool{}, events: make(chan netif.Event, 1)}
}

func (h *fakeHostNet) Snapshot() *netif.Snapshot {
	h.mu.Lock()
	defer h.mu.Unlock()
	return netif.NewSnapshot(h.links...)
}
func (h *fakeHostNet) Events() <-chan netif.Event { return h.events }
func (h *fakeHostNet) SetAudit(time.Duration)     {}
func (h *fakeHostNet) Filtered(source netip.Addr, _ *netif.Link) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.filtered[source]
}

func (h *fakeHostNet) Route(dst netip.Addr, l *netif.Link) (netip.Addr, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	if h.noRoute[dst] {
		return netip.Addr{}, netif.ErrNoRoute
	}
	if src, ok := h.prefer[dst]; ok {
		return src, nil
	}
	return l.Addrs[0].IP, nil
}

func link(index plan.IfIndex, name, addr string) *netif.Link {
	l := &netif.Link{Index: index, Name: name, Up: true, Running: true, Oper: "UP", MTU: 1500}
	if addr != "" {
		l.Addrs = []netif.Addr{{IP: netip.MustParseAddr(addr)}}
	}
	return l
}

// rig is a Router in a synctest bubble with its fakes.
type rig struct {
	*Router
	t       *testing.T
	dp      *fakeDataplane
	host    *fakeHostNet
	strays  fakeStrays
	mu      sync.Mutex // the router's loop writes what follows
	rules   map[string]*RuleState
	outputs map[RuleOutputKey]*RuleOutputState
}

func startRig(t *testing.T, links ...*netif.Link) *rig {
	return startRigWith(t, slog.New(slog.DiscardHandler), nil, links...)
}

// startRigWith has batches taken by take, which may be nil.
func startRigWith(t *testing.T, log *slog.Logger, take func(*rig, Batch), links ...*netif.Link) *rig {
	g := &rig{t: t, dp: newDataplane(), host: newHostNet(links...), rules: map[string]*RuleState{}, outputs: map[RuleOutputKey]*RuleOutputState{}}
	publish := g.take
	if take != nil {
		publish = func(b Batch) { take(g, b) }
	}
	g.Router = New(Options{Log: log, Dataplane: g.dp, Netif: g.host, Strays: &g.strays, Publish: publish})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { _ = g.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return g
}

// take applies a batch, on the router's loop; tests read after synctest.Wait.
func (g *rig) take(b Batch) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for k, v := range b.Rules {
		if v == nil {
			delete(g.rules, k)
		} else {
			g.rules[k] = v
		}
	}
	for k, v := range b.RuleOutputs {
		if v == nil {
			delete(g.outputs, k)
		} else {
			g.outputs[k] = v
		}
	}
}

func (g *rig) set(rules ...*Rule) error {
	c := &Config{Rules: map[string]*Rule{}, Forwarding: Forwarding{UnicastTTL: 64}}
	for _, r := range rules {
		c.Rules[r.Name] = r
	}
	p, err := g.Prepare(g.t.Context(), c, false)
	if err != nil {
		return err
	}
	p.Commit(g.take)
	return nil
}

func (g *rig) event(ev netif.Event) {
	ev.Snapshot = g.host.Snapshot()
	g.host.events <- ev
	synctest.Wait()
}

func (g *rig) rule(name string) *RuleState {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.rules[name]
}

// reasons are the states of all outputs, in the form name=reason.
func (g *rig) reasons() map[string]string {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := map[string]string{}
	for k, v := range g.outputs {
		out[k.Output] = v.Oper.String() + " " + v.Reason.String()
	}
	return out
}

func twoOutputs() *Rule {
	g := netip.MustParseAddr("239.1.1.1")
	return &Rule{
		Name: "r", Enabled: true, Interface: "eth0", Group: g, Port: 5000, SilenceTimeout: 3 * time.Second,
		Outputs: []*Output{
			{Name: "lan", Enabled: true, Interface: "eth1", Group: g, Port: 5000, DSCP: plan.DSCPKeep},
			{Name: "spoke", Enabled: true, Interface: "tun0", Group: g, Unicast: netip.MustParseAddr("10.2.0.5"), Port: 5000, DSCP: plan.DSCPKeep},
		},
	}
}

func (g *rig) want(what string, got, want any) {
	g.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		g.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// P1.10, F3: outputs go down with a reason and come back by themselves, the others untouched.
func TestOutputsGoDownAndComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startRig(t, link(1, "eth0", "10.0.0.1"), link(2, "eth1", "10.1.0.1"))
		if err := g.set(twoOutputs()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		g.want("a missing interface", g.reasons(), map[string]string{"lan": "up none", "spoke": "down interface-missing"})
		g.want("copies", g.dp.copies(), []string{"10.1.0.1>239.1.1.1:5000@eth1"})
		g.want("rule", g.rule("r").Oper.String(), "degraded")

		g.host.links = append(g.host.links, link(3, "tun0", ""))
		g.event(netif.Event{Touched: map[plan.IfIndex]bool{3: true}})
		g.want("without an address", g.reasons(), map[string]string{"lan": "up none", "spoke": "down no-address"})

		g.host.links[2] = link(3, "tun0", "10.2.0.1")
		g.event(netif.Event{Touched: map[plan.IfIndex]bool{3: true}})
		g.want("complete", g.reasons(), map[string]string{"lan": "up none", "spoke": "up none"})
		g.want("rule", g.rule("r").Oper.String(), "up")

		g.host.noRoute[netip.MustParseAddr("10.2.0.5")] = true
		g.event(netif.Event{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.2.0.0/24")}})
		g.want("route gone", g.reasons(), map[string]string{"lan": "up none", "spoke": "down no-route"})

		g.host.noRoute = map[netip.Addr]bool{}
		g.host.links[2] = link(9, "tun0", "10.2.0.2")
		g.event(netif.Event{Touched: map[plan.IfIndex]bool{3: true, 9: true}})
		g.want("made again, other address", g.dp.copies(), []string{"10.1.0.1>239.1.1.1:5000@eth1", "10.2.0.2>10.2.0.5:5000@tun0"})
	})
}

// A route event asks the kernel about the outputs it is about, not about all.
func TestRouteEventAsksAboutItsPrefixAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startRig(t, link(1, "eth0", "10.0.0.1"), link(2, "eth1", "10.1.0.1"), link(3, "tun0", "10.2.0.1"))
		if err := g.set(twoOutputs()); err != nil {
			t.Fatal(err)
		}
		asked := g.host.asked
		g.event(netif.Event{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.2.0.0/24")}})
		if n := g.host.asked - asked; n != 1 {
			t.Errorf("%d questions, want 1", n)
		}
	})
}

// DESIGN §3: what the machine lacks refuses a Set and changes nothing; at start it leaves that output down.
func TestLackOfDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startRig(t, link(1, "eth0", "10.0.0.1"), link(2, "eth1", "10.1.0.1"), link(3, "tun0", "10.2.0.1"))
		g.dp.fails["r/spoke"] = fmt.Errorf("socket: %w", unix.EMFILE)
		err := g.set(twoOutputs())
		refusal, ok := errors.AsType[*RefusalError](err)
		if !ok || len(refusal.Refusals) != 1 || refusal.Refusals[0].Rule != "r" || refusal.Refusals[0].Output != "spoke" {
			t.Fatalf("error %v", err)
		}
		if g.dp.discards != 1 || len(g.dp.running.Points) != 0 {
			t.Errorf("discards %d, running %v", g.dp.discards, g.dp.running.Points)
		}
		c := &Config{Rules: map[string]*Rule{"r": twoOutputs()}, Forwarding: Forwarding{UnicastTTL: 64, MaximumSockets: 7}}
		p, err := g.Prepare(t.Context(), c, true)
		if err != nil {
			t.Fatal(err)
		}
		p.Commit(g.take)
		g.want("the dataplane's limit", g.dp.running.Settings.MaximumSockets, 7)
		g.want("at start", g.reasons(), map[string]string{"lan": "up none", "spoke": "down limit-exceeded"})
		g.host.links = append(g.host.links, link(7, "other", "10.7.0.1"))
		g.event(netif.Event{Touched: map[plan.IfIndex]bool{7: true}})
		g.want("after an event that is not about it", g.reasons(), map[string]string{"lan": "up none", "spoke": "down limit-exceeded"})
		version := g.dp.version()
		time.Sleep(3100 * time.Millisecond)
		synctest.Wait()
		g.want("after a retry in vain", g.reasons(), map[string]string{"lan": "up none", "spoke": "down limit-exceeded"})
		g.want("version of the table after retries in vain", g.dp.version(), version)
		g.dp.mu.Lock()
		delete(g.dp.fails, "r/spoke")
		g.dp.mu.Unlock()
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		g.want("after a descriptor became free", g.reasons(), map[string]string{"lan": "up none", "spoke": "up none"})
	})
}

// F1: what the dataplane says of a branch shows in its state, and goes by itself.
func TestFailingOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startRig(t, link(1, "eth0", "10.0.0.1"), link(2, "eth1", "10.1.0.1"), link(3, "tun0", "10.2.0.1"))
		if err := g.set(twoOutputs()); err != nil {
			t.Fatal(err)
		}
		id := g.outputs[RuleOutputKey{"r", "spoke"}].ID
		say := func(st plan.OutputStatus) {
			g.dp.mu.Lock()
			g.dp.status[id] = st
			g.dp.mu.Unlock()
			g.dp.events <- plan.Event{Outputs: []plan.OutputID{id}}
			synctest.Wait()
		}
		change := func() time.Duration { return time.Since(g.outputs[RuleOutputKey{"r", "spoke"}].LastChange) }
		time.Sleep(time.Hour)
		say(plan.OutputStatus{Failing: true, Err: unix.ECONNREFUSED})
		g.want("changed", change(), time.Duration(0))
		g.want("failing", g.reasons(), map[string]string{"lan": "up none", "spoke": "down send-failing"})
		g.want("rule counts it", g.rule("r").OutputsUp, 1)
		time.Sleep(time.Hour)
		say(plan.OutputStatus{Failing: true, Err: unix.EHOSTUNREACH})
		g.want("changed when it began to fail", change(), time.Hour)
		say(plan.OutputStatus{})
		g.want("good again", g.reasons(), map[string]string{"lan": "up none", "spoke": "up none"})
		g.want("changed again", change(), time.Duration(0))
		say(plan.OutputStatus{Failing: true, Err: unix.ECONNREFUSED})
		if err := g.set(); err != nil {
			t.Fatal(err)
		}
		g.want("what is remembered of outputs that are gone", len(g.faults), 0)
	})
}

// F6: an interface that refuses segmented sends shows on each of its outputs, not only on the one that met it.
func TestSegmentationRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startRig(t, link(1, "eth0", "10.0.0.1"), link(2, "eth1", "10.1.0.1"))
		r := twoOutputs()
		spoke := *r.Outputs[1]
		spoke.Interface = "eth1"
		r.Outputs[1] = &spoke
		status := func(used bool, reason string) {
			g.dp.mu.Lock()
			defer g.dp.mu.Unlock()
			for id := range plan.OutputID(3) {
				g.dp.status[id] = plan.OutputStatus{GSOUsed: used, GSOReason: reason}
			}
		}
		status(true, "fits")
		if err := g.set(r); err != nil {
			t.Fatal(err)
		}
		status(false, "refused")
		g.dp.events <- plan.Event{Outputs: []plan.OutputID{g.outputs[RuleOutputKey{"r", "spoke"}].ID}}
		synctest.Wait()
		shows := func(reason string) {
			t.Helper()
			synctest.Wait()
			for k, st := range g.outputs {
				g.want(k.Output, st.GSOReason, reason)
			}
		}
		shows("refused")
		g.dp.refused = 2
		for _, c := range []struct {
			ev     netif.Event
			reason string
		}{
			{netif.Event{All: true}, "refused"}, // an audit that finds nothing
			{netif.Event{Touched: map[plan.IfIndex]bool{1: true}}, "refused"},
			{netif.Event{Touched: map[plan.IfIndex]bool{2: true}}, "fits"},
		} {
			c.ev.Snapshot = g.host.Snapshot()
			g.host.events <- c.ev
			shows(c.reason)
		}
	})
}

// F3: the address that a route prefers may be another link's; with it the route goes, and the kernel does not tell.
func TestPreferredSourceOfAnotherLinkGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startRig(t, link(1, "eth0", "10.0.0.1"), link(2, "eth1", "10.1.0.1"), link(3, "tun0", "10.2.0.1"), link(4, "lo", "192.0.2.1"))
		spoke := netip.MustParseAddr("10.2.0.5")
		g.host.prefer = map[netip.Addr]netip.Addr{spoke: netip.MustParseAddr("192.0.2.1")}
		if err := g.set(twoOutputs()); err != nil {
			t.Fatal(err)
		}
		g.want("copies", g.dp.copies(), []string{"10.1.0.1>239.1.1.1:5000@eth1", "192.0.2.1>10.2.0.5:5000@tun0"})
		g.host.noRoute[spoke] = true
		g.host.links[3] = link(4, "lo", "")
		g.event(netif.Event{Touched: map[plan.IfIndex]bool{4: true}})
		g.want("without it", g.reasons(), map[string]string{"lan": "up none", "spoke": "down no-route"})
	})
}

// A rule that is switched off stays as it was, whatever else of it is configured.
func TestDisabledRuleKeepsItsTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startRig(t, link(1, "eth0", "10.0.0.1"), link(2, "eth1", "10.1.0.1"))
		for range 2 {
			time.Sleep(time.Hour)
			off := twoOutputs()
			off.Enabled = false
			if err := g.set(off); err != nil {
				t.Fatal(err)
			}
		}
		g.want("output", time.Since(g.outputs[RuleOutputKey{"r", "lan"}].LastChange), time.Hour)
		g.want("rule", time.Since(g.rule("r").LastChange), time.Hour)
	})
}

// F7: what was lost before there was the rule says nothing about it.
func TestOldDropsAreNotOfANewInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startRig(t, link(1, "eth0", "10.0.0.1"), link(2, "eth1", "10.1.0.1"))
		g.dp.point.Overrun = 5
		if err := g.set(twoOutputs()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		g.want("status", g.rule("r").Status, InputNever)
	})
}

// F7: the input says within silence-timeout + 1 s what the stream does.
func TestInputStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startRig(t, link(1, "eth0", "10.0.0.1"), link(2, "eth1", "10.1.0.1"))
		if err := g.set(twoOutputs()); err != nil {
			t.Fatal(err)
		}
		pass := func(d time.Duration, each func()) string {
			for range int(d / (500 * time.Millisecond)) {
				g.dp.mu.Lock()
				each()
				g.dp.mu.Unlock()
				time.Sleep(500 * time.Millisecond)
			}
			synctest.Wait()
			st := g.rule("r")
			return st.Status.String() + " " + st.DiscardReason
		}
		nothing := func() {}
		g.want("at first", pass(5*time.Second, nothing), "never none")
		g.want("traffic", pass(2*time.Second, func() { g.dp.list.Packets++ }), "receiving none")
		g.want("a short gap", pass(2*time.Second, nothing), "receiving none")
		g.want("silence", pass(2*time.Second, nothing), "silent none")
		g.want("all dropped", pass(2*time.Second, func() { g.dp.list.DroppedTTL++ }), "discarding ttl")
		g.want("wrong checksums", pass(5*time.Second, func() { g.dp.totals.ChecksumErrors++ }), "discarding checksum")
		g.want("drops beside a stream", pass(2*time.Second, func() { g.dp.list.Packets++; g.dp.list.DroppedTTL++ }), "receiving none")
	})
}

func TestDeafInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startRig(t, link(1, "eth0", "10.0.0.1"), link(2, "eth1", "10.1.0.1"))
		g.dp.deaf = unix.EADDRINUSE
		if err := g.set(twoOutputs()); err != nil {
			t.Fatal(err)
		}
		st := g.rule("r")
		g.want("rule", fmt.Sprint(st.Oper, st.Reason, st.Status, st.Joined), "down address-in-use not-joined false")
		g.dp.mu.Lock()
		g.dp.deaf = nil
		g.dp.mu.Unlock()
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		st = g.rule("r")
		g.want("rule after the address became free", fmt.Sprint(st.Reason, st.Joined), "none true")
	})
}

func TestRuleGoesWithItsState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startRig(t, link(1, "eth0", "10.0.0.1"), link(2, "eth1", "10.1.0.1"))
		off := twoOutputs()
		off.Enabled = false
		for _, r := range []*Rule{twoOutputs(), off} {
			if err := g.set(r); err != nil {
				t.Fatal(err)
			}
		}
		g.want("disabled", g.reasons(), map[string]string{"lan": "down admin-disabled", "spoke": "down admin-disabled"})
		g.want("rule", g.rule("r").Reason, mrib.AdminDisabled)
		if err := g.set(); err != nil {
			t.Fatal(err)
		}
		if len(g.rules)+len(g.outputs) != 0 {
			t.Errorf("left: %v %v", g.rules, g.outputs)
		}
	})
}

func TestPrepareAfterStop(t *testing.T) {
	dp, host := newDataplane(), newHostNet()
	r := New(Options{Log: slog.New(slog.DiscardHandler), Dataplane: dp, Netif: host, Publish: func(Batch) {}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Prepare(t.Context(), &Config{}, false); !errors.Is(err, ErrStopped) {
		t.Errorf("error %v, want ErrStopped", err)
	}
}

// fakeStrays sees what a test says, once a group is looked for.
type fakeStrays struct {
	mu      sync.Mutex
	looking []netip.Addr
	there   map[plan.Sight]bool
}

func (s *fakeStrays) Look(groups []netip.Addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looking = groups
	return nil
}

func (s *fakeStrays) Seen() map[plan.Sight]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.there
}

func (s *fakeStrays) show(there map[plan.Sight]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.there = there
}

// F7: the stream of a silent input arrives on another interface.
func TestStreamOnWrongInterface(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startRig(t, link(1, "eth0", "10.0.0.1"), link(2, "eth1", "10.1.0.1"))
		if err := g.set(twoOutputs()); err != nil {
			t.Fatal(err)
		}
		sight := plan.Sight{IfIndex: 2, Group: netip.MustParseAddr("239.1.1.1"), Port: 5000}
		home := sight
		home.IfIndex = 1
		g.strays.show(map[plan.Sight]bool{sight: true, home: true})
		time.Sleep(2100 * time.Millisecond)
		synctest.Wait()
		g.want("status with the stream on both", g.rule("r").DiscardReason, "none")
		g.strays.show(map[plan.Sight]bool{sight: true})
		time.Sleep(2100 * time.Millisecond)
		synctest.Wait()
		st := g.rule("r")
		g.want("status", st.Status.String()+" "+st.DiscardReason, "discarding wrong-interface")
		g.strays.show(nil)
		time.Sleep(4 * time.Second)
		synctest.Wait()
		g.want("status when it stops", g.rule("r").Status.String(), "never")
		g.dp.mu.Lock()
		g.dp.list.Packets++
		g.dp.mu.Unlock()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		g.strays.mu.Lock()
		defer g.strays.mu.Unlock()
		if len(g.strays.looking) != 0 {
			t.Errorf("it looks for %v while the stream comes", g.strays.looking)
		}
	})
}
