// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mcr/tests/lab"
)

// runReport judges a folder's runs, and fills the tables of docs/performance.md with them.
func runReport(args []string) error {
	fs := flag.NewFlagSet("report", flag.ExitOnError)
	doc := fs.String("doc", "", "file to fill (default: docs/performance.md; the picture goes beside it); - for none")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return errors.New("report: which folder?")
	}
	s, err := readStore(fs.Arg(0))
	if err != nil {
		return err
	}
	if err := s.publish(os.Stdout); err != nil || *doc == "-" {
		return err
	}
	if *doc == "" {
		root, err := lab.Root()
		if err != nil {
			return err
		}
		*doc = filepath.Join(root, "docs", "performance.md")
	}
	text, err := os.ReadFile(*doc)
	if err != nil {
		return err
	}
	filled, err := fill(string(text), s.tables())
	if err != nil {
		return fmt.Errorf("%s: %w", *doc, err)
	}
	if err := os.WriteFile(*doc, []byte(filled), 0o644); err != nil {
		return err
	}
	return os.WriteFile(strings.TrimSuffix(*doc, ".md")+".svg", []byte(s.picture()), 0o644)
}

// publish writes what follows from the runs into the folder, and prints the main of it.
func (s *store) publish(w io.Writer) error {
	all := targets(s)
	out := struct {
		Machine machine  `json:"machine"`
		Targets []clause `json:"targets"`
		Runs    []result `json:"runs"`
	}{s.machine, all, s.runs}
	if err := writeJSON(filepath.Join(s.dir, "results.json"), out); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.dir, "results.svg"), []byte(s.picture()), 0o644); err != nil {
		return err
	}
	t := s.tables()
	fmt.Fprintf(w, "%s\nns of CPU per output, saturated, %d bytes\n\n%s\n%s\n%s", s.machine, payload, t["cost"], t["targets"], t["left-out"])
	return nil
}

// fill replaces what stands between <!-- bench NAME --> and <!-- end --> by the table of that name.
func fill(text string, tables map[string]string) (string, error) {
	const open, shut, end = "<!-- bench ", " -->\n", "<!-- end -->"
	var b strings.Builder
	used := map[string]bool{}
	for {
		before, rest, ok := strings.Cut(text, open)
		b.WriteString(before)
		if !ok {
			break
		}
		name, rest, ok := strings.Cut(rest, shut)
		table, known := tables[name]
		_, after, closed := strings.Cut(rest, end)
		if !ok || !known || !closed {
			return "", fmt.Errorf("mark %q: not a table, or not closed", name)
		}
		fmt.Fprintf(&b, "%s%s%s%s%s", open, name, shut, table, end)
		used[name] = true
		text = after
	}
	for name := range tables {
		if !used[name] {
			return "", fmt.Errorf("no place for table %q", name)
		}
	}
	return b.String(), nil
}

func (m machine) String() string {
	quick := ""
	if m.Quick {
		quick = "- **made with -quick: too short and too few to be figures**\n"
	}
	return quick + fmt.Sprintf("- %s, %d CPUs, %d MiB, virtualization: %s; source on CPU %s, forwarder on CPU %s\n"+
		"- Linux %s (%s), spectre_v2: %s; Go %s\n- mcrd: %s, SHA-256 %.12s…; measured %s, load before %s\n",
		m.CPU, m.CPUs, m.MemoryMiB, m.Hosted, m.SourceCPU, m.FwdCPU, m.Kernel, m.Arch, m.Mitigated, strings.TrimPrefix(m.Go, "go"),
		m.Version, m.Digest, m.Start.Format("2006-01-02"), m.Load)
}

// tables are all that docs/performance.md has places for.
func (s *store) tables() map[string]string {
	return map[string]string{
		"machine":  s.machine.String(),
		"targets":  targetTable(targets(s)),
		"cost":     s.costOf("saturated", 1, 10, 100, 1000, 10000),
		"sizes":    s.sizeTable(),
		"single":   s.costOf("single", 1, 10),
		"no-uso":   s.simple(at("no-uso", 100)),
		"kernel":   s.kernelTable(),
		"calls":    s.callTable(),
		"paced":    s.pacedTable("paced", 3000, 8000),
		"bursts":   s.pacedTable("bursts", 3000),
		"latency":  s.pacedTable("latency", 1000),
		"capacity": s.capacityTable(),
		"knobs":    s.knobTable(),
		"left-out": s.leftOut(),
	}
}

// forwarders that have runs in a job, in the order of the suite.
func (s *store) forwarders(ws ...where) (names []string) {
	for _, w := range ws {
		for _, r := range s.runs {
			if r.Job == w.job && r.N == w.n && r.Size == w.size && r.Rate == w.rate && r.Error == "" && r.Forwarder != bare.name && !slices.Contains(names, r.Forwarder) {
				names = append(names, r.Forwarder)
			}
		}
	}
	return names
}

// programs leaves out peers whose work is done on the source's time: a cost of their own would say nothing.
func programs(names []string) []string {
	return slices.DeleteFunc(names, func(f string) bool { return f == "nft-dup" })
}

// grid is a table with a row for each name of which anything is known.
func grid(head []string, names []string, cell func(name string, column int) string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |\n|---|%s\n", strings.Join(head, " | "), strings.Repeat("--:|", len(head)-1))
	for _, n := range names {
		row, known := fmt.Sprintf("| %s |", n), false
		for i := range len(head) - 1 {
			c := cell(n, i)
			row += " " + c + " |"
			known = known || c != unknown
		}
		if known {
			b.WriteString(row + "\n")
		}
	}
	return b.String()
}

func (s *store) costOf(job string, ns ...int) string {
	var ws []where
	head := []string{"forwarder"}
	for _, n := range ns {
		ws = append(ws, at(job, n))
		head = append(head, fmt.Sprintf("N = %d", n))
	}
	return grid(head, programs(s.forwarders(ws...)), func(f string, i int) string { return s.spread(ws[i], f, nsOut).text("") })
}

func (s *store) sizeTable() string {
	var ws []where
	head := []string{"forwarder"}
	for _, size := range []int{188, payload, 8900} {
		for _, n := range []int{1, 10, 100} {
			ws = append(ws, where{"saturated", n, size, 0})
			head = append(head, fmt.Sprintf("%d B, N = %d", size, n))
		}
	}
	names := s.forwarders(append(ws[:3:3], ws[6:]...)...) // those measured with every size
	return grid(head, names, func(f string, i int) string { return s.spread(ws[i], f, nsOut).text("") })
}

func (s *store) simple(w where) string {
	return grid([]string{"forwarder", "ns per output", "outputs a second"}, s.forwarders(w), func(f string, i int) string {
		return s.spread(w, f, []figure{nsOut, rate}[i]).text("")
	})
}

func (s *store) kernelTable() string {
	var ws []where
	head := []string{"forwarder"}
	for _, n := range []int{1, 10, 100} {
		ws = append(ws, at("saturated", n))
		head = append(head, fmt.Sprintf("N = %d", n))
	}
	return grid(head, s.forwarders(ws...), func(f string, i int) string { return s.spread(ws[i], f, total).text("") })
}

func (s *store) callTable() string {
	w := at("saturated", 100)
	return grid([]string{"forwarder", "system calls per output", "user time, % of CPU", "outputs a second", "heap bytes per datagram"}, programs(s.forwarders(w)),
		func(f string, i int) string {
			return s.spread(w, f, []figure{syscalls, user, rate, heapIn}[i]).text("")
		})
}

// pacedTable has cost and delay at each rate.
func (s *store) pacedTable(name string, rates ...float64) string {
	n := 100
	if name == "latency" {
		n = 1
	}
	head := []string{"forwarder"}
	var ws []where
	for _, r := range rates {
		ws = append(ws, atRate(name, n, r))
		for _, what := range []string{"ns per output", "p50 µs", "p99 µs", "lost"} {
			head = append(head, fmt.Sprintf("%g/s: %s", r, what))
		}
	}
	figures := []figure{nsOut, p50, p99, lost}
	return grid(head, s.forwarders(ws...), func(f string, i int) string {
		return s.spread(ws[i/len(figures)], f, figures[i%len(figures)]).text("")
	})
}

func (s *store) capacityTable() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| forwarder | N | datagrams a second in | copies a second | CPU | seconds | of these CPU below %.2f of its speed | lost copies |\n"+
		"|---|--:|--:|--:|--:|--:|--:|--:|\n", slowSpeed)
	for _, r := range s.runs {
		if r.Job == "capacity" && r.Error == "" && r.Lost != nil {
			fmt.Fprintf(&b, "| %s | %d | %.0f | %.0f | %.2f | %.0f | %.2f | %d |\n", r.Forwarder, r.N, r.In, r.Out, r.CPU, r.Secs, r.Slow, *r.Lost)
		}
	}
	return b.String()
}

// knobTable compares mcrd with a knob turned against mcrd as it comes.
func (s *store) knobTable() string {
	var b strings.Builder
	b.WriteString("| knob | where | cost, × the default's | p50 delay, × the default's |\n|---|---|--:|--:|\n")
	row := func(knob, forwarder string, w where) {
		cost, delay := s.ratio(w, forwarder, "mcrd", nsOut), s.ratio(w, forwarder, "mcrd", p50)
		if cost.known() {
			fmt.Fprintf(&b, "| %s | %s, %d B | %s | %s |\n", knob, w, w.size, cost.text(""), delay.text(""))
		}
	}
	for _, n := range []int{1, 10, 100, 1000} {
		row("`zero-copy: off`", "mcrd-copy", at("saturated", n))
		row("`zero-copy: on`", "mcrd-zc", at("saturated", n))
		row("`engine: mmsg`", "mcrd-mmsg", at("saturated", n))
	}
	row("`gso-max-segments: 1`", "mcrd-nogso", at("saturated", 100))
	row("`gso: off` on the egress", "mcrd-gso-off", at("saturated", 100))
	row("`gso-max-segments: 128`", "mcrd-gso128", where{"saturated", 100, 188, 0})
	for _, n := range []int{1, 10, 100} {
		row("no input port", "mcrd-portless", at("saturated", n))
		row("`receive-method: packet`", "mcrd-packet", at("saturated", n))
	}
	for _, r := range []float64{3000, 8000} {
		row("`coalesce-usec: 200`", "mcrd-coalesce-200", atRate("paced", 100, r))
		row("`coalesce-usec: 1000`", "mcrd-coalesce-1000", atRate("paced", 100, r))
	}
	row("`busy-poll-usec: 10000`", "mcrd-busy", atRate("latency", 1, 1000))
	return b.String()
}

// leftOut says what is not in the figures, and what may have disturbed them.
func (s *store) leftOut() string {
	var b strings.Builder
	said := map[string]bool{}
	say := func(format string, args ...any) {
		if line := fmt.Sprintf(format, args...); !said[line] {
			said[line] = true
			b.WriteString(line)
		}
	}
	others, steal, slow := 0.0, 0.0, 0
	for _, r := range s.runs {
		others, steal = max(others, r.Others), max(steal, r.Steal)
		switch {
		case r.Error != "":
			say("- not measured: %s, %s N=%d %d B: %s\n", r.Forwarder, r.Job, r.N, r.Size, r.Error)
		case r.keptUp():
			say("- not saturated, in one round at least: %s, N=%d %d B: it lost less than 1 %% of what came\n", r.Forwarder, r.N, r.Size)
		}
		if r.Speed > 0 && r.Speed < fullSpeed {
			slow++
		}
		if r.Uncounted != "" {
			say("- system calls are not counted: %s\n", r.Uncounted)
		}
		if r.Check != "" && !strings.HasPrefix(r.Check, "ok ") {
			say("- check of %s, N=%d %d B: %s\n", r.Forwarder, r.N, r.Size, r.Check)
		}
	}
	fmt.Fprintf(&b, "- %d runs; beside what was measured at most %.2f CPUs were in use and %.2f were taken by the hypervisor; in %d runs the "+
		"forwarder's CPU had less than %.2f of its speed, also when they were repeated\n", len(s.runs), others, steal, slow, fullSpeed)
	return b.String()
}

// comparison prints, for a job of lab, the median over the rounds.
func (s *store) comparison(w io.Writer, j job, ref string) {
	at := where{j.Name, j.N, j.Size, j.Rate}
	names := s.forwarders(at)
	if len(names) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%v\n\n%s", j, grid([]string{
		"forwarder", "ns/output", "× " + ref, "total ns/output", "outputs/s", "user %", "lost", "syscalls/output", "p50 µs", "p99 µs",
	}, names, func(f string, i int) string {
		if i == 1 {
			return s.ratio(at, f, ref, nsOut).text("")
		}
		return s.spread(at, f, []figure{nsOut, nil, total, rate, user, lost, syscalls, p50, p99}[i]).text("")
	}))
}
