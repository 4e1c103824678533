// SPDX-License-Identifier: Apache-2.0

package config

import "context"

// LeafChange is how one leaf differs. Values are RFC 7951 JSON; empty: not configured, so that its default is in use if it
// has one.
type LeafChange struct{ Path, Old, New string }

// Preview is what a Set would do.
type Preview struct {
	Revision uint64       // in force now
	Changes  []LeafChange // in the order of the tree
}

// Validate says what Set would do with the request, or why it would refuse it, and changes nothing.
func (s *Store) Validate(ctx context.Context, req Request) (Preview, error) {
	return Preview{}, failure(Unimplemented, "validation is not implemented")
}
