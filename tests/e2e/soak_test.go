// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	gnmipb "github.com/openconfig/gnmi/proto/gnmi"

	"mcr/tests/lab"
)

// plant is one input with many standing branches: a few have a receiver that judges what comes, the others one that counts.
//
//	src eth0 10.0.1.1 ── 10.0.1.2 in rtr out 10.0.2.1 ── 10.0.2.2 eth0 dst, local 10.9.0.0/16
type plant struct {
	*bed
	branches []netip.AddrPort
	sinks    map[int]*lab.Sink // by branch
	tally    *lab.Tally
	before   map[netip.AddrPort]uint64 // counted when the account begins
	listed   []uint64                  // what each branch had counted then
}

// newPlant starts mcrd with n standing branches and further outputs in its rule "r".
func newPlant(t *testing.T, engine string, n, judges int, more ...obj) *plant {
	t.Helper()
	p := &plant{bed: newBed(t), sinks: map[int]*lab.Sink{}}
	p.rtr.Route("10.9.0.0/16", "10.0.2.2")
	p.dst.Run("ip", "route", "add", "local", "10.9.0.0/16", "dev", "lo")
	outputs := more
	var counted []netip.AddrPort
	for i := range n {
		a := branchAddr(i)
		p.branches = append(p.branches, a)
		outputs = append(outputs, uni(fmt.Sprint("b", i), "out", a.Addr().String(), 5000))
		if judges > 0 && i%(n/judges) == 0 {
			p.sinks[i] = p.dst.Sink(a.String())
		} else {
			counted = append(counted, a)
		}
	}
	p.tally = p.dst.Tally(counted...)
	p.startWith(engine, ruleOn("r", "in", outputs...))
	return p
}

// stream is what the plant is fed with.
func (p *plant) stream(rate float64) lab.Stream {
	s := steady(rate, 0)
	s.Size = 1316
	return s
}

// capacity is how many datagrams a second get through when more come than can.
func (p *plant) capacity(d time.Duration) float64 {
	p.t.Helper()
	s := p.src.StartSend(p.stream(0))
	time.Sleep(d / 4)
	begin, first := time.Now(), p.packets()
	time.Sleep(d)
	n, took := p.packets()-first, time.Since(begin)
	s.Stop()
	p.settle()
	return float64(n) / took.Seconds()
}

const rulePackets = "/state/counters/packets"

// packets is what the rule has fanned out.
func (p *plant) packets() uint64 {
	p.t.Helper()
	return p.c.get(rulePath("r") + rulePackets).num(rulePath("r") + rulePackets)
}

// settle waits until nothing is under way, and begins the account.
func (p *plant) settle() {
	p.t.Helper()
	p.quiet()
	p.before, p.listed = p.counts(), p.sent()
}

// counts is what each branch's receiver has got.
func (p *plant) counts() map[netip.AddrPort]uint64 {
	p.t.Helper()
	all := p.tally.Counts()
	for i, s := range p.sinks {
		all[p.branches[i]] = s.Received()
	}
	return all
}

// quiet waits until the input's queues are empty and what came of them has arrived.
func (p *plant) quiet() {
	p.t.Helper()
	last, since := p.counts(), time.Now()
	lab.Until(p.t, time.Minute, "the traffic ends", func() error {
		now, waiting := p.counts(), p.rtr.Waiting(netip.MustParseAddrPort(group+":5000"))
		if waiting > 0 || !maps.Equal(now, last) {
			last, since = now, time.Now()
			return fmt.Errorf("%d bytes wait in the input's queues", waiting)
		}
		if time.Since(since) < 3*quiet {
			return errNothing
		}
		return nil
	})
}

// account demands that each standing branch got exactly what its counter says was sent to it since settle, and returns the least
// of these. The last run is counted before it is sent: what is missing may come for a while.
func (p *plant) account() (least uint64) {
	p.t.Helper()
	p.quiet()
	var got, want []uint64
	off := func() (wrong []int) {
		now, sent := p.counts(), p.sent()
		got, want = got[:0], want[:0]
		for i, a := range p.branches {
			got, want = append(got, now[a]-p.before[a]), append(want, sent[i]-p.listed[i])
			if got[i] != want[i] {
				wrong = append(wrong, i)
			}
		}
		return wrong
	}
	wrong := off()
	for deadline := time.Now().Add(patience); len(wrong) > 0 && time.Now().Before(deadline); wrong = off() {
		time.Sleep(quiet)
	}
	for n, i := range wrong {
		if n == 5 {
			p.t.Errorf("and %d branches more", len(wrong)-n)
			break
		}
		p.t.Errorf("branch %d got %d datagrams of %d\n%v", i, got[i], want[i], p.c.output("r", fmt.Sprint("b", i)))
	}
	for i, s := range p.sinks {
		if r := s.Report(0); r.Duplicated+r.Corrupted+r.Foreign+r.Reordered > 0 {
			p.t.Errorf("branch %d: %s", i, s)
		}
	}
	return slices.Min(got)
}

// sent is what each branch counted as sent.
func (p *plant) sent() []uint64 {
	p.t.Helper()
	all := p.c.get(rulePath("r") + "/outputs/output[name=*]/state/counters/packets")
	out := make([]uint64, len(p.branches))
	for i := range out {
		out[i] = all.num(outputPath("r", fmt.Sprint("b", i)) + rulePackets)
	}
	return out
}

// guests are branches that come, change and go; they and what becomes of them are drawn at random.
type guests struct {
	rng  *rand.Rand
	here map[int]bool
	most int
}

// changes are n changes of the table, each of another guest: in one Set deletes come first, whatever their place.
func (g *guests) changes(n int) *gnmipb.SetRequest {
	req := &gnmipb.SetRequest{}
	for _, i := range g.rng.Perm(g.most)[:n] {
		g.change(req, i)
	}
	return req
}

func (g *guests) change(req *gnmipb.SetRequest, i int) {
	name := fmt.Sprint("guest", i)
	path := outputPath("r", name)
	dest := netip.AddrFrom4([4]byte{10, 9, 200, byte(1 + g.rng.IntN(100))})
	bring := func() {
		o := uni(name, "out", dest.String(), 7000+i)
		switch g.rng.IntN(4) {
		case 0:
			o = with(o, obj{"ttl": 1 + g.rng.IntN(255)})
		case 1:
			o = with(o, obj{"dscp": g.rng.IntN(64)})
		case 2:
			o = multi(name, "out", fmt.Sprint("239.7.0.", 1+i), 7000+i)
		}
		req.Replace = append(req.Replace, put(path, o))
		g.here[i] = true
	}
	switch {
	case !g.here[i]:
		bring()
	case g.rng.IntN(3) == 0:
		req.Delete = append(req.Delete, parsePath(path))
		delete(g.here, i)
	case g.rng.IntN(2) == 0:
		bring()
	default:
		req.Update = append(req.Update, put(path+"/config/enabled", g.rng.IntN(2) == 0))
	}
}

// A hundred table changes a second, at random, at three quarters of what the machine can: a thousand standing branches lose
// nothing and get nothing twice, and memory, sockets and rings stay flat. P1.6, P4.4, Q1, Q2.
func TestSoak_TableChanges(t *testing.T) { // not parallel: it takes what there is
	const branches, guestsMost, perSecond, each = 1000, 100, 100, 5
	for _, engine := range soakEngines() {
		t.Run(engine, func(t *testing.T) {
			p := newPlant(t, engine, branches, 4)
			// Guests are nobody's: what is sent to them goes to a port that a socket holds for all of 10.9/16.
			for i := range guestsMost {
				listen(t, p.dst, "0.0.0.0", 7000+i)
			}
			full := p.capacity(length(time.Second, 3*time.Second))
			rate := 0.75 * full
			guest := outputPath("r", "guest0") // whatever is opened once by a small change is open now
			p.c.must(p.c.replace(guest, uni("guest0", "out", "10.9.200.1", 7000)))
			p.c.must(p.c.remove(guest))
			p.settle()
			empty := settled(t, p.d)
			overrun, ring := p.c.rule("r").num("counters/dropped-overrun"), rings(p.c)

			s := p.src.StartSend(p.stream(rate))
			g := &guests{rng: rand.New(rand.NewPCG(5, 75)), here: map[int]bool{}, most: guestsMost}
			tick := time.NewTicker(time.Second * each / perSecond)
			defer tick.Stop()
			var took []time.Duration
			begin, changes, warm := time.Now(), 0, 0
			end := length(8*time.Second, 10*time.Minute)
			for time.Since(begin) < end {
				<-tick.C
				req := g.changes(each)
				at := time.Now()
				p.c.must(p.c.set(req))
				took = append(took, time.Since(at))
				if changes += each; warm == 0 && time.Since(begin) > end/4 {
					warm = resident(t, p.d)
				}
			}
			lasted := time.Since(begin)
			sent := s.Stop().Sent
			grown := resident(t, p.d) - warm
			req := &gnmipb.SetRequest{}
			for i := range g.here {
				req.Delete = append(req.Delete, parsePath(outputPath("r", fmt.Sprint("guest", i))))
			}
			p.c.must(p.c.set(req))
			got := p.account()
			lost := p.c.rule("r").num("counters/dropped-overrun") - overrun
			if got != sent || lost != 0 {
				t.Errorf("%d datagrams were sent at three quarters of the capacity, a branch got %d, the input's queues lost %d", sent, got, lost)
			}
			if did := float64(changes) / lasted.Seconds(); *soak && did < 0.9*perSecond {
				t.Errorf("%.0f changes a second, want %d", did, perSecond)
			}
			becomes(t, p.d, empty, "after the guests have gone")
			if now := rings(p.c); now != ring {
				t.Errorf("%s rings, %s before", now, ring)
			}
			if grown > length(64<<10, 16<<10) { // the heap of a short run still finds its size
				t.Errorf("memory grew by %d kB", grown)
			}
			slices.Sort(took)
			t.Logf("%s: capacity %.0f datagrams/s; %.0f/s for %v, %d changes (%.0f/s; a Set of %d: median %v, longest %v); "+
				"%d datagrams to each of %d branches, none lost; rings %s, memory %+d kB",
				engine, full, float64(sent)/lasted.Seconds(), lasted.Round(time.Second), changes, float64(changes)/lasted.Seconds(), each,
				took[len(took)/2].Round(100*time.Microsecond), took[len(took)-1].Round(time.Millisecond), got, branches, rings(p.c), grown)
		})
	}
}

// rings is how many rings there are.
func rings(c *client) string {
	c.t.Helper()
	const path = "mcr/dataplane/state/ring-count"
	return c.get(path)[path]
}

// soakEngines are the engines to soak: all in full length, and the first choice in the suite.
func soakEngines() []string {
	if *soak {
		return []string{"uring", "mmsg"}
	}
	return []string{"uring"}
}

// One of a thousand branches is replaced again and again at full load, when more comes than can be sent: all others get all
// that is fanned out. P1.6, P4.4.
func TestSoak_ReplaceOneOfAThousand(t *testing.T) { // not parallel: it takes what there is
	for _, engine := range soakEngines() {
		t.Run(engine, func(t *testing.T) {
			p := newPlant(t, engine, 1000, 4)
			for i := range 2 {
				listen(t, p.dst, "0.0.0.0", 7000+i)
			}
			p.settle()
			s := p.src.StartSend(p.stream(0))
			rounds := length(20, 1000)
			begin := time.Now()
			for i := range rounds {
				p.c.must(p.c.replace(outputPath("r", "guest"), uni("guest", "out", fmt.Sprint("10.9.200.", 1+i%200), 7000+i%2)))
			}
			took := time.Since(begin)
			s.Stop()
			t.Logf("%s: %d replacements in %v, %d datagrams and more to each of the others meanwhile, none lost", engine, rounds, took.Round(time.Millisecond), p.account())
		})
	}
}

// One dead branch of a hundred, a neighbour that never answers, costs the others no datagram; how far it moves the 99th
// percentile of their delay is told, and held to a tenth where the machine does nothing else. When it can be reached it gets
// what is sent from then on. P4.3, F1.
func TestSoak_OneDeadOfAHundred(t *testing.T) { // not parallel: it measures
	const branches, judges, port = 100, 4, 7000
	for _, engine := range soakEngines() {
		t.Run(engine, func(t *testing.T) {
			p := newPlant(t, engine, branches, 0)
			p.rtr.Sysctl("net/ipv4/neigh/out/retrans_time_ms", "100") // given up after 0.3 s
			listen(t, p.dst, "10.9.200.1", port)
			next := 6000 // a port of its own for each round: nothing of an earlier one comes here
			measure := func(guest string) (p99 float64) {
				next++
				outputs := []obj{uni("guest", "out", guest, port)}
				var sinks []*lab.Sink
				for i := range branches - 1 {
					to := 5000
					if i%(branches/judges) == 0 {
						to = next
						sinks = append(sinks, p.dst.Sink(fmt.Sprint(branchAddr(i).Addr(), ":", to)))
					}
					outputs = append(outputs, uni(fmt.Sprint("b", i), "out", branchAddr(i).Addr().String(), to))
				}
				p.c.must(p.c.setRules(ruleOn("r", "in", outputs...)))
				p.before = p.tally.Counts()
				s := p.stream(1000)
				s.Count = length[uint64](1500, 5000)
				p.src.Send(s)
				for _, sink := range sinks {
					p99 = max(p99, sink.Exactly(s.Count).Latency.P99)
					sink.Close()
				}
				p.quiet()
				for a, n := range p.tally.Counts() { // the others take nothing meanwhile
					if got := n - p.before[a]; a.Port() == 5000 && got != 0 && got != s.Count {
						t.Errorf("%v got %d of %d", a, got, s.Count)
					}
				}
				return p99
			}
			var live, dead, ratio []float64
			for range length(3, 15) {
				l, d := measure("10.9.200.1"), measure("10.0.2.99")
				live, dead, ratio = append(live, l), append(dead, d), append(ratio, d/l)
			}
			moved := median(ratio) - 1
			t.Logf("%s: p99 %.0f µs with all alive, %.0f µs with one dead: %+.0f %%", engine, median(live), median(dead), 100*moved)
			if *soak && moved > 0.10 {
				t.Errorf("one dead branch moves the others' p99 by %.0f %%, want at most 10 %%", 100*moved)
			}

			s := p.src.StartSend(p.stream(1000))
			p.c.follow(outputPath("r", "guest")+"/state").is(patience, outputPath("r", "guest")+"/state/down-reason", "send-failing")
			p.dst.Addr("eth0", "10.0.2.99/24")
			late := p.dst.Sink(fmt.Sprint("10.0.2.99:", port))
			late.Wait(1, patience)
			first := p.packets()
			had := late.Received()
			reaches(late, 2000, patience)
			got, want := late.Received()-had, p.packets()-first
			s.Stop()
			if got*100 < want*99 {
				t.Errorf("the one that can be reached again got %d of %d", got, want)
			}
		})
	}
}

// Another engine and another number of workers, again and again, at three quarters of what the dearer engine can: what comes while the
// workers are replaced waits in the sockets. Each branch gets each datagram, once. Q1, P1.6.
func TestSoak_Restarts(t *testing.T) { // not parallel: it takes what there is
	const knobs, state = "mcr/dataplane/config", "mcr/dataplane/state"
	p := newPlant(t, "mmsg", 100, 4)
	d := daemon{p.d, p.c}
	use := func(engine string, workers int) {
		d.must(d.replace(knobs, obj{"engine": engine, "workers": workers}))
		d.await(state+"/worker-count", fmt.Sprint(workers))
		d.await(state+"/engine-used", engine)
	}
	all := min(runtime.NumCPU(), 4)
	full := math.Inf(1)
	for _, engine := range []string{"mmsg", "uring"} {
		use(engine, 1)
		full = min(full, p.capacity(length(time.Second, 3*time.Second)))
	}
	overrun := p.c.rule("r").num("counters/dropped-overrun")
	p.settle()
	s := p.src.StartSend(p.stream(0.75 * full))
	begin, restarts := time.Now(), 0
	for time.Since(begin) < length(5*time.Second, time.Minute) {
		for _, c := range []struct {
			engine  string
			workers int
		}{{"uring", 1}, {"uring", all}, {"uring", 1}, {"mmsg", 1}, {"mmsg", all}} {
			use(c.engine, c.workers)
			restarts++
		}
	}
	took := time.Since(begin)
	sent := s.Stop().Sent
	got := p.account()
	lost := p.c.rule("r").num("counters/dropped-overrun") - overrun
	if got != sent || lost != 0 {
		t.Errorf("%d datagrams were sent, a branch got %d, the input's queues lost %d", sent, got, lost)
	}
	t.Logf("capacity of the dearer engine %.0f datagrams/s; %d restarts in %v at %.0f/s: %d datagrams to each of 100 branches, none lost, none twice",
		full, restarts, took.Round(time.Second), float64(sent)/took.Seconds(), got)
}

var gcTrace = regexp.MustCompile(`(?m)^gc \d+ @.*: ([\d.]+)\+[\d.]+\+([\d.]+) ms clock`)

// How long mcrd stands still for a garbage collection with ten thousand outputs, more traffic than it can send, ten changes of the table
// and all counters to a collector in each second: what the runtime says of itself. It collects five times as often as it would, so
// that there is something to measure. On a CPU of its own, as where source, receivers and collector are other machines, that is at most
// 2 ms; where all share the CPUs threads wait for these as well, and it is told. Q2.
func TestSoak_Pauses(t *testing.T) { // not parallel: it measures
	if !*soak {
		t.Skip("a figure, and two minutes of a machine that does nothing else: make soak")
	}
	t.Run("own-cpu", func(t *testing.T) {
		cpus := lab.CPUs(t)
		if len(cpus) < 2 {
			t.Skip("needs two CPUs: one for mcrd, one for everything else")
		}
		if most := pauses(t, cpus); most > 2 {
			t.Errorf("mcrd stood still for %.2f ms, want at most 2 ms", most)
		}
	})
	t.Run("shared", func(t *testing.T) { pauses(t, nil) })
}

// pauses returns the longest pause, in milliseconds. mcrd has the first of the CPUs, and this program the others; none: both have all.
func pauses(t *testing.T, cpus []int) (most float64) {
	t.Helper()
	const outputs, seconds = 10_000, 60
	b := newBed(t)
	b.rtr.Sysctl("net/ipv4/ip_local_port_range", "40000 41999")
	b.manyReceivers()
	b.dst.Sink("0.0.0.0:5000")
	c := lab.MCRDConfig{Env: []string{"GODEBUG=gctrace=1", "GOGC=20"}}
	if len(cpus) > 0 {
		c.Under = []string{"taskset", "-c", fmt.Sprint(cpus[0])}
		lab.PinSelf(t, cpus[1:]...)
	}
	b.d = b.rtr.MCRD(c)
	b.c = dial(t, b.d)
	conn := bigConn(t, b.d)
	m := &meter{t: t, d: b.d, conn: conn, c: &client{t, gnmipb.NewGNMIClient(conn)}}
	m.c.must(m.c.set(&gnmipb.SetRequest{Replace: []*gnmipb.Update{put(rulePath("r"), ruleOn("r", "in", manyOutputs(outputs, nil)...))}}))
	first := len(gcTrace.FindAllString(b.d.Stderr.String(), -1))
	s := b.src.StartSend(steady(0, 0))
	ctx, cancel := context.WithCancel(t.Context())
	changed := make(chan error, 1)
	go func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		var err error
		for n := 0; err == nil && ctx.Err() == nil; n++ {
			<-tick.C
			err = b.c.update(outputPath("r", "b0")+"/config", obj{"ttl": 1 + n%200})
		}
		changed <- err
	}()
	m.sample(outputs, seconds) // how late they are is told: more is to be sent than can
	cancel()
	m.c.must(<-changed)
	s.Stop()
	var all []float64
	for _, line := range gcTrace.FindAllStringSubmatch(b.d.Stderr.String(), -1)[first:] {
		for _, f := range line[1:] {
			ms, err := strconv.ParseFloat(f, 64)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, ms)
		}
	}
	if len(all) == 0 {
		t.Fatal("there was no garbage collection")
	}
	slices.Sort(all)
	most = all[len(all)-1]
	t.Logf("%d pauses: median %.2f ms, 99 %% within %.2f ms, longest %.2f ms", len(all), median(all), all[(len(all)*99-1)/100], most)
	return most
}
