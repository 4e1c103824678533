// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"mcr/tests/lab"
)

// Inside says whether we run in the guest.
func Inside() bool { return os.Getenv("MCR_VM") != "" }

// hangs is how much earlier than the guest a test in it ends by itself, so that one that hangs shows where.
const hangs = 30 * time.Second

// Options say how to run something in the guest.
type Options struct {
	Share   string   // folder that the guest sees under the same path, may write, and starts in
	Env     []string // added to the environment, NAME=VALUE
	CPUs    int      // of the guest; 0: two
	Memory  int      // of the guest, MiB; 0: 1024
	Release string   // the Debian release whose kernel it boots; "": the host's
	// Within bounds the run, boot included; the first one also fetches and builds, which does not count. 0: ten minutes.
	Within time.Duration
}

func (o Options) within() time.Duration { return cmp.Or(o.Within, 10*time.Minute) }

// Run runs a command in the guest as root. The error is an *exec.ExitError with the command's own code, or with 124
// (time-out) or 125 (no guest, see standard error).
func Run(ctx context.Context, o Options, stdout, stderr io.Writer, args ...string) error {
	root, err := lab.Root()
	if err != nil {
		return err
	}
	vmrun := []string{"--timeout", fmt.Sprint(int(o.within().Seconds()))}
	if o.Share != "" {
		vmrun = append(vmrun, "--share", o.Share)
	}
	if o.CPUs != 0 {
		vmrun = append(vmrun, "--cpus", fmt.Sprint(o.CPUs))
	}
	if o.Memory != 0 {
		vmrun = append(vmrun, "--mem", fmt.Sprint(o.Memory))
	}
	if o.Release != "" {
		vmrun = append(vmrun, "--release", o.Release)
	}
	for _, e := range o.Env {
		vmrun = append(vmrun, "--env", e)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(root, "tests/vm/vmrun"), append(append(vmrun, "--"), args...)...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it ends qemu and removes its files
	cmd.WaitDelay = 10 * time.Second
	return cmd.Run()
}

// outside goes on where a guest is to be booted.
func outside(t *testing.T) {
	t.Helper()
	if Inside() {
		t.Fatal("this is the guest already")
	}
	if testing.Short() {
		t.Skip("boots a virtual machine")
	}
}

// copyFile copies a program.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}
