// SPDX-License-Identifier: Apache-2.0

package state

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/openconfig/ygot/ygot"

	"mcr/dataplane/plan"
	"mcr/gen"
	"mcr/mroute"
	"mcr/mroute/mrib"
	"mcr/mroute/netif"
)

const (
	ruleState        = rulePrefix + "/state"
	ruleOutputState  = rulePrefix + "/outputs/output[name=o1]/state"
	entryState       = "/mcr/mrib/entries/entry[interface=eth0][source=0.0.0.0][group=239.1.1.1][port=5000]/state"
	entryOutputState = "/mcr/mrib/entries/entry[interface=eth0][source=0.0.0.0][group=239.1.1.1][port=5000]" +
		"/outputs/output[interface=gre0][destination=10.2.0.5][port=5001][encapsulation=none][source-port=4000]/state"
	ns  = "1795608000000000000" // t0
	ns1 = "1795608001000000000"
)

func start(t *testing.T) (*Publisher, *recorder) {
	t.Helper()
	rec := newRecorder(t)
	p := newPublisher(t, rec)
	p.Commit(committed(nil, sampleDevice(), sampleBatch()))
	return p, rec
}

// P1.10, F7, P4.4: what a reader finds for a rule, an output, and their rows in the MRIB.
func TestStateOfRulesAndOutputs(t *testing.T) {
	_, rec := start(t)
	inputCounters := map[string]string{
		"counters/dropped-checksum": "15", "counters/dropped-gso": "16", "counters/dropped-limit": "17", "counters/dropped-overrun": "14", "counters/dropped-truncated": "13", "counters/dropped-ttl": "12",
		"counters/dropped-loop": "18",
		"counters/octets":       "144760", "counters/packets": "110", "last-packet-time": ns,
	}
	outputCounters := map[string]string{
		"counters/dropped": "1", "counters/errors": "4", "counters/errors-key": "10", "counters/errors-no-buffer": "7",
		"counters/errors-other": "11", "counters/errors-permission": "9", "counters/errors-refused": "5",
		"counters/errors-size": "8", "counters/errors-unreachable": "6", "counters/last-error": "EHOSTUNREACH",
		"counters/last-error-time": ns, "counters/not-ready": "2", "counters/octets": "131600", "counters/packets": "100",
		"counters/skipped-ttl": "3", "last-packet-time": ns1,
	}
	rows := []struct {
		path string
		want map[string]string
	}{
		{ruleState, merge(inputCounters, map[string]string{
			"created": ns, "description": "feed", "discard-reason": "ttl", "down-reason": "none", "enabled": "true",
			"input-group": "239.1.1.1", "input-interface": "eth0", "input-port": "5000", "input-source": "10.0.0.9",
			"input-status": "discarding", "joined": "true", "last-change": ns, "minimum-input-ttl": "3", "name": "r1",
			"oper-status": "degraded", "output-count": "2", "output-up-count": "1", "receive-method": "socket",
			"receive-method-reason": "asked for", "receive-method-used": "packet", "retry-time": ns1, "silence-timeout": "10",
		})},
		{ruleOutputState, merge(outputCounters, map[string]string{
			"branch-count": "1", "created": ns, "down-reason": "none", "dscp": "46", "enabled": "true", "encapsulation": "none",
			"endpoint": "10.2.0.5", "endpoint-origin": "configured", "endpoint-port": "5001", "group": "239.1.1.1",
			"gso-reason": "works", "gso-used": "true", "her-active": "false", "her-mode": "always", "interface": "gre0",
			"last-change": ns, "local-address": "10.2.0.1", "local-port": "4000", "name": "o1", "oper-status": "up",
			"origins": "[static]", "port": "5001", "source-address": "10.2.0.1", "source-port": "4000", "ttl": "9",
			"unicast-dest": "10.2.0.5",
		})},
		{entryState, merge(inputCounters, map[string]string{
			"created": ns, "discard-reason": "ttl", "down-reason": "none", "group": "239.1.1.1", "input-status": "discarding",
			"interface": "eth0", "joined": "true", "kind": "wc", "oper-status": "degraded", "origins": "[static]",
			"output-count": "2", "port": "5000", "receive-method-used": "packet", "retry-time": ns1, "source": "0.0.0.0",
		})},
		{entryOutputState, merge(outputCounters, map[string]string{
			"branch-count": "1", "created": ns, "destination": "10.2.0.5", "down-reason": "none", "dscp": "46",
			"encapsulation": "none", "endpoint": "10.2.0.5", "endpoint-origin": "configured", "endpoint-port": "5001",
			"gso-reason": "works", "gso-used": "true", "her-active": "false", "interface": "gre0", "last-change": ns,
			"local-address": "10.2.0.1", "local-port": "4000", "oper-status": "up", "origins": "[static]", "port": "5001",
			"rule": "r1", "rule-output": "o1", "source-port": "4000", "ttl": "9",
		})},
	}
	for _, row := range rows {
		if diff := cmp.Diff(row.want, rec.unit(row.path)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.path, diff)
		}
	}
}

func merge(ms ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range ms {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

// A multicast output that is down: what is not known is absent, not zero.
func TestUnknownIsAbsent(t *testing.T) {
	p, rec := start(t)
	out := &mroute.Output{Name: "o2", Enabled: true, Interface: "eth1", Group: ip("239.1.1.1"), DSCP: plan.DSCPKeep}
	p.Batch(mroute.Batch{Time: t0, RuleOutputs: map[mroute.RuleOutputKey]*mroute.RuleOutputState{
		{Rule: "r1", Output: "o2"}: {Output: out, OutputState: mroute.OutputState{
			Created: t0, Oper: mrib.Down, Reason: mrib.InterfaceMissing, LastChange: t0, DSCP: plan.DSCPKeep, Origins: []string{"static"},
		}},
	}})
	want := map[string]string{
		"branch-count": "0", "created": ns, "down-reason": "interface-missing", "enabled": "true", "encapsulation": "none",
		"group": "239.1.1.1", "her-active": "false", "interface": "eth1", "last-change": ns, "name": "o2",
		"oper-status": "down", "origins": "[static]", "port": "0", "source-port": "0",
	}
	if diff := cmp.Diff(want, rec.unit(rulePrefix+"/outputs/output[name=o2]/state")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What a batch does not name is not touched; nil values remove exactly their own units.
func TestBatchTouchesOnlyWhatItNames(t *testing.T) {
	p, rec := start(t)
	rows := []struct {
		name           string
		batch          mroute.Batch
		update, remove []string
	}{
		{"one output", mroute.Batch{
			RuleOutputs:  map[mroute.RuleOutputKey]*mroute.RuleOutputState{{Rule: "r1", Output: "o1"}: {Output: sampleOutput(), OutputState: sampleOutputState()}},
			EntryOutputs: map[mroute.EntryOutputKey]*mroute.EntryOutputState{sampleOutputKey: {OutputState: sampleOutputState()}},
		}, []string{ruleOutputState, entryOutputState}, nil},
		{"a rule goes with its outputs", mroute.Batch{
			Rules:        map[string]*mroute.RuleState{"r1": nil},
			RuleOutputs:  map[mroute.RuleOutputKey]*mroute.RuleOutputState{{Rule: "r1", Output: "o1"}: nil},
			Entries:      map[mrib.EntryKey]*mroute.EntryState{entryKey: nil},
			EntryOutputs: map[mroute.EntryOutputKey]*mroute.EntryOutputState{sampleOutputKey: nil},
		}, nil, []string{ruleOutputState, ruleState, entryOutputState, entryState}},
		{"an egress and a protocol go", mroute.Batch{
			Egress:    map[string]*mroute.EgressState{"lo": nil},
			Protocols: map[mroute.ProtocolInterface]*mroute.ProtocolState{{Protocol: "PIM", Interface: "eth0"}: nil},
		}, nil, []string{
			"/mcr/dataplane/egress-interfaces/egress-interface[name=lo]/state",
			"/network-instances/network-instance[name=default]/protocols/protocol[identifier=PIM][name=pim]/pim/interfaces/interface[interface-id=eth0]/state",
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			row.batch.Time = t0
			n := len(rec.changes)
			p.Batch(row.batch)
			if len(rec.changes) != n+1 {
				t.Fatalf("%d applies, want one", len(rec.changes)-n)
			}
			update, remove := rec.last()
			if diff := cmp.Diff(row.update, update); diff != "" {
				t.Errorf("updates (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(row.remove, remove); diff != "" {
				t.Errorf("deletes (-want +got):\n%s", diff)
			}
		})
	}
}

// The router does not know descriptions and the like: a commit that changes one alone still shows in state.
func TestStateFollowsConfigurationThatTheRouterDoesNotKnow(t *testing.T) {
	p, rec := start(t)
	before := p.device
	after := sampleDevice()
	after.Mcr.Forwarding.Rules.Rule["r1"].Config.Description = ygot.String("new")
	after.Interfaces.GetOrCreateInterface("lo").GetOrCreateConfig().Description = ygot.String("tunnel")
	after.Mcr.Forwarding.GetOrCreateLimits().GetOrCreateConfig().MaximumRules = ygot.Uint32(5)
	after.Mcr.RemoteJoin.Config.SharedKey = nil
	after.Mcr.RemoteJoin.Config.Port = ygot.Uint16(9)
	after.Mcr.GetOrCreateDataplane().GetOrCreateConfig().Engine = gen.McrDataplane_Engine_mmsg
	commit(p, before, after)
	for _, row := range []struct{ path, leaf, want string }{
		{ruleState, "description", "new"},
		{ruleState, "oper-status", "degraded"},
		{"/interfaces/interface[name=lo]/state", "description", "tunnel"},
		{"/interfaces/interface[name=lo]/state", "ifindex", "2"},
		{"/mcr/forwarding/limits/state", "maximum-rules", "5"},
		{"/mcr/forwarding/limits/state", "maximum-sockets", "900000"},
		{"/mcr/dataplane/state", "engine", "mmsg"},
		{"/mcr/remote-join/state", "key-set", "false"},
	} {
		if got := rec.unit(row.path)[row.leaf]; got != row.want {
			t.Errorf("%s/%s = %q, want %q", row.path, row.leaf, got, row.want)
		}
	}
}

// D2: a rule without a smallest TTL of its own shows the global one, and 1 where there is none.
func TestMinimumInputTTL(t *testing.T) {
	p, rec := start(t)
	rule := *sampleRule()
	rule.MinimumInputTTL = nil
	p.Batch(mroute.Batch{Time: t0, Rules: map[string]*mroute.RuleState{"r1": {Rule: &rule, InputState: sampleInput()}}})
	for _, row := range []struct {
		global *uint8
		want   string
	}{{nil, "1"}, {ygot.Uint8(4), "4"}, {nil, "1"}} {
		p.Batch(mroute.Batch{Time: t0, Global: &mroute.GlobalState{Forwarding: mroute.Forwarding{MinimumInputTTL: row.global}}})
		if got := rec.unit(ruleState)["minimum-input-ttl"]; got != row.want {
			t.Errorf("with a global one of %v: %s, want %s", row.global, got, row.want)
		}
	}
}

// P4.6: an own unicast address needs no membership.
func TestUnicastInputIsNotJoined(t *testing.T) {
	p, rec := start(t)
	rule := *sampleRule()
	rule.Group = ip("10.0.0.1")
	p.Batch(mroute.Batch{Time: t0, Rules: map[string]*mroute.RuleState{"r1": {Rule: &rule, InputState: sampleInput()}}})
	if got := rec.unit(ruleState)["joined"]; got != "false" {
		t.Errorf("joined = %s, want false", got)
	}
}

// P2.1, P2.7: interfaces with their addresses, as they come, change and go.
func TestInterfaces(t *testing.T) {
	p, rec := start(t)
	const base = "/interfaces/interface[name=lo]"
	const addrs = base + "/subinterfaces/subinterface[index=0]/ipv4/addresses"
	got := rec.unit(base + "/state")
	for leaf := range got {
		if len(leaf) > 9 && leaf[:9] == "counters/" {
			delete(got, leaf)
		}
	}
	want := map[string]string{
		"admin-status": "UP", "ifindex": "2", "kind": "gre", "last-change": ns, "logical": "true", "master": "br0", "mtu": "1476",
		"multicast": "false", "name": "lo", "oper-status": "UP", "point-to-point": "true", "type": "tunnel",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	wantAddr := map[string]string{"ip": "10.2.0.1", "peer": "10.2.0.5", "prefix-length": "32"}
	if diff := cmp.Diff(wantAddr, rec.unit(addrs+"/address[ip=10.2.0.1]/state")); diff != "" {
		t.Errorf("address (-want +got):\n%s", diff)
	}

	moved := *sampleLink()
	moved.MTU, moved.Addrs = 70000, []netif.Addr{{IP: ip("10.9.0.1")}}
	p.Batch(mroute.Batch{Time: t0, Links: map[string]*netif.Link{"lo": &moved}})
	if rec.unit(addrs+"/address[ip=10.2.0.1]/state") != nil || rec.unit(addrs + "/address[ip=10.9.0.1]/state")["ip"] != "10.9.0.1" {
		t.Error("the old address is still there, or the new one is not")
	}
	if got := rec.unit(base + "/state")["mtu"]; got != "65535" {
		t.Errorf("mtu = %s, want 65535", got)
	}

	p.Batch(mroute.Batch{Time: t0, Links: map[string]*netif.Link{"lo": nil}})
	_, remove := rec.last()
	wantGone := []string{base + "/state", addrs + "/address[ip=10.9.0.1]/state", base + "/subinterfaces/subinterface[index=0]/state"}
	if diff := cmp.Diff(wantGone, remove); diff != "" {
		t.Errorf("deletes (-want +got):\n%s", diff)
	}
}

func TestConfiguredInterfaceThatIsNotThere(t *testing.T) {
	p, rec := start(t)
	const path = "/interfaces/interface[name=eth0]/state"
	absent := map[string]string{"description": "uplink", "name": "eth0", "oper-status": "NOT_PRESENT"}
	if diff := cmp.Diff(absent, rec.unit(path)); diff != "" {
		t.Errorf("before it comes (-want +got):\n%s", diff)
	}
	l := *sampleLink()
	l.Name = "eth0"
	p.Batch(mroute.Batch{Time: t0, Links: map[string]*netif.Link{"eth0": &l}})
	if got := rec.unit(path); got["oper-status"] != "UP" || got["description"] != "uplink" {
		t.Errorf("while it is there: %v", got)
	}
	p.Batch(mroute.Batch{Time: t0, Links: map[string]*netif.Link{"eth0": nil}})
	if diff := cmp.Diff(absent, rec.unit(path)); diff != "" {
		t.Errorf("after it went (-want +got):\n%s", diff)
	}
}

func TestLinkType(t *testing.T) {
	for _, row := range []struct {
		name string
		link netif.Link
		want string
	}{
		{"loopback", netif.Link{Loopback: true, Type: "loopback"}, "softwareLoopback"},
		{"hardware", netif.Link{Type: "ether"}, "ethernetCsmacd"},
		{"veth", netif.Link{Kind: "veth", Type: "ether"}, "ethernetCsmacd"},
		{"tap", netif.Link{Kind: "tun", Type: "ether"}, "ethernetCsmacd"},
		{"tun", netif.Link{Kind: "tun", Type: "none"}, "tunnel"},
		{"wireguard", netif.Link{Kind: "wireguard", Type: "none"}, "tunnel"},
		{"gre", netif.Link{Kind: "gre", Type: "ipgre"}, "tunnel"},
		{"ip6tnl", netif.Link{Kind: "ip6tnl", Type: "tunnel6"}, "tunnel"},
		{"bridge", netif.Link{Kind: "bridge", Type: "ether"}, "bridge"},
		{"vlan", netif.Link{Kind: "vlan", Type: "ether"}, "l2vlan"},
		{"bond", netif.Link{Kind: "bond", Type: "ether"}, "ieee8023adLag"},
		{"ppp", netif.Link{Type: "ppp"}, "ppp"},
		{"anything else", netif.Link{Type: "can"}, "other"},
	} {
		if got := linkType(&row.link); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
}

func TestWorkersComeAndGo(t *testing.T) {
	p, rec := start(t)
	info := sampleInfo()
	info.Workers = make([]plan.WorkerInfo, 3)
	p.Batch(mroute.Batch{Time: t0, Global: &mroute.GlobalState{Dataplane: info}})
	if got := rec.unit("/mcr/dataplane/workers/worker[id=2]/state")["id"]; got != "2" {
		t.Errorf("id of the third worker = %q", got)
	}
	info.Workers = info.Workers[:1]
	p.Batch(mroute.Batch{Time: t0, Global: &mroute.GlobalState{Dataplane: info}})
	want := []string{"/mcr/dataplane/workers/worker[id=1]/state", "/mcr/dataplane/workers/worker[id=2]/state"}
	if _, remove := rec.last(); !cmp.Equal(want, remove) {
		t.Errorf("deletes = %v, want %v", remove, want)
	}
}

// Everything carries the time of its batch, and one batch is one Apply.
func TestOneTimestamp(t *testing.T) {
	rec := newRecorder(t)
	p := newPublisher(t, rec)
	n := len(rec.changes)
	b := sampleBatch()
	b.Time = t0.Add(time.Hour)
	p.Batch(b)
	if len(rec.changes) != n+1 || !rec.changes[n].Time.Equal(b.Time) {
		t.Errorf("%d applies, the first at %v", len(rec.changes)-n, rec.changes[n].Time)
	}
}

// What a sample reads after its output is gone: nothing, and no panic.
func TestSampleOutlivesItsUnit(t *testing.T) {
	rec := newRecorder(t)
	c := sampleCounters()
	p := New(Config{Tree: rec, Counters: c})
	p.Batch(sampleBatch())
	c.outputs, c.lists, c.points, c.workers = nil, nil, nil, nil
	for _, ch := range rec.changes {
		for _, u := range ch.Update {
			if u.Sample != nil {
				u.Sample(nil)
			}
		}
	}
	if got := rec.unit(ruleOutputState)["counters/packets"]; got != "" {
		t.Errorf("packets = %s after the output has gone", got)
	}
}
