// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"
	"time"

	"mcr/tests/lab"
)

const (
	inIface, outIface = "hr0", "hr1"
	inGroup, inPort   = "239.1.1.1", 5000
	maxDestinations   = 60000
)

// config is what holds for all jobs.
type config struct {
	srcCPU, fwdCPU string
	ready          time.Duration
	verbose        bool
}

// bench is the topology and what is measured in it.
type bench struct {
	*config
	t             lab.TB
	src, rtr, dst *lab.Host
	count         *counter
	speed         *speeds // of the forwarder's CPU; nil: not measured
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
	b.dst.Sysctl("net/ipv4/icmp_ratelimit", "0") // a closed port answers each datagram
	err := b.dst.Do(func() (err error) { b.count, err = newCounter(b.dst.Index("hd0")); return err })
	if err != nil {
		t.Fatalf("counting sink: %v", err)
	}
	t.Cleanup(b.count.Close)
	return b
}

// settleIn keeps this program from the forwarder's CPU, but for the meter of its speed.
func (b *bench) settleIn() {
	if cpu, err := strconv.Atoi(b.srcCPU); err == nil { // else a list: the user knows better
		lab.PinSelf(b.t, cpu)
	}
	stop, err := b.meter()
	if err != nil {
		b.t.Logf("the speed of CPU %s is not measured: %v", b.fwdCPU, err)
		return
	}
	b.t.Cleanup(stop)
}

// shape makes the links what the job wants.
func (b *bench) shape(j job) {
	mtu := 1500
	if j.jumbo() {
		mtu = 9000
	}
	for _, l := range []struct {
		h    *lab.Host
		name string
	}{{b.src, "hs0"}, {b.rtr, inIface}, {b.rtr, outIface}, {b.dst, "hd0"}} {
		l.h.MTU(l.name, mtu)
	}
	segs := "65535"
	if j.NoUSO { // a packet of more than gso_max_segs segments is cut up before the driver
		segs = "1"
	}
	b.rtr.Run("ip", "link", "set", outIface, "gso_max_segs", segs)
	b.src.NoSegmentationOffload("hs0") // what comes are single datagrams, as from a wire, however the source sends them
}

func (j job) mtu() int {
	if j.jumbo() {
		return 9000
	}
	return 1500
}

// job does what s does not have yet: the forwarders in turn, A B C, A B C, …
func (b *bench) job(j job, s *store) {
	b.shape(j)
	for round := 1; round <= j.Rounds; round++ {
		source := 0.0
		if j.Source {
			r := b.once(j, bare, round, s, 0)
			if r.Error != "" {
				b.t.Fatalf("bare source: %s", r.Error)
			}
			source = r.TotalNsOut
		}
		for _, name := range j.Forwarders {
			b.once(j, parseForwarder(name), round, s, source)
		}
	}
}

// once does one run, unless s has it.
func (b *bench) once(j job, f forwarder, round int, s *store, source float64) result {
	if r, ok := s.find(j.key(f.name, round)); ok && r.Error == "" {
		return r
	}
	asked := j
	if j.Share > 0 {
		if j.Rate = j.Share * b.capacity(j, f, round); j.Rate == 0 {
			b.t.Logf("%v: %s: its capacity is not known", j, f.name)
			return result{Error: "capacity not known"}
		}
	}
	r := b.runSteadily(j, f, round, source)
	if b.t.Context().Err() != nil {
		b.t.Fatalf("interrupted; the same command goes on from here")
	}
	r.Rate, r.Share = asked.Rate, asked.Share
	if err := s.add(r); err != nil {
		b.t.Fatalf("%v", err)
	}
	b.t.Logf("%v round %d %s: %s", asked, round, f.name, r.line())
	return r
}

// runSteadily is run, and at most twice more where the machine stood still or was slow.
func (b *bench) runSteadily(j job, f forwarder, round int, source float64) result {
	r := b.run(j, f, round, source)
	for try := 0; try < 2 && (r.stalled(j) || r.slow()); try++ {
		b.t.Logf("%v round %d %s: once more: %s", j, round, f.name, r.line())
		r = b.run(j, f, round, source)
	}
	return r
}

// capacity is how many datagrams a second f takes out of a saturated input; 0: not known. It is measured just before it is needed, since what
// a machine shared with others can do changes within minutes.
func (b *bench) capacity(j job, f forwarder, round int) float64 {
	j.Rate, j.Share, j.Check, j.Time = 0, 0, false, min(j.Time, 5*time.Second)
	r := b.runSteadily(j, f, round, 0)
	if r.Error != "" {
		b.t.Logf("%v saturated: %s", j, r.line())
		return 0
	}
	return r.Out / float64(j.N)
}

// stalled says that the machine stood still meanwhile: that is no measurement.
func (r *result) stalled(j job) bool {
	return r.Error == "" && r.Secs > 1.15*j.Time.Seconds()+0.05
}

// slow says that the forwarder's CPU did not have its speed: on average, or for a while in which copies that were lost may have been.
func (r *result) slow() bool {
	return r.Error == "" && (r.Speed > 0 && r.Speed < fullSpeed || r.Slow > 0 && r.Lost != nil && *r.Lost > 0)
}

// pinned starts a program on one CPU.
func pinned(h *lab.Host, cpu string, args ...string) *lab.Proc {
	return h.Start(append([]string{"taskset", "-c", cpu}, args...)...)
}

func (r *result) line() string {
	if r.Error != "" {
		return "not measured: " + r.Error
	}
	s := fmt.Sprintf("%.0f ns/output, %.0f/s", r.NsOut, r.Out)
	if r.Lost != nil {
		s += fmt.Sprintf(", %d lost", *r.Lost)
	}
	if r.P50 > 0 {
		s += fmt.Sprintf(", p50 %.1f p99 %.1f µs", r.P50, r.P99)
	}
	if r.Syscalls != nil {
		s += fmt.Sprintf(", %.5f syscalls/output", *r.Syscalls)
	}
	if r.Speed > 0 && r.Speed < fullSpeed {
		s += fmt.Sprintf(", CPU at %.2f of its speed", r.Speed)
	}
	if r.Slow > 0 {
		s += fmt.Sprintf(", for %.2f s below %.2f", r.Slow, slowSpeed)
	}
	if r.Check != "" {
		s += ", " + r.Check
	}
	return s
}
