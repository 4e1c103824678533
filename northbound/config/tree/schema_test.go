// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"encoding/json"
	"fmt"
	"testing"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
)

func decodeAny(t testing.TB, s string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return v
}

// What the rest of the package relies on: each list that can be configured repeats its keys in config.
func TestEveryListHasItsKeysInConfig(t *testing.T) {
	lists := 0
	var walk func(n *Node)
	walk = func(n *Node) {
		if n.Kind == List && n.Config {
			lists++
			for _, k := range n.Keys {
				if c := n.Child("config"); c == nil || c.Child(k.Name) == nil || k.Type == nil {
					t.Errorf("%s has no config/%s", n.Path, k.Name)
				}
			}
		}
		for _, c := range n.Children {
			walk(c)
		}
	}
	walk(Schema())
	if lists < 10 {
		t.Errorf("%d lists", lists)
	}
}

// checkAddress is there for its words: it refuses what the pattern refuses and nothing else.
func TestAddressWordsAgreeWithPatterns(t *testing.T) {
	r := rule
	types := []*Type{
		Find(r + "/config/input-group").Type, Find(r + "/config/input-source").Type, Find(r + "/outputs/output/config/group").Type,
	}
	for _, s := range []string{
		"0.0.0.0", "0.1.2.3", "1.2.3.4", "127.0.0.1", "223.255.255.255", "224.0.0.0", "239.255.255.255", "240.0.0.0", "255.255.255.255",
		"01.2.3.4", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.4 ", "", "::1", "::ffff:1.2.3.4", "a.b.c.d", "1.2.3.-4", "1..2.3",
	} {
		for _, typ := range types {
			words, pattern := checkAddress(s, typ.Name) == "", typ.match[0].MatchString(s)
			if words != pattern {
				t.Errorf("%s %q: words %v, pattern %v", typ.Name, s, words, pattern)
			}
		}
	}
}

// G48, G49.
func TestTypedValues(t *testing.T) {
	port, iface, enabled, cpus := rule+"[name=r1]/config/input-port", rule+"[name=r1]/config/input-interface",
		rule+"[name=r1]/config/enabled", "/mcr/dataplane/config/cpus"
	list := func(v ...*gpb.TypedValue) *gpb.TypedValue {
		return &gpb.TypedValue{Value: &gpb.TypedValue_LeaflistVal{LeaflistVal: &gpb.ScalarArray{Element: v}}}
	}
	u := func(n uint64) *gpb.TypedValue { return &gpb.TypedValue{Value: &gpb.TypedValue_UintVal{UintVal: n}} }
	i := func(n int64) *gpb.TypedValue { return &gpb.TypedValue{Value: &gpb.TypedValue_IntVal{IntVal: n}} }
	s := func(n string) *gpb.TypedValue { return &gpb.TypedValue{Value: &gpb.TypedValue_StringVal{StringVal: n}} }
	ascii := func(n string) *gpb.TypedValue { return &gpb.TypedValue{Value: &gpb.TypedValue_AsciiVal{AsciiVal: n}} }
	js := func(n string) *gpb.TypedValue {
		return &gpb.TypedValue{Value: &gpb.TypedValue_JsonVal{JsonVal: []byte(n)}}
	}
	ietf := func(n string) *gpb.TypedValue {
		return &gpb.TypedValue{Value: &gpb.TypedValue_JsonIetfVal{JsonIetfVal: []byte(n)}}
	}
	for _, tt := range []struct {
		name, path string
		value      *gpb.TypedValue
		code       int // of the fault; -1: none
	}{
		{"uint", port, u(5), -1},
		{"uint_too_large", port, u(65536), int(Invalid)},
		{"int", port, i(5), -1},
		{"int_negative", port, i(-5), int(Invalid)},
		{"string_for_uint", port, s("5"), int(Invalid)},
		{"ascii_for_uint", port, ascii("5"), -1},
		{"json_number", port, js("5"), -1},
		{"json_ietf_number", port, ietf("5"), -1},
		{"json_trailing", port, ietf("5 6"), int(Invalid)},
		{"json_syntax", port, ietf("{"), int(Invalid)},
		{"json5_is_not_json", port, ietf("0x5"), int(Invalid)},
		{"string", iface, s("eth0"), -1},
		{"ascii_for_string", iface, ascii("eth0"), -1},
		{"uint_for_string", iface, u(5), int(Invalid)},
		{"bool", enabled, &gpb.TypedValue{Value: &gpb.TypedValue_BoolVal{BoolVal: true}}, -1},
		{"ascii_for_bool", enabled, ascii("false"), -1},
		{"string_for_bool", enabled, s("true"), int(Invalid)},
		{"leaf_list", cpus, list(u(1), u(2)), -1},
		{"leaf_list_of_lists", cpus, list(list()), int(Invalid)},
		{"scalar_for_leaf_list", cpus, u(1), int(Invalid)},
		{"double", port, &gpb.TypedValue{Value: &gpb.TypedValue_DoubleVal{DoubleVal: 5}}, int(Invalid)},
		{"bytes", port, &gpb.TypedValue{Value: &gpb.TypedValue_BytesVal{BytesVal: []byte("5")}}, int(Invalid)},
		{"any", port, &gpb.TypedValue{Value: &gpb.TypedValue_AnyVal{}}, int(Unimplemented)},
		{"proto", port, &gpb.TypedValue{Value: &gpb.TypedValue_ProtoBytes{}}, int(Unimplemented)},
		{"none", port, nil, int(Invalid)},
		{"empty", port, &gpb.TypedValue{}, int(Invalid)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := NewEdit(load(t, base), nil)
			v, _, fault := FromTyped(path(t, tt.path), tt.value)
			if fault == nil {
				e.Update(path(t, tt.path), v)
				if len(e.Faults()) > 0 {
					fault = &e.Faults()[0]
				}
			}
			switch {
			case fault == nil && tt.code >= 0:
				t.Error("no fault")
			case fault != nil && int(fault.Code) != tt.code:
				t.Errorf("fault %+v", fault)
			}
		})
	}
}

func TestDeprecatedPathIsRefused(t *testing.T) {
	//lint:ignore SA1019 G49
	p := &gpb.Path{Element: []string{"mcr"}}
	e := NewEdit(load(t, base), nil)
	e.Delete(p)
	e.Update(p, value(t, "{}"))
	if len(e.Faults()) != 2 {
		t.Error(e.Faults())
	}
}

// outputs returns a tree of one rule with n outputs.
func outputs(n int) string {
	b := []byte(`{"mcr:mcr":{"forwarding":{"rules":{"rule":[{"name":"r1","config":{"name":"r1","input-interface":"eth0","input-group":"239.1.1.1","input-port":5000},"outputs":{"output":[`)
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"name":"o%d","config":{"name":"o%d","interface":"wg0","unicast-dest":"10.%d.%d.1","port":5000}}`, i, i, i>>8, i&255)
	}
	return string(append(b, `]}}]}}}}`...))
}

func BenchmarkLoad10000(b *testing.B) {
	text := outputs(10000)
	for b.Loop() {
		load(b, text)
	}
}

func BenchmarkAddOutput(b *testing.B) {
	for _, n := range []int{10, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			d := load(b, outputs(n))
			p, v := path(b, rule+"[name=r1]/outputs/output[name=new]"), value(b, `{"config":{"interface":"wg0","unicast-dest":"10.200.0.1"}}`)
			for b.Loop() {
				e := NewEdit(d, nil)
				e.Update(p, v)
				e.Finish()
			}
		})
	}
}

func BenchmarkEncode10000(b *testing.B) {
	d := load(b, outputs(10000))
	for b.Loop() {
		Append(nil, Schema(), d, nil)
	}
}
