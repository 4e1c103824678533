// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bytes"
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func datagram(size int, seq uint64) []byte {
	p := bytes.Repeat([]byte{0xa5}, size)
	Header{Stream: 7, Seq: seq, Sent: time.Unix(100, 0)}.Put(p)
	return p
}

func TestAccount(t *testing.T) {
	type sums struct{ Received, Lost, Duplicated, Reordered, Corrupted, Foreign, Short uint64 }
	numbered := func(seqs ...uint64) (all [][]byte) {
		for _, s := range seqs {
			all = append(all, datagram(100, s))
		}
		return all
	}
	damaged := datagram(100, 3)
	damaged[60] ^= 1
	for name, tc := range map[string]struct {
		in     [][]byte
		expect uint64
		want   sums
	}{
		"in_order_is_clean":                        {numbered(0, 1, 2), 3, sums{Received: 3}},
		"tail_missing_is_lost_where_known":         {numbered(0, 1, 2), 5, sums{Received: 3, Lost: 2}},
		"hole_is_lost_without_being_told":          {numbered(5, 6, 9), 0, sums{Received: 3, Lost: 2}},
		"late_joiner_misses_nothing_before":        {numbered(1000, 1001), 0, sums{Received: 2}},
		"twice_is_duplicated_not_reordered":        {numbered(0, 1, 0, 2), 3, sums{Received: 4, Duplicated: 1}},
		"overtaken_is_reordered":                   {numbered(0, 2, 1, 3), 4, sums{Received: 4, Reordered: 1}},
		"duplicate_does_not_make_up_for_a_loss":    {numbered(0, 0), 2, sums{Received: 2, Duplicated: 1, Lost: 1}},
		"changed_byte_is_corrupted":                {[][]byte{damaged}, 1, sums{Corrupted: 1, Lost: 1}},
		"cut_is_corrupted":                         {[][]byte{datagram(100, 1)[:99]}, 0, sums{Corrupted: 1}},
		"joined_is_corrupted":                      {[][]byte{append(datagram(50, 1), datagram(50, 2)...)}, 0, sums{Corrupted: 1}},
		"other_programs_are_foreign":               {[][]byte{[]byte("hello, world, this is something else")}, 0, sums{Foreign: 1}},
		"short_ones_count_and_are_missed_if_known": {[][]byte{datagram(0, 0), datagram(1, 1), datagram(27, 2)}, 4, sums{Received: 3, Short: 3, Lost: 1}},
		"short_ones_explain_holes":                 {[][]byte{datagram(30, 0), datagram(1, 1), datagram(30, 3)}, 0, sums{Received: 3, Short: 1, Lost: 1}},
		"far_off_number_costs_one_page":            {numbered(0, math.MaxUint64-1, 1), 3, sums{Received: 3, Reordered: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			var a Account
			for _, p := range tc.in {
				a.Take(p, Meta{Arrival: time.Unix(100, 0)})
			}
			r := a.Report(tc.expect)
			got := sums{r.Received, r.Lost, r.Duplicated, r.Reordered, r.Corrupted, r.Foreign, r.Short}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("sums (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReportSaysWhatWasSeen(t *testing.T) {
	var a Account
	src := netip.MustParseAddrPort("10.0.0.1:4000")
	a.Take(datagram(28, 0), Meta{Source: src, TTL: 64, TOS: 46<<2 | 1, Arrival: time.Unix(100, 2_000_000)})
	a.Take(datagram(1400, 1), Meta{Source: src, TTL: 63, Arrival: time.Unix(101, 2_000_000)})
	r := a.Report(0)
	want := Report{
		Received: 2, Bytes: 1428, Streams: 1, MinSize: 28, MaxSize: 1400, Seconds: 1,
		TTL:     map[uint8]uint64{64: 1, 63: 1},
		DSCP:    map[uint8]uint64{46: 1, 0: 1},
		ECN:     map[uint8]uint64{1: 1, 0: 1},
		Sources: map[netip.AddrPort]uint64{src: 2},
		Latency: r.Latency,
	}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if p := r.Latency.P50; r.Latency.Max != 1_002_000 || p < 986_000 || p > 1_002_000 {
		t.Errorf("latency %+v, want a maximum of 1002000 and a p50 within 1.6 %% of it", r.Latency)
	}
}

func TestHistogramQuantilesAreWithinABucket(t *testing.T) {
	var h histogram
	for i := range 10_000 {
		h.add(time.Duration(i) * time.Microsecond)
	}
	h.add(-time.Second)
	h.add(math.MaxInt64)
	for q, want := range map[float64]float64{0.5: 5000, 0.99: 9900} {
		if got := h.quantile(q); got > want || got < want*(1-1.0/subBuckets)-1 {
			t.Errorf("quantile %g = %g µs, want %g or up to 1/64 less", q, got, want)
		}
	}
	for _, v := range []uint64{0, 63, 64, 127, 128, 1 << 40, math.MaxInt64} {
		if b := bucket(v); low(b) > v || (b+1 < len(h.buckets) && low(b+1) <= v) {
			t.Errorf("%d is in bucket %d, which begins at %d", v, b, low(b))
		}
	}
}

func TestTakeAllocatesNothingPerDatagram(t *testing.T) {
	var a Account
	p, m := datagram(1316, 0), Meta{Source: netip.MustParseAddrPort("10.0.0.1:1"), Arrival: time.Unix(100, 0)}
	a.Take(p, m)
	if n := testing.AllocsPerRun(100, func() { a.Take(p, m) }); n != 0 {
		t.Errorf("%g allocations for a datagram", n)
	}
}

func FuzzParse(f *testing.F) {
	for _, n := range []int{0, 1, 4, 27, 28, 29, 1316} {
		f.Add(datagram(n, uint64(n)))
	}
	f.Add([]byte("MCR"))
	f.Add([]byte("MCRx"))
	f.Fuzz(func(t *testing.T, p []byte) {
		before := bytes.Clone(p)
		h, v := Parse(p)
		if !bytes.Equal(before, p) {
			t.Fatal("Parse changed its input")
		}
		if v != Whole {
			return
		}
		h.Put(p) // a whole datagram writes back the same
		if !bytes.Equal(before, p) {
			t.Fatalf("%+v: written back as\n%x\nwant\n%x", h, p, before)
		}
	})
}
