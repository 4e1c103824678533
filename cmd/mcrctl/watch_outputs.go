// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
)

// outputID names a configured output.
type outputID struct{ rule, output string }

// sample is what an output had sent at a moment.
type sample struct {
	time    time.Time
	packets number
	octets  number
	errors  number
}

// outputRate is the speed of an output between two samples.
type outputRate struct {
	Rule    string  `json:"rule"`
	Output  string  `json:"output"`
	Packets float64 `json:"packets-per-second"`
	Bits    float64 `json:"bits-per-second"`
	Errors  float64 `json:"errors-per-second"`
}

// watchOutputs polls: each answer is a whole round of samples, with an end that is marked.
func (a *app) watchOutputs(ctx context.Context, c *client, interval time.Duration, rounds int) error {
	interval = cmp.Or(interval, time.Second)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var paths []*gpb.Path
	for _, leaf := range []string{"packets", "octets", "errors"} {
		p := outputPath("*", "*")
		p.Elem = append(p.Elem, at("state", "counters", leaf).Elem...)
		paths = append(paths, p)
	}
	stream, err := c.subscribe(ctx, gpb.SubscriptionList_POLL, 0, paths...)
	if err != nil {
		return err
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var before map[outputID]sample
	for n := 0; ; n++ {
		now, err := round(stream)
		if err != nil {
			return err
		}
		if n > 0 {
			if err := writeRates(a.stdout, rates(before, now), a.json()); err != nil {
				return err
			}
		}
		if rounds > 0 && n == rounds {
			return nil
		}
		before = now
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if err := stream.Send(&gpb.SubscribeRequest{Request: &gpb.SubscribeRequest_Poll{Poll: &gpb.Poll{}}}); err != nil {
			return ended(err)
		}
	}
}

// round reads samples up to the mark that ends them.
func round(stream gpb.GNMI_SubscribeClient) (map[outputID]sample, error) {
	all := map[outputID]sample{}
	for {
		answer, err := stream.Recv()
		if err != nil {
			return nil, ended(err)
		}
		if answer.GetSyncResponse() {
			return all, nil
		}
		us, err := updates(answer.GetUpdate())
		if err != nil {
			return nil, err
		}
		for _, u := range us {
			take(all, u)
		}
	}
}

// take puts one leaf into its output's sample.
func take(all map[outputID]sample, u update) {
	e := u.Path.GetElem()
	var v number
	if len(e) != 9 || json.Unmarshal(u.JSON, &v) != nil {
		return
	}
	id := outputID{e[3].GetKey()["name"], e[5].GetKey()["name"]}
	s := all[id]
	switch e[8].GetName() {
	case "packets":
		s.packets, s.time = v, u.Time
	case "octets":
		s.octets = v
	case "errors":
		s.errors = v
	}
	all[id] = s
}

// rates compares two rounds. An output that is not in both, or whose counters began anew, has none.
func rates(before, now map[outputID]sample) []outputRate {
	all := []outputRate{}
	for id, b := range now {
		a, ok := before[id]
		if !ok || b.packets < a.packets || b.octets < a.octets || b.errors < a.errors {
			continue
		}
		r := outputRate{Rule: id.rule, Output: id.output}
		if seconds := b.time.Sub(a.time).Seconds(); seconds > 0 {
			r.Packets = float64(b.packets-a.packets) / seconds
			r.Bits = 8 * float64(b.octets-a.octets) / seconds
			r.Errors = float64(b.errors-a.errors) / seconds
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b outputRate) int {
		return cmp.Or(strings.Compare(a.Rule, b.Rule), strings.Compare(a.Output, b.Output))
	})
	return all
}

func writeRates(w io.Writer, all []outputRate, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(all)
	}
	var t table
	t.row("RULE", "OUTPUT", "PACKETS/S", "BIT/S", "ERRORS/S")
	for _, r := range all {
		t.row(r.Rule, r.Output, rate(r.Packets), rate(r.Bits), rate(r.Errors))
	}
	if err := t.write(w); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}
