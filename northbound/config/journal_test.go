// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// journaled is open with a store that keeps a journal for a configuration of any size.
func journaled(t testing.TB, dir string) (*Store, *fakeRouter) {
	t.Helper()
	s, r := open(t, dir)
	s.journalFrom = 0
	return s, r
}

// crash returns a copy of a store's folder as it is now, as if the power had gone; syncs keep their word.
func crash(t testing.TB, s *Store) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(s.opts.Dir)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func journalOf(t testing.TB, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, journalName))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(b)
}

// sameStore fails unless got came back as want is.
func sameStore(t testing.TB, got, want *Store) {
	t.Helper()
	g, w := got.Running(), want.Running()
	if contents(t, g.c) != contents(t, w.c) || g.Digest != w.Digest || g.Revision != w.Revision || g.User != w.User || !g.Time.Equal(w.Time) || g.Address != w.Address {
		t.Fatalf("got  %d %s %s\nwant %d %s %s", g.Revision, g.User, contents(t, g.c), w.Revision, w.User, contents(t, w.c))
	}
	if !slices.EqualFunc(got.Commits(), want.Commits(), func(a, b Commit) bool {
		at, bt := a.Time, b.Time
		a.Time, b.Time = time.Time{}, time.Time{}
		return a == b && at.Equal(bt)
	}) {
		t.Fatalf("got  %+v\nwant %+v", got.Commits(), want.Commits())
	}
}

// F4: what was acknowledged comes back from state file and journal, and a clean end makes them one file again.
func TestF4_Journal(t *testing.T) {
	dir, text := stored(t)
	s, _ := journaled(t, dir)
	mustSet(t, s, update(t, rulePath+"[name=r1]/outputs/output[name=b]", outputJSON("b", "10.0.0.2", "")))
	mustSet(t, s, remove(t, rulePath+"[name=r1]/outputs/output[name=a]"), setTTL(t, "9"))
	mustSet(t, s, update(t, rulePath+"[name=r1]/config/input-port", `7`))
	if readFile(t, dir) != text {
		t.Error("the state file was written")
	}
	if n := strings.Count(journalOf(t, dir), "\n"); n != 4 {
		t.Errorf("%d lines in the journal\n%s", n, journalOf(t, dir))
	}
	back, r := open(t, crash(t, s))
	sameStore(t, back, s)
	if r.running.Rules["r1"].Port != 7 || len(r.running.Rules["r1"].Outputs) != 1 {
		t.Errorf("%+v", r.running.Rules["r1"])
	}
	if journalOf(t, back.opts.Dir) != "" || readFile(t, back.opts.Dir) == text {
		t.Error("the start did not write the state file")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if journalOf(t, dir) != "" {
		t.Error("the journal is left after a clean end")
	}
	back, _ = open(t, dir)
	sameStore(t, back, s)
}

// F4: a journal that ends anywhere gives the records that are whole; damage before the end refuses the start.
func TestF4_JournalIsCutOff(t *testing.T) {
	dir, _ := stored(t)
	s, _ := journaled(t, dir)
	for i := range 3 {
		mustSet(t, s, setTTL(t, fmt.Sprint(10+i)))
	}
	crashed := crash(t, s)
	full := journalOf(t, crashed)
	name := filepath.Join(crashed, journalName)
	state := readFile(t, crashed)
	for n := range len(full) + 1 {
		writeFile(t, name, full[:n])
		_, h, c, records, err := readState(crashed)
		whole := max(strings.Count(full[:n]+full[n:min(n+1, len(full))], "\n")-1, 0) // the end of the line itself may be missing
		if err != nil || len(records) != whole || h.Revision != uint64(1+whole) {
			t.Fatalf("cut at %d: %d records, want %d, revision %d, %v", n, len(records), whole, h.Revision, err)
		}
		if whole > 0 && c.config.Forwarding.UnicastTTL != uint8(9+whole) {
			t.Fatalf("cut at %d: TTL %d", n, c.config.Forwarding.UnicastTTL)
		}
	}
	lines := strings.SplitAfter(full, "\n")
	for _, tt := range []struct{ name, text, want string }{
		{"a digit", strings.Replace(full, `"unicast-ttl":11`, `"unicast-ttl":12`, 1), "line 3 is damaged"},
		{"a line is missing", lines[0] + lines[1] + lines[3], "does not follow revision 2"},
		{"a line is there twice", lines[0] + lines[1] + lines[1], "does not follow revision 2"},
		{"not JSON", lines[0] + sumText([]byte("{")) + " {\n", "line 2"},
		{"newer", lines[0] + line(strings.Replace(lines[1][65:], `"format":1`, `"format":2`, 1)), "newer"},
		{"no patch", lines[0] + line(`{"format":1,"base":1}`), "does not follow"},
		{"a bad patch", lines[0] + line(`{"format":1,"base":1,"patch":[["mcr"]]}`), "patch"},
		{"an unknown leaf", lines[0] + line(`{"format":1,"base":1,"patch":[["mcr","x"],{}]}`), `no node "x"`},
		{"against a check", lines[0] + line(`{"format":1,"base":1,"patch":[["mcr","forwarding","rules","rule",{"name":"x"}],{"name":"x"}]}`), "is needed"},
		{"a bad time", lines[0] + line(`{"format":1,"base":1,"time":"x","patch":[]}`), "time"},
		{"a bad deadline", lines[0] + line(`{"format":1,"base":1,"pending":{"id":"x"},"patch":[]}`), "deadline"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			writeFile(t, name, tt.text)
			_, err := Open(Options{Dir: crashed, Router: &fakeRouter{}})
			e, ok := errors.AsType[*FileError](err)
			if !ok || e.File != name || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want …%s…", err, tt.want)
			}
			if readFile(t, crashed) != state || journalOf(t, crashed) != tt.text {
				t.Error("a file was touched")
			}
		})
	}
}

// line makes a line of a journal.
func line(record string) string {
	record = strings.TrimSuffix(record, "\n")
	return sumText([]byte(record)) + " " + record + "\n"
}

// A journal belongs to one state file: beside another, such as one that was put back or edited by hand, it means nothing.
func TestJournalOfAnotherStateFile(t *testing.T) {
	dir, text := stored(t)
	s, _ := journaled(t, dir)
	mustSet(t, s, setTTL(t, "9"))
	crashed := crash(t, s)
	writeFile(t, filepath.Join(crashed, stateName), edited(text, "5000", "5001"))
	back, r := open(t, crashed)
	if r.running.Rules["r1"].Port != 5001 || ttl(back) == 9 || back.Running().Revision != 1 {
		t.Errorf("%s", contents(t, back.Running().c))
	}
	back.journalFrom = 0
	mustSet(t, back, setTTL(t, "8"))
	again, _ := open(t, crash(t, back))
	sameStore(t, again, back)
}

// A disk that is full: the Set fails and changes nothing, in memory and after a restart, and later ones work.
func TestJournalWriteFails(t *testing.T) {
	full := errors.New("no space left on device")
	half := func(f *os.File, size int64, b []byte) error {
		_, err := f.WriteAt(b[:len(b)/2], size)
		return errors.Join(err, full)
	}
	for name, fail := range map[string]func(*Store){
		"write": func(s *Store) { s.files.append = func(*os.File, int64, []byte) error { return full } },
		"half":  func(s *Store) { s.files.append = half },
		"sync": func(s *Store) {
			s.files.append = func(f *os.File, n int64, b []byte) error { _, err := f.WriteAt(b, n); return errors.Join(err, full) }
		},
		"folder": func(s *Store) { s.journal.done(s.opts.Dir); s.files.sync = func(string) error { return full } },
		"no_way_back": func(s *Store) { // the old state file is written anew instead
			s.files.append = func(f *os.File, n int64, b []byte) error {
				_, err := f.WriteAt(b, n)
				return errors.Join(err, full, f.Close())
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, _ := stored(t)
			s, r := journaled(t, dir)
			if name != "folder" {
				mustSet(t, s, setTTL(t, "7"))
			}
			before := s.Running()
			fail(s)
			_, err := set(s, setTTL(t, "8"))
			if f := faults(t, err); f[0].Code != Internal || !strings.Contains(err.Error(), "no space left") || s.Running() != before || r.discards != 1 {
				t.Fatalf("%+v", f)
			}
			back, _ := open(t, crash(t, s))
			sameStore(t, back, s)
			s.files = osFiles
			for i := range 3 {
				mustSet(t, s, setTTL(t, fmt.Sprint(20+i)))
			}
			back, _ = open(t, crash(t, s))
			sameStore(t, back, s)
		})
	}
}

// G106: commits that wait, in the journal.
func TestG106_JournalWhileOneWaits(t *testing.T) {
	dir, _ := stored(t)
	s, _ := journaled(t, dir)
	mustSet(t, s, setTTL(t, "6"))
	before := contents(t, s.Running().c)
	mustSetConfirmed(t, s, "c1", time.Hour, setTTL(t, "7"))
	waits := crash(t, s)
	if _, err := s.SetRollback(t.Context(), "c1", time.Minute, ann); err != nil {
		t.Fatal(err)
	}
	longer := crash(t, s)
	for _, dir := range []string{waits, longer} {
		back, r := open(t, dir)
		snap := back.Running()
		if contents(t, snap.c) != before || snap.PendingID != "" || snap.Revision != 4 || snap.User != "rollback" || r.running.Forwarding.UnicastTTL != 6 {
			t.Errorf("%+v", snap)
		}
	}
	if _, err := s.Confirm(t.Context(), "c1", ann); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(journalOf(t, dir), "\n"); n != 5 {
		t.Errorf("%d lines in the journal", n)
	}
	back, _ := open(t, crash(t, s))
	sameStore(t, back, s)
	mustSetConfirmed(t, s, "c2", time.Hour, setTTL(t, "8"))
	if _, err := s.Cancel(t.Context(), "c2", ann); err != nil {
		t.Fatal(err)
	}
	back, _ = open(t, crash(t, s))
	sameStore(t, back, s)
}

// The history reads from records too, also after a crash that took its files, and over several state files.
func TestHistoryOverJournals(t *testing.T) {
	dir, _ := stored(t)
	s, _ := journaled(t, dir)
	want := map[uint64]string{}
	step := func(i int) {
		mustSet(t, s, setTTL(t, fmt.Sprint(1+i%250)), update(t, rulePath+"[name=r1]/outputs/output[name=a]/config/port", fmt.Sprint(1+i)))
		want[s.Running().Revision] = contents(t, s.Running().c)
	}
	check := func(s *Store, when string) {
		t.Helper()
		last := s.Running().Revision
		if got := revisions(s); !slices.Equal(got, upTo(last-19, last)) {
			t.Errorf("%s: %v", when, got)
		}
		for _, c := range s.Commits() {
			if text, _, err := s.Content(c.Revision); err != nil || string(text) != want[c.Revision] {
				t.Errorf("%s: %d: %s, %v", when, c.Revision, text, err)
			}
		}
	}
	for i := range 300 { // two state files in between
		step(i)
	}
	check(s, "running")
	if n := len(commitFiles(t, dir)); n > 20+maxRecords {
		t.Errorf("%d files", n)
	}
	if n := strings.Count(journalOf(t, dir), "\n"); n > 1+maxRecords {
		t.Errorf("%d lines in the journal", n)
	}
	crashed := crash(t, s)
	back, _ := open(t, crashed)
	check(back, "after a crash")
	lost := crash(t, s)
	for r := s.Running().Revision; r > s.Running().Revision-10; r-- {
		os.Remove(filepath.Join(lost, commitsName, fmt.Sprint(r, ".json")))
	}
	back, _ = open(t, lost)
	check(back, "after a crash that took files")
	s.Close()
	s, _ = open(t, dir) // state files alone from here on
	check(s, "after a clean end")
	for i := range 25 {
		step(i)
	}
	check(s, "state files after records")
	if n := len(commitFiles(t, dir)); n != 20 {
		t.Errorf("%d files", n)
	}
}

// A large change, or too many small ones, is a new state file.
func TestWhatGoesIntoTheJournal(t *testing.T) {
	s := withOutputs(t, 1000)
	text := readFile(t, s.opts.Dir)
	toggle(t, s, 0)
	if readFile(t, s.opts.Dir) != text || strings.Count(journalOf(t, s.opts.Dir), "\n") != 2 {
		t.Error("one output was not a record")
	}
	var ops []Op
	for i := range 500 {
		ops = append(ops, update(t, fmt.Sprintf("%s[name=r1]/outputs/output[name=o%d]/config/port", rulePath, i), "9"))
	}
	mustSet(t, s, ops...)
	if readFile(t, s.opts.Dir) == text || journalOf(t, s.opts.Dir) != "" {
		t.Error("500 outputs were a record")
	}
	few := withOutputs(t, 10)
	toggle(t, few, 0)
	if journalOf(t, few.opts.Dir) != "" {
		t.Error("a small configuration has a journal")
	}
}

// Whatever Sets do, a crash after any of them gives what was acknowledged.
func TestRandomSetsAndCrashes(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	s, _ := journaled(t, t.TempDir())
	crashes := 0
	for range 300 {
		if tryRandomSet(t, s, r.IntN) {
			back, _ := open(t, crash(t, s))
			sameStore(t, back, s)
			back.Close()
			crashes++
		}
	}
	if crashes < 5 {
		t.Errorf("only %d crashes", crashes)
	}
}

// FuzzJournal reads arbitrary bytes behind a state file.
func FuzzJournal(f *testing.F) {
	var state bytes.Buffer
	if _, err := (stateText{header{Revision: 1}, empty()}).WriteTo(&state); err != nil {
		f.Fatal(err)
	}
	head := journalMagic + sumText(state.Bytes()) + "\n"
	for _, record := range []string{
		`{"format":1,"base":1,"revision":2,"patch":[["mcr","forwarding","config"],{"unicast-ttl":5}]}`,
		`{"format":1,"base":1,"revision":2,"pending":{"id":"x","deadline":"2026-01-02T03:04:05Z"},"patch":[["mcr"],null]}`,
		`{"format":1,"base":1,"patch":[[{}],[]]}`, `[]`, `{"patch":1}`, `5`,
	} {
		f.Add(record)
	}
	f.Fuzz(func(t *testing.T, record string) {
		if _, err := parseJournal([]byte(head+record), sumText(state.Bytes())); err != nil {
			t.Fatal(err) // nothing whole follows
		}
		parsed, err := parseJournal([]byte(head+line(record)), sumText(state.Bytes()))
		if err != nil || len(parsed) != 1 {
			return
		}
		h, c, err := follow(header{Revision: 1}, empty(), parsed[0].value)
		if err == nil {
			checkAlike(t, c)
			if h.pending != nil && h.pending.previous == nil {
				t.Fatal("nothing to go back to")
			}
		}
	})
}
