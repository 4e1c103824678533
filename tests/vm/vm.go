// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
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

// within bounds a run, boot included; the first one also fetches and builds, which vmrun does not count.
const within = 4 * time.Minute

// Options say how to run something in the guest.
type Options struct {
	Share string   // folder that the guest sees under the same path, may write, and starts in
	Env   []string // added to the environment, NAME=VALUE
	CPUs  int      // of the guest; 0: two
}

// Run runs a command in the guest as root. The error is an *exec.ExitError with the command's own code, or with 124
// (time-out) or 125 (no guest, see standard error).
func Run(ctx context.Context, o Options, stdout, stderr io.Writer, args ...string) error {
	root, err := lab.Root()
	if err != nil {
		return err
	}
	vmrun := []string{"--timeout", fmt.Sprint(int(within.Seconds()))}
	if o.Share != "" {
		vmrun = append(vmrun, "--share", o.Share)
	}
	if o.CPUs != 0 {
		vmrun = append(vmrun, "--cpus", fmt.Sprint(o.CPUs))
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

// Again runs the calling test again in the guest, with these programs of ours at hand for lab.Bin, and takes over its verdict. The
// caller returns after it.
//
// The guest has one CPU. With two, a datagram now and then overtook another between the ends of a veth (3 of 12 runs of T2's
// traffic, 0 of 16 with one; where both could be seen they had left mcrd's host in order). So what needs parallel workers is not
// tested here.
func Again(t *testing.T, programs ...string) {
	t.Helper()
	if Inside() {
		t.Fatal("this is the guest already")
	}
	if testing.Short() {
		t.Skip("boots a virtual machine")
	}
	share := t.TempDir() // the guest does not see the host's /tmp, where go test keeps its binaries
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	copyFile(t, self, filepath.Join(share, "test"))
	for _, p := range programs {
		copyFile(t, lab.Bin(t, p), filepath.Join(share, p))
	}
	var out bytes.Buffer
	limit := within - 30*time.Second // so that a hanging test shows where
	err = Run(t.Context(), Options{Share: share, Env: []string{lab.BinDir + "=" + share}, CPUs: 1}, &out, &out,
		filepath.Join(share, "test"), "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout="+limit.String())
	t.Logf("in the guest:\n%s", out.String())
	if err != nil {
		t.Fatalf("in the guest: %v", err)
	}
	if !bytes.Contains(out.Bytes(), []byte("--- PASS: "+t.Name())) {
		t.Fatalf("the guest did not run %s", t.Name())
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
