// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	gnmipb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/openconfig/ygot/ygot"

	"mcr/tests/lab"
)

const rulePath = "/mcr/forwarding/rules/rule[name=" + rule + "]"

// client speaks gNMI to mcrd.
type client struct {
	t lab.TB
	c gnmipb.GNMIClient
}

func (c *client) path(s string) *gnmipb.Path {
	p, err := ygot.StringToStructuredPath(s)
	if err != nil {
		c.t.Fatalf("path %s: %v", s, err)
	}
	return p
}

// set does one Set: it deletes what is at one path, if that is not "", and merges a value in at another.
func (c *client) set(remove, path string, value any) {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	b, err := json.Marshal(value)
	if err != nil {
		c.t.Fatalf("value for %s: %v", path, err)
	}
	req := &gnmipb.SetRequest{Update: []*gnmipb.Update{{
		Path: c.path(path), Val: &gnmipb.TypedValue{Value: &gnmipb.TypedValue_JsonIetfVal{JsonIetfVal: b}},
	}}}
	if remove != "" {
		req.Delete = []*gnmipb.Path{c.path(remove)}
	}
	if _, err := c.c.Set(ctx, req); err != nil {
		c.t.Fatalf("gNMI Set of %s: %v", path, err)
	}
}

// counts demands that a counter has this value, by now or in a moment.
func (c *client) counts(path string, want uint64) {
	lab.Until(c.t, patience, path, func() error {
		ctx, cancel := context.WithTimeout(c.t.Context(), patience)
		defer cancel()
		got, err := c.c.Get(ctx, &gnmipb.GetRequest{Path: []*gnmipb.Path{c.path(path)}, Encoding: gnmipb.Encoding_PROTO})
		if err != nil {
			return err
		}
		for _, n := range got.GetNotification() {
			if us := n.GetUpdate(); len(us) == 1 && us[0].GetVal().GetUintVal() == want {
				return nil
			}
		}
		return fmt.Errorf("the receiver has %d, mcrd says %v", want, got)
	})
}

// sample is one counter at one moment.
type sample struct {
	at    int64 // ns since 1970
	value uint64
}

// telemetry prints a few rounds of what a SAMPLE subscription brings: datagrams a second of each branch.
func (s *show) telemetry(branches ...*receiver) {
	const interval, rounds = time.Second, 4
	s.step("2  Watch: gNMI Subscribe, SAMPLE every %v, …/output[name=*]/state/counters/packets", interval)
	ctx, cancel := context.WithTimeout(s.t.Context(), patience+rounds*interval)
	defer cancel()
	sub, err := s.gnmi.c.Subscribe(ctx)
	if err == nil {
		err = sub.Send(&gnmipb.SubscribeRequest{Request: &gnmipb.SubscribeRequest_Subscribe{Subscribe: &gnmipb.SubscriptionList{
			Encoding: gnmipb.Encoding_PROTO,
			Subscription: []*gnmipb.Subscription{{
				Path: s.gnmi.path(rulePath + "/outputs/output[name=*]/state/counters/packets"),
				Mode: gnmipb.SubscriptionMode_SAMPLE, SampleInterval: uint64(interval),
			}},
		}}})
	}
	if err != nil {
		s.t.Fatalf("gNMI Subscribe: %v", err)
	}
	head := "          "
	for _, r := range branches {
		head += fmt.Sprintf("%10s", r.name)
	}
	s.t.Logf("%s", head)
	begin, last := time.Now(), map[string]sample{}
	for n := 0; n <= rounds; n++ {
		now := s.round(sub, branches)
		if n > 0 {
			s.t.Logf("%5.1f s   %s   datagrams/s", time.Since(begin).Seconds(), rates(branches, last, now))
		}
		last = now
	}
}

// round reads until every branch has been sampled once.
func (s *show) round(sub gnmipb.GNMI_SubscribeClient, branches []*receiver) map[string]sample {
	all := map[string]sample{}
	for len(all) < len(branches) {
		got, err := sub.Recv()
		if err != nil {
			s.t.Fatalf("gNMI Subscribe: %v", err)
		}
		n := got.GetUpdate()
		for _, u := range n.GetUpdate() {
			for _, e := range append(n.GetPrefix().GetElem(), u.GetPath().GetElem()...) {
				if e.GetName() == "output" {
					all[e.GetKey()["name"]] = sample{n.GetTimestamp(), u.GetVal().GetUintVal()}
				}
			}
		}
	}
	return all
}

// rates compares two rounds.
func rates(branches []*receiver, last, now map[string]sample) string {
	var b strings.Builder
	for _, r := range branches {
		was, is := last[r.branch()], now[r.branch()]
		per := 0.0
		if is.at > was.at {
			per = float64(is.value-was.value) / time.Duration(is.at-was.at).Seconds()
		}
		fmt.Fprintf(&b, "%10.0f", per)
	}
	return b.String()
}
