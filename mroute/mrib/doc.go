// SPDX-License-Identifier: Apache-2.0

// Package mrib is the multicast routing information base: it turns static rules, and later the claims of protocols, into
// entries with outputs, and these into the dataplane's Plan. It is pure: no socket, no clock of its own, no goroutine.
//
//	Rules ──► Stage ──► Table' ──► Plan
//	Ingress, Egress ─┘   │
//	                     └─ Entry (iif, source|*, group, port)          one row
//	                          └─ Member (interface, destination, port)  one output, or a part in one
//
// A Table is immutable, and so is all that it holds. Stage makes the next one from it: what did not change keeps its
// pointer, in the table and in the Plan alike, so that the cost of a change follows the change and so that a
// transaction is undone by forgetting the new Table.
//
// Words: an entry is one row; a member is one output of it, by identity; an origin is who asked for a member.
//
// The caller says what the host is like through the functions Ingress and Egress: interfaces and routes are not known here.
package mrib
