// SPDX-License-Identifier: Apache-2.0

package interop_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/openconfig/gnmi/proto/gnmi_ext"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/durationpb"
)

// commit is the extension commit-confirmed.
func commit(id string, action any) *gnmi_ext.Extension {
	c := &gnmi_ext.Commit{Id: id}
	switch a := action.(type) {
	case *gnmi_ext.CommitRequest:
		c.Action = &gnmi_ext.Commit_Commit{Commit: a}
	case *gnmi_ext.CommitConfirm:
		c.Action = &gnmi_ext.Commit_Confirm{Confirm: a}
	case *gnmi_ext.CommitCancel:
		c.Action = &gnmi_ext.Commit_Cancel{Cancel: a}
	case *gnmi_ext.CommitSetRollbackDuration:
		c.Action = &gnmi_ext.Commit_SetRollbackDuration{SetRollbackDuration: a}
	}
	return &gnmi_ext.Extension{Ext: &gnmi_ext.Extension_Commit{Commit: c}}
}

// backAfter is the request to go back after a while; 0 leaves the time to mcrd.
func backAfter(d time.Duration) *gnmi_ext.CommitRequest {
	if d == 0 {
		return &gnmi_ext.CommitRequest{}
	}
	return &gnmi_ext.CommitRequest{RollbackDuration: durationpb.New(d)}
}

func anew(d time.Duration) *gnmi_ext.CommitSetRollbackDuration {
	return &gnmi_ext.CommitSetRollbackDuration{RollbackDuration: durationpb.New(d)}
}

var (
	confirm = &gnmi_ext.CommitConfirm{}
	cancel  = &gnmi_ext.CommitCancel{}
)

// act is a Set with nothing but the extension.
func act(id string, action any) *gpb.SetRequest { return with(&gpb.SetRequest{}, commit(id, action)) }

const (
	pendingID       = "/mcr/system/configuration/state/pending-commit-id"
	pendingDeadline = "/mcr/system/configuration/state/pending-commit-deadline"
)

// deadline is when the pending commit is rolled back.
func (c *client) deadline() time.Time {
	c.t.Helper()
	var n int64
	if _, err := fmt.Sscan(c.leaf(pendingDeadline), &n); err != nil {
		c.t.Fatalf("%s: %v", pendingDeadline, err)
	}
	return time.Unix(0, n)
}

func TestCommitConfirmed(t *testing.T) {
	t.Parallel()
	tg := start(t)

	// Applied at once, kept by confirm.
	tg.rule(t, "G100", func(c *client) {
		c.set(with(update(description, `"confirmed"`), commit("c1", backAfter(0))))
		c.is(description, "confirmed")
		c.is(pendingID, "c1")
		if left := time.Until(c.deadline()); left < 9*time.Minute || left > 10*time.Minute {
			c.t.Errorf("%v are left, want the default of 10 min", left)
		}
		c.set(act("c1", confirm))
		c.is(description, "confirmed")
		c.is(pendingID, "")
		c.is(pendingDeadline, "")
		c.set(update(description, `"and on"`))
	})

	// Time is up.
	tg.rule(t, "G101", func(c *client) {
		s := c.stream(onChange(r1+"/config", pendingID)...)
		c.set(with(update(description, `"for a while"`), commit("c2", backAfter(time.Second))))
		applied := time.Now()
		s.until(patience, "the commit", func(l leaves) bool { return l[description] == "for a while" && l[pendingID] == "c2" })
		s.until(patience, "the rollback", func(l leaves) bool { return l[description] == "first" && l[pendingID] == "" })
		if d := time.Since(applied); d < 900*time.Millisecond || d > 2*time.Second {
			c.t.Errorf("rolled back after %v, want 1 s", d)
		}
		c.is(description, "first")
		c.set(update(description, `"free again"`))
	})

	// Cancel.
	tg.rule(t, "G102", func(c *client) {
		c.set(with(replace("/mcr/forwarding/rules", `{}`), commit("c3", backAfter(time.Minute))))
		c.is(r1+"/config/name", "")
		c.set(act("c3", cancel))
		c.is(description, "first")
		c.is(pendingID, "")
	})

	// One at a time, and nothing else meanwhile.
	tg.rule(t, "G103", func(c *client) {
		c.set(with(update(description, `"pending"`), commit("c4", backAfter(time.Minute))))
		c.setRefused(update(description, `"x"`), codes.FailedPrecondition, "c4")
		c.setRefused(with(update(description, `"x"`), commit("c5", backAfter(time.Minute))), codes.FailedPrecondition, "c4")
		c.setRefused(with(update(description, `"x"`), commit("c4", backAfter(time.Minute))), codes.FailedPrecondition, "c4")
		c.is(description, "pending")
		c.set(act("c4", cancel))
	})

	// What is no action on a pending commit.
	tg.rule(t, "G104", func(c *client) {
		actions := []any{confirm, cancel, anew(time.Minute)}
		for _, a := range actions {
			c.setRefused(act("c6", a), codes.FailedPrecondition)
		}
		c.set(with(update(description, `"pending"`), commit("c6", backAfter(time.Minute))))
		for _, a := range actions {
			c.setRefused(act("other", a), codes.InvalidArgument, "other")
			c.setRefused(act("", a), codes.InvalidArgument, "id")
		}
		c.setRefused(act("c6", nil), codes.InvalidArgument, "action")
		c.set(act("c6", cancel))
		c.setRefused(with(update(description, `"x"`), commit("", backAfter(time.Minute))), codes.InvalidArgument, "id")
		c.setRefused(with(update(description, `"x"`), commit("c7", nil)), codes.InvalidArgument, "action")
		c.setRefused(with(update(description, `"x"`), commit("c7", backAfter(-time.Second))), codes.InvalidArgument)
	})

	// The time, set anew.
	tg.rule(t, "G105", func(c *client) {
		c.set(with(update(description, `"longer"`), commit("c8", backAfter(time.Minute))))
		c.set(act("c8", anew(5*time.Minute)))
		if left := time.Until(c.deadline()); left < 4*time.Minute || left > 5*time.Minute {
			c.t.Errorf("%v are left, want 5 min", left)
		}
		c.setRefused(act("c8", anew(0)), codes.InvalidArgument)
		c.setRefused(act("c8", &gnmi_ext.CommitSetRollbackDuration{}), codes.InvalidArgument)
		s := c.stream(onChange(description)...)
		c.set(act("c8", anew(time.Second)))
		s.until(patience, "the rollback", func(l leaves) bool { return l[description] == "first" })
	})

	// Confirm and cancel change nothing else; a crash while one is pending is no confirmation.
	tg.rule(t, "G106", func(c *client) {
		c.set(with(update(description, `"pending"`), commit("c9", backAfter(time.Minute))))
		for _, a := range []any{confirm, cancel} {
			c.setRefused(with(update(description, `"more"`), commit("c9", a)), codes.InvalidArgument)
		}
		c.is(description, "pending")
		tg.Kill()
		tg.Start()
		c.is(description, "first")
		c.is(pendingID, "")
		c.set(update(description, `"free again"`))
	})
}

// arbitration is the extension of that name.
func arbitration(role string, id *gnmi_ext.Uint128) *gnmi_ext.Extension {
	m := &gnmi_ext.MasterArbitration{ElectionId: id}
	if role != "" {
		m.Role = &gnmi_ext.Role{Id: role}
	}
	return &gnmi_ext.Extension{Ext: &gnmi_ext.Extension_MasterArbitration{MasterArbitration: m}}
}

func TestExtensions(t *testing.T) {
	t.Parallel()
	tg := start(t)

	// union_replace.
	tg.rule(t, "G50", func(c *client) {
		s := c.stream(onChange(r1+"/config", r2+"/config")...)
		resp := c.set(union(r1, `{"config":{"input-interface":"eth0","input-group":"239.1.1.1","input-port":5007}}`))
		if r := resp.GetResponse(); len(r) != 1 || r[0].GetOp() != gpb.UpdateResult_UNION_REPLACE || text(nil, r[0].GetPath()) != r1 {
			c.t.Errorf("results %v", r)
		}
		c.is(r1+"/config/input-port", "5007")
		c.is(description, "")
		c.is(lan+"/config/name", "")
		c.is(r2+"/config/input-port", "5001")
		c.restart()
		two := union(description, `"one"`)
		two.UnionReplace = append(two.UnionReplace, put(r2+"/config/description", str("two")))
		c.set(two)
		c.is(description, "one")
		c.is(r2+"/config/description", "two")
		both := union(description, `"x"`)
		both.Update = []*gpb.Update{put(description, str("y"))}
		c.setRefused(both, codes.InvalidArgument, "union_replace")
		both = union(description, `"x"`)
		both.Delete = paths(r2)
		c.setRefused(both, codes.InvalidArgument, "union_replace")
		bad := union(description, `"x"`)
		bad.UnionReplace = append(bad.UnionReplace, put(r2+"/config/input-port", number(70000)))
		c.setRefused(bad, codes.InvalidArgument, "union_replace[1]", "input-port")
		s.until(patience, "the second", func(l leaves) bool { return l[r2+"/config/description"] == "two" })
	})

	// Master arbitration.
	tg.rule(t, "G108", func(c *client) {
		by := func(role string, high, low uint64, v string) *gpb.SetRequest {
			return with(update(description, `"`+v+`"`), arbitration(role, &gnmi_ext.Uint128{High: high, Low: low}))
		}
		c.set(by("", 0, 10, "ten"))
		c.set(by("", 0, 10, "ten again"))
		c.setRefused(by("", 0, 9, "nine"), codes.PermissionDenied, "10")
		c.set(by("other", 0, 1, "another role"))
		c.set(with(&gpb.SetRequest{}, arbitration("", &gnmi_ext.Uint128{High: 1, Low: 0})))
		c.is(description, "another role")
		c.setRefused(by("", 0, 11, "no longer"), codes.PermissionDenied)
		c.set(by("", 1, 0, "master"))
		c.setRefused(with(update(description, `"x"`), arbitration("", nil)), codes.InvalidArgument, "election_id")
		c.set(update(description, `"without"`))
	})

	// History is not there, and says so.
	tg.rule(t, "G109", func(c *client) {
		history := &gnmi_ext.Extension{Ext: &gnmi_ext.Extension_History{History: &gnmi_ext.History{Request: &gnmi_ext.History_SnapshotTime{SnapshotTime: 1}}}}
		sub := request(nil, onChange(r1)...)
		sub.Extension = append(sub.Extension, history)
		c.open(sub).ends(codes.Unimplemented, "history")
		r := get(r1)
		r.Extension = append(r.Extension, history)
		c.getRefused(r, codes.Unimplemented, "history")
		c.setRefused(with(update(description, `"x"`), history), codes.Unimplemented, "history")
	})

	// The end of each commit, for those who follow the configuration.
	tg.rule(t, "G110", func(c *client) {
		sub := request(nil, onChange("/mcr/forwarding", "/network-instances")...)
		sub.Extension = append(sub.Extension, &gnmi_ext.Extension{Ext: &gnmi_ext.Extension_ConfigSubscription{ConfigSubscription: &gnmi_ext.ConfigSubscription{
			Action: &gnmi_ext.ConfigSubscription_Start{Start: &gnmi_ext.ConfigSubscriptionStart{}},
		}}})
		s := c.open(sub)
		s.sync()
		if r := typed(gpb.GetRequest_CONFIG, "/mcr/forwarding", "/network-instances"); len(s.now) == 0 {
			c.t.Error("no first data")
		} else {
			c.same(c.read(r), s.now)
		}
		// after reads up to the mark of a commit and returns it, with the leaves that were told before it.
		after := func() (*gnmi_ext.ConfigSubscriptionSyncDone, []string) {
			var all []string
			for {
				m := s.next(patience)
				c.must(m.err)
				for _, e := range m.GetExtension() {
					if d := e.GetConfigSubscription().GetSyncDone(); d != nil {
						return d, all
					}
				}
				u, d := told(m.GetUpdate())
				all = append(append(all, u...), d...)
			}
		}
		before := c.leaf(revision)
		c.set(&gpb.SetRequest{Update: []*gpb.Update{put(description, str("marked")), put(r2+"/config/description", str("marked"))}})
		done, leaves := after()
		slices.Sort(leaves)
		if !done.GetDone() || done.GetServerCommitId() != next(before) || done.GetCommitConfirmId() != "" {
			c.t.Errorf("the mark is %v, want done and commit %s", done, next(before))
		}
		if !slices.Equal(leaves, []string{description, r2 + "/config/description"}) {
			c.t.Errorf("before the mark: %v", leaves)
		}
		c.set(with(update(description, `"with an id"`), commit("mine", backAfter(time.Minute))))
		if done, _ := after(); done.GetCommitConfirmId() != "mine" || !done.GetDone() {
			c.t.Errorf("the mark is %v, want the client's id", done)
		}
		c.set(act("mine", cancel))
		if done, leaves := after(); !done.GetDone() || !slices.Equal(leaves, []string{description}) {
			c.t.Errorf("after cancel: %v %v", done, leaves)
		}
	})

	// What MCR does not know is ignored; what it knows and cannot do here is refused.
	tg.rule(t, "G111", func(c *client) {
		registered := &gnmi_ext.Extension{Ext: &gnmi_ext.Extension_RegisteredExt{
			RegisteredExt: &gnmi_ext.RegisteredExtension{Id: gnmi_ext.ExtensionID_EID_EXPERIMENTAL, Msg: []byte("x")},
		}}
		future := &gnmi_ext.Extension{}
		future.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 4711, protowire.BytesType), "x"))
		for _, e := range []*gnmi_ext.Extension{registered, future} {
			r := get(description)
			r.Extension = append(r.Extension, e)
			c.get(r)
			sub := request(once, onChange(r1)...)
			sub.Extension = append(sub.Extension, e)
			c.open(sub).sync()
			_, err := c.Capabilities(c.ctx(), &gpb.CapabilityRequest{Extension: []*gnmi_ext.Extension{e}})
			c.must(err)
			c.set(with(update(description, `"ignored"`), e))
		}
		roll := commit("c1", backAfter(time.Minute))
		master := arbitration("", &gnmi_ext.Uint128{Low: 1})
		start := &gnmi_ext.Extension{Ext: &gnmi_ext.Extension_ConfigSubscription{ConfigSubscription: &gnmi_ext.ConfigSubscription{
			Action: &gnmi_ext.ConfigSubscription_Start{Start: &gnmi_ext.ConfigSubscriptionStart{}},
		}}}
		for name, e := range map[string]*gnmi_ext.Extension{"commit": roll, "master_arbitration": master, "config_subscription": start} {
			r := get(description)
			r.Extension = append(r.Extension, e)
			c.getRefused(r, codes.InvalidArgument, name)
			_, err := c.Capabilities(c.ctx(), &gpb.CapabilityRequest{Extension: []*gnmi_ext.Extension{e}})
			c.refused(err, codes.InvalidArgument, name)
			if name != "config_subscription" {
				sub := request(nil, onChange(r1)...)
				sub.Extension = append(sub.Extension, e)
				c.open(sub).ends(codes.InvalidArgument, name)
			}
		}
		c.setRefused(with(update(description, `"x"`), depth(1)), codes.InvalidArgument, "depth")
		c.setRefused(with(update(description, `"x"`), start), codes.InvalidArgument, "config_subscription")
	})
}
