// SPDX-License-Identifier: Apache-2.0

// Package e2e tests the built programs as their users meet them: mcrd on a host of a lab, told what to do over gNMI or with
// mcrctl, and judged by what arrives at its receivers. It holds tests only; they need root.
//
//	src ── stream ──► rtr: mcrd ──► lan   multicast
//	                       │   └──► far   unicast, over an interface without IFF_MULTICAST
//	                       └ gNMI, mcrctl
//
// A test names the requirement that it shows. It makes a lab of its own and may run beside any other, twice at once too. What is there
// at once is awaited, never slept for; silence is demanded with Exactly(0), behind something that must arrive.
package e2e
