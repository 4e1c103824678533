// SPDX-License-Identifier: Apache-2.0

package vm_test

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

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

// needs skips a test where the kernel lacks a kind of link; the guest has them all.
func needs(t *testing.T, l *lab.Lab, kind string) {
	t.Helper()
	if !hasKind(t, l.Host("probe"), kind) {
		t.Skipf("this kernel has no %s; in the guest the test runs", kind)
	}
}

// hasKind says whether the kernel knows a kind of link.
func hasKind(t *testing.T, h *lab.Host, kind string) bool {
	t.Helper()
	p := h.Start("ip", "link", "add", "name", "probe", "type", kind) // most kinds need more than that: another error
	if err := p.Wait(lab.Patience(10 * time.Second)); err == nil {
		h.Delete("probe")
		return true
	}
	says := p.Stderr.String()
	return !strings.Contains(says, "Unknown device type") && !strings.Contains(says, "not supported")
}

// What the tests of phases 2 and 3 need is there.
func TestGuestHasTunnels(t *testing.T) {
	if !vm.Inside() {
		t.Skip("this is not the guest")
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
