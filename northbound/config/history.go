// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"mcr/northbound/config/json5"
)

// The folder commits of the state directory has the state file of each of the latest commits, called by its revision. A
// state file is never written to again once it is in place, so that a hard link keeps it and costs nothing. These files
// are not flushed: one that a power cut took is made again at the start if it is that of the running configuration, and
// else is missing from the history.
const commitsName = "commits"

// commitsKept is how many commits the history has.
const commitsKept = 20

// Commit is one change that was made.
type Commit struct {
	Revision uint64 // that it made
	User     string // who made it; file: the start-up file; rollback: nobody confirmed the one before in time
	Address  string // from where: host and port, unix, file, or rollback; empty: not known
	Time     time.Time
	Changed  uint32 // leaves that it changed
}

func (h *header) commit() Commit { return Commit{h.Revision, h.User, h.Address, h.Time, h.Changed} }

// Commits returns the latest commits, at most 20, oldest first.
func (s *Store) Commits() []Commit { return slices.Clone(s.running.Load().Commits) }

// Content returns the configuration of a commit as RFC 7951 JSON, as it was stored. The error is an *Error: NotFound for
// one that is not kept.
func (s *Store) Content(revision uint64) ([]byte, Commit, error) {
	snap := s.running.Load()
	i, ok := slices.BinarySearchFunc(snap.Commits, revision, func(c Commit, r uint64) int { return cmp.Compare(c.Revision, r) })
	if !ok {
		return nil, Commit{}, failure(NotFound, "commit %d is not kept; the latest %d are", revision, commitsKept)
	}
	c := snap.Commits[i]
	if revision == snap.Revision {
		var b bytes.Buffer
		_, _ = snap.c.WriteTo(&b) // a Buffer takes all
		return b.Bytes(), c, nil
	}
	text, err := readContent(s.commitFile(revision))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, Commit{}, failure(NotFound, "the file of commit %d is missing", revision)
	case err != nil:
		return nil, Commit{}, failure(Internal, "read commit %d: %v", revision, err)
	}
	return text, c, nil
}

// readContent returns the configuration in a state file.
func readContent(name string) ([]byte, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	v, err := json5.ParseJSON(data)
	if err != nil {
		return nil, damaged(data, err)
	}
	if err := checkDigest(data, v); err != nil {
		return nil, err
	}
	if text, ok := configText(data, v); ok {
		return text, nil
	}
	_, c, err := parseState(name, data) // edited by hand, with the members in another order
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	_, _ = c.WriteTo(&b)
	return b.Bytes(), nil
}

func (s *Store) commitFile(revision uint64) string {
	return filepath.Join(s.opts.Dir, commitsName, strconv.FormatUint(revision, 10)+".json")
}

// remember adds the commit that made next to its history.
func (next *Snapshot) remember() {
	kept := next.Commits
	if n := len(kept) - commitsKept + 1; n > 0 {
		kept = kept[n:]
	}
	next.Commits = append(slices.Clone(kept), next.header.commit())
}

// keep gives the state file, which is that of next, its place in the history. What cannot be kept is logged: the change has
// been made.
func (s *Store) keep(next *Snapshot) {
	if next.Revision == 0 {
		return
	}
	name := s.commitFile(next.Revision)
	err := os.Remove(name) // of the same revision while it waited to be confirmed, or of another life
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = s.link(name, stateText{next.header, next.c})
	}
	if err != nil {
		s.log.Warn("commit cannot be kept", "revision", next.Revision, "err", err)
	}
	if next.Revision > commitsKept {
		_ = os.Remove(s.commitFile(next.Revision - commitsKept)) // found again at the next start
	}
}

// link makes a hard link to the state file, or a copy where the file system has no links.
func (s *Store) link(name string, text stateText) error {
	state := filepath.Join(s.opts.Dir, stateName)
	err := os.Link(state, name)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			return err
		}
		if err = os.Link(state, name); err == nil {
			return nil
		}
	}
	f, ferr := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if ferr != nil {
		return errors.Join(err, ferr)
	}
	_, werr := text.WriteTo(f)
	return errors.Join(werr, f.Close())
}

// loadHistory reads who made the latest commits up to the revision that h made, takes the files of older ones away, and
// makes the file of h where it is missing or another one. What cannot be read is missing from the history.
func (s *Store) loadHistory(snap *Snapshot) {
	if snap.Revision == 0 {
		return
	}
	dir := filepath.Join(s.opts.Dir, commitsName)
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("history of commits cannot be read", "err", err)
	}
	var found []Commit
	for _, f := range files {
		base, ok := strings.CutSuffix(f.Name(), ".json")
		n, err := strconv.ParseUint(base, 10, 64)
		if !ok || err != nil || n >= snap.Revision { // later ones are of another life, and are replaced when it is their turn
			continue
		}
		if n+commitsKept <= snap.Revision {
			_ = os.Remove(filepath.Join(dir, f.Name()))
			continue
		}
		c, err := readCommit(filepath.Join(dir, f.Name()))
		if err == nil && c.Revision != n {
			err = fmt.Errorf("is that of revision %d", c.Revision)
		}
		if err != nil {
			s.log.Warn("commit cannot be read", "revision", n, "err", err)
			continue
		}
		found = append(found, c)
	}
	slices.SortFunc(found, func(a, b Commit) int { return cmp.Compare(a.Revision, b.Revision) })
	snap.Commits = append(found, snap.header.commit())
	if state, err := os.Stat(filepath.Join(s.opts.Dir, stateName)); err == nil {
		if mine, err := os.Stat(s.commitFile(snap.Revision)); err != nil || !os.SameFile(state, mine) {
			s.keep(snap)
		}
	}
}

// headEnd is what follows the members of a state file that say whose commit it is.
const headEnd = `,"pending":`

// readCommit reads who made a commit from its file, without the configuration where it can.
func readCommit(name string) (Commit, error) {
	f, err := os.Open(name)
	if err != nil {
		return Commit{}, err
	}
	defer f.Close() //nolint:errcheck // read only
	head := make([]byte, 8<<10)
	n, _ := f.Read(head)
	if i := bytes.Index(head[:n], []byte(headEnd)); i >= 0 {
		if c, err := parseCommit(append(head[:i:i], '}')); err == nil {
			return c, nil
		}
	}
	data, err := os.ReadFile(name) // edited by hand
	if err != nil {
		return Commit{}, err
	}
	return parseCommit(data)
}

func parseCommit(data []byte) (Commit, error) {
	v, err := json5.ParseJSON(data)
	if err != nil {
		return Commit{}, damaged(data, err)
	}
	var h header
	if err := h.read(v); err != nil {
		return Commit{}, err
	}
	return h.commit(), nil
}
