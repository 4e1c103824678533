// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/spf13/cobra"
)

func (a *app) getCommand() *cobra.Command {
	var kind string
	cmd := &cobra.Command{
		Use:   "get PATH",
		Short: "Read any path of the tree",
		Example: `  mcrctl get /mcr/forwarding/config
  mcrctl get '/mcr/forwarding/rules/rule[name=*]/state/oper-status'`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&kind, "type", "all", "all, config, state or operational")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client, args []string) error {
		k, ok := map[string]gpb.GetRequest_DataType{
			"all": gpb.GetRequest_ALL, "config": gpb.GetRequest_CONFIG, "state": gpb.GetRequest_STATE,
			"operational": gpb.GetRequest_OPERATIONAL,
		}[kind]
		if !ok {
			return &usageError{arg: kind, pos: -1, err: errors.New("--type is all, config, state or operational")}
		}
		path, err := parsePath(args[0])
		if err != nil {
			return err
		}
		us, err := c.get(ctx, k, path)
		if err != nil {
			return err
		}
		return writeUpdates(a.stdout, us, a.json(), len(us) == 1)
	})
	return cmd
}

// pathValue is one value for programs.
type pathValue struct {
	Path  string          `json:"path"`
	Value json.RawMessage `json:"value"`
}

// writeUpdates prints values: bare where there is one path, else with the path before each.
func writeUpdates(w io.Writer, us []update, asJSON, bare bool) error {
	if asJSON {
		all := make([]pathValue, 0, len(us))
		for _, u := range us {
			all = append(all, pathValue{pathString(u.Path), u.JSON})
		}
		return writeJSON(w, all)
	}
	for _, u := range us {
		text := valueText(u.JSON)
		if !bare {
			text = pathString(u.Path) + " " + text
		}
		if _, err := fmt.Fprintln(w, text); err != nil {
			return err
		}
	}
	return nil
}

// valueText is a value for people: a string without quotes, an object indented.
func valueText(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return string(raw)
	}
	return b.String()
}

func (a *app) setCommand() *cobra.Command {
	var replace bool
	cmd := &cobra.Command{
		Use:   "set PATH VALUE",
		Short: "Write any path of the configuration",
		Long: `Write any path of the configuration.

VALUE is JSON where it can be read as JSON, else a string: 5, true, {"name": "x"}, eth0, '"5"'.`,
		Example: `  mcrctl set /mcr/forwarding/config/unicast-ttl 32`,
		Args:    cobra.ExactArgs(2),
	}
	cmd.Flags().BoolVar(&replace, "replace", false, "replace what is there instead of merging into it")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client, args []string) error {
		path, err := parsePath(args[0])
		if err != nil {
			return err
		}
		var value any = args[1]
		if json.Valid([]byte(args[1])) {
			value = json.RawMessage(args[1])
		}
		u, err := jsonUpdate(path, value)
		if err != nil {
			return err
		}
		req := &gpb.SetRequest{Update: []*gpb.Update{u}}
		if replace {
			req = &gpb.SetRequest{Replace: []*gpb.Update{u}}
		}
		return c.set(ctx, req)
	})
	return cmd
}

func (a *app) deleteCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "delete PATH",
		Short: "Delete any path of the configuration",
		Args:  cobra.ExactArgs(1),
		RunE: a.withClient(func(ctx context.Context, c *client, args []string) error {
			path, err := parsePath(args[0])
			if err != nil {
				return err
			}
			return c.set(ctx, &gpb.SetRequest{Delete: []*gpb.Path{path}})
		}),
	}
}
