// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const file = "mcr/v1/operations.proto"

// The committed files are what the .proto file gives, and an edited one is noticed.
func TestRegenerate(t *testing.T) {
	t.Chdir("..")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	committed := map[string][]byte{}
	for _, name := range []string{"mcr/v1/operations.pb.go", "mcr/v1/operations_grpc.pb.go"} {
		if committed[name], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("the file as it is gives the committed ones", func(t *testing.T) {
		files, err := generate(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		if len(files) != len(committed) {
			t.Errorf("%d files, want %d", len(files), len(committed))
		}
		for name, want := range committed {
			if !bytes.Equal(files[name], want) {
				t.Errorf("%s is not what %s gives: run go generate ./northbound/operations", name, file)
			}
		}
	})
	edited := func(t *testing.T, from, to string) (map[string][]byte, error) {
		t.Helper()
		if !bytes.Contains(text, []byte(from)) {
			t.Fatalf("%s does not contain %q", file, from)
		}
		top := t.TempDir()
		for _, name := range []string{"go.mod", "go.sum"} { // they name the plugins
			b, err := os.ReadFile(filepath.Join("../..", name))
			if err == nil {
				err = os.WriteFile(filepath.Join(top, name), b, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		dir := filepath.Join(top, "mcr", "v1")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "operations.proto"), bytes.Replace(text, []byte(from), []byte(to), 1), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Chdir(top)
		return generate(t.Context(), file)
	}
	t.Run("an edited file gives others", func(t *testing.T) {
		files, err := edited(t, "uint64 cleared = 1;", "uint32 cleared = 1;")
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(files["mcr/v1/operations.pb.go"], committed["mcr/v1/operations.pb.go"]) {
			t.Error("an edited type gave the same file: the check proves nothing")
		}
	})
	t.Run("an unknown type is named in the error", func(t *testing.T) {
		_, err := edited(t, "gnmi.SetRequest", "gnmi.SetReqest")
		if err == nil || !strings.Contains(err.Error(), "SetReqest") {
			t.Errorf("error = %v, want one that names SetReqest", err)
		}
	})
}
