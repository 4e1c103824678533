// SPDX-License-Identifier: Apache-2.0

// Package peer holds the forwarders that mcrd is measured against: one UDP group in, N unicast copies out, and no more.
//
//	naive         net.UDPConn, WriteToUDP in a loop                                                      naive.go
//	sendmmsg      recvmmsg of up to 64, one sendmmsg of the batch for each output                        mmsg.go
//	gso           the same, the batch grouped into super-datagrams (UDP_SEGMENT)                         mmsg.go
//	threads       MCR's older design: AF_PACKET receive, a copy, io_uring with one SEND for each output  threads.go
//	uring         one ring, multishot receive, one SENDMSG for each output and datagram                  uring.go
//	uring-gso     the same, grouped                                                                      uring.go
//	uring-gso-zc  uring-gso with SENDMSG_ZC from one contiguous copy of each run                         uring.go
//
// They stay apart from mcrd's dataplane on purpose: what is measured against must not change with it. They are simple and get no
// handicap: the same socket buffers as mcrd's defaults, connected sockets with a cached route, the same limits of a run. A peer may
// stop at the first error of its set-up: Run turns the panic of must into an error.
package peer
