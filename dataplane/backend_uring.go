// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"slices"

	"golang.org/x/sys/unix"

	"mcr/dataplane/sock"
	"mcr/dataplane/uring"
)

// User data: the kind in the highest byte, below it the ref of a send or the descriptor of a point.
const (
	kindSend = (iota + 1) << 56
	kindReceive
	kindEvent
	kindCancel
	kindMask = 0xff << 56
)

// ringBackend moves datagrams by one io_uring: a multishot receive on each point into a ring of buffers, and one enter per run,
// the last of which also waits. A socket's slot in the table of registered files is its descriptor.
type ringBackend struct {
	w    *worker
	mem  sock.Arena
	ring *uring.Ring
	bufs *uring.BufferRing
	tmpl *unix.Msghdr
	word []byte // of the eventfd

	arm      []*point // whose receive is to be started
	armed    int      // receives under way
	watching bool     // a read of the eventfd is under way
	plain    bool     // registered files are not used any more
	given    bool     // buffers were put and not published
	err      error    // of an enter that nobody has been told of
}

func openRing(w *worker, c crew) (_ *ringBackend, err error) {
	b := &ringBackend{w: w}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.ring, err = uring.Open(c.ringEntries, 4*c.ringEntries); err != nil {
		return nil, err
	}
	if err = b.ring.RegisterFiles(min(w.e.files, uring.MaxFiles)); err != nil {
		return nil, err
	}
	if b.bufs, err = b.ring.NewBufferRing(&b.mem, 0, c.buffers, bufferSize); err != nil {
		return nil, err
	}
	tmpl, err := sock.Make[unix.Msghdr](&b.mem, 1)
	if err != nil {
		return nil, err
	}
	b.tmpl = &tmpl[0]
	b.tmpl.Namelen, b.tmpl.Controllen = nameSpace, sock.ReceiveSpace
	b.word, err = b.mem.Bytes(8)
	return b, err
}

// entry returns a free submission entry; nil only after an error that wait or flush will tell.
func (b *ringBackend) entry() *uring.SQE {
	for b.err == nil {
		if e := b.ring.SQE(); e != nil {
			return e
		}
		if b.err = b.ring.Submit(); b.err == nil {
			b.reap()
		}
	}
	return nil
}

// fixed says that fd is in its slot of the table of registered files.
func (b *ringBackend) fixed(fd int32) bool { return !b.plain && int(fd) < b.ring.Files() }

func (b *ringBackend) send(ref uint64, fd int32, h *unix.Msghdr) {
	if e := b.entry(); e != nil {
		e.Sendmsg(fd, b.fixed(fd), h)
		e.UserData = kindSend | ref
	}
}

// flush submits until the kernel took all. Sends cannot block, so that they are done then.
func (b *ringBackend) flush() error {
	for b.err == nil && !b.ring.Idle() {
		if b.err = b.ring.Submit(); b.err == nil {
			b.reap()
		}
	}
	b.reap()
	return b.err
}

func (b *ringBackend) wait() error {
	b.start() // which may find something: a receive that starts takes what is there
	if b.err == nil && b.w.queue.empty() {
		b.err = b.ring.Wait()
	}
	return b.flush()
}

// start gives the free buffers to the kernel, and starts receives that ended or are new.
func (b *ringBackend) start() {
	if b.given {
		b.bufs.Publish()
		b.given = false
	}
	for _, pt := range b.arm {
		if pt.armed {
			continue
		}
		if e := b.entry(); e != nil {
			e.RecvMultishot(int32(pt.fd), b.fixed(int32(pt.fd)), b.tmpl, b.bufs.Group())
			e.UserData = kindReceive | uint64(pt.fd)
			pt.armed = true
			b.armed++
		}
	}
	b.arm = b.arm[:0]
	if !b.watching {
		if e := b.entry(); e != nil {
			e.Read(int32(b.w.eventfd), b.word)
			e.UserData = kindEvent
			b.watching = true
		}
	}
}

// reap takes all completions.
func (b *ringBackend) reap() {
	for c, ok := b.ring.Next(); ok; c, ok = b.ring.Next() {
		switch c.UserData & kindMask {
		case kindSend: // only failures complete
			b.w.failed(c.UserData&^kindMask, unix.Errno(-c.Res))
		case kindReceive:
			b.receive(b.w.byFD[uint32(c.UserData)], c)
		case kindEvent:
			b.watching = false
		}
	}
}

// receive takes one completion of a receive. Where it has ended it is started again, whatever the reason: out of buffers,
// a datagram of 0 bytes, an error.
func (b *ringBackend) receive(pt *point, c uring.CQE) {
	if !c.More() {
		pt.armed = false
		b.armed--
		b.arm = append(b.arm, pt)
	}
	if bid, ok := c.Buffer(); ok {
		m, ok := uring.ParseReceived(b.bufs.Buffer(bid), int(c.Res), b.tmpl)
		b.w.received(pt, arrival{name: m.Name, control: m.Control, payload: m.Payload, truncated: m.Truncated || !ok, buf: bid})
		return
	}
	switch e := unix.Errno(-c.Res); e {
	case unix.ENOBUFS:
		b.w.stats.noBuffer.Add(1)
	case unix.ECANCELED, 0:
	default:
		if pt.errors++; pt.errors >= brokenAfter {
			b.arm = slices.DeleteFunc(b.arm, func(p *point) bool { return p == pt })
			b.w.broken(pt, e)
		}
	}
}

func (b *ringBackend) release(buf uint16) {
	b.bufs.Put(buf)
	b.given = true
}

func (b *ringBackend) addPoints(pts []*point) {
	fds := make([]int, len(pts))
	for i, pt := range pts {
		fds[i] = pt.fd
	}
	b.addSockets(fds)
	b.arm = append(b.arm, pts...)
}

// removePoints ends the receives: while one is under way the group stays joined, even after the socket was closed.
func (b *ringBackend) removePoints(pts []*point) {
	if len(pts) == 0 {
		return
	}
	b.end(pts)
	b.arm = slices.DeleteFunc(b.arm, func(pt *point) bool { return pt.view == nil })
	fds := make([]int, len(pts))
	for i, pt := range pts {
		fds[i] = pt.fd
	}
	b.removeSockets(fds)
}

// end cancels the receives of pts and waits until they have ended.
func (b *ringBackend) end(pts []*point) {
	for _, pt := range pts {
		if !pt.armed {
			continue
		}
		if e := b.entry(); e != nil {
			e.Cancel(kindReceive | uint64(pt.fd))
			e.UserData = kindCancel
		}
	}
	armed := func(pt *point) bool { return pt.armed }
	for b.flush() == nil && slices.ContainsFunc(pts, armed) {
		b.err = b.ring.Wait()
	}
}

func (b *ringBackend) addSockets(fds []int) {
	if !b.plain {
		b.setSlots(fds, func(fd int) int32 { return int32(fd) })
	}
}

// removeSockets empties slots that were filled before the table was given up, too: a file in a slot stays open.
func (b *ringBackend) removeSockets(fds []int) { b.setSlots(fds, func(int) int32 { return -1 }) }

// setSlots updates the table of registered files, one call for neighbouring slots.
func (b *ringBackend) setSlots(fds []int, value func(int) int32) {
	fds = slices.DeleteFunc(slices.Sorted(slices.Values(fds)), func(fd int) bool { return fd >= b.ring.Files() })
	for len(fds) > 0 {
		n := 1
		for n < len(fds) && fds[n] == fds[0]+n {
			n++
		}
		slots := make([]int32, n)
		for i := range slots {
			slots[i] = value(fds[i])
		}
		if err := b.ring.UpdateFiles(fds[0], slots); err != nil { // no memory: dearer, but it goes on
			b.plain = true
			b.w.e.log.Warn("registered files given up", "err", err)
		}
		fds = fds[n:]
	}
}

// stop ends all receives. What they received is in the worker's queue.
func (b *ringBackend) stop() error {
	b.end(b.w.receiving())
	b.arm = b.arm[:0]
	return b.err
}

// close lets what is queued leave, and ends the read of the eventfd as well: closing a ring cancels later than it returns,
// and the read could swallow a wake-up that is meant for the next back end.
func (b *ringBackend) close() {
	if b.ring != nil {
		if err := b.quiet(); err != nil {
			b.w.e.log.Warn("io_uring closed with requests under way", "err", err)
		}
		b.w.stats.overflows.Add(uint64(b.ring.Overflows()))
		b.ring.Close()
	}
	b.mem.Free()
}

func (b *ringBackend) quiet() error {
	if b.armed > 0 {
		b.end(b.w.receiving())
	}
	if b.watching {
		if e := b.entry(); e != nil {
			e.Cancel(kindEvent)
			e.UserData = kindCancel
		}
	}
	for b.flush() == nil && b.watching {
		b.err = b.ring.Wait()
	}
	return b.err
}

func (b *ringBackend) memory() uint64 { return b.mem.Size() + b.ring.Size() }
func (b *ringBackend) rings() int     { return 1 }
