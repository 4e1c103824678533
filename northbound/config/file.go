// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"

	"mcr/northbound/config/json5"
	"mcr/northbound/config/tree"
)

// The state directory holds state.json, and while a daemon runs a lock on the file lock, which has its pid. state.json.new
// is a file in the making and means nothing. state.json is one line:
//
//	{"format":1,"version":…,"revision":…,"user":…,"address":…,"time":…,"changed":…,"start-file":{"path":…,"digest":…},
//	 "digest":…,"pending":null,"config":{…}}
//
// config is canonical RFC 7951 and the last member; digest is its SHA-256, and may be left out by who edits the file by
// hand. While a commit waits to be confirmed, pending is
//
//	{"id":…,"deadline":…,"digest":…,"previous":{…}}
//
// with the configuration to which a start goes back, and its digest. What came after it may be in the file journal: see
// journal.go. The folder commits has the history: see history.go.
const (
	stateName  = "state.json"
	lockName   = "lock"
	fileFormat = 1
)

// migrations turn the state file of a format into that of the next. There is no older format yet.
var migrations = map[uint64]func(*json5.Value){}

// header is all of a state file but the configuration.
type header struct {
	Version   string
	Revision  uint64
	User      string
	Address   string
	Time      time.Time
	Changed   uint32 // leaves that the revision changed
	StartFile string // path of the file that was read as the first configuration, or that owns it; empty: none
	StartSum  string // SHA-256 of its bytes
	pending   *pending
}

// stateText is the contents of a state file.
type stateText struct {
	header
	config *compiled
}

// appendHead begins the JSON of a state file or record. more are members that stand behind version.
func (h *header) appendHead(b []byte, more string) []byte {
	b = fmt.Appendf(b, `{"format":%d,"version":`, fileFormat)
	b = tree.AppendString(b, h.Version)
	b = fmt.Appendf(b, `,%s"revision":%d,"user":`, more, h.Revision)
	b = tree.AppendString(b, h.User)
	b = append(b, `,"address":`...)
	b = tree.AppendString(b, h.Address)
	return fmt.Appendf(b, `,"time":"%s","changed":%d`, stamp(h.Time), h.Changed)
}

// WriteTo writes them.
func (s stateText) WriteTo(w io.Writer) (int64, error) {
	h, c := s.header, s.config
	b := append(h.appendHead(nil, ""), `,"start-file":{"path":`...)
	b = tree.AppendString(b, h.StartFile)
	b = fmt.Appendf(b, `,"digest":"%s"},"digest":"%s"`+headEnd, h.StartSum, textSum(c))
	out := &counter{to: w}
	if p := h.pending; p == nil {
		b = append(b, "null"...)
	} else {
		out.write(fmt.Appendf(p.appendHead(b), `,"digest":"%s","previous":`, textSum(p.previous)))
		out.from(p.previous)
		b = []byte{'}'}
	}
	out.write(append(b, `,"config":`...))
	out.from(c)
	out.write([]byte("}\n"))
	return out.n, out.err
}

// textSum is the SHA-256 of what t writes.
func textSum(t io.WriterTo) string {
	h := sha256.New()
	_, _ = t.WriteTo(h) // a hash takes all
	return hex.EncodeToString(h.Sum(nil))
}

// stamp writes a time.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// counter writes until something fails, and counts.
type counter struct {
	to  io.Writer
	n   int64
	err error
}

func (c *counter) write(b []byte) {
	if c.err == nil {
		n, err := c.to.Write(b)
		c.n, c.err = c.n+int64(n), err
	}
}

func (c *counter) from(w io.WriterTo) {
	if c.err == nil {
		n, err := w.WriteTo(c.to)
		c.n, c.err = c.n+n, err
	}
}

// onDisk is a state file that is in place.
type onDisk struct {
	stateText
	sum  string // SHA-256 of the file
	size int64
}

// readState reads the state file and the journal that follows it; nil where there is no state file yet. The error is a
// *FileError.
func readState(dir string) (d *onDisk, h header, c *compiled, records []found, err error) {
	name := filepath.Join(dir, stateName)
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, h, empty(), nil, nil
	}
	if err == nil {
		h, c, err = parseState(name, data)
	}
	if err != nil {
		return nil, h, nil, nil, &FileError{File: name, Version: h.Version, Err: err}
	}
	d = &onDisk{stateText{h, c}, sumText(data), int64(len(data))}
	if records, err = readJournal(dir, d.sum); err != nil {
		return nil, h, nil, nil, err
	}
	for _, r := range records {
		if h, c, err = follow(h, c, r.value); err != nil {
			return nil, h, nil, nil, &FileError{File: filepath.Join(dir, journalName), Version: h.Version, Err: err}
		}
	}
	return d, h, c, records, nil
}

// parseState fills in the header as far as it can, so that an error can name the version.
func parseState(name string, data []byte) (h header, c *compiled, err error) {
	v, err := json5.ParseJSON(data)
	if err != nil {
		return h, nil, damaged(data, err)
	}
	h.Version = text(v, "version")
	format, ok := number(v, "format")
	if !ok {
		return h, nil, errors.New("not a state file: it has no format")
	}
	if format > fileFormat {
		return h, nil, fmt.Errorf("format %d is newer than this version's, %d", format, fileFormat)
	}
	if format < fileFormat {
		if err := migrate(name, data, format, v); err != nil {
			return h, nil, err
		}
	} else if err := checkDigest(data, v); err != nil {
		return h, nil, err
	}
	config := v.Get("config")
	if config == nil {
		return h, nil, errors.New("it has no member \"config\"")
	}
	if err := h.read(v); err != nil {
		return h, nil, err
	}
	c, cerr := load(data, config)
	if cerr != nil {
		return h, nil, cerr
	}
	if p := v.Get("pending"); p != nil && p.Kind != json5.Null {
		if h.pending, err = readPending(data, v, p); err != nil {
			return h, nil, fmt.Errorf("member \"pending\": %w", err)
		}
	}
	return h, c, nil
}

// load makes the configuration that v, a part of a state file, is.
func load(data []byte, v *json5.Value) (*compiled, *Error) {
	return transact(empty(), []change{{op: -1, kind: Replace, text: data, parts: []part{{&gpb.Path{}, v}}}})
}

// damaged says where a file is not JSON.
func damaged(data []byte, err error) error {
	e, ok := errors.AsType[*json5.SyntaxError](err)
	if !ok {
		return err
	}
	line, column := json5.Position(data, e.Pos)
	return fmt.Errorf("damaged or cut off at line %d, column %d: %s", line, column, e.Reason)
}

func migrate(name string, data []byte, format uint64, v *json5.Value) error {
	keep := fmt.Sprintf("%s.format-%d", name, format)
	for ; format < fileFormat; format++ {
		m := migrations[format]
		if m == nil {
			return fmt.Errorf("format %d is not known", format)
		}
		m(v)
	}
	if err := os.WriteFile(keep, data, 0o600); err != nil {
		return fmt.Errorf("keep the file of the older format: %w", err)
	}
	return nil
}

// checkDigest finds what a damaged disk did and JSON does not show.
func checkDigest(data []byte, v *json5.Value) error {
	digest := v.Get("digest")
	config, ok := configText(data, v)
	if digest == nil || !ok {
		return nil
	}
	return compareDigest(config, digest.Text)
}

// configText cuts the configuration out of the text of a state file, where it is the last member.
func configText(data []byte, v *json5.Value) ([]byte, bool) {
	config := v.Get("config")
	if config == nil || v.Members[len(v.Members)-1].Value != config {
		return nil, false
	}
	raw := bytes.TrimRight(data, " \t\r\n")
	return raw[config.Pos : len(raw)-1], true
}

func compareDigest(text []byte, digest string) error {
	if sumText(text) != digest {
		return errors.New("the configuration does not fit its digest: the file is damaged, or was edited by hand; " +
			"to accept it as it is, remove the member \"digest\"")
	}
	return nil
}

func number(v *json5.Value, key string) (uint64, bool) {
	m := v.Get(key)
	if m == nil || m.Kind != json5.Number {
		return 0, false
	}
	n, err := strconv.ParseUint(m.Text, 10, 64)
	return n, err == nil
}

// read fills in all but pending. also are members that may be there.
func (h *header) read(v *json5.Value, also ...string) error {
	for _, m := range v.Members {
		ok := true
		switch m.Name {
		case "format", "version", "digest", "pending", "config":
		case "revision":
			h.Revision, ok = number(v, m.Name)
		case "user":
			h.User = m.Value.Text
		case "address":
			h.Address = m.Value.Text
		case "time":
			t, err := time.Parse(time.RFC3339Nano, m.Value.Text)
			h.Time, ok = t, err == nil
		case "changed":
			var n uint64
			n, ok = number(v, m.Name)
			h.Changed, ok = uint32(n), ok && n <= math.MaxUint32
		case "start-file":
			h.StartFile, h.StartSum = text(m.Value, "path"), text(m.Value, "digest")
		default:
			ok = slices.Contains(also, m.Name)
		}
		if !ok {
			return fmt.Errorf("member %q is wrong or unknown", m.Name)
		}
	}
	return nil
}

// files is what writing a state file needs of the operating system; tests make it fail.
type files struct {
	write  func(name string, text io.WriterTo) error // and sync it
	rename func(from, to string) error
	sync   func(dir string) error
	append func(f *os.File, size int64, b []byte) error // and sync it
}

var osFiles = files{write: writeSynced, rename: os.Rename, sync: syncDir, append: appendSynced}

// writeState replaces the state file, so that at any moment either the old or the new one is there, whole. Where it
// fails, the old one is there; old is its contents, nil where there was none. It returns the new file's SHA-256 and size.
func (f files) writeState(dir string, text, old io.WriterTo) (sum string, size int64, err error) {
	name := filepath.Join(dir, stateName)
	t := &summed{text: text, hash: sha256.New()}
	if err := f.write(name+".new", t); err != nil {
		return "", 0, err
	}
	if err := f.rename(name+".new", name); err != nil {
		return "", 0, err
	}
	if err = f.sync(dir); err == nil {
		return hex.EncodeToString(t.hash.Sum(nil)), t.size, nil
	}
	// The new file is in place and may or may not outlive a power cut. It was not acknowledged: put the old one back.
	if old == nil {
		err = errors.Join(err, os.Remove(name))
	} else if werr := f.write(name+".new", old); werr != nil {
		err = errors.Join(err, werr)
	} else {
		err = errors.Join(err, f.rename(name+".new", name))
	}
	return "", 0, err
}

// summed is a text that is hashed while it is written, once.
type summed struct {
	text io.WriterTo
	hash hash.Hash
	size int64
}

func (s *summed) WriteTo(w io.Writer) (n int64, err error) {
	s.size, err = s.text.WriteTo(io.MultiWriter(w, s.hash))
	return s.size, err
}

func writeSynced(name string, text io.WriterTo) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	if _, err := text.WriteTo(f); err != nil {
		return err
	}
	return f.Sync()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // read only
	return d.Sync()
}

// lockDir takes the state directory for this process. The error is a *LockedError where another one has it.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the state directory: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = fmt.Fprintln(f, os.Getpid())
	}
	if err == nil {
		return f, nil
	}
	defer f.Close() //nolint:errcheck // nothing was written
	if errors.Is(err, syscall.EWOULDBLOCK) {
		pid, _ := os.ReadFile(f.Name())
		return nil, &LockedError{Dir: dir, PID: strings.TrimSpace(string(pid))}
	}
	return nil, fmt.Errorf("lock the state directory %s: %w", dir, err)
}
