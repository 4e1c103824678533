// SPDX-License-Identifier: Apache-2.0

package uring

import (
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A kernel that should have it must not fall back silently; where io_uring is forbidden the probe says so.
func TestProbe(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s, err := Probe(0)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		t.Skipf("io_uring is not allowed here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Log("used", s.Names(), "missing", s.Missing())
	old := map[Feature]bool{}
	AllFeatures.Features(func(one Feature, name string) {
		old[one] = true
		s, err := Probe(one)
		if err != nil {
			t.Fatalf("without %s: %v", name, err)
		}
		if s.Has.Has(one) || !slices.Contains(s.Missing(), name+": taken away") {
			t.Errorf("without %s: %v, missing %q", name, s.Has, s.Missing())
		}
	})
	if s, err := Probe(AllFeatures); err != nil || s.Has != 0 || len(s.Missing()) != len(old) {
		t.Errorf("without all: %+v, %v", s, err)
	}
}

// WaitFor returns with what there is when its time has passed, or earlier when all is there.
func TestWaitFor(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r, err := Open(8, 16, 0)
	if err != nil || !r.Has(TimedWait) {
		t.Skipf("no bounded waits here: %v", err)
	}
	defer r.Close()
	wait := func(n int, most time.Duration) (took time.Duration, completions int) {
		start := time.Now()
		for { // a signal may end it
			if err := r.WaitFor(n, most-time.Since(start)); err != nil {
				t.Fatal(err)
			}
			took = time.Since(start)
			for _, ok := r.Next(); ok; _, ok = r.Next() {
				completions++
			}
			if completions >= n || took >= most {
				return took, completions
			}
		}
	}
	const most = 50 * time.Millisecond
	if took, n := wait(2, most); n != 0 || took > 100*most {
		t.Errorf("nothing: %d after %v", n, took)
	}
	r.SQE().Cancel(1) // completes at once: there is none
	if took, n := wait(2, most); n != 1 || took > 100*most {
		t.Errorf("one of two: %d after %v", n, took)
	}
	r.SQE().Cancel(1)
	r.SQE().Cancel(1)
	if took, n := wait(2, 10*time.Second); n != 2 || took > 5*time.Second {
		t.Errorf("two of two: %d after %v", n, took)
	}
}

func TestParseReceived(t *testing.T) {
	tmpl := &unix.Msghdr{Namelen: 16, Controllen: 72}
	b := make([]byte, 256)
	for _, n := range []int{-1, 0, 15, 103, 257} {
		if _, ok := ParseReceived(b, n, tmpl); ok {
			t.Errorf("%d bytes of 256 were taken", n)
		}
	}
	m, ok := ParseReceived(b, 104, tmpl)
	if !ok || len(m.Payload) != 0 || len(m.Control) != 0 {
		t.Errorf("empty datagram: %v %+v", ok, m)
	}
	if m, ok = ParseReceived(b, 110, tmpl); !ok || len(m.Payload) != 6 {
		t.Errorf("six bytes: %v %+v", ok, m)
	}
}

// A completion that found no room is a completion still: whoever waits for Idle has seen all.
func TestIdleMeansThatNothingIsHeldBack(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const entries = 8
	r, err := Open(entries, entries, 0)
	if err != nil {
		t.Skipf("no io_uring here: %v", err)
	}
	defer r.Close()
	mem := &pages{}
	defer mem.free()
	b, err := mem.Bytes(4096)
	if err != nil {
		t.Fatal(err)
	}
	const rounds = 3
	for range rounds {
		for range entries {
			e := r.SQE()
			if e == nil {
				t.Skip("no io_uring here that takes what comes after a request that failed (SUBMIT_ALL, 5.18)")
			}
			e.Sendmsg(-1, false, r.Has(CQESkip), header(b)) // EBADF, so that it completes
		}
		if err := r.Submit(); err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	for range 100 {
		for _, ok := r.Next(); ok; _, ok = r.Next() {
			seen++
		}
		if r.Idle() {
			break
		}
		if err := r.Submit(); err != nil {
			t.Fatal(err)
		}
	}
	if seen != rounds*entries || r.Overflows() != 0 {
		t.Errorf("%d completions of %d, %d lost", seen, rounds*entries, r.Overflows())
	}
}
