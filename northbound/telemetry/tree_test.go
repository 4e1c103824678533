// SPDX-License-Identifier: Apache-2.0

package telemetry_test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/openconfig/ygot/ygot"

	"mcr/gen"
	"mcr/northbound/telemetry"
)

var loadSchema = sync.OnceValues(func() (*telemetry.Schema, error) {
	s, err := gen.Schema()
	if err != nil {
		return nil, err
	}
	return telemetry.NewSchema(s)
})

func schema(tb testing.TB) *telemetry.Schema {
	tb.Helper()
	s, err := loadSchema()
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// newSchema returns a schema of one's own, to be marked.
func newSchema(tb testing.TB) *telemetry.Schema {
	tb.Helper()
	s, err := gen.Schema()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := telemetry.NewSchema(s)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func parse(tb testing.TB, path string) []*gpb.PathElem {
	tb.Helper()
	p, err := ygot.StringToStructuredPath(path)
	if err != nil {
		tb.Fatal(err)
	}
	return p.GetElem()
}

// at parses the path of a Unit.
func at(tb testing.TB, path string) telemetry.Path {
	tb.Helper()
	return pattern(tb, path).Path()
}

func pattern(tb testing.TB, path string) *telemetry.Pattern {
	tb.Helper()
	pat, err := schema(tb).Resolve(parse(tb, path))
	if err != nil {
		tb.Fatal(err)
	}
	return pat
}

func unit(tb testing.TB, path string, leaves ...telemetry.Leaf) *telemetry.Unit {
	tb.Helper()
	return &telemetry.Unit{Path: at(tb, path), Leaves: leaves}
}

func str(name, v string) telemetry.Leaf {
	return telemetry.Leaf{Name: name, Value: telemetry.String(v)}
}

func num(name string, v uint64) telemetry.Leaf {
	return telemetry.Leaf{Name: name, Value: telemetry.Uint(v)}
}

var start = time.Unix(1_800_000_000, 0)

func apply(tb testing.TB, tree *telemetry.Tree, t time.Time, units ...*telemetry.Unit) {
	tb.Helper()
	if err := tree.Apply(telemetry.Changes{Time: t, Update: units}); err != nil {
		tb.Fatal(err)
	}
}

const (
	ruleCfg = "/mcr/forwarding/rules/rule[name=r1]/config"
	ruleSt  = "/mcr/forwarding/rules/rule[name=r1]/state"
	outCfg  = "/mcr/forwarding/rules/rule[name=r1]/outputs/output[name=o1]/config"
)

// sample is a small tree: a rule with an output, counters, PIM and a table entry.
func sample(tb testing.TB) *telemetry.Tree {
	tb.Helper()
	tree := telemetry.New(schema(tb))
	st := unit(tb, ruleSt, str("name", "r1"), str("oper-status", "up"))
	st.Sample = func(dst []telemetry.Leaf) []telemetry.Leaf {
		return append(dst, num("counters/octets", 1<<60), num("counters/packets", 7))
	}
	apply(tb, tree, start,
		unit(tb, ruleCfg, str("input-group", "239.1.1.1"), num("input-port", 5000), str("name", "r1")), st,
		unit(tb, outCfg, str("interface", "eth1"), str("name", "o1")),
		unit(tb, "/mcr/dataplane/config", telemetry.Leaf{Name: "cpus", Value: telemetry.Uints([]uint64{1, 2})}),
		unit(tb, "/mcr/mrib/entries/entry[interface=eth0][source=0.0.0.0][group=239.1.1.1][port=5000]/state",
			str("group", "239.1.1.1"), num("port", 5000), num("created", 5)),
		unit(tb, "/network-instances/network-instance[name=default]/protocols/protocol[identifier=PIM][name=pim]/config",
			str("identifier", "PIM"), str("name", "pim")))
	return tree
}

func get(tb testing.TB, tree *telemetry.Tree, path string, f telemetry.Filter, enc telemetry.Encoding) map[string]string {
	tb.Helper()
	out := map[string]string{}
	for _, u := range tree.Snapshot().Collect(pattern(tb, path), f, enc, start) {
		p, err := ygot.PathToString(u.GetPath())
		if err != nil {
			tb.Fatal(err)
		}
		v := string(u.GetVal().GetJsonIetfVal()) + string(u.GetVal().GetJsonVal())
		if enc == telemetry.EncodingProto {
			v = strings.ReplaceAll(u.GetVal().String(), "  ", " ")
		}
		out[p] = v
	}
	return out
}

func TestCollect(t *testing.T) {
	const rule = "/mcr/forwarding/rules/rule[name=r1]"
	tests := []struct {
		name, path string
		filter     telemetry.Filter
		enc        telemetry.Encoding
		want       map[string]string
	}{
		{"G10_leaf_is_bare", ruleCfg + "/input-port", telemetry.Filter{}, telemetry.EncodingIETF, map[string]string{ruleCfg + "/input-port": "5000"}},
		{"G10_container", outCfg, telemetry.Filter{}, telemetry.EncodingIETF, map[string]string{outCfg: `{"mcr:interface":"eth1","mcr:name":"o1"}`}},
		{
			"G10_entry_has_its_keys", "/mcr/forwarding/rules/rule[name=r1]/outputs/output[name=o1]",
			telemetry.Filter{},
			telemetry.EncodingJSON,
			map[string]string{rule + "/outputs/output[name=o1]": `{"name":"o1","config":{"interface":"eth1","name":"o1"}}`},
		},
		{
			"G11_wide_number_is_text", ruleSt + "/counters",
			telemetry.Filter{},
			telemetry.EncodingIETF,
			map[string]string{ruleSt + "/counters": `{"mcr:octets":"1152921504606846976","mcr:packets":"7"}`},
		},
		{
			"G12_wide_number_is_bare_in_JSON", ruleSt + "/counters/packets",
			telemetry.Filter{},
			telemetry.EncodingJSON,
			map[string]string{ruleSt + "/counters/packets": `7`},
		},
		{
			"G11_identity_has_its_module", "/network-instances/network-instance[name=default]/protocols/protocol[identifier=mcr-types:PIM][name=pim]/config/identifier",
			telemetry.Filter{},
			telemetry.EncodingIETF,
			map[string]string{
				"/network-instances/network-instance[name=default]/protocols/protocol[identifier=PIM][name=pim]/config/identifier": `"mcr-types:PIM"`,
			},
		},
		{"key_leaf_exists", rule + "/name", telemetry.Filter{}, telemetry.EncodingIETF, map[string]string{rule + "/name": `"r1"`}},
		{
			"key_leaf_is_typed", "/mcr/mrib/entries/entry/port",
			telemetry.Filter{},
			telemetry.EncodingIETF,
			map[string]string{"/mcr/mrib/entries/entry[group=239.1.1.1][interface=eth0][port=5000][source=0.0.0.0]/port": `5000`},
		},
		{"leaf_list", "/mcr/dataplane/config/cpus", telemetry.Filter{}, telemetry.EncodingIETF, map[string]string{"/mcr/dataplane/config/cpus": `[1,2]`}},
		{"G17_wildcard_key", "/mcr/forwarding/rules/rule[name=*]/config/name", telemetry.Filter{}, telemetry.EncodingIETF, map[string]string{ruleCfg + "/name": `"r1"`}},
		{
			"G17_wildcard_element", "/mcr/forwarding/rules/rule/*/name",
			telemetry.Filter{},
			telemetry.EncodingIETF,
			map[string]string{ruleCfg + "/name": `"r1"`, ruleSt + "/name": `"r1"`},
		},
		{"G17_any_depth", "/mcr/.../input-port", telemetry.Filter{}, telemetry.EncodingIETF, map[string]string{ruleCfg + "/input-port": "5000"}},
		{
			"G18_list_without_keys", "/mcr/forwarding/rules/rule/outputs/output",
			telemetry.Filter{},
			telemetry.EncodingJSON,
			map[string]string{rule + "/outputs/output[name=o1]": `{"name":"o1","config":{"interface":"eth1","name":"o1"}}`},
		},
		{"G16_config_has_no_state", rule, telemetry.Filter{ConfigOnly: true}, telemetry.EncodingJSON, map[string]string{
			rule: `{"name":"r1","config":{"input-group":"239.1.1.1","input-port":5000,"name":"r1"},"outputs":{"output":[{"name":"o1","config":{"interface":"eth1","name":"o1"}}]}}`,
		}},
		{"G16_state_keeps_keys", "/mcr/forwarding", telemetry.Filter{StateOnly: true}, telemetry.EncodingJSON, map[string]string{
			"/mcr/forwarding": `{"rules":{"rule":[{"name":"r1","state":{"counters":{"octets":1152921504606846976,"packets":7},"name":"r1","oper-status":"up"}}]}}`,
		}},
		{"G16_operational_leaves_out_applied_config", ruleSt, telemetry.Filter{Operational: true}, telemetry.EncodingJSON, map[string]string{
			ruleSt: `{"counters":{"octets":1152921504606846976,"packets":7},"oper-status":"up"}`,
		}},
		{"G13_proto_is_leaf_by_leaf", ruleSt, telemetry.Filter{}, telemetry.EncodingProto, map[string]string{
			ruleSt + "/name": `string_val:"r1"`, ruleSt + "/oper-status": `string_val:"up"`,
			ruleSt + "/counters/octets": `uint_val:1152921504606846976`, ruleSt + "/counters/packets": `uint_val:7`,
		}},
		{"G107_depth_1", ruleSt, telemetry.Filter{Depth: 1}, telemetry.EncodingJSON, map[string]string{ruleSt: `{"name":"r1","oper-status":"up"}`}},
		{"nothing", "/mcr/forwarding/rules/rule[name=r2]", telemetry.Filter{}, telemetry.EncodingJSON, map[string]string{}},
	}
	tree := sample(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, get(t, tree, tt.path, tt.filter, tt.enc)); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestApply(t *testing.T) {
	t.Run("an equal leaf keeps its time", func(t *testing.T) {
		tree := sample(t)
		later := start.Add(time.Minute)
		apply(t, tree, later, unit(t, outCfg, str("interface", "eth2"), str("name", "o1")))
		got := map[string]time.Time{}
		for _, l := range tree.Snapshot().Unit(at(t, outCfg)).Leaves {
			got[l.Name] = time.Unix(0, l.Time)
		}
		if want := map[string]time.Time{"interface": later, "name": start}; !cmp.Equal(want, got) {
			t.Errorf("times %v, want %v", got, want)
		}
	})
	t.Run("a snapshot does not change", func(t *testing.T) {
		tree := sample(t)
		before := tree.Snapshot()
		if err := tree.Apply(telemetry.Changes{Delete: []telemetry.Path{at(t, outCfg), at(t, ruleCfg), at(t, ruleSt)}}); err != nil {
			t.Fatal(err)
		}
		if before.Unit(at(t, outCfg)) == nil || tree.Snapshot().Unit(at(t, outCfg)) != nil {
			t.Error("the unit is not in the old snapshot alone")
		}
		if got := get(t, tree, "/mcr/forwarding", telemetry.Filter{}, telemetry.EncodingJSON); len(got) != 0 {
			t.Errorf("left over: %v", got)
		}
	})
	t.Run("an entry lives as long as something below it", func(t *testing.T) {
		tree := sample(t)
		if err := tree.Apply(telemetry.Changes{Delete: []telemetry.Path{at(t, ruleCfg), at(t, ruleSt)}}); err != nil {
			t.Fatal(err)
		}
		got := get(t, tree, "/mcr/forwarding/rules/rule[name=r1]/name", telemetry.Filter{}, telemetry.EncodingJSON)
		if len(got) != 1 {
			t.Errorf("key leaf is gone while an output is there: %v", got)
		}
	})
	t.Run("what the schema lacks is named and left out", func(t *testing.T) {
		tree := telemetry.New(schema(t))
		err := tree.Apply(telemetry.Changes{Update: []*telemetry.Unit{
			{Path: telemetry.Path{{Name: "mcr"}, {Name: "nowhere"}}},
			{Path: telemetry.Path{{Name: "mcr"}, {Name: "forwarding"}, {Name: "rules"}, {Name: "rule"}}},
			unit(t, outCfg, str("name", "o1"), str("none", "x")),
		}})
		if err == nil || tree.Snapshot().Unit(at(t, outCfg)) == nil {
			t.Errorf("err %v", err)
		}
	})
	t.Run("a sampled leaf that is given as an event is named and left out", func(t *testing.T) {
		tree := telemetry.New(schema(t))
		err := tree.Apply(telemetry.Changes{Update: []*telemetry.Unit{unit(t, ruleSt, num("counters/packets", 7), str("name", "r1"))}})
		if err == nil || !strings.Contains(err.Error(), ruleSt+"/counters/packets") {
			t.Errorf("err %v", err)
		}
		if u := tree.Snapshot().Unit(at(t, ruleSt)); u == nil || len(u.Leaves) != 1 || u.Leaves[0].Name != "name" {
			t.Errorf("unit %+v", u)
		}
	})
}

func TestSchema(t *testing.T) {
	tests := map[string]bool{ // path: sampled
		ruleSt + "/counters/packets":         true,
		ruleSt + "/counters/dropped-ttl":     true,
		ruleSt + "/last-packet-time":         true,
		ruleSt + "/oper-status":              false,
		ruleSt + "/created":                  false,
		"/mcr/system/state/current-time":     true,
		"/mcr/mrib/state/version":            false,
		outCfg + "/port":                     false,
		"/mcr/dataplane/state/buffer-memory": true,
		"/network-instances/network-instance[name=default]/protocols/protocol[identifier=IGMP][name=igmp]/igmp/interfaces/interface[interface-id=e]/counters/queries/sent/state/v2": true,
		"/mcr/amt-relay/gateways/gateway[address=1.2.3.4][port=5]/state/counters/last-error":                                                                                        true,
	}
	for path, want := range tests {
		if got := pattern(t, path).Nodes()[0].Sampled; got != want {
			t.Errorf("%s: sampled %v, want %v", path, got, want)
		}
	}
}

func TestResolve(t *testing.T) {
	bad := map[string]string{
		"/mcr/none":                          "none",
		"/mcr/forwarding[a=b]":               `"a"`,
		"/mcr/forwarding/rules/rule[nome=x]": `"nome"`,
		"/mcr/forwarding/*/nothing":          "nothing",
		"/.../nothing":                       "nothing",
		"/mcr/mrib/entries/entry[port=x]":    "port",

		"/mcr/forwarding/rules/rule[name=x]/config/name/deeper": "deeper",
	}
	for path, names := range bad {
		p, err := ygot.StringToStructuredPath(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := schema(t).Resolve(p.GetElem()); err == nil || !strings.Contains(err.Error(), names) {
			t.Errorf("%s: error %v does not name %s", path, err, names) // G20, G21
		}
	}
	got := pattern(t, "/mcr:mcr/mrib/entries/entry[port=05][group=239.1.1.1]").String()
	if want := "/mcr/mrib/entries/entry[group=239.1.1.1][port=5]"; got != want {
		t.Errorf("canonical form %s, want %s", got, want)
	}
}

// The JSON of a whole configuration equals what ygot makes of the same tree.
func TestJSONEqualsYgot(t *testing.T) {
	dev := &gen.Device{}
	rule := dev.GetOrCreateMcr().GetOrCreateForwarding().GetOrCreateRules().GetOrCreateRule("a]b/\\c ü\"")
	rule.GetOrCreateConfig().InputPort = ygot.Uint16(5)
	rule.GetOrCreateConfig().Name = ygot.String("a]b/\\c ü\"")
	rule.GetOrCreateConfig().ReceiveMethod = gen.McrTypes_ReceiveMethod_packet
	rule.GetOrCreateConfig().Enabled = ygot.Bool(false)
	out := rule.GetOrCreateOutputs().GetOrCreateOutput("x")
	out.GetOrCreateConfig().Name = ygot.String("x")
	dev.GetMcr().GetOrCreateDataplane().GetOrCreateConfig().Cpus = []uint16{3, 1}
	dev.GetMcr().GetOrCreateForwarding().GetOrCreateBoundaries().GetOrCreateBoundary("eth0").GetOrCreateConfig().GroupPrefix = []string{"239.0.0.0/8"}
	proto, err := dev.GetOrCreateNetworkInstances().GetOrCreateNetworkInstance("default").GetOrCreateProtocols().
		NewProtocol(gen.McrTypes_INSTALL_PROTOCOL_TYPE_PIM, "pim")
	if err != nil {
		t.Fatal(err)
	}
	proto.GetOrCreateConfig().Identifier = gen.McrTypes_INSTALL_PROTOCOL_TYPE_PIM
	proto.GetOrCreateConfig().Name = ygot.String("pim")

	tree := telemetry.New(schema(t))
	for _, u := range fromYgot(t, dev) {
		apply(t, tree, start, u)
	}
	want, err := ygot.Marshal7951(dev, &ygot.RFC7951JSONConfig{AppendModuleName: true})
	if err != nil {
		t.Fatal(err)
	}
	got := get(t, tree, "/", telemetry.Filter{}, telemetry.EncodingIETF)["/"]
	if diff := cmp.Diff(decode(t, string(want)), decode(t, got)); diff != "" {
		t.Errorf("JSON_IETF (-ygot +ours):\n%s", diff)
	}
	back := &gen.Device{}
	if err := gen.Unmarshal([]byte(got), back); err != nil {
		t.Fatalf("ygot does not take it: %v", err)
	}
}

func decode(tb testing.TB, s string) any {
	tb.Helper()
	var v any
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		tb.Fatalf("%v in %s", err, s)
	}
	return v
}

// fromYgot makes Units of a tree by way of ygot's own notifications.
func fromYgot(tb testing.TB, dev *gen.Device) []*telemetry.Unit {
	tb.Helper()
	ns, err := ygot.TogNMINotifications(dev, 1, ygot.GNMINotificationsConfig{UsePathElem: true})
	if err != nil {
		tb.Fatal(err)
	}
	units := map[string]*telemetry.Unit{}
	for _, n := range ns {
		for _, u := range n.GetUpdate() {
			elems := u.GetPath().GetElem()
			last := len(elems) - 1
			if len(elems[last-1].GetKey()) > 0 {
				continue // a key leaf
			}
			p, err := schema(tb).Resolve(elems[:last])
			if err != nil {
				tb.Fatal(err)
			}
			un := units[p.String()]
			if un == nil {
				un = &telemetry.Unit{Path: p.Path()}
				units[p.String()] = un
			}
			un.Leaves = append(un.Leaves, telemetry.Leaf{Name: elems[last].GetName(), Value: value(u.GetVal())})
		}
	}
	var out []*telemetry.Unit
	for _, u := range units {
		out = append(out, u)
	}
	return out
}

func value(v *gpb.TypedValue) telemetry.Value {
	switch v := v.GetValue().(type) {
	case *gpb.TypedValue_UintVal:
		return telemetry.Uint(v.UintVal)
	case *gpb.TypedValue_BoolVal:
		return telemetry.Bool(v.BoolVal)
	case *gpb.TypedValue_StringVal:
		return telemetry.String(v.StringVal)
	case *gpb.TypedValue_LeaflistVal:
		var strs []string
		var nums []uint64
		for _, e := range v.LeaflistVal.GetElement() {
			if s, ok := e.GetValue().(*gpb.TypedValue_StringVal); ok {
				strs = append(strs, s.StringVal)
			} else {
				nums = append(nums, e.GetUintVal())
			}
		}
		if nums != nil {
			return telemetry.Uints(nums)
		}
		return telemetry.Strings(strs)
	}
	return telemetry.Value{}
}
