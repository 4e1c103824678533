// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"math"
	"slices"
)

// table prints, for each number of destinations and forwarder, the median over the rounds.
func table(w io.Writer, all []result, fwds []forwarder, ref string) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(w, "\n| N | forwarder | ns/output median (min–max) | × %s | total ns/output | outputs/s | loss %% | CPU | ctx/s | RSS MiB | check |\n"+
		"|--:|---|---|--:|--:|--:|--:|--:|--:|--:|---|\n", ref)
	var counts []int
	for _, r := range all {
		if !slices.Contains(counts, r.N) {
			counts = append(counts, r.N)
		}
	}
	for _, n := range counts {
		refs := pick(all, n, ref)
		for _, f := range fwds {
			row(w, n, f.name, pick(all, n, f.name), refs)
		}
	}
}

func pick(all []result, n int, name string) (rs []result) {
	for _, r := range all {
		if r.N == n && r.Forwarder == name {
			rs = append(rs, r)
		}
	}
	return rs
}

func row(w io.Writer, n int, name string, rs, refs []result) {
	good := slices.DeleteFunc(slices.Clone(rs), func(r result) bool { return r.Error != "" })
	med := func(f func(result) float64) float64 {
		var v []float64
		for _, r := range good {
			v = append(v, f(r))
		}
		return median(v)
	}
	var ratios []float64 // within a round, as the machine's mood changes
	for i, r := range rs {
		if i < len(refs) && refs[i].NsOut > 0 && r.Error == "" {
			ratios = append(ratios, r.NsOut/refs[i].NsOut)
		}
	}
	lo, hi := math.NaN(), math.NaN()
	for _, r := range good {
		if !(lo <= r.NsOut) {
			lo = r.NsOut
		}
		if !(hi >= r.NsOut) {
			hi = r.NsOut
		}
	}
	note := ""
	for _, r := range rs {
		if r.Check != "" {
			note = r.Check
		}
		if r.Error != "" {
			note = r.Error
		}
	}
	fmt.Fprintf(w, "| %d | %s | %.0f (%.0f–%.0f) | %.2f | %.0f | %.0f | %.2f | %.2f | %.0f | %.0f | %s |\n", n, name,
		med(func(r result) float64 { return r.NsOut }), lo, hi, median(ratios),
		med(func(r result) float64 { return r.TotalNsOut }), med(func(r result) float64 { return r.Out }),
		med(func(r result) float64 { return r.LossPct }), med(func(r result) float64 { return r.CPU }),
		med(func(r result) float64 { return r.CtxPerSec }), med(func(r result) float64 { return r.RSSMiB }), note)
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
