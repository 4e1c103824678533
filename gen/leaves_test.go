// SPDX-License-Identifier: Apache-2.0

package gen_test

import (
	"cmp"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/openconfig/goyang/pkg/yang"

	"mcr/gen"
)

var update = flag.Bool("update", false, "write the golden files anew")

// leaves returns every leaf and leaf-list of the schema, by path. Keys of lists, which refer to another leaf, are left out.
func leaves(t *testing.T) []*yang.Entry {
	t.Helper()
	schema, err := gen.Schema()
	if err != nil {
		t.Fatal(err)
	}
	var all []*yang.Entry
	var walk func(e *yang.Entry)
	walk = func(e *yang.Entry) {
		for _, c := range e.Dir {
			if c.IsDir() {
				walk(c)
			} else if c.Type.Kind != yang.Yleafref {
				all = append(all, c)
			}
		}
	}
	walk(schema.SchemaTree["Device"])
	slices.SortFunc(all, func(a, b *yang.Entry) int { return cmp.Compare(gen.SchemaPath(a), gen.SchemaPath(b)) })
	if len(all) < 500 {
		t.Fatalf("only %d leaves found", len(all))
	}
	return all
}

// Every state leaf falls on the side that was decided for it (yang/README.md, decision 9). A difference in the golden
// file is a change that clients notice.
func TestStateLeavesAreSampledOrOnChange(t *testing.T) {
	var b strings.Builder
	for _, leaf := range leaves(t) {
		if !leaf.ReadOnly() {
			continue
		}
		mode := "on-change"
		if gen.Sampled(leaf) {
			mode = "sampled  "
		}
		b.WriteString(mode + " " + gen.SchemaPath(leaf) + "\n")
	}
	const golden = "testdata/state-leaves.txt"
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")); diff != "" {
		t.Errorf("state leaves (-want +got); go test ./gen -update writes them anew:\n%s", diff)
	}
}

// A configuration leaf does not move by itself: a name or type that makes it sampled is a mistake.
func TestConfigLeavesAreNeverSampled(t *testing.T) {
	for _, leaf := range leaves(t) {
		if !leaf.ReadOnly() && gen.Sampled(leaf) {
			t.Errorf("%s is configuration and sampled", gen.SchemaPath(leaf))
		}
	}
}
