// SPDX-License-Identifier: Apache-2.0

// Package netif knows the links, addresses and routes of the network namespace it was opened in, and says when they change.
//
//	kernel ── rtnetlink groups ──► Monitor.Run ──► Event{Snapshot, Touched, Prefixes}
//	       ◄─ RTM_GETLINK/GETADDR dump              (coalesced: one event for what came within 5 ms)
//	       ◄─ RTM_GETROUTE ─────── Monitor.Route   (asked by whoever needs a source address)
//
// A message from the kernel only says that something moved: the truth is read by a dump, so that a lost message costs
// nothing but time. After an overrun (ENOBUFS), and every audit interval, everything is read anew.
//
// Snapshots are immutable and may be used by any goroutine. Run owns the subscription; Route may be called from any
// goroutine. It makes no decision about forwarding and knows no group.
package netif
