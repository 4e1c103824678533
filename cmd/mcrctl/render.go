// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// table writes aligned columns. The first row is the heading.
type table struct{ rows [][]string }

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) write(w io.Writer) error {
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	for _, cells := range t.rows {
		for len(cells) < len(t.rows[0]) { // a shorter row would break the columns
			cells = append(cells, "")
		}
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	_ = tw.Flush() // into a Builder
	for line := range strings.Lines(b.String()) {
		if _, err := io.WriteString(w, strings.TrimRight(line, " \n")+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// writeJSON writes one value for programs.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// count groups digits by thousands.
func count(n number) string {
	s := strconv.FormatUint(uint64(n), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// rate prints a value per second with three digits and an SI prefix.
func rate(v float64) string {
	for _, p := range []struct {
		size float64
		name string
	}{{1e9, " G"}, {1e6, " M"}, {1e3, " k"}} {
		if v >= p.size*0.9995 {
			return strconv.FormatFloat(v/p.size, 'f', digits(v/p.size), 64) + p.name
		}
	}
	return strconv.FormatFloat(v, 'f', digits(v), 64)
}

func digits(v float64) int {
	switch {
	case v == 0 || v >= 99.95:
		return 0
	case v >= 9.995:
		return 1
	}
	return 2
}

// ago says how long before now a moment was.
func ago(now time.Time, n number) string {
	d := now.Sub(n.moment())
	switch {
	case n == 0:
		return "at an unknown time"
	case d < time.Second:
		return "just now"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s ago", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min ago", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", d/time.Hour)
	}
	return fmt.Sprintf("%d days ago", d/(24*time.Hour))
}

func datagrams(n number) string {
	if n == 1 {
		return "1 datagram"
	}
	return count(n) + " datagrams"
}

// plural is one for n == 1, else many with n in place of %d.
func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return fmt.Sprintf(many, n)
}

// state shows a status with its reason.
func state(status, reason string) string {
	if reason == "" || reason == "none" {
		return status
	}
	return status + " (" + reason + ")"
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
