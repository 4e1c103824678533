// SPDX-License-Identifier: Apache-2.0

// Command bench measures replicators: one UDP datagram in, N copies out to N unicast destinations; see README.md.
//
//	src                      rtr                                     dst
//	hs0 10.8.0.1/24 ─────── hr0 10.8.0.2/24    hr1 10.10.0.1/24 ──── hd0 10.10.0.2/24, local 10.9.0.0/16
//	mcrgen send              the forwarder, pinned to a CPU          a BPF program counts and drops; or real sinks
//
//	lab.go      flags, topology, the rounds        run.go    one measured run          check.go  one judged run
//	forwarders.go  what may be measured            table.go  the table                 count.go  the BPF program
//	fwd*.go, group.go, uring.go  the reference forwarders      proc.go  figures from /proc
package main
