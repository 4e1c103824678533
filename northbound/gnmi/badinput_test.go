// SPDX-License-Identifier: Apache-2.0

package gnmi_test

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"mcr/northbound/gnmi"
)

// raw sends bytes as they are, and takes what comes for nothing.
type raw struct{}

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}
func (raw) Unmarshal(mem.BufferSlice, any) error { return nil }
func (raw) Name() string                         { return "proto" }

// sendRaw calls a method with one message of these bytes.
func (tg *target) sendRaw(t *testing.T, method string, msg []byte) error {
	t.Helper()
	if method != gpb.GNMI_Subscribe_FullMethodName {
		return tg.conn.Invoke(t.Context(), method, msg, nil, grpc.ForceCodecV2(raw{}))
	}
	s, err := tg.conn.NewStream(t.Context(), &gpb.GNMI_ServiceDesc.Streams[0], method, grpc.ForceCodecV2(raw{}))
	if err != nil {
		t.Fatal(err)
	}
	_ = s.SendMsg(msg) // the answer says why
	for err == nil {
		err = s.RecvMsg(nil)
	}
	return err
}

func field(num protowire.Number, content []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), content)
}

var methods = []string{
	gpb.GNMI_Capabilities_FullMethodName, gpb.GNMI_Get_FullMethodName, gpb.GNMI_Set_FullMethodName, gpb.GNMI_Subscribe_FullMethodName,
}

// What is no message is the client's mistake, not an internal error.
func TestBytesThatAreNoMessage(t *testing.T) {
	tg := serve(t)
	elem := field(3, field(1, []byte("a\xff"))) // a path whose element has this name
	for name, msgs := range map[string]map[string][]byte{
		"invalid_UTF-8": {
			gpb.GNMI_Get_FullMethodName: field(2, elem), gpb.GNMI_Set_FullMethodName: field(2, elem),
			gpb.GNMI_Subscribe_FullMethodName: field(1, field(2, field(1, elem))),
		},
		"truncated": {
			gpb.GNMI_Capabilities_FullMethodName: {0x0a, 0xff}, gpb.GNMI_Get_FullMethodName: {0x0a, 0xff}, gpb.GNMI_Set_FullMethodName: {0x0a, 0xff},
			gpb.GNMI_Subscribe_FullMethodName: {0x0a, 0xff},
		},
	} {
		for method, msg := range msgs {
			t.Run(name+method, func(t *testing.T) { wantStatus(t, tg.sendRaw(t, method, msg), codes.InvalidArgument, "cannot be read") })
		}
	}
	eventually(t, "what was refused is not counted", func() bool {
		return tg.leaves(t, "/mcr/system/rpcs")["/mcr/system/rpcs/rpc[code=INVALID_ARGUMENT][name=get]/state/counters/calls"] == "2"
	})
}

// A message of many small parts takes a hundred times its size in memory; it is refused before it does.
func TestMessageOfManyParts(t *testing.T) {
	tg := serve(t)
	for method, part := range map[string][]byte{
		gpb.GNMI_Set_FullMethodName:       field(4, nil),                     // updates
		gpb.GNMI_Get_FullMethodName:       field(2, nil),                     // paths
		gpb.GNMI_Subscribe_FullMethodName: field(2, nil),                     // subscriptions of one list
		"/gnmi.gNMI/Set ":                 field(1, field(3, field(1, nil))), // elements of prefixes, which are merged
	} {
		method = strings.TrimSpace(method)
		msg := bytes.Repeat(part, (60<<20)/len(part))
		if method == gpb.GNMI_Subscribe_FullMethodName {
			msg = field(1, msg)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		wantStatus(t, tg.sendRaw(t, method, msg), codes.ResourceExhausted, "parts")
		runtime.ReadMemStats(&after)
		// The message itself, a few times over: as received, and in one piece.
		if n := (after.TotalAlloc - before.TotalAlloc) >> 20; n > 300 {
			t.Errorf("%s: %d MiB of memory for a message of %d MiB", method, n, len(msg)>>20)
		}
	}
}

func TestManyPaths(t *testing.T) {
	tg := serve(t)
	get := &gpb.GetRequest{}
	setReq := &gpb.SetRequest{}
	sub := list(gpb.SubscriptionList_ONCE, 0)
	for range 10_000 {
		get.Path = append(get.Path, elems(ruleCfg+"/description"))
		setReq.Delete = append(setReq.Delete, elems("/mcr/forwarding/rules/rule[name=x]"))
		sub.GetSubscribe().Subscription = append(sub.GetSubscribe().Subscription, &gpb.Subscription{Path: elems(ruleCfg)})
	}
	t.Run("ten_thousand_are_answered", func(t *testing.T) {
		resp, err := tg.client.Get(t.Context(), get)
		if err != nil || len(resp.GetNotification()) != 10_000 {
			t.Errorf("%d notifications, %v", len(resp.GetNotification()), err)
		}
		done, err := tg.client.Set(t.Context(), setReq)
		if err != nil || len(done.GetResponse()) != 10_000 {
			t.Errorf("%d results, %v", len(done.GetResponse()), err)
		}
		if got := untilSync(t, tg.open(t, sub)); len(got) != 3 {
			t.Errorf("got %v", got)
		}
	})
	t.Run("more_are_refused", func(t *testing.T) {
		get.Path = append(get.Path, elems("/"))
		_, err := tg.client.Get(t.Context(), get)
		wantStatus(t, err, codes.ResourceExhausted, "10000")
		sub.GetSubscribe().Subscription = append(sub.GetSubscribe().Subscription, &gpb.Subscription{Path: elems(ruleCfg)})
		_, err = tg.open(t, sub).Recv()
		wantStatus(t, err, codes.ResourceExhausted, "10000")
		for len(setReq.Delete) <= 100_000 {
			setReq.Delete = append(setReq.Delete, setReq.Delete[0])
		}
		_, err = tg.client.Set(t.Context(), setReq)
		wantStatus(t, err, codes.ResourceExhausted, "100000")
	})
	t.Run("an_answer_has_a_bound", func(t *testing.T) {
		tg := serve(t, func(c *gnmi.Config) { c.MaxAnswer = 10_000 })
		_, err := tg.client.Get(t.Context(), &gpb.GetRequest{Path: get.GetPath()[:1000]})
		wantStatus(t, err, codes.ResourceExhausted, "10000 bytes")
	})
}

func TestEmptyEverything(t *testing.T) {
	tg, _, _ := whole(t)
	empty := &gpb.Path{Elem: []*gpb.PathElem{{}}}
	noKey := &gpb.Path{Elem: []*gpb.PathElem{{Name: "mcr"}, {Name: "forwarding"}, {Name: "rules"}, {Name: "rule", Key: map[string]string{"": ""}}}}
	for _, method := range methods {
		err := tg.sendRaw(t, method, nil)
		if want := map[bool]codes.Code{true: codes.InvalidArgument}[method == gpb.GNMI_Subscribe_FullMethodName]; want != codes.OK {
			wantStatus(t, err, want)
		} else if err != nil {
			t.Errorf("%s: %v", method, err)
		}
	}
	for name, p := range map[string]*gpb.Path{"element": empty, "key": noKey} {
		_, err := tg.client.Get(t.Context(), &gpb.GetRequest{Path: []*gpb.Path{p}})
		wantStatus(t, err, codes.InvalidArgument)
		for _, u := range []*gpb.Update{{}, {Path: p}, {Path: p, Val: &gpb.TypedValue{}}, {Path: p, Val: &gpb.TypedValue{Value: &gpb.TypedValue_JsonVal{}}}} {
			_, err := tg.client.Set(t.Context(), &gpb.SetRequest{Update: []*gpb.Update{u}})
			if c := status.Code(err); c != codes.InvalidArgument && c != codes.NotFound {
				t.Errorf("%s: update %v: %v", name, u, err)
			}
		}
		_, err = tg.client.Set(t.Context(), &gpb.SetRequest{Delete: []*gpb.Path{p}})
		if c := status.Code(err); c != codes.InvalidArgument && c != codes.NotFound {
			t.Errorf("%s: delete: %v", name, err)
		}
		_, err = tg.open(t, &gpb.SubscribeRequest{Request: &gpb.SubscribeRequest_Subscribe{Subscribe: &gpb.SubscriptionList{
			Subscription: []*gpb.Subscription{{Path: p}},
		}}}).Recv()
		wantStatus(t, err, codes.InvalidArgument)
	}
	_, err := tg.client.Set(t.Context(), &gpb.SetRequest{Update: []*gpb.Update{nil, {}}})
	wantStatus(t, err, codes.InvalidArgument, "update[0]", "update[1]")
}

// Values that no configuration has, through the real store: refused with their place, and nothing changes.
func TestBadJSON(t *testing.T) {
	tg, store, _ := whole(t)
	before := store.Running()
	for name, v := range map[string]string{
		"1000_levels_of_arrays":      strings.Repeat("[", 1000) + strings.Repeat("]", 1000),
		"1000_levels_of_objects":     strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000),
		"a_million_levels":           strings.Repeat("[", 1_000_000),
		"a_million_levels_of_names":  strings.Repeat(`{"forwarding":`, 1_000_000),
		"invalid_UTF-8":              "{\"forwarding\":{\"rules\":{\"rule\":[{\"name\":\"\xff\"}]}}}",
		"invalid_UTF-8_in_a_name":    "{\"\xff\":1}",
		"half_a_surrogate":           `{"forwarding":{"rules":{"rule":[{"name":"\ud800"}]}}}`,
		"number_without_end":         `{"forwarding":{"config":{"unicast-ttl":` + strings.Repeat("9", 1_000_000) + `}}}`,
		"exponent":                   `{"forwarding":{"config":{"unicast-ttl":1e999999999}}}`,
		"member_twice":               `{"forwarding":{},"forwarding":{}}`,
		"trailing":                   `{} {}`,
		"empty":                      ``,
		"blank":                      ` `,
		"NUL":                        "\x00",
		"a_million_of_unknown_names": `{"x":[` + strings.Repeat(`{"y":1},`, 1_000_000) + `{}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			for _, val := range []*gpb.TypedValue{
				{Value: &gpb.TypedValue_JsonVal{JsonVal: []byte(v)}}, {Value: &gpb.TypedValue_JsonIetfVal{JsonIetfVal: []byte(v)}},
			} {
				_, err := tg.client.Set(t.Context(), &gpb.SetRequest{Update: []*gpb.Update{{Path: elems("/mcr"), Val: val}}})
				wantStatus(t, err, codes.InvalidArgument, "update[0]")
			}
			if store.Running() != before {
				t.Error("the configuration changed")
			}
		})
	}
	t.Run("leaf-list_of_leaf-lists", func(t *testing.T) {
		v := &gpb.TypedValue{Value: &gpb.TypedValue_StringVal{StringVal: "x"}}
		for range 4000 {
			v = &gpb.TypedValue{Value: &gpb.TypedValue_LeaflistVal{LeaflistVal: &gpb.ScalarArray{Element: []*gpb.TypedValue{v}}}}
		}
		_, err := tg.client.Set(t.Context(), &gpb.SetRequest{Update: []*gpb.Update{{Path: elems("/mcr/forwarding/config/unicast-ttl"), Val: v}}})
		wantStatus(t, err, codes.InvalidArgument, "update[0]")
	})
}

// G21: keys with every sign that means something in the text of a path.
func TestKeysAreTakenAsTheyAre(t *testing.T) {
	tg, _, _ := whole(t)
	for i, name := range []string{"]", "[", "a]b", `\`, `\]`, "=", "/", "//", "*x", "... ", " ", "ü\u2028", `"`, "'", "a[b=c]/d", strings.Repeat("x", 200)} {
		entry := &gpb.Path{Elem: append(elems("/mcr/forwarding/rules").GetElem(), &gpb.PathElem{Name: "rule", Key: map[string]string{"name": name}})}
		value := fmt.Sprintf(`{"config":{"input-interface":"eth0","input-group":"239.1.2.%d","input-port":5000}}`, i+1)
		_, err := tg.client.Set(t.Context(), &gpb.SetRequest{Update: []*gpb.Update{
			{Path: entry, Val: &gpb.TypedValue{Value: &gpb.TypedValue_JsonIetfVal{JsonIetfVal: []byte(value)}}},
		}})
		if err != nil {
			if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "rule[name=") {
				t.Errorf("%q: %v", name, err)
			}
			continue
		}
		for _, enc := range []gpb.Encoding{gpb.Encoding_JSON, gpb.Encoding_PROTO} {
			resp, err := tg.client.Get(t.Context(), &gpb.GetRequest{Encoding: enc, Path: []*gpb.Path{{Elem: append(entry.GetElem(), elems("/config/name").GetElem()...)}}})
			if err != nil {
				t.Errorf("%q: %v", name, err)
				continue
			}
			u := resp.GetNotification()[0].GetUpdate()[0]
			if got := u.GetPath().GetElem()[3].GetKey()["name"]; got != name || enc == gpb.Encoding_PROTO && u.GetVal().GetStringVal() != name {
				t.Errorf("%q came back as %q: %v", name, got, u.GetVal())
			}
		}
		first := untilSync(t, tg.open(t, &gpb.SubscribeRequest{Request: &gpb.SubscribeRequest_Subscribe{Subscribe: &gpb.SubscriptionList{
			Mode: gpb.SubscriptionList_ONCE, Subscription: []*gpb.Subscription{{Path: entry}},
		}}}))
		if len(first) == 0 {
			t.Errorf("%q: nothing to subscribe to", name)
		}
		if _, err := tg.client.Set(t.Context(), &gpb.SetRequest{Delete: []*gpb.Path{entry}}); err != nil {
			t.Errorf("delete %q: %v", name, err)
		}
	}
	for p := range tg.leaves(t, "/mcr/forwarding/rules") {
		if strings.Contains(p, "/config/") {
			t.Errorf("left: %s", p)
		}
	}
}
