// SPDX-License-Identifier: Apache-2.0

// Package dataplane receives datagrams and sends each of them on to many outputs.
//
//	          Prepare ── opens sockets, computes the difference       (control side)
//	             │
//	          Commit ──► adoption ──► janitor: closes what went        (janitor, after the workers)
//	                        │ a share for each shard, eventfd
//	point ──► queue ──► run ──► route ──► lists ──► outputs            (worker, a locked OS thread)
//	receive              │                             │
//	socket        equal datagrams,            one segmented send per output and run
//	              one source, TTL, TOS
//
// A point is a receive socket, a run what one segmented send (UDP_SEGMENT) can carry, a list the outputs of one MRIB entry, a
// route the lists that datagrams of one source take. The back end moves the datagrams: uring (io_uring) or mmsg (epoll,
// recvmmsg, sendmsg). Grouping, fan-out, errors and counters are written once, above both.
//
// There are as many shards as CPUs that may be used. An output is on one of them for life. An input (inlet) has a point on each
// shard that has outputs of its lists; these twins receive everything alike, and nothing passes between shards. A worker
// serves one or more whole shards. Other workers (another number, engine, size) take the shards over, sockets and all, while
// what arrives waits in the sockets.
//
// An inlet with port 0 is a port learner: it finds the ports of its group that no point receives, tells them (plan.Event), and
// keeps what comes to them until a Plan has points for them. See handOver.
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
// moves. E is kept by shard; what a list itself has received is what the primary points of its inputs brought. While a run is
// under way an output that fails may show it as sent already.
//
// It never logs per datagram, allocates per datagram, or waits for an output.
package dataplane
