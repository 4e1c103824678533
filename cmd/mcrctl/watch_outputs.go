// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
)

// outputID names a configured output.
type outputID struct{ rule, output string }

// sample is what an output had sent. Each counter has its own time: a server may read them one after the other.
type sample struct{ packets, octets, errors reading }

// reading is a counter at a moment.
type reading struct {
	value number
	time  time.Time
}

// perSecond is the speed of a counter from one reading to a later one; 0 where no time passed between them.
func (now reading) perSecond(before reading) float64 {
	seconds := now.time.Sub(before.time).Seconds()
	if seconds <= 0 {
		return 0
	}
	return float64(now.value-before.value) / seconds
}

// less says that a counter has begun anew.
func (now reading) less(before reading) bool { return now.value < before.value }

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
		err = stream.Send(&gpb.SubscribeRequest{Request: &gpb.SubscribeRequest_Poll{Poll: &gpb.Poll{}}})
		if err != nil && !errors.Is(err, io.EOF) { // EOF: Recv has the reason
			return err
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
	s, r := all[id], reading{v, u.Time}
	switch e[8].GetName() {
	case "packets":
		s.packets = r
	case "octets":
		s.octets = r
	case "errors":
		s.errors = r
	}
	all[id] = s
}

// rates compares two rounds. An output that is not in both, or whose counters began anew, has none.
func rates(before, now map[outputID]sample) []outputRate {
	all := []outputRate{}
	for id, b := range now {
		a, ok := before[id]
		if !ok || b.packets.less(a.packets) || b.octets.less(a.octets) || b.errors.less(a.errors) {
			continue
		}
		all = append(all, outputRate{
			Rule: id.rule, Output: id.output, Packets: b.packets.perSecond(a.packets),
			Bits: 8 * b.octets.perSecond(a.octets), Errors: b.errors.perSecond(a.errors),
		})
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
