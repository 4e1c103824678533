// SPDX-License-Identifier: Apache-2.0

package gnmi

import (
	"context"

	"mcr/northbound/config"
)

// Store is what a Set needs of the configuration store.
type Store interface {
	// Set applies the operations, all or none. It returns after the result is durable, handed on and visible in the
	// telemetry tree. A refusal is a *config.Error.
	Set(ctx context.Context, r config.Request) (config.Result, error)
}
