// SPDX-License-Identifier: Apache-2.0

package arch

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rule forbids the packages at and below each of from to reach those at and below each of to. A package named in except may.
type rule struct {
	from, to, except []string
	why              string
}

func list(s string) []string { return strings.Fields(s) }

var rules = []rule{
	{
		list("mcr/dataplane"),
		list("mcr/mroute mcr/northbound mcr/gen mcr/yang mcr/cmd mcr/tests google.golang.org/grpc github.com/openconfig github.com/vishvananda"),
		nil, "the dataplane is the lowest layer: it takes a Plan and knows sockets",
	},
	{
		list("mcr/dataplane/plan"), list("mcr golang.org github.com google.golang.org net/http os/exec log"), list("mcr/dataplane/plan"),
		"plan is a leaf of types: it builds everywhere, and the MRIB with it",
	},
	{
		list("mcr/dataplane/uring"), list("mcr"), list("mcr/dataplane/uring"),
		"the ring knows nothing about multicast",
	},
	{
		list("mcr/mroute"),
		list("mcr/northbound mcr/gen mcr/yang mcr/cmd mcr/tests google.golang.org/grpc google.golang.org/protobuf github.com/openconfig"),
		nil, "below northbound there are plain Go types",
	},
	{
		list("mcr/mroute/mrib"), list("mcr golang.org github.com google.golang.org net/http os/exec log"), list("mcr/mroute/mrib mcr/dataplane/plan"),
		"the MRIB is pure: entries and claims in, a Plan out",
	},
	{
		list("mcr/mroute/wire"), list("mcr golang.org github.com google.golang.org log"), list("mcr/mroute/wire"),
		"the codecs are a leaf: protocols, remote joins and mcrctl share them",
	},
	{
		list("mcr/mroute/netif"), list("mcr"), list("mcr/mroute/netif mcr/dataplane/plan"),
		"netif and mrib do not meet: the Router hands values across",
	},
	{
		list("mcr/mroute/igmp mcr/mroute/pim mcr/mroute/amt mcr/mroute/lease mcr/mroute/remotejoin"),
		list("mcr/dataplane/uring mcr/dataplane/sock mcr/dataplane/afpacket mcr/mroute/netif"),
		nil, "protocols are state machines: packets and time in, claims out",
	},
	{list("mcr/mroute/igmp"), list("mcr/mroute/pim mcr/mroute/amt mcr/mroute/lease mcr/mroute/remotejoin"), nil, sideways},
	{list("mcr/mroute/pim"), list("mcr/mroute/igmp mcr/mroute/amt mcr/mroute/lease mcr/mroute/remotejoin"), nil, sideways},
	{list("mcr/mroute/amt"), list("mcr/mroute/igmp mcr/mroute/pim mcr/mroute/lease mcr/mroute/remotejoin"), nil, sideways},
	{list("mcr/mroute/lease"), list("mcr/mroute/igmp mcr/mroute/pim mcr/mroute/amt mcr/mroute/remotejoin"), nil, sideways},
	{list("mcr/mroute/remotejoin"), list("mcr/mroute/igmp mcr/mroute/pim mcr/mroute/amt mcr/mroute/lease"), nil, sideways},
	{
		list("mcr/northbound mcr/gen mcr/yang"), list("mcr/cmd mcr/tests"), nil,
		"imports go from the commands to the northbound and on down",
	},
	{
		list("mcr/northbound/form"), list("mcr golang.org github.com google.golang.org"), list("mcr/northbound/form"),
		"the form is a leaf: mcrctl uses it too",
	},
	{
		list("mcr/northbound/access"), list("mcr/northbound mcr/mroute mcr/dataplane"),
		list("mcr/northbound/access mcr/northbound/telemetry mcr/northbound/config/json5"),
		"access knows users and paths: who asks it, and over what, is not its business",
	},
	{
		list("mcr/cmd/mcrctl"), list("mcr"), list("mcr/cmd/mcrctl mcr/northbound/form mcr/northbound/operations/mcr mcr/mroute/wire"),
		"mcrctl is a client of gNMI and Operations: whatever it can do, another client can",
	},
	{
		list("mcr/cmd/mcrgen"), list("mcr"), list("mcr/cmd/mcrgen"),
		"mcrgen measures: it shares nothing with what it measures",
	},
	{
		list("mcr/cmd/mcrd"), list("mcr/cmd mcr/tests"), list("mcr/cmd/mcrd"),
		"a command is nobody's library",
	},
}

const sideways = "protocols know the MRIB and packet formats, not each other"

// within says whether pkg is tree or below it.
func within(pkg, tree string) bool { return pkg == tree || strings.HasPrefix(pkg, tree+"/") }

func inAny(pkg string, trees []string) bool {
	for _, t := range trees {
		if within(pkg, t) {
			return true
		}
	}
	return false
}

// broken lists what pkg must not reach and does.
func (r rule) broken(pkg string, deps []string) (bad []string) {
	if !inAny(pkg, r.from) {
		return nil
	}
	for _, dep := range deps {
		if inAny(dep, r.to) && !inAny(dep, r.except) {
			bad = append(bad, dep)
		}
	}
	return bad
}

// imports lists the packages of the module with all that each reaches; what only tests import is not among it.
func imports(t *testing.T, flags ...string) map[string][]string {
	t.Helper()
	cmd := exec.Command("go", append(append([]string{"list"}, flags...), "-f", `{{.ImportPath}} {{join .Deps " "}}`, "mcr/...")...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	graph := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		graph[fields[0]] = fields[1:]
	}
	return graph
}

func check(graph map[string][]string) (broken []string) {
	for pkg, deps := range graph {
		for _, r := range rules {
			if bad := r.broken(pkg, deps); len(bad) > 0 {
				broken = append(broken, fmt.Sprintf("%s reaches %s: %s", pkg, few(bad), r.why))
			}
		}
	}
	return broken
}

// few names our own packages first, and not all of the others: one wrong import brings hundreds.
func few(pkgs []string) string {
	slices.SortFunc(pkgs, func(a, b string) int {
		if own := within(a, "mcr"); own != within(b, "mcr") {
			return map[bool]int{true: -1, false: 1}[own]
		}
		return strings.Compare(a, b)
	})
	if n := len(pkgs) - 4; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(pkgs[:4], ", "), n)
	}
	return strings.Join(pkgs, ", ")
}

func TestImportsGoOneWay(t *testing.T) {
	for _, b := range check(imports(t)) {
		t.Error(b)
	}
}

// The check must be able to fail: a wrong import is planted into a package as it is, for go list alone.
func TestImportCheckFindsAPlantedImport(t *testing.T) {
	for name, tc := range map[string]struct{ dir, pkg, imports, want string }{
		"schema_below_northbound":  {"mroute/mrib", "mrib", "mcr/gen", "mcr/mroute/mrib reaches mcr/gen"},
		"client_reaches_dataplane": {"cmd/mcrctl", "main", "mcr/dataplane/plan", "mcr/cmd/mcrctl reaches mcr/dataplane/plan"},
		"lab_in_a_program":         {"cmd/mcrgen", "main", "mcr/tests/lab", "mcr/cmd/mcrgen reaches mcr/"},
		"netif_meets_mrib":         {"mroute/netif", "netif", "mcr/mroute/mrib", "mcr/mroute/netif reaches mcr/mroute/mrib"},
		"grpc_in_the_dataplane":    {"dataplane/uring", "uring", "google.golang.org/grpc", "mcr/dataplane/uring reaches"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			source, overlay := filepath.Join(dir, "planted.go"), filepath.Join(dir, "overlay.json")
			write(t, source, fmt.Sprintf("package %s\n\nimport _ %q\n", tc.pkg, tc.imports))
			planted := filepath.Join(root(t), tc.dir, "planted.go")
			b, err := json.Marshal(map[string]any{"Replace": map[string]string{planted: source}})
			if err != nil {
				t.Fatal(err)
			}
			write(t, overlay, string(b))
			broken := strings.Join(check(imports(t, "-e", "-overlay", overlay)), "\n")
			if !strings.Contains(broken, tc.want) {
				t.Errorf("not found: %s\n%s", tc.want, broken)
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
