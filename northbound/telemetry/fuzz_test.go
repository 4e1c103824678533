// SPDX-License-Identifier: Apache-2.0

package telemetry_test

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/protobuf/proto"

	"mcr/northbound/telemetry"
)

// FuzzResolve: any path is refused or gives a pattern whose own form gives the same pattern, and every selection ends.
func FuzzResolve(f *testing.F) {
	tree := sample(f)
	for _, p := range []string{"/", ruleCfg, "/mcr/.../name", "/mcr/forwarding/rules/rule[name=*]", "/*/*/*", "/.../.../name", "/mcr:mcr/mrib/entries/entry[port=05]"} {
		b, err := proto.Marshal(&gpb.Path{Elem: pattern(f, p).Elems()})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var path gpb.Path
		if proto.Unmarshal(b, &path) != nil {
			return
		}
		p, err := schema(t).Resolve(path.GetElem())
		if err != nil {
			return
		}
		again, err := schema(t).Resolve(p.Elems())
		if err != nil || again.String() != p.String() {
			t.Fatalf("%s resolves to %v, %v", p, again, err)
		}
		for _, u := range tree.Snapshot().Collect(p, telemetry.Filter{}, telemetry.EncodingIETF, start) {
			if !json.Valid(u.GetVal().GetJsonIetfVal()) {
				t.Fatalf("%s: %s", p, u.GetVal().GetJsonIetfVal())
			}
		}
		tree.Subscribe(telemetry.Request{Subscriptions: []telemetry.Subscription{{Pattern: p}}}).Close()
		if n := telemetry.Watches(tree); n != 0 {
			t.Fatalf("%s leaves %d nodes in the trie", p, n)
		}
	})
}

// FuzzJSON: any text in a value and in a key comes out of the JSON as it went in.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{"plain", `a]b\c"d`, "<&>\u2028", "ü\x00\x7f", "name=x][/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) || s == "" {
			return
		}
		tree := telemetry.New(schema(t))
		entry := telemetry.Path{{Name: "mcr"}, {Name: "forwarding"}, {Name: "rules"}, {Name: "rule", Keys: []telemetry.Key{{Name: "name", Value: s}}}}
		apply(t, tree, start, &telemetry.Unit{Path: append(entry, telemetry.Elem{Name: "config"}), Leaves: []telemetry.Leaf{str("description", s)}})
		p, err := schema(t).Resolve(entry.Elems())
		if err != nil {
			t.Fatal(err)
		}
		updates := tree.Snapshot().Collect(p, telemetry.Filter{}, telemetry.EncodingJSON, start)
		if s == "*" {
			return
		}
		if len(updates) != 1 {
			t.Fatalf("%q: %d updates", s, len(updates))
		}
		var got struct {
			Name   string
			Config struct{ Description string }
		}
		if err := json.Unmarshal(updates[0].GetVal().GetJsonVal(), &got); err != nil {
			t.Fatal(err)
		}
		if got.Name != s || got.Config.Description != s {
			t.Fatalf("%q came out as %+v", s, got)
		}
	})
}
