// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"mcr/dataplane/sock"
	"mcr/dataplane/uring"
)

// User data: the kind in the highest byte, below it the ref of a send or the descriptor of a point. Between them a zero-copy send has what its
// notification needs.
const (
	kindSend = (iota + 1) << 56
	kindZeroCopy
	kindReceive
	kindEvent
	kindCancel
	kindMask = 0xff << 56
)

// ringBackend moves datagrams by one io_uring: a multishot receive on each point into a ring of buffers, and one enter per run,
// the last of which also waits. A socket's slot in the table of registered files is its descriptor.
//
// Each feature of the ring may be missing. Without multishot receives or without the ring of buffers (one is no use without the
// other), the ring tells which points have something, by polls, and recvmmsg receives it.
type ringBackend struct {
	w      *worker
	mem    sock.Arena
	ring   *uring.Ring
	has    uring.Feature
	bufs   *uring.Buffers
	tmpl   *unix.Msghdr
	word   []byte // of the eventfd
	linger linger
	look   func() (bool, error)
	quiet  bool // only failures of sends complete

	arm      []*point // whose receive is to be started
	armed    int      // receives under way
	watching bool     // a read of the eventfd is under way
	plain    bool     // registered files are not used any more
	given    bool     // buffers were put and not published
	queued   int      // sends since the last system call that did some
	goesOn   bool     // a receive has more, and waits for the next call
	err      error    // of an enter that nobody has been told of

	inbox *inbox   // where polls tell of what came; nil: multishot receives bring it
	ready []*point // of them, those that have something

	zc zeroCopy
}

func openRing(w *worker, c crew) (_ *ringBackend, err error) {
	b := &ringBackend{w: w, has: w.e.support.Has, linger: newLinger(w.eventfd)}
	b.look = b.lookAgain
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.ring, err = uring.Open(c.ringEntries, 4*c.ringEntries, uring.AllFeatures&^b.has); err != nil {
		return nil, err
	}
	b.quiet = b.ring.Has(uring.CQESkip)
	b.registerFiles()
	if b.word, err = b.mem.Bytes(8); err != nil {
		return nil, err
	}
	if !b.has.Has(uring.Multishot) {
		b.inbox, err = newInbox(&b.mem, c.buffers)
		return b, err
	}
	if b.bufs, err = b.ring.NewBuffers(&b.mem, 0, c.buffers, bufferSize); err != nil {
		return nil, err
	}
	tmpl, err := sock.Make[unix.Msghdr](&b.mem, 1)
	if err != nil {
		return nil, err
	}
	b.tmpl = &tmpl[0]
	b.tmpl.Namelen, b.tmpl.Controllen = nameSpace, sock.ReceiveSpace
	return b, nil
}

// registerFiles makes the table of registered files, as long as it may be. Descriptors beyond it are used plainly.
func (b *ringBackend) registerFiles() {
	b.plain = true
	if !b.has.Has(uring.RegisteredFiles) {
		return
	}
	n := min(b.w.e.files, uring.MaxFiles)
	err := b.ring.RegisterFiles(n)
	if err != nil {
		err = b.ring.RegisterFiles(min(n, uring.OldMaxFiles))
	}
	if err != nil {
		b.w.e.log.Warn("without registered files", "err", err)
	}
	b.plain = err != nil
}

// features names what is in use.
func (b *ringBackend) features() []string {
	used := b.has
	if b.plain {
		used &^= uring.RegisteredFiles
	}
	if b.inbox != nil {
		used &^= uring.BufferRing
	}
	if !b.zeroCopies() {
		used &^= uring.ZeroCopy | uring.ZeroCopyReport | uring.ZeroCopyFixed
	}
	names := []string{"io-uring"}
	used.Features(func(_ uring.Feature, name string) { names = append(names, name) })
	return names
}

// gulp is how many sends one system call does at most: with workers on all CPUs and calls of 4,096 sends, other threads, the collector's
// among them, waited for a CPU for up to 354 ms (Linux 6.18), and the world stood still as long. With so few that they bring a tenth of the
// datagrams, samples of ten thousand outputs come a third earlier while more is to be sent than can, and each copy costs a seventh more.
const gulp = 128

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

func (b *ringBackend) send(ref uint64, o *output, h *unix.Msghdr) {
	if b.queued++; b.queued > gulp && b.err == nil {
		b.queued = 1
		if b.err = b.ring.Submit(); b.err == nil {
			b.reap()
		}
	}
	e := b.entry()
	if e == nil {
		return
	}
	if b.w.run.pinned && !single(ref) && b.sendZeroCopy(e, ref, o, h) {
		return
	}
	if h.Iovlen == 1 && h.Control == nil { // a twentieth cheaper
		e.Send(o.fd, b.fixed(o.fd), b.quiet, h.Iov)
	} else {
		e.Sendmsg(o.fd, b.fixed(o.fd), b.quiet, h)
	}
	e.UserData = kindSend | ref
}

// flush submits until the kernel took all. Sends cannot block, so that they are done then.
func (b *ringBackend) flush() error {
	b.queued = 0
	for b.err == nil && !b.ring.Idle() {
		if b.w.run.pinned || b.ring.Pending() {
			b.err = b.ring.Peek() // what came meanwhile fills up the next run; notifications
		} else {
			b.err = b.ring.Submit()
		}
		if b.err == nil {
			b.reap()
		}
	}
	b.reap()
	return b.err
}

// fill takes more of what is there already, since a run that is half as long costs almost as much as a whole one. The kernel hands
// out so many datagrams of a receive at a time (MULTISHOT_MAX_RETRY, io_uring/net.c), and queues the receive again behind what else is
// to be completed; where fewer came the socket was empty, and what has come since then is not worth a system call. A call completes some
// 20 (IO_LOCAL_TW_DEFAULT_MAX, io_uring/io_uring.c), notifications of zero copy among them, so that one which brings no datagram says
// nothing of the receive. One that brings nothing at all is the end, since Pending alone may stay true: the kernel sets
// IORING_SQ_TASKRUN after it has queued the work, which may have been done by then (io_req_local_work_add).
func (b *ringBackend) fill() error {
	const handedOut = 32
	q := &b.w.queue
	b.goesOn = b.inbox == nil && (b.goesOn || q.tail-q.mid >= handedOut)
	for b.goesOn && b.err == nil && !b.w.enough() {
		tail := q.tail
		if b.goesOn = b.ring.Pending(); b.goesOn {
			b.err = b.ring.Peek()
			completed := b.reap()
			came := q.tail - tail
			b.goesOn = came >= handedOut || came == 0 && completed
		}
	}
	return b.flush()
}

func (b *ringBackend) more() bool { return b.goesOn }

func (b *ringBackend) wait() error {
	news := !b.watching // the eventfd fired since the last wait, and the worker may not have looked what for
	b.start()           // which may find something: a receive that starts takes what is there
	if b.err == nil && b.w.queue.empty() && len(b.ready) == 0 && !news {
		b.err = b.sleep()
	}
	if err := b.flush(); err != nil {
		return err
	}
	if err := b.fill(); err != nil {
		return err
	}
	b.fetch()
	if d := b.w.settings.coalesce; d > 0 && !news {
		return b.gather(time.Now(), d)
	}
	return nil
}

// gather waits until d has passed since start for more of what came, as long as that is not enough, and the eventfd does not fire.
func (b *ringBackend) gather(start time.Time, d time.Duration) error {
	if !b.ring.Has(uring.TimedWait) && !b.w.queue.empty() && !b.w.enough() && b.watching {
		return b.linger.more(start, d, b.look)
	}
	for b.err == nil && !b.w.queue.empty() && !b.w.enough() && b.watching {
		rest := d - time.Since(start)
		if rest <= 0 {
			break
		}
		b.start()
		if b.err == nil {
			b.err = b.ring.WaitFor(lingerEnough, min(rest, lingerStep))
		}
		if _, err := b.takeMore(); err != nil {
			return err
		}
	}
	return b.err
}

// sleep hands over what is queued, and returns when something came.
func (b *ringBackend) sleep() error {
	if d := b.w.settings.busyPoll; d > 0 {
		err := b.ring.Peek()
		if err == nil && !b.ring.Completed() {
			spin(d, func() bool {
				if b.ring.Pending() { // in vain, perhaps
					err = b.ring.Peek()
				}
				return err != nil || b.ring.Completed()
			})
		}
		if err != nil || b.ring.Completed() {
			return err
		}
	}
	return b.ring.Wait()
}

// lookAgain takes what came meanwhile.
func (b *ringBackend) lookAgain() (enough bool, err error) {
	b.start()
	if b.err == nil {
		b.err = b.ring.Peek()
	}
	return b.takeMore()
}

// takeMore takes what was completed.
func (b *ringBackend) takeMore() (enough bool, err error) {
	if err := b.fill(); err != nil {
		return false, err
	}
	b.fetch()
	return b.w.enough() || !b.watching, nil
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
			fd := int32(pt.fd)
			if b.inbox != nil {
				e.PollIn(fd, b.fixed(fd))
			} else {
				e.RecvMultishot(fd, b.fixed(fd), b.tmpl, b.bufs.Group())
			}
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

// reap takes all completions, and says whether there were any.
func (b *ringBackend) reap() (some bool) {
	for c, ok := b.ring.Next(); ok; c, ok = b.ring.Next() {
		some = true
		switch c.UserData & kindMask {
		case kindSend:
			if c.Res < 0 {
				b.w.failed(c.UserData&^kindMask, unix.Errno(-c.Res))
			}
		case kindZeroCopy:
			b.zeroCopied(c)
		case kindReceive:
			if pt := b.w.byFD[uint32(c.UserData)]; b.inbox != nil {
				b.polled(pt, c)
			} else {
				b.receive(pt, c)
			}
		case kindEvent:
			b.watching = false
		}
	}
	return some
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
		b.stumbles(pt, e)
	}
}

func (b *ringBackend) stumbles(pt *point, e unix.Errno) {
	if pt.receiveFailed(e) {
		b.arm = slices.DeleteFunc(b.arm, func(p *point) bool { return p == pt })
		b.w.broken(pt, e)
	}
}

// polled takes the completion of a poll.
func (b *ringBackend) polled(pt *point, c uring.CQE) {
	pt.armed = false
	b.armed--
	switch {
	case c.Res > 0:
		b.ready = append(b.ready, pt)
	case unix.Errno(-c.Res) == unix.ECANCELED:
		b.arm = append(b.arm, pt)
	default:
		b.arm = append(b.arm, pt)
		b.stumbles(pt, unix.Errno(-c.Res))
	}
}

// fetch receives what polls told of, and polls these points again. No send is under way, so that all buffers are free but those
// of what waits in the queue.
func (b *ringBackend) fetch() {
	if len(b.ready) == 0 {
		return
	}
	b.w.released()
	if b.w.queue.empty() {
		b.inbox.used = 0
	}
	n := 0
	for ; n < len(b.ready) && !b.inbox.full(); n++ {
		if pt := b.ready[n]; b.inbox.receive(b.w, pt) {
			b.arm = append(b.arm, pt)
		}
	}
	b.ready = slices.Delete(b.ready, 0, n)
}

func (b *ringBackend) release(buf uint16) {
	if b.bufs != nil {
		b.bufs.Put(buf)
		b.given = true
	}
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
	gone := func(pt *point) bool { return slices.Contains(pts, pt) }
	b.arm, b.ready = slices.DeleteFunc(b.arm, gone), slices.DeleteFunc(b.ready, gone)
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
	b.arm, b.ready = b.arm[:0], b.ready[:0]
	return b.err
}

// close lets what is queued leave, and ends the read of the eventfd as well: closing a ring cancels later than it returns,
// and the read could swallow a wake-up that is meant for the next back end.
func (b *ringBackend) close() {
	if b.ring != nil {
		if err := b.hush(); err != nil {
			b.w.e.log.Warn("io_uring closed with requests under way", "err", err)
		}
		b.w.stats.overflows.Add(uint64(b.ring.Overflows()))
		b.ring.Close()
	}
	b.mem.Free()
}

func (b *ringBackend) hush() error {
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
