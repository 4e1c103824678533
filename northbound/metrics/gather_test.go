// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"bytes"
	"flag"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"mcr/gen"
	"mcr/mroute"
	"mcr/mroute/mrib"
	"mcr/northbound/telemetry"
)

var (
	updateGolden = flag.Bool("update", false, "write the golden file anew")

	_ prometheus.Gatherer = (*Gatherer)(nil)
)

func newGatherer(t testing.TB, tree *telemetry.Tree) *Gatherer {
	t.Helper()
	g, err := NewGatherer(tree)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// text is what a scrape shows, but for the figures of the process, which are never the same.
func text(t testing.TB, g *Gatherer) string {
	t.Helper()
	all, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, f := range all {
		if strings.HasPrefix(f.GetName(), "go_") || strings.HasPrefix(f.GetName(), "process_") {
			continue
		}
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// Everything that is known is there, under its name and with its labels.
func TestEverything(t *testing.T) {
	tree, p := newTree(t)
	p.Batch(everything())
	if err := tree.Apply(clients()); err != nil {
		t.Fatal(err)
	}
	const file = "testdata/everything.txt"
	got := strings.ReplaceAll(text(t, newGatherer(t, tree)), runtimeVersion(t, tree), "GO")
	if *updateGolden {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func runtimeVersion(t testing.TB, tree *telemetry.Tree) string {
	t.Helper()
	u := tree.Snapshot().Unit(telemetry.Path{{Name: "mcr"}, {Name: "system"}, {Name: "state"}})
	for _, l := range u.Leaves {
		if l.Name == "go-version" {
			return l.Value.Str
		}
	}
	t.Fatal("no go-version")
	return ""
}

// The figures of the process are there under the names that dashboards know.
func TestProcess(t *testing.T) {
	tree, _ := newTree(t)
	all, err := newGatherer(t, tree).Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range all {
		if m := f.GetMetric()[0]; len(m.GetLabel()) == 0 {
			got[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	if want := float64(t0.Unix()); got["process_start_time_seconds"] != want {
		t.Errorf("process_start_time_seconds %v, want %v", got["process_start_time_seconds"], want)
	}
	for name, least := range map[string]float64{
		"process_cpu_seconds_total": 0.001, "process_resident_memory_bytes": 1 << 20, "process_open_fds": 3, "process_max_fds": 3,
		"go_goroutines": 1, "go_memstats_heap_alloc_bytes": 1 << 10,
	} {
		if got[name] < least {
			t.Errorf("%s is %v, want at least %v", name, got[name], least)
		}
	}
}

// Prometheus' own rules for names, help and units (promlint), and its own parser.
func TestPrometheusTakesIt(t *testing.T) {
	tree, p := newTree(t)
	p.Batch(everything())
	if err := tree.Apply(clients()); err != nil {
		t.Fatal(err)
	}
	g := newGatherer(t, tree)
	problems, err := testutil.GatherAndLint(g)
	if err != nil {
		t.Fatal(err)
	}
	for _, pr := range problems {
		t.Errorf("%s: %s", pr.Metric, pr.Text)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	parsed, err := parser.TextToMetricFamilies(strings.NewReader(text(t, g)))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for name, f := range parsed {
		for _, m := range f.GetMetric() {
			var id strings.Builder
			id.WriteString(name)
			for i, l := range m.GetLabel() {
				if i > 0 && l.GetName() <= m.GetLabel()[i-1].GetName() {
					t.Errorf("%s: label %s is out of order", name, l.GetName())
				}
				id.WriteString("\x00" + l.GetName() + "\x00" + l.GetValue())
			}
			if seen[id.String()] {
				t.Errorf("%s has two series %v", name, m.GetLabel())
			}
			seen[id.String()] = true
		}
	}
	if len(parsed) < 50 {
		t.Errorf("only %d families", len(parsed))
	}
}

// A branch keeps its labels while it goes down and comes up, or its counters would be another's.
func TestLabelsOfABranchStay(t *testing.T) {
	tree, p := newTree(t)
	g := newGatherer(t, tree)
	up, down := many(1), many(1)
	for _, o := range down.RuleOutputs {
		o.Oper, o.Reason, o.Endpoint, o.Local = mrib.Down, mrib.InterfaceDown, netip.AddrPort{}, netip.AddrPort{}
	}
	p.Batch(up)
	before := lines(text(t, g), "mcr_output_sent_packets_total")
	p.Batch(down)
	after := lines(text(t, g), "mcr_output_sent_packets_total")
	if diff := cmp.Diff(before, after); diff != "" || len(before) != 1 {
		t.Errorf("(-up +down):\n%s", diff)
	}
}

func TestAnEmptyTreeHasNoSeries(t *testing.T) {
	if got := text(t, newGatherer(t, telemetry.New(schema()))); got != "" {
		t.Errorf("%s", got)
	}
}

// A rule that is gone has no series any more.
func TestWhatIsGoneIsGone(t *testing.T) {
	tree, p := newTree(t)
	b := many(2)
	p.Batch(b)
	g := newGatherer(t, tree)
	if got := text(t, g); strings.Count(got, `rule="r1"`) < 20 {
		t.Errorf("%s", got)
	}
	gone := mroute.Batch{Time: t0, Rules: map[string]*mroute.RuleState{"r1": nil}, RuleOutputs: map[mroute.RuleOutputKey]*mroute.RuleOutputState{}}
	for k := range b.RuleOutputs {
		gone.RuleOutputs[k] = nil
	}
	p.Batch(gone)
	if got := text(t, g); strings.Contains(got, `rule="r1"`) {
		t.Errorf("%s", got)
	}
}

// What the tables below name is in the schema, or it would silently be missing.
func TestLeavesAreInTheSchema(t *testing.T) {
	for _, g := range groups {
		n := schema().Root
		for _, e := range elems(g.path) {
			n = n.Children[e.GetName()]
		}
		leaves := map[string]string{}
		for _, f := range g.families {
			leaves[f.leaf] = f.name
		}
		switch g.path {
		case ruleGroup.path:
			for _, d := range ruleDrops {
				leaves[d.leaf] = "ruleDrops"
			}
		case outputGroup.path:
			for _, d := range slices.Concat(outputUnsent, outputErrors) {
				leaves[d.leaf] = "outputUnsent or outputErrors"
			}
		}
		for leaf, what := range leaves {
			at := n
			for _, e := range elems(leaf) {
				if at = at.Children[e.GetName()]; at == nil {
					break
				}
			}
			if at == nil || !at.IsLeaf() || at.Config {
				t.Errorf("%s: %s/%s is no state leaf", what, g.path, leaf)
			}
		}
		if counters := n.Children["counters"]; counters != nil && (g.path == ruleGroup.path || g.path == outputGroup.path) {
			for _, name := range slices.Sorted(maps.Keys(counters.Children)) {
				if _, ok := leaves["counters/"+name]; !ok && !strings.HasPrefix(name, "last-error") {
					t.Errorf("%s/counters/%s is in no family", g.path, name)
				}
			}
		}
	}
}

func TestInputStatusesAreThoseOfTheModel(t *testing.T) {
	var want []string
	for _, d := range gen.McrTypes_InputStatus_receiving.ΛMap()["E_McrTypes_InputStatus"] {
		want = append(want, d.Name)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(slices.Values(inputStatuses))); diff != "" {
		t.Errorf("(-model +here):\n%s", diff)
	}
}

// lines are the lines of one family's series.
func lines(text, family string) (out []string) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, family+"{") {
			out = append(out, line)
		}
	}
	return out
}
