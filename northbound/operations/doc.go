// SPDX-License-Identifier: Apache-2.0

// Package operations is the gRPC service mcr.v1.Operations: what an operator does to a running daemon and gNMI has no words for.
//
//	mcrctl ──► Server ──┬─ Clear, RevokeLease   nothing is learnt or leased yet: Unimplemented, by name
//	                    ├─ GetCommit ─────────► config.Store   a commit of the history
//	                    └─ Validate ──────────► gnmi.Server    a Set without the change
//
// It runs on gNMI's gRPC server, behind the same interceptors. Errors get their status where gNMI's do, so that a Validate is
// refused word for word like the Set.
package operations

//go:generate go run ./protogen mcr/v1/operations.proto
