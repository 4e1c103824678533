// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"os"
	"time"
)

// Patience is how long to wait for what takes at most d on a real machine: in a guest, which is emulated, longer.
func Patience(d time.Duration) time.Duration {
	if os.Getenv("MCR_VM") != "" {
		return 10 * d
	}
	return d
}

// Until waits until ok returns nil; when it has not within the time, the test ends with the last error and what dump
// says. For what sends no event: it asks again every few milliseconds.
func Until(t TB, within time.Duration, what string, ok func() error, dump ...func() string) {
	t.Helper()
	deadline, again := time.After(within), time.NewTicker(5*time.Millisecond)
	defer again.Stop()
	err := ok()
	for err != nil {
		select {
		case <-again.C:
			err = ok()
			continue
		case <-t.Context().Done():
		case <-deadline:
		}
		for _, d := range dump {
			t.Logf("%s", d())
		}
		t.Fatalf("%s: not within %v: %v", what, within, err)
	}
}
