// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// BinDir, as an environment variable, names a folder of ready binaries. A test that runs in a virtual machine, where there
// is no Go, gets them there.
const BinDir = "MCR_BIN"

// Bin is the path of a program of ours, such as "mcrd": from the folder that BinDir names, or from bin/ if it is newer than every source file,
// or built now, once for the process.
func Bin(t TB, name string) string {
	t.Helper()
	path, err := bin(name)
	if err != nil {
		t.Fatalf("program %s: %v", name, err)
	}
	return path
}

var built struct {
	sync.Mutex
	dir   string // temporary, removed by RemoveBuilt
	paths map[string]string
}

func bin(name string) (string, error) {
	if dir := os.Getenv(BinDir); dir != "" {
		return filepath.Join(dir, name), nil
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	ready := filepath.Join(root, "bin", name)
	if st, err := os.Stat(ready); err == nil && !newerSource(root, st.ModTime()) {
		return ready, nil
	}
	built.Lock()
	defer built.Unlock()
	if p := built.paths[name]; p != "" {
		return p, nil
	}
	if built.dir == "" {
		if built.dir, err = os.MkdirTemp("", "mcr-bin-"); err != nil {
			return "", err
		}
		built.paths = map[string]string{}
	}
	p := filepath.Join(built.dir, name)
	build := exec.Command("go", "build", "-o", p, "./cmd/"+name)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	built.paths[name] = p
	return p, nil
}

// RemoveBuilt removes what Bin built. CheckLeaks does it; a program that is no test calls it at its end.
func RemoveBuilt() {
	built.Lock()
	defer built.Unlock()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	built.dir, built.paths = "", nil
}

// Root is the module's folder, found upwards from the working directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("no go.mod in %s or above", dir)
		}
	}
}

// newerSource says whether a file that programs are built from is newer than at.
func newerSource(root string, at time.Time) bool {
	newer := false
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && path != root && (name == "tests" || name == "bin" || strings.HasPrefix(name, ".")) {
			return fs.SkipDir
		}
		if d.IsDir() || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		if ext := filepath.Ext(path); ext != ".go" && ext != ".mod" {
			return nil
		}
		if st, err := d.Info(); err == nil && st.ModTime().After(at) {
			newer = true
			return fs.SkipAll
		}
		return nil
	})
	return newer || err != nil
}
