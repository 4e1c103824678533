// SPDX-License-Identifier: Apache-2.0

package config

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func zeroClock() time.Time { return time.Time{} }

// loadText returns what a start-up file alone configures.
func loadText(t testing.TB, text string) *compiled {
	t.Helper()
	c, err := transact(empty(), []change{changeOfFile("start", []byte(text))})
	if err != nil {
		t.Fatal(err)
	}
	checkAlike(t, c)
	return c
}

// P1.4, P4.1: the roadmap's examples as they stand.
func TestRoadmapExamples(t *testing.T) {
	for _, tt := range []struct{ file, want string }{
		{"phase1", `{"mcr:mcr":{"forwarding":{"rules":{"rule":[{"config":{"input-group":"239.1.1.1","input-interface":"eth0","input-port":5000,"name":"hybrid-feed"},"name":"hybrid-feed","outputs":{"output":[` +
			`{"config":{"group":"239.1.1.1","interface":"eth1","name":"eth1@239.1.1.1:5000","port":5000},"name":"eth1@239.1.1.1:5000"},` +
			`{"config":{"group":"239.1.1.1","interface":"gre0","name":"gre0@10.2.0.5:5000","port":5000,"unicast-dest":"10.2.0.5"},"name":"gre0@10.2.0.5:5000"}]}}]}}}}`},
		{"phase3-pim", `{"mcr-network-instance:network-instances":{"network-instance":[{"config":{"name":"default"},"name":"default","protocols":{"protocol":[` +
			`{"config":{"identifier":"mcr-types:PIM","name":"pim"},"identifier":"mcr-types:PIM","name":"pim","pim":{"interfaces":{"interface":[` +
			`{"config":{"enabled":true,"interface-id":"eth0"},"interface-id":"eth0"},{"config":{"auto-her":true,"enabled":true,"interface-id":"tunnel0"},"interface-id":"tunnel0"}]}}}]}}]}}`},
		{"phase3-global", `{"mcr:mcr":{"forwarding":{"config":{"auto-her-for-p2p-tunnels":true}}}}`},
		{"phase4", `{"mcr:mcr":{"forwarding":{"rules":{"rule":[{"config":{"input-group":"239.1.1.1","input-interface":"eth0","input-port":5000,"name":"eth0:239.1.1.1:5000"},"name":"eth0:239.1.1.1:5000","outputs":{"output":[` +
			`{"config":{"interface":"wg0","name":"wg0@10.1.0.5:5000","port":5000,"unicast-dest":"10.1.0.5"},"name":"wg0@10.1.0.5:5000"},` +
			`{"config":{"interface":"wg0","name":"wg0@10.2.0.5:5000","port":5000,"unicast-dest":"10.2.0.5"},"name":"wg0@10.2.0.5:5000"},` +
			`{"config":{"interface":"wg0","name":"wg0@10.3.0.5:5000","port":5000,"unicast-dest":"10.3.0.5"},"name":"wg0@10.3.0.5:5000"}]}}]}}}}`},
	} {
		t.Run(tt.file, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("testdata", tt.file+".json5"))
			if err != nil {
				t.Fatal(err)
			}
			if err := Check(text, tt.file); err != nil {
				t.Fatal(err)
			}
			if got := contents(t, loadText(t, string(text))); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// T1: unicast_dest goes before the group.
func TestT1_UnicastDestOverridesGroup(t *testing.T) {
	c := loadText(t, `{rules:[{name:"r",input:{interface:"eth0",group:"239.1.1.1",port:5000},
		outputs:[{interface:"gre0",group:"239.1.1.1",port:5000,unicast_dest:"10.2.0.5"}]}]}`)
	o := c.config.Rules["r"].Outputs[0]
	if id := identityOf(c.config.Rules["r"], o); id.dest.String() != "10.2.0.5" || o.Unicast.String() != "10.2.0.5" {
		t.Errorf("%+v", o)
	}
}

// P1.4: JSON5 beyond the examples.
func TestImport(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"pim_alone", `{pim:{enabled:true}}`, `"config":{"identifier":"mcr-types:PIM","name":"pim"}`},
		{"pim_off", `{pim:{enabled:false}}`, `"enabled":false`},
		{
			"igmp", `{igmp:{interfaces:[{name:"e0",version:2,query_interval:60},{name:"e1",enabled:false}]}}`,
			`"igmp":{"interfaces":{"interface":[{"config":{"enabled":true,"interface-id":"e0","query-interval":60,"version":2},"interface-id":"e0"},{"config":{"interface-id":"e1"},"interface-id":"e1"}]}}`,
		},
		{
			"rule_leaves", `{rules:[{name:"r",description:"d",enabled:false,silence_timeout:3,minimum_input_ttl:2,input:{interface:"e0",group:"239.1.1.1",port:0x1388,source:"10.0.0.9",receive_method:"socket"}}]}`,
			`{"description":"d","enabled":false,"input-group":"239.1.1.1","input-interface":"e0","input-port":5000,"input-source":"10.0.0.9","minimum-input-ttl":2,"name":"r","receive-method":"socket","silence-timeout":3}`,
		},
		{"rule_name_with_source", `{rules:[{input:{interface:"e0",group:"239.1.1.1",port:5000,source:"10.0.0.9"}}]}`, `"name":"e0:239.1.1.1:5000:10.0.0.9"`},
		{
			"output_leaves", `{rules:[{input:{interface:"e0",group:"239.1.1.1",port:1},outputs:[{name:"o",enabled:false,interface:"e1",group:"239.1.1.2",port:2,unicast_dest:"10.0.0.1",her_mode:"auto",source_address:"10.0.0.2",source_port:3,ttl:4,dscp:5}]}]}`,
			`{"dscp":5,"enabled":false,"group":"239.1.1.2","her-mode":"auto","interface":"e1","name":"o","port":2,"source-address":"10.0.0.2","source-port":3,"ttl":4,"unicast-dest":"10.0.0.1"}`,
		},
		{"output_name_from_input_group", `{rules:[{input:{interface:"e0",group:"239.1.1.1",port:1},outputs:[{interface:"e1"}]}]}`, `"name":"e1@239.1.1.1:0"`},
		{"forwarding", `{forwarding:{unicast_ttl:3,multicast_ttl_policy:"keep",limits:{maximum_rules:5}}}`, `{"config":{"multicast-ttl-policy":"keep","unicast-ttl":3},"limits":{"config":{"maximum-rules":5}}}`},
		{"nothing", `{}`, `{}`},
		{"rfc7951", `{"mcr:mcr":{"forwarding":{"config":{"unicast-ttl":3}}}}`, `{"mcr:mcr":{"forwarding":{"config":{"unicast-ttl":3}}}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := contents(t, loadText(t, tt.text)); !strings.Contains(got, tt.want) {
				t.Errorf("got %s\nwant in it %s", got, tt.want)
			}
		})
	}
}

// P1.4: what is wrong in a file is named with its line.
func TestImportFaults(t *testing.T) {
	const in = `input:{interface:"e0",group:"239.1.1.1",port:1}`
	for _, tt := range []struct {
		name, text string
		line       int
		want       string
	}{
		{"unknown_top", "{\n rule: [] }", 2, `unknown key "rule"`},
		{"unknown_in_rule", "{rules:[{" + in + ",\n\n colour:1}]}", 3, `rules[0]: unknown key "colour"`},
		{"unknown_in_input", "{rules:[{input:{\ninterfaces:1}}]}", 2, `rules[0].input: unknown key "interfaces"`},
		{"unknown_in_output", "{rules:[{" + in + ",outputs:[{interface:'e1'},\n{name:'x',unicast:1}]}]}", 2, `rules[0].outputs[1]: unknown key "unicast"`},
		{"unknown_in_pim", "{pim:{\nglobal:{}}}", 2, `pim: unknown key "global"`},
		{"unknown_in_interface", "{pim:{interfaces:[\n{name:'e',foo:1}]}}", 2, `pim.interfaces[0]: unknown key "foo"`},
		{"unknown_in_forwarding", "{forwarding:{\nttl:1}}", 2, `forwarding: unknown key "ttl"`},
		{"yang_spelling", "{forwarding:{\n'unicast-ttl':1}}", 2, `unknown key "unicast-ttl"`},
		{"input_leaf_outside_input", "{rules:[{name:'r',\ninput_port:1}]}", 2, `unknown key "input_port"`},
		{"interface_id", "{pim:{interfaces:[\n{name:'e',interface_id:'e'}]}}", 2, `unknown key "interface_id"`},
		{"twice", "{rules:[],\nrules:[]}", 2, `"rules" is there twice`},
		{"bad_value", "{rules:[{" + in + ",outputs:[{interface:'e1',\nport:70000}]}]}", 2, "/config/port: 70000 is not in the range"},
		{"bad_type", "{rules:[{" + in + ",outputs:[{interface:'e1',\nport:'7'}]}]}", 2, "a string where a number"},
		{"fraction", "{rules:[{" + in + ",outputs:[{interface:'e1',\nport:7.5}]}]}", 2, "whole number"},
		{"no_name_possible", "{rules:[\n{input:{interface:'e0'}}]}", 2, "needs a name, or an input"},
		{"no_output_name_possible", "{rules:[{" + in + ",outputs:[\n{port:1}]}]}", 2, "needs a name, or an interface"},
		{"interface_without_name", "{pim:{interfaces:[\n{}]}}", 2, "needs a name"},
		{"rules_is_no_array", "{\nrules:{}}", 2, "rules: an object where an array"},
		{"pim_is_no_object", "{\npim:true}", 2, "pim: a boolean where an object"},
		{"not_an_object", "\n[]", 2, "an array where an object"},
		{"syntax", "{rules:[\n}", 2, "a value is wanted"},
		{"outputs_alike", "{rules:[{" + in + ",outputs:[{interface:'e1'},\n{interface:'e1'}]}]}", 2, "is there twice"},
		{"same_branch", "{rules:[{" + in + ",outputs:[{interface:'e1'},\n{interface:'e1',port:1}]}]}", 2, "same branch"},
		{"loop", "{rules:[{" + in + ",outputs:[\n{interface:'e0'}]}]}", 2, "loop"},
		{"group_in_224_0_0", "{rules:[{input:{interface:'e0',\ngroup:'224.0.0.5',port:1}}]}", 2, "224.0.0.0/24"},
		{"rfc7951_must_be_json", "{\"mcr:mcr\":\n{}, // x\n}", 2, "invalid character"},
		{"rfc7951_fault_has_line", "{\"mcr:mcr\":{\"forwarding\":{\"config\":\n{\"unicast-ttl\":0}}}}", 2, "1 to 255"},
		{"mixed", "{\"mcr:mcr\":{},\n\"rules\":[]}", 2, `"rules"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := Check([]byte(tt.text), "start.json5")
			f := faults(t, err)
			if f[0].Line != tt.line || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "start.json5:") {
				t.Errorf("got %v (line %d), want line %d …%s…", err, f[0].Line, tt.line, tt.want)
			}
		})
	}
}

// The roadmap's file has the same effect twice: default names are stable.
func TestImportIsIdempotent(t *testing.T) {
	s, _ := open(t, t.TempDir())
	text, err := os.ReadFile("testdata/phase4.json5")
	if err != nil {
		t.Fatal(err)
	}
	mustSet(t, s, cli(Replace, string(text)))
	for _, k := range []Kind{Replace, Update} {
		if r := mustSet(t, s, cli(k, string(text))); r.Changed {
			t.Errorf("%v again changed something", k)
		}
	}
}

// start opens dir with a start-up file.
func start(t *testing.T, dir, file string, replace bool) (*Store, error) {
	t.Helper()
	s, err := Open(Options{Dir: dir, Router: &fakeRouter{}, Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, s.Start(context.Background(), file, replace)
}

// DESIGN section 8: who owns the configuration.
func TestOwnership(t *testing.T) {
	dir := t.TempDir()
	file := writeFile(t, filepath.Join(t.TempDir(), "start.json5"), `{forwarding:{unicast_ttl:7}}`)
	ttl := func(s *Store) uint8 { return s.Running().c.config.Forwarding.UnicastTTL }
	check := func(s *Store, err error, wantTTL uint8, owner Owner, differs bool, revision uint64) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		snap := s.Running()
		if ttl(s) != wantTTL || snap.Owner != owner || snap.FileDiffers != differs || snap.Revision != revision {
			t.Errorf("TTL %d, owner %v, differs %v, revision %d; want %d %v %v %d", ttl(s), snap.Owner, snap.FileDiffers, snap.Revision, wantTTL, owner, differs, revision)
		}
		s.Close()
	}
	s, err := start(t, dir, file, false) // none stored: the file is read
	check(s, err, 7, StateDir, false, 1)
	writeFile(t, file, `{forwarding:{unicast_ttl:8}}`)
	s, err = start(t, dir, file, false) // stored: it is not, and that shows
	check(s, err, 7, StateDir, true, 1)
	s, err = start(t, dir, file, true) // the file owns
	check(s, err, 8, File, false, 2)
	s, err = start(t, dir, file, true)
	if err == nil {
		mustSet(t, s, update(t, "/mcr/forwarding/config/unicast-ttl", `9`), update(t, "/mcr/forwarding/config/multicast-ttl", `9`))
	}
	check(s, err, 9, File, false, 3)
	s, err = start(t, dir, file, true) // Sets in between end with the process, also what the file does not name
	check(s, err, 8, File, false, 4)
	if s.Running().Tree.Mcr.Forwarding.Config.MulticastTtl != nil {
		t.Error("a leaf of the last process is still there")
	}
	s, err = start(t, dir, "", false)
	check(s, err, 8, StateDir, false, 4)
	writeFile(t, file, `{forwarding:{unicast_ttl:0}}`)
	before := readFile(t, dir)
	if s, err = start(t, dir, file, true); err == nil || s.Running().Revision != 4 || readFile(t, dir) != before {
		t.Errorf("a bad file: %v", err)
	}
	s.Close()
	os.Remove(file)
	s, err = start(t, dir, file, false) // stored, so a missing file is a warning
	check(s, err, 8, StateDir, true, 4)
	if _, err = start(t, t.TempDir(), file, false); err == nil {
		t.Error("a missing file was taken")
	}
}

// An environment that cannot satisfy the stored configuration does not stop the start (F4): the router is told so.
func TestStartTellsTheRouter(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	mustSet(t, s, update(t, rulePath, "["+ruleJSON("r1")+"]"))
	s.Close()
	r := &fakeRouter{err: os.ErrPermission} // given only where start is false
	s, err := Open(Options{Dir: dir, Router: r})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Start(context.Background(), "", false); err != nil || r.running.Rules["r1"] == nil {
		t.Error(err)
	}
}

func FuzzStartFile(f *testing.F) {
	for _, name := range []string{"phase1", "phase3-pim", "phase3-global", "phase4"} {
		text, err := os.ReadFile("testdata/" + name + ".json5")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, s := range []string{
		`{"mcr:mcr":{"forwarding":{"rules":{"rule":[{"name":"a"}]}}}}`, `{rules:[{input:1,outputs:{}}]}`, `{igmp:{interfaces:[{name:1}]}}`, `{forwarding:{limits:[]}}`, `{rules:null}`,
		`{tunnel_endpoints:[{interface:"wg0",endpoints:["10.1.0.5",{address:"10.2.0.5",neighbor:"10.2.0.1"}]}]}`, `{tunnel_endpoints:[{interface:1,endpoints:[{address:2}]}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := transact(empty(), []change{changeOfFile("f", text)})
		if err == nil {
			checkAlike(t, c)
			return
		}
		for _, fault := range err.Faults {
			if fault.Reason == "" || fault.Line > 1+strings.Count(string(text), "\n") {
				t.Fatalf("bad fault %+v", fault)
			}
		}
	})
}
