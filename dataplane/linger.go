// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"time"

	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

const (
	// lingerStep is the longest that a worker sleeps at a time while it waits for more: at 10 Gbit/s 1.2 MB come in it, which
	// a receive queue holds. After each it looks whether there is enough.
	lingerStep = time.Millisecond
	// lingerEnough completions end a wait for more.
	lingerEnough = 64
)

// linger is how a worker waits for more datagrams once something came (coalesce-usec), asleep, and how long it looks for some
// before it sleeps (busy-poll-usec).
type linger struct {
	eventfd [1]unix.PollFd // ends a nap: there is something to adopt
}

func newLinger(eventfd int) linger {
	// Timers of a thread are 50 µs late by default, to save power: as much as what is waited for.
	unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(time.Microsecond), 0, 0, 0) //nolint:errcheck // then they are late
	return linger{eventfd: [1]unix.PollFd{{Fd: int32(eventfd), Events: unix.POLLIN}}}
}

// nap sleeps d, and says whether it was not woken.
func (l *linger) nap(d time.Duration) bool {
	ts := unix.NsecToTimespec(int64(d))
	n, _ := unix.Ppoll(l.eventfd[:], &ts, nil) // EINTR: a shorter nap
	return n <= 0
}

// more sleeps until d has passed since start, step by step, and has look find what came: whether that will do.
func (l *linger) more(start time.Time, d time.Duration, look func() (enough bool, err error)) error {
	for {
		rest := d - time.Since(start)
		if rest <= 0 || !l.nap(min(rest, lingerStep)) {
			return nil
		}
		if enough, err := look(); enough || err != nil {
			return err
		}
	}
}

// spin calls found until it is true, or d has passed.
func spin(d time.Duration, found func() bool) bool {
	for start := time.Now(); ; {
		for range 32 {
			if found() {
				return true
			}
		}
		if time.Since(start) >= d {
			return false
		}
	}
}

// enough says that what waits in the queue fills a run, or half of the buffers.
func (w *worker) enough() bool {
	n := int(w.queue.tail - w.queue.mid)
	return n >= w.settings.segments && n > 0 || n >= len(w.queue.packets)/2
}

// zeroCopyWorth says that a run of so many bytes to so many outputs costs less where its data is not copied.
func zeroCopyWorth(mode plan.ZeroCopy, bytes, outputs int) bool {
	switch mode {
	case plan.ZeroCopyOff:
		return false
	case plan.ZeroCopyOn:
		return bytes >= zeroCopyLeast
	}
	return bytes >= zeroCopyBytes && outputs >= zeroCopyOutputs
}
