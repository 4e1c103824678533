// SPDX-License-Identifier: Apache-2.0

// Package telemetry keeps the leaves of a YANG data tree and serves subscriptions to them.
package telemetry
