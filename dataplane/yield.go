// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"runtime"
	"time"
)

const (
	turnSends  = 64                     // between two looks at the clock: of 64 KiB each, they take 1 to 8 ms
	turnTime   = 4 * time.Millisecond   // between two yields
	yieldQuick = 250 * time.Microsecond // one that takes no longer was for nobody: it is two switches between threads
	turnShared = 100 * time.Millisecond // without a yield after one that was for somebody
)

// turn is how long a worker has had its processor, in the sense of Go's scheduler. From a goroutine that does not yield within 10 ms
// the scheduler takes the processor in each system call from then on: it looks every 20 µs, and wakes a thread to use the processor
// (sysmon, retake and handoffp, runtime/proc.go, Go 1.26). Beside a worker that is never idle that was 14,000 switches between threads a
// second on the worker's CPU, and up to a quarter of what a copy costs (docs/performance.md). So a worker yields in time.
//
// Where others wait for the processor they need it at any moment, not every few milliseconds: configuration and telemetry would starve.
// After a yield that took long the worker lets the scheduler take the processor, for a while.
type turn struct {
	sends int
	until time.Time
}

// sent counts a send. With little to do one in turnSends is late by a yield, and no other.
func (t *turn) sent() {
	if t.sends++; t.sends >= turnSends {
		t.end()
	}
}

func (t *turn) end() {
	t.sends = 0
	before := time.Now()
	if before.Before(t.until) {
		return
	}
	runtime.Gosched()
	now := time.Now()
	t.until = now.Add(turnTime)
	if now.Sub(before) > yieldQuick {
		t.until = now.Add(turnShared)
	}
}
