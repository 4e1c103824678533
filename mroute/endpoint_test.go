// SPDX-License-Identifier: Apache-2.0

package mroute

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
	"mcr/mroute/mrib"
	"mcr/mroute/netif"
)

// tunnel is a point-to-point link without IFF_MULTICAST; peer may be empty.
func tunnel(index plan.IfIndex, name, addr, peer string) *netif.Link {
	l := link(index, name, addr)
	l.PointPoint, l.NoARP, l.Kind, l.Type = true, true, "tun", "none"
	if peer != "" {
		l.Addrs[0].Peer = netip.MustParseAddr(peer)
	}
	return l
}

// herRig is a rig with a LAN and a tunnel, and what of it follows endpoints.
type herRig struct {
	*rig
	cfg *Config
	log *logbook

	mu        sync.Mutex
	endpoints map[string]*EndpointState
	rows      map[EntryOutputKey]*EntryOutputState
	entries   map[mrib.EntryKey]*EntryState
}

// logbook keeps what is logged.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// lines are those since the last call that hold the text.
func (l *logbook) lines(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n = strings.Count(l.b.String(), text)
	l.b.Reset()
	return n
}

// startHER begins with rule r: lan on eth1, and tun, multicast on tun0, with head-end replication on point-to-point links.
func startHER(t *testing.T, links ...*netif.Link) *herRig {
	links = append([]*netif.Link{link(1, "eth0", "10.0.0.1"), link(2, "eth1", "10.1.0.1")}, links...)
	for _, l := range links[:2] {
		l.Multicast = true
	}
	h := &herRig{
		log: &logbook{}, endpoints: map[string]*EndpointState{}, rows: map[EntryOutputKey]*EntryOutputState{},
		entries: map[mrib.EntryKey]*EntryState{},
	}
	h.rig = startRigWith(t, slog.New(slog.NewTextHandler(h.log, nil)), h.takeAll, links...)
	r := twoOutputs()
	r.Outputs[1].Name, r.Outputs[1].Unicast = "tun", netip.Addr{}
	h.cfg = &Config{Rules: map[string]*Rule{"r": r}, Forwarding: Forwarding{UnicastTTL: 64, AutoHER: true}}
	h.commit()
	return h
}

func (h *herRig) takeAll(g *rig, b Batch) {
	g.take(b) // h.rig is not there yet
	h.mu.Lock()
	defer h.mu.Unlock()
	take(h.endpoints, b.Endpoints)
	take(h.rows, b.EntryOutputs)
	take(h.entries, b.Entries)
}

func take[K comparable, V any](to, changes map[K]*V) {
	for k, v := range changes {
		if v == nil {
			delete(to, k)
		} else {
			to[k] = v
		}
	}
}

// commit makes h.cfg the running configuration, after changes to a copy of it.
func (h *herRig) commit(changes ...func(*Config)) {
	h.t.Helper()
	c := *h.cfg
	for _, f := range changes {
		f(&c)
	}
	p, err := h.Prepare(h.t.Context(), &c, false)
	if err != nil {
		h.t.Fatal(err)
	}
	p.Commit(func(b Batch) { h.takeAll(h.rig, b) })
	h.cfg = &c
	synctest.Wait()
}

// change changes a copy of rule r.
func (h *herRig) change(f func(*Rule)) func(*Config) {
	return func(c *Config) {
		r := *c.Rules["r"]
		r.Outputs = slices.Clone(r.Outputs)
		f(&r)
		c.Rules = map[string]*Rule{"r": &r}
	}
}

// relink replaces the link of that index and tells of it.
func (h *herRig) relink(l *netif.Link) {
	h.host.mu.Lock()
	i := slices.IndexFunc(h.host.links, func(o *netif.Link) bool { return o.Index == l.Index })
	if i < 0 {
		h.host.links = append(h.host.links, l)
	} else {
		h.host.links[i] = l
	}
	h.host.mu.Unlock()
	h.event(netif.Event{Touched: map[plan.IfIndex]bool{l.Index: true}})
}

func ends(as ...string) (all []netif.ConfiguredEndpoint) {
	for _, a := range as {
		all = append(all, netif.ConfiguredEndpoint{Address: netip.MustParseAddr(a)})
	}
	return all
}

func configured(as ...string) func(*Config) {
	return func(c *Config) { c.Endpoints = map[string][]netif.ConfiguredEndpoint{"tun0": ends(as...)} }
}

// output is the state of the rule's output in a line.
func (h *herRig) output(name string) string {
	st := h.state(name)
	if st == nil {
		return "none"
	}
	return say(&st.OutputState)
}

func say(st *OutputState) string {
	return fmt.Sprintf("%v %v her=%v %v %v branches=%d", st.Oper, st.Reason, st.HERActive, st.Endpoint, st.Origin, st.Branches)
}

func (h *herRig) state(name string) *RuleOutputState {
	h.rig.mu.Lock()
	defer h.rig.mu.Unlock()
	return h.outputs[RuleOutputKey{"r", name}]
}

// tableRows are the rows of an output.
func (h *herRig) tableRows(name string) (out []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for k, st := range h.rows {
		if st.RuleOutput == name {
			out = append(out, fmt.Sprintf("%v %s", k.Output.Dest, say(&st.OutputState)))
		}
	}
	slices.Sort(out)
	return out
}

// sent are the destinations of copies.
func (h *herRig) sent() (out []string) {
	for _, c := range h.dp.copies() {
		if _, to, _ := strings.Cut(c, ">"); !strings.HasPrefix(to, "0.0.0.0:") {
			out = append(out, to)
		}
	}
	slices.Sort(out)
	return out
}

const lanCopy = "239.1.1.1:5000@eth1"

// P2.6, F2, P2.7: the branch follows the peer address, the interface that is made again, and its identity stays; the sibling is left alone.
func TestP2_6_BranchFollowsItsEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHER(t, tunnel(3, "tun0", "10.2.0.1", "10.2.0.2"))
		h.want("at first", h.output("tun"), "up none her=true 10.2.0.2:5000 peer-address branches=1")
		h.want("row", h.tableRows("tun"), []string{"10.2.0.2 up none her=true 10.2.0.2:5000 peer-address branches=1"})
		h.want("sibling", h.output("lan"), "up none her=false 239.1.1.1:5000 none branches=1")
		h.want("copies", h.sent(), []string{"10.2.0.2:5000@tun0", lanCopy})
		id, sibling := h.state("tun").ID, h.dp.running.Points[0].Any.Lists[0].Outputs[0]
		time.Sleep(time.Hour)
		h.relink(tunnel(3, "tun0", "10.2.0.1", "10.2.0.9"))
		h.want("moved", h.output("tun"), "up none her=true 10.2.0.9:5000 peer-address branches=1")
		h.want("rows", h.tableRows("tun"), []string{"10.2.0.9 up none her=true 10.2.0.9:5000 peer-address branches=1"})
		h.want("copies", h.sent(), []string{"10.2.0.9:5000@tun0", lanCopy})
		h.want("changed", time.Since(h.state("tun").LastChange), time.Duration(0))
		h.want("one line", h.log.lines("output follows its endpoints"), 1)

		h.host.mu.Lock()
		h.host.links = h.host.links[:2]
		h.host.mu.Unlock()
		h.event(netif.Event{Touched: map[plan.IfIndex]bool{3: true}})
		h.want("deleted", h.output("tun"), "down interface-missing her=false 239.1.1.1:5000 none branches=1")
		h.relink(tunnel(7, "tun0", "10.2.0.1", "10.2.0.4"))
		h.want("made again", h.output("tun"), "up none her=true 10.2.0.4:5000 peer-address branches=1")
		h.want("ID", h.state("tun").ID, id)
		if now := h.dp.running.Points[0].Any.Lists[0].Outputs[0]; now != sibling {
			t.Error("the sibling was handed over anew")
		}
	})
}

// P3.6, P2.5, P3.3: the flag moves the branch between unicast copies and multicast; without HER multicast goes on, with one warning.
func TestP3_6_FlagMovesTheBranch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHER(t, tunnel(3, "tun0", "10.2.0.1", "10.2.0.2"))
		flagged := func() *netif.Link {
			l := tunnel(3, "tun0", "10.2.0.1", "10.2.0.2")
			l.Multicast = true
			return l
		}
		h.relink(flagged())
		h.want("multicast on", h.output("tun"), "up none her=false 239.1.1.1:5000 none branches=1")
		h.want("copies", h.sent(), []string{lanCopy, "239.1.1.1:5000@tun0"})
		h.want("its far end is known all the same", h.far("tun0"), "10.2.0.2 peer-address; none her=false")
		h.relink(tunnel(3, "tun0", "10.2.0.1", "10.2.0.2"))
		h.want("multicast off", h.sent(), []string{"10.2.0.2:5000@tun0", lanCopy})
		const warning = "multicast is sent on an interface without multicast"
		h.want("warnings while HER is on", h.log.lines(warning), 0)
		h.commit(func(c *Config) { c.Forwarding.AutoHER = false })
		h.want("HER off", h.sent(), []string{lanCopy, "239.1.1.1:5000@tun0"})
		h.event(netif.Event{All: true})
		h.event(netif.Event{Touched: map[plan.IfIndex]bool{3: true}})
		h.want("warnings", h.log.lines(warning), 1)
		h.relink(flagged())
		h.relink(tunnel(3, "tun0", "10.2.0.1", "10.2.0.2"))
		h.want("warnings of the next transition", h.log.lines(warning+`" interface=tun0`), 1)
	})
}

// far is what is known of the far end of an interface.
func (h *herRig) far(name string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	st := h.endpoints[name]
	if st == nil {
		return "no state"
	}
	var all []string
	for _, c := range st.Resolution.Candidates {
		s := fmt.Sprintf("%v %v", c.Address, c.Origin)
		if !c.InUse() {
			s += " " + c.PassedOver.String()
		}
		all = append(all, s)
	}
	return fmt.Sprintf("%s; %v her=%v", strings.Join(all, ", "), st.Resolution.Reason, st.HERActive)
}

// P3.4, P1.10: without an endpoint the branch is down and nothing is sent; it comes up by itself. An interface that is down says so.
func TestP3_4_UnresolvedComesUpByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHER(t, tunnel(3, "tun0", "10.2.0.1", ""))
		h.want("at first", h.output("tun"), "down endpoint-unresolved her=true 0.0.0.0:5000 none branches=0")
		h.want("row", h.tableRows("tun"), []string{"0.0.0.0 down endpoint-unresolved her=true 0.0.0.0:5000 none branches=0"})
		h.want("copies", h.sent(), []string{lanCopy})
		h.want("rule", fmt.Sprint(h.rule("r").Oper, h.rule("r").OutputsUp, h.rule("r").Outputs), "degraded 1 2")
		h.want("its far end", h.far("tun0"), "; no-peer-information her=true")
		h.want("down", h.log.lines("output is down"), 1)
		down := tunnel(3, "tun0", "10.2.0.1", "")
		down.Up, down.Running = false, false
		h.relink(down)
		h.want("interface down", h.output("tun"), "down interface-down her=true 0.0.0.0:5000 none branches=0")
		h.relink(tunnel(3, "tun0", "10.2.0.1", "10.2.0.2"))
		h.want("with a peer", h.output("tun"), "up none her=true 10.2.0.2:5000 peer-address branches=1")
		h.want("up", h.log.lines("output is up"), 1)
		h.relink(tunnel(3, "tun0", "10.2.0.1", ""))
		h.commit(configured("10.2.0.7"))
		h.want("configured", h.output("tun"), "up none her=true 10.2.0.7:5000 configured branches=1")
		h.relink(tunnel(3, "tun0", "10.2.0.1", "10.2.0.7"))
		h.want("it is the peer too", h.output("tun"), "up none her=true 10.2.0.7:5000 configured branches=1")
		h.commit(func(c *Config) { c.Endpoints = nil })
		h.want("known from the peer address alone", h.output("tun"), "up none her=true 10.2.0.7:5000 peer-address branches=1")
		h.want("row", h.tableRows("tun"), []string{"10.2.0.7 up none her=true 10.2.0.7:5000 peer-address branches=1"})
	})
}

// P3.8: a static output goes to every endpoint of the interface; state has the sum, the rows have each. One that is no longer
// configured goes, the others stay.
func TestP3_8_SeveralEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHER(t, tunnel(3, "tun0", "10.2.0.1", ""))
		h.commit(configured("10.2.0.2", "10.2.0.3", "10.2.0.4"))
		h.want("three", h.output("tun"), "up none her=true invalid AddrPort configured branches=3")
		id := h.state("tun").ID
		h.want("rows", h.tableRows("tun"), []string{
			"10.2.0.2 up none her=true 10.2.0.2:5000 configured branches=1",
			"10.2.0.3 up none her=true 10.2.0.3:5000 configured branches=1",
			"10.2.0.4 up none her=true 10.2.0.4:5000 configured branches=1",
		})
		h.want("copies", h.sent(), []string{"10.2.0.2:5000@tun0", "10.2.0.3:5000@tun0", "10.2.0.4:5000@tun0", lanCopy})
		counts := func() string {
			h.mu.Lock()
			defer h.mu.Unlock()
			for _, e := range h.entries {
				return fmt.Sprintf("rule %d/%d, row %d/%d", h.rule("r").OutputsUp, h.rule("r").Outputs, e.OutputsUp, e.Outputs)
			}
			return ""
		}
		h.want("outputs up", counts(), "rule 2/2, row 4/4")

		failing := h.rowID("10.2.0.3")
		h.fail(failing, unix.ECONNREFUSED)
		h.want("one fails", h.output("tun"), "degraded send-failing her=true invalid AddrPort configured branches=3")
		h.want("rows", h.tableRows("tun")[1], "10.2.0.3 down send-failing her=true 10.2.0.3:5000 configured branches=1")
		h.want("outputs up", counts(), "rule 1/2, row 3/4")
		h.want("lines", h.log.lines("output is degraded"), 1)
		h.fail(failing, nil)
		h.want("good again", h.output("tun"), "up none her=true invalid AddrPort configured branches=3")

		h.commit(configured("10.2.0.2", "10.2.0.4"))
		h.want("two", h.tableRows("tun"), []string{
			"10.2.0.2 up none her=true 10.2.0.2:5000 configured branches=1", "10.2.0.4 up none her=true 10.2.0.4:5000 configured branches=1",
		})
		h.commit(configured("10.2.0.4"))
		h.want("one", h.output("tun"), "up none her=true 10.2.0.4:5000 configured branches=1")
		h.want("rows", len(h.tableRows("tun")), 1)
		h.want("ID", h.state("tun").ID, id)
		h.commit(configured())
		h.want("none", h.output("tun"), "down endpoint-unresolved her=true 0.0.0.0:5000 none branches=0")
		h.commit(func(c *Config) { c.Rules = nil })
		h.want("left of the rule", len(h.tableRows("tun"))+len(h.outputs)+len(h.seen.instances), 0)
	})
}

// rowID is the identity of the row to a host.
func (h *herRig) rowID(host string) plan.OutputID {
	h.mu.Lock()
	defer h.mu.Unlock()
	for k, st := range h.rows {
		if k.Output.Dest == netip.MustParseAddr(host) {
			return st.ID
		}
	}
	h.t.Fatalf("no row to %s", host)
	return 0
}

// fail lets the dataplane tell that sends fail, or with nil that they do not.
func (h *herRig) fail(id plan.OutputID, err error) {
	h.dp.mu.Lock()
	h.dp.status[id] = plan.OutputStatus{Failing: err != nil, Err: err, LocalPort: 40000}
	h.dp.mu.Unlock()
	h.dp.events <- plan.Event{Outputs: []plan.OutputID{id}}
	synctest.Wait()
}

// What WireGuard answers at send has reasons of its own, also when it begins to answer otherwise.
func TestWireGuardReasons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHER(t, tunnel(3, "tun0", "10.2.0.1", "10.2.0.2"))
		id := h.state("tun").ID
		h.fail(id, unix.ENOKEY)
		h.want("no peer", h.output("tun"), "down wireguard-no-peer her=true 10.2.0.2:5000 peer-address branches=1")
		h.dp.mu.Lock()
		h.dp.status[id] = plan.OutputStatus{Failing: true, Err: unix.EDESTADDRREQ} // without an event
		h.dp.mu.Unlock()
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		h.want("no endpoint", h.output("tun"), "down wireguard-no-endpoint her=true 10.2.0.2:5000 peer-address branches=1")
		h.fail(id, nil)
		h.want("good again", h.output("tun"), "up none her=true 10.2.0.2:5000 peer-address branches=1")
	})
}

// P3.2: what configuration switches it on and off, at once.
func TestP3_2_ModesTakeEffectAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHER(t, tunnel(3, "tun0", "10.2.0.1", "10.2.0.2"))
		unicast, multicast := []string{"10.2.0.2:5000@tun0", lanCopy}, []string{lanCopy, "239.1.1.1:5000@tun0"}
		off, on := false, true
		pim := func(enabled bool, her mrib.ProtocolHER) func(*Config) {
			return func(c *Config) {
				c.PIM = Protocol{Enabled: enabled, Interfaces: map[string]InterfaceProtocol{"tun0": {Enabled: true, HER: her}}}
			}
		}
		own := func(m mrib.HERMode) func(*Config) {
			return h.change(func(r *Rule) {
				o := *r.Outputs[1]
				o.HERMode = m
				r.Outputs[1] = &o
			})
		}
		for _, s := range []struct {
			what   string
			change func(*Config)
			want   []string
			her    bool // of the interface, as its state says
		}{
			{"PIM says no", pim(true, mrib.ProtocolHER{Auto: &off}), multicast, false},
			{"PIM is not enabled", pim(false, mrib.ProtocolHER{Auto: &off}), unicast, true},
			{"the global mode is never", func(c *Config) { c.Forwarding.HERMode = mrib.HERNever }, multicast, false},
			{"PIM's mode is auto", pim(true, mrib.ProtocolHER{Auto: &on, Mode: mrib.HERAuto}), unicast, true},
			{"the output's own is never", own(mrib.HERNever), multicast, true},
			{"without PIM", func(c *Config) { c.PIM = Protocol{} }, multicast, false},
			{"the output's own is always", own(mrib.HERAlways), unicast, false},
			{"the output's is the interface's", own(mrib.HERInherit), multicast, false},
			{"the global mode is auto", func(c *Config) { c.Forwarding.HERMode = mrib.HERAuto }, unicast, true},
		} {
			h.commit(s.change)
			h.want(s.what, h.sent(), s.want)
			if st := h.endpoints["tun0"]; st == nil || st.HERActive != s.her {
				t.Errorf("%s: the interface's state is %+v, want her-active %v", s.what, st, s.her)
			}
		}
	})
}

// P2.1: state of far ends: which interfaces have one, and what changes it. An address that becomes our own is no endpoint any more.
func TestP2_1_StateOfFarEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHER(t, tunnel(3, "tun0", "10.2.0.1", "10.2.0.2"))
		h.want("an ordinary interface", h.far("eth0"), "no state")
		h.want("a tunnel", h.far("tun0"), "10.2.0.2 peer-address; none her=true")
		found := h.endpoints["tun0"].Since[netip.MustParseAddr("10.2.0.2")]
		time.Sleep(time.Hour)
		h.commit(configured("10.2.0.7"))
		h.want("configured", h.far("tun0"), "10.2.0.7 configured, 10.2.0.2 peer-address outranked; none her=true")
		st := h.endpoints["tun0"]
		h.want("the peer was found an hour ago, the other now", []time.Duration{time.Since(st.Since[netip.MustParseAddr("10.2.0.2")]), time.Since(st.Since[netip.MustParseAddr("10.2.0.7")])},
			[]time.Duration{time.Since(found), 0})
		h.want("changed", time.Since(st.LastChange), time.Duration(0))
		time.Sleep(time.Hour)
		h.relink(link(4, "lo", "10.2.0.7"))
		h.want("it is our own now", h.far("tun0"), "10.2.0.7 configured own-address, 10.2.0.2 peer-address; none her=true")
		h.want("copies", h.sent(), []string{"10.2.0.2:5000@tun0", lanCopy})
		h.want("lo", h.far("lo"), "; no-peer-information her=false")
		h.relink(link(4, "lo", ""))
		h.want("no longer", h.sent(), []string{"10.2.0.7:5000@tun0", lanCopy})
		h.commit(func(c *Config) {
			c.Endpoints = map[string][]netif.ConfiguredEndpoint{"eth0": ends("10.0.0.9"), "ppp0": nil}
		})
		h.want("an ordinary interface that is named", h.far("eth0"), "10.0.0.9 configured; none her=false")
		h.want("one that is missing", h.far("ppp0"), "; interface-missing her=false")
		h.commit(func(c *Config) { c.Endpoints = nil })
		h.want("not named", h.far("eth0")+" "+h.far("ppp0"), "no state no state")
	})
}

// A Set that is discarded leaves no trace in what is known of endpoints.
func TestDiscardedEndpointsLeaveNoTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHER(t, tunnel(3, "tun0", "10.2.0.1", "10.2.0.2"))
		c := *h.cfg
		configured("10.2.0.7")(&c)
		p, err := h.Prepare(t.Context(), &c, false)
		if err != nil {
			t.Fatal(err)
		}
		p.Discard()
		h.event(netif.Event{Touched: map[plan.IfIndex]bool{3: true}})
		h.event(netif.Event{All: true})
		h.want("copies", h.sent(), []string{"10.2.0.2:5000@tun0", lanCopy})
		h.want("its far end", h.far("tun0"), "10.2.0.2 peer-address; none her=true")
	})
}

// An explicit host and an endpoint are one branch; both outputs show it, and it fails for both.
func TestP3_7_BothOutputsShowTheSharedBranch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHER(t, tunnel(3, "tun0", "10.2.0.1", "10.2.0.2"))
		named := &Output{Name: "named", Enabled: true, Interface: "tun0", Group: netip.MustParseAddr("239.1.1.1"), Unicast: netip.MustParseAddr("10.2.0.2"), Port: 5000, TTL: 9, DSCP: plan.DSCPKeep}
		h.commit(h.change(func(r *Rule) { r.Outputs = []*Output{r.Outputs[0], named, r.Outputs[1]} }))
		h.want("named", h.output("named"), "up none her=false 10.2.0.2:5000 configured branches=1")
		h.want("tun", h.output("tun"), "up none her=true 10.2.0.2:5000 peer-address branches=1")
		h.want("knobs", []uint8{h.state("named").TTL, h.state("tun").TTL}, []uint8{9, 9})
		h.want("rows of tun", len(h.tableRows("tun")), 0)
		h.want("copies", h.sent(), []string{"10.2.0.2:5000@tun0", lanCopy})
		h.fail(h.state("named").ID, unix.ENOKEY)
		h.want("both fail", h.output("named")+" "+h.output("tun"),
			"down wireguard-no-peer her=false 10.2.0.2:5000 configured branches=1 down wireguard-no-peer her=true 10.2.0.2:5000 peer-address branches=1")
		h.want("outputs up", h.rule("r").OutputsUp, 1)
		h.fail(h.state("named").ID, nil)
		h.want("both are good", h.rule("r").OutputsUp, 3)
		h.commit(configured("10.2.0.2", "10.2.0.3"))
		h.want("one of two", h.output("tun"), "up none her=true invalid AddrPort configured branches=2")
		h.want("rows of tun", len(h.tableRows("tun")), 1)
		h.want("copies", h.sent(), []string{"10.2.0.2:5000@tun0", "10.2.0.3:5000@tun0", lanCopy})
		h.commit(h.change(func(r *Rule) { r.Outputs = []*Output{r.Outputs[0], r.Outputs[2]} }))
		h.want("rows of tun when the other goes", len(h.tableRows("tun")), 2)
		h.want("rows of named", len(h.tableRows("named")), 0)
	})
}

// D6: a boundary keeps the branches of several endpoints by the group they stand for, and counts each.
func TestD6_BoundaryKeepsEveryEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHER(t, tunnel(3, "tun0", "10.2.0.1", ""))
		h.commit(configured("10.2.0.2", "10.2.0.3"), func(c *Config) {
			c.Boundaries = map[string][]netip.Prefix{"tun0": {netip.MustParsePrefix("239.1.1.0/24")}}
		})
		h.want("kept", h.output("tun"), "down scope her=true invalid AddrPort configured branches=2")
		h.want("copies", h.sent(), []string{lanCopy})
		h.want("claims", h.bounds.counters["tun0"].Claims.Load(), uint64(2))
		h.commit(func(c *Config) { c.Boundaries = nil })
		h.want("not kept", h.output("tun"), "up none her=true invalid AddrPort configured branches=2")
		h.want("what is remembered", len(h.bounds.outputs), 0)
	})
}

// Out of the input interface the input's own group goes as unicast copies alone.
func TestHEROutOfTheInputInterface(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHER(t, tunnel(3, "tun0", "10.2.0.1", ""))
		h.commit(configured("10.2.0.2", "10.2.0.3"), h.change(func(r *Rule) { r.Interface = "tun0" }))
		h.want("unicast", h.output("tun"), "up none her=true invalid AddrPort configured branches=2")
		flagged := tunnel(3, "tun0", "10.2.0.1", "")
		flagged.Multicast = true
		h.log.lines("")
		h.relink(flagged)
		h.want("multicast", h.output("tun"), "down loop her=false 239.1.1.1:5000 none branches=1")
		h.want("copies", h.sent(), []string{lanCopy})
		h.want("lines", h.log.lines(`output=tun reason=loop`), 1)
	})
}

// P1.8 with HER: a port that is learnt goes to each endpoint; one that goes takes its instances along.
func TestP1_8_LearntPortGoesToEachEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHER(t, tunnel(3, "tun0", "10.2.0.1", ""))
		h.commit(configured("10.2.0.2", "10.2.0.3"), h.change(func(r *Rule) {
			r.Port = 0
			for i, o := range r.Outputs {
				keep := *o
				keep.Port = 0
				r.Outputs[i] = &keep
			}
		}))
		h.learnt(5000)
		onPort := func(port string) (out []string) {
			for _, c := range h.sent() {
				if strings.Contains(c, ":"+port+"@") && !slices.Contains(out, c) {
					out = append(out, c)
				}
			}
			return out
		}
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		h.want("copies", onPort("5000"), []string{"10.2.0.2:5000@tun0", "10.2.0.3:5000@tun0", lanCopy})
		h.want("state", h.output("tun"), "up none her=true invalid AddrPort configured branches=2")
		h.commit(configured("10.2.0.3"))
		h.want("one", onPort("5000"), []string{"10.2.0.3:5000@tun0", lanCopy})
		h.commit(configured())
		h.want("none", onPort("5000"), []string{lanCopy})
		h.want("state", h.output("tun"), "down endpoint-unresolved her=true 0.0.0.0:0 none branches=0")
	})
}
