// SPDX-License-Identifier: Apache-2.0

// Package mrib is the multicast routing information base: it turns static rules, and later the claims of protocols,
// into entries with outputs, and these into the dataplane's Plan. It is pure: no socket, no clock, no goroutine.
package mrib
