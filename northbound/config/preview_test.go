// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcr/mroute"
)

func validate(t testing.TB, s *Store, ops ...Op) (Preview, error) {
	t.Helper()
	var n [4]int
	for i := range ops {
		ops[i].Index = n[ops[i].Kind]
		n[ops[i].Kind]++
	}
	return s.Validate(t.Context(), Request{Ops: ops, User: "joe"})
}

// A preview tells leaf by leaf what a Set would do, and does nothing.
func TestValidate(t *testing.T) {
	dir := t.TempDir()
	s, r := open(t, dir)
	mustSet(t, s, update(t, rulePath, "["+ruleJSON("r1", outputJSON("a", "10.0.0.1", ""), outputJSON("b", "10.0.0.2", `,"port":7`))+"]"), setTTL(t, "5"))
	before, file := s.Running(), readFile(t, dir)
	const r1 = rulePath + "[name=r1]/outputs/output"
	got, err := validate(t, s, remove(t, r1+"[name=a]"), update(t, r1+"[name=b]/config/port", "8"), update(t, r1+"[name=c]", outputJSON("c", "10.0.0.3", "")),
		update(t, "/mcr/forwarding/config/multicast-ttl", "9"), remove(t, "/mcr/forwarding/config/unicast-ttl"))
	if err != nil {
		t.Fatal(err)
	}
	want := Preview{Revision: 1, Changes: []LeafChange{
		{"/mcr/forwarding/config/multicast-ttl", "", "9"},
		{"/mcr/forwarding/config/unicast-ttl", "5", ""},
		{r1 + "[name=a]/config/interface", `"wg0"`, ""},
		{r1 + "[name=a]/config/name", `"a"`, ""},
		{r1 + "[name=a]/config/unicast-dest", `"10.0.0.1"`, ""},
		{r1 + "[name=b]/config/port", "7", "8"},
		{r1 + "[name=c]/config/interface", "", `"wg0"`},
		{r1 + "[name=c]/config/name", "", `"c"`},
		{r1 + "[name=c]/config/unicast-dest", "", `"10.0.0.3"`},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if s.Running() != before || readFile(t, dir) != file || r.discards != 1 || r.running != before.c.config || len(s.Commits()) != 1 {
		t.Error("something was changed")
	}
	for name, ops := range map[string][]Op{
		"nothing":        nil,
		"the same again": {replace(t, "/", contents(t, before.c))},
	} {
		if got, err := validate(t, s, ops...); err != nil || len(got.Changes) != 0 || got.Revision != 1 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// The faults of a preview are those of the Set, of every kind.
func TestValidateFindsWhatSetFinds(t *testing.T) {
	s, r := open(t, t.TempDir())
	rule := update(t, rulePath, "["+ruleJSON("r1", outputJSON("a", "10.0.0.1", ""))+"]")
	for name, tt := range map[string]struct {
		ops    []Op
		router error
	}{
		"value":   {ops: []Op{setTTL(t, "300"), update(t, "/mcr/x", "1"), rule}},
		"whole":   {ops: []Op{update(t, rulePath, "["+ruleJSON("r1", outputJSON("a", "10.0.0.1", ""), outputJSON("b", "10.0.0.1", ""))+"]")}},
		"machine": {ops: []Op{rule}, router: &mroute.RefusalError{Refusals: []mroute.Refusal{{Rule: "r1", Output: "a", Err: errors.New("no memory")}}}},
		"router":  {ops: []Op{rule}, router: errors.New("broken")},
	} {
		r.err = tt.router
		_, dry := validate(t, s, tt.ops...)
		_, err := set(s, tt.ops...)
		if !slices.Equal(faults(t, dry), faults(t, err)) {
			t.Errorf("%s: validate %v\nset %v", name, dry, err)
		}
	}
}
