// SPDX-License-Identifier: Apache-2.0

// Command demo shows MCR at its main job in half a minute, in network namespaces that it makes and that go with it. It needs root.
//
//	source ── multicast ──► mcrd ──► eth1  multicast receiver
//	                         ├─────► gre0  a host behind a tunnel: TUN, multicast off, peer address
//	                         └─────► wg0   spokes of a hub, multicast off
//
// It configures the rule with the roadmap's own command line and a gNMI Set, samples counters by a gNMI subscription,
// replaces a branch under traffic, kills mcrd with SIGKILL under traffic and starts it again. At the end it says what every
// receiver got, compares that with mcrd's counters, and exits with 1 if any figure is wrong.
//
// The figures: nobody gets a datagram twice, late or changed; nobody loses one but in the outage between SIGKILL and the
// restart, where everybody loses one stretch of the stream; what the replaced and the new branch got makes up the whole.
package main
