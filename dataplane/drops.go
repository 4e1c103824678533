// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"sync"

	"mcr/dataplane/plan"
	"mcr/dataplane/sock"
)

// drops tells apart why a UDP socket lost datagrams. The kernel counts all reasons as one (sk_drops): a full queue, and a
// wrong checksum where the datagram is so long that it is verified when it is read (CHECKSUM_BREAK, 76 bytes; shorter ones
// are dropped before a socket is found). But a full queue counts in the namespace too, as RcvbufErrors. So what a socket lost while the
// namespace counted none was damaged. Where both happened between two looks it is taken for a full queue.
type drops struct {
	mu                sync.Mutex // guards what follows. Leaf lock; the worker does not take it
	seen              uint32     // drops of the socket at the latest look
	full              uint64     // RcvbufErrors of the namespace, as far as they are laid to this socket or to none
	overrun, checksum uint64
}

// look takes in the drops of the socket as they are now, and returns both sums. full is called after the drops were read, because a
// full queue counts at the socket first, and only if there are new ones, because it costs a little; recent is what it
// returned when it was last called for whatever socket.
func (d *drops) look(now uint32, recent uint64, full func() uint64) (overrun, checksum uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now == d.seen {
		d.full = recent
		return d.overrun, d.checksum
	}
	if now < d.seen { // another socket
		d.seen = 0
	}
	lost, all := uint64(now-d.seen), full()
	overran := min(lost, all-min(d.full, all))
	d.overrun += overran
	d.checksum += lost - overran
	d.seen, d.full = now, d.full+overran // the rest may be this socket's next ones, of which all tells already
	return d.overrun, d.checksum
}

// lost returns what the sockets of an inlet lost for want of room, and for a wrong checksum. A damaged datagram comes to each of its
// points, so that one speaks for all; a full queue is each one's own, and what it loses the outputs of its shard miss.
func (e *Engine) lost(in *inlet) (overrun, checksum uint64) {
	overrun = in.overrun
	for _, pt := range in.points {
		o, c := e.lostBy(pt)
		overrun += o
		if pt.primary {
			checksum = c
		}
	}
	return overrun, checksum
}

func (e *Engine) lostBy(pt *point) (overrun, checksum uint64) {
	if pt.fd < 0 {
		return 0, 0
	}
	if pt.method == plan.MethodPacket { // which verifies nothing, and does not count in what the namespace tells
		return uint64(sock.Drops(pt.fd)), 0
	}
	return pt.drops.look(sock.Drops(pt.fd), e.queueFull.Load(), func() uint64 {
		e.checksumErrors()
		return e.queueFull.Load()
	})
}
