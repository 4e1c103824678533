// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mcr/tests/lab"

	"github.com/google/go-cmp/cmp"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "fwd" { // a forwarder is this program again
		main()
		return
	}
	os.Exit(lab.CheckLeaks(m.Run))
}

func testBench(t *testing.T) *bench {
	t.Helper()
	if testing.Short() {
		t.Skip("runs the bench for seconds")
	}
	return newBench(t, &config{srcCPU: "0", fwdCPU: "1", ready: 20 * time.Second})
}

// light is a job that a busy machine carries: it takes so long that a stall is a small part of it.
func light(n int) job {
	return job{Name: "test", N: n, Size: payload, Rate: 500, Burst: 5, Time: 2 * time.Second, Warm: 100 * time.Millisecond, Check: true}
}

// told is a result as a reader wants it.
func told(r result) string {
	b, err := json.Marshal(r)
	return fmt.Sprintf("%s, %v", b, err)
}

// Each reference forwarder, and mcrd in several ways, delivers every datagram of the check, and the figures are there. Several benches run side by side.
func TestReferenceForwarders(t *testing.T) {
	for _, name := range []string{"naive", "sendmmsg", "gso", "uring", "uring-gso", "uring-gso-zc", "mcrd", "mcrd-portless", "mcrd-packet", "mcrd-zc"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := testBench(t)
			j := light(5)
			j.Latency = true
			b.shape(j)
			r := b.run(j, parseForwarder(name), 1, 0)
			if r.Error != "" || r.Check != "ok 5x400" {
				t.Fatalf("error %q, check %q", r.Error, r.Check)
			}
			if r.Lost == nil || *r.Lost != 0 || r.NsOut <= 0 || r.Out < 1000 || r.P50 <= 0 || r.P99 < r.P50 {
				t.Errorf("figures: %s", told(r))
			}
			if r.HeapIn != nil && !strings.HasPrefix(name, "mcrd") {
				t.Errorf("heap: %v", r.HeapIn)
			}
		})
	}
}

// The older design damages fragments and loses nothing else; jumbo frames pass through every peer that groups by the MTU.
func TestPeersOfOtherKinds(t *testing.T) {
	t.Run("threads", func(t *testing.T) {
		t.Parallel()
		b := testBench(t)
		j := light(5)
		j.Check = false
		b.shape(j)
		if r := b.run(j, parseForwarder("threads"), 1, 0); r.Error != "" || r.Lost == nil || *r.Lost != 0 {
			t.Errorf("figures: %s", told(r))
		}
	})
	t.Run("jumbo", func(t *testing.T) {
		t.Parallel()
		b := testBench(t)
		j := light(3)
		j.Size = 8900
		b.shape(j)
		if r := b.run(j, parseForwarder("uring-gso"), 1, 0); r.Error != "" || r.Check != "ok 3x400" || *r.Lost != 0 {
			t.Errorf("figures: %s", told(r))
		}
	})
	t.Run("dead", func(t *testing.T) {
		t.Parallel()
		b := testBench(t)
		j := light(3)
		b.shape(j)
		if r := b.run(j, parseForwarder("mcrd-dead"), 1, 0); r.Error != "" || *r.Lost != 0 {
			t.Errorf("figures: %s", told(r))
		}
	})
}

// naive makes one call to receive and one for each output, and a few of the Go runtime's.
func TestSyscallsAreCounted(t *testing.T) {
	b := testBench(t)
	j := light(5)
	j.Check, j.Syscalls = false, true
	b.shape(j)
	r := b.run(j, parseForwarder("naive"), 1, 0)
	if strings.Contains(r.Error, "cannot be counted") {
		t.Skip(r.Error)
	}
	if r.Error != "" || r.Syscalls == nil || *r.Syscalls < 1.2 || *r.Syscalls > 5 {
		t.Errorf("calls per output want 1.2 to 5: %s", told(r))
	}
}

func TestCheckFindsDamage(t *testing.T) {
	b := testBench(t)
	j := light(2)
	b.shape(j)
	o := &one{bench: b, job: j, keys: []uint32{1, 2}, outs: []netip.AddrPort{destination(1), destination(2)}}
	// Nobody forwards.
	got, err := o.judge()
	if err != nil || got != "2x400 lost 800 dup 0 bad 0 reordered 0 foreign 0" {
		t.Errorf("verdict %q, %v", got, err)
	}
	// A forwarder that ends is not waited for, and its last words are told.
	r := b.run(j, forwarder{name: "broken", command: "echo first >&2; echo no such thing >&2; exit 1"}, 1, 0)
	if !strings.Contains(r.Error, "the forwarder ended") || !strings.HasSuffix(r.Error, ": no such thing") {
		t.Errorf("error %q", r.Error)
	}
	// Nor is one that the machine does not have.
	r = b.run(j, forwarder{name: "none-such", command: "exit 1", needs: "mcr-no-such-program"}, 1, 0)
	if !strings.Contains(r.Error, "mcr-no-such-program") {
		t.Errorf("error %q", r.Error)
	}
}

// What is on disk is not measured again; what failed is.
func TestResume(t *testing.T) {
	b := testBench(t)
	dir := t.TempDir()
	j := light(2)
	j.Check, j.Rounds, j.Forwarders = false, 1, []string{"gso"}
	m := machine{Kernel: "k", Digest: "d"}
	s, err := openStore(dir, m)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.add(result{Job: j.Name, N: 2, Size: payload, Rate: 500, Round: 1, Forwarder: "gso", Error: "not ready"}); err != nil {
		t.Fatal(err)
	}
	b.job(j, s)
	s.Close()
	if len(s.runs) != 1 || s.runs[0].Error != "" {
		t.Fatalf("the failed run was not done again: %+v", s.runs)
	}
	// A line that was cut off by a kill.
	f, err := os.OpenFile(filepath.Join(dir, "runs.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(`{"job":"test","n`)
	f.Close()
	again, err := openStore(dir, m)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	b.job(j, again)
	if diff := cmp.Diff(s.runs, again.runs); diff != "" {
		t.Errorf("runs (-before +after):\n%s", diff)
	}
	if _, err := openStore(dir, machine{Kernel: "k", Digest: "other"}); err == nil || !strings.Contains(err.Error(), "another machine") {
		t.Errorf("a folder of another mcrd was taken: %v", err)
	}
}

func TestFigures(t *testing.T) {
	begin := time.Unix(100, 0)
	x := snap{t: begin, busy: 10, steal: 1}
	y := snap{
		t: begin.Add(time.Second), fwd: 2e6, src: 3e6, ksFwd: 1e6, ksAll: 1e6, self: 1e6, in: 1000, out: 1500,
		ticksU: 1, ticksS: 3, busy: 10.5, steal: 1.25,
	}
	r := result{N: 2, Sent: 1000}
	r.costs(x, y, 1000, false)
	r.losses(snap{each: []uint64{5, 5}}, snap{each: []uint64{1005, 505}}, false)
	zero, half := uint64(0), uint64(500)
	want := result{
		N: 2, Secs: 1, In: 1000, Out: 1500, NsOut: 2000, UserNsOut: 500, NsIn: 3000, TotalNsOut: 5e6 / 1500.0, CPU: 0.002, User: 0.25,
		LossPct: 25, Lost: &half, Sent: 1000, Others: 0.493, Steal: 0.25,
	}
	if diff := cmp.Diff(want, r, cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-9 })); diff != "" {
		t.Errorf("figures (-want +got):\n%s", diff)
	}
	// What a closed port did not get is nobody's loss.
	r.losses(snap{each: []uint64{0, 0}}, snap{each: []uint64{3, 1000}}, true)
	if *r.Lost != zero {
		t.Errorf("lost %d beside a dead one", *r.Lost)
	}
	for want, r := range map[bool]result{
		true:  {Job: "saturated", Forwarder: "gso", LossPct: 0.5},
		false: {Job: "saturated", Forwarder: "gso", LossPct: 0.5, Rate: 100}, // it was not to be saturated
	} {
		if r.keptUp() != want {
			t.Errorf("kept up: %v of %s", !want, told(r))
		}
	}
}

func TestInList(t *testing.T) {
	for cpu, want := range map[int]bool{0: false, 1: true, 3: false, 4: true, 6: true, 7: false, 11: false} {
		if got := inList("1,4-6", cpu); got != want {
			t.Errorf("CPU %d: %v", cpu, got)
		}
	}
}

func TestSpreads(t *testing.T) {
	if got := spreadOf([]float64{3, 1, 2, 10}); got != (spread{2.5, 1, 10, 4}) {
		t.Errorf("spread %+v", got)
	}
	if spreadOf(nil).known() {
		t.Error("nothing is known")
	}
	for want, s := range map[string]spread{
		"–":                     spreadOf(nil),
		"135 ns":                spreadOf([]float64{135.2}),
		"13.5 ns (12.0–15.0)":   spreadOf([]float64{12, 13.5, 15}),
		"0.0012 ns (0.001–0.2)": {Median: 0.0012, Min: 0.001, Max: 0.2, Rounds: 2},
	} {
		if got := s.text(" ns"); got != strings.Replace(want, "0.2)", "0.20)", 1) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// made has two rounds of a job, in the second of which the machine was twice as slow.
func made() *store {
	run := func(f string, round int, ns float64) result {
		return result{Job: "saturated", N: 100, Size: payload, Forwarder: f, Round: round, NsOut: ns, Out: 1e9 / ns, LossPct: 20}
	}
	calls := 0.001
	s := &store{runs: []result{
		run("naive", 1, 4000), run("mcrd", 1, 100), run("naive", 2, 8000), run("mcrd", 2, 200), run("sendmmsg", 1, 1000),
		{Job: "saturated", N: 100, Size: payload, Forwarder: "mcrd-zc", Round: 1, Error: "the forwarder ended: no such leaf"},
		{Job: "saturated", N: 100, Size: payload, Forwarder: "threads", Round: 1, NsOut: 2000, Check: "1x400 lost 0 dup 0 bad 25 reordered 0 foreign 0"},
	}}
	s.runs[1].Syscalls = &calls
	s.runs[2].LossPct = 0.9
	return s
}

func TestTargets(t *testing.T) {
	got := map[string]string{}
	for line := range strings.Lines(targetTable(targets(made()))) {
		f := strings.Split(line, " | ")
		if len(f) == 5 {
			got[f[0]+" "+f[1]] = strings.TrimSuffix(strings.Join(f[2:], " | "), " |\n")
		}
	}
	for what, want := range map[string]string{
		"| G1 saturated N=100: naive costs × mcrd":                          "≥ 25.0× | 40.0× (40.0–40.0) | yes",
		"| G1 saturated N=100: sendmmsg costs × mcrd":                       "≥ 12.0× | 10.0× | **no**",
		"| G1 saturated N=100: naive costs × mcrd-zc":                       "≥ 35.0× | not measured | –",
		"| G8 saturated N=100: system calls of mcrd per output":             "≤ 0.002 | 0.001 | yes",
		"| G9 latency N=1 1000/s: p50 delay of mcrd-busy, by that of naive": "≤ 0.33× | not measured | –",
	} {
		if got[what] != want {
			t.Errorf("%s: %q, want %q", what, got[what], want)
		}
	}
}

// Every table has its place in docs/performance.md, and the picture is well-formed.
func TestReport(t *testing.T) {
	root, err := lab.Root()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(filepath.Join(root, "docs", "performance.md"))
	if err != nil {
		t.Fatal(err)
	}
	s := made()
	filled, err := fill(string(doc), s.tables())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| naive | – | – | 6000 (4000–8000) | – | – |\n",
		"- not measured: mcrd-zc, saturated N=100 1316 B: the forwarder ended: no such leaf\n",
		"- not saturated, in one round at least: naive, N=100 1316 B: it lost less than 1 % of what came\n",
		"- check of threads, N=100 1316 B: 1x400 lost 0 dup 0 bad 25",
	} {
		if !strings.Contains(filled, want) {
			t.Errorf("no %q in\n%s", want, filled)
		}
	}
	again, err := fill(filled, s.tables())
	if err != nil || again != filled {
		t.Errorf("filled twice it differs: %v", err)
	}
	for _, bad := range []string{"<!-- bench no-such -->\n<!-- end -->", "<!-- bench cost -->\n", "nothing"} {
		if _, err := fill(bad, s.tables()); err == nil {
			t.Errorf("%q was filled", bad)
		}
	}
	for d := xml.NewDecoder(strings.NewReader(s.picture())); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("picture: %v", err)
		}
	}
	for _, want := range []string{">mcrd<", ">naive<", ">not measured<"} {
		if !strings.Contains(s.picture(), want) {
			t.Errorf("no %q in the picture", want)
		}
	}
	s.dir = t.TempDir()
	if err := s.publish(io.Discard); err != nil {
		t.Fatal(err)
	}
	var out struct {
		Targets []clause
		Runs    []result
	}
	b, err := os.ReadFile(filepath.Join(s.dir, "results.json"))
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil || len(out.Runs) != len(s.runs) || len(out.Targets) == 0 {
		t.Errorf("results.json: %d runs, %d targets, %v", len(out.Runs), len(out.Targets), err)
	}
}

func TestSuite(t *testing.T) {
	all := suite()
	if len(all) == 0 {
		t.Fatal("nothing is measured")
	}
	for _, limit := range []struct {
		name string
		jobs []job
		most time.Duration
	}{{"whole", all, 25 * time.Minute}, {"quick", quick(all), 3 * time.Minute}} {
		sum, seen := time.Duration(0), map[key]bool{}
		for _, j := range limit.jobs {
			sum += j.estimate()
			for _, f := range j.Forwarders {
				k := j.key(f, 1)
				if seen[k] {
					t.Errorf("%s: %+v twice", limit.name, k)
				}
				seen[k] = true
			}
			if limit.name == "whole" && j.Share == 0 && j.Rounds < 5 {
				t.Errorf("%v: %d rounds", j, j.Rounds)
			}
		}
		if sum > limit.most {
			t.Errorf("%s takes %v, more than %v", limit.name, sum, limit.most)
		}
		t.Logf("%s: %v", limit.name, sum)
	}
	if !wanted(all[0], "") || !wanted(all[0], "x,N=100") || wanted(all[0], "paced") {
		t.Error("-only chooses wrongly")
	}
}

func TestForwarderCommand(t *testing.T) {
	dir := t.TempDir()
	f := parseForwarder("x=run {N} {list} {iif} {oif} {group}:{port} {mtu} <{outs}")
	got, err := f.commandLine(t, dir, 1500, []netip.AddrPort{destination(1), destination(300)})
	if want := "run 2 10.9.0.1:5000,10.9.1.44:5000 hr0 hr1 239.1.1.1:5000 1500 <" + dir + "/outs"; err != nil || got != want {
		t.Errorf("command %q, %v\nwant %q", got, err, want)
	}
	outs := []netip.AddrPort{destination(1)}
	for name, want := range map[string]string{
		"mcrd": `{"mcr:mcr":{"forwarding":{"rules":{"rule":[{"config":{"input-group":"239.1.1.1","input-interface":"hr0","input-port":5000,"name":"bench"},"name":"bench",` +
			`"outputs":{"output":[{"config":{"interface":"hr1","name":"o00001","port":5000,"unicast-dest":"10.9.0.1"},"name":"o00001"}]}}]}}}}`,
		"mcrd-portless": `{"mcr:mcr":{"forwarding":{"rules":{"rule":[{"config":{"input-group":"239.1.1.1","input-interface":"hr0","name":"bench"},"name":"bench",` +
			`"outputs":{"output":[{"config":{"interface":"hr1","name":"o00001","unicast-dest":"10.9.0.1"},"name":"o00001"}]}}]}}}}`,
		"mcrd-mmsg": `{"mcr:mcr":{"dataplane":{"config":{"engine":"mmsg"}},"forwarding":{"rules":{"rule":[{"config":{"input-group":"239.1.1.1","input-interface":"hr0","input-port":5000,"name":"bench"},"name":"bench",` +
			`"outputs":{"output":[{"config":{"interface":"hr1","name":"o00001","port":5000,"unicast-dest":"10.9.0.1"},"name":"o00001"}]}}]}}}}`,
	} {
		if conf := string(parseForwarder(name).mcrd.config(outs)); conf != want {
			t.Errorf("%s: configuration %s\nwant %s", name, conf, want)
		}
	}
}
