// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// note is a notification of leaves, each PATH=JSON, at so many milliseconds after the fake's moment.
func note(t *testing.T, ms int, leaves ...string) *gpb.SubscribeResponse {
	t.Helper()
	n := &gpb.Notification{Timestamp: snapshotTime.Add(time.Duration(ms) * time.Millisecond).UnixNano(), Prefix: at("mcr")}
	for _, l := range leaves {
		i := strings.LastIndexByte(l, '=')
		p, err := parsePath(l[:i])
		if err != nil {
			t.Error(err)
		}
		n.Update = append(n.Update, &gpb.Update{Path: p, Val: &gpb.TypedValue{Value: &gpb.TypedValue_JsonIetfVal{JsonIetfVal: []byte(l[i+1:])}}})
	}
	return &gpb.SubscribeResponse{Response: &gpb.SubscribeResponse_Update{Update: n}}
}

var synced = &gpb.SubscribeResponse{Response: &gpb.SubscribeResponse_SyncResponse{SyncResponse: true}}

func TestWatchPath(t *testing.T) {
	f := startFake(t)
	asked := make(chan *gpb.SubscriptionList, 1)
	f.subscribe = func(s gpb.GNMI_SubscribeServer) error {
		req, err := s.Recv()
		if err != nil {
			return err
		}
		asked <- req.GetSubscribe()
		gone := note(t, 7)
		gone.GetUpdate().Delete = []*gpb.Path{at("b")}
		for _, m := range []*gpb.SubscribeResponse{note(t, 0, `/a="x"`), synced, note(t, 5, `/a="y"`), gone} {
			if err := s.Send(m); err != nil {
				return err
			}
		}
		<-s.Context().Done()
		return nil
	}
	got := f.done(t, "watch", "/mcr", "--count", "3", "--interval", "2s", "-o", "json")
	want := `{"time":"2026-11-25T12:00:00Z","path":"/mcr/a","value":"x"}
{"time":"2026-11-25T12:00:00.005Z","path":"/mcr/a","value":"y"}
{"time":"2026-11-25T12:00:00.007Z","path":"/mcr/b","delete":true}
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	list := <-asked
	if sub := list.GetSubscription(); list.GetMode() != gpb.SubscriptionList_STREAM || len(sub) != 1 ||
		pathString(sub[0].GetPath()) != "/mcr" || sub[0].GetSampleInterval() != uint64(2*time.Second) {
		t.Errorf("asked for %v", list)
	}
}

func TestWatchOutputsShowsRatesOfTwoSamples(t *testing.T) {
	f := startFake(t)
	f.subscribe = func(s gpb.GNMI_SubscribeServer) error {
		for n := 0; ; n++ {
			if _, err := s.Recv(); err != nil {
				return nil
			}
			c := func(output string, packets, octets int) []string {
				at := "/forwarding/rules/rule[name=r]/outputs/output[name=" + output + "]/state/counters/"
				return []string{
					fmt.Sprintf(`%spackets="%d"`, at, packets), fmt.Sprintf(`%soctets="%d"`, at, octets), at + `errors="0"`, at + `last-error="EPERM"`,
				}
			}
			leaves := append(c("fast", 1000+n*5000, 1_000_000+n*5_000_000), c("idle", 7, 700)...)
			leaves = append(leaves, c("again", 100-n*50, 100)...) // began anew
			octetsLater := []string{}
			for i, l := range leaves {
				if strings.Contains(l, "/octets=") {
					octetsLater = append(octetsLater, l)
					leaves[i] = leaves[0]
				}
			}
			for _, m := range []*gpb.SubscribeResponse{note(t, n*2000, leaves...), note(t, 500+n*2500, octetsLater...), synced} {
				if err := s.Send(m); err != nil {
					return err
				}
			}
		}
	}
	got := f.done(t, "watch", "outputs", "--count", "1", "--interval", "1ms")
	want := `RULE  OUTPUT  PACKETS/S  BIT/S   ERRORS/S
r     fast    2.50 k     16.0 M  0
r     idle    0          0       0

`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got = f.done(t, "watch", "outputs", "--count", "1", "--interval", "1ms", "-o", "json")
	if want := `[{"rule":"r","output":"fast","packets-per-second":2500,"bits-per-second":16000000,"errors-per-second":0},`; !strings.HasPrefix(got, want) {
		t.Errorf("got %s", got)
	}
}

// A person who has seen enough presses Ctrl-C: that is no error. A daemon that goes away is one.
func TestWatchEnds(t *testing.T) {
	f := startFake(t)
	ctx, interrupt := context.WithCancel(t.Context())
	f.subscribe = func(s gpb.GNMI_SubscribeServer) error {
		interrupt()
		<-s.Context().Done()
		return nil
	}
	var out, words bytes.Buffer
	if code := run(ctx, []string{"--address", f.address, "watch", "/"}, &out, &words); code != exitDone || words.Len() > 0 {
		t.Errorf("interrupted: exit code %d, %s", code, &words)
	}
	f.subscribe = func(gpb.GNMI_SubscribeServer) error { return nil }
	if got := f.run(t, "watch", "/"); got.code != exitRefused || !strings.Contains(got.stderr, "mcrd ended the stream") {
		t.Errorf("ended: %+v", got)
	}
	f.subscribe = func(gpb.GNMI_SubscribeServer) error { return status.Error(codes.Unavailable, "stopping") }
	if got := f.run(t, "watch", "/"); got.code != exitNotReached {
		t.Errorf("stopped: %+v", got)
	}
	f.subscribe = func(gpb.GNMI_SubscribeServer) error { return status.Error(codes.InvalidArgument, "/x: no such node") }
	if got := f.run(t, "watch", "/x"); got.code != exitRefused || !strings.Contains(got.stderr, "/x: no such node") {
		t.Errorf("refused: %+v", got)
	}
	f.subscribe = func(s gpb.GNMI_SubscribeServer) error { // between two polls, so that the next cannot be sent
		if _, err := s.Recv(); err != nil {
			return err
		}
		if err := s.Send(&gpb.SubscribeResponse{Response: &gpb.SubscribeResponse_SyncResponse{SyncResponse: true}}); err != nil {
			return err
		}
		return status.Error(codes.PermissionDenied, "the rights have changed")
	}
	if got := f.run(t, "watch", "outputs", "--interval", "100ms"); got.code != exitRefused || !strings.Contains(got.stderr, "the rights have changed") {
		t.Errorf("refused between two polls: %+v", got)
	}
}
