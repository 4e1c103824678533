// SPDX-License-Identifier: Apache-2.0

// Package uring is a small io_uring binding, only what a UDP replicator needs. No cgo; it knows nothing of multicast.
//
//	SQE() … SQE() ─► Submit or Wait ─► kernel ─► Next() … Next()
//	Buffers: the kernel takes a buffer per received datagram; Put and Publish give it back
//
// With SINGLE_ISSUER and DEFER_TASKRUN every call on a Ring must come from the thread that opened it: its owner runs under
// runtime.LockOSThread for the life of the ring. Nothing is safe for use by several goroutines at once.
//
// Required are one mmap for both rings (FEAT_SINGLE_MMAP, Linux 5.4) and that no completion is lost (FEAT_NODROP, 5.5). All else is a
// Feature, found out by trying (Probe), and whoever uses a ring has something to do where it is missing:
//
//	RegisteredFiles  5.5   descriptors are looked up for each request
//	TimedWait        5.11  a wait for more is a nap of its own
//	CQESkip          5.17  successes complete, too, and are thrown away
//	SubmitAll        5.18  an entry that is refused ends a submission; the rest goes with the next
//	CoopTaskrun      5.19  completions interrupt the thread
//	BufferRing       5.19  then Multishot is missing, too
//	Multishot        6.0   polls tell of what came, recvmmsg receives it
//	SingleIssuer     6.0   then DeferTaskrun is missing, too
//	DeferTaskrun     6.1   completions are made when the kernel likes
//	ZeroCopy         6.1   sends copy
//	ZeroCopyReport   6.2   nobody knows whether zero copy pays: it is used where it is asked for
//	NoSQArray        6.6   an array of indices is filled once
//	ZeroCopyFixed    6.15  pages are pinned for each send
//
// So Debian 11 (5.10) and Ubuntu 22.04 (5.15) have little of it; Debian 12 (6.1) has all that matters.
// Kernel header: include/uapi/linux/io_uring.h.
package uring
