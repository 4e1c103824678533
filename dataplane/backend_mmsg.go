// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"encoding/binary"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"mcr/dataplane/sock"
)

const (
	bufferSize = 66048 // a message is up to 64 KiB (UDP_GRO), with room before it; untouched pages cost nothing
	nameSpace  = 16    // sizeof(struct sockaddr_in)
)

// mmsg receives by epoll and recvmmsg, and sends by sendmsg with UDP_SEGMENT: for where io_uring is forbidden. It sends
// message by message instead of sendmmsg, which hides the errno of what it stops at; with segmented runs the calls saved
// would be few.
type mmsg struct {
	w      *worker
	mem    sock.Arena
	epoll  int
	events [64]unix.EpollEvent
	msgs   []sock.Message
	iov    []unix.Iovec
	bufs   []byte
	names  []byte
	ctl    []byte
}

func openMmsg(w *worker, buffers int) (_ *mmsg, err error) {
	b := &mmsg{w: w, epoll: -1}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.msgs, err = sock.Make[sock.Message](&b.mem, buffers); err != nil {
		return nil, err
	}
	if b.iov, err = sock.Make[unix.Iovec](&b.mem, buffers); err != nil {
		return nil, err
	}
	for _, m := range []struct {
		into *[]byte
		size int
	}{{&b.bufs, bufferSize}, {&b.names, nameSpace}, {&b.ctl, sock.ReceiveSpace}} {
		if *m.into, err = b.mem.Bytes(buffers * m.size); err != nil {
			return nil, err
		}
	}
	for i := range b.iov {
		b.iov[i] = unix.Iovec{Base: &b.bufs[i*bufferSize], Len: bufferSize}
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
	n, err := unix.EpollWait(b.epoll, b.events[:], -1)
	if err != nil {
		if errors.Is(err, unix.EINTR) {
			return nil
		}
		return os.NewSyscallError("epoll_wait", err)
	}
	used := 0
	for _, ev := range b.events[:n] {
		if int(ev.Fd) == b.w.eventfd {
			var word [8]byte
			unix.Read(b.w.eventfd, word[:]) //nolint:errcheck // EAGAIN: somebody was faster
			continue
		}
		if used < len(b.msgs) {
			used += b.receive(b.w.byFD[ev.Fd], used)
		}
	}
	return nil
}

// receive takes what waits in pt into the buffers from first on, and returns how many it used.
func (b *mmsg) receive(pt *point, first int) int {
	ms := b.msgs[first:min(len(b.msgs), first+maxSegments)]
	for i := range ms {
		k := first + i
		ms[i].Hdr = unix.Msghdr{
			Name: &b.names[k*nameSpace], Namelen: nameSpace, Iov: &b.iov[k], Iovlen: 1,
			Control: &b.ctl[k*sock.ReceiveSpace], Controllen: sock.ReceiveSpace,
		}
	}
	n, e := sock.Receive(int32(pt.fd), ms)
	if e != 0 && e != unix.EAGAIN {
		if pt.errors++; pt.errors >= brokenAfter {
			unix.EpollCtl(b.epoll, unix.EPOLL_CTL_DEL, pt.fd, nil) //nolint:errcheck // it is in there
			b.w.broken(pt, e)
		}
	}
	for i := range ms[:n] {
		k := first + i
		h := &ms[i].Hdr
		b.w.received(pt, arrival{
			name:      b.names[k*nameSpace:][:nameSpace],
			control:   b.ctl[k*sock.ReceiveSpace:][:min(h.Controllen, sock.ReceiveSpace)],
			payload:   b.bufs[k*bufferSize:][:ms[i].Len:bufferSize],
			truncated: h.Flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0,
			buf:       uint16(k),
		})
	}
	return n
}

func (b *mmsg) send(ref uint64, fd int32, h *unix.Msghdr) {
	if e := sock.Send(fd, h); e != 0 {
		b.w.failed(ref, e)
	}
}

func (b *mmsg) flush() error        { return nil }
func (b *mmsg) release(uint16)      {}
func (b *mmsg) addSockets([]int)    {}
func (b *mmsg) removeSockets([]int) {}
func (b *mmsg) memory() uint64      { return b.mem.Size() }
func (b *mmsg) rings() int          { return 0 }
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

// source is the sender's address out of a struct sockaddr_in: family, port, address. 0 for anything else.
func (a *arrival) source() uint32 {
	if len(a.name) < 8 || binary.NativeEndian.Uint16(a.name) != unix.AF_INET {
		return 0
	}
	return binary.BigEndian.Uint32(a.name[4:])
}
