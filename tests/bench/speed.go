// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	speedPeriod = 10 * time.Millisecond // between two samples
	speedWindow = 5                     // samples, of which the median counts: an interrupt falls into one
	speedLoops  = 15000                 // of a sample: 5 to 10 µs, 0.1 % of the CPU

	fullSpeed = 0.80 // on average, below which a run is no measurement; a CPU that sleeps in between has 0.9
	slowSpeed = 0.75 // below which a load of 75 % is more than can be done
)

// speeds tell how fast a CPU computes. On a machine shared with others it may be half as fast for a while, without any time that counts as
// stolen: most likely the core's other thread is somebody else's then.
type speeds struct {
	mu      sync.Mutex
	windows []float64 // ns that the same work took, one for each window since the start
}

// meter measures the forwarder's CPU until stop is called, or nothing where that is a list of CPUs.
func (b *bench) meter() (stop func(), err error) {
	cpu, err := strconv.Atoi(b.fwdCPU)
	if err != nil {
		return func() {}, nil
	}
	s, done, ended, ready := &speeds{}, make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		defer close(ended)
		runtime.LockOSThread() // for good: the thread ends with this goroutine
		err := goFirst(cpu)
		ready <- err
		if err == nil {
			s.run(done)
		}
	}()
	if err := <-ready; err != nil {
		return nil, err
	}
	b.speed = s
	return func() { close(done); <-ended }, nil
}

// goFirst pins this thread to a CPU, and makes it go before what else runs there.
func goFirst(cpu int) error {
	set := unix.CPUSet{}
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("pin to CPU %d: %w", cpu, err)
	}
	first := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}
	if err := unix.SchedSetAttr(0, first, 0); err != nil {
		return fmt.Errorf("SCHED_FIFO: %w", err)
	}
	return nil
}

func (s *speeds) run(done <-chan struct{}) {
	var used int
	for samples := make([]time.Duration, 0, speedWindow); ; samples = samples[:0] {
		for range speedWindow {
			select {
			case <-done:
				return
			default:
			}
			pause := unix.NsecToTimespec(int64(speedPeriod))
			unix.Nanosleep(&pause, nil) //nolint:errcheck // a signal: a shorter pause
			start := time.Now()
			used += work()
			samples = append(samples, time.Since(start))
		}
		slices.Sort(samples)
		s.add(float64(samples[speedWindow/2] + time.Duration(used&1))) // so that it is worked for
	}
}

// work keeps several of a core's units busy at once: the latency of one chain would not tell that they are shared.
func work() int {
	a, b, c, d := 0, 0, 0, 0
	for i := range speedLoops {
		a += i
		b ^= i
		c -= i
		d |= i
	}
	return a ^ b ^ c ^ d
}

func (s *speeds) add(ns float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.windows = append(s.windows, ns)
}

// count is how many windows there are; 0 where nothing is measured.
func (s *speeds) count() int {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.windows)
}

// since says how fast the CPU was on average since there were from windows, 1 being what it can: what it had in one of ten windows of
// the bench. slow is how many seconds it was below slowSpeed. Both are 0 where nothing was measured.
func (s *speeds) since(from int) (average, slow float64) {
	if s.count() <= from {
		return 0, 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	best := slices.Sorted(slices.Values(s.windows))[len(s.windows)/10]
	for _, ns := range s.windows[from:] {
		speed := min(1, best/ns)
		average += speed
		if speed < slowSpeed {
			slow += speedWindow * speedPeriod.Seconds()
		}
	}
	return average / float64(len(s.windows)-from), slow
}
