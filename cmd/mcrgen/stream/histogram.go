// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"math/bits"
	"time"
)

// histogram has 64 buckets for each power of two, so that a quantile is exact to 1/64 of itself. Nanoseconds;
// a negative time (two clocks) counts as 0.
type histogram struct {
	count   uint64
	max     time.Duration
	buckets [58 * subBuckets]uint64 // the last holds the top of an int64
}

const subBuckets = 64

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	h.count++
	h.max = max(h.max, d)
	h.buckets[bucket(uint64(d))]++
}

func bucket(v uint64) int {
	if v < subBuckets {
		return int(v)
	}
	shift := bits.Len64(v) - 7 // v>>shift is in 64..127
	return (shift+1)*subBuckets + int(v>>shift) - subBuckets
}

// low is the smallest value of a bucket.
func low(bucket int) uint64 {
	if bucket < subBuckets {
		return uint64(bucket)
	}
	shift := bucket/subBuckets - 1
	return uint64(subBuckets+bucket%subBuckets) << shift
}

func (h *histogram) quantile(q float64) float64 {
	rank, sum := uint64(q*float64(h.count)), uint64(0)
	for i, n := range h.buckets {
		if sum += n; sum > rank {
			return float64(low(i)) / 1e3
		}
	}
	return float64(h.max) / 1e3
}

func (h *histogram) quantiles() Latency {
	if h.count == 0 {
		return Latency{}
	}
	return Latency{P50: h.quantile(0.5), P99: h.quantile(0.99), Max: float64(h.max) / 1e3}
}
