// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"os"
	"strconv"
	"time"

	"mcr/cmd/mcrgen/stream"
	"mcr/tests/lab"
)

// result is one run. Rates are of the measured time; README.md explains the figures.
type result struct {
	Forwarder   string  `json:"forwarder"`
	N           int     `json:"n"`
	Round       int     `json:"round"`
	Size        int     `json:"size"`
	PPS         float64 `json:"pps"` // asked; 0: saturated
	Secs        float64 `json:"secs"`
	In          float64 `json:"in_pps"`
	Out         float64 `json:"out_pps"`
	NsOut       float64 `json:"ns_out"`
	TotalNsOut  float64 `json:"total_ns_out"`
	NsIn        float64 `json:"ns_in"`
	CPU         float64 `json:"cpu"`
	User        float64 `json:"user_share"`
	LossPct     float64 `json:"loss_pct"` // over the whole run, all destinations
	LossMinPct  float64 `json:"loss_min_pct"`
	LossMaxPct  float64 `json:"loss_max_pct"`
	Sent        uint64  `json:"sent"`
	RcvbufErr   uint64  `json:"rcvbuf_errors"`
	BacklogDrop uint64  `json:"backlog_drops"`
	CtxPerSec   float64 `json:"vol_ctx_per_s"`
	RSSMiB      float64 `json:"rss_mib"`
	Threads     int     `json:"threads"`
	Check       string  `json:"check,omitempty"`
	Error       string  `json:"error,omitempty"`
}

// snap is the state of everything at one moment: ns of CPU, ticks, packets.
type snap struct {
	t                       time.Time
	fwd, src, ksFwd, ksAll  float64
	ticksU, ticksS          float64
	ctx, in, out, drop, rcv float64
	rss                     float64
	threads                 int
	each                    []uint64 // copies by destination
}

func (b *bench) snap(fwd, src *lab.Proc, keys []uint32) (s snap, err error) {
	if s.each, err = b.count.Read(keys); err != nil {
		return s, err
	}
	for _, x := range s.each {
		s.out += float64(x)
	}
	s.t, s.in, s.drop = time.Now(), netDev(fwd.Pid(), inIface), softnetDrops()
	s.rcv = snmp(fwd.Pid(), "Udp:", "RcvbufErrors")
	for _, p := range processes(fwd.Pid()) {
		cpu, ctx, threads := taskSums(p)
		u, k := ticks(p)
		s.fwd, s.ctx, s.threads = s.fwd+cpu, s.ctx+ctx, s.threads+threads
		s.ticksU, s.ticksS = s.ticksU+u, s.ticksS+k
		s.rss += statusField(fmt.Sprintf("/proc/%d/status", p), "VmRSS:") / 1024
	}
	if src != nil {
		for _, p := range processes(src.Pid()) {
			cpu, _, _ := taskSums(p)
			s.src += cpu
		}
	}
	for cpu, p := range ksoftirqd {
		ns, _, _ := taskSums(p)
		s.ksAll += ns
		if strconv.Itoa(cpu) == b.fwdCPU {
			s.ksFwd += ns
		}
	}
	return s, nil
}

// run measures one forwarder at n destinations. base is what the bare source costs for a datagram, ns.
func (b *bench) run(f forwarder, n, round int, base float64) result {
	res := result{Forwarder: f.name, N: n, Round: round, Size: b.size, PPS: b.pps}
	if err := b.measure(f, &res, base); err != nil {
		res.Error = err.Error()
	}
	return res
}

func (b *bench) measure(f forwarder, res *result, base float64) error {
	keys, outs := make([]uint32, res.N), make([]netip.AddrPort, res.N)
	for i := range keys {
		keys[i] = uint32(i + 1)
		outs[i] = destination(keys[i])
	}
	reset := func() error {
		for _, k := range keys {
			if err := b.count.Set(k, false); err != nil {
				return err
			}
		}
		return nil
	}
	if err := reset(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mcr-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	command, err := f.commandLine(b.t, dir, outs)
	if err != nil {
		return err
	}
	fwd := pinned(b.rtr, b.fwdCPU, "sh", "-c", command)
	defer func() {
		fwd.Stop()
		if b.verbose || res.Error != "" {
			os.Stderr.WriteString(fwd.Stderr.String())
		}
	}()
	if f.name != bare.name {
		if err := b.reach(fwd, keys); err != nil {
			os.Stderr.WriteString(fwd.Stderr.String())
			return err
		}
		if b.check && res.Round == 1 {
			if res.Check, err = b.judge(keys, outs); err != nil {
				return err
			}
		}
		if err := reset(); err != nil {
			return err
		}
	}
	return b.window(fwd, keys, res, base, f.name == bare.name)
}

// reach sends single datagrams until each destination has got one: that is "ready", for any program.
func (b *bench) reach(fwd *lab.Proc, keys []uint32) error {
	for end := time.Now().Add(b.ready); ; {
		b.src.Send(lab.Stream{Iface: "hs0", Group: inGroup, Port: inPort, Count: 1})
		counts, err := b.settle(keys)
		if err != nil {
			return err
		}
		reached := 0
		for _, x := range counts {
			reached += int(min(x, 1))
		}
		switch {
		case reached == len(keys):
			return nil
		case time.Now().After(end):
			return fmt.Errorf("not ready: %d of %d destinations reached", reached, len(keys))
		}
		select {
		case <-fwd.Done():
			return fmt.Errorf("the forwarder ended: %v", fwd.Wait(0))
		default:
		}
	}
}

// settle waits until the counters have stood still for a while: a kernel map sends no event.
func (b *bench) settle(keys []uint32) (counts []uint64, err error) {
	last, same := uint64(0), 0
	for range 80 {
		if counts, err = b.count.Read(keys); err != nil {
			return nil, err
		}
		sum := uint64(0)
		for _, x := range counts {
			sum += x
		}
		if same++; sum != last {
			last, same = sum, 0
		}
		if same == 4 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return counts, nil
}

// window runs the source, and measures between two snapshots.
func (b *bench) window(fwd *lab.Proc, keys []uint32, res *result, base float64, none bool) error {
	begin, err := b.snap(fwd, nil, keys)
	if err != nil {
		return err
	}
	rate := "max"
	if b.pps > 0 {
		rate = strconv.FormatFloat(b.pps, 'f', -1, 64)
	}
	src := pinned(b.src, b.srcCPU, b.mcrgen, "send", "--interface", "hs0", "--group", inGroup, "--port", strconv.Itoa(inPort),
		"--size", strconv.Itoa(b.size), "--rate", rate, "--burst", strconv.Itoa(b.burst), "-o", "json")
	time.Sleep(b.warm)
	x, err := b.snap(fwd, src, keys)
	if err != nil {
		return err
	}
	time.Sleep(b.secs)
	y, err := b.snap(fwd, src, keys)
	if err != nil {
		return err
	}
	if err := src.Stop(); err != nil {
		return fmt.Errorf("source: %w: %s", err, src.Stderr.String())
	}
	if _, err := b.settle(keys); err != nil {
		return err
	}
	end, err := b.snap(fwd, nil, keys)
	if err != nil {
		return err
	}
	var sent stream.Sent
	if err := json.Unmarshal([]byte(src.Stdout.String()), &sent); err != nil {
		return fmt.Errorf("source: %w", err)
	}
	res.Sent = sent.Sent
	res.BacklogDrop, res.RcvbufErr = uint64(end.drop-begin.drop), uint64(end.rcv-begin.rcv)
	return res.figures(begin, x, y, end, base, none)
}

// figures computes: rates and costs between x and y, losses between begin and end.
func (r *result) figures(begin, x, y, end snap, base float64, none bool) error {
	r.Secs = y.t.Sub(x.t).Seconds()
	in, out := y.in-x.in, y.out-x.out
	r.In, r.Out = in/r.Secs, out/r.Secs
	total := y.fwd - x.fwd + y.src - x.src + y.ksAll - x.ksAll
	if in == 0 || (out == 0 && !none) {
		return fmt.Errorf("nothing moved: in %.0f, out %.0f", in, out)
	}
	if none {
		r.TotalNsOut = total / in // here: the bare source's cost for a datagram
		return nil
	}
	own := y.fwd - x.fwd + y.ksFwd - x.ksFwd
	r.NsOut, r.NsIn, r.TotalNsOut = own/out, own/in, (total-base*in)/out
	r.CPU = (y.fwd - x.fwd) / r.Secs / 1e9
	if t := y.ticksU - x.ticksU + y.ticksS - x.ticksS; t > 0 {
		r.User = (y.ticksU - x.ticksU) / t
	}
	r.CtxPerSec, r.RSSMiB, r.Threads = (y.ctx-x.ctx)/r.Secs, y.rss, y.threads
	r.LossMinPct, r.LossMaxPct = math.Inf(1), math.Inf(-1)
	for i := range end.each {
		loss := 100 * (1 - float64(end.each[i]-begin.each[i])/(end.in-begin.in))
		r.LossPct += loss / float64(r.N)
		r.LossMinPct, r.LossMaxPct = math.Min(r.LossMinPct, loss), math.Max(r.LossMaxPct, loss)
	}
	return nil
}
