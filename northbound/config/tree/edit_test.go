// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/openconfig/ygot/ygot"
	"github.com/openconfig/ygot/ytypes"

	"mcr/gen"
	"mcr/northbound/config/json5"
)

func path(t testing.TB, s string) *gpb.Path {
	t.Helper()
	p, err := ygot.StringToStructuredPath(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func value(t testing.TB, s string) *json5.Value {
	t.Helper()
	v, err := json5.ParseJSON([]byte(s))
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return v
}

func deepCopy(t testing.TB, d *gen.Device) *gen.Device {
	t.Helper()
	c, err := ygot.DeepCopy(d)
	if err != nil {
		t.Fatal(err)
	}
	return c.(*gen.Device)
}

// load makes a tree of RFC 7951 JSON.
func load(t testing.TB, text string) *gen.Device {
	t.Helper()
	e := NewEdit(&gen.Device{}, nil)
	e.Replace(&gpb.Path{}, value(t, text))
	d := e.Finish()
	if len(e.Faults()) > 0 {
		t.Fatal(e.Faults())
	}
	return d
}

func encode(d *gen.Device) string { return string(Append(nil, Schema(), d, nil)) }

const rule = "/mcr/forwarding/rules/rule"

const base = `{"mcr:mcr":{"dataplane":{"config":{"cpus":[1,2]}},"forwarding":{"config":{"unicast-ttl":9},"rules":{"rule":[
 {"name":"r1","config":{"name":"r1","input-interface":"eth0","input-group":"239.1.1.1"},
  "outputs":{"output":[{"name":"a","config":{"name":"a","interface":"eth1"}},{"name":"b","config":{"name":"b","interface":"eth2","port":7}}]}},
 {"name":"r2","config":{"name":"r2","input-interface":"eth0"}}]}}},
 "mcr-network-instance:network-instances":{"network-instance":[{"name":"default","config":{"name":"default"},
  "protocols":{"protocol":[{"identifier":"PIM","name":"pim","config":{"identifier":"mcr-types:PIM","name":"pim","enabled":true}}]}}]}}`

// G34 to G40, and section 4 of the YANG study, as far as they need no look beyond one node.
func TestEdit(t *testing.T) {
	for _, tt := range []struct{ name, op, path, value, want string }{
		{"leaf", "update", rule + "[name=r1]/config/input-port", `5000`, `"input-port":5000`},
		{"leaf_keeps_siblings", "update", rule + "[name=r1]/config/input-port", `5000`, `"input-group":"239.1.1.1"`},
		{"entry_is_made_with_its_keys", "update", rule + "[name=r3]/config/input-group", `"239.1.1.3"`, `{"config":{"input-group":"239.1.1.3","name":"r3"},"name":"r3"}`},
		{"key_need_not_be_repeated", "update", rule + "[name=r3]", `{"config":{"input-port":1}}`, `{"config":{"input-port":1,"name":"r3"},"name":"r3"}`},
		{"prefixes_in_json", "update", "/", `{"mcr:mcr":{"mcr:forwarding":{"mcr:config":{"mcr:multicast-ttl":3}}}}`, `"multicast-ttl":3,"unicast-ttl":9`},
		{"prefixes_in_path", "update", "/mcr:mcr/mcr:forwarding/config/multicast-ttl", `3`, `"multicast-ttl":3`},
		{
			"openconfig_prefixes", "update", "/openconfig-network-instance:network-instances/network-instance[name=default]/protocols/protocol[identifier=openconfig-policy-types:PIM][name=pim]",
			`{"identifier":"openconfig-policy-types:PIM","pim":{"interfaces":{"interface":[{"interface-id":"e","config":{"mode":"openconfig-pim-types:PIM_MODE_SPARSE"}}]}}}`,
			`{"config":{"interface-id":"e","mode":"mcr-types:PIM_MODE_SPARSE"},"interface-id":"e"}`,
		},
		{"replace_drops_what_is_left_out", "replace", rule + "[name=r1]/outputs/output[name=b]", `{"config":{"interface":"x"}}`, `{"config":{"interface":"x","name":"b"},"name":"b"}`},
		{"replace_of_list", "replace", rule, `[{"name":"n"}]`, `"rules":{"rule":[{"config":{"name":"n"},"name":"n"}]}`},
		{"replace_of_leaf_list", "replace", "/mcr/dataplane/config/cpus", `[4]`, `"cpus":[4]`},
		{"replace_with_empty_object", "replace", "/mcr/forwarding", `{}`, `{"mcr:mcr":{"dataplane":`},
		{"replace_root", "replace", "/", `{"mcr":{"forwarding":{"config":{"unicast-ttl":1}}}}`, `{"mcr:mcr":{"forwarding":{"config":{"unicast-ttl":1}}}}`},
		{"whole_number_in_another_form", "update", rule + "[name=r1]/config/input-port", `5e3`, `"input-port":5000`},
		{"delete_entry", "delete", rule + "[name=r1]/outputs/output[name=a]", "", `"output":[{"config":{"interface":"eth2"`},
		{"delete_last_leaf_leaves_no_shell", "delete", "/mcr/forwarding/config/unicast-ttl", "", `"forwarding":{"rules"`},
		{"delete_all_entries", "delete", rule + "[name=*]", "", `"forwarding":{"config":{"unicast-ttl":9}}}`},
		{"delete_with_keys_left_out", "delete", rule + "/outputs/output", "", `{"config":{"input-group":"239.1.1.1","input-interface":"eth0","name":"r1"},"name":"r1"}`},
		{"delete_some_keys_left_out", "delete", "/network-instances/network-instance/protocols/protocol[identifier=PIM]", "", `[{"config":{"name":"default"},"name":"default"}]`},
		{"delete_any_element", "delete", "/mcr/*/config", "", `{"mcr:mcr":{"forwarding":{"rules"`},
		{"delete_any_depth", "delete", "/.../outputs", "", `"name":"r1"},"name":"r1"}`},
		{"delete_nothing", "delete", rule + "[name=none]", "", `"name":"r1"`},
		{"delete_key_leaf_of_config_fills_it_again", "delete", rule + "[name=r1]/config/name", "", `"input-interface":"eth0","name":"r1"`},
		{"delete_root", "delete", "/", "", `{}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			old := load(t, base)
			before := deepCopy(t, old)
			e := NewEdit(old, nil)
			switch tt.op {
			case "update":
				e.Update(path(t, tt.path), value(t, tt.value))
			case "replace":
				e.Replace(path(t, tt.path), value(t, tt.value))
			default:
				e.Delete(path(t, tt.path))
			}
			got := encode(e.Finish())
			if len(e.Faults()) > 0 {
				t.Fatal(e.Faults())
			}
			if !strings.Contains(got, tt.want) {
				t.Errorf("got %s\nwant in it %s", got, tt.want)
			}
			if diff := cmp.Diff(before, old); diff != "" {
				t.Errorf("the old tree changed:\n%s", diff)
			}
		})
	}
}

// Every row of section 4 of the YANG study that a single node can show.
func TestFaults(t *testing.T) {
	r1 := rule + "[name=r1]"
	for _, tt := range []struct {
		name, op, path, value string
		code                  Code
		at, reason            string
	}{
		{"unknown_member", "update", r1, `{"config":{"colour":1}}`, Invalid, r1 + "/config", `"colour"`},
		{"out_of_uint8", "update", "/mcr/forwarding/config/unicast-ttl", `256`, Invalid, "/mcr/forwarding/config/unicast-ttl", "1 to 255"},
		{"out_of_range", "update", "/mcr/forwarding/config/unicast-ttl", `0`, Invalid, "/mcr/forwarding/config/unicast-ttl", "1 to 255"},
		{"negative", "update", r1 + "/config/input-port", `-1`, Invalid, r1 + "/config/input-port", "0 to 65535"},
		{"huge", "update", r1 + "/config/input-port", `1e400`, Invalid, r1 + "/config/input-port", "0 to 65535"},
		{"fraction", "update", r1 + "/config/input-port", `3.9`, Invalid, r1 + "/config/input-port", "whole"},
		{"pattern", "update", r1 + "/config/input-interface", `"a/b"`, Invalid, r1 + "/config/input-interface", "interface-name"},
		{"too_long", "update", r1 + "/config/input-interface", `"abcdefghijklmnop"`, Invalid, r1 + "/config/input-interface", "16 characters"},
		{"interface_dots", "update", r1 + "/config/input-interface", `".."`, Invalid, r1 + "/config/input-interface", "no interface"},
		{"enum", "update", "/mcr/dataplane/config/engine", `"dpdk"`, Invalid, "/mcr/dataplane/config/engine", "auto, mmsg, uring"},
		{"identity", "update", "/network-instances/network-instance[name=d]/config/type", `"X"`, Invalid, "/network-instances/network-instance[name=d]/config/type", "DEFAULT_INSTANCE"},
		{"identity_of_wrong_module", "update", "/network-instances/network-instance[name=d]/config/type", `"foo:DEFAULT_INSTANCE"`, Invalid, "/network-instances/network-instance[name=d]/config/type", "module"},
		{"wrong_module", "update", "/", `{"foo:mcr":{}}`, Invalid, "/", "mcr:mcr is meant"},
		{"wrong_module_in_path", "update", "/foo:mcr", `{}`, NotFound, "/foo:mcr", "module"},
		{"null_leaf", "update", r1, `{"config":{"input-port":null}}`, Invalid, r1 + "/config/input-port", "null"},
		{"null_container", "update", r1, `{"config":null}`, Invalid, r1 + "/config", "null"},
		{"replace_leaf_with_null", "replace", r1 + "/config/input-port", `null`, Invalid, r1 + "/config/input-port", "null"},
		{"same_member_with_and_without_prefix", "update", "/", `{"mcr":{},"mcr:mcr":{}}`, Invalid, "/mcr", "twice"},
		{"list_key_twice", "update", rule, `[{"name":"x"},{"name":"x"}]`, Invalid, rule + "[name=x]", "twice"},
		{"entry_without_key", "update", rule, `[{"config":{"name":"x"}}]`, Invalid, rule + "[0]", `"name" is missing`},
		{"number_as_string", "update", r1 + "/config/input-port", `"5000"`, Invalid, r1 + "/config/input-port", "a string where a number"},
		{"string_as_number", "update", r1 + "/config/input-interface", `5`, Invalid, r1 + "/config/input-interface", "a number where a string"},
		{"bool_as_string", "update", r1 + "/config/enabled", `"true"`, Invalid, r1 + "/config/enabled", "boolean"},
		{"scalar_for_container", "update", r1 + "/config", `5`, Invalid, r1 + "/config", "object"},
		{"object_for_list", "update", rule, `{}`, Invalid, rule, "array"},
		{"leaf_list_duplicate", "update", "/mcr/dataplane/config/cpus", `[1,1]`, Invalid, "/mcr/dataplane/config/cpus", "twice"},
		{"state_path", "update", r1 + "/state/enabled", `true`, Invalid, r1 + "/state", "read-only"},
		{"state_in_json", "update", r1, `{"state":{"enabled":true}}`, Invalid, r1 + "/state", "read-only"},
		{"state_delete", "delete", r1 + "/state", "", Invalid, r1 + "/state", "read-only"},
		{"key_differs_from_config", "update", rule, `[{"name":"x","config":{"name":"y"}}]`, Invalid, rule + "[name=x]/config/name", `"y" differs`},
		{"key_differs_from_path", "update", r1, `{"name":"y"}`, Invalid, r1 + "/name", "differs"},
		{"config_leaf_differs_from_path", "update", r1 + "/config/name", `"y"`, Invalid, r1 + "/config/name", "differs"},
		{"key_missing", "update", rule + "/config/input-port", `1`, Invalid, rule, `"name" is missing`},
		{"one_key_missing", "update", "/network-instances/network-instance[name=default]/protocols/protocol[name=pim]", `{}`, Invalid, "/network-instances/network-instance[name=default]/protocols/protocol[name=pim]", `"identifier" is missing`},
		{"key_unknown", "update", rule + "[id=r1]/config/input-port", `1`, Invalid, rule + "[id=r1]", `no key "id"`},
		{"key_on_container", "update", "/mcr[a=b]/forwarding/config/unicast-ttl", `1`, Invalid, "/mcr[a=b]", "no keys"},
		{"key_breaks_pattern", "update", rule + "[name=**]/config/input-port", `1`, Invalid, rule + "[name=**]", "entry-name"},
		{"wildcard_in_update", "update", rule + "[name=*]/config/input-port", `1`, Invalid, rule + "[name=*]", "delete only"},
		{"wildcard_element_in_update", "update", "/mcr/*/config", `{}`, Invalid, "/mcr/*", "delete only"},
		{"unknown_path", "update", "/mcr/forwarding/colour", `1`, NotFound, "/mcr/forwarding/colour", `"colour"`},
		{"delete_unknown_path", "delete", "/mcr/*/colour", "", NotFound, "/mcr/*/colour", `"colour"`},
		{"delete_key", "delete", r1 + "/name", "", Invalid, r1 + "/name", "key"},
		{"replace_entry_with_nothing", "replace", r1, `{}`, Invalid, r1, "empty object"},
		{"prefix_with_host_bits", "update", "/mcr/forwarding/boundaries/boundary[interface=e]/config/group-prefix", `["239.1.1.1/8"]`, Invalid, "/mcr/forwarding/boundaries/boundary[interface=e]/config/group-prefix", "239.0.0.0/8"},
		{"host_is_group", "update", r1 + "/outputs/output[name=a]/config/unicast-dest", `"239.1.1.1"`, Invalid, r1 + "/outputs/output[name=a]/config/unicast-dest", "multicast group"},
		{"host_is_broadcast", "update", r1 + "/outputs/output[name=a]/config/unicast-dest", `"255.255.255.255"`, Invalid, r1 + "/outputs/output[name=a]/config/unicast-dest", "broadcast"},
		{"host_is_zero", "update", r1 + "/outputs/output[name=a]/config/unicast-dest", `"0.1.1.1"`, Invalid, r1 + "/outputs/output[name=a]/config/unicast-dest", "0.0.0.0/8"},
		{"host_is_reserved", "update", r1 + "/outputs/output[name=a]/config/unicast-dest", `"240.0.0.1"`, Invalid, r1 + "/outputs/output[name=a]/config/unicast-dest", "240.0.0.0/4"},
		{"host_is_ipv6", "update", r1 + "/outputs/output[name=a]/config/unicast-dest", `"::1"`, Invalid, r1 + "/outputs/output[name=a]/config/unicast-dest", "IPv6"},
		{"host_is_a_name", "update", r1 + "/outputs/output[name=a]/config/unicast-dest", `"spoke"`, Invalid, r1 + "/outputs/output[name=a]/config/unicast-dest", "not an IPv4"},
		{"group_is_a_host", "update", r1 + "/outputs/output[name=a]/config/group", `"10.0.0.1"`, Invalid, r1 + "/outputs/output[name=a]/config/group", "not a multicast group"},
		{"refused", "update", r1, `{"config":{"description":"x"}}`, Unimplemented, r1 + "/config/description", "later"},
		{"refused_in_path", "update", r1 + "/config/description", `"x"`, Unimplemented, r1 + "/config/description", "later"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			old := load(t, base)
			e := NewEdit(old, func(n *Node) string {
				if n.Name == "description" {
					return "comes later"
				}
				return ""
			})
			switch tt.op {
			case "update":
				e.Update(path(t, tt.path), value(t, tt.value))
			case "replace":
				e.Replace(path(t, tt.path), value(t, tt.value))
			default:
				e.Delete(path(t, tt.path))
			}
			e.Finish()
			f := e.Faults()
			if len(f) != 1 || f[0].Code != tt.code || f[0].Path != tt.at || !strings.Contains(f[0].Reason, tt.reason) {
				t.Errorf("got %+v, want one: %v %s: …%s…", f, tt.code, tt.at, tt.reason)
			}
			if got := encode(old); got != encode(load(t, base)) {
				t.Errorf("the old tree changed: %s", got)
			}
		})
	}
}

func TestAllFaultsAreReported(t *testing.T) {
	e := NewEdit(load(t, base), nil)
	e.Update(path(t, rule+"[name=r1]/config"), value(t, `{"input-port":70000,"input-group":"x","foo":1,"enabled":1}`))
	e.Delete(path(t, "/nowhere"))
	if n := len(e.Faults()); n != 5 {
		t.Errorf("%d faults, want 5: %v", n, e.Faults())
	}
}

// G55: what says the same is the same tree, down to the pointers.
func TestEqualContentIsTheOldTree(t *testing.T) {
	old := load(t, base)
	for _, op := range []func(*Edit){
		func(e *Edit) { e.Replace(&gpb.Path{}, value(t, base)) },
		func(e *Edit) { e.Update(&gpb.Path{}, value(t, base)) },
		func(e *Edit) { e.Update(path(t, rule+"[name=r1]/config/input-interface"), value(t, `"eth0"`)) },
		func(e *Edit) { e.Delete(path(t, rule+"[name=none]")) },
		func(e *Edit) {
			e.Delete(path(t, rule))
			e.Update(&gpb.Path{}, value(t, base))
		},
		func(e *Edit) { e.Update(path(t, rule), value(t, `[]`)) },
		func(e *Edit) { e.Update(path(t, "/mcr/tunnel-endpoints"), value(t, `{}`)) },
	} {
		e := NewEdit(old, nil)
		op(e)
		if got := e.Finish(); got != old {
			t.Errorf("a new tree: %s", encode(got))
		}
	}
	e := NewEdit(old, nil)
	e.Replace(&gpb.Path{}, value(t, strings.Replace(base, `"port":7`, `"port":8`, 1)))
	now := e.Finish()
	was, is := old.Mcr.Forwarding.Rules.Rule, now.Mcr.Forwarding.Rules.Rule
	if was["r2"] != is["r2"] || was["r1"].Config != is["r1"].Config || was["r1"].Outputs.Output["a"] != is["r1"].Outputs.Output["a"] {
		t.Error("what did not change is not shared")
	}
	if got := e.Changed(now.Mcr.Forwarding.Rules, Find(rule)); !slices.Equal(got, []string{"r1"}) {
		t.Errorf("changed rules: %v", got)
	}
	if got := e.Changed(is["r1"].Outputs, Find(rule+"/outputs/output")); !slices.Equal(got, []string{"b"}) {
		t.Errorf("changed outputs: %v", got)
	}
}

// randomOp applies one random change to every edit.
func randomOp(t testing.TB, r *rand.Rand, edits ...*Edit) {
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	name := pick("r1", "r2", "r3")
	out := rule + "[name=" + name + "]/outputs/output[name=" + pick("a", "b", "c") + "]"
	ni := "/network-instances/network-instance[name=default]/protocols/protocol[identifier=" + pick("PIM", "IGMP") + "][name=x]"
	type op struct{ kind, path, value string }
	ops := []op{
		{"delete", out, ""},
		{"delete", out + "/config/port", ""},
		{"delete", rule + "[name=" + name + "]", ""},
		{"delete", pick("/", "/mcr", "/mcr/forwarding/rules", "/mcr/*/config", "/.../port", rule+"[name=*]/outputs", ni), ""},
		{"update", out + "/config/port", fmt.Sprint(r.IntN(3))},
		{"update", out, `{"config":{"interface":"` + pick("e0", "e1") + `"}}`},
		{"replace", out, `{"config":{"port":` + fmt.Sprint(r.IntN(3)) + `}}`},
		{"replace", rule + "[name=" + name + "]", `{"config":{"input-port":1},"outputs":{"output":[{"name":"` + pick("a", "b") + `"}]}}`},
		{"update", rule, `[{"name":"r1","config":{"input-port":` + fmt.Sprint(r.IntN(2)) + `}},{"name":"r2"}]`},
		{"replace", rule, `[{"name":"` + name + `","outputs":{"output":[{"name":"a","config":{"port":1}}]}}]`},
		{"update", ni + "/config/enabled", pick("true", "false")},
		{"update", "/mcr/dataplane/config/cpus", pick("[]", "[1]", "[1,2]")},
		{"replace", "/mcr/forwarding", pick("{}", `{"config":{"unicast-ttl":2}}`)},
		{"replace", "/", base},
	}
	o := ops[r.IntN(len(ops))]
	for _, e := range edits {
		switch o.kind {
		case "delete":
			e.Delete(path(t, o.path))
		case "update":
			e.Update(path(t, o.path), value(t, o.value))
		default:
			e.Replace(path(t, o.path), value(t, o.value))
		}
		if len(e.Faults()) > 0 {
			t.Fatalf("%v: %v", o, e.Faults())
		}
	}
}

// The same changes on a shared tree and on a deep copy give the same tree, and the old one never changes.
func TestCopyOnWriteEqualsDeepCopy(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	old := load(t, base)
	for range 600 {
		before := deepCopy(t, old)
		cow, deep := NewEdit(old, nil), NewEdit(deepCopy(t, old), nil)
		deep.root = reflect.ValueOf(deepCopy(t, old))
		markFresh(deep, deep.root) // it writes in place, everywhere
		for range 1 + r.IntN(4) {
			randomOp(t, r, cow, deep)
		}
		got, want := cow.Finish(), deep.Finish()
		if encode(got) != encode(want) {
			t.Fatalf("shared  %s\ncopied  %s", encode(got), encode(want))
		}
		if !reflect.DeepEqual(before, old) {
			t.Fatalf("the old tree changed:\n%s", cmp.Diff(before, old))
		}
		if (got == old) != (encode(got) == encode(old)) {
			t.Fatalf("same tree %v:\n%s\n%s", got == old, encode(old), encode(got))
		}
		checkChanged(t, cow, old, got)
		if a, b := differences(old, got, cow), differences(old, got, nil); !maps.Equal(a, b) {
			t.Fatalf("differences %v with the edit, %v without", a, b)
		}
		if p, text := patched(t, old, got, cow); encode(p) != encode(got) {
			t.Fatalf("the patch %s leads from %s\nto %s\nnot to %s", text, encode(old), encode(p), encode(got))
		}
		old = got
	}
}

func markFresh(e *Edit, p reflect.Value) {
	e.fresh[p.Interface()] = true
	for i := range p.Elem().NumField() {
		switch f := p.Elem().Field(i); {
		case f.Kind() == reflect.Pointer && f.Type().Elem().Kind() == reflect.Struct && !f.IsNil():
			markFresh(e, f)
		case f.Kind() == reflect.Map:
			for it := f.MapRange(); it.Next(); {
				markFresh(e, it.Value())
			}
		}
	}
}

// checkChanged compares what Changed says with a comparison of all rules.
func checkChanged(t *testing.T, e *Edit, old, now *gen.Device) {
	t.Helper()
	was, rules := old.GetMcr().GetForwarding().GetRules(), now.GetMcr().GetForwarding().GetRules()
	if rules == nil || rules == was {
		return
	}
	var want []string
	for name, r := range rules.Rule {
		if !reflect.DeepEqual(r, was.GetRule(name)) {
			want = append(want, name)
		} else if r != was.GetRule(name) {
			t.Fatalf("rule %s is equal and not shared", name)
		}
	}
	if was != nil {
		for name := range was.Rule {
			if rules.Rule[name] == nil {
				want = append(want, name)
			}
		}
	}
	got := e.Changed(rules, Find(rule))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("changed rules: %v, want %v\n%s\n%s", got, want, encode(old), encode(now))
	}
}

// What this package takes and writes, ygot takes too, with the same result.
func TestAgreesWithYgot(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	schema, err := gen.Schema()
	if err != nil {
		t.Fatal(err)
	}
	d := load(t, base)
	for range 60 {
		e := NewEdit(d, nil)
		randomOp(t, r, e)
		d = e.Finish()
		var y gen.Device
		if err := ytypes.Unmarshal(schema.RootSchema(), &y, decodeAny(t, encode(d))); err != nil {
			t.Fatalf("%s: %v", encode(d), err)
		}
		if diff := cmp.Diff(&y, d); diff != "" {
			t.Fatalf("(-ygot +ours):\n%s", diff)
		}
		if err := ytypes.Validate(schema.RootSchema(), d, &ytypes.LeafrefOptions{IgnoreMissingData: true}); len(err) > 0 {
			t.Fatal(err)
		}
		theirs, err := ygot.Marshal7951(d)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(load(t, string(theirs)), d) {
			t.Fatalf("%s is read as %s", theirs, encode(load(t, string(theirs))))
		}
	}
}
