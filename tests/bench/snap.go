// SPDX-License-Identifier: Apache-2.0

package main

// Counters from /proc.

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"mcr/tests/lab"
)

// snap is the state of everything at one moment: ns of CPU, ticks, packets.
type snap struct {
	t                            time.Time
	fwd, src, self, ksFwd, ksAll float64
	ticksU, ticksS               float64
	busy, steal                  float64 // of the whole machine, seconds of CPU
	ctx, in, out, drop, rcv      float64
	rss                          float64
	threads                      int
	each                         []uint64 // copies by destination
}

func (o *one) snap(src *lab.Proc) (s snap, err error) {
	if s.each, err = o.count.Read(o.keys); err != nil {
		return s, err
	}
	for _, x := range s.each {
		s.out += float64(x)
	}
	pid := o.fwd.Pid()
	s.t, s.in, s.drop = time.Now(), netDev(pid, inIface), softnetDrops()
	s.rcv = snmp(pid, "Udp:", "RcvbufErrors")
	for _, p := range processes(pid) {
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
	s.self, _, _ = taskSums(os.Getpid())
	s.busy, s.steal = machineCPU()
	for cpu, p := range ksoftirqd {
		ns, _, _ := taskSums(p)
		s.ksAll += ns
		if inList(o.fwdCPU, cpu) {
			s.ksFwd += ns
		}
	}
	return s, nil
}

// inList says whether a list such as "1,4-6" has the CPU.
func inList(list string, cpu int) bool {
	for part := range strings.SplitSeq(list, ",") {
		from, to, ranged := strings.Cut(part, "-")
		if !ranged {
			to = from
		}
		low, errLow := strconv.Atoi(from)
		high, errHigh := strconv.Atoi(to)
		if errLow == nil && errHigh == nil && low <= cpu && cpu <= high {
			return true
		}
	}
	return false
}

// machineCPU is the first line of /proc/stat: user nice system idle iowait irq softirq steal, in ticks of 10 ms.
func machineCPU() (busy, steal float64) {
	b, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(b), "\n")
	for i, f := range strings.Fields(line) {
		x, _ := strconv.ParseFloat(f, 64)
		switch i {
		case 1, 2, 3, 6, 7:
			busy += x / 100
		case 8:
			steal = x / 100
		}
	}
	return busy, steal
}

func statFields(pid int) []string { // fields from number 3 (state) on
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	i := strings.LastIndexByte(string(b), ')')
	if i < 0 {
		return nil
	}
	return strings.Fields(string(b[i+1:]))
}

// processes lists the processes of the group that pid leads: a forwarder and all its children.
func processes(pid int) (out []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		p, _ := strconv.Atoi(filepath.Base(d))
		if f := statFields(p); len(f) > 2 && f[2] == strconv.Itoa(pid) {
			out = append(out, p)
		}
	}
	return
}

func ticks(pid int) (user, sys float64) {
	if f := statFields(pid); len(f) > 12 {
		user, _ = strconv.ParseFloat(f[11], 64)
		sys, _ = strconv.ParseFloat(f[12], 64)
	}
	return
}

// taskSums adds up the threads: ns on CPU (schedstat: exact, and it includes the softirq work that the kernel does
// on the thread's time), voluntary context switches, and their number. io_uring workers are threads too.
func taskSums(pid int) (cpu, ctx float64, n int) {
	ts, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	for _, t := range ts {
		b, err := os.ReadFile(t + "/schedstat")
		if err != nil {
			continue
		}
		x, _ := strconv.ParseFloat(strings.Fields(string(b))[0], 64)
		cpu += x
		ctx += statusField(t+"/status", "voluntary_ctxt_switches:")
		n++
	}
	return
}

func statusField(file, name string) float64 {
	b, _ := os.ReadFile(file)
	for _, l := range strings.Split(string(b), "\n") {
		if f := strings.Fields(l); len(f) > 1 && f[0] == name {
			x, _ := strconv.ParseFloat(f[1], 64)
			return x
		}
	}
	return 0
}

var ksoftirqd = func() map[int]int { // CPU -> pid
	m := map[int]int{}
	dirs, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, d := range dirs {
		b, _ := os.ReadFile(d)
		if s, ok := strings.CutPrefix(strings.TrimSpace(string(b)), "ksoftirqd/"); ok {
			cpu, _ := strconv.Atoi(s)
			m[cpu], _ = strconv.Atoi(filepath.Base(filepath.Dir(d)))
		}
	}
	return m
}()

// netDev returns the packets received on an interface of the process's namespace.
func netDev(pid int, dev string) float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", pid))
	for _, l := range strings.Split(string(b), "\n") {
		if name, rest, ok := strings.Cut(strings.TrimSpace(l), ":"); ok && name == dev {
			x, _ := strconv.ParseFloat(strings.Fields(rest)[1], 64)
			return x
		}
	}
	return 0
}

func snmp(pid int, table, name string) float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/snmp", pid))
	var head []string
	for _, l := range strings.Split(string(b), "\n") {
		f := strings.Fields(l)
		if len(f) == 0 || f[0] != table {
			continue
		}
		if head == nil {
			head = f
			continue
		}
		for i := range f {
			if head[i] == name {
				x, _ := strconv.ParseFloat(f[i], 64)
				return x
			}
		}
	}
	return 0
}

// softnetDrops: packets dropped because a CPU's backlog (net.core.netdev_max_backlog) was full. No sender sees these.
func softnetDrops() (t float64) {
	b, _ := os.ReadFile("/proc/net/softnet_stat")
	for _, l := range strings.Split(string(b), "\n") {
		if f := strings.Fields(l); len(f) > 1 {
			x, _ := strconv.ParseUint(f[1], 16, 64)
			t += float64(x)
		}
	}
	return
}
