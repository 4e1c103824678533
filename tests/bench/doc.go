// SPDX-License-Identifier: Apache-2.0

// Command bench measures replicators: one UDP datagram in, N copies out to N unicast destinations; see README.md.
//
//	src                      rtr                                     dst
//	hs0 10.8.0.1/24 ─────── hr0 10.8.0.2/24    hr1 10.10.0.1/24 ──── hd0 10.10.0.2/24, local 10.9.0.0/16
//	mcrgen send              the forwarder, pinned to a CPU          a BPF program counts and drops; or real sinks
//
//	suite.go   what make bench measures     job.go      runs that are compared       bench.go    the topology, and the rounds
//	run.go     one measured run             check.go    one judged run               snap.go     figures from /proc
//	count.go   the BPF program              syscalls.go perf events                  heap.go     mcrd's own heap
//	forwarders.go  what may be measured     peer/       the reference forwarders     lab.go      a comparison of one's own
//	speed.go   how fast the CPU is
//	store.go   runs on disk                 machine.go  on what they were made       stats.go    medians and ratios
//	targets.go the targets, judged          report.go   tables in docs               plot.go     the picture
package main
