// SPDX-License-Identifier: Apache-2.0

package state

import (
	"strconv"

	"mcr/northbound/config"
	"mcr/northbound/telemetry"
)

// commitsKept is how many commits state shows.
const commitsKept = 20

// configuration publishes the running configuration as a whole.
func (s *step) configuration(c *config.Snapshot) {
	var l leaves
	l.optional("digest", c.Digest)
	l.moment("last-commit-time", c.Time)
	l.optional("last-commit-user", c.User)
	l.text("owner", c.Owner.String())
	l.number("revision", c.Revision)
	l.flag("start-file-differs", c.FileDiffers)
	s.update(at(systemPath, "configuration", "state"), l, nil)
}

// commit adds a row for the commit that made a configuration, which changed so many leaves; below zero, that is not
// known: it happened before the start.
func (s *step) commit(c *config.Snapshot, changed int) {
	if n := len(s.commits); c.Revision == 0 || n > 0 && s.commits[n-1] == c.Revision {
		return
	}
	var l leaves
	l.optional("address", c.Address)
	if changed >= 0 {
		l.count("change-count", changed)
	}
	l.number("id", c.Revision)
	l.moment("time", c.Time)
	l.optional("user", c.User)
	s.update(commitPath(c.Revision), l, nil)
	s.commits = append(s.commits, c.Revision)
	for len(s.commits) > commitsKept {
		s.remove(commitPath(s.commits[0]))
		s.commits = s.commits[1:]
	}
}

func commitPath(id uint64) telemetry.Path {
	base := at(systemPath, "configuration", "commits")
	return append(entryAt(base, "commit", "id", strconv.FormatUint(id, 10)), stateElem)
}
