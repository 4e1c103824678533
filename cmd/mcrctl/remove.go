// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/spf13/cobra"
)

func (a *app) removeCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "remove NAME",
		Short:             "Remove a rule",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeRule,
		RunE: a.withClient(func(ctx context.Context, c *client, args []string) error {
			// gNMI deletes what is not there without a word; a person who mistyped the name wants to hear it.
			if err := c.needRule(ctx, args[0]); err != nil {
				return err
			}
			if err := c.set(ctx, &gpb.SetRequest{Delete: []*gpb.Path{rulePath(args[0])}}); err != nil {
				return err
			}
			a.note("rule %s is gone", args[0])
			return nil
		}),
	}
}

// completeRule completes the first argument with the names of rules.
func (a *app) completeRule(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	err := a.withClient(func(ctx context.Context, c *client, _ []string) error {
		path := rulePath("*")
		path.Elem = append(path.Elem, at("config", "name").Elem...)
		us, err := c.list(ctx, gpb.GetRequest_CONFIG, path)
		for _, u := range us {
			names = append(names, u.Path.GetElem()[3].GetKey()["name"])
		}
		return err
	})(cmd, nil)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
