// SPDX-License-Identifier: Apache-2.0

// Package gnmi is the gNMI service: Capabilities, Get, Set and Subscribe over gRPC.
//
//	client ──► admit ──► decode ──► Server ──┬─ Get, Subscribe ──► telemetry.Tree   one snapshot a Get, one Stream a client
//	           who,      codec               ├─ Set ─────────────► Store            one transaction a Set
//	           rights                        └─ calls ───────────► telemetry.Tree   who calls, and what became of it
//
// The service checks the form of a request (prefix, target, origin, encoding, deprecated fields, extensions), hands it on, and
// turns what comes back into gNMI. It knows no leaf: schema and values are telemetry's, validation is the store's. All
// configuration that it shows comes from the tree too, so that every RPC tells the same.
//
// A Server is safe for use by any goroutine. Each Subscribe runs in its handler, with one goroutine that reads and one that
// writes; a client that cannot be written to for Config.SlowClient is dropped. Everything that a client can make large has a
// bound, in Config or beside the code that meets it. Other services (Offer) are behind the same checks. gRPC codes are chosen
// in status.go alone. A panic ends the RPC it happened in and nothing else.
//
// It follows the gNMI specification 0.10, and gnmi.proto as compiled in. It never answers a field or an extension that it
// knows and does not implement with silence. gNOI is not served: its System.Time is /mcr/system/state/current-time, and a
// module of two dozen services, of which one would have a use, is no fair price for it.
package gnmi
