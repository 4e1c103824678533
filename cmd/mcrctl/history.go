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
	"strconv"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/spf13/cobra"
)

var (
	configurationPath = at("mcr", "system", "configuration", "state")
	commitsPath       = at("mcr", "system", "configuration", "commits", "commit")
)

// commitRow is …/commits/commit.
type commitRow struct {
	ID    number `json:"id"`
	State struct {
		User    string  `json:"user"`
		Address string  `json:"address"`
		Time    number  `json:"time"`
		Changes *number `json:"change-count"`
	} `json:"state"`

	raw json.RawMessage
}

// configurationState is …/configuration/state.
type configurationState struct {
	Revision        number `json:"revision"`
	PendingID       string `json:"pending-commit-id"`
	PendingDeadline number `json:"pending-commit-deadline"`
}

// commits reads the commits that are kept, newest first.
func (c *client) commits(ctx context.Context) ([]*commitRow, error) {
	us, err := c.list(ctx, gpb.GetRequest_STATE, commitsPath)
	if err != nil {
		return nil, err
	}
	rows, err := decode[commitRow](us)
	if err != nil {
		return nil, err
	}
	for i, r := range rows {
		r.raw = us[i].JSON
		if id, err := strconv.ParseUint(lastKey(us[i].Path, "id"), 10, 64); err == nil {
			r.ID = number(id)
		}
	}
	slices.SortFunc(rows, func(a, b *commitRow) int { return cmp.Compare(b.ID, a.ID) })
	return rows, nil
}

func (a *app) showCommitsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "commits",
		Short: "The latest commits: who, when, from where, how many leaves",
		Args:  cobra.NoArgs,
		RunE: a.withClient(func(ctx context.Context, c *client, _ []string) error {
			rows, err := c.commits(ctx)
			if err != nil {
				return err
			}
			if a.json() {
				all := make([]json.RawMessage, 0, len(rows))
				for _, r := range rows {
					all = append(all, r.raw)
				}
				return writeJSON(a.stdout, all)
			}
			us, err := c.list(ctx, gpb.GetRequest_STATE, configurationPath)
			if err != nil {
				return err
			}
			var st configurationState
			if len(us) == 1 {
				if err := json.Unmarshal(us[0].JSON, &st); err != nil {
					return fmt.Errorf("answer for %s: %w", pathString(us[0].Path), err)
				}
				defer a.notePending(st, us[0].Time)
			}
			return writeCommits(a.stdout, rows, st.Revision)
		}),
	}
}

// notePending says which commit waits to be confirmed, and how long still.
func (a *app) notePending(st configurationState, now time.Time) {
	if st.PendingID == "" {
		return
	}
	a.note("commit %s waits for mcrctl confirm, and is taken back in %v", st.PendingID,
		max(st.PendingDeadline.moment().Sub(now), 0).Round(time.Second))
}

func writeCommits(w io.Writer, rows []*commitRow, running number) error {
	var t table
	t.row("REVISION", "TIME", "USER", "ADDRESS", "LEAVES CHANGED")
	for _, r := range rows {
		id, when, changes := strconv.FormatUint(uint64(r.ID), 10), "-", "-"
		if r.ID == running {
			id += " *" // in force
		}
		if r.State.Time != 0 {
			when = r.State.Time.moment().Local().Format(time.DateTime)
		}
		if r.State.Changes != nil {
			changes = count(*r.State.Changes)
		}
		t.row(id, when, dash(r.State.User), dash(r.State.Address), changes)
	}
	return t.write(w)
}

func (a *app) diffCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "diff N [M]",
		Short: "Show how the configuration of commit N differs from the running one, or from that of commit M",
		Long: `Show how the configuration of commit N differs from the running one, or from that of commit M: what diff FILE_N FILE_M
would show of two files with a leaf on each line. Without a difference it prints nothing.`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completeCommit(2),
		RunE: a.withClient(func(ctx context.Context, c *client, args []string) error {
			var revisions [2]uint64 // the second is 0, the running one, where it is left out
			for i, arg := range args {
				n, err := parseRevision(arg)
				if err != nil {
					return err
				}
				revisions[i] = n
			}
			from, err := c.commit(ctx, revisions[0])
			if err != nil {
				return err
			}
			to, err := c.commit(ctx, revisions[1])
			if err != nil {
				return err
			}
			all, err := compareConfigs(from.GetJsonIetf(), to.GetJsonIetf())
			if err != nil {
				return err
			}
			if a.json() {
				return writeJSON(a.stdout, struct {
					From    uint64       `json:"from"`
					To      uint64       `json:"to"`
					Changes []leafChange `json:"changes"`
				}{from.GetRevision(), to.GetRevision(), all})
			}
			if len(all) == 0 {
				a.note("commits %d and %d have the same configuration", from.GetRevision(), to.GetRevision())
			}
			return writeChanges(a.stdout, all)
		}),
	}
}

// parseRevision reads the number of a commit.
func parseRevision(arg string) (uint64, error) {
	n, err := strconv.ParseUint(arg, 10, 64)
	if err != nil || n == 0 {
		return 0, &usageError{arg: arg, pos: -1, err: errors.New("a commit is named by its revision, a number; mcrctl show commits lists them")}
	}
	return n, nil
}

func (a *app) rollbackCommand() *cobra.Command {
	var o applyOptions
	cmd := &cobra.Command{
		Use:   "rollback N",
		Short: "Put the configuration of commit N in force again, as a new commit",
		Example: `  mcrctl rollback 7 --dry-run
  mcrctl rollback 7 --confirm 60s && mcrctl show rules && mcrctl confirm`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeCommit(1),
	}
	o.flags(cmd)
	cmd.RunE = a.withClient(func(ctx context.Context, c *client, args []string) error {
		n, err := parseRevision(args[0])
		if err != nil {
			return err
		}
		if err := o.check(cmd); err != nil {
			return err
		}
		old, err := c.commit(ctx, n)
		if err != nil {
			return err
		}
		req := &gpb.SetRequest{Replace: []*gpb.Update{{
			Path: &gpb.Path{}, Val: &gpb.TypedValue{Value: &gpb.TypedValue_JsonIetfVal{JsonIetfVal: old.GetJsonIetf()}},
		}}}
		return a.apply(ctx, c, fmt.Sprintf("the configuration of commit %d", n), req, o)
	})
	return cmd
}

// completeCommit completes up to n arguments with the revisions that are kept.
func (a *app) completeCommit(n int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= n {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var ids []string
		err := a.withClient(func(ctx context.Context, c *client, _ []string) error {
			rows, err := c.commits(ctx)
			for _, r := range rows {
				ids = append(ids, strconv.FormatUint(uint64(r.ID), 10))
			}
			return err
		})(cmd, nil)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return ids, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}
