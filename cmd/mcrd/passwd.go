// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"mcr/northbound/access"
	"mcr/northbound/state"
	"mcr/northbound/telemetry"
)

// passwd is a command line of mcrd passwd.
type passwd struct {
	stateDir   string
	role       string
	remove     bool
	list       bool
	noPassword bool
	stdin      io.Reader
	stdout     io.Writer
	stderr     io.Writer
}

func passwdCommand(stdout, stderr io.Writer) *cobra.Command {
	p := passwd{stdout: stdout, stderr: stderr}
	c := &cobra.Command{
		Use: "passwd [USER]", Short: "Add, change, delete or list the users of gNMI",
		Long: "Without flags the password of USER is set; it is read from the terminal, or is the first line of standard input.\n" +
			"With --role an empty one keeps the password that USER has.\n" +
			"Without USER the users are listed. A running mcrd takes the change within ten seconds, or at once after SIGHUP.\n\n" +
			"Roles are admin (write /), viewer (read /) and those of the file users in the state directory, which are path prefixes,\n" +
			"of which the longest counts, with none, read or write:\n\n" +
			`  "roles": {"noc": {"/": "read", "/mcr/forwarding": "write", "/mcr/system": "none"}}`,
		Example: "  mcrd passwd --role admin ann\n" +
			"  mcrd passwd --role viewer --no-password collector.example.net   # comes with a certificate of this name\n" +
			"  mcrd passwd --delete ann",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p.stdin = cmd.InOrStdin()
			return p.run(strings.Join(args, ""))
		},
	}
	fl := c.Flags()
	fl.StringVar(&p.stateDir, "state-dir", defaultStateDir, "`folder` that holds the users")
	fl.StringVar(&p.role, "role", "", "admin, viewer or one of the users file; a new user is a viewer")
	fl.BoolVar(&p.remove, "delete", false, "delete the user")
	fl.BoolVar(&p.list, "list", false, "list the users")
	fl.BoolVar(&p.noPassword, "no-password", false, "the user has no password: it comes with a certificate or over the unix socket")
	c.MarkFlagsMutuallyExclusive("delete", "list", "no-password")
	c.MarkFlagsMutuallyExclusive("delete", "role")
	return c
}

func (p *passwd) run(user string) error {
	schema, err := state.NewSchema()
	if err != nil {
		return err
	}
	switch {
	case p.list && user != "":
		return fmt.Errorf("--list takes no user: %w", errUsage)
	case user == "" && (p.remove || p.noPassword || p.role != ""):
		return fmt.Errorf("which user? %w", errUsage)
	case user == "":
		users, err := access.Load(schema, p.stateDir)
		if err != nil {
			return err
		}
		return p.print(users)
	case p.remove:
		return access.Edit(schema, p.stateDir, func(u *access.Users) error {
			if !u.Delete(user) {
				return fmt.Errorf("no user %q", user)
			}
			return nil
		})
	}
	return p.set(schema, user)
}

// set adds or changes a user. Where a role is given, no password is the one that the user has.
func (p *passwd) set(schema *telemetry.Schema, user string) error {
	users, err := access.Load(schema, p.stateDir)
	if err != nil {
		return err
	}
	if err := users.Put(user, p.role, ""); err != nil { // before a password is asked for
		return err
	}
	hash := ""
	if !p.noPassword {
		password, err := p.password(user)
		if err != nil {
			return err
		}
		_, has, _ := users.User(user)
		if keeps := password == "" && p.role != "" && has; !keeps {
			if hash, err = access.Hash(password); err != nil {
				return err
			}
		}
	}
	return access.Edit(schema, p.stateDir, func(u *access.Users) error {
		if p.noPassword {
			u.DropPassword(user)
		}
		return u.Put(user, p.role, hash)
	})
}

// password reads it from the terminal, twice and unseen, or from standard input.
func (p *passwd) password(user string) (string, error) {
	f, ok := p.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		line, err := bufio.NewReader(p.stdin).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read the password: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	ask := func(what string) (string, error) {
		fmt.Fprintf(p.stderr, "%s of %s: ", what, user)
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(p.stderr)
		return string(b), err
	}
	one, err := ask("New password")
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	two, err := ask("The same again, the password")
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	if one != two {
		return "", errors.New("the two are not the same")
	}
	return one, nil
}

func (p *passwd) print(u *access.Users) error {
	w := tabwriter.NewWriter(p.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "USER\tROLE\tPASSWORD")
	for _, name := range u.Names() {
		role, has, _ := u.User(name)
		fmt.Fprintf(w, "%s\t%s\t%s\n", name, role, map[bool]string{true: "yes", false: "no"}[has])
	}
	return w.Flush()
}
