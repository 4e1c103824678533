// SPDX-License-Identifier: Apache-2.0

package dataplane

import "golang.org/x/sys/unix"

// backend moves datagrams for one worker, on its thread.
type backend interface {
	// wait lets all queued sends leave, sleeps until something came in or the worker's eventfd fired, and puts what was
	// received into the worker's queue. Failures of sends are told to worker.failed, also by send and flush.
	wait() error
	// pin, before the sends of a run, makes its data stay where it is until the kernel needs it no longer, so that the sends need
	// not copy it. It says false where that cannot be had now.
	pin(r *run) bool
	// send sends h to o, now or by the next flush or wait; ref, of refBits bits, goes back to worker.failed.
	send(ref uint64, o *output, h *unix.Msghdr)
	// flush returns when all queued sends have left and their failures were told.
	flush() error
	// more says that there was more than the latest wait brought, and that the next one brings it at once.
	more() bool
	// release gives a receive buffer back.
	release(buf uint16)

	// What follows happens between runs, when no send is queued.
	addPoints([]*point)
	removePoints([]*point) // they have no view any more, and receive nothing more
	addSockets(fds []int)
	removeSockets(fds []int)
	// stop ends receiving. What was received before is in the queue and its buffers stay valid until close.
	stop() error
	close()

	memory() uint64 // bytes
	rings() int
	features() []string // in use
}

// brokenAfter errors in a row, without a datagram between them, a receive point counts as broken.
const brokenAfter = 100
