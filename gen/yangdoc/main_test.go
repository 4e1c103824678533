// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The committed pages are what the modules give, and an edited module is noticed.
func TestRegenerate(t *testing.T) {
	pages, err := generate("../../yang")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range pages {
		committed, err := os.ReadFile(filepath.Join("../../docs", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(text, committed) {
			t.Errorf("docs/%s is not what the modules in yang give: run go generate ./gen", name)
		}
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../yang")); err != nil {
		t.Fatal(err)
	}
	for file, change := range map[string][2]string{
		"mcr-forwarding.yang": {`default "64";`, `default "63";`},
		"mcr-pim.yang":        {"leaf dr-priority", "leaf dr-prio"},
	} {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(b), change[0], change[1], 1)
		if changed == string(b) {
			t.Fatalf("%s does not have %q", file, change[0])
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(changed), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	edited, err := generate(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range pages {
		if bytes.Equal(text, edited[name]) {
			t.Errorf("docs/%s is the same for edited modules: the check proves nothing", name)
		}
	}
}

// Every leaf of the modules has its row.
func TestTreeIsWhole(t *testing.T) {
	tops, err := load([]string{"../../yang"}, "mcr", "mcr-interfaces", "mcr-network-instance")
	if err != nil {
		t.Fatal(err)
	}
	all := leaves{}
	for _, top := range tops {
		collect(top, "", top.Namespace().Name, all)
	}
	page := string(treePage(tops))
	for p := range all {
		name := p[strings.LastIndex(p, "/")+1:]
		if !strings.Contains(page, "/"+name+"`") && !strings.Contains(page, "`"+name+"`") {
			t.Errorf("%s is not in the page", p)
		}
	}
	if len(all) < 500 {
		t.Errorf("only %d leaves found", len(all))
	}
}
