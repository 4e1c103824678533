// SPDX-License-Identifier: Apache-2.0

package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"mcr/northbound/telemetry"
)

// withMarks is send that notes the marks of commits, too.
func (r *reader) withMarks(m *telemetry.Message) error {
	for _, e := range decoded(m).GetExtension() {
		done := e.GetConfigSubscription().GetSyncDone()
		r.mu.Lock()
		r.events = append(r.events, event{Path: "commit " + done.GetServerCommitId(), Value: done.GetCommitConfirmId()})
		if !done.GetDone() {
			r.events = append(r.events, event{Path: "not done"})
		}
		r.mu.Unlock()
	}
	return r.send(m)
}

// commit applies a commit of the configuration.
func commit(t *testing.T, tree *telemetry.Tree, n uint64, id string, units ...*telemetry.Unit) {
	t.Helper()
	err := tree.Apply(telemetry.Changes{Time: time.Now(), Update: units, Commit: &telemetry.CommitMark{Number: n, ID: id}})
	if err != nil {
		t.Fatal(err)
	}
}

// followCommits is follow for a config subscription.
func followCommits(t *testing.T, tree *telemetry.Tree, r *reader, paths ...string) *telemetry.Stream {
	t.Helper()
	req := onChange(t, paths...)
	req.CommitMarks = true
	s := tree.Subscribe(req)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, r.withMarks) }()
	t.Cleanup(func() {
		cancel()
		s.Close()
		<-done
	})
	synctest.Wait()
	return s
}

func TestG110ConfigSubscription(t *testing.T) {
	out := func(t *testing.T, iface string) *telemetry.Unit {
		return unit(t, outCfg, str("interface", iface), str("name", "o1"))
	}
	tests := []struct {
		name string
		run  func(t *testing.T, tree *telemetry.Tree, r *reader)
	}{
		{"configuration only, and a mark after each commit", func(t *testing.T, tree *telemetry.Tree, r *reader) {
			followCommits(t, tree, r, rule1)
			wantEvents(t, r,
				event{Path: rule1 + "/name", Value: `"r1"`}, event{Path: ruleCfg + "/input-group", Value: `"239.1.1.1"`},
				event{Path: ruleCfg + "/input-port", Value: "5000"}, event{Path: ruleCfg + "/name", Value: `"r1"`},
				event{Path: rule1 + "/outputs/output[name=o1]/name", Value: `"o1"`},
				event{Path: outCfg + "/interface", Value: `"eth1"`}, event{Path: outCfg + "/name", Value: `"o1"`}, event{Path: "sync"})
			commit(t, tree, 7, "", out(t, "eth2"), unit(t, ruleSt, str("name", "r1"), str("oper-status", "down")))
			wantEvents(t, r, event{Path: outCfg + "/interface", Value: `"eth2"`}, event{Path: "commit 7"})
			apply(t, tree, time.Now(), unit(t, ruleSt, str("name", "r1"), str("oper-status", "up")))
			wantEvents(t, r)
		}},
		{"the client's commit id", func(t *testing.T, tree *telemetry.Tree, r *reader) {
			followCommits(t, tree, r, outCfg)
			r.take()
			commit(t, tree, 8, "c1", out(t, "eth2"))
			wantEvents(t, r, event{Path: outCfg + "/interface", Value: `"eth2"`}, event{Path: "commit 8", Value: "c1"})
		}},
		{"a commit that changes nothing here is told, too", func(t *testing.T, tree *telemetry.Tree, r *reader) {
			followCommits(t, tree, r, "/mcr/dataplane")
			r.take()
			commit(t, tree, 9, "", out(t, "eth2"))
			commit(t, tree, 10, "", out(t, "eth2"))
			wantEvents(t, r, event{Path: "commit 9"}, event{Path: "commit 10"})
		}},
		{"no mark before the first sync", func(t *testing.T, tree *telemetry.Tree, r *reader) {
			r.gate = make(chan struct{})
			followCommits(t, tree, r, outCfg+"/interface")
			commit(t, tree, 7, "", out(t, "eth7"))
			close(r.gate)
			wantEvents(t, r, event{Path: outCfg + "/interface", Value: `"eth1"`}, event{Path: "sync"},
				event{Path: outCfg + "/interface", Value: `"eth7"`}, event{Path: "commit 7"})
		}},
		{"values are not merged across a mark, and none overtakes one", func(t *testing.T, tree *telemetry.Tree, r *reader) {
			r.gate = make(chan struct{})
			s := followCommits(t, tree, r, outCfg+"/interface")
			for i := range uint64(3) {
				commit(t, tree, i, "", out(t, fmt.Sprint("eth", 10+i)))
			}
			remove(t, tree, outCfg)
			commit(t, tree, 3, "")
			if st := s.Stats(); st.Waiting != 8 || st.Merged != 0 {
				t.Errorf("stats %+v, want 8 waiting, none merged", st)
			}
			close(r.gate)
			wantEvents(t, r, event{Path: outCfg + "/interface", Value: `"eth1"`}, event{Path: "sync"},
				event{Path: outCfg + "/interface", Value: `"eth10"`}, event{Path: "commit 0"},
				event{Path: outCfg + "/interface", Value: `"eth11"`}, event{Path: "commit 1"},
				event{Path: outCfg + "/interface", Value: `"eth12"`}, event{Path: "commit 2"},
				event{Path: rule1 + "/outputs/output[name=o1]", Value: "deleted"}, event{Path: "commit 3"})
		}},
		{"other streams have no marks", func(t *testing.T, tree *telemetry.Tree, r *reader) {
			follow(t, tree, r, onChange(t, outCfg))
			r.take()
			commit(t, tree, 7, "", out(t, "eth2"))
			wantEvents(t, r, event{Path: outCfg + "/interface", Value: `"eth2"`})
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { tt.run(t, sample(t), &reader{}) })
		})
	}
}

// G84: values of different commits are not merged, so a config subscription that is not read ends instead of growing.
func TestG84UnreadCommitsEndTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree := sample(t)
		req := onChange(t, outCfg)
		req.CommitMarks = true
		s := tree.Subscribe(req)
		defer s.Close()
		for i := range uint64(20_000) {
			commit(t, tree, i, "", unit(t, outCfg, str("interface", fmt.Sprint("eth", i)), str("name", "o1")))
		}
		if n := s.Stats().Waiting; n > 20_002 {
			t.Errorf("%d wait", n)
		}
		if err := s.Run(t.Context(), (&reader{}).send); !errors.Is(err, telemetry.ErrSlow) {
			t.Errorf("run: %v, want %v", err, telemetry.ErrSlow)
		}
		if st := s.Stats(); st.Dropped == 0 || st.Waiting != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

// G127: a stream's figures are what its client sees.
func TestG127StreamStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree := sample(t)
		r := &reader{gate: make(chan struct{}, 10)}
		req := onChange(t, outCfg)
		req.UpdatesOnly = true
		r.gate <- struct{}{}
		s := follow(t, tree, r, req)
		for i := range 3 {
			apply(t, tree, time.Now(), unit(t, outCfg, str("interface", fmt.Sprint("eth", 5+i)), str("name", "o1")))
			synctest.Wait()
		}
		// The sync marker is read, eth5 is being sent, eth6 and eth7 are merged and wait.
		if got, want := s.Stats(), (telemetry.StreamStats{Sent: 1, Waiting: 1, Merged: 1}); got != want {
			t.Errorf("stats %+v, want %+v", got, want)
		}
		close(r.gate)
		synctest.Wait()
		if got, want := s.Stats(), (telemetry.StreamStats{Sent: 3, Merged: 1}); got != want {
			t.Errorf("stats %+v, want %+v", got, want)
		}
	})
	synctest.Test(t, func(t *testing.T) { // samples that are not taken count for their leaves
		r := &reader{gate: make(chan struct{}, 10)}
		s := follow(t, sample(t), r, sampleEach(t, outCfg, time.Second))
		for range 3 { // initial data, sync, a sample
			r.gate <- struct{}{}
		}
		time.Sleep(10500 * time.Millisecond)
		close(r.gate)
		synctest.Wait()
		if n := s.Stats().Dropped; n < 14 || n > 18 {
			t.Errorf("%d values dropped in 8 samples of 2", n)
		}
	})
}
