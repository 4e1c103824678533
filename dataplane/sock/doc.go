// SPDX-License-Identifier: Apache-2.0

// Package sock makes the dataplane's sockets right, with every socket option in one place, and wraps the message calls
// that golang.org/x/sys/unix does not offer without allocation.
//
//	output ── connected UDP socket: bound to source and port, its interface fixed; receives nothing; ICMP errors come back as errno
//	point ─── UDP socket bound to group:port and device, with its memberships
//	arena ─── memory outside the Go heap, for what the kernel is given addresses of
//
// Nothing here knows of tables, workers or engines. Sockets are made in the network namespace of the calling thread;
// every other call works from any thread. Kernel files followed: net/ipv4/udp.c, net/ipv4/igmp.c, net/ipv4/ip_sockglue.c.
package sock
