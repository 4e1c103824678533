// SPDX-License-Identifier: Apache-2.0

// Package tree changes configuration trees: it walks the YANG schema and the generated structs side by side.
//
//	old tree ──► Edit: Delete, Replace, Update … ──► Finish ──► new tree, what changed, faults
//
// A tree that was handed out never changes. An Edit copies only the structs and maps on the paths it writes to
// (copy-on-write) and shares all else with the old tree. Finish then puts the old struct back wherever the new one says
// the same, so that afterwards an equal pointer means "unchanged", whichever way the change was written.
//
// It decodes by itself instead of through ygot, because ygot takes much of what a target must refuse (fractions,
// duplicates, writes to state, keys that differ from their leaf), stops at the first fault, and needs 1.3 s for ten
// thousand outputs. Tests compare both decoders. Each fault names a gNMI path and, where the value came as text, the
// offset in it.
//
// It checks what the schema says of a single node: type, range, pattern, read-only, keys. What goes beyond one node is
// checked by package config.
//
// An Edit belongs to one goroutine. Trees may be read by any number.
package tree
