// SPDX-License-Identifier: Apache-2.0

// Package vm runs tests in a virtual machine, for what the machine's own kernel lacks: real tunnels.
//
//	go test ./tests/vm                          guest: a Debian kernel, the host's files read-only
//	  TestDebian12 ── Tests(t, …) ──► vmrun ──► dataplane.test, e2e.test … with MCR_VM=1
//	  └ one subtest per guest test ◄────────── what they printed
//
// vmrun (see README.md) fetches kernels and qemu with apt, once. The guest is ten times slower than the host: for
// behaviour, never for figures. Tests of this package that need a driver skip where the kernel has none, and run in the guest.
package vm
