// SPDX-License-Identifier: Apache-2.0

package gnmi_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/openconfig/gnmi/proto/gnmi_ext"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	"mcr/northbound/config"
)

func commitExt(c *gnmi_ext.Commit) *gnmi_ext.Extension {
	return &gnmi_ext.Extension{Ext: &gnmi_ext.Extension_Commit{Commit: c}}
}

func request(rollback *durationpb.Duration) *gnmi_ext.Commit_Commit {
	return &gnmi_ext.Commit_Commit{Commit: &gnmi_ext.CommitRequest{RollbackDuration: rollback}}
}

func rollback(d *durationpb.Duration) *gnmi_ext.Commit_SetRollbackDuration {
	return &gnmi_ext.Commit_SetRollbackDuration{SetRollbackDuration: &gnmi_ext.CommitSetRollbackDuration{RollbackDuration: d}}
}

func TestCommitConfirmed(t *testing.T) {
	ops := []*gpb.Update{jsonUpdate("/mcr", "{}")}
	t.Run("G100_commit", func(t *testing.T) {
		tg := serve(t)
		for name, tt := range map[string]struct {
			given *durationpb.Duration
			want  time.Duration
		}{"default": {nil, 0}, "zero": {durationpb.New(0), 0}, "given": {durationpb.New(time.Minute), time.Minute}} {
			set(t, tg.client, &gpb.SetRequest{Update: ops, Extension: []*gnmi_ext.Extension{commitExt(&gnmi_ext.Commit{Id: "c1", Action: request(tt.given)})}})
			if got := tg.store.last(t); got.Confirm == nil || *got.Confirm != (config.Confirm{ID: "c1", Rollback: tt.want}) || len(got.Ops) != 1 {
				t.Errorf("%s: store got %+v", name, got.Confirm)
			}
		}
		if log := tg.log.String(); !strings.Contains(log, "commit=commit commit-id=c1") {
			t.Errorf("log: %s", log)
		}
	})
	t.Run("G100_G102_G105_decisions", func(t *testing.T) {
		tg := serve(t)
		for _, c := range []*gnmi_ext.Commit{
			{Id: "c1", Action: rollback(durationpb.New(5 * time.Minute))},
			{Id: "c1", Action: &gnmi_ext.Commit_Confirm{Confirm: &gnmi_ext.CommitConfirm{}}},
			{Id: "c2", Action: &gnmi_ext.Commit_Cancel{Cancel: &gnmi_ext.CommitCancel{}}},
		} {
			set(t, tg.client, &gpb.SetRequest{Extension: []*gnmi_ext.Extension{commitExt(c)}})
		}
		want := []string{"set c1 to 5m0s from unix", "confirm c1 from unix", "cancel c2 from unix"}
		if !slices.Equal(tg.store.decided, want) || len(tg.store.got) != 0 {
			t.Errorf("store got %v, want %v", tg.store.decided, want)
		}
	})
	t.Run("G103_says_the_store", func(t *testing.T) {
		tg := serve(t)
		tg.store.err = &config.Error{Faults: []config.Fault{{Op: -1, Code: config.Precondition, Reason: "commit c1 waits for 9m to be confirmed"}}}
		for _, ext := range [][]*gnmi_ext.Extension{nil, {commitExt(&gnmi_ext.Commit{Id: "c2", Action: request(nil)})}} {
			for _, u := range [][]*gpb.Update{ops, nil} {
				_, err := tg.client.Set(t.Context(), &gpb.SetRequest{Update: u, Extension: ext})
				wantStatus(t, err, codes.FailedPrecondition, "c1", "9m")
			}
		}
	})
	for _, tt := range []struct {
		name  string
		c     *gnmi_ext.Commit
		ops   []*gpb.Update
		names string
	}{
		{"G104_no_id", &gnmi_ext.Commit{Action: request(nil)}, ops, "no id"},
		{"G104_no_id_to_confirm", &gnmi_ext.Commit{Action: &gnmi_ext.Commit_Confirm{}}, nil, "no id"},
		{"G104_no_action", &gnmi_ext.Commit{Id: "c1"}, ops, "no action"},
		{"G105_no_duration", &gnmi_ext.Commit{Id: "c1", Action: rollback(nil)}, nil, "rollback_duration"},
		{"G105_zero", &gnmi_ext.Commit{Id: "c1", Action: rollback(durationpb.New(0))}, nil, "rollback_duration"},
		{"G105_negative", &gnmi_ext.Commit{Id: "c1", Action: rollback(durationpb.New(-1))}, nil, "rollback_duration"},
		{"G100_negative", &gnmi_ext.Commit{Id: "c1", Action: request(durationpb.New(-time.Second))}, ops, "rollback_duration"},
		{"G100_for_ever", &gnmi_ext.Commit{Id: "c1", Action: request(&durationpb.Duration{Seconds: math.MaxInt64})}, ops, "rollback_duration"},
		{"G106_confirm_with_operations", &gnmi_ext.Commit{Id: "c1", Action: &gnmi_ext.Commit_Confirm{}}, ops, "confirm together with operations"},
		{"G106_cancel_with_operations", &gnmi_ext.Commit{Id: "c1", Action: &gnmi_ext.Commit_Cancel{}}, ops, "cancel together with operations"},
		{"G106_duration_with_operations", &gnmi_ext.Commit{Id: "c1", Action: rollback(durationpb.New(1))}, ops, "together with operations"},
		{"id_without_bound", &gnmi_ext.Commit{Id: strings.Repeat("x", 1000), Action: request(nil)}, ops, "256"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tg := serve(t)
			_, err := tg.client.Set(t.Context(), &gpb.SetRequest{Update: tt.ops, Extension: []*gnmi_ext.Extension{commitExt(tt.c)}})
			wantStatus(t, err, codes.InvalidArgument, tt.names)
			if len(tg.store.got)+len(tg.store.decided) != 0 {
				t.Errorf("the store was asked: %v %v", tg.store.got, tg.store.decided)
			}
		})
	}
}

func master(role string, high, low uint64) []*gnmi_ext.Extension {
	m := &gnmi_ext.MasterArbitration{ElectionId: &gnmi_ext.Uint128{High: high, Low: low}}
	if role != "" {
		m.Role = &gnmi_ext.Role{Id: role}
	}
	return []*gnmi_ext.Extension{{Ext: &gnmi_ext.Extension_MasterArbitration{MasterArbitration: m}}}
}

func TestMasterArbitration(t *testing.T) {
	tg := serve(t)
	update := func(ext []*gnmi_ext.Extension) error {
		_, err := tg.client.Set(t.Context(), &gpb.SetRequest{Update: []*gpb.Update{jsonUpdate("/mcr", "{}")}, Extension: ext})
		return err
	}
	for i, step := range []struct {
		role      string
		high, low uint64
		code      codes.Code
	}{
		{"", 0, 5, codes.OK},
		{"", 0, 5, codes.OK},
		{"", 0, 4, codes.PermissionDenied},
		{"a", 0, 1, codes.OK}, // another role
		{"", 1, 0, codes.OK},  // 128 bits
		{"", 0, math.MaxUint64, codes.PermissionDenied},
		{"a", 0, 0, codes.PermissionDenied},
		{"a", 0, 2, codes.OK},
	} {
		if err := update(master(step.role, step.high, step.low)); step.code != codes.OK {
			wantStatus(t, err, step.code, "highest")
		} else if err != nil {
			t.Errorf("step %d: %v", i, err)
		}
	}
	t.Run("G108_without_the_extension_is_accepted", func(t *testing.T) {
		if err := update(nil); err != nil {
			t.Error(err)
		}
	})
	t.Run("G108_an_empty_Set_only_registers", func(t *testing.T) {
		n := len(tg.store.got)
		set(t, tg.client, &gpb.SetRequest{Extension: master("", 7, 0)})
		if len(tg.store.got) != n {
			t.Error("the store was asked")
		}
		wantStatus(t, update(master("", 6, 0)), codes.PermissionDenied, "{high: 7, low: 0}")
	})
	t.Run("G108_a_failed_Set_registers_too", func(t *testing.T) {
		tg.store.err = &config.Error{Faults: []config.Fault{{Op: -1, Reason: "wrong"}}}
		wantStatus(t, update(master("", 8, 0)), codes.InvalidArgument)
		tg.store.err = nil
		wantStatus(t, update(master("", 7, 0)), codes.PermissionDenied)
	})
	t.Run("G108_no_id", func(t *testing.T) {
		ext := []*gnmi_ext.Extension{{Ext: &gnmi_ext.Extension_MasterArbitration{MasterArbitration: &gnmi_ext.MasterArbitration{}}}}
		wantStatus(t, update(ext), codes.InvalidArgument, "election_id")
	})
	t.Run("roles_are_bounded", func(t *testing.T) {
		var err error
		for i := 0; err == nil && i < 2000; i++ {
			err = update(master(fmt.Sprint("role", i), 0, 1))
		}
		wantStatus(t, err, codes.ResourceExhausted, "1000 roles")
		if err := update(master("role0", 0, 2)); err != nil {
			t.Errorf("a known role: %v", err)
		}
	})
}

func TestExtensionTwice(t *testing.T) {
	tg := serve(t)
	_, err := tg.client.Set(t.Context(), &gpb.SetRequest{Extension: append(master("", 0, 1), master("", 0, 2)...)})
	wantStatus(t, err, codes.InvalidArgument, "master_arbitration twice")
}
