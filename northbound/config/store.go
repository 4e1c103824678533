// SPDX-License-Identifier: Apache-2.0

package config

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"

	"mcr/gen"
	"mcr/mroute"
	"mcr/northbound/config/tree"
)

// Router is all that the store wants from the router.
type Router interface {
	// Prepare makes c ready to run. At start it must not refuse for what the machine lacks; else a *mroute.RefusalError
	// says what stands in the way.
	Prepare(ctx context.Context, c *mroute.Config, start bool) (mroute.Prepared, error)
}

// Options of a Store.
type Options struct {
	Dir     string // state directory; made if it is missing
	Router  Router
	Log     *slog.Logger     // nil: none
	Publish func(Committed)  // nil: none. Called on the router's loop; must not block
	Version string           // of this program, for the state file
	Clock   func() time.Time // nil: time.Now
}

// Snapshot is one configuration. It never changes.
type Snapshot struct {
	Tree        *gen.Device // configuration leaves only; must not be written to
	Revision    uint64      // goes up by one with each accepted change; 0: nothing was ever configured
	User        string      // who made it
	Address     string      // from where; empty if that was before this process
	Time        time.Time   // when
	Digest      string      // hexadecimal; equal configurations have equal ones
	Owner       Owner
	StartFile   string // the start-up file given to this process; empty: none
	FileDiffers bool   // the start-up file says something else than it did when it was read

	PendingID       string    // of the commit that waits to be confirmed; empty: none does
	PendingDeadline time.Time // when it is rolled back
	Commits         []Commit  // the latest, at most 20, oldest first; must not be written to

	c      *compiled
	header header
}

// Owner says what the configuration of the next start comes from.
type Owner uint8

// Owners.
const (
	StateDir Owner = iota
	File
)

func (o Owner) String() string { return [...]string{"state-dir", "file"}[o] }

// Committed tells of a change that has happened.
type Committed struct {
	Old   *Snapshot // nil at start
	New   *Snapshot
	State mroute.Batch // what became of it in the router

	// CommitID is the client's id of the commit that made, or with equal revisions confirmed, New; also of one that took it
	// back. Empty: none.
	CommitID string

	// Touched returns the keys of those entries of a list that differ between the trees of Old and New. owner is the struct of
	// New's tree that holds the list, in the field of that number. ok is false where that is not known. nil: nothing is.
	Touched func(owner any, field int) (keys []reflect.Value, ok bool)
}

// Request is a Set.
type Request struct {
	Ops     []Op // in any order
	User    string
	Address string   // where the client calls from
	Confirm *Confirm // nil: the change stays
}

// Result says what a Set, or a word on a commit that waits to be confirmed, did.
type Result struct {
	Revision uint64    // in force now
	Time     time.Time // of the change, or now where nothing changed
	Changed  bool
	CommitID string // the client's id of the commit, where it gave one
}

// Store is the datastore.
type Store struct {
	opts  Options
	log   *slog.Logger
	files files
	lock  *os.File

	// turn holds a token while nobody changes anything. Whoever has it may read and write what follows.
	turn    chan struct{}
	stored  *onDisk  // the state file; nil: there is none
	journal journal  // what came after it
	records []found  // of the journal that was found; until Start
	bases   []uint64 // commits whose files do not build on others, ascending; at the first, the files begin
	started bool
	closed  bool
	timer   *time.Timer // of the commit that waits to be confirmed

	journalFrom int64 // the constant of that name, but for tests

	running atomic.Pointer[Snapshot] // stored by whoever has the turn
}

// Open takes the state directory and reads what is stored there. It changes nothing, except that it keeps a copy of a
// file of an older format. Errors: *LockedError, *FileError, or one of the operating system.
func Open(opts Options) (*Store, error) {
	s := &Store{opts: opts, log: opts.Log, files: osFiles, turn: make(chan struct{}, 1), journalFrom: journalFrom}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.opts.Clock == nil {
		s.opts.Clock = time.Now
	}
	if s.opts.Publish == nil {
		s.opts.Publish = func(Committed) {}
	}
	if err := os.MkdirAll(opts.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	lock, err := lockDir(opts.Dir)
	if err != nil {
		return nil, err
	}
	var h header
	var c *compiled
	s.lock = lock
	if s.stored, h, c, s.records, err = readState(opts.Dir); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	s.running.Store(newSnapshot(h, c))
	s.turn <- struct{}{}
	return s, nil
}

func newSnapshot(h header, c *compiled) *Snapshot {
	return &Snapshot{
		Tree: c.tree, Revision: h.Revision, User: h.User, Address: h.Address, Time: h.Time, Digest: c.digest, StartFile: h.StartFile, c: c, header: h,
	}
}

// Close gives the state directory back, after the change that may be running. Later changes fail. It may be called twice.
func (s *Store) Close() error {
	<-s.turn
	defer s.give()
	if s.closed {
		return nil
	}
	s.closed = true
	s.arm(nil)
	if s.journal.records > 0 {
		if err := s.rewrite(s.running.Load()); err != nil {
			s.log.Warn("the journal stays, to be read at the next start", "err", err)
		}
	}
	return s.lock.Close()
}

// Running returns the running configuration.
func (s *Store) Running() *Snapshot { return s.running.Load() }

// take waits for the turn. give gives it back.
func (s *Store) take(ctx context.Context) error {
	select {
	case <-s.turn:
	case <-ctx.Done():
		return fmt.Errorf("wait for another change: %w", ctx.Err())
	}
	err := ctx.Err()
	if s.closed {
		err = failure(NotReady, "the configuration is closed")
	}
	if err != nil {
		s.give()
	}
	return err
}

func (s *Store) give() { s.turn <- struct{}{} }

func errNotStarted() *Error { return failure(NotReady, "the configuration has not been started yet") }

// Start makes the stored configuration, or that of the start-up file, the running one. The file is read where the state
// directory has no configuration yet; with replace it is, at each start, the whole configuration. An empty name means no
// file. A commit that still waits to be confirmed was not: the configuration before it comes back. Errors are *Error where
// the file is wrong.
func (s *Store) Start(ctx context.Context, file string, replace bool) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	defer s.give()
	next := *s.running.Load()
	s.loadHistory(&next)
	t := transition{next: &next, start: true, write: len(s.records) > 0}
	s.records = nil
	if p := next.header.pending; p != nil {
		s.revert(&next, Client{rollbackName, rollbackName})
		s.log.Warn("commit was not confirmed before the end of the last run: rolled back", "id", p.id, "revision", next.Revision)
		t.write, t.id = true, p.id
	}
	if file != "" {
		write, err := s.startFile(&next, file, replace)
		if err != nil {
			return err
		}
		t.write = t.write || write
	}
	if err := s.commit(ctx, t); err != nil {
		return err
	}
	s.started = true
	return nil
}

// startFile reads the start-up file into next. write: what is stored must be written anew.
func (s *Store) startFile(next *Snapshot, file string, replace bool) (write bool, err error) {
	next.StartFile = file
	data, err := os.ReadFile(file)
	if err != nil {
		if s.stored == nil || replace {
			return false, fmt.Errorf("start-up file: %w", err)
		}
		s.log.Warn("start-up file cannot be read; the state directory has the configuration", "file", file, "err", err)
		next.FileDiffers = true
		return false, nil
	}
	hash := sha256.Sum256(data)
	sum := hex.EncodeToString(hash[:])
	if s.stored != nil && !replace {
		if next.FileDiffers = sum != next.header.StartSum; next.FileDiffers {
			s.log.Warn("start-up file differs from what was read at first; the state directory has the configuration", "file", file)
		}
		return false, nil
	}
	if replace {
		next.Owner = File
	}
	root := change{op: -1, kind: Delete, file: file, parts: []part{{path: &gpb.Path{}}}}
	c, e, cerr := propose(next.c, []change{root, changeOfFile(file, data)})
	if cerr != nil {
		return false, cerr
	}
	write = s.stored == nil || c != next.c || next.header.StartSum != sum || next.header.StartFile != file
	next.header.StartFile, next.header.StartSum = file, sum
	if c != next.c || s.stored == nil {
		s.stamp(next, c, countLeaves(next.c, c, e), Client{fileName, fileName})
	}
	return write, nil
}

// fileName stands for the user and the address where the start-up file made the configuration.
const fileName = "file"

// stamp makes next the successor of itself with configuration c, which differs in so many leaves.
func (s *Store) stamp(next *Snapshot, c *compiled, changed uint32, by Client) {
	h := &next.header
	h.Revision, h.User, h.Address, h.Time, h.Changed = h.Revision+1, by.User, by.Address, s.opts.Clock(), changed
	next.c, next.Tree, next.Digest = c, c.tree, c.digest
	next.Revision, next.User, next.Address, next.Time = h.Revision, h.User, h.Address, h.Time
	next.remember()
}

// result says how next differs from old.
func (next *Snapshot) result(old *Snapshot, id string, now time.Time) Result {
	r := Result{Revision: next.Revision, Time: now, CommitID: id}
	if next.Revision != old.Revision {
		r.Time, r.Changed = next.Time, true
	}
	return r
}

// changesOf prepares the operations of a request in the order in which they are done.
func changesOf(ops []Op) []change {
	ops = slices.Clone(ops)
	slices.SortStableFunc(ops, func(a, b Op) int { return int(a.Kind) - int(b.Kind) })
	changes := make([]change, len(ops))
	for i, op := range ops {
		changes[i] = changeOf(op)
	}
	return union(changes)
}

// candidate is what a request makes of the running configuration.
type candidate struct {
	c       *compiled  // the running one itself where nothing changes
	edit    *tree.Edit // that made it
	pending *pending   // where it is to be confirmed
}

func (s *Store) candidate(old *Snapshot, req Request, changes []change) (out candidate, err error) {
	if !s.started {
		return out, errNotStarted()
	}
	if err := s.waiting(old); err != nil {
		return out, err
	}
	if req.Confirm != nil {
		if out.pending, err = s.newPending(req.Confirm, old.c); err != nil {
			return out, err
		}
	}
	c, e, cerr := propose(old.c, changes)
	if cerr != nil {
		return out, cerr
	}
	out.c, out.edit = c, e
	return out, nil
}

// Set changes the running configuration: all of the request or nothing. What is wrong with the request, refused by this
// machine or could not be stored comes as an *Error; a context that ends before the change does, as its error.
func (s *Store) Set(ctx context.Context, req Request) (Result, error) {
	changes := changesOf(req.Ops)
	if err := s.take(ctx); err != nil {
		return Result{}, err
	}
	defer s.give()
	old := s.running.Load()
	is, err := s.candidate(old, req, changes)
	if err != nil {
		return Result{}, err
	}
	if is.c == old.c && is.pending == nil {
		return old.result(old, "", s.opts.Clock()), nil
	}
	next, id := *old, ""
	if is.c != old.c {
		s.stamp(&next, is.c, countLeaves(old.c, is.c, is.edit), Client{req.User, req.Address})
	}
	if is.pending != nil {
		next.wait(is.pending)
		id = is.pending.id
	}
	if err := s.commit(ctx, transition{old: old, next: &next, write: true, id: id, edit: is.edit}); err != nil {
		return Result{}, attributed(changes, err)
	}
	return next.result(old, id, s.opts.Clock()), nil
}

// attributed says of the faults in err which operation each comes from.
func attributed(changes []change, err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		e.Faults = attribute(changes, e.Faults)
	}
	return err
}

// transition is what commit does.
type transition struct {
	old    *Snapshot // nil at start
	next   *Snapshot
	start  bool       // nothing is refused for what this machine lacks
	write  bool       // the state file
	insist bool       // go on where the state file cannot be written
	id     string     // for Committed.CommitID
	edit   *tree.Edit // that made next of old; nil: something else did
}

// commit makes next the running configuration.
func (s *Store) commit(ctx context.Context, t transition) error {
	next := t.next
	prepared, err := s.opts.Router.Prepare(ctx, next.c.config, t.start)
	if err != nil {
		return prepareError(err)
	}
	if t.write {
		err := s.store(t)
		if err != nil && !t.insist {
			prepared.Discard()
			return failure(Internal, "the configuration could not be stored, nothing was changed: %v", err)
		}
		if err != nil { // what is stored leads a start to the same configuration, and no record can follow it
			s.journal.off = true
			s.log.Error("the configuration could not be stored", "revision", next.Revision, "err", err)
		}
	}
	s.running.Store(next)
	told := Committed{Old: t.old, New: next, CommitID: t.id}
	if t.edit != nil {
		told.Touched = t.edit.Touched
	}
	prepared.Commit(func(b mroute.Batch) {
		told.State = b
		s.opts.Publish(told)
	})
	s.arm(next.header.pending)
	return nil
}

// store makes a transition durable: as a record of the journal, or with a new state file.
func (s *Store) store(t transition) error {
	t.next.header.Version = s.opts.Version
	if t.old != nil {
		if r := s.record(t.old, t.next, t.edit); r != nil {
			if err := s.append(r); err != nil {
				return err
			}
			if t.next.Revision != t.old.Revision {
				s.keep(t.next, r)
			}
			return nil
		}
	}
	return s.rewrite(t.next)
}

// rewrite replaces the state file by that of next.
func (s *Store) rewrite(next *Snapshot) error {
	is := &onDisk{stateText: stateText{next.header, next.c}}
	var old io.WriterTo
	if s.stored != nil {
		old = s.stored
	}
	var err error
	if is.sum, is.size, err = s.files.writeState(s.opts.Dir, is, old); err != nil {
		return err
	}
	s.stored = is
	s.journal.done(s.opts.Dir)
	s.keep(next, nil)
	return nil
}

func prepareError(err error) error {
	refusal, ok := errors.AsType[*mroute.RefusalError](err)
	switch {
	case ok:
		e := &Error{}
		for _, r := range refusal.Refusals {
			path := rulePathOf(r.Rule)
			switch {
			case r.Endpoint.IsValid():
				path = endpointPathOf(r.Interface, r.Endpoint) + "/config/address"
			case r.Setting == "maximum-sockets":
				path = "/mcr/forwarding/limits/config/maximum-sockets"
			case r.Setting != "":
				path = "/mcr/dataplane/config/" + r.Setting
			case r.Output != "":
				path = outputPathOf(r.Rule, r.Output)
			}
			e.Faults = append(e.Faults, Fault{Op: -1, Path: path, Code: Refused, Reason: r.Err.Error()})
		}
		return e
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("prepare the change: %w", err)
	}
	return failure(Internal, "prepare the change: %v", err)
}
