// SPDX-License-Identifier: Apache-2.0

// Command mcrgen sends numbered datagrams to a group and, at the other end, says what became of them.
//
//	mcrgen sink --listen 10.2.0.5:5000 --count 1000 --idle 5s -o json
//	mcrgen send --interface eth0 --group 239.1.1.1 --port 5000 --size 1316 --rate 1000 --count 1000
//
// The words of the report are defined in package stream. The sink says "listening" on standard error when it does, and
// ends when --count datagrams have come, when nothing has come for --idle, or at SIGINT or SIGTERM; the report comes in any case.
// Exit codes: 0 done, and all well if --count was given; 1 otherwise; 2 wrong usage.
package main
