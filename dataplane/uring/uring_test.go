// SPDX-License-Identifier: Apache-2.0

package uring

import (
	"errors"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// A kernel that should have it must not fall back silently; where io_uring is forbidden the probe says so.
func TestProbe(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	used, missing, err := Probe()
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		t.Skipf("io_uring is not allowed here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Log("used", used, "missing", missing)
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
	r, err := Open(entries, entries)
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
			r.SQE().Sendmsg(-1, false, header(b)) // EBADF, so that it completes
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
