// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The committed file is what the modules give, and an edited module is noticed.
func TestRegenerate(t *testing.T) {
	committed, err := os.ReadFile("../oc.go")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("the modules as they are give the committed file", func(t *testing.T) {
		code, err := generateCopy(t, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(code, committed) {
			t.Error("gen/oc.go is not what the modules in yang give: run go generate ./gen")
		}
	})
	t.Run("an edited module gives another file", func(t *testing.T) {
		code, err := generateCopy(t, func(dir string) {
			edit(t, filepath.Join(dir, "mcr-forwarding.yang"), `default "64";`, `default "63";`)
		})
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(code, committed) {
			t.Error("an edited default gave the same file: the check proves nothing")
		}
	})
	t.Run("an unknown type is named in the error", func(t *testing.T) {
		_, err := generateCopy(t, func(dir string) {
			edit(t, filepath.Join(dir, "mcr-forwarding.yang"), "type mcr-types:ttl;", "type mcr-types:tll;")
		})
		if err == nil || !strings.Contains(err.Error(), "mcr-types:tll") {
			t.Errorf("error = %v, want one that names mcr-types:tll", err)
		}
	})
}

// generateCopy generates from an edited copy of the modules, from the folder that go generate would be in: the paths of
// the modules, as given, are part of the output.
func generateCopy(t *testing.T, edit func(dir string)) ([]byte, error) {
	t.Helper()
	top := t.TempDir()
	if err := os.CopyFS(filepath.Join(top, "yang"), os.DirFS("../../yang")); err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(filepath.Join(top, "yang"))
	}
	if err := os.Mkdir(filepath.Join(top, "gen"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Join(top, "gen"))
	return generate("../yang")
}

func edit(t *testing.T, file, from, to string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(b, []byte(from), []byte(to), 1)
	if bytes.Equal(changed, b) {
		t.Fatalf("%s does not contain %q", file, from)
	}
	if err := os.WriteFile(file, changed, 0o644); err != nil {
		t.Fatal(err)
	}
}
