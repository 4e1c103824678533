// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"encoding/binary"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"mcr/dataplane/sock"
)

// mmsg receives by epoll and recvmmsg, and sends by sendmsg with UDP_SEGMENT: for where io_uring is forbidden. It sends
// message by message instead of sendmmsg, which hides the errno of what it stops at; with segmented runs the calls saved
// would be few.
type mmsg struct {
	w      *worker
	mem    sock.Arena
	epoll  int
	events [64]unix.EpollEvent
	ready  int // events not yet looked at
	inbox  *inbox
	linger linger
	look   func() (bool, error)
}

func openMmsg(w *worker, buffers int) (_ *mmsg, err error) {
	b := &mmsg{w: w, epoll: -1, linger: newLinger(w.eventfd)}
	b.look = b.lookAgain
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.inbox, err = newInbox(&b.mem, buffers); err != nil {
		return nil, err
	}
	if b.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	return b, b.watch(w.eventfd)
}

func (b *mmsg) watch(fd int) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(b.epoll, unix.EPOLL_CTL_ADD, fd, &ev))
}

// wait is called with an empty queue, all buffers are free. Level-triggered: what found no buffer is told again, and
// epoll goes round among the ready.
func (b *mmsg) wait() error {
	b.inbox.used = 0
	if err := b.sleep(); err != nil {
		return err
	}
	if d := b.w.settings.coalesce; d > 0 && b.ready > 0 {
		// What came first stays where it is until the end of the first nap, so that all is received in one go.
		start := time.Now()
		if b.linger.nap(min(d, lingerStep)) {
			if enough, err := b.lookAgain(); enough || err != nil {
				return err
			}
			return b.linger.more(start, d, b.look)
		}
	}
	b.receive()
	return nil
}

// sleep returns when there is something to receive, or the eventfd fired.
func (b *mmsg) sleep() error {
	if d := b.w.settings.busyPoll; d > 0 {
		var err error
		if spin(d, func() bool { err = b.poll(0); return b.ready > 0 || err != nil }) {
			return err
		}
	}
	return b.poll(-1)
}

func (b *mmsg) poll(timeout int) (err error) {
	if b.ready, err = unix.EpollWait(b.epoll, b.events[:], timeout); err != nil {
		b.ready = 0
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("epoll_wait", err)
		}
	}
	return nil
}

// lookAgain receives what came meanwhile.
func (b *mmsg) lookAgain() (enough bool, err error) {
	if err := b.poll(0); err != nil {
		return false, err
	}
	b.receive()
	return b.w.enough() || b.inbox.full(), nil
}

func (b *mmsg) receive() {
	for _, ev := range b.events[:b.ready] {
		if int(ev.Fd) == b.w.eventfd {
			var word [8]byte
			unix.Read(b.w.eventfd, word[:]) //nolint:errcheck // EAGAIN: somebody was faster
			continue
		}
		if b.inbox.full() {
			continue
		}
		if pt := b.w.byFD[ev.Fd]; !b.inbox.receive(b.w, pt) {
			unix.EpollCtl(b.epoll, unix.EPOLL_CTL_DEL, pt.fd, nil) //nolint:errcheck // it is in there
		}
	}
	b.ready = 0
}

func (b *mmsg) send(ref uint64, o *output, h *unix.Msghdr) {
	if e := sock.Send(o.fd, h); e != 0 {
		b.w.failed(ref, e)
	}
}

func (b *mmsg) flush() error        { return nil }
func (b *mmsg) pin(*run) bool       { return false }
func (b *mmsg) more() bool          { return false } // a call receives as much as there are buffers
func (b *mmsg) release(uint16)      {}
func (b *mmsg) addSockets([]int)    {}
func (b *mmsg) removeSockets([]int) {}
func (b *mmsg) memory() uint64      { return b.mem.Size() }
func (b *mmsg) rings() int          { return 0 }
func (b *mmsg) features() []string  { return nil }
func (b *mmsg) stop() error         { return nil } // nothing is received between two waits

func (b *mmsg) addPoints(pts []*point) {
	for _, pt := range pts {
		if err := b.watch(pt.fd); err != nil && !errors.Is(err, unix.EEXIST) {
			b.w.broken(pt, err)
		}
	}
}

func (b *mmsg) removePoints(pts []*point) {
	for _, pt := range pts {
		unix.EpollCtl(b.epoll, unix.EPOLL_CTL_DEL, pt.fd, nil) //nolint:errcheck // a broken one was taken out before
	}
}

func (b *mmsg) close() {
	if b.epoll >= 0 {
		unix.Close(b.epoll)
		b.epoll = -1
	}
	b.mem.Free()
}

// arrival is one message as a back end received it.
type arrival struct {
	name, control, payload []byte
	truncated              bool
	buf                    uint16
}

// port is the sender's port out of it.
func (a *arrival) port() uint16 {
	if len(a.name) < 8 {
		return 0
	}
	return binary.BigEndian.Uint16(a.name[2:])
}

// source is the sender's address out of a struct sockaddr_in: family, port, address. 0 for anything else.
func (a *arrival) source() uint32 {
	if len(a.name) < 8 || binary.NativeEndian.Uint16(a.name) != unix.AF_INET {
		return 0
	}
	return binary.BigEndian.Uint32(a.name[4:])
}
