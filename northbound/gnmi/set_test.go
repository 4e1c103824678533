// SPDX-License-Identifier: Apache-2.0

//lint:file-ignore SA1019 deprecated fields are sent to see them refused

package gnmi_test

import (
	"errors"
	"fmt"
	"os/user"
	"strings"
	"testing"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/openconfig/gnmi/proto/gnmi_ext"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"mcr/northbound/config"
)

func jsonUpdate(path, v string) *gpb.Update {
	return &gpb.Update{Path: elems(path), Val: &gpb.TypedValue{Value: &gpb.TypedValue_JsonIetfVal{JsonIetfVal: []byte(v)}}}
}

func TestSet(t *testing.T) {
	t.Run("G31_G32_order_and_results", func(t *testing.T) {
		tg := serve(t)
		resp, err := tg.client.Set(t.Context(), &gpb.SetRequest{
			Prefix: &gpb.Path{Target: "t1", Elem: elems("/mcr").GetElem()},
			Update: []*gpb.Update{jsonUpdate("/a", "1"), jsonUpdate("/b", "2")}, Replace: []*gpb.Update{jsonUpdate("/c", "3")},
			Delete: []*gpb.Path{elems("/d")},
		})
		if err != nil {
			t.Fatal(err)
		}
		var ops, results []string
		for _, o := range tg.store.last(t).Ops {
			ops = append(ops, fmt.Sprintf("%v[%d] %s", o.Kind, o.Index, pathText(o.Path)))
		}
		if want := "delete[0] /mcr/d, replace[0] /mcr/c, update[0] /mcr/a, update[1] /mcr/b"; strings.Join(ops, ", ") != want {
			t.Errorf("store got %v", ops)
		}
		for _, r := range resp.GetResponse() {
			results = append(results, r.GetOp().String()+" "+pathText(r.GetPath()))
		}
		if want := "DELETE /d, REPLACE /c, UPDATE /a, UPDATE /b"; strings.Join(results, ", ") != want || resp.GetPrefix().GetTarget() != "t1" {
			t.Errorf("results %v, prefix %v", results, resp.GetPrefix())
		}
		if age := time.Since(time.Unix(0, resp.GetTimestamp())); age < 0 || age > 5*time.Second {
			t.Errorf("timestamp is %v old", age)
		}
	})
	t.Run("G126_audit_names_the_user", func(t *testing.T) {
		tg := serve(t)
		if _, err := tg.client.Set(t.Context(), &gpb.SetRequest{Update: []*gpb.Update{jsonUpdate("/mcr/secret", `"hidden"`)}}); err != nil {
			t.Fatal(err)
		}
		me, err := user.Current()
		if err != nil {
			t.Fatal(err)
		}
		if got := tg.store.last(t); got.User != me.Username || got.Address != "unix" {
			t.Errorf("user %q address %q", got.User, got.Address)
		}
		log := tg.log.String()
		if strings.Count(log, "\n") != 1 || !strings.Contains(log, "update /mcr/secret") || strings.Contains(log, "hidden") || !strings.Contains(log, "revision=7") {
			t.Errorf("log: %s", log)
		}
	})
	t.Run("G46_empty", func(t *testing.T) {
		tg := serve(t)
		_, err := tg.client.Set(t.Context(), &gpb.SetRequest{})
		wantStatus(t, err, codes.OK)
	})
	t.Run("G50_union_replace_of_two_origins_is_one_request", func(t *testing.T) {
		tg := serve(t)
		text := &gpb.Update{Path: &gpb.Path{Origin: "cli"}, Val: &gpb.TypedValue{Value: &gpb.TypedValue_AsciiVal{AsciiVal: "{rules:[]}"}}}
		resp, err := tg.client.Set(t.Context(), &gpb.SetRequest{UnionReplace: []*gpb.Update{jsonUpdate("/mcr", "{}"), text}})
		if err != nil {
			t.Fatal(err)
		}
		ops := tg.store.last(t).Ops
		if len(ops) != 2 || ops[0].Kind != config.UnionReplace || ops[1].Kind != config.UnionReplace || ops[0].CLI || !ops[1].CLI {
			t.Errorf("store got %+v", ops)
		}
		for _, r := range resp.GetResponse() {
			if r.GetOp() != gpb.UpdateResult_UNION_REPLACE {
				t.Errorf("result %v", r)
			}
		}
	})
	t.Run("G51_text_of_a_configuration_file", func(t *testing.T) {
		for _, origin := range []string{"mcr_cli", "cli"} {
			tg := serve(t)
			u := &gpb.Update{Path: &gpb.Path{Origin: origin}, Val: &gpb.TypedValue{Value: &gpb.TypedValue_AsciiVal{AsciiVal: "{rules:[]}"}}}
			if _, err := tg.client.Set(t.Context(), &gpb.SetRequest{Replace: []*gpb.Update{u}}); err != nil {
				t.Fatal(err)
			}
			if op := tg.store.last(t).Ops[0]; !op.CLI || op.Value.GetAsciiVal() != "{rules:[]}" {
				t.Errorf("store got %+v", op)
			}
		}
	})
	t.Run("G56_every_fault_is_named", func(t *testing.T) {
		tg := serve(t)
		tg.store.err = &config.Error{Faults: []config.Fault{
			{Op: 0, Kind: config.Update, Path: "/mcr/b", Reason: "too large"}, {Op: -1, Path: "/mcr/c", Reason: "missing"},
		}}
		_, err := tg.client.Set(t.Context(), &gpb.SetRequest{Delete: []*gpb.Path{elems("/mcr/a")}, Update: []*gpb.Update{jsonUpdate("/mcr/b", "1")}})
		wantStatus(t, err, codes.InvalidArgument, "update[0] /mcr/b: too large", "/mcr/c: missing")
		var fields []string
		for _, d := range status.Convert(err).Details() {
			if bad, ok := d.(*errdetails.BadRequest); ok {
				for _, v := range bad.GetFieldViolations() {
					fields = append(fields, v.GetField()+": "+v.GetDescription())
				}
			}
		}
		if want := "update[0] /mcr/b: too large|/mcr/c: missing"; strings.Join(fields, "|") != want {
			t.Errorf("details %q", fields)
		}
		if !strings.Contains(tg.log.String(), "set refused") {
			t.Errorf("log: %s", tg.log)
		}
	})
	t.Run("G56_an_error_fits_into_a_trailer", func(t *testing.T) { // the C core of gRPC takes 8 KiB
		tg := serve(t)
		long := strings.Repeat("x", 17<<20)
		refusals := map[string]func() error{
			"many_faults": func() error {
				e := &config.Error{}
				for i := range 500 {
					e.Faults = append(e.Faults, config.Fault{Op: i, Path: fmt.Sprintf("/mcr/forwarding/rules/rule[name=r%d]", i), Reason: "is needed"})
				}
				tg.store.err = e
				_, err := tg.client.Set(t.Context(), &gpb.SetRequest{Delete: []*gpb.Path{elems("/mcr")}})
				return err
			},
			"long_fault": func() error {
				tg.store.err = &config.Error{Faults: []config.Fault{{Path: "/mcr/" + long, Reason: long}}}
				_, err := tg.client.Set(t.Context(), &gpb.SetRequest{Delete: []*gpb.Path{elems("/mcr")}})
				return err
			},
			"long_path": func() error {
				_, err := tg.client.Get(t.Context(), &gpb.GetRequest{Path: []*gpb.Path{{Elem: []*gpb.PathElem{{Name: long}}}}})
				return err
			},
		}
		for name, refused := range refusals {
			err := refused()
			wantStatus(t, err, codes.InvalidArgument)
			st := status.Convert(err)
			if n := len(st.Message()) + proto.Size(st.Proto())*4/3; n > 8000 || len(st.Message()) < 200 {
				t.Errorf("%s: %d bytes of trailer, %d of message", name, n, len(st.Message()))
			}
		}
		if n := len(tg.log.String()); n > 10_000 {
			t.Errorf("%d bytes of log", n)
		}
	})
	t.Run("codes_of_the_store", func(t *testing.T) {
		want := map[config.Code]codes.Code{
			config.Invalid: codes.InvalidArgument, config.NotFound: codes.NotFound, config.Unimplemented: codes.Unimplemented,
			config.Precondition:  codes.FailedPrecondition,
			config.AlreadyExists: codes.AlreadyExists, config.Refused: codes.Aborted, config.NotReady: codes.Unavailable,
			config.Internal: codes.Internal,
		}
		tg := serve(t)
		for fault, code := range want {
			tg.store.err = &config.Error{Faults: []config.Fault{{Op: 0, Path: "/mcr", Code: fault, Reason: "x"}}}
			_, err := tg.client.Set(t.Context(), &gpb.SetRequest{Update: []*gpb.Update{jsonUpdate("/mcr", "{}")}})
			wantStatus(t, err, code)
		}
		tg.store.err = errors.New("disk full")
		_, err := tg.client.Set(t.Context(), &gpb.SetRequest{Update: []*gpb.Update{jsonUpdate("/mcr", "{}")}})
		wantStatus(t, err, codes.Internal, "disk full")
	})
	t.Run("G52_above_64_MiB", func(t *testing.T) {
		tg := serve(t)
		_, err := tg.client.Set(t.Context(), &gpb.SetRequest{Update: []*gpb.Update{jsonUpdate("/mcr", strings.Repeat("x", 65<<20))}})
		wantStatus(t, err, codes.ResourceExhausted)
		_, err = tg.client.Set(t.Context(), &gpb.SetRequest{Update: []*gpb.Update{jsonUpdate("/mcr", strings.Repeat("x", 60<<20))}})
		wantStatus(t, err, codes.OK)
	})
	t.Run("a_panic_ends_its_RPC_alone", func(t *testing.T) {
		tg := serve(t)
		tg.store.after = func(config.Request) { panic("bug") }
		_, err := tg.client.Set(t.Context(), &gpb.SetRequest{Update: []*gpb.Update{jsonUpdate("/mcr", "{}")}})
		wantStatus(t, err, codes.Internal, "id ")
		id, _, _ := strings.Cut(strings.SplitAfter(status.Convert(err).Message(), "id ")[1], " ")
		if !strings.Contains(tg.log.String(), id) {
			t.Errorf("id %s is not in the log", id)
		}
		_, err = tg.client.Capabilities(t.Context(), &gpb.CapabilityRequest{})
		wantStatus(t, err, codes.OK)
	})
}

func TestSetRefuses(t *testing.T) {
	upd := func(change func(*gpb.Update)) *gpb.SetRequest {
		u := jsonUpdate("/mcr", "{}")
		change(u)
		return &gpb.SetRequest{Update: []*gpb.Update{u}}
	}
	tests := []struct {
		name  string
		req   *gpb.SetRequest
		code  codes.Code
		names string
	}{
		{"G36_no_value", upd(func(u *gpb.Update) { u.Val = nil }), codes.InvalidArgument, "update[0] /mcr: no value"},
		{"G49_deprecated_value", upd(func(u *gpb.Update) { u.Value = &gpb.Value{Value: []byte("1")} }), codes.InvalidArgument, "use val"}, //nolint:staticcheck // refused
		{"G49_element", upd(func(u *gpb.Update) { u.Path = &gpb.Path{Element: []string{"mcr"}} }), codes.InvalidArgument, "use elem"},     //nolint:staticcheck // refused
		{"G49_element_in_prefix", &gpb.SetRequest{Prefix: &gpb.Path{Element: []string{"mcr"}}}, codes.InvalidArgument, "use elem"},        //nolint:staticcheck // refused
		{"G49_any_val", upd(func(u *gpb.Update) { u.Val = &gpb.TypedValue{Value: &gpb.TypedValue_AnyVal{AnyVal: &anypb.Any{}}} }), codes.Unimplemented, "any_val"},
		{"G49_proto_bytes", upd(func(u *gpb.Update) { u.Val = &gpb.TypedValue{Value: &gpb.TypedValue_ProtoBytes{}} }), codes.Unimplemented, "proto_bytes"},
		{"G50_with_update", &gpb.SetRequest{
			UnionReplace: []*gpb.Update{jsonUpdate("/mcr", "{}")}, Update: []*gpb.Update{jsonUpdate("/mcr", "{}")},
		}, codes.InvalidArgument, "union_replace"},
		{"G50_no_value", &gpb.SetRequest{UnionReplace: []*gpb.Update{{Path: elems("/mcr")}}}, codes.InvalidArgument, "union_replace[0] /mcr: no value"},
		{"G51_delete_of_cli", &gpb.SetRequest{Delete: []*gpb.Path{{Origin: "mcr_cli"}}}, codes.InvalidArgument, "delete[0]"},
		{"G51_cli_with_JSON", upd(func(u *gpb.Update) { u.Path = &gpb.Path{Origin: "cli"} }), codes.InvalidArgument, "ascii_val"},
		{"G22_target_in_path", upd(func(u *gpb.Update) { u.Path.Target = "x" }), codes.InvalidArgument, "target"},
		{"G23_unknown_origin", upd(func(u *gpb.Update) { u.Path.Origin = "x" }), codes.InvalidArgument, "origin"},
		{"G111_depth", &gpb.SetRequest{Extension: []*gnmi_ext.Extension{{Ext: &gnmi_ext.Extension_Depth{Depth: &gnmi_ext.Depth{}}}}}, codes.InvalidArgument, "depth"},
	}
	tg := serve(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tg.client.Set(t.Context(), tt.req)
			wantStatus(t, err, tt.code, tt.names)
		})
	}
	if n := len(tg.store.got); n != 0 {
		t.Errorf("the store was asked %d times", n)
	}
}
