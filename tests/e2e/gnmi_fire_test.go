// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gnmipb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/openconfig/gnmi/proto/gnmi_ext"

	"mcr/tests/lab"
)

// Eight writers make random good, bad and given-up Sets at once, with traffic and twenty subscribers. Nobody ever sees half a
// Set, every stream replayed equals a Get, the standing branches lose nothing, and what was acknowledged last outlives the
// daemon. G33, G53, G54, G62, G85, G89, G110, P1.6, F4.
func TestG53_AtomicUnderFire(t *testing.T) { // not parallel: others would see little of the processor
	b := newBed(t)
	sinks := []*lab.Sink{b.dst.GroupSink("eth0", "239.3.3.3:6000")}
	outputs := []obj{multi("s0", "out", "239.3.3.3", 6000)}
	for i := 1; i < 4; i++ {
		sinks = append(sinks, b.dst.Sink(fmt.Sprint("10.0.2.2:", 6000+i)))
		outputs = append(outputs, uni(fmt.Sprint("s", i), "out", "10.0.2.2", 6000+i))
	}
	b.start(ruleOn(standing, "in", outputs...))
	var all []*writer
	for i := range writers {
		w := &writer{i: i, c: dial(t, b.d), rng: rand.New(rand.NewPCG(53, uint64(i)))}
		b.c.must(w.c.set(w.request(0, "0")))
		w.next = 1
		all = append(all, w)
	}
	watchers := watchAll(t, b.d, all)
	sender := b.src.StartSend(steady(2000, 0))

	var run, read sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer func() { cancel(); run.Wait(); read.Wait() }()
	cpu := processorTime(t, b.d)
	stop, bad, reads := make(chan struct{}), make(chan error, writers+readers), atomic.Int64{}
	for _, w := range all {
		run.Go(func() {
			if err := w.run(ctx, stop); err != nil {
				bad <- err
			}
		})
	}
	for i := range readers {
		r := newReader(dial(t, b.d), i)
		read.Go(func() {
			for ctx.Err() == nil {
				l, err := r(ctx)
				if err == nil {
					err = halves(all, l)
				}
				if err != nil && ctx.Err() == nil {
					bad <- err
					return
				}
				reads.Add(1)
			}
		})
	}
	select {
	case err := <-bad:
		t.Fatal(err)
	case <-time.After(length(10*time.Second, time.Minute)):
	}
	close(stop)
	run.Wait()
	cancel()
	read.Wait()
	select {
	case err := <-bad:
		t.Fatal(err)
	default:
	}

	cpu = processorTime(t, b.d) - cpu
	sent := sender.Stop()
	for _, s := range sinks {
		s.Wait(sent.Sent, time.Minute) // it reads in this process, which may be behind
		s.Exactly(sent.Sent)
	}
	var took []time.Duration
	good, spoilt, cut := 0, 0, 0
	for _, w := range all {
		took = append(took, w.took...)
		good, spoilt, cut = good+w.good, spoilt+w.bad, cut+w.cut
		last := b.c.get(rulesPath)
		if got, want := last[rulePath(w.rules()[0])+"/config/description"], strconv.Itoa(w.next-1); got != want {
			t.Errorf("writer %d: the last Set was %s, the tree says %s", w.i, want, got)
		}
	}
	b.c.must(halves(all, b.c.get(rulesPath)))
	checks, merged := 0, 0
	for _, w := range watchers {
		w.equalsGet(t, b.c)
		w.stream.stop()
		if w.half != nil {
			t.Errorf("the subscriber to %s saw a half: %v", w.path, w.half)
		}
		checks, merged = checks+w.checks, merged+w.merged
	}
	t.Logf("%d good Sets, %d bad, %d given up; good ones took %s (median), %s (p99); %v of processor",
		good, spoilt, cut, milli(quantile(took, .5)), milli(quantile(took, .99)), cpu.Round(time.Millisecond))
	t.Logf("%d reads of the whole, %d looks at streams, %d values merged; %d datagrams to each standing branch", reads.Load(), checks, merged, sent.Sent)
	if good < length(20, 500) || spoilt < length(5, 100) || cut < length(1, 20) || checks < length(100, 10_000) || int(reads.Load()) < length(4, 200) {
		t.Errorf("too little happened to show anything")
	}

	before := b.c.config(rulesPath)
	b.restart()
	if diff := cmp.Diff(before, b.c.config(rulesPath)); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
	}
}

const revisionPath = "mcr/system/configuration/state/revision"

// halves says which writer's Set is half there.
func halves(all []*writer, l leaves) error {
	for _, w := range all {
		if err := w.half(func(path string) string { return l[path] }, true); err != nil {
			return err
		}
	}
	return nil
}

const readers = 4

// newReader reads all rules, by Get, ONCE or POLL.
func newReader(c *client, i int) func(context.Context) (leaves, error) {
	if i < 2 {
		return func(ctx context.Context) (leaves, error) { return c.read(ctx, rulesPath) }
	}
	list := &gnmipb.SubscriptionList{
		Encoding: gnmipb.Encoding_PROTO, Mode: gnmipb.SubscriptionList_ONCE,
		Subscription: []*gnmipb.Subscription{{Path: parsePath(rulesPath)}},
	}
	var polled gnmipb.GNMI_SubscribeClient
	return func(ctx context.Context) (leaves, error) {
		s := polled
		var err error
		switch {
		case s != nil:
			err = s.Send(&gnmipb.SubscribeRequest{Request: &gnmipb.SubscribeRequest_Poll{Poll: &gnmipb.Poll{}}})
		default:
			if s, err = c.c.Subscribe(ctx); err != nil {
				return nil, err
			}
			if i == 3 {
				list.Mode, polled = gnmipb.SubscriptionList_POLL, s
			}
			err = s.Send(&gnmipb.SubscribeRequest{Request: &gnmipb.SubscribeRequest_Subscribe{Subscribe: list}})
		}
		if err != nil {
			return nil, err
		}
		all := leaves{}
		for {
			m, err := s.Recv()
			if err != nil {
				return nil, err
			}
			if m.GetSyncResponse() {
				return all, nil
			}
			for _, u := range m.GetUpdate().GetUpdate() {
				all[pathText(nil, u.GetPath())] = valueText(u.GetVal())
			}
		}
	}
}

// watcher is one of the subscribers. At each new timestamp it looks at the writers of the one before. Values that wait for a client
// may be replaced by later ones, in the place where they wait, and the client then sees Sets in pieces: a half is a fault unless merged
// values come before it is whole. A config subscription says where a commit ends, and there every writer is whole.
type watcher struct {
	replica
	path    string
	stream  *subscription
	writers []*writer

	time    int64
	touched [writers]bool  // at that time
	blurred [writers]bool  // values came merged since the writer was whole
	halves  [writers]error // what is not whole
	inSync  bool
	marked  bool   // it is a config subscription, and
	mark    uint64 // the latest commit whose changes have all been told
	checks  int
	merged  int
	half    error // the first fault
}

// watchAll begins the twenty.
func watchAll(t *testing.T, d *lab.MCRD, all []*writer) (out []*watcher) {
	t.Helper()
	paths := []string{
		"/", "mcr/forwarding", "mcr/forwarding/rules/rule", "mcr/forwarding/...", "mcr",
		"mcr/forwarding/rules/rule[name=*]/outputs/output/config", "mcr/mrib", "mcr/forwarding/rules", "*/forwarding/rules", rulePath("w0a"),
	}
	for i := range 20 {
		path, enc, mode := paths[i%len(paths)], gnmipb.Encoding_PROTO, gnmipb.SubscriptionMode_ON_CHANGE
		if i >= len(paths) {
			mode = gnmipb.SubscriptionMode_TARGET_DEFINED
			if strings.HasPrefix(path, "mcr/forwarding") {
				enc = gnmipb.Encoding_JSON_IETF
			}
		}
		w := &watcher{path: path, writers: all, marked: path == rulesPath}
		req := streamOf(mode, enc, path)
		if w.marked {
			start := &gnmi_ext.ConfigSubscription{Action: &gnmi_ext.ConfigSubscription_Start{Start: &gnmi_ext.ConfigSubscriptionStart{}}}
			req.Extension = []*gnmi_ext.Extension{{Ext: &gnmi_ext.Extension_ConfigSubscription{ConfigSubscription: start}}}
		}
		w.stream = dial(t, d).subscribe(req, w.take)
		out = append(out, w)
	}
	for _, w := range out {
		w.stream.inSync(t)
	}
	return out
}

func (w *watcher) take(m *gnmipb.SubscribeResponse) {
	w.mu.Lock()
	n := m.GetUpdate()
	for _, e := range m.GetExtension() {
		w.committed(e.GetConfigSubscription().GetSyncDone())
	}
	if !w.marked && w.inSync && n != nil && n.GetTimestamp() != w.time {
		w.look()
		w.time = n.GetTimestamp()
	}
	w.inSync = w.inSync || m.GetSyncResponse()
	for _, u := range n.GetUpdate() {
		if i := writerOf(u.GetPath()); i >= 0 {
			w.touched[i] = true
		}
		if u.GetDuplicates() > 0 {
			w.merged++
			for i := range w.blurred {
				w.blurred[i] = true
			}
		}
	}
	w.mu.Unlock()
	w.apply(n)
}

// committed checks that a commit has been told whole, and nothing of the next one, and that none is left out.
func (w *watcher) committed(done *gnmi_ext.ConfigSubscriptionSyncDone) {
	id, err := strconv.ParseUint(done.GetServerCommitId(), 10, 64)
	switch {
	case err == nil && (!w.marked || !w.inSync || !done.GetDone()):
		err = fmt.Errorf("the mark %v", done)
	case err == nil && w.mark != 0 && id != w.mark+1:
		err = fmt.Errorf("commit %d is told of after %d", id, w.mark)
	}
	for _, writer := range w.writers {
		if err == nil {
			err = writer.half(func(path string) string { return w.get(strings.Replace(path, "/state/", "/config/", 1)) }, true)
		}
	}
	if err != nil && w.half == nil {
		w.half = fmt.Errorf("at commit %s: %w", done.GetServerCommitId(), err)
	}
	w.mark = id
	w.checks++
}

func (w *watcher) latest() uint64 { w.mu.Lock(); defer w.mu.Unlock(); return w.mark }

// look checks the writers that were told of at the latest time.
func (w *watcher) look() {
	for i, touched := range w.touched {
		if !touched {
			continue
		}
		w.touched[i] = false
		w.checks++
		if err := w.writers[i].half(w.get, false); err != nil {
			w.halves[i] = err
			continue
		}
		if w.halves[i] != nil && !w.blurred[i] && w.half == nil {
			w.half = w.halves[i]
		}
		w.halves[i], w.blurred[i] = nil, false
	}
}

// writerOf is the writer whose rule a path is in, or -1.
func writerOf(p *gnmipb.Path) int {
	if e := p.GetElem(); len(e) > 3 && e[3].GetName() == "rule" {
		if name := e[3].GetKey()["name"]; len(name) == 3 && name[0] == 'w' {
			return int(name[1] - '0')
		}
	}
	return -1
}

// equalsGet waits until the replayed tree is what Get says. What follows a Set, such as that a worker took the table, may come a moment later.
func (w *watcher) equalsGet(t *testing.T, c *client) {
	t.Helper()
	w.stream.running(t)
	lab.Until(t, patience, "the stream to "+w.path+" equals a Get", func() error {
		got, err := c.read(t.Context(), w.path)
		if err != nil {
			return err
		}
		maps.DeleteFunc(got, func(path, _ string) bool { return sampledLeaf(path) || w.marked && strings.Contains(path, "/state/") })
		have := w.leaves()
		if latest := c.get(revisionPath).num(revisionPath); w.marked && w.latest() != latest {
			return fmt.Errorf("commit %d is not told of, the latest was %d", latest, w.latest())
		}
		if maps.Equal(got, have) {
			return nil
		}
		return errors.New("(-Get +stream)\n" + firstLines(cmp.Diff(got, have), 40))
	})
}

func firstLines(s string, n int) string {
	lines := strings.SplitAfter(s, "\n")
	return strings.Join(lines[:min(n, len(lines))], "")
}
