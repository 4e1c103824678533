// SPDX-License-Identifier: Apache-2.0

// Package state turns what the router and the configuration say into the leaves of the YANG tree.
//
//	config commit (old, new *gen.Device) ─┐                     ┌─ Update: Units that are new or differ
//	                                      ├─► Publisher ─► telemetry.Changes ─► Tree.Apply
//	router's mroute.Batch ────────────────┘      │              └─ Delete: paths of Units that are gone
//	                                             └ Unit.Sample ─► Counters, /proc, when somebody reads
//
// A Unit is the leaves of one container: every config container of the generated tree, found by reflection, and the state
// containers that this package writes one by one. A state leaf is absent until it is true: what no part of MCR knows or
// does yet is left out, and a test holds the list of what that is.
//
// The cost of a commit follows what changed: the generated tree is copy-on-write, so an equal pointer ends the walk.
//
// Commit and Batch are called one at a time, in the order in which things happened, from the router's loop. They read
// nothing from outside and wait for nobody. Sampled leaves are read by the functions in the Units, on whatever goroutine
// wants them.
package state
