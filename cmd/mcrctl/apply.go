// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/spf13/cobra"
)

// cliOrigin is the origin under which mcrd takes the text of a JSON5 file.
const cliOrigin = "mcr_cli"

func (a *app) applyCommand() *cobra.Command {
	var o applyOptions
	cmd := &cobra.Command{
		Use:   "apply FILE",
		Short: "Apply a configuration file",
		Long: `Apply a configuration file; - reads standard input.

A JSON5 file (rules, pim, igmp, forwarding) replaces the parts that it has and leaves the others.
A file in RFC 7951 form, whose members have module names as in "mcr:mcr", replaces the whole configuration.`,
		Example: `  mcrctl apply start.json5 --dry-run
  mcrctl apply start.json5 --confirm 60s && mcrctl show rules && mcrctl confirm`,
		Args: cobra.ExactArgs(1),
	}
	o.flags(cmd)
	cmd.RunE = a.withClient(func(ctx context.Context, c *client, args []string) error {
		if err := o.check(cmd); err != nil {
			return err
		}
		text, err := readFile(args[0])
		if err != nil {
			return err
		}
		name := args[0]
		if name == "-" {
			name = "the configuration"
		}
		err = a.apply(ctx, c, name, &gpb.SetRequest{Replace: []*gpb.Update{fileUpdate(text)}}, o)
		if err != nil && !notReached(err) {
			return &fileError{args[0], err}
		}
		return err
	})
	return cmd
}

func readFile(name string) ([]byte, error) {
	if name == "-" {
		text, err := io.ReadAll(os.Stdin)
		if err != nil {
			return nil, fmt.Errorf("standard input: %w", err)
		}
		return text, nil
	}
	return os.ReadFile(name)
}

// fileUpdate is the operation that a file means.
func fileUpdate(text []byte) *gpb.Update {
	if isRFC7951(text) {
		return &gpb.Update{Path: &gpb.Path{}, Val: &gpb.TypedValue{Value: &gpb.TypedValue_JsonIetfVal{JsonIetfVal: text}}}
	}
	return &gpb.Update{
		Path: &gpb.Path{Origin: cliOrigin},
		Val:  &gpb.TypedValue{Value: &gpb.TypedValue_AsciiVal{AsciiVal: string(text)}},
	}
}

// isRFC7951 says whether a text is a JSON object whose members all have module names, as RFC 7951 demands at the top.
func isRFC7951(text []byte) bool {
	var top map[string]json.RawMessage
	if json.Unmarshal(text, &top) != nil || len(top) == 0 {
		return false
	}
	for name := range top {
		if !strings.Contains(name, ":") {
			return false
		}
	}
	return true
}
