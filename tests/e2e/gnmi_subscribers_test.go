// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gnmipb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"mcr/tests/lab"
)

// A change reaches 1,000 ON_CHANGE subscribers on 100 connections within 1 s. A client that never reads does not delay the others and
// does not hold up a Set; what waits for it is bounded, and when it reads again it gets the newest of each leaf. G84, G85, G87.
func TestG87_ThousandSubscribersAndOneThatNeverReads(t *testing.T) { // not parallel: it measures
	const connections, each, outputs = 100, 10, 1000
	b := newBed(t)
	b.manyReceivers()
	probe := with(ruleOn("probe", "in", uni("o", "out", "10.0.2.2", 7000)), obj{"input-group": "239.1.1.2"})
	b.start(probe, ruleOn("bulk", "in", manyOutputs(outputs, nil)...))
	c := &crowd{t: t, bed: b, arrived: make([]time.Duration, connections*each)}
	idle := resident(t, b.d)
	c.gather(connections, each)
	crowded := resident(t, b.d)

	// Alone and with the deaf client in turn, so that whatever else the machine does falls on both.
	var alone, beside []time.Duration
	for range 2 {
		alone = append(alone, c.changes(length(10, 100))...)
		d := b.deafClient()
		beside = append(beside, c.changes(length(10, 100))...)
		d.stop()
	}
	t.Logf("%d subscribers: a change reaches one in %s (median), %s (p99), the last in %s; beside a client that never reads in %s, %s, %s",
		connections*each, milli(quantile(alone, .5)), milli(quantile(alone, .99)), milli(quantile(alone, 1)),
		milli(quantile(beside, .5)), milli(quantile(beside, .99)), milli(quantile(beside, 1)))
	limit, slack := length(5*time.Second, time.Second), length(time.Second, 50*time.Millisecond) // other programs use the machine too
	if last := max(quantile(alone, 1), quantile(beside, 1)); last > limit {
		t.Errorf("a change reached the last subscriber after %v, more than %v", last, limit)
	}
	if a, b := quantile(alone, .99), quantile(beside, .99); b > a+a/2+slack {
		t.Errorf("the client that never reads moved the 99th percentile from %v to %v", a, b)
	}

	// Every Set changes 1,000 outputs. What they cost without the deaf client is the measure.
	rounds := length(20, 200)
	plain := c.churn(rounds)
	before := resident(t, b.d)
	d := b.deafClient()
	held := c.churn(rounds)
	after := resident(t, b.d)
	t.Logf("memory: %d MB idle, %d MB with %d subscribers, %d MB after %d Sets of %d outputs each, %d MB after as many for which a client was deaf; a Set took %s, then %s (median)",
		idle>>10, crowded>>10, connections*each, before>>10, rounds, outputs, after>>10, milli(quantile(plain, .5)), milli(quantile(held, .5)))
	if after > before+64<<10 {
		t.Errorf("memory grew from %d to %d kB while a client did not read", before, after)
	}
	d.resume(t)
}

// crowd is many subscribers to one rule.
type crowd struct {
	t       *testing.T
	bed     *bed
	streams []*subscription
	round   int

	want    atomic.Pointer[waitedFor]
	arrived []time.Duration
}

// waitedFor is a change on its way to all.
type waitedFor struct {
	value string
	since time.Time
	left  atomic.Int64
	done  chan struct{}
}

func (c *crowd) gather(connections, each int) {
	c.t.Helper()
	for i := range connections {
		enc := gnmipb.Encoding_PROTO
		if i%2 == 1 {
			enc = gnmipb.Encoding_JSON_IETF
		}
		client := dial(c.t, c.bed.d)
		for range each {
			at := len(c.streams)
			c.streams = append(c.streams, client.subscribe(onChange(enc, rulePath("probe")), func(r *gnmipb.SubscribeResponse) { c.take(at, r) }))
		}
	}
	for _, s := range c.streams {
		s.inSync(c.t)
	}
}

func (c *crowd) take(i int, r *gnmipb.SubscribeResponse) {
	w := c.want.Load()
	if w == nil {
		return
	}
	for _, u := range r.GetUpdate().GetUpdate() {
		e := u.GetPath().GetElem()
		if len(e) == 6 && e[4].GetName() == "config" && e[5].GetName() == "description" && leafText(u.GetVal()) == w.value {
			c.arrived[i] = time.Since(w.since)
			if w.left.Add(-1) == 0 {
				close(w.done)
			}
		}
	}
}

// changes makes n changes, one after the other, and returns how long each took to each subscriber, from before the Set.
func (c *crowd) changes(n int) (all []time.Duration) {
	c.t.Helper()
	for range n {
		c.round++
		w := &waitedFor{value: fmt.Sprint("change ", c.round), since: time.Now(), done: make(chan struct{})}
		w.left.Store(int64(len(c.streams)))
		c.want.Store(w)
		c.bed.c.must(c.bed.c.update(rulePath("probe")+"/config/description", w.value))
		select {
		case <-w.done:
		case <-time.After(patience):
			c.t.Fatalf("%q has not reached %d of %d subscribers after %v", w.value, w.left.Load(), len(c.streams), patience)
		}
		all = append(all, c.arrived...)
	}
	return all
}

// churn changes every output of the bulk n times and returns how long each Set took.
func (c *crowd) churn(n int) (took []time.Duration) {
	c.t.Helper()
	for range n {
		c.round++
		req := put(rulePath("bulk"), ruleOn("bulk", "in", manyOutputs(1000, obj{"dscp": c.round % 64})...))
		began := time.Now()
		c.bed.c.must(c.bed.c.set(&gnmipb.SetRequest{Replace: []*gnmipb.Update{req}}))
		took = append(took, time.Since(began))
	}
	return took
}

// deafClient subscribes to / and reads nothing, not even from its socket.
func (b *bed) deafClient() *deafClient {
	b.t.Helper()
	d := &deafClient{bed: b, ear: &ear{gone: make(chan struct{})}}
	conn, err := grpc.NewClient("unix://"+b.d.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, "unix", b.d.Socket)
			d.ear.Conn = c
			return d.ear, err
		}))
	if err != nil {
		b.t.Fatal(err)
	}
	first := make(chan struct{})
	heard := sync.OnceFunc(func() { close(first) })
	c := &client{b.t, gnmipb.NewGNMIClient(conn)}
	d.stream = c.subscribe(onChange(gnmipb.Encoding_PROTO, "/"), func(r *gnmipb.SubscribeResponse) {
		d.note(r)
		d.ear.shut() // once something has come the server is at it
		heard()
	})
	d.stop = sync.OnceFunc(func() { d.ear.Close(); conn.Close(); d.stream.stop() })
	b.t.Cleanup(d.stop)
	select {
	case <-first:
	case <-time.After(patience):
		b.t.Fatal("the client that is to be deaf was told nothing at first")
	}
	return d
}

type deafClient struct {
	replica
	bed    *bed
	ear    *ear
	stream *subscription
	stop   func()
	merged atomic.Int64
}

func (d *deafClient) note(r *gnmipb.SubscribeResponse) {
	d.apply(r.GetUpdate())
	for _, u := range r.GetUpdate().GetUpdate() {
		d.merged.Add(int64(u.GetDuplicates()))
	}
}

// resume reads on: what was merged is said, and the outcome is what a Get says.
func (d *deafClient) resume(t *testing.T) {
	t.Helper()
	select {
	case <-d.stream.synced:
		t.Error("the deaf client was in sync: it was not deaf")
	default:
	}
	d.ear.open()
	d.stream.inSync(t)
	lab.Until(t, patience, "the client that was deaf has what a Get says", func() error {
		d.stream.running(t)
		got, err := bigClient(t, d.bed.d).read(t.Context(), rulesPath)
		if err != nil {
			return err
		}
		maps.DeleteFunc(got, func(path, _ string) bool { return sampledLeaf(path) })
		have := d.leaves().under(rulesPath)
		if !maps.Equal(got, have) {
			return errors.New("(-Get +stream)\n" + firstLines(cmp.Diff(got, have), 40))
		}
		return nil
	})
	if d.merged.Load() == 0 {
		t.Error("no update says that it replaced others")
	}
	t.Logf("the client that was deaf caught up: %d values had been replaced by later ones", d.merged.Load())
}

// under is what is at or below a path.
func (l leaves) under(path string) leaves {
	out := leaves{}
	for rest, value := range l.below(path + "/") {
		out[path+"/"+rest] = value
	}
	return out
}

// ear is a connection that can stop reading.
type ear struct {
	net.Conn
	mu   sync.Mutex
	deaf chan struct{} // open while nothing is read
	gone chan struct{}
	once sync.Once
}

func (e *ear) shut() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.deaf == nil {
		e.deaf = make(chan struct{})
	}
}

// open reads on, for good.
func (e *ear) open() {
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.deaf)
}

func (e *ear) Read(p []byte) (int, error) {
	e.mu.Lock()
	deaf := e.deaf
	e.mu.Unlock()
	if deaf != nil {
		select {
		case <-deaf:
		case <-e.gone:
			return 0, net.ErrClosed
		}
	}
	return e.Conn.Read(p)
}

func (e *ear) Close() error {
	e.once.Do(func() { close(e.gone) })
	return e.Conn.Close()
}
