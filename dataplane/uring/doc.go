// SPDX-License-Identifier: Apache-2.0

// Package uring is a small io_uring binding, only what a UDP replicator needs. No cgo; it knows nothing of multicast.
//
//	SQE() … SQE() ─► Submit or Wait ─► kernel ─► Next() … Next()
//	BufferRing: the kernel takes a buffer per received datagram; Put and Publish give it back
//
// With SINGLE_ISSUER and DEFER_TASKRUN every call on a Ring must come from the thread that opened it: its owner runs under
// runtime.LockOSThread for the life of the ring. Nothing is safe for use by several goroutines at once.
//
// What is used, and the kernel that has it first; it is found out by trying (Probe):
//
//	one mmap for both rings (FEAT_SINGLE_MMAP)      5.4   required
//	lost completions never (FEAT_NODROP)            5.5   required
//	no completion of a success (FEAT_CQE_SKIP)      5.17  required
//	SETUP_SUBMIT_ALL                                5.18  left out if refused
//	SETUP_COOP_TASKRUN, TASKRUN_FLAG                5.19  left out if refused
//	ring of provided buffers (REGISTER_PBUF_RING)   5.19  required
//	multishot RECVMSG                               6.0   required
//	SETUP_SINGLE_ISSUER                             6.0   left out if refused
//	SETUP_DEFER_TASKRUN                             6.1   left out if refused
//	SETUP_NO_SQARRAY                                6.6   left out if refused
//
// So Debian 11 (5.10) and Ubuntu 22.04 (5.15) have too little; Debian 12 (6.1) has all but the last.
// Kernel header: include/uapi/linux/io_uring.h.
package uring
