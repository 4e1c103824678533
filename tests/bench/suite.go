// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"mcr/tests/lab"
)

const (
	payload = 1316 // seven packets of an MPEG transport stream in RTP's and UDP's usual form
	rounds  = 5
)

// suite is what make bench measures, in this order.
func suite() []job {
	names := strings.Fields
	base := job{Name: "saturated", Size: payload, Time: 800 * time.Millisecond, Warm: 500 * time.Millisecond, Rounds: rounds, Check: true}
	with := func(n int, forwarders string, change func(*job)) job {
		j := base
		j.N, j.Forwarders = n, names(forwarders)
		if change != nil {
			change(&j)
		}
		return j
	}
	const (
		peers = "naive sendmmsg threads gso uring-gso uring-gso-zc nft-dup "
		ours  = "mcrd mcrd-copy mcrd-zc mcrd-mmsg mcrd-portless mcrd-packet"
	)
	source := func(j *job) { j.Source = true }
	jobs := []job{
		with(100, peers+ours+" mcrd-nogso mcrd-gso-off", func(j *job) { j.Source, j.Syscalls = true, true }),
		with(10, peers+ours, source),
		with(1, peers+ours, source),
		with(1000, "sendmmsg gso uring-gso uring-gso-zc mcrd mcrd-copy mcrd-zc mcrd-mmsg", nil),
		with(10000, "sendmmsg uring-gso mcrd", func(j *job) { j.Time = 1500 * time.Millisecond }),
	}
	for _, size := range []int{188, 8900} {
		for _, n := range []int{100, 10, 1} {
			f := "naive sendmmsg uring-gso mcrd"
			if size == 188 && n == 100 {
				f += " mcrd-gso128"
			}
			jobs = append(jobs, with(n, f, func(j *job) { j.Size, j.Time = size, 600*time.Millisecond }))
		}
	}
	for _, n := range []int{10, 1} {
		jobs = append(jobs, with(n, "naive sendmmsg threads uring-gso mcrd", func(j *job) { j.Name = single }))
	}
	jobs = append(jobs, with(100, "sendmmsg threads uring-gso mcrd", func(j *job) { j.Name, j.NoUSO = "no-uso", true }))
	for _, rate := range []float64{3000, 8000} {
		jobs = append(jobs, with(100, "sendmmsg gso uring-gso mcrd mcrd-coalesce-200 mcrd-coalesce-1000",
			func(j *job) {
				j.Name, j.Rate, j.Burst, j.Latency, j.Time = "paced", rate, 1, true, 1500*time.Millisecond
			}))
	}
	jobs = append(jobs,
		with(100, "sendmmsg gso uring-gso mcrd", func(j *job) { j.Name, j.Rate, j.Burst, j.Latency = "bursts", 3000, 10, true }),
		with(1, "naive sendmmsg mcrd mcrd-busy nft-dup", func(j *job) {
			j.Name, j.Rate, j.Burst, j.Latency, j.Time = "latency", 1000, 1, true, 2*time.Second
		}),
		with(100, "mcrd mcrd-dead", func(j *job) {
			j.Name, j.Rate, j.Burst, j.Latency, j.Time = "dead", 1000, 1, true, 3*time.Second
		}),
		with(100, "mcrd mcrd-portless", func(j *job) {
			j.Name, j.Share, j.Time, j.Rounds = "capacity", 0.75, 60*time.Second, 1
		}),
		with(10, "mcrd mcrd-portless", func(j *job) {
			j.Name, j.Share, j.Time, j.Rounds = "capacity", 0.75, 10*time.Second, 1
		}),
	)
	return jobs
}

// quick is the suite cut down to what tells in three minutes whether something is badly wrong. Its figures are no figures.
func quick(jobs []job) (out []job) {
	few := strings.Fields("naive sendmmsg threads uring-gso mcrd mcrd-mmsg mcrd-zc mcrd-portless mcrd-nogso mcrd-busy mcrd-dead mcrd-coalesce-1000")
	for _, j := range jobs {
		if j.N > 100 || j.Size != payload {
			continue
		}
		j.Forwarders = slices.DeleteFunc(slices.Clone(j.Forwarders), func(f string) bool { return !slices.Contains(few, f) })
		j.Rounds, j.Source, j.Time = 1, false, min(j.Time, 500*time.Millisecond)
		if j.Share > 0 {
			j.Time = 3 * time.Second
		}
		out = append(out, j)
	}
	return out
}

// common are the flags of run and lab.
func (c *config) common(fs *flag.FlagSet) {
	fs.StringVar(&c.srcCPU, "src-cpu", "0", "CPU of the source and of this program")
	fs.StringVar(&c.fwdCPU, "fwd-cpu", "1", "CPU of the forwarder, or a list such as 1,4-6: mcrd takes a worker for each")
	fs.DurationVar(&c.ready, "ready", 30*time.Second, "time in which a forwarder must reach every destination")
	fs.BoolVar(&c.verbose, "v", false, "show what forwarders write to standard error")
}

func runSuite(ctx context.Context, args []string) error {
	c := &config{}
	fs := flag.NewFlagSet("run", flag.ExitOnError)
	c.common(fs)
	short := fs.Bool("quick", false, "a few minutes, one round: shows what is badly wrong, and no figures")
	dir := fs.String("out", "bench-out", "folder for the runs and what is made of them")
	only := fs.String("only", "", "only jobs that have one of these words in their name, such as 'paced,N=100'")
	if err := fs.Parse(args); err != nil {
		return err
	}
	jobs := suite()
	if *short {
		jobs = quick(jobs)
	}
	jobs = slices.DeleteFunc(jobs, func(j job) bool { return !wanted(j, *only) })
	if len(jobs) == 0 {
		return fmt.Errorf("no job has one of %q in its name", *only)
	}
	defer lab.RemoveBuilt()
	err := lab.Demo(ctx, "bench", os.Stderr, func(t lab.TB) { measureAll(t, c, jobs, *dir, *short) })
	if err != nil {
		return err
	}
	s, err := readStore(*dir)
	if err != nil {
		return err
	}
	return s.publish(os.Stdout)
}

func wanted(j job, words string) bool {
	if words == "" {
		return true
	}
	for w := range strings.SplitSeq(words, ",") {
		if strings.Contains(j.String(), w) {
			return true
		}
	}
	return false
}

func measureAll(t lab.TB, c *config, jobs []job, dir string, quick bool) {
	b := newBench(t, c)
	m := b.describe()
	m.Quick = quick
	s, err := openStore(dir, m)
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer s.Close()
	b.settleIn() // what is built is built
	left := time.Duration(0)
	for _, j := range jobs {
		left += j.estimate()
	}
	t.Logf("about %v if nothing is measured yet; runs go to %s", left.Round(time.Second), dir)
	for _, j := range jobs {
		b.job(j, s)
	}
}
