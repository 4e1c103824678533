// SPDX-License-Identifier: Apache-2.0

package state

import (
	"slices"
	"strconv"

	"mcr/northbound/config"
	"mcr/northbound/telemetry"
)

// configuration publishes the running configuration as a whole.
func (s *step) configuration(c *config.Snapshot) {
	var l leaves
	l.optional("digest", c.Digest)
	l.moment("last-commit-time", c.Time)
	l.optional("last-commit-user", c.User)
	l.text("owner", c.Owner.String())
	l.moment("pending-commit-deadline", c.PendingDeadline)
	l.optional("pending-commit-id", c.PendingID)
	l.number("revision", c.Revision)
	l.flag("start-file-differs", c.FileDiffers)
	s.update(at(systemPath, "configuration", "state"), l, nil)
}

// commits publishes the latest commits: a row for each that has none, and none for those that are no longer kept.
func (s *step) commits(now []config.Commit) {
	var kept []uint64
	for _, c := range now {
		kept = append(kept, c.Revision)
		if !slices.Contains(s.commitRows, c.Revision) {
			var l leaves
			l.optional("address", c.Address)
			l.number("change-count", uint64(c.Changed))
			l.number("id", c.Revision)
			l.moment("time", c.Time)
			l.optional("user", c.User)
			s.update(commitPath(c.Revision), l, nil)
		}
	}
	for _, r := range s.commitRows {
		if !slices.Contains(kept, r) {
			s.remove(commitPath(r))
		}
	}
	s.commitRows = kept
}

func commitPath(id uint64) telemetry.Path {
	base := at(systemPath, "configuration", "commits")
	return append(entryAt(base, "commit", "id", strconv.FormatUint(id, 10)), stateElem)
}
