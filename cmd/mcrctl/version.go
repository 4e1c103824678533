// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// version and commit are set by the build: -ldflags "-X main.version=… -X main.commit=…".
var (
	version = "dev"
	commit  string
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the versions of mcrctl and, where it answers, of mcrd",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := struct {
				Client string `json:"mcrctl"`
				Commit string `json:"commit,omitempty"`
				Go     string `json:"go"`
				Server string `json:"mcrd,omitempty"`
			}{Client: version, Commit: commit, Go: runtime.Version()}
			v.Server = a.serverVersion(cmd)
			if a.json() {
				return writeJSON(a.stdout, v)
			}
			built := v.Go
			if commit != "" {
				built = "commit " + commit + ", " + built
			}
			_, err := fmt.Fprintf(a.stdout, "mcrctl %s (%s)\nmcrd %s\n", v.Client, built, dash(v.Server))
			return err
		},
	}
}

// serverVersion is empty where mcrd does not answer soon: the version of mcrctl is wanted all the same.
func (a *app) serverVersion(cmd *cobra.Command) (v string) {
	c, err := dial(a.dial)
	if err != nil {
		return ""
	}
	defer c.close()
	c.timeout = min(a.timeout, 2*time.Second)
	us, err := c.get(cmd.Context(), gpb.GetRequest_STATE, at("mcr", "system", "state", "version"))
	if err != nil || len(us) != 1 {
		return ""
	}
	_ = json.Unmarshal(us[0].JSON, &v)
	return v
}

// manCommand writes manual pages; make install calls it.
func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the manual pages into a folder",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return &commandError{err}
			}
			// A fixed date: the same sources give the same pages.
			date := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
			root := cmd.Root()
			root.DisableAutoGenTag = true
			err := doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "MCR", Manual: "MCR", Date: &date}, args[0])
			if err != nil {
				return &commandError{errors.Join(errors.New("manual pages"), err)}
			}
			return nil
		},
	}
}
