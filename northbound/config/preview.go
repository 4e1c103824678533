// SPDX-License-Identifier: Apache-2.0

package config

import (
	"context"
	"slices"
	"strings"

	"mcr/northbound/config/tree"
)

// LeafChange is how one leaf differs. Values are RFC 7951 JSON; empty: not configured, so that its default is in use if it
// has one.
type LeafChange struct{ Path, Old, New string }

// Preview is what a Set would do.
type Preview struct {
	Revision uint64       // in force now
	Changes  []LeafChange // ascending by path
}

// Validate says what Set would do with a request, or why it would refuse it, and changes nothing. What the request needs of
// the machine is made ready and given back. Errors are those of Set.
func (s *Store) Validate(ctx context.Context, req Request) (Preview, error) {
	changes := changesOf(req.Ops)
	if err := s.take(ctx); err != nil {
		return Preview{}, err
	}
	defer s.give()
	old := s.running.Load()
	is, err := s.candidate(old, req, changes)
	if err != nil {
		return Preview{}, err
	}
	out := Preview{Revision: old.Revision}
	if is.c == old.c {
		return out, nil
	}
	prepared, err := s.opts.Router.Prepare(ctx, is.c.config, false)
	if err != nil {
		return Preview{}, attributed(changes, prepareError(err))
	}
	prepared.Discard()
	tree.Diff(old.Tree, is.c.tree, is.edit, func(d tree.Difference) {
		out.Changes = append(out.Changes, LeafChange{d.Path(), d.Old(), d.New()})
	})
	slices.SortFunc(out.Changes, func(a, b LeafChange) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

// countLeaves counts the leaves that differ. e is what made now of old, or nil.
func countLeaves(old, now *compiled, e *tree.Edit) uint32 {
	var n uint32
	tree.Diff(old.tree, now.tree, e, func(tree.Difference) { n++ })
	return n
}
