// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	gnmipb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/openconfig/gnmi/proto/gnmi_ext"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"mcr/tests/lab"
)

// commit does a Set with a commit extension.
func (c *client) commit(req *gnmipb.SetRequest, commit *gnmi_ext.Commit) error {
	req.Extension = []*gnmi_ext.Extension{{Ext: &gnmi_ext.Extension_Commit{Commit: commit}}}
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	_, err := c.c.Set(ctx, req)
	return err
}

// unconfirmed asks for a commit that goes back by itself.
func unconfirmed(id string, after time.Duration) *gnmi_ext.Commit {
	return &gnmi_ext.Commit{Id: id, Action: &gnmi_ext.Commit_Commit{
		Commit: &gnmi_ext.CommitRequest{RollbackDuration: durationpb.New(after)},
	}}
}

// trial is a router with one branch that stays and one that a commit on trial moves from the old receiver to the new one.
type trial struct {
	*bed
	stays, old, new *lab.Sink
	sent            uint64 // to the branch that stays
	before          string // the configuration
}

func newTrial(t *testing.T) *trial {
	t.Helper()
	b := newBed(t)
	tr := &trial{bed: b, stays: b.dst.Sink("10.0.2.2:6000"), old: b.dst.Sink("10.0.2.2:6001"), new: b.dst.Sink("10.0.2.2:6002")}
	b.start(ruleOn("r", "in", uni("stays", "out", "10.0.2.2", 6000), uni("moves", "out", "10.0.2.2", 6001)))
	tr.before = b.c.config("mcr")
	tr.follows(tr.old)
	return tr
}

// try moves the branch, on trial.
func (tr *trial) try(id string, after time.Duration) {
	tr.t.Helper()
	req := &gnmipb.SetRequest{Update: []*gnmipb.Update{put(outputPath("r", "moves")+"/config/port", 6002)}}
	tr.c.must(tr.c.commit(req, unconfirmed(id, after)))
}

// follows demands that packets go where they should, each once, and nowhere else.
func (tr *trial) follows(to *lab.Sink) {
	tr.t.Helper()
	const n = 200
	other := tr.old
	if to == tr.old {
		other = tr.new
	}
	had, elsewhere := to.Received(), other.Received()
	tr.src.Send(steady(2000, n))
	tr.sent += n
	to.Wait(had+n, patience)
	tr.stays.Exactly(tr.sent)
	if got, more := to.Received()-had, other.Received()-elsewhere; got != n || more != 0 {
		tr.t.Errorf("of %d datagrams %d came where they should and %d where they should not", n, got, more)
	}
}

// isBack demands the configuration from before, and that nothing is pending.
func (tr *trial) isBack() {
	tr.t.Helper()
	if now := tr.c.config("mcr"); now != tr.before {
		tr.t.Errorf("the configuration is\n%s\nand was\n%s", now, tr.before)
	}
	if id := tr.c.get("mcr/system/configuration/state")["mcr/system/configuration/state/pending-commit-id"]; id != "" {
		tr.t.Errorf("commit %q is still pending", id)
	}
	tr.follows(tr.old)
	tr.c.must(tr.c.update(rulePath("r")+"/config/description", "free again"))
}

// kill -9 within the window of a commit that is not confirmed: after the restart the configuration from before is back, and packets
// follow it. Confirmed, it stays. G100, G103, G106.
func TestG106_KilledBeforeConfirmed(t *testing.T) {
	t.Parallel()
	t.Run("killed", func(t *testing.T) {
		t.Parallel()
		tr := newTrial(t)
		for i := range 3 { // also of a store that has gone back before
			tr.try(fmt.Sprint("trial", i), time.Hour)
			tr.follows(tr.new)
			if err := tr.c.update(rulePath("r")+"/config/description", "x"); status.Code(err) != codes.FailedPrecondition {
				t.Errorf("a Set while a commit is pending: %v, want FailedPrecondition", err)
			}
			tr.d.Kill()
			tr.d.Start()
			tr.c = dial(t, tr.d)
			tr.isBack()
			tr.before = tr.c.config("mcr")
		}
	})
	t.Run("stopped", func(t *testing.T) {
		t.Parallel()
		tr := newTrial(t)
		tr.try("trial", time.Hour)
		tr.follows(tr.new)
		tr.restart()
		tr.isBack()
	})
	t.Run("killed_until_after_the_deadline", func(t *testing.T) {
		t.Parallel()
		tr := newTrial(t)
		tr.try("trial", time.Second)
		tr.d.Kill()
		time.Sleep(time.Second) // the deadline passes while nobody is there
		tr.d.Start()
		tr.c = dial(t, tr.d)
		tr.isBack()
	})
	t.Run("confirmed_and_killed", func(t *testing.T) {
		t.Parallel()
		tr := newTrial(t)
		tr.try("trial", time.Hour)
		tr.c.must(tr.c.commit(&gnmipb.SetRequest{}, &gnmi_ext.Commit{Id: "trial", Action: &gnmi_ext.Commit_Confirm{Confirm: &gnmi_ext.CommitConfirm{}}}))
		kept := tr.c.config("mcr")
		tr.d.Kill()
		tr.d.Start()
		tr.c = dial(t, tr.d)
		if now := tr.c.config("mcr"); now != kept {
			t.Errorf("the confirmed configuration is\n%s\nand was\n%s", now, kept)
		}
		tr.follows(tr.new)
	})
}

// A trial that nobody confirms ends by itself, and one that is cancelled at once, under traffic: subscribers see it, the branch that stays loses
// nothing. G101, G102, P1.6.
func TestG101_GoesBackUnderTraffic(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(tr *trial){
		"time_is_up": func(tr *trial) { tr.try("trial", time.Second) },
		"cancelled": func(tr *trial) {
			tr.try("trial", time.Hour)
			tr.c.must(tr.c.commit(&gnmipb.SetRequest{}, &gnmi_ext.Commit{Id: "trial", Action: &gnmi_ext.Commit_Cancel{Cancel: &gnmi_ext.CommitCancel{}}}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t)
			w := tr.c.follow(outputPath("r", "moves"))
			s := tr.src.StartSend(steady(2000, 0))
			end(tr)
			lab.Until(t, patience, "the subscriber sees it go and come back", func() error {
				if ports := fmt.Sprint(w.values(outputPath("r", "moves") + "/config/port")); ports != "[6001 6002 6001]" {
					return fmt.Errorf("it saw %s", ports)
				}
				return nil
			})
			reaches(tr.old, 100, patience)
			sent := s.Stop().Sent
			tr.sent += sent
			tr.stays.Exactly(tr.sent)
			tr.isBack()
		})
	}
}
