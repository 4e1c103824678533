// SPDX-License-Identifier: Apache-2.0

package gnmi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/openconfig/gnmi/proto/gnmi_ext"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"mcr/northbound/gnmi"
	"mcr/northbound/telemetry"
)

func TestSubscribe(t *testing.T) {
	onChange, stream := gpb.SubscriptionMode_ON_CHANGE, gpb.SubscriptionList_STREAM
	cfg := map[string]string{ruleCfg + "/description": `"first"`, ruleCfg + "/input-group": `"239.1.1.1"`, ruleCfg + "/name": `"r1"`}

	t.Run("G60_ONCE_ends_after_one_sync", func(t *testing.T) {
		s := serve(t).open(t, list(gpb.SubscriptionList_ONCE, 0, ruleCfg))
		if diff := cmp.Diff(cfg, untilSync(t, s)); diff != "" {
			t.Error(diff)
		}
		if m, err := s.Recv(); !errors.Is(err, io.EOF) {
			t.Errorf("after the sync: %v %v", m, err)
		}
	})
	t.Run("G75_ONCE_without_data", func(t *testing.T) {
		s := serve(t).open(t, list(gpb.SubscriptionList_ONCE, 0, "/mcr/mrib"))
		if got := untilSync(t, s); len(got) != 0 {
			t.Errorf("got %v", got)
		}
	})
	t.Run("G61_three_polls_three_answers", func(t *testing.T) {
		s := serve(t).open(t, list(gpb.SubscriptionList_POLL, 0, ruleCfg))
		for range 3 {
			if err := s.Send(&gpb.SubscribeRequest{Request: &gpb.SubscribeRequest_Poll{Poll: &gpb.Poll{}}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.CloseSend(); err != nil {
			t.Fatal(err)
		}
		for range 4 {
			if diff := cmp.Diff(cfg, untilSync(t, s)); diff != "" {
				t.Error(diff)
			}
		}
		if _, err := s.Recv(); !errors.Is(err, io.EOF) {
			t.Errorf("after the last: %v", err)
		}
	})
	t.Run("G63_G82_G83_change_arrives_after_half_close", func(t *testing.T) {
		tg := serve(t)
		req := list(stream, onChange, "/rules/rule/config")
		req.GetSubscribe().Prefix = &gpb.Path{Target: "t9", Origin: "openconfig", Elem: elems("/mcr/forwarding").GetElem()}
		req.GetSubscribe().Encoding = gpb.Encoding_PROTO
		s := tg.open(t, req)
		if err := s.CloseSend(); err != nil {
			t.Fatal(err)
		}
		untilSync(t, s)
		apply(t, tg.tree, rule("r1", "second"))
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		n := m.GetUpdate()
		if len(n.GetUpdate()) != 1 || pathText(n.GetUpdate()[0].GetPath()) != ruleCfg+"/description" || n.GetUpdate()[0].GetVal().GetStringVal() != "second" {
			t.Errorf("told %v", n)
		}
		if n.GetPrefix().GetTarget() != "t9" || n.GetPrefix().GetOrigin() != "openconfig" || len(n.GetPrefix().GetElem()) != 0 {
			t.Errorf("prefix %v", n.GetPrefix())
		}
		if age := time.Since(time.Unix(0, n.GetTimestamp())); age < 0 || age > 10*time.Second {
			t.Errorf("timestamp is %v old", age)
		}
	})
	t.Run("G64_entry", func(t *testing.T) {
		tg := serve(t)
		s := tg.open(t, list(stream, onChange, "/"))
		untilSync(t, s)
		if err := tg.tree.Apply(telemetry.Changes{Time: time.Now(), Delete: []telemetry.Path{unit(t, ruleCfg).Path, unit(t, ruleSt).Path}}); err != nil {
			t.Fatal(err)
		}
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if d := m.GetUpdate().GetDelete(); len(d) != 1 || pathText(d[0]) != "/mcr/forwarding/rules/rule[name=r1]" || len(m.GetUpdate().GetUpdate()) != 0 {
			t.Errorf("told %v", m)
		}
	})
	t.Run("G78_modes_side_by_side_have_one_sync", func(t *testing.T) {
		tg := serve(t)
		req := list(stream, onChange, ruleCfg, ruleSt+"/counters")
		req.GetSubscribe().Subscription[1].Mode = gpb.SubscriptionMode_SAMPLE
		s := tg.open(t, req)
		if got := untilSync(t, s); len(got) != len(cfg)+1 {
			t.Errorf("initial data %v", got)
		}
		apply(t, tg.tree, rule("r1", "second"))
		seen := map[string]bool{}
		for len(seen) < 2 { // the change at once, the sample after a second
			m, err := s.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if m.GetSyncResponse() {
				t.Fatal("a second sync")
			}
			for _, u := range m.GetUpdate().GetUpdate() {
				seen[pathText(u.GetPath())] = true
			}
		}
		if !seen[ruleCfg+"/description"] || !seen[ruleSt+"/counters/packets"] {
			t.Errorf("seen %v", seen)
		}
	})
	t.Run("G80_encodings", func(t *testing.T) {
		tg := serve(t)
		for enc, want := range map[gpb.Encoding]*gpb.TypedValue{
			gpb.Encoding_JSON:      {Value: &gpb.TypedValue_JsonVal{JsonVal: []byte("7")}},
			gpb.Encoding_JSON_IETF: {Value: &gpb.TypedValue_JsonIetfVal{JsonIetfVal: []byte(`"7"`)}},
			gpb.Encoding_PROTO:     {Value: &gpb.TypedValue_UintVal{UintVal: 7}},
		} {
			req := list(gpb.SubscriptionList_ONCE, 0, ruleSt+"/counters/packets")
			req.GetSubscribe().Encoding = enc
			m, err := tg.open(t, req).Recv()
			if err != nil {
				t.Fatal(err)
			}
			if got := m.GetUpdate().GetUpdate()[0].GetVal(); !proto.Equal(got, want) {
				t.Errorf("%v: %v, want %v", enc, got, want)
			}
		}
	})
	t.Run("G110_config_subscription", func(t *testing.T) {
		tg := serve(t)
		r := list(stream, onChange, "/mcr/forwarding")
		r.Extension = []*gnmi_ext.Extension{{Ext: &gnmi_ext.Extension_ConfigSubscription{ConfigSubscription: &gnmi_ext.ConfigSubscription{
			Action: &gnmi_ext.ConfigSubscription_Start{Start: &gnmi_ext.ConfigSubscriptionStart{}},
		}}}}
		s := tg.open(t, r)
		for p := range untilSync(t, s) {
			if strings.Contains(p, "/state") {
				t.Errorf("initial data has %s", p)
			}
		}
		change := telemetry.Changes{
			Time: time.Now(), Update: []*telemetry.Unit{rule("r1", "other"), rule("r2", "new"), unit(t, ruleSt, telemetry.Leaf{Name: "oper-status", Value: telemetry.String("down")})},
			Commit: &telemetry.CommitMark{Number: 42, ID: "c1"},
		}
		if err := tg.tree.Apply(change); err != nil {
			t.Fatal(err)
		}
		updates := 0
		for {
			m, err := s.Recv()
			if err != nil {
				t.Fatal(err)
			}
			updates += len(m.GetUpdate().GetUpdate())
			if len(m.GetExtension()) == 0 {
				continue
			}
			done := m.GetExtension()[0].GetConfigSubscription().GetSyncDone()
			if !done.GetDone() || done.GetCommitConfirmId() != "c1" || done.GetServerCommitId() != "42" {
				t.Errorf("got %v", done)
			}
			break
		}
		if updates != 5 { // one changed leaf, and a rule of three with its key
			t.Errorf("%d updates", updates)
		}
	})
	t.Run("G93_limits", func(t *testing.T) {
		tg := serve(t, func(c *gnmi.Config) { c.MaxClients, c.MaxSubscriptions = 1, 2 })
		_, err := tg.open(t, list(stream, onChange, "/", "/", "/")).Recv()
		wantStatus(t, err, codes.ResourceExhausted, "2")
		eventually(t, "the refused call is still counted", func() bool { return tg.server.Clients() == 0 })
		untilSync(t, tg.open(t, list(stream, onChange, "/")))
		_, err = tg.open(t, list(stream, onChange, "/")).Recv()
		wantStatus(t, err, codes.ResourceExhausted, "1")
	})
	t.Run("G93_streams_of_one_connection", func(t *testing.T) {
		tg := serve(t, func(c *gnmi.Config) { c.MaxStreams = 2 })
		for range 2 {
			untilSync(t, tg.open(t, list(stream, onChange, "/mcr")))
		}
		_, err := tg.open(t, list(stream, onChange, "/mcr")).Recv()
		wantStatus(t, err, codes.ResourceExhausted, "2", "connection")
		other, err := gpb.NewGNMIClient(dial(t, "unix://"+tg.path)).Subscribe(t.Context())
		if err == nil {
			err = other.Send(list(stream, onChange, "/mcr"))
		}
		if err != nil {
			t.Fatal(err)
		}
		untilSync(t, other)
	})
}

func TestSubscribeRefuses(t *testing.T) {
	tg := serve(t)
	with := func(change func(*gpb.SubscriptionList)) *gpb.SubscribeRequest {
		r := list(gpb.SubscriptionList_STREAM, gpb.SubscriptionMode_SAMPLE, "/mcr")
		change(r.GetSubscribe())
		return r
	}
	poll := &gpb.SubscribeRequest{Request: &gpb.SubscribeRequest_Poll{Poll: &gpb.Poll{}}}
	ext := func(e *gnmi_ext.Extension) *gpb.SubscribeRequest {
		r := list(gpb.SubscriptionList_STREAM, 0, "/mcr")
		r.Extension = []*gnmi_ext.Extension{e}
		return r
	}
	tests := []struct {
		name  string
		first *gpb.SubscribeRequest
		then  *gpb.SubscribeRequest // sent after the sync
		code  codes.Code
		names string
	}{
		{"G68_too_short", with(func(l *gpb.SubscriptionList) { l.Subscription[0].SampleInterval = 1000 }), nil, codes.InvalidArgument, "1s"},
		{"G71_heartbeat_too_short", with(func(l *gpb.SubscriptionList) { l.Subscription[0].HeartbeatInterval = 1000 }), nil, codes.InvalidArgument, "heartbeat"},
		{"G76_unknown_path", list(gpb.SubscriptionList_STREAM, 0, "/mcr", "/mcr/wrong"), nil, codes.InvalidArgument, "wrong"},
		{"G79_no_subscription", with(func(l *gpb.SubscriptionList) { l.Subscription = nil }), nil, codes.InvalidArgument, "no subscriptions"},
		{"G79_first_is_poll", poll, nil, codes.InvalidArgument, "poll"},
		{"G79_second_list", list(gpb.SubscriptionList_STREAM, 1, "/mcr"), list(gpb.SubscriptionList_STREAM, 1, "/mcr"), codes.InvalidArgument, "second"},
		{"G79_second_list_on_POLL", list(gpb.SubscriptionList_POLL, 1, "/mcr"), list(gpb.SubscriptionList_POLL, 1, "/mcr"), codes.InvalidArgument, "second"},
		{"G79_poll_on_STREAM", list(gpb.SubscriptionList_STREAM, 1, "/mcr"), poll, codes.InvalidArgument, "poll"},
		{"G80_ASCII", with(func(l *gpb.SubscriptionList) { l.Encoding = gpb.Encoding_ASCII }), nil, codes.Unimplemented, "ASCII"},
		{"G92_qos", with(func(l *gpb.SubscriptionList) { l.Qos = &gpb.QOSMarking{Marking: 64} }), nil, codes.InvalidArgument, "64"},
		{"G109_history", ext(&gnmi_ext.Extension{Ext: &gnmi_ext.Extension_History{History: &gnmi_ext.History{}}}), nil, codes.Unimplemented, "history"},
		{"G110_config_subscription", ext(&gnmi_ext.Extension{Ext: &gnmi_ext.Extension_ConfigSubscription{
			ConfigSubscription: &gnmi_ext.ConfigSubscription{},
		}}), nil, codes.InvalidArgument, "config_subscription"},
		{"G23_origin", with(func(l *gpb.SubscriptionList) { l.Prefix = &gpb.Path{Origin: "x"} }), nil, codes.InvalidArgument, "origin"},
		{"unknown_mode", with(func(l *gpb.SubscriptionList) { l.Subscription[0].Mode = 9 }), nil, codes.InvalidArgument, "mode"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := tg.open(t, tt.first)
			if tt.then != nil {
				untilSync(t, s)
				if err := s.Send(tt.then); err != nil {
					t.Fatal(err)
				}
			}
			m, err := s.Recv()
			wantStatus(t, err, tt.code, tt.names)
			if m != nil {
				t.Errorf("got %v before the refusal", m)
			}
		})
	}
}

// G84, G88: a client that reads nothing delays nobody, waits with one value per leaf, and is dropped in the end.
func TestStuckClientHarmsNobody(t *testing.T) {
	tg := serve(t, func(c *gnmi.Config) { c.SlowClient = 3 * time.Second })
	for i := range 2000 { // more than flow control lets through unread
		apply(t, tg.tree, rule(fmt.Sprint("fill", i), strings.Repeat("x", 200)))
	}
	stuck := tg.open(t, list(gpb.SubscriptionList_STREAM, gpb.SubscriptionMode_ON_CHANGE, "/"))
	s := tg.open(t, list(gpb.SubscriptionList_STREAM, gpb.SubscriptionMode_ON_CHANGE, ruleCfg))
	untilSync(t, s)
	for i := range 200 {
		begin := time.Now()
		apply(t, tg.tree, rule("r1", fmt.Sprint(i)))
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begin); d > 200*time.Millisecond*raceSlack {
			t.Errorf("change %d took %v: %v", i, d, m)
		}
	}
	eventually(t, "the stuck client is not dropped", func() bool { return tg.server.Clients() == 1 })
	var err error
	for err == nil {
		_, err = stuck.Recv()
	}
	wantStatus(t, err, codes.DeadlineExceeded)
	if n := tg.leaves(t, "/mcr/system/gnmi")["/mcr/system/gnmi/state/counters/dropped-clients"]; n != "1" {
		t.Errorf("%s dropped clients", n)
	}
}

// G86: a hundred rounds leave nothing behind.
func TestRoundsLeaveNothing(t *testing.T) {
	tg := serve(t)
	round := func(n int) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s, err := tg.client.Subscribe(ctx)
		if err != nil {
			t.Fatal(err)
		}
		mode := []gpb.SubscriptionList_Mode{gpb.SubscriptionList_STREAM, gpb.SubscriptionList_POLL, gpb.SubscriptionList_ONCE}[n%3]
		if err := s.Send(list(mode, gpb.SubscriptionMode_TARGET_DEFINED, "/", "/mcr/.../name")); err != nil {
			t.Fatal(err)
		}
		untilSync(t, s)
	}
	round(0)
	eventually(t, "the first client stays", func() bool { return tg.server.Clients() == 0 })
	before := runtime.NumGoroutine()
	for i := range 100 {
		round(i)
	}
	eventually(t, "clients stay", func() bool { return tg.server.Clients() == 0 })
	eventually(t, fmt.Sprintf("more than %d goroutines", before+2), func() bool { return runtime.NumGoroutine() <= before+2 })
}

// G87, in small: every subscriber is told.
func TestManySubscribers(t *testing.T) {
	tg := serve(t)
	var streams []gpb.GNMI_SubscribeClient
	for range 200 {
		s := tg.open(t, list(gpb.SubscriptionList_STREAM, gpb.SubscriptionMode_ON_CHANGE, "/mcr/forwarding"))
		untilSync(t, s)
		streams = append(streams, s)
	}
	begin := time.Now()
	apply(t, tg.tree, rule("r1", "all"))
	for _, s := range streams {
		if m, err := s.Recv(); err != nil || len(m.GetUpdate().GetUpdate()) != 1 {
			t.Fatalf("%v %v", m, err)
		}
	}
	if d := time.Since(begin); d > time.Second*raceSlack {
		t.Errorf("took %v", d)
	}
}

// G90: streams end with Unavailable within 2 s, a stuck one too.
func TestStop(t *testing.T) {
	tg := serve(t)
	for i := range 2000 {
		apply(t, tg.tree, rule(fmt.Sprint("fill", i), strings.Repeat("x", 200)))
	}
	tg.open(t, list(gpb.SubscriptionList_STREAM, gpb.SubscriptionMode_ON_CHANGE, "/")) // never read
	s := tg.open(t, list(gpb.SubscriptionList_STREAM, gpb.SubscriptionMode_ON_CHANGE, ruleCfg))
	untilSync(t, s)
	begin := time.Now()
	if err := tg.stop(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begin); d > 2*time.Second {
		t.Errorf("stopping took %v", d)
	}
	_, err := s.Recv()
	wantStatus(t, err, codes.Unavailable)
	eventually(t, "handlers stay", func() bool { return tg.server.Clients() == 0 })
}

// FuzzSubscribeRequest: any message is answered with data or an error, never with a panic (G128).
func FuzzSubscribeRequest(f *testing.F) {
	tg := serve(f)
	for _, r := range []*gpb.SubscribeRequest{
		list(gpb.SubscriptionList_ONCE, 0, "/"), list(gpb.SubscriptionList_STREAM, 2, ruleSt, "/.../name"),
		{Request: &gpb.SubscribeRequest_Poll{Poll: &gpb.Poll{}}},
	} {
		b, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r gpb.SubscribeRequest
		if proto.Unmarshal(b, &r) != nil {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		s, err := tg.client.Subscribe(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(&r); err != nil {
			return // the client's own encoding refuses it
		}
		for {
			m, err := s.Recv()
			if c := status.Code(err); c == codes.Internal && strings.Contains(err.Error(), "internal error") || c == codes.DeadlineExceeded {
				t.Fatal(err)
			}
			if err != nil || m.GetSyncResponse() {
				return
			}
		}
	})
}
