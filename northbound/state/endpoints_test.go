// SPDX-License-Identifier: Apache-2.0

package state

import (
	"net/netip"
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

const tunnels = "/mcr/tunnel-endpoints/tunnel-endpoint"

// P2.4: state shows the endpoint, where it came from, what was passed over and why, the outer remote, and when each changed.
func TestP2_4_StateOfEndpoints(t *testing.T) {
	p, rec := start(t)
	check := func(path string, want map[string]string) {
		t.Helper()
		if diff := cmp.Diff(want, rec.unit(path)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	check(tunnels+"[interface=lo]/state", map[string]string{
		"endpoint-address": "10.2.0.5", "endpoint-origin": "peer-address", "her-active": "true", "interface": "lo", "kind": "gre",
		"last-change": ns, "multicast": "false", "outer-local": "192.0.2.1", "outer-remote": "192.0.2.2", "point-to-point": "true",
		"reason": "none",
	})
	check(tunnels+"[interface=lo]/candidates/candidate[address=10.2.0.5]/state", map[string]string{
		"address": "10.2.0.5", "in-use": "true", "last-change": ns, "origin": "peer-address", "passed-over-reason": "none",
	})
	check(tunnels+"[interface=lo]/candidates/candidate[address=192.0.2.2]/state", map[string]string{
		"address": "192.0.2.2", "in-use": "false", "last-change": ns1, "origin": "outer-remote", "passed-over-reason": "outranked",
	})
	check(tunnels+"[interface=wg0]/state", map[string]string{ // an interface that does not exist
		"endpoint-origin": "none", "her-active": "false", "interface": "wg0", "last-change": ns, "reason": "interface-missing",
	})
	check(tunnels+"[interface=wg0]/endpoints/endpoint[address=10.1.0.5]/state", map[string]string{
		"address": "10.1.0.5", "neighbor": "10.1.0.1",
	})

	// Several configured ones are all in use, so there is not one to show.
	e := sampleEndpoints()["lo"]
	e.Configured = []netif.ConfiguredEndpoint{{Address: ip("10.2.0.6")}, {Address: ip("10.2.0.7")}}
	e.Resolution.Candidates = []netif.Candidate{
		{Address: ip("10.2.0.6"), Origin: netif.Configured},
		{Address: ip("10.2.0.7"), Origin: netif.Configured},
		{Address: ip("10.2.0.5"), Origin: netif.PeerAddress, PassedOver: netif.Outranked},
	}
	p.Batch(mroute.Batch{Time: t0, Endpoints: map[string]*mroute.EndpointState{"lo": e}})
	got := rec.unit(tunnels + "[interface=lo]/state")
	if a, ok := got["endpoint-address"]; ok || got["endpoint-origin"] != "configured" || got["reason"] != "none" {
		t.Errorf("with several endpoints: address %q, %v", a, got)
	}
	check(tunnels+"[interface=lo]/candidates/candidate[address=192.0.2.2]/state", nil)
	_, removed := rec.last()
	if diff := cmp.Diff([]string{tunnels + "[interface=lo]/candidates/candidate[address=192.0.2.2]/state"}, removed); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}

	// What is gone takes all that was said of it away.
	p.Batch(mroute.Batch{Time: t0, Endpoints: map[string]*mroute.EndpointState{"lo": nil}})
	for _, rest := range []string{
		"/state", "/endpoints/endpoint[address=10.2.0.6]/state", "/endpoints/endpoint[address=10.2.0.7]/state",
		"/candidates/candidate[address=10.2.0.5]/state", "/candidates/candidate[address=10.2.0.6]/state",
	} {
		check(tunnels+"[interface=lo]"+rest, nil)
	}
}

// The names of origins and reasons are the schema's, each of them.
func TestP2_3_EveryReasonFitsTheSchema(t *testing.T) {
	enum := func(path string) map[string]bool {
		all := map[string]bool{}
		for _, name := range entryAtPath(path).Type.Enum.Names() {
			all[name] = true
		}
		return all
	}
	origins, reasons, over := enum(tunnels+"/state/endpoint-origin"), enum(tunnels+"/state/reason"), enum(tunnels+"/candidates/candidate/state/passed-over-reason")
	for o := netif.OriginNone; o <= netif.OuterRemote; o++ {
		if !origins[o.String()] {
			t.Errorf("origin %v", o)
		}
	}
	for u := netif.Resolved; u <= netif.MulticastRemote; u++ {
		if !reasons[u.String()] {
			t.Errorf("reason %v", u)
		}
	}
	for r := netif.NotPassedOver; r <= netif.RouteLeavesElsewhere; r++ {
		if !over[r.String()] {
			t.Errorf("passed over for %v", r)
		}
	}
}

// P3.4, P3.8: an output in head-end replication shows where its copies go, or that they go nowhere, or how many there are.
func TestP3_8_StateOfHeadEndReplication(t *testing.T) {
	out := &mroute.Output{Name: "o2", Enabled: true, Interface: "wg0", Group: ip("239.1.1.1"), DSCP: plan.DSCPKeep}
	unresolved := netip.AddrPortFrom(netip.IPv4Unspecified(), 5000)
	for _, tt := range []struct {
		name string
		st   mroute.OutputState
		want map[string]string // "" is absent
	}{
		{
			"multicast",
			mroute.OutputState{Endpoint: addrPort("239.1.1.1:5000"), Branches: 1, Local: addrPort("10.1.0.1:4000")},
			map[string]string{"her-active": "false", "branch-count": "1", "endpoint": "239.1.1.1", "endpoint-port": "5000", "endpoint-origin": "", "local-address": "10.1.0.1"},
		},
		{
			"resolved",
			mroute.OutputState{Endpoint: addrPort("10.1.0.5:5000"), Branches: 1, Origin: netif.WireGuardPeer, HERActive: true},
			map[string]string{"her-active": "true", "branch-count": "1", "endpoint": "10.1.0.5", "endpoint-port": "5000", "endpoint-origin": "wireguard-peer"},
		},
		{
			"unresolved",
			mroute.OutputState{Endpoint: unresolved, HERActive: true, Oper: mrib.Down, Reason: mrib.EndpointUnresolved},
			map[string]string{"her-active": "true", "branch-count": "0", "endpoint": "", "endpoint-port": "", "endpoint-origin": "none", "down-reason": "endpoint-unresolved"},
		},
		{
			"several",
			mroute.OutputState{Endpoint: unresolved, Branches: 3, Origin: netif.Configured, HERActive: true, Local: addrPort("10.1.0.1:4000")},
			map[string]string{"her-active": "true", "branch-count": "3", "endpoint": "", "endpoint-port": "", "endpoint-origin": "configured", "local-address": ""},
		},
		{
			"explicit",
			mroute.OutputState{Endpoint: addrPort("10.1.0.5:5000"), Branches: 1, Origin: netif.Configured},
			map[string]string{"her-active": "false", "branch-count": "1", "endpoint": "10.1.0.5", "endpoint-origin": "configured"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, rec := start(t)
			tt.st.DSCP, tt.st.Origins, tt.st.Created, tt.st.LastChange = plan.DSCPKeep, []string{"static"}, t0, t0
			row := sampleOutputKey
			row.Output = mrib.OutputKey{Interface: "wg0", Dest: tt.st.Endpoint.Addr(), Port: 5000}
			p.Batch(mroute.Batch{
				Time:         t0,
				RuleOutputs:  map[mroute.RuleOutputKey]*mroute.RuleOutputState{{Rule: "r1", Output: "o2"}: {Output: out, OutputState: tt.st}},
				EntryOutputs: map[mroute.EntryOutputKey]*mroute.EntryOutputState{row: {OutputState: tt.st, Rule: "r1", RuleOutput: "o2"}},
			})
			for _, path := range []string{rulePrefix + "/outputs/output[name=o2]/state", mribOutput(row.Output)} {
				got := rec.unit(path)
				if got == nil {
					t.Fatalf("%s is not there", path)
				}
				for leaf, want := range tt.want {
					if got[leaf] != want {
						t.Errorf("%s/%s is %q, want %q", path, leaf, got[leaf], want)
					}
				}
			}
		})
	}
}

func mribOutput(k mrib.OutputKey) string {
	return "/mcr/mrib/entries/entry[interface=eth0][source=0.0.0.0][group=239.1.1.1][port=5000]/outputs/output[interface=" + k.Interface +
		"][destination=" + k.Dest.String() + "][port=" + port(k.Port) + "][encapsulation=none][source-port=" + port(k.SourcePort) + "]/state"
}

// P3.2: what switches head-end replication is shown where it is configured, and follows a commit that changes nothing else.
func TestP3_2_StateOfTheSwitches(t *testing.T) {
	p, rec := start(t)
	const igmp = "/network-instances/network-instance[name=default]/protocols/protocol[identifier=IGMP][name=igmp]/igmp/interfaces/interface[interface-id=eth0]/state"
	const pim = "/network-instances/network-instance[name=default]/protocols/protocol[identifier=PIM][name=pim]/pim/interfaces/interface[interface-id=eth0]/state"
	for path, want := range map[string]map[string]string{
		pim:  {"auto-her": "true", "down-reason": "not-running", "enabled": "true", "her-mode": "always", "interface-id": "eth0"},
		igmp: {"auto-her": "false", "down-reason": "not-running", "enabled": "false", "her-mode": "never", "interface-id": "eth0"},
	} {
		if diff := cmp.Diff(want, rec.unit(path)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	if got := rec.unit("/mcr/forwarding/state"); got["auto-her-for-p2p-tunnels"] != "true" || got["her-mode"] != "always" {
		t.Errorf("forwarding: %v", got)
	}
	before, after := p.device, sampleDevice()
	c := after.GetNetworkInstances().GetNetworkInstance("default").GetProtocols().GetProtocol(gen.McrTypes_INSTALL_PROTOCOL_TYPE_PIM, "pim").
		GetPim().GetInterfaces().GetInterface("eth0").GetConfig()
	c.AutoHer, c.HerMode = ygot.Bool(false), gen.E_McrTypes_HerMode(0)
	commit(p, before, after)
	want := map[string]string{"auto-her": "false", "down-reason": "not-running", "enabled": "true", "interface-id": "eth0"}
	if diff := cmp.Diff(want, rec.unit(pim)); diff != "" {
		t.Errorf("after the commit (-want +got):\n%s", diff)
	}
	p.Batch(mroute.Batch{Time: t0.Add(time.Second), Protocols: map[mroute.ProtocolInterface]*mroute.ProtocolState{{Protocol: "PIM", Interface: "eth0"}: nil}})
	if got := rec.unit(pim); got != nil {
		t.Errorf("still there: %v", got)
	}
}
