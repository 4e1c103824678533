// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"testing"

	"mcr/gen"
	"mcr/northbound/config/json5"
)

// patched applies the patch between two trees to the first.
func patched(t testing.TB, old, now *gen.Device, e *Edit) (*gen.Device, string) {
	t.Helper()
	text, ok := AppendPatch([]byte("x"), old, now, e, 1<<20)
	if !ok {
		t.Fatal("too long")
	}
	v, err := json5.ParseJSON(text[1:])
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	again := NewEdit(old, nil)
	if err := again.Patch(v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	got := again.Finish()
	for _, f := range again.Faults() {
		t.Fatalf("%s: %+v", text, f)
	}
	return got, string(text[1:])
}

func TestPatch(t *testing.T) {
	const rules = "/mcr/forwarding/rules/rule"
	_, base := mustEdit(t, &gen.Device{}, "/", `{"mcr:mcr":{"forwarding":{"config":{"unicast-ttl":5},"rules":{"rule":[{"name":"r/]\"=1","config":{"input-port":1},"outputs":{"output":[{"name":"a","config":{"port":1}},{"name":"b","config":{"port":2}}]}}]}}}}`)
	for _, tt := range []struct{ name, path, value, want string }{
		{
			"a leaf", rules + `[name=r/\]"=1]/outputs/output[name=a]/config/port`, "7",
			`[["mcr","forwarding","rules","rule",{"name":"r/]\"=1"},"outputs","output",{"name":"a"},"config"],{"name":"a","port":7}]`,
		},
		{
			"an entry", rules + `[name=r/\]"=1]/outputs/output[name=c]`, `{"config":{"port":3}}`,
			`[["mcr","forwarding","rules","rule",{"name":"r/]\"=1"},"outputs","output",{"name":"c"}],{"config":{"name":"c","port":3},"name":"c"}]`,
		},
		{
			"entries that go", rules + `[name=r/\]"=1]/outputs`, `{"output":[{"name":"b","config":{"port":2}}]}`,
			`[["mcr","forwarding","rules","rule",{"name":"r/]\"=1"},"outputs","output",{"name":"a"}],null]`,
		},
		{"a container that goes", "/mcr", `{"forwarding":{"config":{"unicast-ttl":5}}}`, `[["mcr","forwarding","rules"],null]`},
		{"all", "/", `{}`, `[["mcr"],null]`},
		{
			"two keys", "/network-instances", `{"network-instance":[{"name":"default","protocols":{"protocol":[{"identifier":"PIM","name":"pim"}]}}]}`,
			`[["network-instances"],{"network-instance":[{"config":{"name":"default"},"name":"default","protocols":{"protocol":[{"config":{"identifier":"mcr-types:PIM","name":"pim"},"identifier":"mcr-types:PIM","name":"pim"}]}}]}]`,
		},
		{"nothing", "/mcr/forwarding/config", `{"unicast-ttl":5}`, `[]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, now := mustEdit(t, base, tt.path, tt.value)
			got, text := patched(t, base, now, e)
			if text != tt.want {
				t.Errorf("got  %s\nwant %s", text, tt.want)
			}
			if encode(got) != encode(now) {
				t.Errorf("leads to %s\nwant     %s", encode(got), encode(now))
			}
			if back, text := patched(t, now, base, nil); encode(back) != encode(base) {
				t.Errorf("back: %s leads to %s", text, encode(back))
			}
			if _, ok := AppendPatch(nil, base, now, e, len(tt.want)-2); ok && tt.want != "[]" {
				t.Error("longer than the limit")
			}
		})
	}
}

func TestBadPatches(t *testing.T) {
	for _, text := range []string{`{}`, `[["mcr"]]`, `[[],null]`, `[[1],null]`, `[[{"name":"x"}],null]`, `[["a",{},{}],null]`} {
		v, err := json5.ParseJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := NewEdit(&gen.Device{}, nil).Patch(v); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}
