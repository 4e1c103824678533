// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"net/netip"
	"os"
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

// Each reference forwarder delivers every datagram of the check, and the figures are there. Two benches run side by side.
func TestReferenceForwarders(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the bench for seconds")
	}
	for _, name := range []string{"naive", "mmsg", "gso", "uring-gso"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &config{size: 1316, pps: 500, burst: 5, secs: 300 * time.Millisecond, warm: 100 * time.Millisecond, srcCPU: "0", fwdCPU: "1", ready: 20 * time.Second, check: true}
			r := newBench(t, c).run(parseForwarder(name), 5, 1, 0)
			if r.Error != "" || r.Check != "ok 5x800" {
				t.Fatalf("error %q, check %q", r.Error, r.Check)
			}
			if r.LossMaxPct != 0 || r.NsOut <= 0 || r.Out < 1000 {
				t.Errorf("figures: %+v", r)
			}
		})
	}
}

func TestCheckFindsDamage(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the bench for seconds")
	}
	c := &config{size: 1316, srcCPU: "0", fwdCPU: "1", ready: 20 * time.Second, check: true}
	b := newBench(t, c)
	outs := []netip.AddrPort{destination(1), destination(2)}
	// Nobody forwards.
	got, err := b.judge([]uint32{1, 2}, outs)
	if err != nil || got != "2x800 lost 1600 dup 0 bad 0 reordered 0 foreign 0" {
		t.Errorf("verdict %q, %v", got, err)
	}
	// A forwarder that ends is not waited for.
	r := b.run(forwarder{name: "broken", command: "echo no >&2; exit 1"}, 2, 1, 0)
	if !strings.Contains(r.Error, "the forwarder ended") {
		t.Errorf("error %q", r.Error)
	}
}

func TestFiguresAndTable(t *testing.T) {
	at := time.Unix(100, 0)
	var r result
	r.N = 2
	begin, x := snap{t: at, each: []uint64{0, 0}}, snap{t: at}
	y := snap{t: at.Add(time.Second), fwd: 2e6, src: 3e6, ksFwd: 1e6, ksAll: 1e6, in: 1000, out: 1500}
	end := snap{in: 1000, each: []uint64{1000, 500}}
	if err := r.figures(begin, x, y, end, 1000, false); err != nil {
		t.Fatal(err)
	}
	want := result{
		N: 2, Secs: 1, In: 1000, Out: 1500, NsOut: 2000, NsIn: 3000, TotalNsOut: 5e6 / 1500.0, CPU: 0.002,
		LossPct: 25, LossMinPct: 0, LossMaxPct: 50,
	}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("figures (-want +got):\n%s", diff)
	}
	if median([]float64{3, 1, 2, 10}) != 2.5 || !math.IsNaN(median(nil)) {
		t.Error("median is wrong")
	}
	var out strings.Builder
	table(&out, []result{
		{Forwarder: "a", N: 1, NsOut: 300, Check: "ok 1x800"},
		{Forwarder: "b", N: 1, NsOut: 100},
		{Forwarder: "a", N: 1, NsOut: 500},
		{Forwarder: "b", N: 1, Error: "not ready"},
	}, []forwarder{{name: "a"}, {name: "b"}}, "b")
	for _, want := range []string{"| 1 | a | 400 (300–500) | 3.00 |", "ok 1x800 |", "| 1 | b | 100 (100–100) | 1.00 |", "not ready |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestForwarderCommand(t *testing.T) {
	dir := t.TempDir()
	f := parseForwarder("x=run {N} {list} {iif} {oif} {group}:{port} <{outs}")
	got, err := f.commandLine(t, dir, []netip.AddrPort{destination(1), destination(300)})
	if want := "run 2 10.9.0.1:5000,10.9.1.44:5000 hr0 hr1 239.1.1.1:5000 <" + dir + "/outs"; err != nil || got != want {
		t.Errorf("command %q, %v\nwant %q", got, err, want)
	}
	conf := string(mcrdConfig([]netip.AddrPort{destination(1)}))
	want := `{"rules":[{"input":{"group":"239.1.1.1","interface":"hr0","port":5000},"name":"bench","outputs":[{"interface":"hr1","unicast_dest":"10.9.0.1","port":5000}]}]}`
	if conf != want {
		t.Errorf("configuration %s\nwant %s", conf, want)
	}
}
