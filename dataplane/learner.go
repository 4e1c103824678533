// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mcr/dataplane/afpacket"
	"mcr/dataplane/plan"
	"mcr/dataplane/sock"
)

const (
	// maxAsked is how many ports a learner asks for at a time.
	maxAsked = 256
	// askAgain is when a port without answer is asked for again, once; twice that later it is forgotten.
	askAgain = time.Second

	learnerMemory = 32 << 20 // of all that learners keep, bytes
	portMemory    = 8 << 20  // of what one keeps for one port, bytes
	portPackets   = 16384    // the same, messages
	firstChunk    = 1 << 16  // holds the longest datagram; bytes
	nextChunk     = 1 << 18

	learnerBatch = 16 // messages of one read
	learnerSlots = 16 // datagrams in fragments
)

// learner looks for the ports of a group on an interface: the receive point with port 0. It sees what no other point of the
// group receives, on a packet socket, tells new ports, and keeps what came to them until their points are there: a handOver.
//
// It sees what comes before the host's firewall, and not what the host itself sends.
type learner struct {
	in      *inlet
	fd      int
	member  *sock.Membership
	pending bool // a Prepare has widened the membership

	// See learners.mu.
	view      *view                 // only sources that have a route teach
	busy      map[uint16]int        // ports that have points, and how many
	asked     map[uint16]*askedPort // bounded by maxAsked
	fragments bool                  // its filter keeps all fragments
	wideSince int64                 // that, Unix ns
	full      bool
	stamped   bool // the kernel stamps what arrives
	limit     uint64
}

// askedPort is a port that was told and has no point yet.
type askedPort struct {
	hand        *handOver
	at          time.Time // told
	again       bool      // told twice
	begun, done int       // datagrams in fragments: the first one came, and they were whole
	under       bool      // the latest of them is under way, and the filter keeps all of it
}

// learners is all learners of an Engine. One goroutine reads them.
type learners struct {
	log    *slog.Logger
	poll   *os.File // an epoll
	notice chan<- struct{}

	// mu guards what follows and the learners' own; it is a leaf lock, held while a batch of messages is read.
	mu     sync.Mutex
	byFD   map[int]*learner
	most   int             // messages that are kept for a port
	memory int             // kept, bytes
	learnt []plan.PointKey // for the notifier
	lost   uint64          // beyond hands
	hands  []*handOver     // whose loss is not final
	frags  *afpacket.Reassembler
	mem    sock.Arena
	msgs   []sock.Message
	iov    []unix.Iovec
	bufs   []byte
	names  []byte
	ctl    []byte
}

// openLearners makes what all learners share: some MB of address space, of which the first one touches a part.
func openLearners(log *slog.Logger, notice chan<- struct{}) (_ *learners, err error) {
	ls := &learners{log: log, notice: notice, most: portPackets, byFD: map[int]*learner{}}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	defer func() {
		if err != nil {
			ls.close()
		}
	}()
	if err = unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	ls.poll = os.NewFile(uintptr(fd), "learners")
	if ls.msgs, err = sock.Make[sock.Message](&ls.mem, learnerBatch); err != nil {
		return nil, err
	}
	if ls.iov, err = sock.Make[unix.Iovec](&ls.mem, learnerBatch); err != nil {
		return nil, err
	}
	var slots []byte
	for _, m := range []struct {
		into *[]byte
		size int
	}{
		{&ls.bufs, learnerBatch * bufferSize},
		{&ls.names, learnerBatch * nameSpace},
		{&ls.ctl, learnerBatch * sock.ReceiveSpace},
		{&slots, learnerSlots * afpacket.SlotSize},
	} {
		if *m.into, err = ls.mem.Bytes(m.size); err != nil {
			return nil, err
		}
	}
	for i := range ls.iov {
		ls.iov[i] = unix.Iovec{Base: &ls.bufs[i*bufferSize], Len: bufferSize}
	}
	ls.frags = afpacket.NewReassembler(slots)
	return ls, nil
}

// close ends the epoll, for when no learner is left and run has ended. Safe twice.
func (ls *learners) close() {
	if ls.poll != nil {
		ls.poll.Close()
	}
	ls.mem.Free()
}

// run reads the learners until ctx ends.
func (ls *learners) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { ls.poll.SetReadDeadline(time.Unix(1, 0)) }) //nolint:errcheck // it is open, and takes deadlines
	defer stop()
	rc, err := ls.poll.SyscallConn()
	if err != nil {
		return fmt.Errorf("learners: %w", err)
	}
	var events [64]unix.EpollEvent
	next := time.Time{}
	for {
		if err := ls.poll.SetReadDeadline(next); err != nil {
			return fmt.Errorf("learners: %w", err)
		}
		if ctx.Err() != nil { // after the deadline was set, which may have undone that of stop
			return nil
		}
		n, failed := 0, error(nil)
		err := rc.Read(func(fd uintptr) bool {
			n, failed = unix.EpollWait(int(fd), events[:], 0)
			return n != 0 // -1 with an error
		})
		if failed != nil && failed != unix.EINTR {
			return fmt.Errorf("learners: epoll_wait: %w", failed)
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("learners: %w", err)
		}
		next = ls.round(events[:max(n, 0)])
	}
}

// round reads those that have something, looks at what was asked, and returns when to do that again; zero: not by time.
func (ls *learners) round(events []unix.EpollEvent) (next time.Time) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	now := time.Now()
	for _, ev := range events {
		if l := ls.byFD[int(ev.Fd)]; l != nil && !l.full {
			ls.read(l, now)
		}
	}
	for _, l := range ls.byFD {
		if len(l.asked) > 0 {
			ls.remind(l, now)
			next = now.Add(askAgain / 4)
		}
	}
	return next
}

// read takes a batch from l, and says how many messages that were.
func (ls *learners) read(l *learner, now time.Time) int {
	n, e := ls.receive(l)
	if e == unix.EINVAL { // see afpacket.Open
		l.in.gso.Add(1)
		return len(ls.msgs) // there may be more
	}
	for i := range ls.msgs[:n] {
		m := &ls.msgs[i]
		if m.Hdr.Flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
			continue
		}
		ls.take(l, now.UnixNano(), arrival{
			name:    ls.names[i*nameSpace:][:min(m.Hdr.Namelen, nameSpace)],
			control: ls.ctl[i*sock.ReceiveSpace:][:min(m.Hdr.Controllen, sock.ReceiveSpace)],
			payload: ls.bufs[i*bufferSize:][:m.Len:bufferSize],
		})
	}
	return n
}

func (ls *learners) receive(l *learner) (int, unix.Errno) {
	for i := range ls.msgs {
		ls.msgs[i].Hdr = unix.Msghdr{
			Name: &ls.names[i*nameSpace], Namelen: nameSpace, Iov: &ls.iov[i], Iovlen: 1,
			Control: &ls.ctl[i*sock.ReceiveSpace], Controllen: sock.ReceiveSpace,
		}
	}
	return sock.Receive(int32(l.fd), ls.msgs)
}

// drain reads all that waits in l. A flood must not hold the caller: the bound is some times what the queue holds.
func (ls *learners) drain(l *learner) {
	for range 1 << 14 / learnerBatch {
		if ls.read(l, time.Now()) < len(ls.msgs) {
			return
		}
	}
}

// take looks at one message, which was read after the time before.
func (ls *learners) take(l *learner, before int64, a arrival) {
	aux := afpacket.ParseAux(a.control)
	// What came before the kernel began to stamp for us (it begins some time after it was asked) gets its stamp now, another one
	// on each socket.
	if l.stamped = l.stamped || (aux.Stamp != 0 && aux.Stamp < before); !l.stamped {
		aux.Stamp = 0
	}
	want := afpacket.Want{Group: number(l.in.key.Group)}
	d, v := afpacket.Parse(a.payload, afpacket.Link(a.name), aux, want)
	switch v {
	case afpacket.Whole:
		if p := ls.ask(l, d, count(d)); p != nil {
			ls.keep(p.hand, d, aux.Stamp)
		}
	case afpacket.Fragment:
		ls.takeFragment(l, d, aux.Stamp, want)
	case afpacket.BadChecksum:
		l.in.checksum.Add(1)
	case afpacket.UnknownSegment:
		l.in.gso.Add(1)
	}
}

func (ls *learners) takeFragment(l *learner, f afpacket.Datagram, stamp int64, want afpacket.Want) {
	if f.Offset == 0 {
		p := ls.ask(l, f, 1)
		if p == nil {
			ls.frags.Ignore(uint32(l.fd), f, want, time.Now().UnixNano())
			return
		}
		p.begun++
		p.under = l.fragments && stamp > l.wideSince
		p.hand.last = max(p.hand.last, stamp)
		if !l.fragments { // the rest of this one has gone by
			ls.filter(l)
		}
	}
	d, slot, v := ls.frags.Add(uint32(l.fd), f, want, time.Now().UnixNano())
	if slot >= 0 {
		defer ls.frags.Release(slot)
	}
	p := l.asked[d.Port]
	if p == nil || v == afpacket.Fragment {
		return
	}
	p.done++
	p.under = false
	switch v {
	case afpacket.Whole:
		ls.keep(p.hand, d, stamp)
	case afpacket.BadChecksum:
		l.in.checksum.Add(1)
	}
}

// count is how many datagrams d stands for.
func count(d afpacket.Datagram) uint64 {
	if d.Segment == 0 {
		return 1
	}
	return uint64((len(d.Payload) + d.Segment - 1) / d.Segment)
}

// ask returns the port of d, which it tells if it is new; nil where d is not to be kept. n is how many datagrams d is.
func (ls *learners) ask(l *learner, d afpacket.Datagram, n uint64) *askedPort {
	if l.busy[d.Port] > 0 || d.Port == 0 || l.view.find(d.Source) == nil {
		return nil
	}
	p := l.asked[d.Port]
	if p == nil {
		if len(l.asked) == maxAsked {
			ls.lost += n
			return nil
		}
		p = &askedPort{hand: &handOver{}, at: time.Now()}
		l.asked[d.Port] = p
		ls.tell(l, d.Port)
	}
	return p
}

func (ls *learners) tell(l *learner, port uint16) {
	k := l.in.key
	k.Port = port
	ls.learnt = append(ls.learnt, k)
	select {
	case ls.notice <- struct{}{}:
	default:
	}
}

// remind asks again for what has no point yet, and gives up what was asked for in vain.
func (ls *learners) remind(l *learner, now time.Time) {
	for port, p := range l.asked {
		switch waited := now.Sub(p.at); {
		case waited >= 3*askAgain:
			delete(l.asked, port)
			ls.lost += p.kept() + p.missed()
			ls.free(p.hand)
			ls.filter(l)
		case waited >= askAgain && !p.again:
			p.again = true
			ls.tell(l, port)
		}
	}
}

// takeLearnt moves what was learnt into ev.
func (ls *learners) takeLearnt(ev *plan.Event) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ev.Learnt, ls.learnt = append(ev.Learnt, ls.learnt...), nil
}

// filter makes the filter of l that of its state. Fragments after the first do not tell their port: they are kept, and the
// first ones with them, while a datagram in fragments came to a port without point, and while there is no other port that they could be of.
func (ls *learners) filter(l *learner) {
	f := afpacket.Filter{Group: number(l.in.key.Group), HeadOnly: l.full}
	for port := range l.busy {
		f.Except = append(f.Except, port)
	}
	slices.Sort(f.Except)
	wide := l.fragments
	l.fragments = !l.full && len(l.busy) == 0
	for _, p := range l.asked {
		l.fragments = l.fragments || (p.begun > 0 && !l.full)
	}
	f.Fragments = l.fragments
	if err := afpacket.SetFilter(l.fd, int(l.in.key.IfIndex), f); err != nil { // what comes through is sorted out by take
		ls.log.Warn("the port learner's filter stays as it was", "group", l.in.key.Group, "err", err)
	}
	if l.fragments && !wide {
		l.wideSince = time.Now().UnixNano()
	}
}
