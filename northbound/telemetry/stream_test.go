// SPDX-License-Identifier: Apache-2.0

package telemetry_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/openconfig/ygot/ygot"
	"google.golang.org/protobuf/proto"

	"mcr/northbound/telemetry"
)

// event is one thing that a client was told.
type event struct {
	Path  string // "sync" for the marker
	Value string // "deleted" for a delete
	Dups  uint32
}

// reader is a client that can stop reading.
type reader struct {
	mu     sync.Mutex
	events []event
	times  []time.Time
	gate   chan struct{} // nil: reads all; else one message per element
}

func (r *reader) send(w *telemetry.Message) error {
	m := decoded(w)
	if r.gate != nil {
		<-r.gate
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	add := func(e event) { r.events, r.times = append(r.events, e), append(r.times, now) }
	if m.GetSyncResponse() {
		add(event{Path: "sync"})
	}
	for _, p := range m.GetUpdate().GetDelete() {
		add(event{Path: text(p), Value: "deleted"})
	}
	for _, u := range m.GetUpdate().GetUpdate() {
		add(event{Path: text(u.GetPath()), Value: string(u.GetVal().GetJsonVal()), Dups: u.GetDuplicates()})
	}
	return nil
}

// decoded is a message as a client reads it.
func decoded(m *telemetry.Message) *gpb.SubscribeResponse {
	out := &gpb.SubscribeResponse{}
	if err := proto.Unmarshal(m.Wire(), out); err != nil {
		panic(err)
	}
	return out
}

func text(p *gpb.Path) string {
	s, err := ygot.PathToString(p)
	if err != nil {
		panic(err)
	}
	return s
}

// take returns what came since the last take.
func (r *reader) take() []event {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.events
	r.events, r.times = nil, nil
	return out
}

// follow runs a stream in a bubble until the test ends.
func follow(t *testing.T, tree *telemetry.Tree, r *reader, req telemetry.Request) *telemetry.Stream {
	t.Helper()
	s := tree.Subscribe(req)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, r.send) }()
	t.Cleanup(func() {
		cancel()
		s.Close()
		<-done
	})
	synctest.Wait()
	return s
}

func onChange(tb testing.TB, paths ...string) telemetry.Request {
	tb.Helper()
	var req telemetry.Request
	for _, p := range paths {
		req.Subscriptions = append(req.Subscriptions, telemetry.Subscription{Pattern: pattern(tb, p), Mode: telemetry.OnChange})
	}
	return req
}

func sampleEach(tb testing.TB, path string, every time.Duration) telemetry.Request {
	tb.Helper()
	return telemetry.Request{Subscriptions: []telemetry.Subscription{{Pattern: pattern(tb, path), Mode: telemetry.Sample, Interval: every}}}
}

func remove(tb testing.TB, tree *telemetry.Tree, paths ...string) {
	tb.Helper()
	c := telemetry.Changes{Time: time.Now()}
	for _, p := range paths {
		c.Delete = append(c.Delete, at(tb, p))
	}
	if err := tree.Apply(c); err != nil {
		tb.Fatal(err)
	}
}

func wantEvents(t *testing.T, r *reader, want ...event) {
	t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(want, r.take()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

const rule1 = "/mcr/forwarding/rules/rule[name=r1]"

func TestOnChange(t *testing.T) {
	cfg := func(iface string) *telemetry.Unit { return unit(t, outCfg, str("interface", iface), str("name", "o1")) }
	tests := []struct {
		name string
		run  func(t *testing.T, tree *telemetry.Tree, r *reader)
	}{
		{"G63_only_the_changed_leaf", func(t *testing.T, tree *telemetry.Tree, r *reader) {
			follow(t, tree, r, onChange(t, "/mcr/forwarding"))
			r.take()
			apply(t, tree, time.Now(), cfg("eth9"))
			wantEvents(t, r, event{Path: outCfg + "/interface", Value: `"eth9"`})
		}},
		{"G66_equal_value_is_silent", func(t *testing.T, tree *telemetry.Tree, r *reader) {
			follow(t, tree, r, onChange(t, "/"))
			r.take()
			apply(t, tree, time.Now(), cfg("eth1"))
			wantEvents(t, r)
		}},
		{"G66_silent_outside_counters_for_5_minutes", func(t *testing.T, tree *telemetry.Tree, r *reader) {
			follow(t, tree, r, onChange(t, "/"))
			r.take()
			time.Sleep(5 * time.Minute)
			wantEvents(t, r)
		}},
		{"G62_one_sync_after_the_data", func(t *testing.T, tree *telemetry.Tree, r *reader) {
			follow(t, tree, r, onChange(t, outCfg))
			wantEvents(t, r, event{Path: outCfg + "/interface", Value: `"eth1"`}, event{Path: outCfg + "/name", Value: `"o1"`}, event{Path: "sync"})
		}},
		{"G62_change_during_initial_data_is_not_lost", func(t *testing.T, tree *telemetry.Tree, r *reader) {
			r.gate = make(chan struct{})
			follow(t, tree, r, onChange(t, outCfg))
			apply(t, tree, time.Now(), cfg("eth7"))
			close(r.gate)
			wantEvents(t, r, event{Path: outCfg + "/interface", Value: `"eth1"`}, event{Path: outCfg + "/name", Value: `"o1"`},
				event{Path: "sync"}, event{Path: outCfg + "/interface", Value: `"eth7"`})
		}},
		{"G64_entry_is_one_delete", func(t *testing.T, tree *telemetry.Tree, r *reader) {
			follow(t, tree, r, onChange(t, "/mcr/forwarding"))
			r.take()
			remove(t, tree, ruleCfg, ruleSt, outCfg)
			wantEvents(t, r, event{Path: rule1, Value: "deleted"})
		}},
		{"G64_entry_delete_reaches_who_knows_a_leaf_of_it", func(t *testing.T, tree *telemetry.Tree, r *reader) {
			follow(t, tree, r, onChange(t, "/mcr/forwarding/rules/rule/state/oper-status", "/mcr/mrib"))
			r.take()
			remove(t, tree, ruleCfg, ruleSt, outCfg)
			wantEvents(t, r, event{Path: rule1, Value: "deleted"})
		}},
		{"G64_no_delete_for_who_was_told_nothing", func(t *testing.T, tree *telemetry.Tree, r *reader) {
			follow(t, tree, r, onChange(t, rule1+"/outputs", "/mcr/mrib"))
			r.take()
			remove(t, tree, ruleCfg)
			wantEvents(t, r)
		}},
		{"G64_removed_leaf", func(t *testing.T, tree *telemetry.Tree, r *reader) {
			follow(t, tree, r, onChange(t, "/mcr/forwarding"))
			r.take()
			apply(t, tree, time.Now(), unit(t, outCfg, str("name", "o1")))
			wantEvents(t, r, event{Path: outCfg + "/interface", Value: "deleted"})
		}},
		{"G72_updates_only", func(t *testing.T, tree *telemetry.Tree, r *reader) {
			req := onChange(t, "/")
			req.UpdatesOnly = true
			follow(t, tree, r, req)
			wantEvents(t, r, event{Path: "sync"})
			apply(t, tree, time.Now(), cfg("eth2"))
			wantEvents(t, r, event{Path: outCfg + "/interface", Value: `"eth2"`})
		}},
		{"G75_G77_left_out_key_covers_later_entries", func(t *testing.T, tree *telemetry.Tree, r *reader) {
			follow(t, tree, r, onChange(t, "/mcr/forwarding/rules/rule/outputs/output/config/interface"))
			r.take()
			const later = "/mcr/forwarding/rules/rule[name=r2]/outputs/output[name=x]/config"
			apply(t, tree, time.Now(), unit(t, later, str("interface", "eth5")))
			wantEvents(t, r, event{Path: later + "/interface", Value: `"eth5"`})
		}},
		{"G77_any_depth", func(t *testing.T, tree *telemetry.Tree, r *reader) {
			follow(t, tree, r, onChange(t, "/mcr/.../interface"))
			r.take()
			apply(t, tree, time.Now(), cfg("eth2"))
			wantEvents(t, r, event{Path: outCfg + "/interface", Value: `"eth2"`})
		}},
		{"G84_G85_newest_replaces_waiting_and_is_counted", func(t *testing.T, tree *telemetry.Tree, r *reader) {
			req := onChange(t, outCfg)
			req.UpdatesOnly = true
			r.gate = make(chan struct{})
			s := follow(t, tree, r, req)
			for i := range 1000 {
				apply(t, tree, time.Now(), cfg(fmt.Sprintf("eth%d", i+10)))
			}
			if n := s.Waiting(); n != 1 {
				t.Errorf("%d values wait, want 1", n)
			}
			close(r.gate)
			wantEvents(t, r, event{Path: "sync"}, event{Path: outCfg + "/interface", Value: `"eth1009"`, Dups: 999})
		}},
		{"G82_G85_times_do_not_go_back_and_a_Set_stays_together", func(t *testing.T, tree *telemetry.Tree, r *reader) {
			req := onChange(t, ruleCfg, outCfg)
			req.UpdatesOnly = true
			r.gate = make(chan struct{})
			follow(t, tree, r, req)
			apply(t, tree, start.Add(time.Second), unit(t, ruleCfg, str("input-group", "239.1.1.2"), num("input-port", 2), str("name", "r1")), cfg("eth2"))
			apply(t, tree, start.Add(2*time.Second), unit(t, ruleCfg, str("input-group", "239.1.1.2"), num("input-port", 3), str("name", "r1")))
			close(r.gate)
			wantEvents(t, r, event{Path: "sync"}, event{Path: ruleCfg + "/input-group", Value: `"239.1.1.2"`},
				event{Path: outCfg + "/interface", Value: `"eth2"`}, event{Path: ruleCfg + "/input-port", Value: "3", Dups: 1})
		}},
		{"G85_delete_then_create_are_both_told", func(t *testing.T, tree *telemetry.Tree, r *reader) {
			req := onChange(t, rule1+"/outputs")
			req.UpdatesOnly = true
			r.gate = make(chan struct{})
			follow(t, tree, r, req)
			apply(t, tree, time.Now(), cfg("eth2"))
			remove(t, tree, outCfg)
			apply(t, tree, time.Now().Add(time.Second), cfg("eth3"))
			close(r.gate)
			wantEvents(t, r, event{Path: "sync"}, event{Path: rule1 + "/outputs/output[name=o1]", Value: "deleted"},
				event{Path: outCfg + "/interface", Value: `"eth3"`}, event{Path: outCfg + "/name", Value: `"o1"`},
				event{Path: rule1 + "/outputs/output[name=o1]/name", Value: `"o1"`})
		}},
		{"G84_entries_that_come_and_go_unread_do_not_pile_up", func(t *testing.T, tree *telemetry.Tree, r *reader) {
			r.gate = make(chan struct{})
			s := follow(t, tree, r, onChange(t, "/mcr/forwarding"))
			for i := range 500 {
				p := fmt.Sprintf("/mcr/forwarding/rules/rule[name=tmp%d]/config", i)
				apply(t, tree, time.Now(), unit(t, p, str("name", "x")))
				remove(t, tree, p)
			}
			if n := s.Waiting(); n != 0 {
				t.Errorf("%d wait, want 0", n)
			}
			close(r.gate)
		}},
		{"G74_counter_below_a_container_each_10s_when_changed", func(t *testing.T, tree *telemetry.Tree, r *reader) {
			counting(t, tree)
			follow(t, tree, r, onChange(t, ruleSt))
			r.take()
			time.Sleep(9 * time.Second)
			wantEvents(t, r)
			time.Sleep(1500 * time.Millisecond)
			if got := r.take(); len(got) != 1 || got[0].Path != ruleSt+"/counters/packets" {
				t.Errorf("told %v", got)
			}
		}},
		{"G74_named_counter_each_second", func(t *testing.T, tree *telemetry.Tree, r *reader) {
			counting(t, tree)
			follow(t, tree, r, onChange(t, "/mcr/forwarding/rules/rule[name=*]/state/counters/packets"))
			r.take()
			time.Sleep(5500 * time.Millisecond)
			synctest.Wait()
			if got := r.take(); len(got) != 5 {
				t.Errorf("%d values in 5.5 s: %v", len(got), got)
			}
		}},
		{"G71_heartbeat_repeats_everything", func(t *testing.T, tree *telemetry.Tree, r *reader) {
			req := onChange(t, outCfg)
			req.Subscriptions[0].Heartbeat = 30 * time.Second
			follow(t, tree, r, req)
			r.take()
			time.Sleep(31 * time.Second)
			wantEvents(t, r, event{Path: outCfg + "/interface", Value: `"eth1"`}, event{Path: outCfg + "/name", Value: `"o1"`})
		}},
		{"G107_depth", func(t *testing.T, tree *telemetry.Tree, r *reader) {
			req := onChange(t, rule1)
			req.Filter.Depth = 1
			follow(t, tree, r, req)
			wantEvents(t, r, event{Path: rule1 + "/name", Value: `"r1"`}, event{Path: "sync"})
			apply(t, tree, time.Now(), cfg("eth2"))
			wantEvents(t, r)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { tt.run(t, sample(t), &reader{}) })
		})
	}
}

// counting gives the rule a counter that moves with each read.
func counting(tb testing.TB, tree *telemetry.Tree) {
	tb.Helper()
	var mu sync.Mutex
	n := uint64(0)
	st := unit(tb, ruleSt, str("name", "r1"), str("oper-status", "up"))
	st.Sample = func(dst []telemetry.Leaf) []telemetry.Leaf {
		mu.Lock()
		defer mu.Unlock()
		n++
		return append(dst, num("counters/octets", 5), num("counters/packets", n))
	}
	apply(tb, tree, time.Now(), st)
}

func TestSample(t *testing.T) {
	inBubble := func(name string, run func(t *testing.T, tree *telemetry.Tree, r *reader)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { run(t, sample(t), &reader{}) })
		})
	}
	inBubble("G67_every_leaf_once_per_interval", func(t *testing.T, tree *telemetry.Tree, r *reader) {
		follow(t, tree, r, sampleEach(t, outCfg, 2*time.Second))
		r.take()
		time.Sleep(7 * time.Second)
		synctest.Wait()
		if got := r.take(); len(got) != 6 {
			t.Errorf("%d values of 2 leaves in 3 intervals", len(got))
		}
	})
	inBubble("G67_no_bunch_after_a_pause_and_no_drift", func(t *testing.T, tree *telemetry.Tree, r *reader) {
		r.gate = make(chan struct{})
		begin := time.Now()
		follow(t, tree, r, sampleEach(t, outCfg+"/name", time.Second))
		r.gate <- struct{}{} // initial
		r.gate <- struct{}{} // sync
		time.Sleep(5300 * time.Millisecond)
		close(r.gate)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		var at []time.Duration
		for _, tm := range r.times[2:] {
			at = append(at, tm.Sub(begin).Truncate(time.Millisecond))
		}
		want := []time.Duration{5300 * time.Millisecond, 6 * time.Second, 7 * time.Second}
		if !cmp.Equal(want, at) {
			t.Errorf("samples at %v, want %v", at, want)
		}
	})
	inBubble("G68_zero_is_one_second", func(t *testing.T, tree *telemetry.Tree, r *reader) {
		follow(t, tree, r, sampleEach(t, outCfg+"/name", 0))
		r.take()
		time.Sleep(3500 * time.Millisecond)
		synctest.Wait()
		if got := r.take(); len(got) != 3 {
			t.Errorf("%d values in 3.5 s", len(got))
		}
	})
	inBubble("G69_G70_suppress_redundant_and_heartbeat", func(t *testing.T, tree *telemetry.Tree, r *reader) {
		counting(t, tree)
		req := sampleEach(t, ruleSt+"/counters", time.Second)
		req.Subscriptions[0].SuppressRedundant = true
		req.Subscriptions[0].Heartbeat = 10 * time.Second
		follow(t, tree, r, req)
		r.take()
		time.Sleep(10500 * time.Millisecond)
		synctest.Wait()
		count := map[string]int{}
		for _, e := range r.take() {
			count[strings.TrimPrefix(e.Path, ruleSt+"/counters/")]++
		}
		if count["octets"] != 1 || count["packets"] < 10 {
			t.Errorf("values %v: want 1 of octets, 10 or more of packets", count)
		}
	})
	inBubble("G73_target_defined", func(t *testing.T, tree *telemetry.Tree, r *reader) {
		req := sampleEach(t, ruleSt, 0)
		req.Subscriptions[0].Mode = telemetry.TargetDefined
		follow(t, tree, r, req)
		r.take()
		time.Sleep(9 * time.Second)
		wantEvents(t, r)
		apply(t, tree, time.Now(), unit(t, ruleCfg, str("name", "r1")), &telemetry.Unit{
			Path: at(t, ruleSt), Leaves: []telemetry.Leaf{str("name", "r1"), str("oper-status", "down")}, Sample: tree.Snapshot().Unit(at(t, ruleSt)).Sample,
		})
		wantEvents(t, r, event{Path: ruleSt + "/oper-status", Value: `"down"`})
		time.Sleep(2 * time.Second)
		wantEvents(t, r, event{Path: ruleSt + "/counters/octets", Value: "1152921504606846976"}, event{Path: ruleSt + "/counters/packets", Value: "7"})
	})
	inBubble("G64_delete_reaches_a_sampler_at_once", func(t *testing.T, tree *telemetry.Tree, r *reader) {
		follow(t, tree, r, sampleEach(t, "/mcr/forwarding/rules/rule/state/counters", 10*time.Second))
		r.take()
		remove(t, tree, ruleCfg, ruleSt, outCfg)
		wantEvents(t, r, event{Path: rule1, Value: "deleted"})
		apply(t, tree, time.Now(), unit(t, ruleSt, str("name", "r1")))
		remove(t, tree, ruleSt) // came and went between two samples
		wantEvents(t, r)
	})
	inBubble("G89_counters_that_come_back_are_told", func(t *testing.T, tree *telemetry.Tree, r *reader) {
		req := onChange(t, ruleSt)
		follow(t, tree, r, req)
		r.take()
		st := &telemetry.Unit{Path: at(t, ruleSt), Leaves: []telemetry.Leaf{str("name", "r1"), str("oper-status", "up")}, Sample: tree.Snapshot().Unit(at(t, ruleSt)).Sample}
		counters := []event{{Path: ruleSt + "/counters/octets", Value: "1152921504606846976"}, {Path: ruleSt + "/counters/packets", Value: "7"}}
		gone := []event{{Path: ruleSt + "/counters/octets", Value: "deleted"}, {Path: ruleSt + "/counters/packets", Value: "deleted"}}
		bare := *st
		bare.Sample = nil
		apply(t, tree, time.Now(), &bare) // the Unit stays, its counters go
		wantEvents(t, r, gone...)
		apply(t, tree, time.Now(), st)
		time.Sleep(11 * time.Second)
		wantEvents(t, r, counters...)
		remove(t, tree, ruleSt) // all goes
		wantEvents(t, r, event{Path: ruleSt, Value: "deleted"})
		apply(t, tree, time.Now(), st)
		time.Sleep(11 * time.Second)
		wantEvents(t, r, append([]event{{Path: ruleSt + "/name", Value: `"r1"`}, {Path: ruleSt + "/oper-status", Value: `"up"`}}, counters...)...)
		time.Sleep(30 * time.Second)
		wantEvents(t, r) // and once
	})
	inBubble("G78_G85_what_waits_when_a_sample_is_due_is_told_once", func(t *testing.T, tree *telemetry.Tree, r *reader) {
		r.gate = make(chan struct{}, 1000)
		req := sampleEach(t, outCfg+"/name", time.Second)
		req.Subscriptions = append(req.Subscriptions, onChange(t, ruleCfg+"/input-port").Subscriptions...)
		follow(t, tree, r, req)
		t.Cleanup(func() { close(r.gate) })
		for range 3 { // both values and the marker
			r.gate <- struct{}{}
		}
		synctest.Wait()
		r.take()
		for i := range uint64(50) { // whether the change or the sample is seen first is chance
			time.Sleep(1001 * time.Millisecond) // the sample is being sent, and waits for the client
			synctest.Wait()
			apply(t, tree, time.Now(), unit(t, ruleCfg, str("input-group", "239.1.1.1"), num("input-port", i), str("name", "r1")))
			time.Sleep(999 * time.Millisecond) // now both wait
			for range 3 {
				r.gate <- struct{}{}
			}
			synctest.Wait()
			changes := 0
			for _, e := range r.take() {
				if e.Path == ruleCfg+"/input-port" {
					changes++
				}
			}
			if changes != 1 {
				t.Fatalf("round %d: the change was told %d times", i, changes)
			}
		}
	})
	t.Run("G68_G71_too_short", func(t *testing.T) {
		for _, s := range []telemetry.Subscription{
			{Mode: telemetry.Sample, Interval: time.Millisecond},
			{Mode: telemetry.TargetDefined, Interval: time.Millisecond},
			{Mode: telemetry.OnChange, Heartbeat: time.Millisecond},
		} {
			if err := s.Check(); err == nil || !strings.Contains(err.Error(), "1s") {
				t.Errorf("%+v: error %v does not name the smallest", s, err)
			}
		}
	})
}

// TestStreamEqualsTree is G89 under random changes and a client that reads at random (G62, G64, G77, G85).
func TestStreamEqualsTree(t *testing.T) {
	patterns := [][]string{
		{"/"},
		{"/mcr/forwarding/rules/rule/outputs"},
		{"/mcr/forwarding/rules/rule[name=r1]"},
		{"/mcr/.../name", "/mcr/forwarding/rules/rule[name=*]/config"},
		{"/mcr/forwarding/*/rule/config/description"},
		{rule1 + "/config", "/mcr/forwarding/rules"},
	}
	for seed := range uint64(24) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(seed, 1))
				tree := sample(t)
				req := onChange(t, patterns[seed%uint64(len(patterns))]...)
				r := &reader{gate: make(chan struct{})}
				follow(t, tree, r, req)
				for range 200 {
					time.Sleep(time.Millisecond)
					randomChange(t, rnd, tree)
					for range rnd.IntN(4) {
						select {
						case r.gate <- struct{}{}:
							synctest.Wait()
						default:
						}
					}
				}
				close(r.gate)
				synctest.Wait()
				got := replay(t, r.take())
				want := map[string]string{}
				_ = tree.Once(req, func(m *telemetry.Message) error {
					for _, u := range decoded(m).GetUpdate().GetUpdate() {
						want[text(u.GetPath())] = string(u.GetVal().GetJsonVal())
					}
					return nil
				})
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("client's tree (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func randomChange(t *testing.T, rnd *rand.Rand, tree *telemetry.Tree) {
	t.Helper()
	c := telemetry.Changes{Time: time.Now()}
	for range 1 + rnd.IntN(4) {
		p := fmt.Sprintf("/mcr/forwarding/rules/rule[name=r%d]", rnd.IntN(3))
		if rnd.IntN(2) == 0 {
			p += fmt.Sprintf("/outputs/output[name=o%d]", rnd.IntN(3))
		}
		if rnd.IntN(3) == 0 {
			c.Delete = append(c.Delete, at(t, p+"/config"), at(t, p+"/state"))
			continue
		}
		u := unit(t, p+"/config", str("name", "n"))
		if !strings.Contains(p, "output") && rnd.IntN(2) == 0 {
			u.Leaves = append(u.Leaves, str("description", fmt.Sprint(rnd.IntN(5))))
		}
		if strings.Contains(p, "output") && rnd.IntN(2) == 0 {
			u.Leaves = append(u.Leaves, str("interface", fmt.Sprint("eth", rnd.IntN(5))))
		}
		c.Update = append(c.Update, u)
	}
	if err := tree.Apply(c); err != nil {
		t.Fatal(err)
	}
}

// replay does what a client does, and fails on a delete of something that it was never told of.
func replay(t *testing.T, events []event) map[string]string {
	t.Helper()
	state := map[string]string{}
	syncs := 0
	for _, e := range events {
		switch {
		case e.Path == "sync":
			syncs++
		case e.Value == "deleted":
			n := len(state)
			for k := range state {
				if k == e.Path || strings.HasPrefix(k, e.Path+"/") {
					delete(state, k)
				}
			}
			if n == len(state) {
				t.Errorf("delete of %s, which the client was never told of", e.Path)
			}
		default:
			state[e.Path] = e.Value
		}
	}
	if syncs != 1 {
		t.Errorf("%d sync markers", syncs)
	}
	return state
}

func TestCloseForgets(t *testing.T) {
	tree := sample(t)
	for range 100 {
		s := tree.Subscribe(onChange(t, "/", "/mcr/.../name", "/mcr/forwarding/rules/rule[name=a]/state"))
		s.Close()
		s.Close()
	}
	if n := telemetry.Watches(tree); n != 0 {
		t.Errorf("%d nodes of the trie are left", n)
	}
}

// A Set that adds an output costs the same with 10 and with 10,000 of them.
func BenchmarkApplyOneOutput(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			tree := telemetry.New(schema(b))
			var units []*telemetry.Unit
			for i := range n {
				units = append(units, unit(b, fmt.Sprintf("%s/outputs/output[name=o%d]/config", rule1, i), str("interface", "eth0")))
			}
			apply(b, tree, time.Now(), units...)
			s := tree.Subscribe(onChange(b, "/"))
			b.Cleanup(s.Close)
			u := [2]*telemetry.Unit{unit(b, outCfg, str("interface", "a")), unit(b, outCfg, str("interface", "b"))}
			for i := 0; b.Loop(); i++ {
				apply(b, tree, time.Now(), u[i%2])
			}
		})
	}
}

// One Apply is one notification, also for a client that reads while it is being told.
func TestApplyIsOneNotification(t *testing.T) {
	tree := sample(t)
	type note struct {
		at int64
		n  int
	}
	notes := make(chan note, 100)
	s := tree.Subscribe(onChange(t, "/mcr/forwarding"))
	defer s.Close()
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		done <- s.Run(ctx, func(w *telemetry.Message) error {
			m := decoded(w)
			notes <- note{m.GetUpdate().GetTimestamp(), len(m.GetUpdate().GetUpdate()) + len(m.GetUpdate().GetDelete())}
			return nil
		})
	}()
	defer func() { cancel(); <-done }()
	for n := range notes { // initial data, and the marker
		if n.at == 0 {
			break
		}
	}
	const outputs = 60
	for i := range 300 {
		now := start.Add(time.Duration(i+1) * time.Second)
		var units []*telemetry.Unit
		for o := range outputs {
			path := fmt.Sprintf("%s/outputs/output[name=x%d]", rule1, o)
			units = append(units, unit(t, path+"/config", str("interface", fmt.Sprint("eth", i))), unit(t, path+"/state", str("interface", fmt.Sprint("eth", i))))
		}
		apply(t, tree, now, units...)
		want := 2 * outputs
		if i == 0 {
			want += outputs // the keys
		}
		if got := <-notes; got != (note{now.UnixNano(), want}) {
			t.Fatalf("apply %d: %+v, want %d leaves at %d", i, got, want, now.UnixNano())
		}
	}
}
