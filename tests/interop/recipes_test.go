// SPDX-License-Identifier: Apache-2.0

package interop_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mcr/tests/lab"
)

// The shell commands of docs/gnmi.md work as they are written, one block after the other in one folder; the socket is the
// test's. A block with a client that is not there is left out, loudly.
func TestRecipes(t *testing.T) {
	t.Parallel()
	tg := start(t)
	page, err := os.ReadFile("../../docs/gnmi.md")
	if err != nil {
		t.Fatal(err)
	}
	root, err := lab.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	link(t, filepath.Join(root, "yang"), filepath.Join(dir, "yang"))
	tools := filepath.Join(dir, "tools")
	if err := os.Mkdir(tools, 0o755); err != nil {
		t.Fatal(err)
	}
	link(t, lab.Bin(t, "mcrctl"), filepath.Join(tools, "mcrctl"))
	link(t, newGNMICLI(t, tg).path, filepath.Join(tools, "gnmi_cli"))
	var missing []string
	if python, err := makeVenv(); err == nil {
		script := "#!/bin/sh\nexec " + python + " \"$@\"\n"
		if err := os.WriteFile(filepath.Join(tools, "python"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	} else {
		missing = append(missing, "python")
	}
	for _, tool := range []string{"gnmic", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing = append(missing, tool)
		}
	}
	section := ""
	for _, b := range regexp.MustCompile("(?ms)^## (.*?)$|^```sh\n(.*?)^```$").FindAllStringSubmatch(string(page), -1) {
		if b[1] != "" {
			section = b[1]
			continue
		}
		block := strings.ReplaceAll(b[2], "/run/mcr/mcrd.sock", tg.Socket)
		if i := slices.IndexFunc(missing, func(tool string) bool { return regexp.MustCompile(`\b` + tool + ` `).MatchString(block) }); i >= 0 {
			t.Logf("%s: NOT TRIED, for want of %s", section, missing[i])
			continue
		}
		sh := tg.rtr.StartCmd(lab.Cmd{
			Args: []string{"sh", "-e", "-c", "cd " + dir + "\n" + block}, Env: []string{"PATH=" + tools + ":" + os.Getenv("PATH")},
		})
		if err := sh.Wait(time.Minute); err != nil {
			t.Fatalf("%s: %v\n%s\n%s%s", section, err, block, sh.Stdout.String(), sh.Stderr.String())
		}
	}
}

func link(t *testing.T, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}
