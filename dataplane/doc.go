// SPDX-License-Identifier: Apache-2.0

// Package dataplane receives datagrams and sends each of them on to many outputs.
//
//	          Prepare ── opens sockets, computes the difference       (control side)
//	             │
//	          Commit ──► adoption ──► janitor: closes what went        (janitor, after the worker)
//	                        │ eventfd
//	point ──► queue ──► run ──► route ──► lists ──► outputs            (worker, a locked OS thread)
//	receive              │                             │
//	socket        equal datagrams,            one segmented send per output and run
//	              one source, TTL, TOS
//
// A point is a receive socket, a run what one segmented send (UDP_SEGMENT) can carry, a list the outputs of one MRIB entry, a
// route the lists that datagrams of one source take. The back end moves the datagrams: uring (io_uring) or mmsg (epoll,
// recvmmsg, sendmsg). Grouping, fan-out, errors and counters are written once, above both.
//
// Who may call what: Prepare, Commit and Discard one at a time, from any goroutine; everything that reads, at any time
// from any goroutine. Reading never disturbs a worker: between adoptions a worker takes no lock at all. Sockets are made in
// the network namespace of the thread that calls Open and Prepare.
//
// What a worker does with its views, lists and outputs is written in its own fields; what the control side knows, in
// the control fields, under Engine.mu. They meet in the adoption alone: Prepare computes it, the worker applies it between
// two runs, when no send is under way.
//
// Counters are kept on the list: E, what was fanned out. An output has E minus its base, the E at which it came up, minus X,
// what was not sent. So a datagram to 10,000 healthy outputs moves two counters, and the sums are exact whenever nothing
// moves. While a run is under way an output that fails may show it as sent already.
//
// It never logs per datagram, allocates per datagram, or waits for an output.
package dataplane
