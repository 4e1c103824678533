// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mcr/tests/lab"
)

const stateFile = "state.json"

// files is what is in a folder: name, kind, content and time of change, but for the lock.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir || d.Name() == "lock" {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		content := ""
		if !d.IsDir() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = string(b)
		}
		all[path] = fmt.Sprint(st.Mode(), st.ModTime().UnixNano(), " ", content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A state file that cannot be trusted keeps mcrd from starting; it says which file and where, and touches nothing. F4.
func TestF4_UnreadableStateFile(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.start(ruleOn("r", "in", uni("one", "out", "10.0.2.2", 6001)))
	if err := b.d.Stop(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(b.d.StateDir, stateFile))
	if err != nil {
		t.Fatal(err)
	}
	noDigest := regexp.MustCompile(`,"digest":"[0-9a-f]*"`)
	swap := func(old, new string) []byte {
		t.Helper()
		text := noDigest.ReplaceAll(good, nil)
		if !bytes.Contains(text, []byte(old)) {
			t.Fatalf("no %s in the state file\n%s", old, text)
		}
		return bytes.Replace(text, []byte(old), []byte(new), 1)
	}
	for _, c := range []struct {
		name string
		data []byte   // nil: a folder
		says []string // beside the file's name
	}{
		{"garbage in the middle", bytes.Replace(good, []byte(`"config"`), []byte(`@@@@@@@@`), 1), []string{"line 1, column "}},
		{"one digit changed", bytes.Replace(good, []byte(`6001`), []byte(`6002`), 1), []string{"digest"}},
		{"cut off", good[:len(good)/2], []string{"line 1, column "}},
		{"empty", []byte{}, []string{"line 1"}},
		{"a folder", nil, []string{"is a directory"}},
		{"of a newer format", swap(`"format":1`, `"format":99`), []string{"format 99", "newer"}},
		{"with an unknown leaf", swap(`"input-interface"`, `"input-nonsense":1,"input-interface"`), []string{"/mcr/forwarding/rules/rule[name=r]", "input-nonsense"}},
		{"with an unknown member", swap(`"format":1`, `"format":1,"nonsense":1`), []string{"nonsense"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(filepath.Dir(b.d.StateDir), strings.ReplaceAll(c.name, " ", "-"))
			name := filepath.Join(dir, stateFile)
			made := os.Mkdir(dir, 0o700)
			if c.data == nil {
				made = errors.Join(made, os.Mkdir(name, 0o700))
			} else {
				made = errors.Join(made, os.WriteFile(name, c.data, 0o600))
			}
			if made != nil {
				t.Fatal(made)
			}
			before := files(t, dir)
			says := startRefused(t, b.rtr, dir)
			for _, want := range append(c.says, name) {
				if !strings.Contains(says, want) {
					t.Errorf("does not say %q:\n%s", want, says)
				}
			}
			for path, now := range files(t, dir) {
				if now != before[path] {
					t.Errorf("%s was touched", path)
				}
			}
		})
	}
}

// startRefused starts mcrd on a state dir; it must end by itself, with a failure, and returns what it said.
func startRefused(t *testing.T, h *lab.Host, dir string) string {
	t.Helper()
	p := h.Start(lab.Bin(t, "mcrd"), "--state-dir", dir, "--listen", "unix://"+filepath.Join(dir, "..", "refused.sock"))
	err := p.Wait(10 * time.Second)
	if err == nil || p.ExitCode() <= 0 || strings.Contains(p.Stderr.String(), "ready") {
		t.Fatalf("mcrd on %s: %v, want a failure\n%s", dir, err, p.Stderr.String())
	}
	return p.Stderr.String()
}

// Two daemons never write one state dir: the second names the holder, and the first goes on. DESIGN §3.
func TestF4_StateDirHasOneHolder(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.start(ruleOn("r", "in"))
	if says := startRefused(t, b.rtr, b.d.StateDir); !strings.Contains(says, strconv.Itoa(b.d.Pid())) {
		t.Errorf("does not name the holder's pid %d:\n%s", b.d.Pid(), says)
	}
	b.c.must(b.c.setRules(ruleOn("r", "in", uni("one", "out", "10.0.2.2", 6001))))
}

// While nothing can be stored a Set fails as an internal error, the configuration stays, and so does the traffic; when
// there is room again all is well. F4.
func TestF4_StateDirIsFull(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	dir := t.TempDir()
	b.d = b.rtr.MCRD(lab.MCRDConfig{
		Args: []string{"--state-dir", dir},
		// A mount namespace of its own: the mount ends with the process.
		Under: []string{"unshare", "--mount", "--propagation", "private", "sh", "-c", `mount -t tmpfs -o size=64k none "$0" && exec "$@"`, dir},
	})
	b.c = dial(t, b.d)
	rule := func(port int) obj { return ruleOn("r", "in", uni("one", "out", "10.0.2.2", port)) }
	b.c.must(b.c.setRules(rule(6001)))
	one := b.dst.Sink("10.0.2.2:6001")
	s := b.src.StartSend(steady(2000, 0))
	one.Wait(10, 5*time.Second)

	inside := filepath.Join("/proc", strconv.Itoa(b.d.Pid()), "root", dir)
	fill := filepath.Join(inside, "fill")
	for _, c := range []struct {
		name      string
		fail, end func()
	}{
		{"disk full", func() {
			if err := os.WriteFile(fill, make([]byte, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
				t.Fatalf("fill the disk: %v", err)
			}
		}, func() { os.Remove(fill) }},
		{"read-only", func() { // the lock is open for writing, so that only another mount can be read-only
			b.inMounts("mount", "-t", "tmpfs", "-o", "ro", "none", dir)
		}, func() { b.inMounts("umount", dir) }},
	} {
		before := b.c.config(rulesPath)
		stored := files(t, inside)[filepath.Join(inside, stateFile)]
		c.fail()
		err := b.c.setRules(rule(6002))
		if status.Code(err) != codes.Internal {
			t.Errorf("%s: Set says %v, want Internal", c.name, err)
		}
		if now := b.c.config(rulesPath); now != before {
			t.Errorf("%s: the configuration has changed to\n%s", c.name, now)
		}
		reaches(one, 200, 5*time.Second)
		c.end()
		if now := files(t, inside)[filepath.Join(inside, stateFile)]; now != stored {
			t.Errorf("%s: the state file has changed", c.name)
		}
		b.c.must(b.c.update(rulePath("r")+"/config", obj{"description": c.name}))
		if text, err := os.ReadFile(filepath.Join(inside, stateFile)); err != nil || !strings.Contains(string(text), c.name) {
			t.Errorf("after %s: the state file is not the running configuration: %s, %v", c.name, text, err)
		}
	}
	one.Exactly(s.Stop().Sent)
}

// inMounts runs a command among the mounts of mcrd.
func (b *bed) inMounts(args ...string) {
	b.t.Helper()
	b.rtr.Run(append([]string{"nsenter", "--target", strconv.Itoa(b.d.Pid()), "--mount"}, args...)...)
}

// A stored configuration that this machine cannot satisfy starts: the rest is down with a reason, and comes up by itself
// when what it needs is there. F4, P1.10, P2.7.
func TestF4_StoredConfigurationStartsOnPoorerMachine(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.link2()
	b.l.Link(b.src, "eth1", "10.0.5.1/24", b.rtr, "in2", "10.0.5.2/24")
	outputs := []obj{uni("one", "out", "10.0.2.2", 6001), uni("two", "out2", "10.0.3.2", 6002)}
	b.start(ruleOn("r", "in", outputs...), ruleOn("r2", "in2", outputs[0]))
	stored := b.c.config(rulesPath)
	if err := b.d.Stop(); err != nil {
		t.Fatal(err)
	}
	b.rtr.Delete("out2")
	b.rtr.Delete("in2")
	b.d.Start()
	b.c = dial(t, b.d)
	if now := b.c.config(rulesPath); now != stored {
		t.Errorf("configuration after the start:\n%s\nwant\n%s", now, stored)
	}
	w := b.c.follow(rulesPath)
	w.is(soon, outputPath("r", "two")+"/state/down-reason", "interface-missing")
	w.is(soon, rulePath("r2")+"/state/down-reason", "interface-missing")
	w.is(soon, rulePath("r2")+"/state/input-status", "not-joined")
	one := b.dst.Sink("10.0.2.2:6001")
	b.src.Send(steady(5000, 500))
	one.Exactly(500)

	b.link2()
	b.l.Link(b.src, "eth1", "10.0.5.1/24", b.rtr, "in2", "10.0.5.2/24")
	w.is(soon, outputPath("r", "two")+"/state/down-reason", "none")
	w.is(soon, rulePath("r2")+"/state/joined", "true")
	two := b.dst.Sink("10.0.3.2:6002")
	other := steady(5000, 500)
	other.Iface = "eth1"
	b.src.Send(steady(5000, 500))
	b.src.Send(other)
	two.Exactly(500)
	one.Wait(1000, 5*time.Second)
	if got := one.Received(); got < 1500 {
		one.Quiet(100 * time.Millisecond)
		if got = one.Received(); got != 1500 {
			t.Errorf("one got %d datagrams, want 1500\n%s", got, one)
		}
	}
}
