// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"golang.org/x/sys/unix"

	"mcr/dataplane/sock"
)

const (
	bufferSize = 66048 // a message is up to 64 KiB (UDP_GRO), with room before it; untouched pages cost nothing
	nameSpace  = 16    // sizeof(struct sockaddr_in)
	atOnce     = 256   // messages that one point may have before it is another's turn
)

// inbox is what recvmmsg receives into, for the back ends that do not receive by a ring.
type inbox struct {
	msgs  []sock.Message
	iov   []unix.Iovec
	bufs  []byte
	names []byte
	ctl   []byte
	used  int
	stale int // from here on nothing was received into since the headers were made
}

func newInbox(mem *sock.Arena, buffers int) (*inbox, error) {
	in := &inbox{}
	var err error
	if in.msgs, err = sock.Make[sock.Message](mem, buffers); err != nil {
		return nil, err
	}
	if in.iov, err = sock.Make[unix.Iovec](mem, buffers); err != nil {
		return nil, err
	}
	for _, m := range []struct {
		into *[]byte
		size int
	}{{&in.bufs, bufferSize}, {&in.names, nameSpace}, {&in.ctl, sock.ReceiveSpace}} {
		if *m.into, err = mem.Bytes(buffers * m.size); err != nil {
			return nil, err
		}
	}
	for i := range in.iov {
		in.iov[i] = unix.Iovec{Base: &in.bufs[i*bufferSize], Len: bufferSize}
		in.renew(i)
	}
	return in, nil
}

// renew makes the header of message k.
func (in *inbox) renew(k int) {
	in.msgs[k].Hdr = unix.Msghdr{
		Name: &in.names[k*nameSpace], Namelen: nameSpace, Iov: &in.iov[k], Iovlen: 1,
		Control: &in.ctl[k*sock.ReceiveSpace], Controllen: sock.ReceiveSpace,
	}
}

func (in *inbox) full() bool { return in.used == len(in.msgs) }

// receive takes what waits in pt, as far as there is room, and hands it to w. It says false where pt is broken.
func (in *inbox) receive(w *worker, pt *point) bool {
	first := in.used
	e := in.fetch(pt)
	if e != 0 && e != unix.EAGAIN {
		if pt.receiveFailed(e) {
			w.broken(pt, e)
			return false
		}
	}
	for k := first; k < in.used; k++ {
		w.received(pt, in.arrival(k))
	}
	return true
}

// fetch takes what waits in pt, as far as there is room. The headers of messages that were not received into are good still: mostly
// few came.
func (in *inbox) fetch(pt *point) unix.Errno {
	first, last := in.used, min(len(in.msgs), in.used+atOnce)
	for k := first; k < min(last, in.stale); k++ {
		in.renew(k)
	}
	n, e := sock.Receive(int32(pt.fd), in.msgs[first:last])
	in.used += n
	if in.stale <= last {
		in.stale = in.used
	}
	return e
}

// arrival is the message that lies at k.
func (in *inbox) arrival(k int) arrival {
	h := &in.msgs[k].Hdr
	return arrival{
		name:      in.names[k*nameSpace:][:nameSpace],
		control:   in.ctl[k*sock.ReceiveSpace:][:min(h.Controllen, sock.ReceiveSpace)],
		payload:   in.bufs[k*bufferSize:][:in.msgs[k].Len:bufferSize],
		truncated: h.Flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0,
		buf:       uint16(k),
	}
}
