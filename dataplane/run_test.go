// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
	"mcr/dataplane/sock"
)

// A burst is cut into runs: equal sizes, the last of a run shorter, at most 64 datagrams and 65,507 bytes.
func TestRuns(t *testing.T) {
	same := func(n, size int) []packet { return slices.Repeat([]packet{datagram(size)}, n) }
	for _, c := range []struct {
		name  string
		in    []packet
		limit int
		want  string // segs x size, total
	}{
		{"equal", same(3, 100), 64, "3x100=300"},
		{"64 at most", same(70, 100), 64, "64x100=6400 6x100=600"},
		{"65,507 bytes at most", same(50, 1316), 64, "49x1316=64484 1x1316=1316"},
		{"a shorter one ends it", []packet{datagram(100), datagram(40), datagram(100), datagram(40)}, 64, "2x100=140 2x100=140"},
		{"a longer one begins another", []packet{datagram(40), datagram(100)}, 64, "1x40=40 1x100=100"},
		{"empty ones go alone", []packet{datagram(0), datagram(0), datagram(9), datagram(0), datagram(9)}, 64, "1x0=0 1x0=0 1x9=9 1x0=0 1x9=9"},
		{"segmentation off", same(3, 100), 1, "1x100=100 1x100=100 1x100=100"},
		{"largest", same(2, sock.MaxPayload), 64, "1x65507=65507 1x65507=65507"},
		{"joined by the kernel", []packet{joined(1000, 2500), datagram(1000)}, 64, "3x1000=2500 1x1000=1000"},
		{"joined, whole", []packet{joined(1000, 3000), datagram(1000), datagram(1)}, 64, "5x1000=4001"},
		{"joined, over the limit", []packet{joined(100, 450), joined(100, 300)}, 4, "4x100=400 1x50=50 3x100=300"},
		{"joined, longer than a run", []packet{joined(1, 130)}, 64, "64x1=64 64x1=64 2x1=2"},
		{"another TTL", []packet{datagram(9), {data: make([]byte, 9), seg: 9, ttl: 1, pt: somePoint}}, 64, "1x9=9 1x9=9"},
		{"another TOS", []packet{datagram(9), {data: make([]byte, 9), seg: 9, tos: 1, pt: somePoint}}, 64, "1x9=9 1x9=9"},
		{"another source", []packet{datagram(9), {data: make([]byte, 9), seg: 9, src: 1, pt: somePoint}}, 64, "1x9=9 1x9=9"},
		{"truncated ones are passed over", []packet{{}, datagram(9), {}, datagram(9), {}}, 64, "1x9=9 1x9=9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := testWorker(t, c.limit)
			for _, p := range c.in {
				w.queue.push(p)
			}
			got := ""
			for w.collect() {
				r := &w.run
				got += fmt.Sprintf(" %dx%d=%d", r.segs, r.seg, r.bytes)
				if n := len(r.singles(0)); r.bytes > 0 && n != r.segs {
					t.Errorf("%d singles of %d", n, r.segs)
				}
			}
			if got != " "+c.want {
				t.Errorf("got%s, want %s", got, c.want)
			}
			if w.queue.mid != w.queue.tail {
				t.Error("something is left")
			}
		})
	}
}

var somePoint = &point{inlet: &inlet{}, shard: &shard{}, primary: true}

func datagram(n int) packet { return joined(n, n) }

func joined(seg, n int) packet { return packet{pt: somePoint, data: make([]byte, n), seg: seg} }

func testWorker(t testing.TB, limit int) *worker {
	w := &worker{seat: &seat{}, settings: settings{segments: limit}, queue: queue{packets: make([]packet, 256)}}
	r, err := newRun(&w.mem)
	if err != nil {
		t.Fatal(err)
	}
	w.run = *r
	t.Cleanup(w.mem.Free)
	return w
}

// Only what follows the datagram, and differs from what the socket does anyway, is a control message.
func TestControlMessages(t *testing.T) {
	w := testWorker(t, 64)
	for _, c := range []struct {
		name     string
		out      plan.Output
		ttl, tos uint8
		want     sock.Control
		length   int
	}{
		{"fixed TTL, fixed DSCP", plan.Output{TTL: 9, DSCP: 3}, 5, 0xb8, sock.Control{}, 0},
		{"DSCP kept", plan.Output{DSCP: plan.DSCPKeep}, 5, 0xbb, sock.Control{TOS: 0xb8}, 24},
		{"DSCP kept, 0 arrived", plan.Output{DSCP: plan.DSCPKeep}, 5, 3, sock.Control{}, 0},
		{"TTL less one", plan.Output{TTLMode: plan.TTLDecrement}, 5, 0xb8, sock.Control{TTL: 4}, 24},
		{"TTL kept, DSCP kept", plan.Output{TTLMode: plan.TTLKeep, DSCP: plan.DSCPKeep}, 5, 0xb8, sock.Control{TTL: 5, TOS: 0xb8}, 48},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.queue.push(packet{pt: somePoint, data: make([]byte, 9), seg: 9, ttl: c.ttl, tos: c.tos})
			w.collect()
			v := variantOf(&c.out)
			h := w.run.header(v)
			if got := sock.ParseControl(w.run.control[int(v)*sock.ControlSpace:][:h.Controllen]); got != c.want || int(h.Controllen) != c.length {
				t.Errorf("got %+v in %d bytes, want %+v in %d", got, h.Controllen, c.want, c.length)
			}
		})
	}
}

// idle is a back end that sends nothing.
type idle struct {
	backend
	sends int
}

func (b *idle) send(uint64, *output, *unix.Msghdr) { b.sends++ }
func (b *idle) flush() error                       { return nil }
func (b *idle) pin(*run) bool                      { return false }

// Q2: nothing is allocated per datagram.
func TestQ2_FanOutAllocatesNothing(t *testing.T) {
	w, b := fanWorker(t, 1000)
	for _, o := range w.byFD[0].view.any.legs[0].parts[0].up[:500] {
		o.state.Store(stCareful) // these come after the others
	}
	got := testing.AllocsPerRun(100, func() {
		for range 3 {
			w.queue.push(packet{pt: w.byFD[0], data: somePayload, seg: 1316, ttl: 9, tos: 0xb8})
		}
		for w.collect() {
			if err := w.fan(); err != nil {
				t.Fatal(err)
			}
		}
		w.run.singles(1)
	})
	if got != 0 {
		t.Errorf("%v allocations per run", got)
	}
	if b.sends == 0 {
		t.Error("nothing was sent")
	}
}

// G6: the pieces of a run become one where they go to several outputs, and stay where they are for a few.
func TestRunIsJoined(t *testing.T) {
	for outputs, pieces := range map[int]int{joinOutputs - 1: joinPieces, joinOutputs: 1} {
		w, _ := fanWorker(t, outputs)
		w.byFD[0].view.any.legs[0].skip = nil
		want := ""
		for i := range joinPieces {
			data := strings.Repeat(string(rune('a'+i)), 100)
			w.queue.push(packet{pt: w.byFD[0], data: []byte(data), seg: 100, ttl: 9})
			want += data
		}
		if !w.collect() {
			t.Fatal("no run")
		}
		if err := w.fan(); err != nil {
			t.Fatal(err)
		}
		if got := string(bytes.Join(w.run.parts[:w.run.niov], nil)); w.run.niov != pieces || got != want || w.run.segs != joinPieces {
			t.Errorf("%d outputs: %d pieces of %d datagrams, want %d; %q", outputs, w.run.niov, w.run.segs, pieces, got)
		}
		h := w.run.header(variant(1))
		if int(h.Iovlen) != pieces {
			t.Errorf("%d outputs: the kernel gets %d pieces", outputs, h.Iovlen)
		}
	}
}

var somePayload = make([]byte, 1316)

func fanWorker(t testing.TB, n int) (*worker, *idle) {
	w, b := testWorker(t, 64), &idle{}
	w.be = b
	l, s := &list{tallies: make([]atomic.Pointer[tally], 1)}, &shard{}
	all := &part{}
	f := &fanout{list: l, parts: []*part{all}, sends: n}
	for i := range n {
		o := &output{shard: s}
		o.tally.Store(l.tally(s))
		o.binding = binding{fd: -1, dst: 1, maxSeg: 1472, variant: variant(i % variants), egress: &egress{}}
		f.all, all.up, all.pos = append(f.all, o), append(all.up, o), append(all.pos, int32(i))
	}
	w.byFD = []*point{{inlet: &inlet{}, shard: s, primary: true, view: &view{any: &route{legs: []leg{{fanout: f, skip: []int32{3, 5}}}}}}}
	w.later = make([]*output, 0, w.byFD[0].view.widest())
	return w, b
}

func BenchmarkFanOut(b *testing.B) {
	w, _ := fanWorker(b, 1000)
	b.ReportAllocs()
	for b.Loop() {
		w.queue.push(packet{pt: w.byFD[0], data: somePayload, seg: 1316, ttl: 9})
		w.collect()
		if err := w.fan(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "outputs/s")
}

// F1: a branch that fails is tried seldom, but for a queue that is full: it empties.
func TestBackOff(t *testing.T) {
	for e, want := range map[unix.Errno]bool{unix.EHOSTUNREACH: true, unix.EPERM: true, unix.ENOBUFS: false, unix.EAGAIN: false} {
		w, _ := fanWorker(t, 1)
		w.now = time.Now().UnixNano()
		lg := w.byFD[0].view.any.legs[0]
		o := lg.all[0]
		o.tally.Store(lg.list.tally(o.shard))
		for range 2 * backOffAfter {
			w.stumble(o, e)
		}
		if got := o.backsOff(w.now); got != want || o.state.Load()&stFailing == 0 {
			t.Errorf("%v: backs off %v, state %b", e, got, o.state.Load())
		}
	}
}
