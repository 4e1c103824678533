// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const hybridFeed = "/mcr/forwarding/rules/rule[name=hybrid-feed]"

// The roadmap's add line, and everything else that changes the configuration: what is sent.
func TestSets(t *testing.T) {
	json5 := filepath.Join(t.TempDir(), "start.json5")
	rfc7951 := filepath.Join(t.TempDir(), "all.json")
	for file, text := range map[string]string{json5: "{ rules: [] }", rfc7951: `{"mcr:mcr":{}}`} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{
			"roadmap_add_P1.5",
			words("add --input-interface eth0 --input-group 239.1.1.1 --input-port 5000 --outputs 239.1.1.1:5000:eth1,239.1.1.1:5000:gre0@10.2.0.5"),
			`update /mcr/forwarding/rules/rule[name=eth0:239.1.1.1:5000] {"name":"eth0:239.1.1.1:5000",` +
				`"config":{"name":"eth0:239.1.1.1:5000","input-interface":"eth0","input-group":"239.1.1.1","input-port":5000},` +
				`"outputs":{"output":[` +
				`{"name":"eth1@239.1.1.1:5000","config":{"name":"eth1@239.1.1.1:5000","interface":"eth1","group":"239.1.1.1","port":5000}},` +
				`{"name":"gre0@10.2.0.5:5000","config":{"name":"gre0@10.2.0.5:5000","interface":"gre0","group":"239.1.1.1","port":5000,"unicast-dest":"10.2.0.5"}}]}}`,
		},
		{
			"add_replaces_a_rule_when_asked",
			words("add --name hybrid-feed --replace --input-interface eth0 --input-group 239.1.1.1 --input-source 10.0.0.9"),
			`replace ` + hybridFeed + ` {"name":"hybrid-feed",` +
				`"config":{"name":"hybrid-feed","input-interface":"eth0","input-group":"239.1.1.1","input-port":0,"input-source":"10.0.0.9"}}`,
		},
		{"remove", words("remove hybrid-feed"), "delete " + hybridFeed},
		{
			"add_output", words("add-output hybrid-feed 239.1.1.1:5001:gre0@10.2.0.6"),
			`update ` + hybridFeed + `/outputs/output[name=gre0@10.2.0.6:5001] {"name":"gre0@10.2.0.6:5001",` +
				`"config":{"name":"gre0@10.2.0.6:5001","interface":"gre0","group":"239.1.1.1","port":5001,"unicast-dest":"10.2.0.6"}}`,
		},
		{"remove_output_by_name", words("remove-output hybrid-feed spoke"), "delete " + hybridFeed + "/outputs/output[name=spoke]"},
		{
			"remove_output_by_content", words("remove-output hybrid-feed 239.1.1.1:5000:gre0@10.2.0.5"),
			"delete " + hybridFeed + "/outputs/output[name=spoke]",
		},
		{
			"remove_output_by_effective_port", words("remove-output hybrid-feed 239.1.1.1:5000:wg0@10.1.0.5"),
			"delete " + hybridFeed + "/outputs/output[name=wg0@10.1.0.5:0]",
		},
		{"apply_text_P1.4", []string{"apply", json5}, "replace mcr_cli:/ { rules: [] }"},
		{"apply_RFC_7951", []string{"apply", rfc7951}, `replace / {"mcr:mcr":{}}`},
		{"set_number", words("set /mcr/forwarding/config/unicast-ttl 32"), "update /mcr/forwarding/config/unicast-ttl 32"},
		{"set_word", words("set /mcr/forwarding/config/her-mode always"), `update /mcr/forwarding/config/her-mode "always"`},
		{"set_replace", words("set --replace /mcr/forwarding/config {}"), `replace /mcr/forwarding/config {}`},
		{"delete", words("delete /mcr/forwarding/rules"), "delete /mcr/forwarding/rules"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := startFake(t)
			f.answer(hybridFeed, readTestdata(t, "rule.json"))
			f.answer(hybridFeed+"/config", `{"name":"hybrid-feed"}`)
			f.answer(hybridFeed+"/outputs/output[name=wg0@10.1.0.5:0]/config", `{"name":"wg0@10.1.0.5:0"}`)
			f.answer(hybridFeed+"/outputs/output[name=spoke]/config", `{"name":"spoke"}`)
			if out := f.done(t, tt.args...); out != "" {
				t.Errorf("words on standard output: %q", out)
			}
			if diff := cmp.Diff(tt.want+"\n", f.setText()); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
		})
	}
}

func words(s string) []string { return strings.Fields(s) }

// Refused here, before anything is sent.
func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		name, args string
		code       int
		stderr     string
	}{
		{
			"taken_name_hints_at_replace", "add --name hybrid-feed --input-interface eth9 --input-group 239.9.9.9", exitRefused,
			"a rule hybrid-feed exists already; --replace puts this one in its place, --name names it otherwise",
		},
		{
			"equal_outputs", "add --input-interface e --input-group 239.9.9.9 --outputs 239.9.9.9:1:a,239.9.9.9:1:a", exitRefused,
			"output 239.9.9.9:1:a is there twice",
		},
		{"remove_of_nothing", "remove nosuch", exitRefused, "there is no rule nosuch"},
		{"remove_of_all", "remove *", exitUsage, `no rule can have this name: "*"`},
		{"output_to_no_rule", "add-output nosuch 239.1.1.1:1:eth1", exitRefused, "there is no rule nosuch"},
		{"taken_output_name", "add-output hybrid-feed 239.1.1.1:0:wg0@10.1.0.5", exitRefused, "has an output wg0@10.1.0.5:0 already"},
		{"remove_output_of_nothing", "remove-output hybrid-feed 239.1.1.1:1:eth7", exitRefused, "has no output 239.1.1.1:1:eth7"},
		{
			// P1.5: the caret is under the fault.
			"malformed_form", "add --input-interface e --input-group 239.1.1.1 --outputs 239.1.1.1:1:a,239.1.1.1:2:b@", exitUsage,
			"  239.1.1.1:1:a,239.1.1.1:2:b@\n" + strings.Repeat(" ", 2+28) + "^\n",
		},
		{"malformed_form_of_output", "add-output hybrid-feed 239.1.1.1:70000:a", exitUsage, "  239.1.1.1:70000:a\n            ^\n"},
		{"neither_name_nor_form", "remove-output hybrid-feed spike", exitUsage, "has no output of this name, and it is no form of one"},
		{"remove_of_all_outputs", "remove-output hybrid-feed *", exitUsage, "has no output of this name"},
		{"malformed_path", "get /mcr/rule[name", exitUsage, "  /mcr/rule[name\n            ^\n"},
		{"malformed_group", "add --input-interface e --input-group group", exitUsage, "--input-group is not an IPv4 address: group"},
		{"missing_flag", "add --input-interface e", exitUsage, "input-group"},
		{"missing_argument", "remove", exitUsage, "accepts 1 arg"},
		{"unknown_command", "frobnicate", exitUsage, "frobnicate"},
		{"unknown_flag", "list --frobnicate", exitUsage, "frobnicate"},
		{"unknown_thing_to_show", "show frobnicate", exitUsage, "frobnicate"},
		{"unknown_output", "list -o yaml", exitUsage, "table or json"},
		{"missing_file", "apply /nonexistent/file", exitRefused, "/nonexistent/file"},
		{"missing_data", "get /mcr/nothing", exitRefused, "/mcr/nothing: no data"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := startFake(t)
			f.answer(hybridFeed, readTestdata(t, "rule.json"))
			f.answer(hybridFeed+"/config", `{"name":"hybrid-feed"}`)
			f.answer(hybridFeed+"/outputs/output[name=wg0@10.1.0.5:0]/config", `{"name":"wg0@10.1.0.5:0"}`)
			got := f.run(t, words(tt.args)...)
			if got.code != tt.code || !strings.Contains(got.stderr, tt.stderr) {
				t.Errorf("exit code %d, want %d, with %q in:\n%s", got.code, tt.code, tt.stderr, got.stderr)
			}
			if got.stdout != "" {
				t.Errorf("words on standard output: %q", got.stdout)
			}
			if sent := f.setText(); sent != "" {
				t.Errorf("sent %s", sent)
			}
		})
	}
}

// What the server says is shown in full: path, reason, and every fault behind the first.
func TestServerErrorIsShownInFull(t *testing.T) {
	s, err := status.New(codes.InvalidArgument, "update[0] /mcr/a: too long").WithDetails(&errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: "/mcr/a", Description: "too long"}, {Field: "/mcr/b", Description: "not a group"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	f := startFake(t)
	f.setErr = s.Err()
	got := f.run(t, "set", "/mcr/a", "x")
	want := result{exitRefused, "", "mcrctl: update[0] /mcr/a: too long\n  /mcr/b: not a group\n"}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestDaemonNotReached(t *testing.T) {
	got := runAt(t, "unix://"+filepath.Join(t.TempDir(), "none"), "list")
	if got.code != exitNotReached || !strings.Contains(got.stderr, "Is mcrd running?") || got.stdout != "" {
		t.Errorf("%+v", got)
	}
}

// P1.5: the same form back.
func TestList(t *testing.T) {
	f := startFake(t)
	const all = "/mcr/forwarding/rules/rule[name=*]"
	f.answers[all] = []pathValue{
		{hybridFeed, json.RawMessage(readTestdata(t, "rule.json"))},
		{"/mcr/forwarding/rules/rule[name=empty]", json.RawMessage(
			`{"name":"empty","config":{"name":"empty","enabled":false,"input-interface":"eth5","input-group":"239.5.5.5","input-source":"10.0.0.1"}}`)},
	}
	golden(t, "list.txt", f.done(t, "list"))
	golden(t, "list.json", f.done(t, "list", "-o", "json"))
}

func TestNothingThereIsAnEmptyList(t *testing.T) {
	f := startFake(t)
	for _, line := range []string{
		"list", "show rules", "show outputs", "show mrib", "show interfaces", "show dataplane", "show igmp", "show pim",
		"show commits", "show clients", "show endpoints",
	} {
		if got := f.done(t, append(words(line), "-o", "json")...); got != "[]\n" {
			t.Errorf("%s -o json: %q", line, got)
		}
		if got := f.done(t, words(line)...); strings.Count(got, "\n") > 1 {
			t.Errorf("%s: %q", line, got)
		}
	}
}

func TestShow(t *testing.T) {
	f := startFake(t)
	f.answer(hybridFeed, readTestdata(t, "rule.json"))
	f.answer("/mcr/dataplane/state/counters/checksum-errors", `"17"`)
	f.answers["/mcr/forwarding/rules/rule[name=*]"] = f.answers[hybridFeed]
	var r struct {
		State json.RawMessage `json:"mcr:state"`
	}
	if err := json.Unmarshal([]byte(readTestdata(t, "rule.json")), &r); err != nil {
		t.Fatal(err)
	}
	f.answers["/mcr/forwarding/rules/rule[name=*]/state"] = []pathValue{{hybridFeed + "/state", r.State}}
	f.answer("/mcr/mrib/entries/entry", readTestdata(t, "entry.json"))
	f.answer("/interfaces/interface", readTestdata(t, "interface.json"))
	f.answer("/mcr/dataplane", readTestdata(t, "dataplane.json"))
	f.answer("/network-instances/network-instance[name=default]/protocols/protocol[identifier=IGMP][name=igmp]/igmp/interfaces/interface",
		`{"mcr-network-instance:interface-id":"eth1","config":{"enabled":true},"state":{"enabled":true,"down-reason":"not-running"}}`)
	for _, what := range []string{"rule hybrid-feed", "rules", "outputs", "outputs hybrid-feed", "mrib", "interfaces", "dataplane", "igmp"} {
		t.Run(what, func(t *testing.T) {
			golden(t, "show_"+strings.ReplaceAll(what, " ", "_")+".txt", f.done(t, append([]string{"show"}, words(what)...)...))
		})
	}
	golden(t, "show_rule.json", f.done(t, "show", "rule", "hybrid-feed", "-o", "json"))
	golden(t, "show_outputs.json", f.done(t, "show", "outputs", "-o", "json"))
}

func TestGet(t *testing.T) {
	f := startFake(t)
	f.answer("/mcr/forwarding/config", `{"mcr:unicast-ttl":64,"mcr:x":{"a:b":"c:d"}}`)
	f.answer("/mcr/forwarding/config/unicast-ttl", `64`)
	f.answers["/a[name=*]/leaf"] = []pathValue{{"/a[name=x]/leaf", json.RawMessage(`"p"`)}, {`/a[name=y\]z]/leaf`, json.RawMessage(`"q"`)}}
	for _, tt := range []struct{ name, args, want string }{
		{"leaf_is_bare", "get /mcr/forwarding/config/unicast-ttl", "64\n"},
		{
			"container_is_indented_RFC_7951_that_can_be_applied", "get /mcr/forwarding/config",
			"{\n  \"mcr:unicast-ttl\": 64,\n  \"mcr:x\": {\n    \"a:b\": \"c:d\"\n  }\n}\n",
		},
		{"wildcard_has_paths", "get /a[name=*]/leaf", "/a[name=x]/leaf p\n/a[name=y\\]z]/leaf q\n"},
		{
			"json_is_always_a_list", "get /mcr/forwarding/config/unicast-ttl -o json",
			"[\n  {\n    \"path\": \"/mcr/forwarding/config/unicast-ttl\",\n    \"value\": 64\n  }\n]\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, f.done(t, words(tt.args)...)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestVersionAndManual(t *testing.T) {
	f := startFake(t)
	f.answer("/mcr/system/state/version", `"1.2.3"`)
	if got := f.done(t, "version"); !strings.Contains(got, "mcrctl dev") || !strings.Contains(got, "mcrd 1.2.3\n") {
		t.Errorf("version: %q", got)
	}
	if got := runAt(t, "unix://"+filepath.Join(t.TempDir(), "none"), "version"); got.code != exitDone {
		t.Errorf("version without mcrd: %+v", got)
	}
	dir := t.TempDir()
	f.done(t, "man", dir)
	for _, page := range []string{"mcrctl.1", "mcrctl-add.1", "mcrctl-show-rule.1", "mcrctl-show-endpoints.1"} {
		if _, err := os.Stat(filepath.Join(dir, page)); err != nil {
			t.Error(err)
		}
	}
	if got := f.done(t, "completion", "bash"); !strings.Contains(got, "mcrctl") {
		t.Error("completion of bash has no word of mcrctl")
	}
}

// Names of rules complete from the daemon.
func TestRuleNamesComplete(t *testing.T) {
	f := startFake(t)
	f.answers["/mcr/forwarding/rules/rule[name=*]/config/name"] = []pathValue{
		{hybridFeed + "/config/name", json.RawMessage(`"hybrid-feed"`)},
	}
	if got := f.done(t, "__complete", "remove", ""); !strings.HasPrefix(got, "hybrid-feed\n") {
		t.Errorf("%q", got)
	}
}
