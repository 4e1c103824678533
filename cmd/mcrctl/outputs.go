// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/spf13/cobra"
)

func (a *app) addOutputCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:               "add-output RULE FORM",
		Short:             "Add an output to a rule: GROUP:PORT:INTERFACE[@DESTINATION]",
		Example:           "  mcrctl add-output hybrid-feed 239.1.1.1:5000:gre0@10.2.0.5",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeRule,
	}
	cmd.Flags().StringVar(&name, "name", "", "`name` of the output (default INTERFACE@DESTINATION:PORT)")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client, args []string) error {
		f, err := parseOutput(args[1])
		if err != nil {
			return err
		}
		r, _, err := c.oneRule(ctx, gpb.GetRequest_CONFIG, args[0])
		if err != nil {
			return err
		}
		body := newOutput(f)
		if name != "" {
			body.Name, body.Config.Name = name, name
		}
		for _, o := range r.Outputs.Output {
			if o.Name == body.Name {
				return fmt.Errorf("rule %s has an output %s already: %v", args[0], o.Name, outputForm(r, o))
			}
		}
		u, err := jsonUpdate(outputPath(args[0], body.Name), body)
		if err != nil {
			return err
		}
		if err := c.set(ctx, &gpb.SetRequest{Update: []*gpb.Update{u}}); err != nil {
			return err
		}
		a.note("output %s of rule %s is in force", body.Name, args[0])
		return nil
	})
	return cmd
}

func (a *app) removeOutputCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "remove-output RULE NAME|FORM",
		Short:             "Remove an output from a rule, by its name or by what it is",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeRule,
		RunE: a.withClient(func(ctx context.Context, c *client, args []string) error {
			r, _, err := c.oneRule(ctx, gpb.GetRequest_CONFIG, args[0])
			if err != nil {
				return err
			}
			o, err := findOutput(r, args[1])
			if err != nil {
				return err
			}
			if err := c.set(ctx, &gpb.SetRequest{Delete: []*gpb.Path{outputPath(args[0], o.Name)}}); err != nil {
				return err
			}
			a.note("output %s of rule %s is gone", o.Name, args[0])
			return nil
		}),
	}
}

// findOutput finds an output of a rule by its name, else by interface, destination and port.
func findOutput(r *rule, nameOrForm string) (*output, error) {
	for _, o := range r.Outputs.Output {
		if o.Name == nameOrForm {
			return o, nil
		}
	}
	f, err := parseOutput(nameOrForm)
	if err != nil {
		return nil, fmt.Errorf("rule %s has no output of this name, and it is no form of one: %w", r.Name, err)
	}
	for _, o := range r.Outputs.Output {
		if sameBranch(f, outputForm(r, o), r.Config.InputPort) {
			return o, nil
		}
	}
	return nil, fmt.Errorf("rule %s has no output %s; mcrctl list %s shows them", r.Name, nameOrForm, r.Name)
}
