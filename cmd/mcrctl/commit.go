// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/openconfig/gnmi/proto/gnmi_ext"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	mcrv1 "mcr/northbound/operations/mcr/v1"
)

// applyOptions say how a change of the whole is made.
type applyOptions struct {
	dryRun  bool
	confirm time.Duration // 0: for good
	id      string
}

func (o *applyOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.dryRun, "dry-run", false, "check everything and print the difference, and change nothing")
	f.DurationVar(&o.confirm, "confirm", 0, "go back after this `time`, unless mcrctl confirm comes before")
	f.StringVar(&o.id, "id", "", "`name` of the commit for mcrctl confirm and cancel (default: made up)")
	cmd.MarkFlagsMutuallyExclusive("dry-run", "confirm")
}

// check refuses what the flags cannot mean together.
func (o *applyOptions) check(cmd *cobra.Command) error {
	switch {
	case cmd.Flags().Changed("confirm") && o.confirm <= 0:
		return &usageError{arg: o.confirm.String(), pos: -1, err: errors.New("--confirm needs a time above 0, such as 60s")}
	case o.id != "" && o.confirm == 0:
		return &usageError{arg: o.id, pos: -1, err: errors.New("--id names a commit that --confirm makes")}
	}
	return nil
}

// apply sends a request as the options want it. name is what is applied, for a person.
func (a *app) apply(ctx context.Context, c *client, name string, req *gpb.SetRequest, o applyOptions) error {
	if o.dryRun {
		return a.dryRun(ctx, c, name, req)
	}
	if o.confirm == 0 {
		if err := c.set(ctx, req); err != nil {
			return err
		}
		a.note("%s is in force", name)
		return nil
	}
	if o.id == "" {
		o.id = "mcrctl-" + time.Now().UTC().Format("20060102T150405.000")
	}
	req.Extension = append(req.Extension, commitExtension(&gnmi_ext.Commit{
		Id: o.id, Action: &gnmi_ext.Commit_Commit{Commit: &gnmi_ext.CommitRequest{RollbackDuration: durationpb.New(o.confirm)}},
	}))
	if err := c.set(ctx, req); err != nil {
		return err
	}
	a.note("%s is in force for %v; mcrctl confirm keeps it (commit %s)", name, o.confirm, o.id)
	return nil
}

// dryRun prints what a request would change.
func (a *app) dryRun(ctx context.Context, c *client, name string, req *gpb.SetRequest) error {
	ctx, cancel := c.limit(ctx)
	defer cancel()
	answer, err := c.ops.Validate(ctx, req)
	if err != nil {
		return err
	}
	all := make([]leafChange, 0, len(answer.GetChanges()))
	for _, ch := range answer.GetChanges() {
		all = append(all, leafChange{Path: ch.GetPath(), Old: rawOrNil(ch.GetOld()), New: rawOrNil(ch.GetNew())})
	}
	if a.json() {
		return writeJSON(a.stdout, struct {
			Revision uint64       `json:"revision"`
			Changes  []leafChange `json:"changes"`
		}{answer.GetRevision(), all})
	}
	if len(all) == 0 {
		a.note("%s would change nothing", name)
	}
	return writeChanges(a.stdout, all)
}

func rawOrNil(s string) json.RawMessage {
	if s == "" {
		return nil
	}
	return json.RawMessage(s)
}

func commitExtension(c *gnmi_ext.Commit) *gnmi_ext.Extension {
	return &gnmi_ext.Extension{Ext: &gnmi_ext.Extension_Commit{Commit: c}}
}

func (a *app) confirmCommand() *cobra.Command {
	return a.pendingCommand("confirm [ID]", "Keep what apply --confirm or rollback --confirm made", "is confirmed", func(id string) *gnmi_ext.Commit {
		return &gnmi_ext.Commit{Id: id, Action: &gnmi_ext.Commit_Confirm{Confirm: &gnmi_ext.CommitConfirm{}}}
	})
}

func (a *app) cancelCommand() *cobra.Command {
	return a.pendingCommand("cancel [ID]", "Go back at once from what apply --confirm or rollback --confirm made", "is taken back", func(id string) *gnmi_ext.Commit {
		return &gnmi_ext.Commit{Id: id, Action: &gnmi_ext.Commit_Cancel{Cancel: &gnmi_ext.CommitCancel{}}}
	})
}

// pendingCommand decides about the commit that waits to be confirmed.
func (a *app) pendingCommand(use, short, done string, decide func(id string) *gnmi_ext.Commit) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Long:  short + ".\n\nWithout ID it is the commit that waits, whoever made it; there is never more than one.",
		Args:  cobra.MaximumNArgs(1),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) (ids []string, _ cobra.ShellCompDirective) {
			_ = a.withClient(func(ctx context.Context, c *client, _ []string) error {
				id, err := c.pending(ctx)
				if err == nil && len(args) == 0 {
					ids = append(ids, id)
				}
				return err
			})(cmd, nil)
			return ids, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: a.withClient(func(ctx context.Context, c *client, args []string) error {
			var id string
			var err error
			if len(args) > 0 {
				id = args[0]
			} else if id, err = c.pending(ctx); err != nil {
				return err
			}
			if err := c.set(ctx, &gpb.SetRequest{Extension: []*gnmi_ext.Extension{commitExtension(decide(id))}}); err != nil {
				return err
			}
			a.note("commit %s %s", id, done)
			return nil
		}),
	}
}

// pending is the id of the commit that waits to be confirmed.
func (c *client) pending(ctx context.Context) (id string, err error) {
	us, err := c.list(ctx, gpb.GetRequest_STATE, at("mcr", "system", "configuration", "state", "pending-commit-id"))
	if err != nil {
		return "", err
	}
	if len(us) == 1 {
		err = json.Unmarshal(us[0].JSON, &id)
	}
	if err == nil && id == "" {
		err = errors.New("no commit waits to be confirmed")
	}
	return id, err
}

// commit reads a commit with its configuration; revision 0: the running one.
func (c *client) commit(ctx context.Context, revision uint64) (*mcrv1.GetCommitResponse, error) {
	ctx, cancel := c.limit(ctx)
	defer cancel()
	answer, err := c.ops.GetCommit(ctx, &mcrv1.GetCommitRequest{Revision: revision})
	if isNotFound(err) {
		return nil, fmt.Errorf("%s; mcrctl show commits lists those that are kept", message(err))
	}
	return answer, err
}
