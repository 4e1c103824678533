// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// The buckets are log-linear: residenceSteps in each power of two, from residenceFloor ns on. A quantile is at most a
// sixteenth too high.
const (
	residenceSteps   = 16
	residenceFloor   = 256 // ns; less counts as that
	residenceOctaves = 27  // up to 34 s; more counts as that
	residenceBuckets = residenceSteps * residenceOctaves
)

const (
	// residenceEvery is how often a wake-up is measured. In it each run costs one look at the clock, and the last one a
	// system call of its own: sends otherwise leave with the wait for the next wake-up, whose end tells nothing.
	residenceEvery = 2 * time.Millisecond
	// residenceInterval is how much time the quantiles cover, at least.
	residenceInterval = 900 * time.Millisecond
)

// residence is how long datagrams stay in a worker: from the end of the wait that brought them until the last send of
// their run has left. What they waited in the socket before that, nobody knows without a time stamp on each. One wake-up of
// each residenceEvery is measured, with all its runs, so that short and long ones have the same chance.
type residence struct {
	buckets [residenceBuckets]atomic.Uint64 // datagrams; the worker adds, any goroutine reads

	// The worker's own.
	on    bool          // this wake-up is measured
	next  int64         // when the next one is, Unix ns
	start time.Time     // of the worker; times below are since then
	woke  time.Duration // when this wake-up began
	last  time.Duration // the latest look at the clock

	// mu guards what readers keep of the latest interval. Leaf lock; the worker does not take it.
	mu       sync.Mutex
	before   [residenceBuckets]uint64
	read     time.Time
	p50, p99 time.Duration
}

// wake begins a wake-up. now is its time, Unix ns.
func (r *residence) wake(now int64) {
	if r.on = now >= r.next || now < r.next-int64(time.Second); !r.on { // the second: the clock was set back
		return
	}
	r.next = now + int64(residenceEvery)
	if r.start.IsZero() {
		r.start = time.Now()
	}
	r.woke = time.Since(r.start)
	r.last = r.woke
}

// sent notes that a run of n datagrams has left. taken is when its first was received, as of r.last at that time.
func (r *residence) sent(taken time.Duration, n int) {
	r.last = time.Since(r.start)
	b := &r.buckets[residenceBucket(r.last-max(taken, r.woke))]
	b.Store(b.Load() + uint64(n))
}

func residenceBucket(d time.Duration) int {
	n := uint64(max(d, residenceFloor))
	octave := bits.Len64(n) - 1
	step := n >> (octave - 4) & (residenceSteps - 1)
	return min((octave-8)*residenceSteps+int(step), residenceBuckets-1)
}

// residenceUpper is the upper bound of a bucket.
func residenceUpper(i int) time.Duration {
	return time.Duration(residenceFloor / residenceSteps * uint64(residenceSteps+i%residenceSteps+1) << (i / residenceSteps))
}

// quantiles returns the median and the 99th percentile of the interval between the two latest readings; readings that follow
// close on one another are one. 0: nothing was measured.
func (r *residence) quantiles(now time.Time) (p50, p99 time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if age := now.Sub(r.read); r.read.IsZero() || age < 0 || age >= residenceInterval {
		r.read = now
		r.settle()
	}
	return r.p50, r.p99
}

// settle computes the quantiles of what came since the reading before.
func (r *residence) settle() {
	var came [residenceBuckets]uint64
	total := uint64(0)
	for i := range came {
		n := r.buckets[i].Load()
		came[i], r.before[i] = n-r.before[i], n
		total += came[i]
	}
	r.p50, r.p99 = quantile(&came, (total+1)/2), quantile(&came, total-total/100)
}

// quantile is an upper bound of the residence of the nth datagram, counted from the shortest.
func quantile(came *[residenceBuckets]uint64, nth uint64) time.Duration {
	sum := uint64(0)
	for i, n := range came {
		if sum += n; n > 0 && sum >= nth {
			return residenceUpper(i)
		}
	}
	return 0
}
