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

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/spf13/cobra"
)

func (a *app) showRuleCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "rule NAME",
		Short:             "One rule, and in one line what is wrong with it",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeRule,
		RunE: a.withClient(func(ctx context.Context, c *client, args []string) error {
			r, now, err := c.oneRule(ctx, gpb.GetRequest_ALL, args[0])
			if err != nil {
				return err
			}
			f := facts{Rule: r, Now: now}
			us, err := c.list(ctx, gpb.GetRequest_STATE, at("mcr", "dataplane", "state", "counters", "checksum-errors"))
			if err != nil {
				return err
			}
			if len(us) == 1 {
				_ = json.Unmarshal(us[0].JSON, &f.ChecksumErrors) // a hint; without it the cause is less exact
			}
			if f.Masters, err = c.masters(ctx, r); err != nil {
				return err
			}
			if f.Unresolved, err = c.unresolved(ctx, r); err != nil {
				return err
			}
			if a.json() {
				return writeJSON(a.stdout, struct {
					Name  string          `json:"name"`
					Cause string          `json:"cause"`
					Rule  json.RawMessage `json:"rule"`
				}{r.Name, cause(f), r.raw})
			}
			return writeRule(a.stdout, f)
		}),
	}
}

// masters are those of all interfaces, if one that r names is down for it.
func (c *client) masters(ctx context.Context, r *rule) (map[string]string, error) {
	const reason = "interface-enslaved"
	enslaved := func(o *output) bool { return outputReason(o) == reason }
	if r.State.DownReason != reason && !slices.ContainsFunc(r.Outputs.Output, enslaved) {
		return nil, nil
	}
	us, err := c.list(ctx, gpb.GetRequest_STATE, at("interfaces", "interface", "state", "master"))
	masters := map[string]string{}
	for _, u := range us {
		var name string
		if json.Unmarshal(u.JSON, &name) == nil && len(u.Path.GetElem()) > 1 {
			masters[u.Path.GetElem()[1].GetKey()["name"]] = name
		}
	}
	return masters, err
}

// unresolved says for the interfaces why no endpoint is known there, if an output of r is down for it.
func (c *client) unresolved(ctx context.Context, r *rule) (map[string]string, error) {
	if !slices.ContainsFunc(r.Outputs.Output, func(o *output) bool { return outputReason(o) == "endpoint-unresolved" }) {
		return nil, nil
	}
	path := tunnelPath("*")
	path.Elem = append(path.Elem, at("state", "reason").Elem...)
	us, err := c.list(ctx, gpb.GetRequest_STATE, path)
	reasons := map[string]string{}
	for _, u := range us {
		var reason string
		if json.Unmarshal(u.JSON, &reason) == nil && len(u.Path.GetElem()) > 2 {
			reasons[u.Path.GetElem()[2].GetKey()["interface"]] = reason
		}
	}
	return reasons, err
}

func writeRule(w io.Writer, f facts) error {
	r := f.Rule
	l, s := r.leaves(), &r.State.inputState
	if _, err := fmt.Fprintf(w, "%s: %s\n\n", r.Name, cause(f)); err != nil {
		return err
	}
	var t table
	t.row("input", inputForm(l))
	t.row("state", dash(state(s.OperStatus, s.DownReason)))
	status := []string{dash(state(s.InputStatus, s.DiscardReason))}
	if s.Joined {
		status = append(status, "joined")
	}
	if m := r.State.ReceiveMethodUsed; m != "" {
		status = append(status, "received by "+state(m, r.State.ReceiveMethodReason))
	}
	t.row("stream", strings.Join(status, ", "))
	var senders []string
	for _, from := range r.Senders.Sender {
		senders = append(senders, from.Address)
	}
	if len(senders) > 0 {
		t.row("sources", strings.Join(senders, ", "))
	}
	packets := count(s.Counters.Packets)
	if s.LastPacketTime != 0 {
		packets += ", the last " + ago(f.Now, s.LastPacketTime)
	}
	t.row("packets", packets)
	if d := dropText(s); d != "" {
		t.row("dropped", d)
	}
	if err := t.write(w); err != nil || len(r.Outputs.Output) == 0 {
		return err
	}
	fmt.Fprintln(w)
	t = table{}
	t.row("OUTPUT", "FORM", "HER", "STATE", "PACKETS", "ERRORS", "UNSENT", "LAST ERROR")
	for _, o := range r.Outputs.Output {
		her := o.State.her()
		if o.State.HER && o.State.Endpoint != "" {
			her = o.State.Endpoint + ", " + her
		}
		t.row(append([]string{o.Name, outputForm(r, o).String(), her}, outputCells(o)...)...)
	}
	return t.write(w)
}

// dropText lists the kinds of drops that happened.
func dropText(s *inputState) string {
	c := &s.Counters
	var all []string
	for _, d := range []struct {
		n    number
		what string
	}{
		{c.DroppedTTL, "ttl"},
		{c.DroppedChecksum, "checksum"},
		{c.DroppedTruncated, "truncated"},
		{c.DroppedOverrun, "overrun"},
		{c.DroppedWrongInterface, "wrong-interface"},
		{c.DroppedGSO, "gso"},
		{c.DroppedLimit, "limit"},
		{c.DroppedLoop, "loop"},
	} {
		if d.n > 0 {
			all = append(all, count(d.n)+" "+d.what)
		}
	}
	return strings.Join(all, ", ")
}

// outputCells are the columns from STATE on.
func outputCells(o *output) []string {
	s := &o.State
	c := &s.Counters
	return []string{
		dash(state(s.OperStatus, s.DownReason)), count(c.Packets), count(c.Errors),
		count(c.Dropped + c.SkippedTTL + c.NotReady), dash(c.LastError),
	}
}

func (a *app) showRulesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rules",
		Short: "All rules: state, stream, packets",
		Args:  cobra.NoArgs,
		RunE: a.withClient(func(ctx context.Context, c *client, _ []string) error {
			path := rulePath("*") // their state alone: outputs are many
			path.Elem = append(path.Elem, at("state").Elem...)
			us, err := c.list(ctx, gpb.GetRequest_ALL, path)
			if err != nil {
				return err
			}
			if a.json() {
				return writeValues(a.stdout, us)
			}
			return writeRules(a.stdout, us)
		}),
	}
}

func writeRules(w io.Writer, us []update) error {
	all, err := decode[struct {
		ruleLeaves
		inputState
	}](us)
	if err != nil {
		return err
	}
	var t table
	t.row("RULE", "INPUT", "STATE", "STREAM", "PACKETS", "DROPPED", "OUTPUTS UP")
	for _, r := range all {
		t.row(r.Name, inputForm(&r.ruleLeaves), state(r.OperStatus, r.DownReason), state(r.InputStatus, r.DiscardReason),
			count(r.Counters.Packets), count(r.dropped()), fmt.Sprintf("%d/%d", r.OutputUpCount, r.OutputCount))
	}
	return t.write(w)
}

func (a *app) showOutputsCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "outputs [RULE]",
		Short:             "All configured outputs: state, packets, errors",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeRule,
		RunE: a.withClient(func(ctx context.Context, c *client, args []string) error {
			all, err := c.someRules(ctx, gpb.GetRequest_ALL, args)
			if err != nil {
				return err
			}
			if a.json() {
				return writeOutputsJSON(a.stdout, all)
			}
			return writeOutputs(a.stdout, all)
		}),
	}
}

func writeOutputs(w io.Writer, all []*rule) error {
	var t table
	t.row("RULE", "OUTPUT", "TO", "HER", "STATE", "PACKETS", "ERRORS", "UNSENT", "LAST ERROR")
	for _, r := range all {
		for _, o := range r.Outputs.Output {
			dest, port := destination(r, o)
			t.row(append([]string{r.Name, o.Name, dest + ":" + port, o.State.her()}, outputCells(o)...)...)
		}
	}
	return t.write(w)
}

// writeOutputsJSON prints every output as the YANG tree has it, with the name of its rule.
func writeOutputsJSON(w io.Writer, all []*rule) error {
	list := []map[string]json.RawMessage{}
	for _, r := range all {
		var outs struct {
			Outputs struct {
				Output []map[string]json.RawMessage `json:"output"`
			} `json:"outputs"`
		}
		if err := json.Unmarshal(r.raw, &outs); err != nil {
			return fmt.Errorf("outputs of rule %s: %w", r.Name, err)
		}
		name, err := json.Marshal(r.Name)
		if err != nil {
			return err
		}
		for _, o := range outs.Outputs.Output {
			o["rule"] = name
			list = append(list, o)
		}
	}
	return writeJSON(w, list)
}

// protocolPath is the list of the interfaces of PIM or IGMP.
func protocolPath(identifier, name string) *gpb.Path {
	p := at("network-instances", "network-instance", "protocols", "protocol", name, "interfaces", "interface")
	p.Elem[1].Key = map[string]string{"name": "default"}
	p.Elem[3].Key = map[string]string{"identifier": identifier, "name": name}
	return p
}

// writeProtocol shows the interfaces of PIM or IGMP.
func writeProtocol(w io.Writer, us []update) error {
	type leaves struct {
		Enabled bool   `json:"enabled"`
		Reason  string `json:"down-reason"`
	}
	all, err := decode[struct {
		Interface string `json:"interface-id"`
		Config    leaves `json:"config"`
		State     leaves `json:"state"`
	}](us)
	if err != nil {
		return err
	}
	var t table
	t.row("INTERFACE", "ENABLED", "STATE")
	for i, p := range all {
		status := "up"
		if p.State.Reason != "" && p.State.Reason != "none" {
			status = state("down", p.State.Reason)
		}
		t.row(cmp.Or(p.Interface, lastKey(us[i].Path, "interface-id")), yes(p.Config.Enabled || p.State.Enabled), status)
	}
	return t.write(w)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
