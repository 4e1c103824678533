// SPDX-License-Identifier: Apache-2.0

// Package vm runs tests in a virtual machine, for what the machine's own kernel lacks: real tunnels.
//
//	go test ./tests/vm                       guest: Debian's kernel, the host's files read-only
//	  TestX ── vm.Again(t, "mcrd") ──► vmrun ──► TestX, the same binary, with MCR_VM=1
//	  its output and its verdict ◄───────────── exit status
//
// vmrun (see README.md) fetches a kernel and qemu with apt, once. The guest is ten times slower than the host: for
// behaviour, never for figures.
package vm
