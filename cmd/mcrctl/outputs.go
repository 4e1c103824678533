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
		if err := c.needRule(ctx, args[0]); err != nil {
			return err
		}
		body := newOutput(f)
		if name != "" {
			body.Name, body.Config.Name = name, name
		}
		path := outputPath(args[0], body.Name)
		if there, err := c.hasConfig(ctx, path); err != nil {
			return err
		} else if there {
			return fmt.Errorf("rule %s has an output %s already; remove-output takes it away", args[0], body.Name)
		}
		u, err := jsonUpdate(path, body)
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
			name, err := c.outputName(ctx, args[0], args[1])
			if err != nil {
				return err
			}
			if err := c.set(ctx, &gpb.SetRequest{Delete: []*gpb.Path{outputPath(args[0], name)}}); err != nil {
				return err
			}
			a.note("output %s of rule %s is gone", name, args[0])
			return nil
		}),
	}
}

// outputName finds an output of a rule by its name, else by interface, destination and port.
func (c *client) outputName(ctx context.Context, rule, nameOrForm string) (string, error) {
	if err := c.needRule(ctx, rule); err != nil {
		return "", err
	}
	if nameOrForm != "*" { // which would be all of them
		if there, err := c.hasConfig(ctx, outputPath(rule, nameOrForm)); there || err != nil {
			return nameOrForm, err
		}
	}
	f, err := parseOutput(nameOrForm)
	if err != nil {
		return "", fmt.Errorf("rule %s has no output of this name, and it is no form of one: %w", rule, err)
	}
	r, _, err := c.oneRule(ctx, gpb.GetRequest_CONFIG, rule)
	if err != nil {
		return "", err
	}
	for _, o := range r.Outputs.Output {
		if sameBranch(f, outputForm(r, o), r.Config.InputPort) {
			return o.Name, nil
		}
	}
	return "", fmt.Errorf("rule %s has no output %s; mcrctl list %s shows them", rule, nameOrForm, rule)
}
