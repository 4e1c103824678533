// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"mcr/northbound/config/json5"
	"mcr/northbound/config/tree"
)

// Ten thousand outputs make a state file of a megabyte, and to replace it takes longer than all else that a small change
// does. So a small change to a large configuration is appended to the file journal instead:
//
//	mcr-journal 1 SHA-256-OF-STATE.JSON
//	SHA-256-OF-THE-REST {"format":1,"version":…,"base":…,"revision":…,"user":…,"address":…,"time":…,"changed":…,
//	                     "pending":null,"patch":[…]}
//
// A line is a record: who made a revision, and a patch (package tree) from the one before, base. pending is null or
// {"id":…,"deadline":…}; the first of a commit that waits goes back to what was before its record. A last line that is not
// whole was never acknowledged and means nothing. A journal of another state file means nothing either: when state.json
// is written, after some records, with a large change, at a start and at the end, the journal is done with.
const (
	journalName  = "journal"
	journalMagic = "mcr-journal 1 "
)

// Bounds of the journal.
const (
	journalFrom  = 64 << 10 // bytes of state.json; a smaller one is written anew each time
	maxPatch     = 64 << 10 // bytes
	maxRecords   = 128      // a start applies them one by one
	journalShare = 8        // a patch is at most so small a part of state.json
)

// journal is the open journal. The zero value is none, which the next record begins.
type journal struct {
	f       *os.File
	size    int64
	records int
	off     bool // it could not be written to: only a new state file helps
}

// done forgets the journal: state.json says it all.
func (j *journal) done(dir string) {
	if j.f != nil {
		_ = j.f.Close()
	}
	*j = journal{}
	_ = os.Remove(filepath.Join(dir, journalName)) // if it stays, it does not fit the state file
}

// record is what leads from old to next, as a line of JSON; nil where the state file is to be written instead.
func (s *Store) record(old, next *Snapshot, e *tree.Edit) []byte {
	if s.stored == nil || s.stored.size < s.journalFrom || s.journal.off || s.journal.records >= maxRecords {
		return nil
	}
	b := next.header.appendHead(nil, fmt.Sprintf(`"base":%d,`, old.Revision))
	b = append(b, headEnd...)
	if p := next.header.pending; p == nil {
		b = append(b, "null"...)
	} else {
		b = append(p.appendHead(b), '}')
	}
	b = append(b, `,"patch":`...)
	b, ok := tree.AppendPatch(b, old.Tree, next.Tree, e, int(min(maxPatch, max(s.stored.size/journalShare, 1<<10))))
	if !ok {
		return nil
	}
	return append(b, '}')
}

// append adds a record durably. Where it fails, the journal says what it said before, as far as that can be had.
func (s *Store) append(record []byte) (err error) {
	j, name := &s.journal, filepath.Join(s.opts.Dir, journalName)
	var b []byte
	if j.f == nil {
		if j.f, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
			j.off = true
			return err
		}
		b = append(b, journalMagic+s.stored.sum+"\n"...)
	}
	fresh := len(b) > 0
	b = append(b, sumText(record)+" "...)
	b = append(append(b, record...), '\n')
	err = s.files.append(j.f, j.size, b)
	if err == nil && fresh {
		err = s.files.sync(s.opts.Dir)
	}
	if err == nil {
		j.size += int64(len(b))
		j.records++
		return nil
	}
	j.off = true
	if terr := errors.Join(j.f.Truncate(j.size), syscall.Fdatasync(int(j.f.Fd()))); terr != nil {
		err = errors.Join(err, terr, s.rewrite(s.running.Load())) // which makes the journal mean nothing
	}
	return err
}

func sumText(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// appendSynced writes at the end of a file, whose size is known.
func appendSynced(f *os.File, size int64, b []byte) error {
	if _, err := f.WriteAt(b, size); err != nil {
		return err
	}
	return syscall.Fdatasync(int(f.Fd()))
}

// found is a record of a journal that was found.
type found struct {
	text     []byte
	value    *json5.Value
	revision uint64
}

// readJournal returns the records that follow the state file with this sum. The error is a *FileError.
func readJournal(dir, sum string) (records []found, err error) {
	name := filepath.Join(dir, journalName)
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		records, err = parseJournal(data, sum)
	}
	if err != nil {
		return nil, &FileError{File: name, Err: err}
	}
	return records, nil
}

// parseJournal gives up at a line that is damaged and followed by a good one: that is no half-written end.
func parseJournal(data []byte, sum string) (records []found, err error) {
	head, rest, _ := bytes.Cut(data, []byte{'\n'})
	if string(head) != journalMagic+sum {
		return nil, nil
	}
	damaged := 0
	for n := 2; len(rest) > 0; n++ {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte{'\n'})
		text, ok := checkLine(line)
		if !ok {
			if damaged == 0 {
				damaged = n
			}
			continue
		}
		if damaged > 0 {
			return nil, fmt.Errorf("line %d is damaged", damaged)
		}
		v, err := json5.ParseJSON(text)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		revision, _ := number(v, "revision")
		records = append(records, found{text, v, revision})
	}
	return records, nil
}

// checkLine returns what follows a line's sum, if it fits.
func checkLine(line []byte) ([]byte, bool) {
	sum, text, ok := bytes.Cut(line, []byte{' '})
	return text, ok && sumText(text) == string(sum)
}

// follow makes what a record makes of a configuration.
func follow(h header, c *compiled, v *json5.Value) (header, *compiled, error) {
	if format, ok := number(v, "format"); !ok || format > fileFormat {
		return h, nil, errors.New("record of a newer version")
	}
	base, ok := number(v, "base")
	if !ok || base != h.Revision || v.Get("patch") == nil {
		return h, nil, fmt.Errorf("record does not follow revision %d", h.Revision)
	}
	was := h.pending
	if err := h.read(v, "base", "patch"); err != nil {
		return h, nil, err
	}
	h.pending = nil
	if p := v.Get("pending"); p != nil && p.Kind == json5.Object {
		var err error
		if h.pending, err = readWaiting(p); err != nil {
			return h, nil, err
		}
		if h.pending.previous = c; was != nil {
			h.pending.previous = was.previous
		}
	}
	next, err := transact(c, []change{{op: -1, kind: Replace, patch: v.Get("patch")}})
	if err != nil {
		return h, nil, fmt.Errorf("revision %d: %w", h.Revision, err)
	}
	return h, next, nil
}
