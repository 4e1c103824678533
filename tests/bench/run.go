// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"mcr/cmd/mcrgen/stream"
	"mcr/tests/lab"
)

// result is one run. Rates and costs are of the measured time; README.md explains the figures.
type result struct {
	Job       string  `json:"job"`
	Forwarder string  `json:"forwarder"`
	N         int     `json:"n"`
	Size      int     `json:"size"`
	Round     int     `json:"round"`
	Rate      float64 `json:"rate"`            // of the job, datagrams a second; 0: saturated, or by share
	Share     float64 `json:"share,omitempty"` // of its own capacity
	Secs      float64 `json:"secs"`
	In        float64 `json:"in_pps"`
	Out       float64 `json:"out_pps"`

	NsOut      float64 `json:"ns_out"`
	UserNsOut  float64 `json:"user_ns_out"`
	TotalNsOut float64 `json:"total_ns_out,omitempty"`
	NsIn       float64 `json:"ns_in"`
	CPU        float64 `json:"cpu"`
	User       float64 `json:"user_share"`
	Others     float64 `json:"others_cpu"`          // CPUs that something else was using
	Steal      float64 `json:"steal_cpu"`           // CPUs that the hypervisor kept
	Speed      float64 `json:"cpu_speed,omitempty"` // of the forwarder's CPU, 1: what it can
	Slow       float64 `json:"slow_secs,omitempty"` // seconds in which that was below slowSpeed

	LossPct     float64  `json:"loss_pct"`       // saturated: of the measured time; else of the whole run
	Lost        *uint64  `json:"lost,omitempty"` // copies, of the whole run, against what was sent; not where saturated
	Sent        uint64   `json:"sent"`           // datagrams
	RcvbufErr   uint64   `json:"rcvbuf_errors"`
	BacklogDrop uint64   `json:"backlog_drops"`
	CtxPerSec   float64  `json:"vol_ctx_per_s"`
	RSSMiB      float64  `json:"rss_mib"`
	Threads     int      `json:"threads"`
	Syscalls    *float64 `json:"syscalls_out,omitempty"` // per output
	Uncounted   string   `json:"uncounted,omitempty"`    // why there are no Syscalls
	HeapIn      *float64 `json:"heap_in,omitempty"`      // bytes that mcrd allocated for each datagram received
	P50         float64  `json:"p50_us,omitempty"`
	P99         float64  `json:"p99_us,omitempty"`
	Max         float64  `json:"max_us,omitempty"`

	Check string `json:"check,omitempty"`
	Error string `json:"error,omitempty"`
}

// keptUp says that the source was to send more than the forwarder can, and did not: the figure is that of a forwarder that waits.
func (r result) keptUp() bool {
	return r.Job != single && r.Rate == 0 && r.Share == 0 && r.Forwarder != bare.name && r.LossPct < 1
}

func (r result) key() key { return key{r.Job, r.N, r.Size, r.Rate, r.Forwarder, r.Round} }

// one is a run under way.
type one struct {
	*bench
	job
	f    forwarder
	keys []uint32
	outs []netip.AddrPort
	dir  string
	fwd  *lab.Proc
}

// run measures one forwarder. source is what the bare source costs for a datagram, ns; 0: not known.
func (b *bench) run(j job, f forwarder, round int, source float64) result {
	res := result{Job: j.Name, Forwarder: f.name, N: j.N, Size: j.Size, Round: round, Rate: j.Rate}
	if err := b.measure(j, f, round, &res, source); err != nil {
		res.Error = err.Error()
	}
	return res
}

func (b *bench) measure(j job, f forwarder, round int, res *result, source float64) error {
	if err := f.missing(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mcr-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	o := &one{bench: b, job: j, f: f, keys: make([]uint32, j.N), outs: make([]netip.AddrPort, j.N), dir: dir}
	for i := range o.keys {
		o.keys[i] = uint32(i + 1)
		o.outs[i] = destination(o.keys[i])
	}
	if err := o.reset(); err != nil {
		return err
	}
	command, err := f.commandLine(b.t, dir, j.mtu(), o.outs)
	if err != nil {
		return err
	}
	o.fwd = pinned(b.rtr, b.fwdCPU, "sh", "-c", command)
	defer func() {
		o.fwd.Stop()
		if b.verbose {
			os.Stderr.WriteString(o.fwd.Stderr.String())
		}
	}()
	if f.name == bare.name {
		return o.window(res, 0)
	}
	if err := o.reach(); err != nil {
		return fmt.Errorf("%w: %s", err, lastLine(o.fwd.Stderr.String()))
	}
	if j.Check && round == 1 {
		if res.Check, err = o.judge(); err != nil {
			return err
		}
	}
	if err := o.reset(); err != nil {
		return err
	}
	return o.window(res, source)
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// reset zeroes the counters. What the dead destination gets goes on to the host, which answers that the port is closed.
func (o *one) reset() error {
	for i, k := range o.keys {
		if err := o.count.Set(k, i == 0 && o.f.dead()); err != nil {
			return err
		}
	}
	return nil
}

// reach sends single datagrams until each destination has got one: that is "ready", for any program.
func (o *one) reach() error {
	for end := time.Now().Add(o.ready); ; {
		o.src.Send(lab.Stream{Iface: "hs0", Group: inGroup, Port: inPort, Count: 1, Size: 100})
		reached := 0
		for wait := time.Now().Add(200 * time.Millisecond); reached < o.N && time.Now().Before(wait); {
			counts, err := o.count.Read(o.keys)
			if err != nil {
				return err
			}
			reached = 0
			for _, x := range counts {
				reached += int(min(x, 1))
			}
			time.Sleep(2 * time.Millisecond) // a kernel map sends no event
		}
		switch {
		case reached == o.N:
			return o.settle(math.MaxUint64, soon)
		case time.Now().After(end):
			return fmt.Errorf("not ready: %d of %d destinations reached", reached, o.N)
		}
		select {
		case <-o.fwd.Done():
			return fmt.Errorf("the forwarder ended: %v", o.fwd.Wait(time.Second))
		default:
		}
	}
}

// The counters stand still for so long where nothing is under way any more: where all is known to have come but a few copies of
// one datagram, and where a machine that has something else to do may have stopped the forwarder.
const (
	soon    = 60 * time.Millisecond
	settled = 500 * time.Millisecond
)

// settle waits until the counters have come to want, or have stood still for that long, at most 5 s: a kernel map sends no event.
func (o *one) settle(want uint64, still time.Duration) error {
	last, since := uint64(math.MaxUint64), time.Now()
	for end := since.Add(5 * time.Second); time.Since(since) < still && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		sum, err := o.count.Sum(o.keys)
		if err != nil || sum >= want {
			return err
		}
		if sum != last {
			last, since = sum, time.Now()
		}
	}
	return nil
}

// sender starts the source.
func (o *one) sender() *lab.Proc {
	rate := "max"
	if o.Rate > 0 {
		rate = strconv.FormatFloat(o.Rate, 'f', -1, 64)
	}
	return pinned(o.src, o.srcCPU, o.mcrgen, "send", "--interface", "hs0", "--group", inGroup, "--port", strconv.Itoa(inPort),
		"--size", strconv.Itoa(o.Size), "--rate", rate, "--burst", strconv.Itoa(o.Burst), "--segments", strconv.Itoa(o.segments()), "-o", "json")
}

// window runs the source, and measures between two snapshots.
func (o *one) window(res *result, source float64) error {
	var sink *lab.Sink
	if o.Latency {
		last := o.N - 1
		sink = o.dst.Sink(o.outs[last].String())
		defer sink.Close()
		if err := o.count.Set(o.keys[last], true); err != nil {
			return err
		}
	}
	windows := o.speed.count()
	begin, err := o.snap(nil)
	if err != nil {
		return err
	}
	src := o.sender()
	defer src.Stop() // safe twice
	if err := o.pause(o.Warm); err != nil {
		return err
	}
	heaps := [3]uint64{o.heap(), o.heap()}
	x, err := o.snap(src)
	if err != nil {
		return err
	}
	if err := o.pause(o.Time); err != nil {
		return err
	}
	y, err := o.snap(src)
	if err != nil {
		return err
	}
	res.costs(x, y, source, o.f.name == bare.name)
	if in := y.in - x.in; in > 0 {
		heaps[2] = o.heap()
		res.HeapIn = perDatagram(heaps, in)
	}
	if o.Syscalls && o.f.name != bare.name {
		if res.Syscalls, err = o.syscalls(); err != nil {
			res.Uncounted = err.Error()
		}
	}
	if o.Profile != "" && o.f.name != bare.name {
		if err := o.profile(); err != nil {
			return err
		}
	}
	if err := src.Stop(); err != nil {
		return fmt.Errorf("source: %w: %s", err, src.Stderr.String())
	}
	var sent stream.Sent
	if err := json.Unmarshal([]byte(src.Stdout.String()), &sent); err != nil {
		return fmt.Errorf("source: %w", err)
	}
	res.Sent = sent.Sent
	if o.Rate > 0 && o.f.name != bare.name { // a saturated one has seconds of datagrams in its queue
		if err := o.settle(uint64(begin.out)+sent.Sent*uint64(o.N), settled); err != nil {
			return err
		}
	}
	end, err := o.snap(nil)
	if err != nil {
		return err
	}
	res.BacklogDrop, res.RcvbufErr = uint64(end.drop-begin.drop), uint64(end.rcv-begin.rcv)
	res.Speed, res.Slow = o.speed.since(windows)
	if o.Rate > 0 && o.f.name != bare.name {
		res.losses(begin, end, o.f.dead())
	}
	if sink != nil {
		d := sink.Report(0).Latency
		res.P50, res.P99, res.Max = d.P50, d.P99, d.Max
	}
	if y.in == x.in || (y.out == x.out && o.f.name != bare.name) {
		return fmt.Errorf("nothing moved: in %.0f, out %.0f", y.in-x.in, y.out-x.out)
	}
	return nil
}

// pause returns early, with an error, where the bench is interrupted.
func (o *one) pause(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-o.t.Context().Done():
		return o.t.Context().Err()
	}
}

// costs computes what happened between two snapshots.
func (r *result) costs(x, y snap, source float64, none bool) {
	r.Secs = y.t.Sub(x.t).Seconds()
	in, out := y.in-x.in, y.out-x.out
	r.In, r.Out = in/r.Secs, out/r.Secs
	total := y.fwd - x.fwd + y.src - x.src + y.ksAll - x.ksAll
	own := y.fwd - x.fwd + y.ksFwd - x.ksFwd
	r.Others = max(0, (y.busy-x.busy-(total+y.self-x.self)/1e9)/r.Secs)
	r.Steal = (y.steal - x.steal) / r.Secs
	if none {
		r.TotalNsOut = per(total, in) // here: the bare source's cost for a datagram
		return
	}
	r.NsOut, r.NsIn = per(own, out), per(own, in)
	if source > 0 {
		r.TotalNsOut = per(total-source*in, out)
	}
	r.CPU = (y.fwd - x.fwd) / r.Secs / 1e9
	r.User = per(y.ticksU-x.ticksU, y.ticksU-x.ticksU+y.ticksS-x.ticksS)
	r.UserNsOut = r.User * r.NsOut
	r.CtxPerSec, r.RSSMiB, r.Threads = (y.ctx-x.ctx)/r.Secs, y.rss, y.threads
	r.LossPct = 100 * (1 - per(out, in*float64(r.N)))
}

// losses compares what arrived with what was sent. What went to a closed port is no copy that anybody misses.
func (r *result) losses(begin, end snap, dead bool) {
	first := 0
	if dead {
		first = 1
	}
	lost := uint64(0)
	for i := first; i < len(end.each); i++ {
		lost += r.Sent - min(r.Sent, end.each[i]-begin.each[i])
	}
	r.Lost = &lost
	r.LossPct = 100 * per(float64(lost), float64(r.Sent)*float64(len(end.each)-first))
}

// per is a/b, and 0 for nothing by nothing: JSON knows no other.
func per(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
