// SPDX-License-Identifier: Apache-2.0

package config

import (
	"context"
	"time"
)

// Confirm makes a Set a commit that is taken back unless it is confirmed in time.
type Confirm struct {
	ID       string        // the client's; needed
	Rollback time.Duration // how long it waits; 0: DefaultRollback
}

// DefaultRollback is how long a commit waits to be confirmed where its client does not say.
const DefaultRollback = 10 * time.Minute

// Client is who asks for something.
type Client struct{ User, Address string }

// Confirm keeps the commit that waits.
func (s *Store) Confirm(ctx context.Context, id string, by Client) (Result, error) {
	return Result{}, failure(Unimplemented, "commit-confirmed is not implemented")
}

// Cancel takes the commit that waits back at once.
func (s *Store) Cancel(ctx context.Context, id string, by Client) (Result, error) {
	return Result{}, failure(Unimplemented, "commit-confirmed is not implemented")
}

// SetRollback lets the commit that waits be taken back after d from now.
func (s *Store) SetRollback(ctx context.Context, id string, d time.Duration, by Client) (Result, error) {
	return Result{}, failure(Unimplemented, "commit-confirmed is not implemented")
}
