// SPDX-License-Identifier: Apache-2.0

package gnmi

import (
	"context"
	"time"

	"mcr/northbound/config"
)

// Store is what a Set needs of the configuration store. A refusal is a *config.Error.
type Store interface {
	// Set applies the operations, all or none. It returns after the result is durable, handed on and visible in the
	// telemetry tree.
	Set(ctx context.Context, r config.Request) (config.Result, error)
	// Validate says what Set would do, or refuses as it would.
	Validate(ctx context.Context, r config.Request) (config.Preview, error)

	// Running returns the running configuration.
	Running() *config.Snapshot

	// Confirm, Cancel and SetRollback are about the commit with this id that waits to be confirmed.
	Confirm(ctx context.Context, id string, by config.Client) (config.Result, error)
	Cancel(ctx context.Context, id string, by config.Client) (config.Result, error)
	SetRollback(ctx context.Context, id string, d time.Duration, by config.Client) (config.Result, error)
}
