// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mcr/tests/lab"
)

// Suite is a package of tests that is run in the guest.
type Suite struct {
	Package string   // below the module's folder, such as "dataplane/sock"
	Args    []string // of the test binary, such as -test.run=…
	MaySkip string   // why a test may be skipped there, a regular expression for what it says; "": none may
}

// Tests compiles the suites, boots the guest once, and reports each test that ran in it as a subtest of t, named PACKAGE/TEST. Programs
// are ours that the tests start. A test that the guest skipped counts as failed, unless its suite says that it may.
//
// Give the guest one CPU where order is tested: with two, a datagram now and then overtakes another between the ends of a veth
// (3 of 12 runs of T2's traffic, 0 of 16 with one; where both could be seen they had left mcrd's host in order).
func Tests(t *testing.T, o Options, programs []string, suites ...Suite) {
	t.Helper()
	outside(t)
	share := t.TempDir()
	var script strings.Builder
	fmt.Fprintln(&script, "uname -r >kernel; mkdir /tmp/bin")
	for _, p := range programs { // in the guest's memory: each start from the share reads it page by page
		copyFile(t, lab.Bin(t, p), filepath.Join(share, p))
		fmt.Fprintf(&script, "cp %s /tmp/bin/\n", p)
	}
	for i, s := range suites {
		compile(t, s.Package, filepath.Join(share, fmt.Sprintf("%d.test", i)))
		fmt.Fprintf(&script, "mkdir /tmp/%d; cd /tmp/%[1]d; %[2]s/%[1]d.test -test.v=test2json", i, share)
		for _, a := range append(s.Args, fmt.Sprintf("-test.timeout=%v", o.within()-hangs)) {
			fmt.Fprintf(&script, " '%s'", a) // none of ours has a quote in it
		}
		fmt.Fprintf(&script, " >%s/%d.out 2>&1; echo $? >%[1]s/%[2]d.exit\n", share, i)
	}
	if err := os.WriteFile(filepath.Join(share, "run"), []byte(script.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	o.Share, o.Env = share, append(o.Env, lab.BinDir+"=/tmp/bin")
	var out bytes.Buffer
	if err := Run(t.Context(), o, &out, &out, "sh", "run"); err != nil {
		t.Errorf("guest: %v\n%s", err, out.String())
	}
	kernel, _ := os.ReadFile(filepath.Join(share, "kernel"))
	t.Logf("kernel %s", bytes.TrimSpace(kernel))
	for i, s := range suites {
		t.Run(s.Package, func(t *testing.T) {
			said, _ := os.ReadFile(filepath.Join(share, fmt.Sprintf("%d.out", i)))
			exit, err := os.ReadFile(filepath.Join(share, fmt.Sprintf("%d.exit", i)))
			if err != nil {
				exit = []byte("it did not end")
			}
			s.report(t, said, string(bytes.TrimSpace(exit)))
		})
	}
}

func compile(t *testing.T, pkg, to string) {
	t.Helper()
	root, err := lab.Root()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("go", "test", "-c", "-o", to, "./"+pkg)
	c.Dir = root
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("compile the tests of %s: %v\n%s", pkg, err, out)
	}
}

// report makes a subtest of each test in what a test binary said.
func (s Suite) report(t *testing.T, said []byte, exit string) {
	t.Helper()
	all, err := results(said)
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	may := regexp.MustCompile(cmp.Or(s.MaySkip, "^$"))
	all.report(t, may)
	switch {
	case exit != "0" && !t.Failed(): // what no test says: a leak, a panic, no memory
		t.Errorf("exit %s\n%s", exit, tail(said, 100))
	case len(all.children) == 0:
		t.Errorf("no test ran\n%s", tail(said, 100))
	}
}

// result is a test of the guest, with its subtests.
type result struct {
	name     string // in full
	end      string // pass, fail or skip; "": it did not end
	said     strings.Builder
	children []*result
}

// results reads what -test.v=test2json printed.
func results(said []byte) (*result, error) {
	c := exec.Command("go", "tool", "test2json")
	c.Stdin = bytes.NewReader(said)
	js, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("test2json: %w", err)
	}
	all, byName := &result{}, map[string]*result{}
	for d := json.NewDecoder(bytes.NewReader(js)); d.More(); {
		var ev struct{ Action, Test, Output string }
		if err := d.Decode(&ev); err != nil {
			return nil, fmt.Errorf("test2json's output: %w", err)
		}
		r := all
		if ev.Test != "" {
			if r = byName[ev.Test]; r == nil {
				r = &result{name: ev.Test}
				byName[ev.Test] = r
				above := parent(all, byName, ev.Test)
				above.children = append(above.children, r)
			}
		}
		switch ev.Action {
		case "output":
			if !strings.HasPrefix(strings.TrimSpace(ev.Output), "=== ") {
				r.said.WriteString(ev.Output)
			}
		case "pass", "fail", "skip":
			r.end = ev.Action
		}
	}
	return all, nil
}

// parent is the test that a subtest belongs to: its name up to some slash, since names may have slashes of their own.
func parent(all *result, byName map[string]*result, name string) *result {
	for i := strings.LastIndexByte(name, '/'); i > 0; i = strings.LastIndexByte(name[:i], '/') {
		if r := byName[name[:i]]; r != nil {
			return r
		}
	}
	return all
}

func (r *result) report(t *testing.T, maySkip *regexp.Regexp) {
	for _, c := range r.children {
		t.Run(strings.TrimPrefix(strings.TrimPrefix(c.name, r.name), "/"), func(t *testing.T) {
			c.report(t, maySkip)
			if c.said.Len() > 0 {
				t.Log(c.said.String())
			}
			switch {
			case c.end == "skip" && maySkip.MatchString(c.said.String()):
				t.SkipNow()
			case c.end == "skip":
				t.Error("skipped in the guest")
			case c.end == "":
				t.Error("did not end")
			case c.end == "fail":
				t.Fail()
			}
		})
	}
}

// tail is the last n lines.
func tail(b []byte, n int) []byte {
	lines := bytes.SplitAfter(b, []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-n):], nil)
}
