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

// The folder commits of the state directory has a file for each of the latest commits, called by its revision: its state
// file, or its record of the journal, which builds on the commit before. A state file is never written to again once it
// is in place, so that a hard link keeps it and costs nothing. Where records are kept, so are the commits that they build
// on, even older than those that are shown.
//
// These files are not flushed. What a power cut took is made again at the start where state file and journal have it, and
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
		return snap.c.text(), c, nil
	}
	text, err := s.readContent(revision)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, Commit{}, failure(NotFound, "the file of commit %d, or of one that it builds on, is missing", revision)
	case err != nil:
		return nil, Commit{}, failure(Internal, "read commit %d: %v", revision, err)
	}
	return text, c, nil
}

// text is what WriteTo writes.
func (c *compiled) text() []byte {
	var b bytes.Buffer
	_, _ = c.WriteTo(&b) // a Buffer takes all
	return b.Bytes()
}

// readContent returns the configuration of a commit from the files.
func (s *Store) readContent(revision uint64) ([]byte, error) {
	var patches []change // latest first
	for r := revision; ; r-- {
		name := s.commitFile(r)
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		v, err := json5.ParseJSON(data)
		if err != nil {
			return nil, fmt.Errorf("%s is %w", name, damaged(data, err))
		}
		if n, ok := number(v, "revision"); !ok || n != r {
			return nil, fmt.Errorf("%s is not of this revision", name)
		}
		if patch := v.Get("patch"); patch != nil && r > 0 {
			patches = append(patches, change{op: -1, kind: Replace, patch: patch})
			continue
		}
		if text, ok := configText(data, v); ok && len(patches) == 0 {
			return text, checkDigest(data, v)
		}
		_, c, err := parseState(name, data)
		if err != nil {
			return nil, err
		}
		for _, p := range slices.Backward(patches) {
			var cerr *Error
			if c, cerr = transact(c, []change{p}); cerr != nil {
				return nil, cerr
			}
		}
		return c.text(), nil
	}
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

// keep gives next its place in the history: its record, or where that is nil the state file, which is that of next. What
// cannot be kept is logged: the change has been made.
func (s *Store) keep(next *Snapshot, record []byte) {
	if next.Revision == 0 {
		return
	}
	name := s.commitFile(next.Revision)
	err := os.Remove(name) // of the same revision while it waited to be confirmed, or of another life
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		if record != nil {
			err = os.WriteFile(name, record, 0o600)
		} else {
			err = s.link(name, stateText{next.header, next.c})
		}
	}
	if err != nil {
		s.log.Warn("commit cannot be kept", "revision", next.Revision, "err", err)
	}
	if record == nil && (len(s.bases) == 0 || s.bases[len(s.bases)-1] < next.Revision) {
		s.bases = append(s.bases, next.Revision)
	}
	s.forget(next)
}

// forget removes the files of commits that are older than the latest and that none of these builds on.
func (s *Store) forget(next *Snapshot) {
	for len(s.bases) > 1 && s.bases[1] <= next.Commits[0].Revision {
		for r := s.bases[0]; r < s.bases[1]; r++ {
			_ = os.Remove(s.commitFile(r)) // found again at the next start
		}
		s.bases = s.bases[1:]
	}
}

// link makes a hard link to the state file, or a copy where the file system has no links.
func (s *Store) link(name string, text stateText) error {
	state := filepath.Join(s.opts.Dir, stateName)
	err := os.Link(state, name)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			return err
		}
		err = os.Link(state, name)
	}
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	f, ferr := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if ferr != nil {
		return errors.Join(err, ferr)
	}
	_, werr := text.WriteTo(f)
	return errors.Join(werr, f.Close())
}

// loadHistory finds the commits before that of snap, takes away files that nothing needs, and makes those anew that are
// missing and that the state file and the journal have. What cannot be read is missing from the history.
func (s *Store) loadHistory(snap *Snapshot) {
	if snap.Revision == 0 {
		return
	}
	s.restoreFiles()
	dir := filepath.Join(s.opts.Dir, commitsName)
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("history of commits cannot be read", "err", err)
	}
	var all []uint64
	for _, f := range files {
		base, ok := strings.CutSuffix(f.Name(), ".json")
		n, err := strconv.ParseUint(base, 10, 64)
		if !ok || err != nil || n > snap.Revision { // later ones are of another life, and are replaced when it is their turn
			continue
		}
		all = append(all, n)
		c, builds, err := readCommit(filepath.Join(dir, f.Name()))
		if err == nil && c.Revision != n {
			err = fmt.Errorf("is that of revision %d", c.Revision)
		}
		switch {
		case err != nil:
			s.log.Warn("commit cannot be read", "revision", n, "err", err)
			continue
		case !builds:
			s.bases = append(s.bases, n)
		}
		if n+commitsKept > snap.Revision && n < snap.Revision {
			snap.Commits = append(snap.Commits, c)
		}
	}
	slices.Sort(s.bases)
	slices.SortFunc(snap.Commits, func(a, b Commit) int { return cmp.Compare(a.Revision, b.Revision) })
	snap.Commits = append(snap.Commits, snap.header.commit())
	for len(s.bases) > 1 && s.bases[1] <= snap.Commits[0].Revision {
		s.bases = s.bases[1:]
	}
	for _, n := range all {
		if n+commitsKept <= snap.Revision && (len(s.bases) == 0 || n < s.bases[0]) {
			_ = os.Remove(s.commitFile(n))
		}
	}
}

// restoreFiles makes the files anew that state file and journal have.
func (s *Store) restoreFiles() {
	if s.stored == nil {
		return
	}
	base := s.commitFile(s.stored.Revision)
	state, err := os.Stat(filepath.Join(s.opts.Dir, stateName))
	is, berr := os.Stat(base)
	if err == nil && s.stored.Revision > 0 && (berr != nil || !os.SameFile(state, is)) {
		if !errors.Is(berr, fs.ErrNotExist) {
			_ = os.Remove(base)
		}
		err = s.link(base, s.stored.stateText)
	}
	for i, data := range s.records {
		before := s.stored.Revision
		if i > 0 {
			before = s.records[i-1].revision
		}
		if r := data.revision; err == nil && r != before {
			if _, serr := os.Stat(s.commitFile(r)); errors.Is(serr, fs.ErrNotExist) {
				err = os.WriteFile(s.commitFile(r), data.text, 0o600)
			}
		}
	}
	if err != nil {
		s.log.Warn("the files of the latest commits cannot be made again", "err", err)
	}
}

// headEnd is what follows the members of a file that say whose commit it is.
const headEnd = `,"pending":`

// readCommit reads who made a commit from its file, without the configuration where it can. builds: it needs the one before.
func readCommit(name string) (c Commit, builds bool, err error) {
	f, err := os.Open(name)
	if err != nil {
		return c, false, err
	}
	defer f.Close() //nolint:errcheck // read only
	head := make([]byte, 8<<10)
	n, _ := f.Read(head)
	if i := bytes.Index(head[:n], []byte(headEnd)); i >= 0 {
		if c, builds, err := parseCommit(append(head[:i:i], '}')); err == nil {
			return c, builds, nil
		}
	}
	data, err := os.ReadFile(name) // edited by hand
	if err != nil {
		return c, false, err
	}
	return parseCommit(data)
}

func parseCommit(data []byte) (c Commit, builds bool, err error) {
	v, err := json5.ParseJSON(data)
	if err != nil {
		return c, false, damaged(data, err)
	}
	var h header
	if err := h.read(v, "base", "patch"); err != nil {
		return c, false, err
	}
	return h.commit(), v.Get("base") != nil, nil
}
