// SPDX-License-Identifier: Apache-2.0

// Package mroute is the Router: it owns the MRIB, follows the host's interfaces, and drives the dataplane.
//
//	northbound ── Prepare/Commit ──►┐
//	netif ─────── Event ───────────►│ loop ──► mrib.Stage ──► dataplane Prepare/Commit
//	dataplane ─── Event ───────────►│   └────► Batch of state changes ──► northbound
//	clock ─────── tick, 1 s ───────►┘
//
// One goroutine, Run, owns all of it without a mutex: whatever happens is a call on that loop. Between Prepare and Commit
// of a transaction the loop waits, so that what was prepared is what is committed; events queue up meanwhile.
//
// Every output and every input is up, or down with a reason, and comes up by itself when the reason goes: a link event,
// a route, an address, a socket that can be opened again. A thing that is down never stands in the way of another.
package mroute
