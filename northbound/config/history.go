// SPDX-License-Identifier: Apache-2.0

package config

import "time"

// Commit is one change that was made.
type Commit struct {
	Revision uint64 // that it made
	User     string // who made it
	Address  string // from where: host and port, unix, file, or rollback
	Time     time.Time
	Changed  uint32 // leaves that it changed
}

// Commits returns the latest commits, at most 20, oldest first.
func (s *Store) Commits() []Commit { return nil }

// Content returns the configuration of a commit as canonical RFC 7951 JSON. The error is an *Error: NotFound for one that
// is not kept.
func (s *Store) Content(revision uint64) ([]byte, Commit, error) {
	return nil, Commit{}, failure(NotFound, "commit %d is not kept", revision)
}
