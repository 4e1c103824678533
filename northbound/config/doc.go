// SPDX-License-Identifier: Apache-2.0

// Package config is the datastore: the running configuration, and the one way in which it changes.
//
//	Set, start-up file ──► edit (copy-on-write) ──► compile ──► check ──► Router.Prepare ──► state file ──► Commit
//	                          package tree         mroute.Config            may refuse       or journal,    cannot fail
//	                                                                                         fsync
//
// A failure anywhere before Commit leaves the running configuration, the state file and the traffic as they were, and
// returns an *Error with every fault that was found: first those of single operations, and if there is none, those of
// the configuration as a whole.
//
// Words: a Snapshot is one configuration with its revision, and never changes. Static checks look at the configuration
// alone and refuse at Set and at start. Environmental ones are the Router's; they may refuse a Set, never a start.
// A leaf is consumed (the router gets it), kept (stored and shown, its feature does not run yet) or refused: uses.go.
//
// Everything that a Set costs follows what it changes: trees, router configuration and the bytes of the state file share
// with their predecessors whatever is the same, and a small change to a large configuration is appended to a journal instead
// of writing the state file anew (journal.go). A Set may wait to be confirmed (confirm.go), and the latest commits are kept
// (history.go).
//
// Running may be called by any goroutine and never waits. Set calls are serialised. The state directory belongs to one
// process at a time.
package config
