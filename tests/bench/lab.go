// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"mcr/tests/lab"
)

const (
	inIface, outIface = "hr0", "hr1"
	inGroup, inPort   = "239.1.1.1", 5000
)

type config struct {
	counts  string
	size    int
	pps     float64
	burst   int
	secs    time.Duration
	warm    time.Duration
	rounds  int
	ref     string
	srcCPU  string
	fwdCPU  string
	ready   time.Duration
	check   bool
	noUSO   bool
	verbose bool
}

func runLab(ctx context.Context, args []string) error {
	c := &config{}
	fs := flag.NewFlagSet("lab", flag.ExitOnError)
	fs.StringVar(&c.counts, "n", "1,10,100", "numbers of destinations")
	fs.IntVar(&c.size, "size", 1316, "payload bytes")
	fs.Float64Var(&c.pps, "pps", 0, "source rate; 0 saturates")
	fs.IntVar(&c.burst, "burst", 1, "datagrams back to back when paced, 1 to 64")
	fs.DurationVar(&c.secs, "time", 2*time.Second, "measured time of each run")
	fs.DurationVar(&c.warm, "warm", 500*time.Millisecond, "time before it")
	fs.IntVar(&c.rounds, "rounds", 3, "rounds; forwarders are interleaved in each")
	fs.StringVar(&c.ref, "ref", "", "forwarder that ratios are against (default: the last)")
	fs.StringVar(&c.srcCPU, "src-cpu", "0", "CPU of the source")
	fs.StringVar(&c.fwdCPU, "fwd-cpu", "1", "CPU of the forwarder")
	fs.DurationVar(&c.ready, "ready", 30*time.Second, "time in which a forwarder must reach every destination")
	fs.BoolVar(&c.check, "check", true, "judge what real sockets get, in the first round")
	fs.BoolVar(&c.noUSO, "no-uso", false, "egress without UDP segmentation offload")
	fs.BoolVar(&c.verbose, "v", false, "show what forwarders write to standard error")
	if err := fs.Parse(args); err != nil {
		return err
	}
	fwds := []forwarder{}
	for _, a := range fs.Args() {
		fwds = append(fwds, parseForwarder(a))
	}
	if len(fwds) == 0 {
		return fmt.Errorf("lab: no forwarder named")
	}
	if c.ref == "" {
		c.ref = fwds[len(fwds)-1].name
	}
	var counts []int
	for f := range strings.SplitSeq(c.counts, ",") {
		n, err := strconv.Atoi(f)
		if err != nil || n < 1 || n > 60000 {
			return fmt.Errorf("lab: count %q: not in 1..60000", f)
		}
		counts = append(counts, n)
	}
	defer lab.RemoveBuilt()
	var all []result
	err := lab.Demo(ctx, "bench", os.Stderr, func(t lab.TB) { all = newBench(t, c).rounds(counts, fwds) })
	table(os.Stdout, all, fwds, c.ref)
	return err
}

// bench is the topology and what is measured in it.
type bench struct {
	*config
	t             lab.TB
	src, rtr, dst *lab.Host
	count         *counter
	mcrgen        string
}

func newBench(t lab.TB, c *config) *bench {
	l := lab.New(t)
	b := &bench{config: c, t: t, src: l.Host("src"), rtr: l.Host("rtr"), dst: l.Host("dst"), mcrgen: lab.Bin(t, "mcrgen")}
	l.Link(b.src, "hs0", "10.8.0.1/24", b.rtr, inIface, "10.8.0.2/24")
	l.Link(b.rtr, outIface, "10.10.0.1/24", b.dst, "hd0", "10.10.0.2/24")
	b.rtr.Forward(true) // for peers that work in the kernel
	b.rtr.Route("10.9.0.0/16", "10.10.0.2")
	b.rtr.Neigh(outIface, "10.10.0.2", b.dst.MAC("hd0")) // the bench does not measure ARP
	b.dst.Addr("lo", "10.9.0.1/16")                      // on lo a prefix is local as a whole
	b.dst.Route("default", "10.10.0.1")
	if c.noUSO { // a packet of more than gso_max_segs segments is cut up before the driver
		b.rtr.Run("ip", "link", "set", outIface, "gso_max_segs", "1")
	}
	err := b.dst.Do(func() (err error) { b.count, err = newCounter(b.dst.Index("hd0")); return err })
	if err != nil {
		t.Fatalf("counting sink: %v", err)
	}
	t.Cleanup(b.count.Close)
	return b
}

// rounds interleaves the forwarders, A B C, A B C, …, and prints a line of JSON for each run.
func (b *bench) rounds(counts []int, fwds []forwarder) (all []result) {
	for _, n := range counts {
		for round := 1; round <= b.config.rounds; round++ {
			base := b.run(bare, n, round, 0)
			if base.Error != "" {
				b.t.Fatalf("bare source: %s", base.Error)
			}
			for _, f := range fwds {
				if b.t.Context().Err() != nil {
					b.t.Fatalf("interrupted")
				}
				r := b.run(f, n, round, base.TotalNsOut)
				for try := 0; try < 2 && r.Secs > 1.15*b.secs.Seconds()+0.05; try++ { // the machine stood still: not a measurement
					r = b.run(f, n, round, base.TotalNsOut)
				}
				fmt.Println(string(must(json.Marshal(r))))
				all = append(all, r)
			}
		}
	}
	return all
}

// pinned starts a program on one CPU.
func pinned(h *lab.Host, cpu string, args ...string) *lab.Proc {
	return h.Start(append([]string{"taskset", "-c", cpu}, args...)...)
}
