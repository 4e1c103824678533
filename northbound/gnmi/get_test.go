// SPDX-License-Identifier: Apache-2.0

//lint:file-ignore SA1019 deprecated fields are sent to see them refused

package gnmi_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/openconfig/gnmi/proto/gnmi_ext"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	"mcr/northbound/config"
	"mcr/northbound/gnmi"
	"mcr/northbound/telemetry"
)

func TestCapabilities(t *testing.T) {
	tg := serve(t)
	got, err := tg.client.Capabilities(t.Context(), &gpb.CapabilityRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if got.GetGNMIVersion() != "0.10.0" { // G01
		t.Errorf("version %q", got.GetGNMIVersion())
	}
	last := "" // G02
	for _, m := range got.GetSupportedModels() {
		if m.GetName() <= last || m.GetOrganization() == "" || m.GetVersion() == "" {
			t.Errorf("model %v after %q", m, last)
		}
		last = m.GetName()
	}
	if want := "[JSON JSON_IETF PROTO]"; fmt.Sprint(got.GetSupportedEncodings()) != want { // G03
		t.Errorf("encodings %v", got.GetSupportedEncodings())
	}
	for _, svc := range []string{"", "gnmi.gNMI"} { // G05
		h, err := healthpb.NewHealthClient(tg.conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: svc})
		if err != nil || h.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v %v", svc, h, err)
		}
	}
}

// G05: until the configuration runs, health says so and calls are refused so that the client tries again.
func TestStarting(t *testing.T) {
	tg := serve(t, func(c *gnmi.Config) { c.Starting = true })
	alive := healthpb.NewHealthClient(tg.conn)
	check := func(code codes.Code, want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		_, err := tg.client.Capabilities(t.Context(), &gpb.CapabilityRequest{})
		wantStatus(t, err, code)
		for _, name := range []string{"", "gnmi.gNMI"} {
			if h, err := alive.Check(t.Context(), &healthpb.HealthCheckRequest{Service: name}); err != nil || h.GetStatus() != want {
				t.Errorf("health of %q: %v, %v, want %v", name, h, err, want)
			}
		}
	}
	check(codes.Unavailable, healthpb.HealthCheckResponse_NOT_SERVING)
	tg.server.Ready()
	check(codes.OK, healthpb.HealthCheckResponse_SERVING)
}

func TestGet(t *testing.T) {
	tg := serve(t)
	get := func(t *testing.T, req *gpb.GetRequest) *gpb.GetResponse {
		t.Helper()
		resp, err := tg.client.Get(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	t.Run("G14_G22_target_is_echoed_and_JSON_is_the_default", func(t *testing.T) {
		resp := get(t, &gpb.GetRequest{
			Prefix: &gpb.Path{Target: "t1", Elem: elems("/mcr/forwarding").GetElem()},
			Path:   []*gpb.Path{elems("/rules/rule[name=r1]/config/name")},
		})
		n := resp.GetNotification()[0]
		if n.GetPrefix().GetTarget() != "t1" || string(n.GetUpdate()[0].GetVal().GetJsonVal()) != `"r1"` ||
			pathText(n.GetUpdate()[0].GetPath()) != ruleCfg+"/name" {
			t.Errorf("answer %v", n)
		}
	})
	t.Run("G15_one_notification_per_path_in_order", func(t *testing.T) {
		resp := get(t, &gpb.GetRequest{Path: []*gpb.Path{elems(ruleSt + "/name"), elems(ruleCfg + "/name"), elems(ruleSt + "/name")}})
		if ns := resp.GetNotification(); len(ns) != 3 || pathText(ns[1].GetUpdate()[0].GetPath()) != ruleCfg+"/name" ||
			!proto.Equal(ns[0], ns[2]) || ns[0].GetPrefix() != nil {
			t.Errorf("answer %v", ns)
		}
	})
	t.Run("G19_wildcard_without_a_match_is_empty", func(t *testing.T) {
		for _, p := range []string{"/mcr/mrib/entries/entry", "/mcr/mrib/entries/entry[port=*]/state"} {
			if ns := get(t, &gpb.GetRequest{Path: []*gpb.Path{elems(p)}}).GetNotification(); len(ns) != 1 || len(ns[0].GetUpdate()) != 0 {
				t.Errorf("%s: %v", p, ns)
			}
		}
	})
	t.Run("G23_openconfig_names", func(t *testing.T) {
		p := elems("/network-instances/network-instance[name=default]/config")
		p.Origin = "openconfig"
		ns := get(t, &gpb.GetRequest{Path: []*gpb.Path{p}, Encoding: gpb.Encoding_JSON_IETF}).GetNotification()
		want := `{"openconfig-network-instance:name":"default","openconfig-network-instance:type":"openconfig-network-instance-types:DEFAULT_INSTANCE"}`
		if v := string(ns[0].GetUpdate()[0].GetVal().GetJsonIetfVal()); v != want || ns[0].GetPrefix().GetOrigin() != "openconfig" {
			t.Errorf("answer %s\nwant %s", v, want)
		}
	})
	t.Run("G25_use_models", func(t *testing.T) {
		ns := get(t, &gpb.GetRequest{
			Path: []*gpb.Path{elems("/")}, UseModels: []*gpb.ModelData{{Name: "openconfig-network-instance"}}, Encoding: gpb.Encoding_JSON_IETF,
		}).GetNotification()
		if v := string(ns[0].GetUpdate()[0].GetVal().GetJsonIetfVal()); strings.Contains(v, "mcr:mcr") || !strings.Contains(v, "network-instances") {
			t.Errorf("answer %s", v)
		}
	})
	t.Run("G107_depth", func(t *testing.T) {
		ns := get(t, &gpb.GetRequest{Path: []*gpb.Path{elems("/mcr/forwarding/rules/rule[name=r1]")}, Extension: []*gnmi_ext.Extension{
			{Ext: &gnmi_ext.Extension_Depth{Depth: &gnmi_ext.Depth{Level: 1}}},
		}}).GetNotification()
		if v := string(ns[0].GetUpdate()[0].GetVal().GetJsonVal()); v != `{"name":"r1"}` {
			t.Errorf("answer %s", v)
		}
	})
	t.Run("G107_depth_that_hides_all_is_no_lack_of_data", func(t *testing.T) {
		resp, err := tg.client.Get(t.Context(), &gpb.GetRequest{
			Path: []*gpb.Path{elems("/mcr/forwarding/rules")}, Extension: []*gnmi_ext.Extension{
				{Ext: &gnmi_ext.Extension_Depth{Depth: &gnmi_ext.Depth{Level: 1}}},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if u := resp.GetNotification()[0].GetUpdate(); len(u) != 1 || string(u[0].GetVal().GetJsonVal()) != "{}" || pathText(u[0].GetPath()) != "/mcr/forwarding/rules" {
			t.Errorf("got %v", u)
		}
	})
	t.Run("G23_module_name_as_origin", func(t *testing.T) {
		for origin, module := range map[string]string{"openconfig-network-instance": "openconfig-network-instance", "mcr-network-instance": "mcr-network-instance"} {
			resp, err := tg.client.Get(t.Context(), &gpb.GetRequest{
				Encoding: gpb.Encoding_JSON_IETF, Path: []*gpb.Path{{Origin: origin, Elem: elems("/network-instances").GetElem()}},
			})
			if err != nil {
				t.Fatal(err)
			}
			n := resp.GetNotification()[0]
			if v := string(n.GetUpdate()[0].GetVal().GetJsonIetfVal()); !strings.HasPrefix(v, `{"`+module+`:`) || n.GetPrefix().GetOrigin() != origin {
				t.Errorf("%s: %s, prefix %v", origin, v, n.GetPrefix())
			}
		}
	})
	t.Run("G58_gzip", func(t *testing.T) {
		if _, err := tg.client.Get(t.Context(), &gpb.GetRequest{Path: []*gpb.Path{elems("/")}}, grpc.UseCompressor(gzip.Name)); err != nil {
			t.Error(err)
		}
	})
	t.Run("G24_large_answer", func(t *testing.T) {
		var units []*telemetry.Unit
		for i := range 10_000 {
			units = append(units, rule(fmt.Sprintf("big%d", i), strings.Repeat("x", 500)))
		}
		apply(t, tg.tree, units...)
		begin := time.Now()
		resp := get(t, &gpb.GetRequest{Path: []*gpb.Path{elems("/")}})
		if n := proto.Size(resp); n < 4<<20 {
			t.Errorf("answer of %d bytes", n)
		}
		t.Logf("%v", time.Since(begin))
	})
}

func TestGetRefuses(t *testing.T) {
	tg := serve(t)
	path := func(p string, change func(*gpb.Path)) []*gpb.Path {
		e := elems(p)
		if change != nil {
			change(e)
		}
		return []*gpb.Path{e}
	}
	tests := []struct {
		name  string
		req   *gpb.GetRequest
		code  codes.Code
		names string
	}{
		{"G19_no_data", &gpb.GetRequest{Path: path("/mcr/forwarding/rules/rule[name=none]", nil)}, codes.NotFound, "/mcr/forwarding/rules/rule[name=none]"},
		{"G20_unknown_path", &gpb.GetRequest{Path: path("/mcr/wrong/rules", nil)}, codes.InvalidArgument, "wrong"},
		{"G21_unknown_key", &gpb.GetRequest{Path: path("/mcr/forwarding/rules/rule[nome=x]", nil)}, codes.InvalidArgument, "nome"},
		{"G21_key_on_container", &gpb.GetRequest{Path: path("/mcr/forwarding[name=x]", nil)}, codes.InvalidArgument, "name"},
		{"G22_target_in_path", &gpb.GetRequest{Path: path("/mcr", func(p *gpb.Path) { p.Target = "x" })}, codes.InvalidArgument, "target"},
		{"G23_unknown_origin", &gpb.GetRequest{Path: path("/mcr", func(p *gpb.Path) { p.Origin = "eos" })}, codes.InvalidArgument, "eos"},
		{"G23_two_origins", &gpb.GetRequest{Prefix: &gpb.Path{Origin: "openconfig"}, Path: path("/mcr", func(p *gpb.Path) { p.Origin = "mcr" })}, codes.InvalidArgument, "origin"},
		{"G25_unknown_model", &gpb.GetRequest{Path: path("/", nil), UseModels: []*gpb.ModelData{{Name: "acme"}}}, codes.InvalidArgument, "acme"},
		{"G26_element", &gpb.GetRequest{Path: []*gpb.Path{{Element: []string{"mcr"}}}}, codes.InvalidArgument, "use elem"}, //nolint:staticcheck // refused
		{"G03_ASCII", &gpb.GetRequest{Path: path("/", nil), Encoding: gpb.Encoding_ASCII}, codes.Unimplemented, "ASCII"},
		{"G03_BYTES", &gpb.GetRequest{Path: path("/", nil), Encoding: gpb.Encoding_BYTES}, codes.Unimplemented, "BYTES"},
		{"G109_history", &gpb.GetRequest{Extension: []*gnmi_ext.Extension{{Ext: &gnmi_ext.Extension_History{History: &gnmi_ext.History{}}}}}, codes.Unimplemented, "history"},
		{"G111_commit_in_the_wrong_RPC", &gpb.GetRequest{Extension: []*gnmi_ext.Extension{{Ext: &gnmi_ext.Extension_Commit{Commit: &gnmi_ext.Commit{}}}}}, codes.InvalidArgument, "commit"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tg.client.Get(t.Context(), tt.req)
			wantStatus(t, err, tt.code, tt.names)
		})
	}
	t.Run("G111_unknown_extension_is_ignored", func(t *testing.T) {
		_, err := tg.client.Get(t.Context(), &gpb.GetRequest{Path: path("/mcr", nil), Extension: []*gnmi_ext.Extension{
			{Ext: &gnmi_ext.Extension_RegisteredExt{RegisteredExt: &gnmi_ext.RegisteredExtension{Id: 999, Msg: []byte("x")}}},
		}})
		wantStatus(t, err, codes.OK)
	})
}

// G27: a Get does not wait for a Set that is under way, and sees nothing of it.
func TestGetDoesNotWaitForASet(t *testing.T) {
	tg := serve(t)
	begun, goOn := make(chan struct{}), make(chan struct{})
	tg.store.after = func(config.Request) {
		close(begun)
		<-goOn
		apply(t, tg.tree, rule("r1", "second"))
	}
	done := make(chan error, 1)
	go func() {
		_, err := tg.client.Set(t.Context(), &gpb.SetRequest{Update: []*gpb.Update{jsonUpdate(ruleCfg+"/description", `"second"`)}})
		done <- err
	}()
	get := func() string {
		resp, err := tg.client.Get(t.Context(), &gpb.GetRequest{Path: []*gpb.Path{elems(ruleCfg + "/description")}})
		if err != nil {
			t.Fatal(err)
		}
		return string(resp.GetNotification()[0].GetUpdate()[0].GetVal().GetJsonVal())
	}
	<-begun
	if got := get(); got != `"first"` {
		t.Errorf("amid the Set: %s", got)
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := get(); got != `"second"` {
		t.Errorf("after the Set: %s", got)
	}
}
