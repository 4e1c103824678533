// SPDX-License-Identifier: Apache-2.0

// Package telemetry keeps the leaves of a YANG data tree and serves subscriptions to them.
//
//	writers ── Apply(Changes) ──► Tree ── Snapshot ──► Select, Collect (Get, ONCE, POLL, metrics)
//	                               │  trie of subscriptions
//	                               ├──────────► Stream: queue ──► Run ──► send   (one per client)
//	counters ◄── Unit.Sample ──────┴── read when a sample is due
//
// A Unit is the leaves of one container; the Tree is a B-tree of Units by canonical path, copied on write, so that a
// Snapshot costs a pointer and never changes. A list entry, with its key leaves, exists while a Unit at or below it does.
// Leaves that move all the time (Node.Sampled) are pulled from Unit.Sample when somebody wants them and never cause an
// event; all other leaves are event-driven and carry the time of their latest change.
//
// Apply may be called from any goroutine and never waits for a client: each Stream has a queue with at most one waiting
// value per leaf (a newer value replaces it, waits with what happened when it did, and is counted as a duplicate) and at most one waiting delete per node that
// the client was told of. Run is the only place that blocks on a client. Samples are taken when the client can be written
// to; missed ones are skipped. Lock order: Tree.mu, then queue.mu.
//
// Wildcards, notifications and their encodings are gNMI's, RFC 7951 its JSON; messages are made once, in wire form, for all who
// want the same. The package knows no RPC, no server and nothing of what the leaves mean.
package telemetry
