// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"container/heap"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"
)

// arrival is a datagram at the point under test.
type arrival struct {
	at   time.Duration
	key  uint64
	ttl  uint8
	data string
}

type arrivals []arrival

func (a arrivals) Len() int           { return len(a) }
func (a arrivals) Less(i, j int) bool { return a[i].at < a[j].at }
func (a arrivals) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *arrivals) Push(x any)        { *a = append(*a, x.(arrival)) }
func (a *arrivals) Pop() any {
	old := *a
	last := old[len(old)-1]
	*a = old[:len(old)-1]
	return last
}

// way is one way that a copy takes back to the point.
type way struct {
	key   uint64
	delay time.Duration
	falls uint8 // by how much the TTL falls; 0: it comes back as anew
}

// world is a point with its senders, and perhaps a ring.
type world struct {
	d         Detector
	ways      func(time.Duration) []way
	coming    arrivals
	forwarded int
	held      map[uint64]int // by sender
	looped    time.Duration
	busy      time.Duration // until then
	lost      int           // in the point's receive queue
}

// A point takes this long for a datagram, and so many wait before it.
const (
	service = 3 * time.Microsecond
	queue   = 4000
)

const (
	sender = 10<<16 | 1
	other  = 11<<16 | 1
	relay  = 20<<16 | 1
	relay2 = 21<<16 | 1
)

// run plays until it is over or a loop was found, 200,000 datagrams at most.
func (w *world) run(t *testing.T, end time.Duration) {
	t.Helper()
	w.held = map[uint64]int{}
	heap.Init(&w.coming)
	const begin = 1_700_000_000_000_000_000
	for n := 0; len(w.coming) > 0 && n < 200_000; n++ {
		a := heap.Pop(&w.coming).(arrival)
		if a.at > end {
			return
		}
		if w.busy-a.at > queue*service {
			w.lost++
			continue
		}
		a.at = max(a.at, w.busy)
		w.busy = a.at + service
		now := begin + int64(a.at)
		s, v := w.d.Hear(now, a.key), Pass
		if !w.d.Quick(now, s, []byte(a.data)) {
			v = w.d.Look(now, s, a.ttl, []byte(a.data))
		}
		switch v {
		case Looped:
			w.looped = a.at
			return
		case Hold:
			w.held[a.key]++
			continue
		}
		w.forwarded++
		if w.ways == nil {
			continue
		}
		for _, way := range w.ways(a.at) {
			if a.ttl <= way.falls {
				continue
			}
			heap.Push(&w.coming, arrival{a.at + way.delay, way.key, a.ttl - way.falls, a.data})
		}
	}
}

func (w *world) always(ways ...way) {
	w.ways = func(time.Duration) []way { return ways }
}

// send lets a sender send count datagrams, one each interval.
func (w *world) send(key uint64, begin, interval time.Duration, count int, payload func(i int) string) {
	for i := range count {
		w.coming = append(w.coming, arrival{begin + time.Duration(i)*interval, key, 64, payload(i)})
	}
}

func distinct(i int) string {
	return "payload" + string(binary.BigEndian.AppendUint64(nil, uint64(i))) + "and more of it"
}

func same(int) string { return "still here" }

func carousel(n int) func(int) string { return func(i int) string { return distinct(i % n) } }

// F5: whatever the ring, it is found, and few datagrams were forwarded until then.
func TestRingsAreFound(t *testing.T) {
	const ms, us = time.Millisecond, time.Microsecond
	for _, c := range []struct {
		name    string
		ring    []way
		every   time.Duration // of the sender
		count   int
		payload func(int) string
		most    int // forwarded
	}{
		{"HER, next door, 1,000 pps", []way{{relay, 100 * us, 0}}, ms, 1000, distinct, 500},
		{"HER, next door, one burst", []way{{relay, 100 * us, 0}}, us, 100, distinct, 4000},
		{"HER, 20,000 pps", []way{{relay, 500 * us, 0}}, 50 * us, 100000, distinct, 8000},
		{"HER, far away", []way{{relay, 50 * ms, 0}}, 10 * ms, 1000, distinct, 6000},
		{"HER, one a second", []way{{relay, 200 * us, 0}}, 1000 * ms, 10, distinct, 100},
		{"HER, constant payload", []way{{relay, 200 * us, 0}}, ms, 100000, same, 1000},
		{"HER, constant payload, fast", []way{{relay, 200 * us, 0}}, 50 * us, 100000, same, 4000},
		{"HER, no payload", []way{{relay, 200 * us, 0}}, ms, 100000, func(int) string { return "" }, 1000},
		{"two ways: each round doubles", []way{{relay, 100 * us, 0}, {relay2, 130 * us, 0}}, ms, 1000, distinct, 3000},
		{"five ways", []way{{relay, 100 * us, 0}, {relay2, 130 * us, 0}, {relay, 90 * us, 0}, {relay2, 170 * us, 0}, {relay, 100 * us, 0}}, ms, 1000, distinct, 6000},
		{"multicast, TTL 64", []way{{relay, 100 * us, 2}}, ms, 1000, distinct, 50},
		{"multicast, two ways", []way{{relay, 100 * us, 2}, {relay2, 100 * us, 2}}, ms, 1000, distinct, 100},
		{"both", []way{{relay, 100 * us, 2}, {relay2, 150 * us, 0}}, ms, 1000, distinct, 100},
		{"both from one relay, one burst", []way{{relay, 100 * us, 2}, {relay, 100 * us, 0}}, us, 200, distinct, 1500},
		{"both after a stall", []way{{relay, 100 * ms, 2}, {relay, 101 * ms, 0}}, us, 200, distinct, 5000},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &world{}
			w.always(c.ring...)
			w.send(sender, 0, c.every, c.count, c.payload)
			w.run(t, time.Minute)
			if w.looped == 0 {
				t.Fatalf("not found; %d forwarded, %d lost, held %v", w.forwarded, w.lost, w.held)
			}
			t.Logf("found after %v, %d forwarded, %d lost", w.looped, w.forwarded, w.lost)
			if w.forwarded > c.most {
				t.Errorf("%d forwarded, want at most %d", w.forwarded, c.most)
			}
		})
	}
}

// F5: however many copies are under way, a TTL that fell stays the proof that it is.
func TestManyUnderWay(t *testing.T) {
	var d Detector
	now := int64(1)
	look := func(key uint64, ttl uint8, n int) Verdict {
		now += 1000
		return d.Look(now, d.Hear(now, key), ttl, []byte(distinct(n)))
	}
	for n := range enough {
		look(sender, 64, n)
		for _, ttl := range []uint8{62, 63, 60, 61, 63, 62, 61, 60, 62, 63, 61, 62, 60, 61, 62} {
			if v := look(relay, ttl, n); v != Pass {
				t.Fatalf("datagram %d, TTL %d: verdict %d", n, ttl, v)
			}
		}
		for i := range 5000 {
			switch v := look(relay, 58, n); {
			case v == Looped && n == enough-1:
				return
			case v != Hold:
				t.Fatalf("datagram %d, copy %d: verdict %d", n, i, v)
			}
		}
	}
	t.Error("not found")
}

// F5: too few datagrams for a verdict end all the same.
func TestOneDatagramInARingEnds(t *testing.T) {
	for n := 1; n <= 3; n++ {
		w := &world{}
		w.always(way{relay, 100 * time.Microsecond, 0})
		w.send(sender, 0, time.Microsecond, n, distinct)
		w.run(t, time.Hour)
		if w.looped != 0 || w.forwarded > 20*n || len(w.coming) > 0 {
			t.Errorf("%d datagrams: loop at %v, %d forwarded, %d under way", n, w.looped, w.forwarded, len(w.coming))
		}
	}
}

// F5: a ring that closes while a stream flows.
func TestRingThatClosesLater(t *testing.T) {
	for _, payload := range []func(int) string{distinct, same} {
		w := &world{}
		closes := 2500 * time.Millisecond
		w.ways = func(now time.Duration) []way {
			if now < closes {
				return nil
			}
			return []way{{relay, 150 * time.Microsecond, 0}}
		}
		w.send(sender, 0, time.Millisecond, 5000, payload)
		w.run(t, time.Minute)
		late := w.forwarded - 2500
		if w.looped == 0 || late > 2000 {
			t.Errorf("loop at %v, %d forwarded since", w.looped, late)
		}
		t.Logf("%v after it closed, %d forwarded", w.looped-closes, late)
	}
}

// F5: a machine that stalled while the returns were counted does not make the tests long.
func TestRingThatStallsAtFirst(t *testing.T) {
	w := &world{}
	w.ways = func(now time.Duration) []way {
		if now < 1900*time.Millisecond {
			return []way{{relay, 100 * time.Millisecond, 0}}
		}
		return []way{{relay, 3 * time.Millisecond, 0}}
	}
	w.send(sender, 0, time.Microsecond, 200, distinct)
	w.run(t, time.Minute)
	if w.looped == 0 || w.forwarded > 20_000 {
		t.Errorf("loop at %v, %d forwarded", w.looped, w.forwarded)
	}
	t.Logf("%v, %d forwarded", w.looped, w.forwarded)
}

// Redundant senders of a status, one of which dies, are no ring where the other begins to send much else.
func TestNoFalseAlarmInABurst(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(2, seed))
		w := &world{}
		period := time.Duration(1+r.IntN(100)) * time.Millisecond
		things := 1 + r.IntN(8)
		for i := range 2000 {
			jitter := time.Duration(r.Int64N(int64(period)/10 + 1))
			w.send(other, time.Duration(i)*period+jitter, 0, 1, func(int) string { return distinct(i % things) })
		}
		w.send(sender, time.Millisecond, period, 20, carousel(things))
		for i := range 40 {
			at := time.Duration(r.Int64N(int64(100 * period)))
			w.send(other, at, 5*time.Microsecond, 1000, func(n int) string { return distinct(1<<20 + i<<10 + n) })
		}
		w.run(t, time.Hour)
		if w.looped != 0 {
			t.Errorf("seed %d: taken for a loop at %v", seed, w.looped)
		}
	}
}

// What is no loop is never taken for one, and loses nothing, or what the doc says.
func TestNoFalseAlarm(t *testing.T) {
	const ms, us = time.Millisecond, time.Microsecond
	type flow struct {
		key             uint64
		begin, interval time.Duration
		count           int
		payload         func(int) string
	}
	thousand := func() (all []flow) {
		for i := range 200 {
			all = append(all, flow{Key(uint32(i), 9), time.Duration(i) * 777 * us, 100 * ms, 100, same})
		}
		return all
	}
	for _, c := range []struct {
		name string
		f    []flow
		held int // of one sender, at most
	}{
		{"one sender", []flow{{sender, 0, 100 * us, 100_000, distinct}}, 0},
		{"one sender, constant", []flow{{sender, 0, 100 * us, 100_000, same}}, 0},
		{"one carousel, fast", []flow{{sender, 0, 10 * us, 100_000, carousel(10)}}, 0},
		{"1+1", []flow{{sender, 0, 100 * us, 50_000, distinct}, {other, 30 * us, 100 * us, 50_000, distinct}}, 0},
		{"1+1, one is far", []flow{{sender, 0, 100 * us, 50_000, distinct}, {other, 80 * ms, 100 * us, 50_000, distinct}}, 0},
		{"1+1+1", []flow{{sender, 0, ms, 5000, distinct}, {other, 30 * us, ms, 5000, distinct}, {relay, 60 * us, ms, 5000, distinct}}, 0},
		{"1+1, constant", []flow{{sender, 0, ms, 50_000, same}, {other, 30 * us, ms, 50_000, same}}, 0},
		{"1+1, carousel", []flow{{sender, 0, ms, 50_000, carousel(7)}, {other, 30 * us, ms, 50_000, carousel(7)}}, 0},
		{"two hundred that say the same", thousand(), 0},
		{"1+1 at 10 Hz, one dies", []flow{{sender, 0, 100 * ms, 50, same}, {other, 30 * us, 100 * ms, 500, same}}, 3},
		{"1+1 at 10 Hz, the status of eight things, one dies", []flow{{sender, 0, 12 * ms, 500, carousel(8)}, {other, 30 * us, 12 * ms, 9000, carousel(8)}}, 24},
		{"1+1 at 1,000 pps, constant, one dies", []flow{{sender, 0, ms, 500, same}, {other, 30 * us, ms, 9000, same}}, 22},
		{"constant, of unequal rates", []flow{{sender, 0, 500 * ms, 100, same}, {other, 0, ms, 30_000, same}}, 80},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &world{}
			for _, f := range c.f {
				w.send(f.key, f.begin, f.interval, f.count, f.payload)
			}
			w.run(t, time.Hour)
			if w.looped != 0 {
				t.Errorf("taken for a loop at %v", w.looped)
			}
			for k, n := range w.held {
				t.Logf("sender %x lost %d", k, n)
				if n > c.held {
					t.Errorf("sender %x lost %d, want at most %d", k, n, c.held)
				}
			}
		})
	}
}

// A constant payload whose redundant sender is heard over two ways, one longer than the other, is no ring.
func TestNoFalseAlarmOverTwoWays(t *testing.T) {
	w := &world{}
	w.send(sender, 0, time.Millisecond, 20_000, same)
	for i := range 20_000 {
		w.coming = append(w.coming, arrival{30*time.Microsecond + time.Duration(i)*time.Millisecond, other, uint8(62 + i%2), same(i)})
	}
	w.run(t, time.Hour)
	if w.looped != 0 || len(w.held) > 0 {
		t.Errorf("taken for a loop at %v, held %v", w.looped, w.held)
	}
}

// Senders that repeat themselves at random, and die at random, are no loop.
func TestNoFalseAlarmAtRandom(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(1, seed))
		w := &world{}
		for k := range uint64(2 + r.IntN(4)) {
			at := time.Duration(0)
			until := time.Duration(1+r.IntN(20)) * time.Second
			mean := time.Duration(1+r.IntN(50)) * time.Millisecond
			n := 1 + r.IntN(5)
			for at < until && len(w.coming) < 50_000 {
				at += time.Duration(r.ExpFloat64() * float64(mean))
				w.coming = append(w.coming, arrival{at, k<<16 | 7, 64, distinct(r.IntN(n))})
			}
		}
		w.run(t, time.Hour)
		if w.looped != 0 {
			t.Errorf("seed %d: taken for a loop at %v", seed, w.looped)
		}
	}
}

func TestDetectorAllocatesNothing(t *testing.T) {
	d, now := &Detector{}, int64(1)
	data := []byte(distinct(0))
	if n := testing.AllocsPerRun(1000, func() {
		now += 1e7
		data[10]++
		d.Look(now, d.Hear(now, uint64(data[10]&3)), 5, data)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// No order of events panics, and one sender alone loses nothing.
func FuzzDetector(f *testing.F) {
	f.Add([]byte{1, 2, 3, 1, 2, 3, 4, 5, 6})
	f.Add(make([]byte, 300))
	f.Fuzz(func(t *testing.T, b []byte) {
		var d, alone Detector
		now := int64(1)
		for len(b) >= 3 {
			now += int64(b[0]) * int64(b[0]) * 1e5
			alone.Hear(now, 1)
			if v := alone.Look(now, alone.Hear(now, 1), b[1]>>3, b[2:3]); v != Pass {
				t.Fatalf("verdict %d on one sender", v)
			}
			d.Look(now, d.Hear(now, uint64(b[1]&7)), b[1]>>3, b[2:3])
			b = b[3:]
		}
	})
}

// What a datagram costs that is not sampled.
func BenchmarkQuick(b *testing.B) {
	d, now := &Detector{}, time.Now().UnixNano()
	data := make([]byte, 1316)
	for i := range data {
		data[i] = byte(i * 7)
	}
	for i := range 8 {
		data[0] = byte(i)
		d.Look(now, d.Hear(now, sender), 5, data)
	}
	data[0], data[3] = 99, 99
	b.ReportAllocs()
	for d.filter.has(placeOf(data)) { // one in sixty-four does
		data[3]++
	}
	for b.Loop() {
		if !d.Quick(now, d.Hear(now, sender), data) {
			b.Fatal("looked at")
		}
	}
}
