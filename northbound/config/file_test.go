// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mcr/northbound/config/json5"
)

// stored makes a state directory with one rule and returns it with the contents of its file.
func stored(t *testing.T) (dir, text string) {
	t.Helper()
	dir = t.TempDir()
	s, _ := open(t, dir)
	mustSet(t, s, update(t, rulePath, "["+ruleJSON("r1", outputJSON("a", "10.0.0.1", ""))+"]"))
	s.Close()
	return dir, readFile(t, dir)
}

// File, tree, file: the same bytes, with revision, user and time.
func TestRestart(t *testing.T) {
	dir, text := stored(t)
	s, r := open(t, dir)
	snap := s.Running()
	if snap.Revision != 1 || snap.User != "joe" || snap.Time.IsZero() || r.running.Rules["r1"] == nil {
		t.Errorf("%+v", snap)
	}
	if readFile(t, dir) != text {
		t.Error("the start rewrote the file")
	}
	if got := contents(t, stateText{snap.header, snap.c}); got != text {
		t.Errorf("got  %swant %s", got, text)
	}
	mustSet(t, s, remove(t, rulePath+"[name=r1]"))
	mustSet(t, s, update(t, rulePath, "["+ruleJSON("r1", outputJSON("a", "10.0.0.1", ""))+"]"))
	if s.Running().Digest != snap.Digest || s.Running().Revision != 3 {
		t.Error("equal configurations, different digests")
	}
}

// A file that cannot be used refuses the start with file, place and writer's version, and stays as it is.
func TestBadStateFile(t *testing.T) {
	_, good := stored(t)
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "damaged or cut off at line 1"},
		{"truncated", good[:len(good)/2], "damaged or cut off at line 1, column"},
		{"last_byte_missing", good[:len(good)-2], "damaged"},
		{"not_json", "hello", "damaged"},
		{"zeros", strings.Repeat("\x00", 4096), "damaged"},
		{"no_format", `{"config":{}}`, "no format"},
		{"newer", strings.Replace(good, `"format":1`, `"format":2`, 1), "format 2 is newer"},
		{"unknown_older", strings.Replace(good, `"format":1`, `"format":0`, 1), "format 0 is not known"},
		{"flipped", strings.Replace(good, `5000`, `5001`, 1), "digest"},
		{"unknown_leaf", edited(good, `"input-port"`, `"input-pport"`), rulePath + "[name=r1]/config: no node \"input-pport\""},
		{"not_implemented_leaf", edited(good, `{"forwarding"`, `{"registration":{"config":{"enabled":true}},"forwarding"`), "/mcr/registration"},
		{"semantics", edited(good, `"239.1.1.1"`, `"224.0.0.1"`), "224.0.0.0/24"},
		{"unknown_member", strings.Replace(good, `"pending"`, `"foo":1,"pending"`, 1), `"foo"`},
		{"pending", strings.Replace(good, `"pending":null`, `"pending":{}`, 1), `"pending"`},
		{"no_config", `{"format":1,"version":"1.2.3","revision":1}`, `"config"`},
		{"revision", strings.Replace(good, `"revision":1`, `"revision":-1`, 1), `"revision"`},
		{"time", strings.Replace(good, `"time":"2`, `"time":"x`, 1), `"time"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			name := writeFile(t, filepath.Join(dir, stateName), tt.text)
			_, err := Open(Options{Dir: dir, Router: &fakeRouter{}})
			e, ok := errors.AsType[*FileError](err)
			if !ok || e.File != name || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want …%s…", err, tt.want)
			}
			if strings.Contains(tt.text, `"version"`) && strings.HasSuffix(tt.text, "}\n") && e.Version != "1.2.3" {
				t.Errorf("writer's version %q", e.Version)
			}
			if readFile(t, dir) != tt.text {
				t.Error("the file was touched")
			}
			if _, err := Open(Options{Dir: dir, Router: &fakeRouter{}}); errors.As(err, new(*LockedError)) {
				t.Error("the lock was kept")
			}
		})
	}
}

// edited replaces once in a state file and takes the digest out, as one who edits by hand is told to.
func edited(text, old, now string) string {
	i := strings.LastIndex(text, `"digest":"`)
	j := i + strings.Index(text[i:], `,`) + 1
	return strings.Replace(text[:i]+text[j:], old, now, 1)
}

func TestFileEditedByHand(t *testing.T) {
	dir, text := stored(t)
	writeFile(t, filepath.Join(dir, stateName), edited(text, "5000", " 5001 "))
	s, _ := open(t, dir)
	if got := s.Running().c.config.Rules["r1"].Port; got != 5001 {
		t.Errorf("port %d", got)
	}
}

// A file that stays after a crash in the middle of a write means nothing.
func TestLeftOverIsIgnored(t *testing.T) {
	dir, _ := stored(t)
	writeFile(t, filepath.Join(dir, stateName+".new"), `{"form`)
	s, _ := open(t, dir)
	mustSet(t, s, remove(t, rulePath+"[name=r1]"))
}

func TestOlderFormatIsMigrated(t *testing.T) {
	migrations[0] = func(v *json5.Value) {
		for i, m := range v.Members {
			if m.Name == "conf" {
				v.Members[i].Name = "config"
			}
		}
	}
	t.Cleanup(func() { delete(migrations, 0) })
	dir, text := stored(t)
	old := strings.Replace(strings.Replace(text, `"format":1`, `"format":0`, 1), `"config":{"mcr`, `"conf":{"mcr`, 1)
	writeFile(t, filepath.Join(dir, stateName), old)
	s, _ := open(t, dir)
	if s.Running().c.config.Rules["r1"] == nil {
		t.Error("the rule is lost")
	}
	kept, err := os.ReadFile(filepath.Join(dir, stateName+".format-0"))
	if err != nil || string(kept) != old {
		t.Errorf("old file: %q, %v", kept, err)
	}
	mustSet(t, s, update(t, "/mcr/forwarding/config/unicast-ttl", `5`))
	if !strings.Contains(readFile(t, dir), `"format":1`) {
		t.Error("not written in the new format")
	}
}

func TestSecondDaemon(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	_, err := Open(Options{Dir: dir, Router: &fakeRouter{}})
	if e, ok := errors.AsType[*LockedError](err); !ok || e.PID != strconv.Itoa(os.Getpid()) {
		t.Errorf("got %v, want the holder's pid", err)
	}
	s.Close()
	open(t, dir)
}

// Disk full, or whatever else: the Set fails, and nothing is changed, on disk or in memory.
func TestWriteFails(t *testing.T) {
	full := errors.New("no space left on device")
	for _, tt := range []struct {
		name string
		fail func(*files)
	}{
		{"write", func(f *files) { f.write = func(string, io.WriterTo) error { return full } }},
		{"half_a_write", func(f *files) {
			f.write = func(n string, w io.WriterTo) error {
				text := contents(t, w)
				return errors.Join(os.WriteFile(n, []byte(text[:len(text)/2]), 0o600), full)
			}
		}},
		{"rename", func(f *files) { f.rename = func(string, string) error { return full } }},
		{"sync_of_the_folder", func(f *files) { f.sync = func(string) error { return full } }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, text := stored(t)
			s, r := open(t, dir)
			tt.fail(&s.files)
			before := s.Running()
			_, err := set(s, update(t, "/mcr/forwarding/config/unicast-ttl", `5`))
			if f := faults(t, err); f[0].Code != Internal || !strings.Contains(err.Error(), "no space left") {
				t.Errorf("%+v", f)
			}
			if s.Running() != before || readFile(t, dir) != text || r.discards != 1 || r.running != before.c.config {
				t.Error("something was changed")
			}
			s.files = osFiles
			mustSet(t, s, update(t, "/mcr/forwarding/config/unicast-ttl", `5`)) // and it goes on
		})
	}
	t.Run("sync_of_the_folder_at_first", func(t *testing.T) {
		dir := t.TempDir()
		s, _ := open(t, dir)
		s.files.sync = func(string) error { return full }
		if _, err := set(s, update(t, "/mcr/forwarding/config/unicast-ttl", `5`)); err == nil || readFile(t, dir) != "" {
			t.Error(err)
		}
	})
	t.Run("something_in_the_way", func(t *testing.T) { // a real failure, also for root
		dir, text := stored(t)
		s, _ := open(t, dir)
		if err := os.Mkdir(filepath.Join(dir, stateName+".new"), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := set(s, update(t, "/mcr/forwarding/config/unicast-ttl", `5`)); err == nil || readFile(t, dir) != text {
			t.Error(err)
		}
	})
	t.Run("real_full_disk", func(t *testing.T) {
		if err := osFiles.write("/dev/full", strings.NewReader("x")); err == nil {
			t.Error("a full disk took it")
		}
	})
}

const (
	childDir     = "MCR_TEST_KILL_DIR"
	childJournal = "MCR_TEST_KILL_JOURNAL" // set: the victim keeps a journal
)

// TestMain turns into the victim of TestKill where it is told to.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		victim(dir)
	}
	os.Exit(m.Run())
}

// victim sets the TTL to 1 + revision modulo 200 for ever, and prints each revision when it is acknowledged.
func victim(dir string) {
	s, err := Open(Options{Dir: dir, Router: &fakeRouter{}})
	if err == nil {
		if os.Getenv(childJournal) != "" {
			s.journalFrom = 0
		}
		err = s.Start(context.Background(), "", false)
	}
	for n := uint64(1); err == nil; n++ {
		var r Result
		r, err = set(s, update(panicTB{}, "/mcr/forwarding/config/unicast-ttl", strconv.FormatUint(1+(s.Running().Revision+1)%200, 10)))
		fmt.Println(r.Revision)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

type panicTB struct{ testing.TB }

func (panicTB) Helper()           {}
func (panicTB) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// F4: whenever the kill comes, the file holds the last acknowledged configuration, or the one in flight.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	for i := range 10 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		if i%2 == 1 {
			cmd.Env = append(cmd.Env, childJournal+"=1")
		}
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var acked uint64
		lines := bufio.NewScanner(out)
		if lines.Scan() { // it runs
			acked, _ = strconv.ParseUint(lines.Text(), 10, 64)
			time.AfterFunc(time.Duration(rand.IntN(20000))*time.Microsecond, func() { cmd.Process.Kill() })
		}
		for lines.Scan() {
			acked, _ = strconv.ParseUint(lines.Text(), 10, 64)
		}
		cmd.Wait()
		s, r := open(t, dir)
		got := s.Running().Revision
		if acked == 0 || got != acked && got != acked+1 {
			t.Fatalf("acknowledged %d, stored %d", acked, got)
		}
		if want := uint8(1 + got%200); r.running.Forwarding.UnicastTTL != want {
			t.Fatalf("revision %d has TTL %d, want %d", got, r.running.Forwarding.UnicastTTL, want)
		}
		s.Close()
	}
}
