// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// startEndpoints is a fake that knows the endpoints of testdata, and the interface gre1.
func startEndpoints(t *testing.T) *fake {
	t.Helper()
	f := startFake(t)
	var all map[string]json.RawMessage
	if err := json.Unmarshal([]byte(readTestdata(t, "endpoints.json")), &all); err != nil {
		t.Fatal(err)
	}
	const list = "/mcr/tunnel-endpoints/tunnel-endpoint"
	for path, value := range all {
		f.answer(path, string(value))
		f.answers[list] = append(f.answers[list], pathValue{path, value})
		state := path + "/state/interface"
		f.answers[list+"[interface=*]/state/interface"] = append(f.answers[list+"[interface=*]/state/interface"], pathValue{state, json.RawMessage(`"x"`)})
	}
	f.answer("/interfaces/interface[name=gre1]", strings.ReplaceAll(readTestdata(t, "interface.json"), `"gre0"`, `"gre1"`))
	f.answer("/interfaces/interface[name=eth0]", `{"name":"eth0"}`)
	return f
}

// P2.4: the endpoint, where it came from, what was passed over and why.
func TestP2_4_ShowEndpoints(t *testing.T) {
	f := startEndpoints(t)
	golden(t, "show_endpoints.txt", f.done(t, "show", "endpoints"))
	for _, iface := range []string{"gre1", "gre0", "wg0", "tun9"} {
		golden(t, "show_endpoints_why_"+iface+".txt", f.done(t, "show", "endpoints", "--why", iface))
	}
	golden(t, "show_endpoints_why_gre1.json", f.done(t, "show", "endpoints", "--why", "gre1", "-o", "json"))
	for iface, want := range map[string]string{
		"eth0": "nobody asks for the far end of eth0", "eth9": "there is no interface eth9",
	} {
		if got := f.run(t, "show", "endpoints", "--why", iface); got.code != exitRefused || !strings.Contains(got.stderr, want) || got.stdout != "" {
			t.Errorf("--why %s: %+v", iface, got)
		}
	}
	got := f.done(t, "__complete", "show", "endpoints", "--why", "")
	for _, iface := range []string{"gre0", "gre1", "tun9", "wg0"} {
		if !strings.Contains(got, iface+"\n") {
			t.Errorf("completion has no %s: %q", iface, got)
		}
	}
}

// P2.3: each reason for which there is no endpoint is said in words, and a new one as it is.
func TestP2_3_ReasonsInWords(t *testing.T) {
	seen := map[string]string{}
	for _, reason := range []string{
		"interface-missing", "no-peer-information", "multipoint", "collect-metadata", "several-peers", "no-host-allowed-ip",
		"several-endpoints", "multicast-remote",
	} {
		e := &tunnel{Interface: "x0"}
		e.State.Reason, e.State.HER = reason, true
		text := verdict(e)
		if !strings.Contains(text, "x0") || !strings.HasSuffix(text, "("+reason+")") || seen[text] != "" || strings.Contains(text, "\n") {
			t.Errorf("%s: %s", reason, text)
		}
		seen[text] = reason
	}
	e := &tunnel{Interface: "x0"}
	e.State.Reason = "sunspots"
	want := "multicast outputs stay multicast, though the interface has none (head-end replication is off); " +
		"no endpoint is known: no unicast endpoint is known on x0 (sunspots)"
	if diff := cmp.Diff(want, verdict(e)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// P3.8: tables of outputs show which ones are head-end replication, and where it goes.
func TestP3_8_OutputsShowHeadEndReplication(t *testing.T) {
	f := startFake(t)
	out := func(name, state string) string {
		return fmt.Sprintf(`{"name":%q,"config":{"name":%[1]q,"interface":"wg0"},"state":{"name":%[1]q,"interface":"wg0","group":"239.1.1.1","port":5000,"oper-status":"up","down-reason":"none",%s}}`, name, state)
	}
	outs := strings.Join([]string{
		out("a", `"her-active":false,"branch-count":1,"endpoint":"239.1.1.1","endpoint-port":5000`),
		out("b", `"her-active":true,"branch-count":1,"endpoint":"10.1.0.5","endpoint-port":5000,"endpoint-origin":"wireguard-peer"`),
		out("c", `"her-active":true,"branch-count":3,"endpoint-origin":"configured"`),
		out("d", `"her-active":true,"branch-count":0,"endpoint-origin":"none"`),
		out("e", `"her-active":false,"branch-count":1,"unicast-dest":"10.1.0.9","endpoint":"10.1.0.9","endpoint-port":5000,"endpoint-origin":"configured"`),
	}, ",")
	f.answer("/mcr/forwarding/rules/rule[name=r]", `{"name":"r","state":{"name":"r","input-interface":"eth0","input-group":"239.1.1.1","input-port":5000,
		"oper-status":"up","input-status":"receiving"},"outputs":{"output":[`+outs+`]}}`)
	f.answer("/mcr/mrib/entries/entry", `{"state":{"interface":"eth0","source":"0.0.0.0","group":"239.1.1.1","port":5000,"oper-status":"up","input-status":"receiving","origins":["static"]},
		"outputs":{"output":[
		{"state":{"interface":"wg0","destination":"10.1.0.5","port":5000,"oper-status":"up","her-active":true,"branch-count":1,"endpoint":"10.1.0.5","endpoint-origin":"wireguard-peer","origins":["static"]}},
		{"state":{"interface":"gre0","destination":"0.0.0.0","port":5000,"oper-status":"down","down-reason":"endpoint-unresolved","her-active":true,"branch-count":0,"endpoint-origin":"none","origins":["static"]}}]}}`)
	golden(t, "show_outputs_her.txt", f.done(t, "show", "outputs", "r"))
	golden(t, "show_rule_her.txt", f.done(t, "show", "rule", "r"))
	golden(t, "show_mrib_her.txt", f.done(t, "show", "mrib"))
}
