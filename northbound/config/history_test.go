// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// revisions lists the commits of a store.
func revisions(s *Store) (out []uint64) {
	for _, c := range s.Commits() {
		out = append(out, c.Revision)
	}
	return out
}

// commitFiles lists the files of the history.
func commitFiles(t testing.TB, dir string) (out []string) {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(dir, commitsName))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		out = append(out, strings.TrimSuffix(f.Name(), ".json"))
	}
	return out
}

func upTo(from, to uint64) (out []uint64) {
	for ; from <= to; from++ {
		out = append(out, from)
	}
	return out
}

// The last 20 commits are kept with who, when, how much and what, and outlive the process.
func TestHistory(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	if len(s.Commits()) != 0 {
		t.Error("a daemon that was never told anything has commits")
	}
	for i := range 23 {
		mustSet(t, s, setTTL(t, fmt.Sprint(100+i)), update(t, "/mcr/forwarding/config/multicast-ttl", fmt.Sprint(100+i)))
	}
	check := func(when string) {
		t.Helper()
		if got := revisions(s); !slices.Equal(got, upTo(4, 23)) {
			t.Errorf("%s: %v", when, got)
		}
		if n := len(commitFiles(t, dir)); n != 20 {
			t.Errorf("%s: %d files", when, n)
		}
		for _, c := range s.Commits() {
			text, meta, err := s.Content(c.Revision)
			want := fmt.Sprintf(`{"mcr:mcr":{"forwarding":{"config":{"multicast-ttl":%d,"unicast-ttl":%[1]d}}}}`, 99+c.Revision)
			if err != nil || string(text) != want || !meta.Time.Equal(c.Time) || meta.Revision != c.Revision {
				t.Errorf("%s: %d: %s, %+v, %v", when, c.Revision, text, meta, err)
			}
			if c.User != "joe" || c.Address != "10.0.0.9:41999" || c.Time.IsZero() || c.Changed != 2 {
				t.Errorf("%s: %+v", when, c)
			}
		}
		for _, r := range []uint64{0, 3, 24} {
			if _, _, err := s.Content(r); faults(t, err)[0].Code != NotFound {
				t.Errorf("%s: %d: %v", when, r, err)
			}
		}
	}
	check("running")
	s.Close()
	s, _ = open(t, dir)
	check("restarted")
}

// The history costs no space but what the state files take: each is one.
func TestHistoryIsLinks(t *testing.T) {
	dir, _ := stored(t)
	a, err := os.Stat(filepath.Join(dir, stateName))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.Stat(filepath.Join(dir, commitsName, "1.json"))
	if err != nil || !os.SameFile(a, b) {
		t.Errorf("not the same file, %v", err)
	}
}

// What is missing or damaged is missing from the history, and nothing else suffers.
func TestDamagedHistory(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	for i := range 6 {
		mustSet(t, s, setTTL(t, fmt.Sprint(100+i)))
	}
	s.Close()
	file := func(name string) string { return filepath.Join(dir, commitsName, name) }
	spoil := func(name, text string) { // a new file: the old one may be the state file
		t.Helper()
		if err := os.Remove(file(name)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		writeFile(t, file(name), text)
	}
	four, err := os.ReadFile(file("4.json"))
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(file("1.json"))
	spoil("2.json", "")
	spoil("3.json", strings.Replace(string(four), "103", "109", 1)) // says that it is revision 4
	spoil("4.json", string(four[:len(four)-20]))                    // who made it is still known
	os.Remove(file("6.json"))                                       // that of the running configuration
	spoil("9.json", string(four))                                   // of another life
	spoil("junk.json", "junk")
	s, _ = open(t, dir)
	if got := revisions(s); !slices.Equal(got, []uint64{4, 5, 6}) {
		t.Errorf("%v", got)
	}
	if _, _, err := s.Content(4); faults(t, err)[0].Code != Internal || !strings.Contains(err.Error(), "damaged") {
		t.Error(err)
	}
	os.Remove(file("5.json"))
	if _, _, err := s.Content(5); faults(t, err)[0].Code != NotFound {
		t.Error(err)
	}
	for i := range 4 {
		mustSet(t, s, setTTL(t, fmt.Sprint(120+i)))
	}
	if text, _, err := s.Content(9); err != nil || !strings.Contains(string(text), "122") {
		t.Errorf("%s, %v", text, err)
	}
	if text, _, err := s.Content(6); err != nil || !strings.Contains(string(text), "105") {
		t.Errorf("the start did not make it again: %s, %v", text, err)
	}
}

// A history that cannot be kept stops nothing.
func TestHistoryIsInTheWay(t *testing.T) {
	dir, _ := stored(t)
	if err := os.RemoveAll(filepath.Join(dir, commitsName)); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, commitsName), "a file")
	s, _ := open(t, dir)
	mustSet(t, s, setTTL(t, "9"))
	if text, _, err := s.Content(2); err != nil || !strings.Contains(string(text), `"unicast-ttl":9`) {
		t.Errorf("%s, %v", text, err)
	}
	if _, _, err := s.Content(1); err == nil {
		t.Error("made up")
	}
}

// A state file that was edited by hand is that of its revision.
func TestHistoryOfAnEditedFile(t *testing.T) {
	dir, text := stored(t)
	if err := os.Remove(filepath.Join(dir, stateName)); err != nil {
		t.Fatal(err)
	}
	text = edited(text, "5000", " 5001 ")
	text = strings.Replace(text, `"format":1,`, "", 1)
	writeFile(t, filepath.Join(dir, stateName), strings.Replace(text, "}\n", ",\n \"format\":1}", 1))
	s, _ := open(t, dir)
	mustSet(t, s, remove(t, "/"))
	if got, c, err := s.Content(1); err != nil || !strings.Contains(string(got), `"input-port":5001`) || c.User != "joe" {
		t.Errorf("%s, %+v, %v", got, c, err)
	}
}
