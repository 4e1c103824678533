// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// causeRule is a rule with the given leaves of state, and one output for each further argument. seconds ago are written @5.
func causeRule(t *testing.T, state string, outputs ...string) *rule {
	t.Helper()
	for n := range 200 {
		state = strings.ReplaceAll(state, fmt.Sprintf("@%d,", n), fmt.Sprintf(`"%d",`, snapshotTime.Add(-time.Duration(n)*time.Second).UnixNano()))
	}
	text := fmt.Sprintf(`{"name":"r","state":{%s"name":"r","input-interface":"eth0","input-group":"239.1.1.1","input-port":5000},"outputs":{"output":[%s]}}`,
		state, strings.Join(outputs, ","))
	r := &rule{}
	if err := json.Unmarshal([]byte(text), r); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return r
}

func causeOutput(iface, dest, state string) string {
	return fmt.Sprintf(`{"name":"%s@%s:5000","state":{"interface":"%s","group":"239.1.1.1","unicast-dest":"%s","port":5000,%s}}`,
		iface, dest, iface, dest, state)
}

// F7: one line names the cause.
func TestCause(t *testing.T) {
	const (
		good    = `"oper-status":"up","down-reason":"none","input-status":"receiving","joined":true,`
		up      = `"oper-status":"up","down-reason":"none"`
		refused = `"counters":{"errors-refused":"1234","last-error":"ECONNREFUSED","last-error-time":"%d"}`
	)
	recently, longAgo := fmt.Sprintf(refused, snapshotTime.Add(-time.Second).UnixNano()), fmt.Sprintf(refused, snapshotTime.Add(-time.Hour).UnixNano())
	down := func(reason string) string { return `"oper-status":"down","down-reason":"` + reason + `"` }
	spoke := func(state string) string { return causeOutput("gre0", "10.2.0.5", state) }
	failing := func(reason string) string { return "output gre0@10.2.0.5:5000 does not send: " + reason }
	discarding := func(reason, counter string) string {
		return `"oper-status":"up","input-status":"discarding","discard-reason":"` + reason + `","counters":{"` + counter + `":"1234"},`
	}
	for _, tt := range []struct {
		name     string
		state    string
		outputs  []string
		checksum number
		want     string
	}{
		{"all_well", good, []string{spoke(up), causeOutput("wg0", "10.1.0.5", up)}, 0, "receiving, and all 2 outputs send"},
		{"one_output", good, []string{spoke(up)}, 0, "receiving, and the output sends"},
		{"no_outputs", good, nil, 0, "receiving; the rule has no outputs"},
		{"no_state", "", nil, 0, "mcrd has no state for this rule yet"},
		{"switched_off", down("admin-disabled") + `,"enabled":false,`, []string{spoke(down("admin-disabled"))}, 0, "the rule is switched off (admin-disabled)"},

		{"no_such_interface", down("interface-missing") + ",", nil, 0, "input interface eth0 does not exist (interface-missing)"},
		{"interface_down", down("interface-down") + ",", nil, 0, "input interface eth0 is down or has no carrier (interface-down)"},
		{"bridge_port", down("interface-enslaved") + ",", nil, 0, "input interface eth0 is a bridge port or bond slave: receive on its master (interface-enslaved)"},
		{
			"too_many_ports", `"oper-status":"degraded","down-reason":"limit-exceeded","input-status":"receiving","counters":{"dropped-limit":"1234"},`, nil, 0,
			"datagrams for 239.1.1.1:5000 on eth0 come on more ports than may be learnt, see maximum-learnt-ports and the limit of sockets: " +
				"1,234 datagrams dropped (limit-exceeded)",
		},
		{
			"not_joined", down("join-failed") + `,"input-status":"not-joined",`, nil, 0,
			"group 239.1.1.1 is not joined on eth0: the kernel refused the membership (join-failed)",
		},
		{
			"not_joined_without_reason", `"oper-status":"up","input-status":"not-joined",`, nil, 0,
			"group 239.1.1.1 is not joined on eth0: the kernel refused the membership (not-joined)",
		},
		{
			"loop", down("loop") + fmt.Sprintf(`,"retry-time":"%d",`, snapshotTime.Add(25*time.Second).UnixNano()),
			[]string{spoke(down("loop"))},
			0,
			"its own copies come back to it, so it is down and tried again in 25 s, or when the rule changes (loop)",
		},
		{"not_an_own_address", down("no-address") + `,"input-status":"not-joined",`, nil, 0, "239.1.1.1 is not an address of this host (no-address)"},
		{"boundary", down("scope") + `,"input-status":"not-joined",`, nil, 0, "a boundary keeps group 239.1.1.1 from eth0 (scope)"},
		{"reason_that_came_later", down("sunspots") + ",", nil, 0, "the input 239.1.1.1:5000 on eth0 is down (sunspots)"},
		{
			"never_came", `"oper-status":"up","input-status":"never","joined":true,"created":@100,`,
			[]string{spoke(up)},
			0,
			"nothing has come for 239.1.1.1:5000 on eth0 since the rule was made 100 s ago: the source is silent, or its stream does not reach eth0 (never)",
		},
		{
			"silent_source", `"oper-status":"up","input-status":"silent","last-packet-time":@12,`,
			[]string{spoke(up)},
			0,
			"the source is silent: the last datagram for 239.1.1.1:5000 on eth0 came 12 s ago (silent)",
		},
		{
			"silent_source_named", `"oper-status":"up","input-status":"silent","last-packet-time":@12,"input-source":"10.0.0.9",`, nil, 0,
			"the source is silent: the last datagram for 239.1.1.1:5000 from 10.0.0.9 on eth0 came 12 s ago (silent)",
		},
		{
			"wrong_checksum_at_the_socket", `"oper-status":"up","input-status":"never","created":@12,`, nil, 17,
			"nothing has come for 239.1.1.1:5000 on eth0 since the rule was made 12 s ago: the source is silent, or its stream does not reach eth0 (never), " +
				"or its UDP checksum is wrong: the kernel has dropped 17 datagrams for that on this host",
		},
		{
			"wrong_checksum_counted_by_the_kernel", discarding("checksum", "dropped-ttl"), nil, 17,
			"the stream 239.1.1.1:5000 on eth0 arrives with a wrong UDP checksum: 17 datagrams dropped (checksum)",
		},
		{
			"wrong_interface_not_counted", discarding("wrong-interface", "dropped-ttl"), nil, 0,
			"the stream 239.1.1.1:5000 arrives on another interface than eth0 (wrong-interface)",
		},
		{
			"wrong_checksum", discarding("checksum", "dropped-checksum"), nil, 0,
			"the stream 239.1.1.1:5000 on eth0 arrives with a wrong UDP checksum: 1,234 datagrams dropped (checksum)",
		},
		{
			"ttl_too_low", discarding("ttl", "dropped-ttl") + `"minimum-input-ttl":2,`, nil, 0,
			"the stream 239.1.1.1:5000 on eth0 arrives with a TTL below minimum-input-ttl 2: 1,234 datagrams dropped (ttl)",
		},
		{
			"wrong_interface", discarding("wrong-interface", "dropped-wrong-interface"), nil, 0,
			"the stream 239.1.1.1:5000 arrives on another interface than eth0: 1,234 datagrams dropped (wrong-interface)",
		},
		{
			"discarded_for_a_new_reason", discarding("moon", "dropped-limit"), nil, 0,
			"the stream 239.1.1.1:5000 on eth0 arrives in a way that mcrd drops: 1,234 datagrams dropped (moon)",
		},

		{"output_interface_missing", good, []string{spoke(down("interface-missing"))}, 0, failing("interface gre0 does not exist (interface-missing)")},
		{"output_interface_down", good, []string{spoke(down("interface-down"))}, 0, failing("interface gre0 is down or has no carrier (interface-down)")},
		{"output_bond_slave", good, []string{spoke(down("interface-enslaved"))}, 0, failing("interface gre0 is a bridge port or bond slave: send on bond0 (interface-enslaved)")},
		{"output_no_route", good, []string{spoke(down("no-route"))}, 0, failing("there is no route to 10.2.0.5 (no-route)")},
		{"output_route_elsewhere", good, []string{spoke(down("route-elsewhere"))}, 0, failing("the route to 10.2.0.5 does not leave by gre0 (route-elsewhere)")},
		{"output_ttl_too_low", good, []string{spoke(down("ttl-too-low"))}, 0, failing("what arrives has too low a TTL for another hop, see multicast-ttl-policy (ttl-too-low)")},
		{
			"output_without_endpoint", good,
			[]string{spoke(`"her-active":true,"branch-count":0,` + down("endpoint-unresolved"))},
			0,
			failing("gre0 has no fixed remote, so anybody may be behind it; configure endpoints (endpoint-unresolved)"),
		},
		{
			"output_without_endpoint_for_no_known_reason", good,
			[]string{causeOutput("gre1", "10.2.0.5", down("endpoint-unresolved"))},
			0,
			"output gre1@10.2.0.5:5000 does not send: no unicast endpoint is known on gre1 (endpoint-unresolved)",
		},
		{
			"one_of_several_endpoints", good,
			[]string{spoke(`"her-active":true,"branch-count":3,"oper-status":"degraded","down-reason":"wireguard-no-endpoint"`)},
			0,
			"output gre0@10.2.0.5:5000 does not send to all of its 3 endpoints, show mrib has each (wireguard-no-endpoint)",
		},
		{
			"all_of_several_endpoints", good,
			[]string{spoke(`"her-active":true,"branch-count":3,` + down("no-route"))},
			0,
			failing("there is no route to 3 endpoints (no-route)"),
		},
		{"output_comes_back", good, []string{spoke(down("loop"))}, 0, failing("its copies come back to the input (loop)")},
		{
			"output_on_the_input_interface", good,
			[]string{`{"name":"o","state":{"interface":"eth0","group":"239.1.1.1","port":5000,"her-active":false,` + down("loop") + `}}`},
			0,
			"output o does not send: 239.1.1.1 is not sent out of the interface it comes in on; her-mode always makes unicast copies of it (loop)",
		},
		{"output_wireguard_no_peer", good, []string{spoke(`"endpoint":"10.1.0.9",` + down("wireguard-no-peer"))}, 0, failing("no WireGuard peer of gre0 may have 10.1.0.9 (wireguard-no-peer)")},
		{"output_wireguard_no_endpoint", good, []string{spoke(down("wireguard-no-endpoint"))}, 0, failing("the WireGuard peer has no endpoint yet (wireguard-no-endpoint)")},
		{"output_switched_off", good, []string{spoke(down("admin-disabled"))}, 0, failing("it is switched off (admin-disabled)")},
		{"output_reason_that_came_later", good, []string{spoke(down("sunspots"))}, 0, failing("sunspots")},
		{
			"receiver_port_closed", good,
			[]string{spoke(down("send-failing") + "," + recently)},
			0,
			failing("the receiver 10.2.0.5 has no program on UDP port 5000, refused 1234 times (send-failing: ECONNREFUSED)"),
		},
		{
			"receiver_port_closed_just_now", good,
			[]string{spoke(up + "," + recently)},
			0,
			failing("the receiver 10.2.0.5 has no program on UDP port 5000, refused 1234 times (send-failing: ECONNREFUSED)"),
		},
		{"receiver_port_open_again", good, []string{spoke(up + "," + longAgo)}, 0, "receiving, and the output sends"},
		{
			"sends_fail", good,
			[]string{spoke(`"oper-status":"degraded","down-reason":"send-failing","counters":{"last-error":"EHOSTUNREACH"}`)},
			0,
			failing("nobody answers for 10.2.0.5, or a router cannot reach it (send-failing: EHOSTUNREACH)"),
		},
		{"sends_fail_for_no_known_reason", good, []string{spoke(down("send-failing"))}, 0, failing("sending to 10.2.0.5 fails (send-failing)")},
		{
			"several_outputs", good,
			[]string{
				spoke(down("no-route")), causeOutput("a", "10.0.0.1", down("loop")), causeOutput("b", "10.0.0.2", up),
				causeOutput("c", "10.0.0.3", down("send-failing")+","+recently), causeOutput("d", "10.0.0.4", down("no-route")),
			},
			0,
			"4 of 5 outputs do not send: gre0@10.2.0.5:5000 (no-route), a@10.0.0.1:5000 (loop), c@10.0.0.3:5000 (send-failing: ECONNREFUSED), 1 more",
		},
		{
			"input_before_output", down("interface-missing") + ",",
			[]string{spoke(down("no-route"))},
			0,
			"input interface eth0 does not exist (interface-missing); " + failing("there is no route to 10.2.0.5 (no-route)"),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := cause(facts{Masters: map[string]string{"gre0": "bond0"}, Unresolved: map[string]string{"gre0": "multipoint"}, Rule: causeRule(t, tt.state, tt.outputs...), Now: snapshotTime, ChecksumErrors: tt.checksum})
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if strings.Contains(got, "\n") {
				t.Error("more than a line")
			}
		})
	}
}

// F1, F7: what keeps a branch from sending is named by what the kernel said.
func TestCauseOfFailingSends(t *testing.T) {
	for errno, want := range map[string]string{
		"EPERM":        "a filter or policy of the host forbids sending to 10.2.0.5",
		"EACCES":       "a filter or policy of the host forbids sending to 10.2.0.5",
		"ENOBUFS":      "the send queue of gre0 is full",
		"EHOSTUNREACH": "nobody answers for 10.2.0.5, or a router cannot reach it",
		"ENETUNREACH":  "there is no way to 10.2.0.5, or a router says so",
		"EMSGSIZE":     "datagrams to 10.2.0.5 are too long for the path",
		"ENOKEY":       "no WireGuard peer of gre0 may have 10.2.0.5",
		"EDESTADDRREQ": "the WireGuard peer has no endpoint yet",
		"EPROTO":       "sending to 10.2.0.5 fails",
	} {
		state := fmt.Sprintf(`"oper-status":"down","down-reason":"send-failing","counters":{"errors":"1234","last-error":"%s"}`, errno)
		r := causeRule(t, `"oper-status":"degraded","input-status":"receiving",`, causeOutput("gre0", "10.2.0.5", state))
		want = "output gre0@10.2.0.5:5000 does not send: " + want + ": 1,234 datagrams lost (send-failing: " + errno + ")"
		if diff := cmp.Diff(want, cause(facts{Rule: r, Now: snapshotTime})); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}
