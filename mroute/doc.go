// SPDX-License-Identifier: Apache-2.0

// Package mroute is the Router: it owns the MRIB, follows the host's interfaces, and drives the dataplane.
package mroute
