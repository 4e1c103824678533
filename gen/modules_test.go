// SPDX-License-Identifier: Apache-2.0

package gen_test

import (
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/openconfig/goyang/pkg/yang"

	"mcr/gen"
)

const yangDir = "../yang"

func modules(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(yangDir + "/*.yang")
	if err != nil || len(files) == 0 {
		t.Fatalf("no modules in %s: %v", yangDir, err)
	}
	return files
}

// Both tools take every module by itself, with everything in one folder, as clients load them.
func TestModulesAreAccepted(t *testing.T) {
	for _, file := range modules(t) {
		t.Run("goyang takes "+filepath.Base(file), func(t *testing.T) {
			ms := yang.NewModules()
			ms.AddPath(yangDir)
			if err := ms.Read(file); err != nil {
				t.Fatal(err)
			}
			for _, err := range ms.Process() {
				t.Error(err)
			}
		})
	}
	t.Run("yanglint takes all without a word", func(t *testing.T) {
		tool, err := exec.LookPath("yanglint")
		if err != nil {
			t.Skip("yanglint is not installed (Debian package libyang-tools)")
		}
		args := append([]string{"-i", "-p", yangDir}, modules(t)...)
		if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// G02: Capabilities tells each module, with organization and version. The newest revision stands first in each.
func TestEveryModuleHasVersionAndRevision(t *testing.T) {
	var told []string
	for _, m := range gen.ΓModelData {
		if m.GetOrganization() == "" || m.GetVersion() == "" {
			t.Errorf("module %s: organization %q, version %q", m.GetName(), m.GetOrganization(), m.GetVersion())
		}
		told = append(told, m.GetName())
	}
	for _, file := range modules(t) {
		name := filepath.Base(file[:len(file)-len(".yang")])
		ms := yang.NewModules()
		ms.AddPath(yangDir)
		if err := ms.Read(file); err != nil {
			t.Fatal(err)
		}
		m := ms.Modules[name]
		if m == nil || len(m.Revision) == 0 || m.Revision[0].Name != m.Current() {
			t.Errorf("module %s: the newest revision does not stand first", name)
		}
		if !slices.Contains(told, name) {
			t.Errorf("module %s is not in the model data %v", name, told)
		}
	}
}
