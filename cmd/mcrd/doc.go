// SPDX-License-Identifier: Apache-2.0

// Command mcrd is the MCR daemon: it puts the parts together and runs them until a signal ends it.
//
//	dataplane.Engine ◄── mroute.Router ◄── config.Store ◄── gnmi.Server ◄── listeners
//	                       ▲      └──► state.Publisher ──► telemetry.Tree ──────┘
//	                  netif.Monitor
//
// There is no logic here: flags, wiring, signals.
package main
