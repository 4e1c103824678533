// SPDX-License-Identifier: Apache-2.0

package config

import (
	"context"
	"fmt"
	"time"

	"mcr/northbound/config/json5"
	"mcr/northbound/config/tree"
)

// Commit-confirmed: a commit that is taken back unless it is confirmed in time.
//
//	Set with Confirm ──► runs, stored with what was before ──┬─ Confirm ─────────► stays
//	                          SetRollback: a new deadline    ├─ Cancel, deadline ► what was before, as a new commit
//	                                                         └─ restart ─────────► likewise
//
// Only one may wait, and while it does nothing else is changed.

// Confirm makes a Set a commit that is taken back unless it is confirmed in time.
type Confirm struct {
	ID       string        // the client's; needed
	Rollback time.Duration // how long it waits; 0: DefaultRollback
}

// DefaultRollback is how long a commit waits to be confirmed where its client does not say.
const DefaultRollback = 10 * time.Minute

// Bounds of what a client may ask for.
const (
	maxRollback = 366 * 24 * time.Hour
	maxCommitID = 256 // bytes
)

// retryRollback is how long a rollback that failed waits for the next try.
const retryRollback = 5 * time.Second

// rollbackName stands for the user and the address where nobody asked for a change.
const rollbackName = "rollback"

// pending is a commit that waits to be confirmed. Immutable.
type pending struct {
	id       string
	deadline time.Time
	previous *compiled // what it is taken back to
}

// Client is who asks for something.
type Client struct{ User, Address string }

// newPending checks what a Set asks for.
func (s *Store) newPending(c *Confirm, previous *compiled) (*pending, error) {
	d := c.Rollback
	if d == 0 {
		d = DefaultRollback
	}
	switch {
	case c.ID == "":
		return nil, failure(Invalid, "the commit needs an id")
	case len(c.ID) > maxCommitID:
		return nil, failure(Invalid, "the commit's id has %d bytes; %d are allowed", len(c.ID), maxCommitID)
	}
	if err := checkRollback(d); err != nil {
		return nil, err
	}
	return &pending{c.ID, s.opts.Clock().Add(d), previous}, nil
}

func checkRollback(d time.Duration) error {
	if d <= 0 || d > maxRollback {
		return failure(Invalid, "the rollback duration is %v; more than 0 and at most %v are allowed", d, maxRollback)
	}
	return nil
}

// waiting is the refusal of a change while a commit waits; nil if none does.
func (s *Store) waiting(snap *Snapshot) error {
	p := snap.header.pending
	if p == nil {
		return nil
	}
	left := max(p.deadline.Sub(s.opts.Clock()), 0).Round(time.Second)
	return failure(Precondition, "commit %q waits to be confirmed, for another %v: confirm or cancel it first", p.id, left)
}

// wait makes p what next waits for; nil: nothing.
func (next *Snapshot) wait(p *pending) {
	next.header.pending = p
	next.PendingID, next.PendingDeadline = "", time.Time{}
	if p != nil {
		next.PendingID, next.PendingDeadline = p.id, p.deadline
	}
}

// Confirm keeps the commit that waits. Errors are *Error: Precondition where none does, Invalid for another id.
func (s *Store) Confirm(ctx context.Context, id string, by Client) (Result, error) {
	return s.decide(ctx, id, by, "confirmed", func(next *Snapshot) { next.wait(nil) })
}

// Cancel takes the commit that waits back at once, which makes another commit. Errors are those of Confirm.
func (s *Store) Cancel(ctx context.Context, id string, by Client) (Result, error) {
	return s.decide(ctx, id, by, "canceled", func(next *Snapshot) { s.revert(next, by) })
}

// SetRollback lets the commit that waits be taken back after d from now. Errors are those of Confirm.
func (s *Store) SetRollback(ctx context.Context, id string, d time.Duration, by Client) (Result, error) {
	if err := checkRollback(d); err != nil {
		return Result{}, err
	}
	return s.decide(ctx, id, by, "given another deadline", func(next *Snapshot) {
		p := *next.header.pending
		p.deadline = s.opts.Clock().Add(d)
		next.wait(&p)
	})
}

// decide makes what decision makes of the running Snapshot the running one.
func (s *Store) decide(ctx context.Context, id string, by Client, what string, decision func(*Snapshot)) (Result, error) {
	if id == "" {
		return Result{}, failure(Invalid, "the commit's id is missing")
	}
	if err := s.take(ctx); err != nil {
		return Result{}, err
	}
	defer s.give()
	if !s.started {
		return Result{}, errNotStarted()
	}
	old := s.running.Load()
	switch p := old.header.pending; {
	case p == nil:
		return Result{}, failure(Precondition, "no commit waits to be confirmed")
	case p.id != id:
		return Result{}, failure(Invalid, "the commit that waits to be confirmed is %q, not %q", p.id, id)
	}
	next := *old
	decision(&next)
	// Nothing may be refused for what this machine lacks: the configuration ran before, or runs.
	if err := s.commit(ctx, transition{old: old, next: &next, start: true, write: true, id: id}); err != nil {
		return Result{}, err
	}
	s.log.Info("commit "+what, "id", id, "revision", next.Revision, "user", by.User, "address", by.Address)
	return next.result(old, id, s.opts.Clock()), nil
}

// revert makes next what was before the commit that waits.
func (s *Store) revert(next *Snapshot, by Client) {
	p := next.header.pending
	next.wait(nil)
	if p.previous != next.c {
		s.stamp(next, p.previous, countLeaves(next.c, p.previous, nil), by)
	}
}

// arm sets the timer for the commit that waits.
func (s *Store) arm(p *pending) {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	if p != nil && !s.closed {
		s.timer = time.AfterFunc(p.deadline.Sub(s.opts.Clock()), func() { s.expire(p) })
	}
}

// expire takes p back, if it still waits.
func (s *Store) expire(p *pending) {
	ctx := context.Background()
	if s.take(ctx) != nil { // closed
		return
	}
	defer s.give()
	old := s.running.Load()
	if old.header.pending != p {
		return
	}
	next := *old
	s.revert(&next, Client{rollbackName, rollbackName})
	err := s.commit(ctx, transition{old: old, next: &next, start: true, write: true, insist: true, id: p.id})
	if err != nil {
		s.log.Error("commit was not confirmed in time and cannot be taken back yet", "id", p.id, "err", err)
		s.timer = time.AfterFunc(retryRollback, func() { s.expire(p) })
		return
	}
	s.log.Warn("commit was not confirmed in time: rolled back", "id", p.id, "revision", next.Revision)
}

// appendHead begins the JSON of the member pending.
func (p *pending) appendHead(b []byte) []byte {
	b = append(b, `{"id":`...)
	b = tree.AppendString(b, p.id)
	return fmt.Appendf(b, `,"deadline":"%s"`, stamp(p.deadline))
}

// readWaiting reads what appendHead wrote.
func readWaiting(v *json5.Value) (*pending, error) {
	p := &pending{id: text(v, "id")}
	var err error
	if p.deadline, err = time.Parse(time.RFC3339Nano, text(v, "deadline")); err != nil {
		return nil, fmt.Errorf("deadline: %w", err)
	}
	return p, nil
}

// readPending reads the member pending of a state file.
func readPending(data []byte, file, v *json5.Value) (*pending, error) {
	p, err := readWaiting(v)
	if err != nil {
		return nil, err
	}
	previous := v.Get("previous")
	if previous == nil {
		return nil, fmt.Errorf("it has no member %q", "previous")
	}
	if digest := v.Get("digest"); digest != nil {
		// As written: the last member of pending, and the configuration follows.
		for i := range file.Members {
			if m := file.Members[i]; m.Name == "config" && m.Pos > previous.Pos {
				raw := data[previous.Pos : m.Pos-len(`},`)]
				if err := compareDigest(raw, digest.Text); err != nil {
					return nil, err
				}
			}
		}
	}
	c, cerr := load(data, previous)
	if cerr != nil {
		return nil, cerr
	}
	p.previous = c
	return p, nil
}
