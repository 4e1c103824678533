// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"io"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/spf13/cobra"
)

func (a *app) showCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show", Short: "Show the state of MCR", Args: cobra.NoArgs}
	cmd.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	cmd.AddCommand(a.showRuleCommand(), a.showRulesCommand(), a.showOutputsCommand(), a.showCommitsCommand(), a.showClientsCommand(),
		a.showEndpointsCommand(),
		a.showListCommand("mrib", "The forwarding table, whoever made the entries", at("mcr", "mrib", "entries", "entry"), writeMRIB),
		a.showListCommand("interfaces", "The interfaces that MCR sees", at("interfaces", "interface"), writeInterfaces),
		a.showListCommand("dataplane", "Engine, workers, sockets and what passed through", at("mcr", "dataplane"), writeDataplane),
		a.showListCommand("igmp", "IGMP by interface", protocolPath("IGMP", "igmp"), writeProtocol),
		a.showListCommand("pim", "PIM by interface", protocolPath("PIM", "pim"), writeProtocol))
	return cmd
}

// showListCommand shows what one Get of everything below a path returns; that nothing is there is an empty list.
func (a *app) showListCommand(name, short string, path *gpb.Path, write func(io.Writer, []update) error) *cobra.Command {
	return &cobra.Command{
		Use:   name,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: a.withClient(func(ctx context.Context, c *client, _ []string) error {
			us, err := c.list(ctx, gpb.GetRequest_ALL, path)
			if err != nil {
				return err
			}
			if a.json() {
				return writeValues(a.stdout, us)
			}
			return write(a.stdout, us)
		}),
	}
}

// writeValues prints the values of list entries for programs, in the shape of the YANG tree.
func writeValues(w io.Writer, us []update) error {
	all := make([]json.RawMessage, 0, len(us))
	for _, u := range us {
		all = append(all, u.JSON)
	}
	return writeJSON(w, all)
}
