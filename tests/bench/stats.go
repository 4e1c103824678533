// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"slices"
)

// spread is the median of some rounds, with the least and the greatest.
type spread struct {
	Median, Min, Max float64
	Rounds           int
}

func spreadOf(v []float64) spread {
	if len(v) == 0 {
		return spread{Median: math.NaN(), Min: math.NaN(), Max: math.NaN()}
	}
	s := slices.Sorted(slices.Values(v))
	return spread{(s[(len(s)-1)/2] + s[len(s)/2]) / 2, s[0], s[len(s)-1], len(s)}
}

// unknown stands where nothing was measured.
const unknown = "–"

// known is false where nothing was measured.
func (s spread) known() bool { return s.Rounds > 0 }

// text prints it with as many digits as matter.
func (s spread) text(unit string) string {
	if !s.known() {
		return unknown
	}
	if s.Rounds == 1 {
		return digits(s.Median) + unit
	}
	return fmt.Sprintf("%s%s (%s–%s)", digits(s.Median), unit, digits(s.Min), digits(s.Max))
}

// digits prints three significant digits, and whole numbers above.
func digits(x float64) string {
	switch a := math.Abs(x); {
	case a >= 100:
		return fmt.Sprintf("%.0f", x)
	case a >= 10:
		return fmt.Sprintf("%.1f", x)
	case a >= 0.1 || a == 0:
		return fmt.Sprintf("%.2f", x)
	}
	return fmt.Sprintf("%.2g", x)
}

// figure is one number of a run; ok is false where the run does not have it.
type figure func(result) (x float64, ok bool)

func nsOut(r result) (float64, bool) { return r.NsOut, r.NsOut > 0 }
func p50(r result) (float64, bool)   { return r.P50, r.P50 > 0 }
func p99(r result) (float64, bool)   { return r.P99, r.P99 > 0 }
func rate(r result) (float64, bool)  { return r.Out, r.Out > 0 }
func user(r result) (float64, bool)  { return 100 * r.User, r.NsOut > 0 }
func total(r result) (float64, bool) { return r.TotalNsOut, r.TotalNsOut > 0 }

func syscalls(r result) (float64, bool) {
	if r.Syscalls == nil {
		return 0, false
	}
	return *r.Syscalls, true
}

func heapIn(r result) (float64, bool) {
	if r.HeapIn == nil {
		return 0, false
	}
	return *r.HeapIn, true
}

func lost(r result) (float64, bool) {
	if r.Lost == nil {
		return 0, false
	}
	return float64(*r.Lost), true
}

// where names the runs of one job.
type where struct {
	job     string
	n, size int
	rate    float64
}

func at(job string, n int) where                        { return where{job, n, payload, 0} }
func atRate(job string, n int, perSecond float64) where { return where{job, n, payload, perSecond} }

// of returns a forwarder's good runs in one job, by round.
func (s *store) of(w where, forwarder string) map[int]result {
	out := map[int]result{}
	for _, r := range s.runs {
		if r.Error == "" && r.Forwarder == forwarder && r.Job == w.job && r.N == w.n && r.Size == w.size && r.Rate == w.rate {
			out[r.Round] = r
		}
	}
	return out
}

// spread is a figure of one forwarder over the rounds.
func (s *store) spread(w where, forwarder string, f figure) spread {
	var v []float64
	for _, r := range s.of(w, forwarder) {
		if x, ok := f(r); ok {
			v = append(v, x)
		}
	}
	return spreadOf(v)
}

// ratio is a's figure by b's, taken within each round, as the machine's mood changes.
func (s *store) ratio(w where, a, b string, f figure) spread {
	var v []float64
	other := s.of(w, b)
	for round, r := range s.of(w, a) {
		q, ok := other[round]
		if !ok {
			continue
		}
		x, okX := f(r)
		y, okY := f(q)
		if okX && okY && y != 0 {
			v = append(v, x/y)
		}
	}
	return spreadOf(v)
}
