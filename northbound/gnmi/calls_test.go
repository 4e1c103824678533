// SPDX-License-Identifier: Apache-2.0

package gnmi_test

import (
	"context"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc/codes"

	"mcr/northbound/config"
)

const clientsPath = "/mcr/system/clients"

// leaves returns what a Get of a path shows, as JSON by path.
func (tg *target) leaves(tb testing.TB, path string) map[string]string {
	tb.Helper()
	resp, err := tg.client.Get(tb.Context(), &gpb.GetRequest{Path: []*gpb.Path{elems(path + "/...")}})
	if err != nil {
		tb.Fatal(err)
	}
	out := map[string]string{}
	for _, u := range resp.GetNotification()[0].GetUpdate() {
		out[pathText(u.GetPath())] = string(u.GetVal().GetJsonVal())
	}
	return out
}

// G127: who calls, and what became of it.
func TestCallsAreInTheTree(t *testing.T) {
	t.Run("a_stream_while_it_runs", func(t *testing.T) {
		tg := serve(t)
		me, err := user.Current()
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		l := list(gpb.SubscriptionList_STREAM, gpb.SubscriptionMode_ON_CHANGE, ruleCfg, "/interfaces")
		l.GetSubscribe().Encoding = gpb.Encoding_JSON_IETF
		ctx, cancel := context.WithCancel(t.Context())
		s, err := tg.client.Subscribe(ctx)
		if err == nil {
			err = s.Send(l)
		}
		if err != nil {
			t.Fatal(err)
		}
		untilSync(t, s)
		got := tg.leaves(t, clientsPath)
		const at = clientsPath + "/client[id=1]/state/"
		want := map[string]string{
			"address": `"unix"`, "encoding": `"JSON_IETF"`, "id": "1", "mode": `"stream"`, "rpc": `"subscribe"`, "user": `"` + me.Username + `"`,
			"paths":           `["` + ruleCfg + `","/interfaces"]`,
			"counters/merged": "0", "counters/waiting": "0", "counters/dropped": "0",
		}
		for leaf, v := range want {
			if got[at+leaf] != v {
				t.Errorf("%s is %s, want %s", leaf, got[at+leaf], v)
			}
		}
		if ns, err := strconv.ParseInt(got[at+"since"], 10, 64); err != nil || ns < began.UnixNano() || ns > time.Now().UnixNano() {
			t.Errorf("since %s", got[at+"since"])
		}
		if got[at+"counters/sent"] == "0" || got[at+"counters/sent"] == "" {
			t.Errorf("sent %s", got[at+"counters/sent"])
		}
		cancel()
		eventually(t, "the call has ended and is still there", func() bool { return len(tg.leaves(t, clientsPath)) == 0 })
	})
	t.Run("a_stream_finds_itself_in_its_first_data", func(t *testing.T) {
		tg := serve(t)
		first := untilSync(t, tg.open(t, list(gpb.SubscriptionList_STREAM, gpb.SubscriptionMode_ON_CHANGE, clientsPath)))
		if first[clientsPath+"/client[id=1]/state/rpc"] != `"subscribe"` {
			t.Errorf("got %v", first)
		}
	})
	t.Run("a_call_that_takes_long", func(t *testing.T) {
		tg := serve(t)
		hold := make(chan struct{})
		tg.store.after = func(config.Request) { <-hold }
		done := make(chan error, 1)
		go func() {
			_, err := tg.client.Set(context.Background(), &gpb.SetRequest{Update: []*gpb.Update{jsonUpdate("/mcr/a", "1"), jsonUpdate("/mcr/b", "2")}})
			done <- err
		}()
		var got map[string]string
		eventually(t, "the Set is not told", func() bool { got = tg.leaves(t, clientsPath); return len(got) > 0 })
		var texts []string
		for p, v := range got {
			if strings.HasSuffix(p, "/state/rpc") || strings.HasSuffix(p, "/paths") || strings.HasSuffix(p, "/mode") {
				texts = append(texts, v)
			}
		}
		slices.Sort(texts)
		if want := []string{`"none"`, `"set"`, `["/mcr/a","/mcr/b"]`}; !slices.Equal(texts, want) {
			t.Errorf("got %v, want %v", texts, want)
		}
		close(hold)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		eventually(t, "the Set has ended and is still there", func() bool { return len(tg.leaves(t, clientsPath)) == 0 })
	})
	t.Run("outcomes_are_counted", func(t *testing.T) {
		tg := serve(t)
		for range 3 {
			_, err := tg.client.Capabilities(t.Context(), &gpb.CapabilityRequest{})
			wantStatus(t, err, codes.OK)
		}
		for range 2 {
			_, err := tg.client.Get(t.Context(), &gpb.GetRequest{Path: []*gpb.Path{elems("/wrong")}})
			wantStatus(t, err, codes.InvalidArgument)
		}
		tg.store.after = func(config.Request) { panic("bug") }
		_, err := tg.client.Set(t.Context(), &gpb.SetRequest{Update: []*gpb.Update{jsonUpdate("/mcr", "{}")}})
		wantStatus(t, err, codes.Internal)
		eventually(t, "not all outcomes are told", func() bool {
			got := tg.leaves(t, "/mcr/system/rpcs")
			calls := func(name, code string) string {
				return got["/mcr/system/rpcs/rpc[code="+code+"][name="+name+"]/state/counters/calls"]
			}
			return calls("capabilities", "OK") == "3" && calls("get", "INVALID_ARGUMENT") == "2" && calls("set", "INTERNAL") == "1"
		})
	})
	t.Run("what_holds_for_all", func(t *testing.T) {
		tg := serve(t)
		var got map[string]string
		eventually(t, "nothing is told of the service", func() bool { got = tg.leaves(t, "/mcr/system/gnmi"); return len(got) > 0 })
		for leaf, v := range map[string]string{"minimum-sample-interval": "1000", "client-timeout": "60", "counters/dropped-clients": "0"} {
			if p := "/mcr/system/gnmi/state/" + leaf; got[p] != v {
				t.Errorf("%s is %s, want %s", p, got[p], v)
			}
		}
	})
}

// G127, G66: calls that come and go are no event; streams that come and go in masses are few.
func TestCallsDoNotFloodOnChange(t *testing.T) {
	tg := serve(t)
	s := tg.open(t, list(gpb.SubscriptionList_STREAM, gpb.SubscriptionMode_ON_CHANGE, "/mcr/system"))
	untilSync(t, s)
	told := make(chan int)
	go func() {
		n := 0
		for {
			if _, err := s.Recv(); err != nil {
				break
			}
			n++
		}
		told <- n
	}()
	begin := time.Now()
	for range 300 {
		tg.leaves(t, ruleCfg)
		ctx, cancel := context.WithCancel(t.Context())
		sub, err := tg.client.Subscribe(ctx)
		if err == nil {
			err = sub.Send(list(gpb.SubscriptionList_STREAM, gpb.SubscriptionMode_ON_CHANGE, ruleCfg))
		}
		if err != nil {
			t.Fatal(err)
		}
		untilSync(t, sub)
		cancel()
	}
	seconds := int(time.Since(begin)/time.Second) + 1
	if err := tg.stop(); err != nil {
		t.Fatal(err)
	}
	// Once a second at most: some streams come and some go; and once each of two outcomes.
	if n := <-told; n > 4*seconds+4 {
		t.Errorf("%d messages in %d s for 600 calls", n, seconds)
	}
}
