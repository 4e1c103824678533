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
