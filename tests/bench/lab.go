// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"mcr/tests/lab"
)

// runLab is a comparison of one's own: a job for each number of destinations, and a table.
func runLab(ctx context.Context, args []string) error {
	c := &config{}
	fs := flag.NewFlagSet("lab", flag.ExitOnError)
	c.common(fs)
	j := job{Name: "lab", Source: true}
	counts := fs.String("n", "1,10,100", "numbers of destinations")
	fs.IntVar(&j.Size, "size", payload, "bytes of payload; above 1,472 the links get an MTU of 9,000")
	fs.Float64Var(&j.Rate, "pps", 0, "source rate; 0 saturates")
	fs.IntVar(&j.Burst, "burst", 1, "datagrams back to back when paced, 1 to 64")
	fs.DurationVar(&j.Time, "time", time.Second, "measured time of each run")
	fs.DurationVar(&j.Warm, "warm", 300*time.Millisecond, "time before it")
	fs.IntVar(&j.Rounds, "rounds", 3, "rounds; forwarders are interleaved in each")
	fs.BoolVar(&j.Check, "check", true, "judge what real sockets get, in the first round")
	fs.BoolVar(&j.NoUSO, "no-uso", false, "egress without UDP segmentation offload")
	fs.BoolVar(&j.Syscalls, "syscalls", false, "count system calls")
	fs.BoolVar(&j.Latency, "latency", false, "measure the delay to the last destination")
	fs.StringVar(&j.Profile, "perf", "", "folder for profiles: perf record for a second after each measured time (the last round's stay)")
	ref := fs.String("ref", "", "forwarder that ratios are against (default: the last)")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if j.Forwarders = fs.Args(); len(j.Forwarders) == 0 {
		return fmt.Errorf("lab: no forwarder named")
	}
	if *ref == "" {
		*ref = parseForwarder(j.Forwarders[len(j.Forwarders)-1]).name
	}
	var jobs []job
	for f := range strings.SplitSeq(*counts, ",") {
		n, err := strconv.Atoi(f)
		if err != nil || n < 1 || n > maxDestinations {
			return fmt.Errorf("lab: count %q: not in 1..%d", f, maxDestinations)
		}
		j.N = n
		jobs = append(jobs, j)
	}
	if j.Profile != "" {
		if err := os.MkdirAll(j.Profile, 0o755); err != nil {
			return err
		}
	}
	defer lab.RemoveBuilt()
	s := &store{}
	err := lab.Demo(ctx, "bench", os.Stderr, func(t lab.TB) {
		b := newBench(t, c)
		lab.Bin(t, "mcrd")
		b.settleIn()
		for _, j := range jobs {
			b.job(j, s)
		}
	})
	for _, j := range jobs {
		s.comparison(os.Stdout, j, *ref)
	}
	fmt.Print("\n", s.leftOut())
	return err
}
