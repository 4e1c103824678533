// SPDX-License-Identifier: Apache-2.0

// Package stream sends numbered datagrams and judges what arrives of them. mcrgen is a command line around it; the
// tests' lab runs the same code inside the test process.
//
//	Sender ── datagrams: magic, stream, sequence, send time, CRC, filling ──► Sink ── Account ── Report
//
// Datagram: the smallest that carries all of the header is HeaderLen bytes; shorter ones carry as much of the header
// as fits, and an empty one carries nothing. They are counted as "short": they are received, but nobody can say whether one of
// them was doubled or overtaken, and they are missed only where the number to expect is known.
//
// Received: every datagram of ours, duplicates and short ones included. Corrupted: our magic, wrong checksum or cut.
// Foreign: anything else. Lost: what Report was told to expect, less what came once; or, if it was told nothing, the
// holes between the lowest and the highest number that came, less the short ones. Reordered: a number lower than one that came before.
//
// A Sender and a Sink belong to the network namespace of the thread that opened them and may be used from anywhere.
// Run belongs to one goroutine; everything else of a Sink may be called from any. It is a leaf: it imports nothing of
// MCR, so that what it measures cannot be bent by what it measures with.
package stream
