// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/spf13/cobra"

	"mcr/northbound/form"
)

func (a *app) listCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "list [RULE]",
		Short:             "List the configured rules, with their outputs as add takes them",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeRule,
		RunE: a.withClient(func(ctx context.Context, c *client, args []string) error {
			all, err := c.someRules(ctx, gpb.GetRequest_CONFIG, args)
			if err != nil {
				return err
			}
			if a.json() {
				return writeJSON(a.stdout, listed(all))
			}
			return writeList(a.stdout, all)
		}),
	}
}

// writeList prints a line per output.
func writeList(w io.Writer, all []*rule) error {
	var t table
	t.row("RULE", "INPUT", "OUTPUT", "NAME")
	for _, r := range all {
		name, in := r.Name+off(r.Config.Enabled), inputForm(&r.Config)
		if len(r.Outputs.Output) == 0 {
			t.row(name, in, "-")
		}
		for _, o := range r.Outputs.Output {
			t.row(name, in, outputForm(r, o).String()+off(o.Config.Enabled), o.Name)
			name, in = "", ""
		}
	}
	return t.write(w)
}

func off(enabled *bool) string {
	if on(enabled) {
		return ""
	}
	return " (disabled)"
}

// listedRule is what list -o json prints.
type listedRule struct {
	Name    string         `json:"name"`
	Enabled bool           `json:"enabled"`
	Input   listedInput    `json:"input"`
	Outputs []listedOutput `json:"outputs"`
	Form    string         `json:"form"` // of all outputs, as add takes it
}

type listedInput struct {
	Interface string `json:"interface"`
	Group     string `json:"group"`
	Port      uint16 `json:"port"`
	Source    string `json:"source,omitempty"`
}

type listedOutput struct {
	Name    string `json:"name"`
	Enabled bool   `json:"enabled"`
	Form    string `json:"form"`
}

func listed(all []*rule) []listedRule {
	list := make([]listedRule, 0, len(all))
	for _, r := range all {
		c := &r.Config
		l := listedRule{
			Name: r.Name, Enabled: on(c.Enabled), Outputs: []listedOutput{},
			Input: listedInput{Interface: c.InputInterface, Group: c.InputGroup, Port: c.InputPort, Source: c.InputSource},
		}
		forms := make([]form.Output, 0, len(r.Outputs.Output))
		for _, o := range r.Outputs.Output {
			f := outputForm(r, o)
			forms = append(forms, f)
			l.Outputs = append(l.Outputs, listedOutput{Name: o.Name, Enabled: on(o.Config.Enabled), Form: f.String()})
		}
		l.Form = form.Format(forms)
		list = append(list, l)
	}
	return list
}
