// SPDX-License-Identifier: Apache-2.0

package vm_test

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"testing"

	"mcr/tests/lab"
	"mcr/tests/vm"

	"github.com/vishvananda/netlink"
)

func TestMain(m *testing.M) { os.Exit(lab.CheckLeaks(m.Run)) }

func TestGuestPassesOutputAndExitCode(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a virtual machine")
	}
	if vm.Inside() {
		t.Skip("this is the guest")
	}
	var stdout, stderr bytes.Buffer
	err := vm.Run(t.Context(), vm.Options{Env: []string{"WORD=it's"}}, &stdout, &stderr, "sh", "-c", `echo "$WORD $MCR_VM"; echo bad >&2; exit 7`)
	if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.ExitCode() != 7 {
		t.Errorf("exit: %v, want 7", err)
	}
	if stdout.String() != "it's 1\n" || stderr.String() != "bad\n" {
		t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
	}
}

// What the tests of phases 2 and 3 need is there.
func TestGuestHasTunnels(t *testing.T) {
	if !vm.Inside() {
		vm.Again(t)
		return
	}
	h := lab.New(t).Host("a")
	for _, l := range []netlink.Link{
		tunnel("ipip1"),
		&netlink.Gretun{LinkAttrs: lab.Attrs("gre1"), Local: net.IPv4(192, 0, 2, 1), Remote: net.IPv4(192, 0, 2, 2)},
		&netlink.Sittun{LinkAttrs: lab.Attrs("sit1"), Local: net.IPv4(192, 0, 2, 1), Remote: net.IPv4(192, 0, 2, 2)},
		&netlink.Vti{LinkAttrs: lab.Attrs("vti1"), Local: net.IPv4(192, 0, 2, 1), Remote: net.IPv4(192, 0, 2, 2)},
		&netlink.Wireguard{LinkAttrs: lab.Attrs("wg1")},
		&netlink.Dummy{LinkAttrs: lab.Attrs("dummy1")},
	} {
		if !h.Has(l) {
			t.Errorf("no %s", l.Type())
		}
	}
}

func tunnel(name string) netlink.Link {
	return &netlink.Iptun{LinkAttrs: lab.Attrs(name), Local: net.IPv4(192, 0, 2, 1), Remote: net.IPv4(192, 0, 2, 2)}
}
