// SPDX-License-Identifier: Apache-2.0

package access

import (
	"strings"
	"sync"
	"testing"

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

func pattern(tb testing.TB, text string) telemetry.Path {
	tb.Helper()
	p, err := ygot.StringToStructuredPath(text)
	if err != nil {
		tb.Fatal(err)
	}
	r, err := schema(tb).Resolve(p.GetElem())
	if err != nil {
		tb.Fatal(err)
	}
	return r.Path()
}

// What a role may do with all, some or none of a path.
func TestG123RightsByPath(t *testing.T) {
	operator := map[string]string{
		"/":                                   "read",
		"/mcr/forwarding":                     "write",
		"/mcr/system":                         "none",
		"/mcr/forwarding/rules/rule[name=tv]": "read",
		"/mcr/forwarding/rules/rule/outputs":  "none",
	}
	const all, some, none = "all", "some", "none"
	for _, tt := range []struct {
		role        map[string]string
		path        string
		read, write string
	}{
		{operator, "/", some, some},
		{operator, "/interfaces", all, none},
		{operator, "/mcr", some, some},
		{operator, "/mcr/system", none, none},
		{operator, "/mcr/system/configuration/state", none, none},
		{operator, "/mcr/forwarding/config", all, all},
		{operator, "/mcr/forwarding", some, some},
		// The longest prefix wins, not the narrowest entry.
		{operator, "/mcr/forwarding/rules/rule[name=tv]/config", all, none},
		{operator, "/mcr/forwarding/rules/rule[name=tv]/outputs", none, none},
		{operator, "/mcr/forwarding/rules/rule[name=radio]/config", all, all},
		{operator, "/mcr/forwarding/rules/rule[name=radio]/outputs/output[name=o1]", none, none},
		{operator, "/mcr/forwarding/rules/rule[name=radio]", some, some},
		// A pattern is all that it can match.
		{operator, "/mcr/forwarding/rules/rule/config", all, some},
		{operator, "/mcr/forwarding/rules/rule[name=*]/outputs", none, none},
		{operator, "/mcr/*/config", some, some},
		{operator, "/*/interface", all, none},
		{operator, "/.../config", some, some},
		{map[string]string{"/mcr/forwarding/rules/rule[name=tv]": "write"}, "/mcr/forwarding/rules/rule[name=tv]/config/description", all, all},
		{map[string]string{"/mcr/forwarding/rules/rule[name=tv]": "write"}, "/mcr/forwarding/rules/rule[name=tv2]", none, none},
		{map[string]string{"/mcr/forwarding/rules/rule[name=tv]": "write"}, "/mcr/forwarding/rules/rule", some, some},
		{map[string]string{"/mcr/forwarding/rules/rule[name=tv]": "write"}, "/interfaces", none, none},
		{map[string]string{"/mcr:mcr/mcr:forwarding": "read"}, "/mcr/forwarding", all, none},
		{map[string]string{}, "/", none, none},
	} {
		r, err := newRights(schema(t), tt.role)
		if err != nil {
			t.Fatal(err)
		}
		path := pattern(t, tt.path)
		word := func(want Permission) string {
			switch a, s := r.Allows(path, want); {
			case a && s:
				return all
			case s:
				return some
			default:
				return none
			}
		}
		if read, write := word(Read), word(Write); read != tt.read || write != tt.write {
			t.Errorf("%s with %v: may read %s and write %s, want %s and %s", tt.path, r, read, write, tt.read, tt.write)
		}
	}
}

func TestRuleWithAMistakeIsRefused(t *testing.T) {
	for path, says := range map[string]string{
		"/mcr/sytem":                      `no element "sytem"`,
		"mcr":                             "begins with /",
		"/mcr/*":                          "no wildcards",
		"/...":                            "no wildcards",
		"/mcr/forwarding/rules/rule[n=x]": `no key "n"`,
	} {
		if _, err := newRights(schema(t), map[string]string{path: "read"}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q in it", path, err, says)
		}
	}
	if _, err := newRights(schema(t), map[string]string{"/": "all"}); err == nil || !strings.Contains(err.Error(), "neither none, read nor write") {
		t.Errorf("unknown permission: %v", err)
	}
}
