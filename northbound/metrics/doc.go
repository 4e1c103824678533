// SPDX-License-Identifier: Apache-2.0

// Package metrics shows the state tree to Prometheus, from the leaves that gNMI serves.
//
//	telemetry.Tree ── Snapshot ──► Gatherer ──► promhttp ──► GET /metrics
//	                   Select        groups: Units by path ─► labels and families
//
// A scrape takes one snapshot, so that its event-driven values belong together, and reads the sampled leaves then. Nothing
// is kept between scrapes, and nobody pays while nobody scrapes. A leaf that is absent has no series: an output that never
// was up has no counters.
//
// Names follow Prometheus: base units, _total for counters, one prefix, "mcr_"; but for the figures of the process, which
// have the names that dashboards know (process_…, go_…). Series are bounded by what is configured: rules, outputs, egress
// interfaces and workers; what is learnt from the network is counted and not listed.
//
// A Gatherer may be used from any goroutine. A Server bounds connections, requests at a time and their duration, and a fault
// in a scrape ends that scrape alone.
package metrics
