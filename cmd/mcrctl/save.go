// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/spf13/cobra"
)

func (a *app) saveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "save [FILE]",
		Short: "Write the running configuration to a file, or to standard output",
		Long: `Write the running configuration to a file, or to standard output.

It is in RFC 7951 form, which mcrctl apply and mcrd --config take. An existing FILE is replaced only when all is written.`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.withClient(func(ctx context.Context, c *client, args []string) error {
			text, err := c.runningConfig(ctx)
			if err != nil {
				return err
			}
			if len(args) == 0 || args[0] == "-" {
				_, err := a.stdout.Write(text)
				return err
			}
			if err := replaceFile(args[0], text); err != nil {
				return err
			}
			a.note("the running configuration is in %s", args[0])
			return nil
		}),
	}
}

// runningConfig is the running configuration as a file.
func (c *client) runningConfig(ctx context.Context) ([]byte, error) {
	us, err := c.get(ctx, gpb.GetRequest_CONFIG, &gpb.Path{})
	if err != nil && !isNotFound(err) {
		return nil, err
	}
	text := []byte(`{"mcr:mcr":{}}`) // nothing is configured, and apply of this makes it so again
	if len(us) == 1 && !bytes.Equal(us[0].JSON, []byte("{}")) {
		text = us[0].JSON
	}
	var b bytes.Buffer
	if err := json.Indent(&b, text, "", "  "); err != nil {
		return nil, fmt.Errorf("answer for /: %w", err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// replaceFile writes a file beside the one it is to replace, and then gives it its name. The old one's rights stay.
func replaceFile(name string, text []byte) error {
	mode := os.FileMode(0o644)
	old, err := os.Stat(name)
	if err == nil {
		if !old.Mode().IsRegular() { // a device or a pipe
			return os.WriteFile(name, text, mode)
		}
		mode = old.Mode().Perm()
	}
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // of no effect once it has its name
	_, err = f.Write(text)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
