// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/openconfig/goyang/pkg/yang"

	"mcr/gen"
	"mcr/mroute"
	"mcr/northbound/config"
	"mcr/northbound/telemetry"
)

// gnmiMakes are the leaves of the gNMI service, which its own tests see to.
var gnmiMakes = []string{"/mcr/system/clients/", "/mcr/system/rpcs/", "/mcr/system/gnmi/"}

// published returns the Units that a configuration and a batch make in which everything is said that can be said.
func published(t *testing.T) []*telemetry.Unit {
	t.Helper()
	rec := newRecorder(t)
	p := newPublisher(t, rec)
	p.Commit(committed(nil, sampleDevice(), sampleBatch()))
	p.Commit(committed(sampleDevice(), &gen.Device{}, mroute.Batch{Time: t0}))
	var out []*telemetry.Unit
	for _, c := range rec.changes {
		out = append(out, c.Update...)
	}
	return out
}

// produced returns the schema paths of all leaves that the sample makes, with whether they are sampled.
func produced(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, u := range published(t) {
		checkUnit(t, u)
		for _, l := range u.Leaves {
			out[schemaPath(u, l)] = false
		}
		if u.Sample != nil {
			for _, l := range u.Sample(nil) {
				out[schemaPath(u, l)] = true
			}
		}
	}
	return out
}

func schemaPath(u *telemetry.Unit, l telemetry.Leaf) string {
	var b strings.Builder
	for _, e := range u.Path {
		b.WriteString("/" + e.Name)
	}
	return b.String() + "/" + l.Name
}

// checkUnit holds what every Unit keeps to.
func checkUnit(t *testing.T, u *telemetry.Unit) {
	t.Helper()
	byName := func(a, b telemetry.Leaf) int { return strings.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(u.Leaves, byName) {
		t.Errorf("%s: leaves are not ascending", u.Path)
	}
	if u.Sample != nil && !slices.IsSortedFunc(u.Sample(nil), byName) {
		t.Errorf("%s: sampled leaves are not ascending", u.Path)
	}
}

// Every state leaf is made, and every configuration leaf can be set, or it is on the list with a reason, on which nothing else
// is; what is made is in the schema, and on the right side of sampled and on change.
func TestEveryLeafIsServedOrHasAReason(t *testing.T) {
	made := produced(t)
	usedReason := map[string]bool{}
	seen := map[string]bool{}
	for _, e := range stateLeaves(t) {
		path := gen.SchemaPath(e)
		seen[path] = true
		sampled, ok := made[path]
		if slices.ContainsFunc(gnmiMakes, func(p string) bool { return strings.HasPrefix(path, p) }) {
			continue
		}
		why, row := reason(path)
		usedReason[row] = usedReason[row] || !ok
		switch {
		case ok && notYet[path] != "":
			t.Errorf("%s is made, and is on the list of what is not (%s)", path, notYet[path])
		case ok && sampled != gen.Sampled(e):
			t.Errorf("%s: sampled is %v, want %v", path, sampled, gen.Sampled(e))
		case !ok && why == "":
			t.Errorf("%s is not made, and no reason is given", path)
		}
	}
	for _, e := range configLeaves() { // which the datastore takes, and this package shows
		path := gen.SchemaPath(e)
		if config.Accepts(path) {
			continue
		}
		why, row := reason(path)
		usedReason[row] = true
		if why == "" {
			t.Errorf("%s cannot be configured, and no reason is given", path)
		}
	}
	for path := range made {
		if !seen[path] && !strings.Contains(path, "/config/") {
			t.Errorf("%s is made, and is no state leaf of the schema", path)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(notYet)) {
		if !usedReason[path] {
			t.Errorf("%s is on the list, and no such leaf is missing", path)
		}
	}
}

func stateLeaves(t *testing.T) []*yang.Entry {
	t.Helper()
	out := schemaLeaves(true)
	if len(out) < 400 {
		t.Fatalf("only %d state leaves found", len(out))
	}
	return out
}

func configLeaves() []*yang.Entry { return schemaLeaves(false) }

// schemaLeaves returns the leaves of the state or of the configuration, without the keys of lists.
func schemaLeaves(readOnly bool) []*yang.Entry {
	var out []*yang.Entry
	var walk func(e *yang.Entry)
	walk = func(e *yang.Entry) {
		for _, c := range e.Dir {
			if c.IsDir() {
				walk(c)
			} else if c.ReadOnly() == readOnly && c.Type.Kind != yang.Yleafref {
				out = append(out, c)
			}
		}
	}
	walk(gen.SchemaTree["Device"])
	return out
}

// Values have the kind of their type, and enumerations and identities are names that the schema has.
func TestProducedValuesFitTheirTypes(t *testing.T) {
	for _, u := range published(t) {
		all := slices.Clone(u.Leaves)
		if u.Sample != nil {
			all = u.Sample(all)
		}
		for _, l := range all {
			path := schemaPath(u, l)
			e := entryAtPath(path)
			if e == nil {
				t.Errorf("%s is not in the schema", path)
				continue
			}
			checkValue(t, path, e, l.Value)
		}
	}
}

func entryAtPath(path string) *yang.Entry {
	e := gen.SchemaTree["Device"]
	for name := range strings.SplitSeq(path[1:], "/") {
		if e = e.Dir[name]; e == nil {
			return nil
		}
	}
	return e
}

func checkValue(t *testing.T, path string, e *yang.Entry, v telemetry.Value) {
	t.Helper()
	want := telemetry.KindString
	list := e.IsLeafList()
	switch e.Type.Kind {
	case yang.Ybool:
		want = telemetry.KindBool
	case yang.Yuint8, yang.Yuint16, yang.Yuint32, yang.Yuint64:
		want = telemetry.KindUint
		if n := yang.FromUint(v.Num); !list && !slices.ContainsFunc(e.Type.Range, func(r yang.YRange) bool { return !n.Less(r.Min) && !r.Max.Less(n) }) {
			t.Errorf("%s: %d is outside %v", path, v.Num, e.Type.Range)
		}
	}
	texts := []string{v.Str}
	if list {
		texts = v.Strs()
		want = map[telemetry.Kind]telemetry.Kind{telemetry.KindString: telemetry.KindStrings, telemetry.KindUint: telemetry.KindUints}[want]
	}
	if v.Kind != want {
		t.Errorf("%s: kind %d, want %d", path, v.Kind, want)
	}
	for _, s := range texts {
		switch e.Type.Kind {
		case yang.Yenum:
			if !e.Type.Enum.IsDefined(s) {
				t.Errorf("%s: %q is not a value of the enumeration", path, s)
			}
		case yang.Yidentityref:
			if !e.Type.IdentityBase.IsDefined(s) {
				t.Errorf("%s: %q is no such identity", path, s)
			}
		}
	}
}

// The telemetry package decides from its own schema what is sampled: it agrees with the list that clients rely on.
func TestTelemetryAgreesOnWhatIsSampled(t *testing.T) {
	for _, e := range stateLeaves(t) {
		path := gen.SchemaPath(e)
		var p telemetry.Path
		for name := range strings.SplitSeq(path[1:], "/") {
			p = append(p, telemetry.Elem{Name: name})
		}
		n := schema().Find(p)
		if n == nil || n.Sampled != gen.Sampled(e) {
			t.Errorf("%s: telemetry has %+v, want sampled %v", path, n, gen.Sampled(e))
		}
	}
}

// The whole tree as JSON is one document in which no member comes twice.
func TestWholeTreeAsJSON(t *testing.T) {
	rec := newRecorder(t)
	p := newPublisher(t, rec)
	p.Commit(committed(nil, sampleDevice(), sampleBatch()))
	root, err := schema().Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, enc := range []telemetry.Encoding{telemetry.EncodingJSON, telemetry.EncodingIETF} {
		updates := rec.tree.Snapshot().Collect(root, telemetry.Filter{}, enc, t0)
		if len(updates) != 1 {
			t.Fatalf("%d updates", len(updates))
		}
		v := updates[0].GetVal()
		text := append(v.GetJsonVal(), v.GetJsonIetfVal()...)
		dec := json.NewDecoder(bytes.NewReader(text))
		members := noMemberTwice(t, dec)
		if _, err := dec.Token(); !errors.Is(err, io.EOF) || members < 200 {
			t.Errorf("%d members, then %v", members, err)
		}
	}
}

// noMemberTwice reads one value and counts the members in it.
func noMemberTwice(t *testing.T, dec *json.Decoder) int {
	t.Helper()
	tok, err := dec.Token()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	switch tok {
	case json.Delim('{'):
		seen := map[json.Token]bool{}
		for dec.More() {
			name, err := dec.Token()
			if err != nil {
				t.Fatal(err)
			}
			if seen[name] {
				t.Errorf("member %v comes twice", name)
			}
			seen[name] = true
			n += 1 + noMemberTwice(t, dec)
		}
		_, err = dec.Token()
	case json.Delim('['):
		for dec.More() {
			n += noMemberTwice(t, dec)
		}
		_, err = dec.Token()
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}
