// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
)

// clause is one thing that a target asks for.
type clause struct {
	ID    string  `json:"id"`
	What  string  `json:"what"`
	Bound float64 `json:"bound"`
	Most  bool    `json:"at_most"` // else at least
	Unit  string  `json:"unit"`
	Seen  *spread `json:"seen"` // nil: not measured
	Met   *bool   `json:"met"`
}

// list collects clauses, the id and job of which stay until they are changed.
type clauses struct {
	s   *store
	id  string
	w   where
	all []clause
}

func (c *clauses) add(what, unit string, bound float64, most bool, seen spread) {
	n := clause{ID: c.id, What: what, Bound: bound, Most: most, Unit: unit}
	if seen.known() {
		met := seen.Median >= bound
		if most {
			met = seen.Median <= bound
		}
		n.Seen, n.Met = &seen, &met
	}
	c.all = append(c.all, n)
}

// cheaper asks that an output of a costs at least bound times less than one of peer.
func (c *clauses) cheaper(a, peer string, bound float64) {
	c.add(fmt.Sprintf("%s: %s costs × %s", c.w, peer, a), "×", bound, false, c.s.ratio(c.w, peer, a, nsOut))
}

// atMost asks for a figure of a that is not above bound times that of peer.
func (c *clauses) atMost(a, peer string, f figure, name string, bound float64) {
	c.add(fmt.Sprintf("%s: %s of %s, by that of %s", c.w, name, a, peer), "×", bound, true, c.s.ratio(c.w, a, peer, f))
}

func (w where) String() string {
	s := fmt.Sprintf("%s N=%d", w.job, w.n)
	if w.rate > 0 {
		s += fmt.Sprintf(" %g/s", w.rate)
	}
	return s
}

// targets judges the runs of s. The ids are those of the benchmark's targets in docs/performance.md.
func targets(s *store) []clause {
	c := &clauses{s: s}
	for _, t := range []struct {
		id                    string
		n                     int
		forwarder             string
		naive, mmsg, threaded float64
	}{
		{"G1", 100, "mcrd", 25, 12, 13},
		{"G1", 100, "mcrd-zc", 35, 18, 19},
		{"G2", 10, "mcrd", 11, 6, 7},
		{"G3", 1, "mcrd", 1.7, 1.05, 1.5},
	} {
		c.id, c.w = t.id, at("saturated", t.n)
		c.cheaper(t.forwarder, "naive", t.naive)
		c.cheaper(t.forwarder, "sendmmsg", t.mmsg)
		c.cheaper(t.forwarder, "threads", t.threaded)
	}
	c.id, c.w = "G4", at("no-uso", 100)
	c.cheaper("mcrd", "sendmmsg", 3.5)
	c.cheaper("mcrd", "threads", 3.5)
	c.id, c.w = "G5", at("saturated", 100)
	c.cheaper("mcrd-nogso", "naive", 1.9)
	c.cheaper("mcrd-nogso", "sendmmsg", 0.95)
	c.cheaper("mcrd-gso-off", "naive", 1.9)
	c.cheaper("mcrd-gso-off", "sendmmsg", 0.95)
	c.id = "G6"
	for _, n := range []int{1, 10, 100, 1000} {
		c.w = at("saturated", n)
		c.cheaper("mcrd-copy", "uring-gso", 0.9)
		c.cheaper("mcrd-zc", "uring-gso-zc", 0.9)
		c.cheaper("mcrd-mmsg", "gso", 0.9)
	}
	c.id, c.w = "G7", at("saturated", 100)
	c.add(c.w.String()+": copies a second by mcrd on one CPU, where the machine allows", "", 10e6, false, s.spread(c.w, "mcrd", rate))
	c.w = at("capacity", 100)
	c.add(c.w.String()+": copies lost by mcrd at 75 % of its capacity", "", 0, true, s.spread(c.w, "mcrd", lost))
	c.id = "G1p"
	for _, n := range []int{100, 10} {
		c.w = at("saturated", n)
		c.cheaper("mcrd-portless", "mcrd", 0.9)
	}
	c.w = at("capacity", 100)
	c.add(c.w.String()+": copies lost by mcrd-portless at 75 % of its capacity", "", 0, true, s.spread(c.w, "mcrd-portless", lost))
	c.id, c.w = "G8", at("saturated", 100)
	c.add(c.w.String()+": system calls of mcrd per output", "", 0.002, true, s.spread(c.w, "mcrd", syscalls))
	c.add(c.w.String()+": bytes of Go heap per datagram (an object has 8 at least)", "", 1, true, s.spread(c.w, "mcrd", heapIn))
	c.add(c.w.String()+": share of user time", " %", 5, true, s.spread(c.w, "mcrd", user))
	c.id, c.w = "G9", atRate("latency", 1, 1000)
	c.atMost("mcrd-busy", "naive", p50, "p50 delay", 1.0/3)
	c.id = "G10"
	for _, r := range []float64{3000, 8000} {
		c.w = atRate("paced", 100, r)
		c.atMost("mcrd", "sendmmsg", nsOut, "cost", 0.7)
	}
	c.atMost("mcrd-coalesce-1000", "sendmmsg", nsOut, "cost", 0.25)
	c.id, c.w = "G11", atRate("dead", 100, 1000)
	c.add(c.w.String()+": copies lost on the 99 others", "", 0, true, s.spread(c.w, "mcrd-dead", lost))
	c.atMost("mcrd-dead", "mcrd", p99, "p99 delay", 1.1)
	return c.all
}

// targetTable prints them.
func targetTable(all []clause) string {
	var b strings.Builder
	b.WriteString("| id | what | target | seen: median (least–most) | met |\n|---|---|--:|--:|---|\n")
	for _, c := range all {
		bound := "≥ "
		if c.Most {
			bound = "≤ "
		}
		seen, met := "not measured", "–"
		if c.Seen != nil {
			seen = c.Seen.text(c.Unit)
			met = map[bool]string{true: "yes", false: "**no**"}[*c.Met]
		}
		fmt.Fprintf(&b, "| %s | %s | %s%s%s | %s | %s |\n", c.ID, c.What, bound, digits(c.Bound), c.Unit, seen, met)
	}
	return b.String()
}
