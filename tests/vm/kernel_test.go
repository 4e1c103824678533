// SPDX-License-Identifier: Apache-2.0

package vm_test

import (
	"flag"
	"testing"
	"time"

	"mcr/tests/vm"
)

var whole = flag.Bool("kernels", false, "run all that a guest can, for half an hour, and not only what differs most from kernel to kernel")

const (
	// e2eTests are those of tests/e2e that a guest runs: where kernels differ.
	e2eTests = `^Test(P1_[123]_.*|D2_TTL|D4_.*|D5_.*)$`
	// vmTests are those of this package, and someVMTests those of every run.
	vmTests     = `^Test(T2|D5|F6|P[1-4]_|GuestHas).*`
	someVMTests = `^Test(T2|D5_MembersOfAVRF|P1_7|GuestHas).*`
	// someKinds, as an environment variable of the guest, has TestT2_EndpointDiscovered take two kinds of tunnels.
	someKinds = "MCR_VM_SOME_KINDS"
	// someTests are those of the dataplane that every run has.
	someTests = `^Test(Forward|D4_Checksums)$`
	// netifTests are those where kernels differ: kinds of links, WireGuard's peers, and what the kernel tells of links.
	netifTests = "-test.run=^Test(P2_1_Kinds|P2_2_WireGuard|P2_6_RemoteChanges|P2_7_.*|Monitor.*|PeerAddress|Route|BridgePort.*)$"
	// figures mean nothing in a guest, and it is too slow for much traffic.
	figures = "-test.skip=^(TestQ2_GarbageCollection.*|TestResidenceOfTraffic|TestP1_8_HandOver|TestP1_8_ManyPorts)$"
	// oneCPU and noURing are why tests are skipped.
	oneCPU  = "there is one CPU"
	noURing = "no io_uring here|io_uring is not allowed here"
	// long is how long a guest may take for all of it.
	long = 40 * time.Minute
)

// guest is what a release's kernel runs in.
func guest(release string) vm.Options {
	o := vm.Options{CPUs: 1, Memory: 2048, Release: release}
	if *whole {
		o.Within = long
	}
	return o
}

// Debian 12's kernel, 6.1: io_uring without what came later (no SQ array), VNET_HDR without UDP segmentation, and segmented sends
// that fail without checksum offload.
func TestDebian12(t *testing.T) {
	t.Parallel()
	suites := []vm.Suite{
		{Package: "mroute/netif", Args: []string{"-test.short", netifTests}},
		{Package: "dataplane/sock"},
		{Package: "dataplane/uring"},
		{Package: "dataplane/afpacket"},
		{Package: "dataplane", MaySkip: oneCPU, Args: []string{"-test.short", "-test.run=" + someTests}},
		{Package: "tests/vm", Args: []string{"-test.run=" + someVMTests}},
	}
	if *whole {
		suites = append(suites[:4],
			vm.Suite{Package: "dataplane", MaySkip: oneCPU, Args: []string{"-test.short", figures}},
			vm.Suite{Package: "tests/vm", Args: []string{"-test.run=" + vmTests}},
			vm.Suite{Package: "tests/e2e", Args: []string{"-test.short", "-test.run=" + e2eTests}},
		)
	}
	o := guest("")
	if !*whole {
		o.Env = append(o.Env, someKinds+"=1")
	}
	vm.Tests(t, o, []string{"mcrd", "mcrctl"}, suites...)
}

// Debian 11's kernel, 5.10: io_uring has too little there, and mmsg does it all.
func TestDebian11(t *testing.T) {
	t.Parallel()
	const without = "-test.skip=.*/uring"
	suites := []vm.Suite{
		{Package: "mroute/netif", Args: []string{"-test.short", netifTests}},
		{Package: "dataplane/sock"},
		{Package: "dataplane/uring", MaySkip: noURing},
		{Package: "dataplane/afpacket"},
		{Package: "dataplane", MaySkip: oneCPU + "|" + noURing, Args: []string{"-test.short", "-test.run=" + someTests}},
	}
	if *whole {
		suites = append(suites[:4],
			vm.Suite{Package: "dataplane", MaySkip: oneCPU + "|" + noURing, Args: []string{"-test.short", figures}},
			vm.Suite{Package: "tests/vm", Args: []string{"-test.run=" + vmTests, without}},
		)
	}
	vm.Tests(t, guest("bullseye"), []string{"mcrd", "mcrctl"}, suites...)
}
