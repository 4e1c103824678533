// SPDX-License-Identifier: Apache-2.0

// Package plan holds the types in which the MRIB tells the dataplane what to do: data only, no behaviour beyond names.
//
//	Plan ─┬─ Point (interface, group, port) ── joins
//	      │     └─ Route (any source | one source) ── up to eight Lists, most specific first
//	      │            └─ List ── Outputs, ordered by ID
//	      └─ Settings
//
// Everything reachable from a Plan is immutable once the Plan was handed to the dataplane, and shared between
// successive Plans: an equal pointer means "unchanged". Adding one output to a List of ten thousand makes a new List that
// holds the same Output pointers and one more.
//
// It is a leaf: it imports the standard library alone, so that the MRIB builds and is tested everywhere.
package plan
