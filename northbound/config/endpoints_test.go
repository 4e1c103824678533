// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mcr/mroute"
	"mcr/mroute/mrib"
	"mcr/mroute/netif"
)

var compareConfig = cmp.Options{cmpopts.EquateComparable(netip.Addr{})}

// P2.4: what is configured reaches the router ordered, and what did not change is the same value.
func TestP2_4_ConfiguredEndpointsReachTheRouter(t *testing.T) {
	s, r := open(t, t.TempDir())
	mustSet(t, s, update(t, "/mcr/tunnel-endpoints", `{"tunnel-endpoint":[
		{"interface":"wg0","endpoints":{"endpoint":[
			{"address":"10.2.0.5","config":{"neighbor":"10.2.0.1"}},
			{"address":"10.1.0.5"}]}},
		{"interface":"gre1","config":{"interface":"gre1"}}]}`))
	want := map[string][]netif.ConfiguredEndpoint{
		"gre1": nil, // named, so that it has state
		"wg0":  {{Address: addr("10.1.0.5")}, {Address: addr("10.2.0.5"), Neighbor: addr("10.2.0.1")}},
	}
	if diff := cmp.Diff(want, r.running.Endpoints, compareConfig); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	before := r.running
	mustSet(t, s, update(t, "/mcr/forwarding/config/unicast-ttl", "9"))
	if &before.Endpoints["wg0"][0] != &r.running.Endpoints["wg0"][0] {
		t.Error("endpoints were made anew by a change elsewhere")
	}
	checkAlike(t, s.Running().c)
	mustSet(t, s, remove(t, endpointPathOf("wg0", addr("10.2.0.5"))))
	want["wg0"] = want["wg0"][:1]
	if diff := cmp.Diff(want, r.running.Endpoints, compareConfig); diff != "" {
		t.Errorf("after a delete (-want +got):\n%s", diff)
	}
	mustSet(t, s, remove(t, "/mcr/tunnel-endpoints"))
	if len(r.running.Endpoints) != 0 {
		t.Errorf("after the delete of all: %v", r.running.Endpoints)
	}
}

// P2.4: of two endpoints for one neighbour neither would be the one. Each is named once.
func TestP2_4_TwoEndpointsForANeighborAreRefused(t *testing.T) {
	s, _ := open(t, t.TempDir())
	one := func(address, neighbor string) Op {
		return update(t, endpointPathOf("wg0", addr(address))+"/config/neighbor", `"`+neighbor+`"`)
	}
	mustSet(t, s, one("10.1.0.5", "10.1.0.1"), one("10.2.0.5", "10.2.0.1"))
	_, err := set(s, one("10.3.0.5", "10.2.0.1"))
	f := faults(t, err)
	if len(f) != 1 || f[0].Code != Invalid || f[0].Path != endpointPathOf("wg0", addr("10.3.0.5"))+"/config/neighbor" ||
		!strings.Contains(f[0].Reason, "10.2.0.5") {
		t.Error(err)
	}
	mustSet(t, s, one("10.2.0.5", "10.2.0.9"), one("10.3.0.5", "10.2.0.1"))
	mustSet(t, s, update(t, endpointPathOf("gre1", addr("10.9.0.5"))+"/config/neighbor", `"10.2.0.1"`)) // of another interface
}

// P3.2: where head-end replication is switched on reaches the router, and "not configured" is told from "off".
func TestP3_2_HeadEndReplicationReachesTheRouter(t *testing.T) {
	s, r := open(t, t.TempDir())
	on, off := true, false
	mustSet(t, s, update(t, rulePath, "["+ruleJSON("r1")+"]"))
	if f := r.running.Forwarding; f.AutoHER || f.HERMode != mrib.HERAuto {
		t.Errorf("by default %+v", f)
	}
	protocol := func(id string) string {
		return "/network-instances/network-instance[name=default]/protocols/protocol[identifier=" + id + "][name=" + strings.ToLower(id) + "]"
	}
	mustSet(t, s,
		update(t, "/mcr/forwarding/config", `{"auto-her-for-p2p-tunnels":true,"her-mode":"always"}`),
		update(t, protocol("PIM")+"/pim/interfaces/interface", `[
			{"interface-id":"a","config":{"enabled":true,"auto-her":true}},
			{"interface-id":"b","config":{"auto-her":false,"her-mode":"never"}},
			{"interface-id":"c","config":{"enabled":true}}]`),
		update(t, protocol("IGMP"), `{"config":{"enabled":false},"igmp":{"interfaces":{"interface":[
			{"interface-id":"a","config":{"enabled":true,"her-mode":"auto"}}]}}}`))
	c := r.running
	if f := c.Forwarding; !f.AutoHER || f.HERMode != mrib.HERAlways {
		t.Errorf("forwarding: %+v", f)
	}
	want := []mroute.Protocol{
		{Enabled: true, Interfaces: map[string]mroute.InterfaceProtocol{
			"a": {Enabled: true, HER: mrib.ProtocolHER{Auto: &on}},
			"b": {HER: mrib.ProtocolHER{Auto: &off, Mode: mrib.HERNever}},
			"c": {Enabled: true},
		}},
		{Interfaces: map[string]mroute.InterfaceProtocol{"a": {Enabled: true, HER: mrib.ProtocolHER{Mode: mrib.HERAuto}}}},
	}
	if diff := cmp.Diff(want, []mroute.Protocol{c.PIM, c.IGMP}); diff != "" {
		t.Errorf("protocols (-want +got):\n%s", diff)
	}
	checkAlike(t, s.Running().c)
}

// P2.4: that an endpoint is an address of this host is for the router to find; the client learns which one it is.
func TestP2_4_RefusedEndpointIsNamed(t *testing.T) {
	s, r := open(t, t.TempDir())
	r.err = &mroute.RefusalError{Refusals: []mroute.Refusal{{Interface: "wg0", Endpoint: addr("10.0.0.9"), Err: errors.New("it is ours")}}}
	_, err := set(s, update(t, endpointPathOf("wg0", addr("10.0.0.9")), "{}"))
	f := faults(t, err)
	if len(f) != 1 || f[0].Code != Refused || f[0].Path != endpointPathOf("wg0", addr("10.0.0.9"))+"/config/address" || f[0].Op != 0 {
		t.Errorf("%+v", f)
	}
}

// P1.4: the start-up file has endpoints too, in a short form and a long one, and its faults have lines.
func TestImportOfEndpoints(t *testing.T) {
	c := loadText(t, `{tunnel_endpoints:[{interface:"wg0",endpoints:["10.1.0.5",{address:"10.2.0.5",neighbor:"10.2.0.1"}]},{interface:"gre1"}]}`)
	want := map[string][]netif.ConfiguredEndpoint{
		"gre1": nil, "wg0": {{Address: addr("10.1.0.5")}, {Address: addr("10.2.0.5"), Neighbor: addr("10.2.0.1")}},
	}
	if diff := cmp.Diff(want, c.config.Endpoints, compareConfig); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		name, text string
		line       int
		want       string
	}{
		{"no_array", "{\ntunnel_endpoints:{}}", 2, "tunnel_endpoints: an object where an array"},
		{"no_object", "{tunnel_endpoints:[\n7]}", 2, "tunnel_endpoints[0]: a number where an object"},
		{"no_interface", "{tunnel_endpoints:[\n{}]}", 2, "tunnel_endpoints[0]: needs an interface"},
		{"unknown_key", "{tunnel_endpoints:[{interface:'wg0',\nendpoint:'10.1.0.5'}]}", 2, `tunnel_endpoints[0]: unknown key "endpoint"`},
		{"endpoints_no_array", "{tunnel_endpoints:[{interface:'wg0',\nendpoints:'10.1.0.5'}]}", 2, "tunnel_endpoints[0].endpoints: a string where an array"},
		{"no_address", "{tunnel_endpoints:[{interface:'wg0',endpoints:[\n{}]}]}", 2, "tunnel_endpoints[0].endpoints[0]: needs an address"},
		{"unknown_in_endpoint", "{tunnel_endpoints:[{interface:'wg0',endpoints:[{address:'10.1.0.5',\nport:1}]}]}", 2, `tunnel_endpoints[0].endpoints[0]: unknown key "port"`},
		{"number_for_an_address", "{tunnel_endpoints:[{interface:'wg0',endpoints:[\n7]}]}", 2, "a number where an object"},
		{"group", "{tunnel_endpoints:[{interface:'wg0',endpoints:[\n'239.1.1.1']}]}", 2, "multicast group"},
		{"one_neighbor_twice", "{tunnel_endpoints:[{interface:'wg0',endpoints:[{address:'10.1.0.5',neighbor:'10.0.0.1'},\n{address:'10.2.0.5',neighbor:'10.0.0.1'}]}]}", 2, "already"},
		{"same_endpoint_twice", "{tunnel_endpoints:[{interface:'wg0',endpoints:['10.1.0.5',\n'10.1.0.5']}]}", 2, "is there twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := Check([]byte(tt.text), "start.json5")
			if f := faults(t, err); f[0].Line != tt.line || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v (line %d), want line %d …%s…", err, f[0].Line, tt.line, tt.want)
			}
		})
	}
}
