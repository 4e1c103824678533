// SPDX-License-Identifier: Apache-2.0

package gnmi_test

import (
	"encoding/json"
	"testing"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/openconfig/gnmi/proto/gnmi_ext"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// refusals are the codes that a request alone can bring about.
var refusals = map[codes.Code]bool{
	codes.InvalidArgument: true, codes.NotFound: true, codes.Unimplemented: true, codes.AlreadyExists: true,
	codes.FailedPrecondition: true, codes.PermissionDenied: true, codes.ResourceExhausted: true,
}

func seed(f *testing.F, msgs ...proto.Message) {
	f.Helper()
	for _, m := range msgs {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
}

// FuzzGetRequest: any path is answered with data that is well formed, or refused (G128).
func FuzzGetRequest(f *testing.F) {
	tg := serve(f)
	paths := []*gpb.Path{elems("/"), elems(ruleCfg), elems("/mcr/.../name"), elems("/*/*/*"), {Origin: "openconfig", Elem: elems("/network-instances").GetElem()}}
	for _, p := range paths {
		seed(f, &gpb.GetRequest{Path: []*gpb.Path{p}}, &gpb.GetRequest{Prefix: p, Type: gpb.GetRequest_CONFIG, Encoding: gpb.Encoding_JSON_IETF})
	}
	seed(f, &gpb.GetRequest{Path: paths, Encoding: gpb.Encoding_PROTO, Extension: []*gnmi_ext.Extension{
		{Ext: &gnmi_ext.Extension_Depth{Depth: &gnmi_ext.Depth{Level: 1}}},
	}})
	f.Fuzz(func(t *testing.T, b []byte) {
		var r gpb.GetRequest
		if proto.Unmarshal(b, &r) != nil {
			return
		}
		resp, err := tg.client.Get(t.Context(), &r)
		if err != nil {
			if !refusals[status.Code(err)] {
				t.Fatalf("%v: %v", &r, err)
			}
			return
		}
		if n := len(resp.GetNotification()); n != max(1, len(r.GetPath())) {
			t.Fatalf("%v: %d notifications", &r, n)
		}
		for _, n := range resp.GetNotification() {
			for _, u := range n.GetUpdate() {
				v := u.GetVal().GetJsonVal()
				if r.GetEncoding() == gpb.Encoding_JSON_IETF {
					v = u.GetVal().GetJsonIetfVal()
				}
				if r.GetEncoding() != gpb.Encoding_PROTO && !json.Valid(v) {
					t.Fatalf("%v: %s", &r, v)
				}
			}
		}
	})
}

// FuzzSetRequest: any request is done or refused; what is refused changes nothing, and what is done can be read and written back.
func FuzzSetRequest(f *testing.F) {
	tg, store, _ := whole(f)
	seed(
		f,
		&gpb.SetRequest{Update: []*gpb.Update{ietfUpdate(ruleR, ruleJSON("239.1.1.1", 5000))}},
		&gpb.SetRequest{Replace: []*gpb.Update{ietfUpdate("/", `{"mcr:mcr":{"forwarding":{"config":{"unicast-ttl":7}}}}`)}, Delete: []*gpb.Path{elems("/mcr/.../outputs")}},
		&gpb.SetRequest{UnionReplace: []*gpb.Update{{Path: &gpb.Path{Origin: "cli"}, Val: &gpb.TypedValue{Value: &gpb.TypedValue_AsciiVal{AsciiVal: `{rules:[]}`}}}}},
		&gpb.SetRequest{Update: []*gpb.Update{{Path: elems(ruleR + "/config/input-port"), Val: &gpb.TypedValue{Value: &gpb.TypedValue_UintVal{UintVal: 5}}}}},
		&gpb.SetRequest{Extension: []*gnmi_ext.Extension{commitExt(&gnmi_ext.Commit{Id: "c", Action: &gnmi_ext.Commit_Cancel{}})}},
		&gpb.SetRequest{Extension: master("a", 1, 2)},
	)
	f.Fuzz(func(t *testing.T, b []byte) {
		var r gpb.SetRequest
		if proto.Unmarshal(b, &r) != nil {
			return
		}
		before := store.Running()
		if _, err := tg.client.Set(t.Context(), &r); err != nil {
			if !refusals[status.Code(err)] || store.Running().Digest != before.Digest {
				t.Fatalf("%v: %v", &r, err)
			}
			return
		}
		if store.Running().PendingID != "" {
			set(t, tg.client, &gpb.SetRequest{Extension: []*gnmi_ext.Extension{
				commitExt(&gnmi_ext.Commit{Id: store.Running().PendingID, Action: &gnmi_ext.Commit_Cancel{}}),
			}})
		}
		done := store.Running()
		set(t, tg.client, &gpb.SetRequest{Replace: []*gpb.Update{ietfUpdate("/", string(ietf(t, tg, gpb.GetRequest_CONFIG, "/")))}})
		if store.Running() != done {
			t.Fatalf("%v: what was read and written back is another configuration", &r)
		}
	})
}
