// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"

	"mcr/cmd/mcrgen/stream"
)

func printSent(w io.Writer, s stream.Sent, output string) error {
	if output == "json" {
		return printJSON(w, s)
	}
	return table(w, [][2]any{{"stream", s.Stream}, {"sent", s.Sent}, {"errors", s.Errors}, {"seconds", fmt.Sprintf("%.3f", s.Seconds)}})
}

func printReport(w io.Writer, r stream.Report, output string) error {
	if output == "json" {
		return printJSON(w, r)
	}
	return table(w, [][2]any{
		{"received", r.Received},
		{"bytes", r.Bytes},
		{"lost", r.Lost},
		{"duplicated", r.Duplicated},
		{"reordered", r.Reordered},
		{"corrupted", r.Corrupted},
		{"foreign", r.Foreign},
		{"short", r.Short},
		{"socket drops", r.SocketDrops},
		{"streams", r.Streams},
		{"sizes", fmt.Sprintf("%d-%d", r.MinSize, r.MaxSize)},
		{"TTL", counts(r.TTL, cmp.Compare[uint8])},
		{"DSCP", counts(r.DSCP, cmp.Compare[uint8])},
		{"ECN", counts(r.ECN, cmp.Compare[uint8])},
		{"sources", counts(r.Sources, netip.AddrPort.Compare)},
		{"latency µs", fmt.Sprintf("p50 %.0f  p99 %.0f  max %.0f", r.Latency.P50, r.Latency.P99, r.Latency.Max)},
		{"seconds", fmt.Sprintf("%.3f", r.Seconds)},
	})
}

func table(w io.Writer, rows [][2]any) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintf(tw, "%v\t%v\n", r[0], r[1])
	}
	return tw.Flush()
}

// counts prints "64: 100" or, where there are several values, "63: 1, 64: 99".
func counts[K comparable](m map[K]uint64, compare func(a, b K) int) string {
	var all []string
	for _, k := range slices.SortedFunc(maps.Keys(m), compare) {
		all = append(all, fmt.Sprintf("%v: %d", k, m[k]))
	}
	return strings.Join(all, ", ")
}
