// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gnmipb "github.com/openconfig/gnmi/proto/gnmi"

	"mcr/tests/lab"
)

// Five thousand interfaces, made under traffic, and then a thousand changes of them a second: telemetry catches up with the kernel, leaf by
// leaf, an ON_CHANGE subscriber too, and standing branches lose nothing. P2.1, F3.
func TestSoak_ManyInterfaces(t *testing.T) { // not parallel: it measures
	const branches, perSecond = 20, 1000
	interfaces := length(2000, 5000)
	p := newPlant(t, "", branches, 2)
	p.c = bigClient(t, p.d)
	p.c.must(p.c.update("mcr/forwarding/config/auto-her-for-p2p-tunnels", true))
	p.settle()
	told := &replica{}
	stream := p.c.subscribe(onChange(gnmipb.Encoding_PROTO, "interfaces", "mcr/tunnel-endpoints"), func(r *gnmipb.SubscribeResponse) {
		if n := r.GetUpdate(); n != nil {
			told.apply(n)
		}
	})
	stream.inSync(t)
	a := agreement{daemon: daemon{p.d, p.c}, h: p.rtr, autoHER: true}
	overrun := p.c.rule("r").num("counters/dropped-overrun")
	s := p.src.StartSend(p.stream(2000))

	begin := time.Now()
	batch := &ipBatch{t: t, h: p.rtr, file: filepath.Join(t.TempDir(), "batch")}
	for i := range interfaces / 2 { // pairs; every other one is without IFF_MULTICAST, and so has an endpoint
		batch.add("link add n%d type veth peer name m%d", i, i)
		batch.add("addr add 10.%d.%d.1/30 dev n%d", 100+i>>8, i&255, i)
		batch.add("link set n%d multicast %s up", i, []string{"on", "off"}[i%2])
		batch.add("link set m%d up", i)
		if i%500 == 499 {
			batch.run()
		}
	}
	batch.run()
	made := time.Since(begin)
	known := a.agree(t, "once they are made", told, stream)
	t.Logf("%d interfaces made in %v, known %v after the last, %d leaves, a Get of all takes %v; %d MB resident, %d netlink messages lost",
		interfaces, made.Round(time.Millisecond), known.after.Round(time.Millisecond), known.count, known.get.Round(time.Millisecond), resident(t, p.d)>>10, netlinkDrops(t, p.rtr))

	rng, used := rand.New(rand.NewPCG(3, 9)), processorTime(t, p.d)
	off, gone := make([]bool, interfaces/2), make([]bool, interfaces/2)
	toggle := func(state []bool, i int, yes, no string) {
		words := yes
		if state[i] {
			words = no
		}
		state[i] = !state[i]
		batch.add("%s", words)
	}
	const each = 50
	tick := time.NewTicker(time.Second * each / perSecond)
	defer tick.Stop()
	begin, changes := time.Now(), 0
	for end := length(5*time.Second, 30*time.Second); time.Since(begin) < end; {
		<-tick.C
		for range each {
			i := rng.IntN(interfaces / 2)
			switch rng.IntN(4) {
			case 0:
				batch.add("link set n%d mtu %d", i, 1300+rng.IntN(200))
			case 1:
				toggle(off, i, fmt.Sprintf("link set n%d down", i), fmt.Sprintf("link set n%d up", i))
			case 2:
				batch.add("link set n%d multicast %s", i, []string{"on", "off"}[rng.IntN(2)])
			default:
				addr := fmt.Sprintf("10.%d.%d.1/30 dev n%d", 100+i>>8, i&255, i)
				toggle(gone, i, "addr del "+addr, "addr add "+addr)
			}
		}
		batch.run()
		changes += each
	}
	lasted := time.Since(begin)
	known = a.agree(t, "after the storm", told, stream)
	used = processorTime(t, p.d) - used
	sent := s.Stop().Sent
	got := p.account()
	if lost := p.c.rule("r").num("counters/dropped-overrun") - overrun; got != sent || lost != 0 {
		t.Errorf("%d datagrams were sent, a standing branch got %d, the input's queues lost %d", sent, got, lost)
	}
	logged(t, p.d, 0, 0, "level=ERROR")
	t.Logf("%d changes in %v (%.0f a second): all known to the subscriber %v after the last, %d leaves; %d datagrams to each of %d branches, none lost; %v of processor, %d netlink messages lost in all",
		changes, lasted.Round(time.Millisecond), float64(changes)/lasted.Seconds(), known.after.Round(time.Millisecond), known.count, got, branches, used.Round(time.Millisecond), netlinkDrops(t, p.rtr))
	if did := float64(changes) / lasted.Seconds(); *soak && did < 0.9*perSecond {
		t.Errorf("%.0f changes a second, want %d", did, perSecond)
	}
	if most := length(30*time.Second, 10*time.Second); known.after > most {
		t.Errorf("telemetry caught up after %v, more than %v", known.after, most)
	}
}

// agreed is how many leaves were compared, how long the subscriber took to know them, and how long one Get of them took.
type agreed struct {
	count      int
	after, get time.Duration
}

// agree waits until what mcrd told its subscriber is what the kernel has, and demands the same of what it answers then. The kernel itself
// takes up to a second to know that the other end of a pair went down, so it is asked each time.
func (a agreement) agree(t *testing.T, what string, told *replica, stream *subscription) (is agreed) {
	t.Helper()
	begin := time.Now()
	var want leaves
	for {
		stream.running(t)
		want = compared(a.want())
		is.count, is.after = len(want), time.Since(begin) // what ip(8) takes is in it
		err := differences(compared(told.leaves()), want)
		if err == nil {
			break
		}
		if is.after > time.Minute {
			t.Fatalf("%s: the subscriber, after a minute: %v", what, err)
		}
	}
	begin = time.Now()
	got := a.get("interfaces", "mcr/tunnel-endpoints")
	is.get = time.Since(begin)
	if err := differences(compared(got), want); err != nil {
		t.Fatalf("%s: Get: %v", what, err)
	}
	return is
}

// ipBatch gathers commands of ip(8) for one run of it.
type ipBatch struct {
	t    *testing.T
	h    *lab.Host
	file string
	text strings.Builder
}

func (b *ipBatch) add(format string, a ...any) { fmt.Fprintf(&b.text, format+"\n", a...) }

func (b *ipBatch) run() {
	b.t.Helper()
	if err := os.WriteFile(b.file, []byte(b.text.String()), 0o644); err != nil {
		b.t.Fatal(err)
	}
	b.text.Reset()
	b.h.Run("ip", "-batch", b.file)
}
