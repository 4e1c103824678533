// SPDX-License-Identifier: Apache-2.0

// Package netif knows the links, addresses, routes and tunnel ends of the network namespace it was opened in, and says when
// they change.
//
//	kernel ── rtnetlink groups ──► receive ──► doubts ──► follow ──► Event{Snapshot, Touched, Prefixes}
//	       ◄─ RTM_GETLINK, GETADDR, of one link or of all ─┤         (coalesced: one event for what came within 5 ms)
//	       ◄─ WireGuard's peers ───────────────────────────┘
//	       ◄─ RTM_GETROUTE ── Monitor.Route                          (asked by whoever needs a source address)
//
//	Link, what is configured, who joined ──► Resolve ──► Resolution{Candidates, Reason}
//
// A message from the kernel only says that something moved: the truth is then read, of the links it is about. A lost
// message costs nothing but time: after an overrun (ENOBUFS), and every audit interval, everything is read anew.
//
// A link has ends as the kernel tells them: addresses with their peers, the outer addresses of a tunnel, the peers of
// WireGuard. Resolve makes endpoints of these; it is pure. Neighbours (ARP entries) are not read, since nothing is made of
// them: who joined is what the protocols say.
//
// Snapshots are immutable and may be used by any goroutine. Run owns the subscription; Route may be called from any
// goroutine. The package makes no decision about forwarding and knows no group.
package netif
