// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// app is what all commands share.
type app struct {
	stdout, stderr io.Writer
	dial           dialOptions
	timeout        time.Duration // of one call
	output         string        // table or json
	client         *client       // nil until a command needs it
}

// run runs one command line and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	a := &app{stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if a.client != nil {
		a.client.close()
	}
	return report(stderr, a.dial.Address, cmd.CommandPath(), err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "mcrctl",
		Short:         "Operate MCR, the multicast to unicast replicator",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if a.output != "table" && a.output != "json" {
			return fmt.Errorf("--output %q: it is table or json", a.output)
		}
		return nil
	}
	f := root.PersistentFlags()
	f.StringVar(&a.dial.Address, "address", "unix:///run/mcr/mcrd.sock", "where mcrd listens: unix:///PATH or HOST:PORT")
	f.BoolVar(&a.dial.Insecure, "insecure", false, "talk to HOST:PORT without TLS")
	f.StringVar(&a.dial.CA, "tls-ca", "", "PEM `file` of the authorities that sign mcrd's certificate (default: the system's)")
	f.StringVar(&a.dial.Cert, "tls-cert", "", "PEM `file` of our certificate")
	f.StringVar(&a.dial.Key, "tls-key", "", "PEM `file` of our key")
	f.StringVar(&a.dial.User, "user", "", "`name` to log in with")
	f.StringVar(&a.dial.PasswordFile, "password-file", "", "`file` that holds the password of --user (default: ask for it)")
	f.DurationVar(&a.timeout, "timeout", 30*time.Second, "how long one call may take")
	f.StringVarP(&a.output, "output", "o", "table", "table for people, json for programs")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))

	root.AddCommand(a.addCommand(), a.removeCommand(), a.addOutputCommand(), a.removeOutputCommand(), a.listCommand(),
		a.showCommand(), a.applyCommand(), a.confirmCommand(), a.cancelCommand(), a.diffCommand(), a.rollbackCommand(), a.saveCommand(),
		a.getCommand(), a.setCommand(), a.deleteCommand(), a.watchCommand(), a.versionCommand(), manCommand())
	return root
}

// json says whether the output is for programs.
func (a *app) json() bool { return a.output == "json" }

// note says something to the person, not to the program that reads standard output.
func (a *app) note(format string, args ...any) { fmt.Fprintf(a.stderr, format+"\n", args...) }

// action is what a command does once its line is understood.
type action func(ctx context.Context, c *client, args []string) error

// withClient makes act a command's RunE: connected, and with its errors told apart from those of the command line.
func (a *app) withClient(act action) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if a.client == nil {
			c, err := dial(a.dial)
			if err != nil {
				return &commandError{err}
			}
			c.timeout = a.timeout
			a.client = c
		}
		err := act(cmd.Context(), a.client, args)
		if usage := (*usageError)(nil); err == nil || errors.As(err, &usage) {
			return err
		}
		return &commandError{err}
	}
}
