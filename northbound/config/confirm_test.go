// SPDX-License-Identifier: Apache-2.0

package config

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// setTTL changes one leaf.
func setTTL(t testing.TB, value string) Op {
	return update(t, "/mcr/forwarding/config/unicast-ttl", value)
}

func ttl(s *Store) uint8 { return s.Running().c.config.Forwarding.UnicastTTL }

// setConfirmed is a Set that has to be confirmed.
func setConfirmed(s *Store, id string, rollback time.Duration, ops ...Op) (Result, error) {
	return s.Set(context.Background(), Request{Ops: ops, User: "joe", Address: "10.0.0.9:41999", Confirm: &Confirm{id, rollback}})
}

func mustSetConfirmed(t testing.TB, s *Store, id string, rollback time.Duration, ops ...Op) Result {
	t.Helper()
	r, err := setConfirmed(s, id, rollback, ops...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// bubble runs f with a started store whose TTL is 5 at revision 1, on a clock that costs no time.
func bubble(t *testing.T, f func(t *testing.T, s *Store, r *fakeRouter, told func() []Committed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, r := open(t, t.TempDir())
		mustSet(t, s, setTTL(t, "5"))
		var mu sync.Mutex // a rollback tells from a goroutine of its own
		var told []Committed
		s.opts.Publish = func(c Committed) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, c)
		}
		f(t, s, r, func() []Committed {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(told)
		})
	})
}

var ann = Client{"ann", "unix"}

// G100: applied at once, and it stays when it is confirmed.
func TestG100_CommitConfirmed(t *testing.T) {
	bubble(t, func(t *testing.T, s *Store, r *fakeRouter, told func() []Committed) {
		res := mustSetConfirmed(t, s, "c1", time.Minute, setTTL(t, "7"))
		snap := s.Running()
		if !res.Changed || res.Revision != 2 || res.CommitID != "c1" || r.running.Forwarding.UnicastTTL != 7 {
			t.Errorf("%+v, TTL %d", res, ttl(s))
		}
		if snap.PendingID != "c1" || !snap.PendingDeadline.Equal(time.Now().Add(time.Minute)) {
			t.Errorf("pending %q until %v", snap.PendingID, snap.PendingDeadline)
		}
		time.Sleep(59 * time.Second)
		res, err := s.Confirm(t.Context(), "c1", ann)
		if err != nil || res.Changed || res.Revision != 2 || res.CommitID != "c1" {
			t.Fatalf("%+v, %v", res, err)
		}
		time.Sleep(time.Hour)
		if ttl(s) != 7 || s.Running().PendingID != "" || !s.Running().PendingDeadline.IsZero() || s.Running().Revision != 2 {
			t.Errorf("TTL %d, %+v", ttl(s), s.Running())
		}
		if len(told()) != 2 || told()[0].CommitID != "c1" || told()[1].Old.Revision != told()[1].New.Revision {
			t.Errorf("told %+v", told())
		}
		if c := s.Commits(); len(c) != 2 || c[1].User != "joe" {
			t.Errorf("%+v", c)
		}
		mustSet(t, s, setTTL(t, "8"))
	})
}

// G100: ten minutes where the client does not say.
func TestG100_DefaultDuration(t *testing.T) {
	bubble(t, func(t *testing.T, s *Store, _ *fakeRouter, _ func() []Committed) {
		mustSetConfirmed(t, s, "c1", 0, setTTL(t, "7"))
		time.Sleep(10*time.Minute - time.Nanosecond)
		synctest.Wait()
		if ttl(s) != 7 {
			t.Error("back too early")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if ttl(s) != 5 {
			t.Error("still there")
		}
	})
}

// G101: the old configuration is back in time, as a new commit that everybody is told of.
func TestG101_Rollback(t *testing.T) {
	bubble(t, func(t *testing.T, s *Store, r *fakeRouter, told func() []Committed) {
		before := s.Running()
		mustSetConfirmed(t, s, "c1", time.Minute, setTTL(t, "7"), update(t, rulePath, "["+ruleJSON("r1")+"]"))
		// What this machine lacks today refuses a Set, and never the way back.
		r.mu.Lock()
		r.err = errors.New("too many open files")
		r.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		snap := s.Running()
		if snap.c != before.c || r.running != before.c.config || snap.PendingID != "" || snap.Revision != 3 {
			t.Errorf("TTL %d, %+v", ttl(s), snap)
		}
		if n := len(told()); n != 2 || told()[1].New != snap || told()[1].CommitID != "c1" {
			t.Errorf("told %+v", told())
		}
		want := Commit{Revision: 3, User: "rollback", Address: "rollback", Time: time.Now(), Changed: 5}
		if c := s.Commits(); len(c) != 3 || c[1].Changed != 5 || c[2].Revision != 3 || c[2] != want {
			t.Errorf("%+v", c)
		}
		r.err = nil
		mustSet(t, s, setTTL(t, "8"))
		time.Sleep(time.Hour)
		if ttl(s) != 8 {
			t.Error("rolled back twice")
		}
	})
}

// A rollback does not need the disk: what is stored leads a start to the same configuration. What is stored later does, too.
func TestG101_RollbackOnAFullDisk(t *testing.T) {
	for _, journal := range []bool{false, true} {
		bubble(t, func(t *testing.T, s *Store, _ *fakeRouter, _ func() []Committed) {
			if journal {
				s.journalFrom = 0
			}
			mustSetConfirmed(t, s, "c1", time.Minute, setTTL(t, "7"))
			full := errors.New("no space left on device")
			s.files.write = func(string, io.WriterTo) error { return full }
			s.files.append = func(*os.File, int64, []byte) error { return full }
			if _, err := s.Cancel(t.Context(), "c1", ann); faults(t, err)[0].Code != Internal || s.Running().PendingID != "c1" {
				t.Errorf("%v", err)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if ttl(s) != 5 || s.Running().Revision != 3 {
				t.Errorf("TTL %d, revision %d", ttl(s), s.Running().Revision)
			}
			back, _ := open(t, crash(t, s))
			if ttl(back) != 5 || back.Running().Revision != 3 || back.Running().PendingID != "" {
				t.Errorf("after the restart TTL %d, %+v", ttl(back), back.Running())
			}
			s.files = osFiles
			mustSet(t, s, setTTL(t, "8"))
			mustSet(t, s, setTTL(t, "9"))
			back, _ = open(t, crash(t, s))
			if ttl(back) != 9 || back.Running().Revision != 5 {
				t.Errorf("after the next restart TTL %d, %+v", ttl(back), back.Running())
			}
		})
	}
}

// A router that cannot do it now is asked again.
func TestG101_RollbackIsTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, s *Store, r *fakeRouter, _ func() []Committed) {
		mustSetConfirmed(t, s, "c1", time.Minute, setTTL(t, "7"))
		r.mu.Lock()
		r.broken = errors.New("broken")
		r.mu.Unlock()
		time.Sleep(61 * time.Second)
		synctest.Wait()
		if ttl(s) != 7 || s.Running().PendingID != "c1" {
			t.Errorf("TTL %d, pending %q", ttl(s), s.Running().PendingID)
		}
		r.mu.Lock()
		r.broken = nil
		r.mu.Unlock()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if ttl(s) != 5 || s.Running().PendingID != "" {
			t.Errorf("TTL %d, pending %q", ttl(s), s.Running().PendingID)
		}
	})
}

// G102
func TestG102_Cancel(t *testing.T) {
	bubble(t, func(t *testing.T, s *Store, r *fakeRouter, told func() []Committed) {
		mustSetConfirmed(t, s, "c1", time.Minute, setTTL(t, "7"))
		res, err := s.Cancel(t.Context(), "c1", ann)
		if err != nil || !res.Changed || res.Revision != 3 || res.CommitID != "c1" || r.running.Forwarding.UnicastTTL != 5 || s.Running().User != "ann" {
			t.Fatalf("%+v, %v, TTL %d", res, err, ttl(s))
		}
		if n := len(told()); n != 2 || told()[1].CommitID != "c1" {
			t.Errorf("told %+v", told())
		}
		time.Sleep(time.Hour)
		if s.Running().Revision != 3 {
			t.Error("the deadline did something after the cancel")
		}
	})
}

// G103: nothing else is changed meanwhile, and the refusal says which commit waits and for how long.
func TestG103_WhileOneWaits(t *testing.T) {
	bubble(t, func(t *testing.T, s *Store, r *fakeRouter, _ func() []Committed) {
		mustSetConfirmed(t, s, "c1", time.Minute, setTTL(t, "7"))
		time.Sleep(8 * time.Second)
		prepares := r.prepares
		_, plain := set(s, setTTL(t, "8"))
		_, empty := set(s)
		_, another := setConfirmed(s, "c2", time.Minute, setTTL(t, "8"))
		_, same := setConfirmed(s, "c1", time.Minute, setTTL(t, "8"))
		_, dry := s.Validate(t.Context(), Request{Ops: []Op{setTTL(t, "8")}})
		for i, err := range []error{plain, empty, another, same, dry} {
			if f := faults(t, err)[0]; f.Code != Precondition || !strings.Contains(f.Reason, `"c1"`) || !strings.Contains(f.Reason, "52s") {
				t.Errorf("%d: %+v", i, f)
			}
		}
		if ttl(s) != 7 || s.Running().Revision != 2 || r.prepares != prepares {
			t.Error("something was changed")
		}
	})
}

// G104
func TestG104_WrongWord(t *testing.T) {
	bubble(t, func(t *testing.T, s *Store, _ *fakeRouter, _ func() []Committed) {
		all := map[string]func(id string) error{
			"confirm": func(id string) error { _, err := s.Confirm(t.Context(), id, ann); return err },
			"cancel":  func(id string) error { _, err := s.Cancel(t.Context(), id, ann); return err },
			"set":     func(id string) error { _, err := s.SetRollback(t.Context(), id, time.Minute, ann); return err },
		}
		for name, word := range all {
			if f := faults(t, word("c1"))[0]; f.Code != Precondition {
				t.Errorf("%s, nothing waits: %+v", name, f)
			}
		}
		mustSetConfirmed(t, s, "c1", time.Minute, setTTL(t, "7"))
		for name, word := range all {
			if f := faults(t, word("c2"))[0]; f.Code != Invalid || !strings.Contains(f.Reason, `"c1"`) {
				t.Errorf("%s, another waits: %+v", name, f)
			}
			if f := faults(t, word(""))[0]; f.Code != Invalid {
				t.Errorf("%s, no id: %+v", name, f)
			}
		}
		if s.Running().PendingID != "c1" || s.Running().Revision != 2 {
			t.Errorf("%+v", s.Running())
		}
	})
}

// G104, G105: what a commit cannot have.
func TestG105_BadRequests(t *testing.T) {
	bubble(t, func(t *testing.T, s *Store, _ *fakeRouter, _ func() []Committed) {
		for name, c := range map[string]Confirm{
			"no id": {"", time.Minute}, "long id": {strings.Repeat("x", 257), time.Minute},
			"negative": {"c1", -1}, "for ever": {"c1", 1 << 62},
		} {
			if _, err := setConfirmed(s, c.ID, c.Rollback, setTTL(t, "7")); faults(t, err)[0].Code != Invalid {
				t.Errorf("%s: %v", name, err)
			}
		}
		mustSetConfirmed(t, s, "c1", time.Minute, setTTL(t, "7"))
		for _, d := range []time.Duration{0, -time.Second, 1 << 62} {
			if _, err := s.SetRollback(t.Context(), "c1", d, ann); faults(t, err)[0].Code != Invalid {
				t.Errorf("%v: %v", d, err)
			}
		}
	})
}

// G105: the time begins anew, it is not added.
func TestG105_SetRollback(t *testing.T) {
	bubble(t, func(t *testing.T, s *Store, _ *fakeRouter, told func() []Committed) {
		mustSetConfirmed(t, s, "c1", time.Minute, setTTL(t, "7"))
		time.Sleep(50 * time.Second)
		res, err := s.SetRollback(t.Context(), "c1", 30*time.Second, ann)
		if err != nil || res.Changed || !s.Running().PendingDeadline.Equal(time.Now().Add(30*time.Second)) {
			t.Fatalf("%+v, %v, until %v", res, err, s.Running().PendingDeadline)
		}
		if told()[1].New.PendingDeadline != s.Running().PendingDeadline {
			t.Error("nobody is told")
		}
		time.Sleep(29 * time.Second)
		if ttl(s) != 7 {
			t.Error("the first deadline still holds")
		}
		time.Sleep(2 * time.Second)
		if ttl(s) != 5 {
			t.Error("no rollback")
		}
	})
}

// A commit that changes nothing waits as well, and going back from it is no commit.
func TestCommitConfirmedOfNothing(t *testing.T) {
	bubble(t, func(t *testing.T, s *Store, _ *fakeRouter, _ func() []Committed) {
		res := mustSetConfirmed(t, s, "c1", time.Minute)
		if res.Changed || res.Revision != 1 || s.Running().PendingID != "c1" {
			t.Errorf("%+v", res)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if s.Running().PendingID != "" || s.Running().Revision != 1 || len(s.Commits()) != 1 {
			t.Errorf("%+v", s.Running())
		}
	})
}

// G106: a restart inside the window, whatever ended the process, goes back; what is on disk says so.
func TestG106_RestartWhileOneWaits(t *testing.T) {
	dir, text := stored(t)
	s, _ := open(t, dir)
	before := s.Running()
	mustSetConfirmed(t, s, "c1 \"x\"", time.Hour, setTTL(t, "7"))
	file := readFile(t, dir)
	if !strings.Contains(file, `"pending":{"id":"c1 \"x\"","deadline":"2`) || !strings.Contains(file, `"unicast-ttl":7`) {
		t.Errorf("%s", file)
	}
	if got := contents(t, stateText{s.Running().header, s.Running().c}); got != file {
		t.Errorf("got  %swant %s", got, file)
	}
	s.Close()
	s, r := open(t, dir)
	snap := s.Running()
	if snap.Digest != before.Digest || snap.PendingID != "" || snap.Revision != 3 || snap.User != "rollback" || r.running.Forwarding.UnicastTTL == 7 {
		t.Errorf("%+v", snap)
	}
	if got := readFile(t, dir); strings.Contains(got, `"unicast-ttl":7`) || !strings.Contains(got, `"pending":null`) {
		t.Errorf("%s", got)
	}
	if c := s.Commits(); len(c) != 3 || c[2].Changed != 1 {
		t.Errorf("%+v", c)
	}
	if config, _, err := s.Content(2); err != nil || !strings.Contains(string(config), `"unicast-ttl":7`) || strings.Contains(string(config), "pending") {
		t.Errorf("%s, %v", config, err)
	}
	mustSet(t, s, setTTL(t, "8"))
	if text == readFile(t, dir) {
		t.Error("not stored")
	}
}

// G106: confirmed is confirmed, also after a restart.
func TestG106_RestartAfterConfirm(t *testing.T) {
	dir, _ := stored(t)
	s, _ := open(t, dir)
	mustSetConfirmed(t, s, "c1", time.Hour, setTTL(t, "7"))
	if _, err := s.Confirm(t.Context(), "c1", ann); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s, r := open(t, dir)
	if r.running.Forwarding.UnicastTTL != 7 || s.Running().Revision != 2 || s.Running().User != "joe" {
		t.Errorf("%+v", s.Running())
	}
}

// The part of the file that a start goes back to is held to its digest as well.
func TestPendingIsDamaged(t *testing.T) {
	dir, _ := stored(t)
	s, _ := open(t, dir)
	mustSetConfirmed(t, s, "c1", time.Hour, setTTL(t, "7"))
	s.Close()
	good := readFile(t, dir)
	for _, tt := range []struct{ name, old, now, want string }{
		{"flipped", `5000`, `5001`, "digest"},
		{"deadline", `"deadline":"2`, `"deadline":"x`, "deadline"},
		{"previous", `"previous":{`, `"previos":{`, "previous"},
		{"accepted as it is", good[strings.Index(good, `"digest":"`+textSum(s.Running().header.pending.previous)):][:10+64+2], ``, ""},
	} {
		writeFile(t, filepath.Join(dir, stateName), strings.Replace(good, tt.old, tt.now, 1))
		s, err := Open(Options{Dir: dir, Router: &fakeRouter{}})
		if err == nil {
			s.Close()
		}
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), `"pending"`) || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// After Close nothing happens any more.
func TestCloseStopsTheTimer(t *testing.T) {
	bubble(t, func(t *testing.T, s *Store, r *fakeRouter, told func() []Committed) {
		mustSetConfirmed(t, s, "c1", time.Minute, setTTL(t, "7"))
		s.Close()
		prepares := r.prepares
		time.Sleep(time.Hour)
		if r.prepares != prepares || len(told()) != 1 {
			t.Error("a closed store changed something")
		}
		if _, err := s.Confirm(t.Context(), "c1", ann); faults(t, err)[0].Code != NotReady {
			t.Error(err)
		}
	})
}
