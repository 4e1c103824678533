// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
	"mcr/dataplane/uring"
)

// Zero copy sends let the kernel's buffers point at a run instead of holding a copy of it. In return each send completes twice, a run
// has to be copied once, into one piece (an skb takes 17 fragments), and the piece stays untouched until the last notification. That
// pays where a long run goes to several outputs: nothing at 4, a sixth at 8, a third from 24 on (49 of 1,316 bytes, Linux 6.18).
const (
	zeroCopyBytes   = 16 << 10 // of a run, from where on auto uses it
	zeroCopyOutputs = 8        // of a run, likewise
	zeroCopyLeast   = 2048     // bytes of a run: below, pages cost more than copies

	pieces     = 16      // runs under way at a time
	pieceSize  = 1 << 16 // bytes of one
	pieceKinds = 8       // egresses that one run may tell apart

	copiedAfter = 32          // notifications in a row that the kernel had to copy
	copiedTime  = time.Minute // then there is no zero copy to that egress for so long
)

// zeroCopy is what a ring needs for it.
type zeroCopy struct {
	use    uring.Feature // ZeroCopyReport, ZeroCopyFixed
	opened bool
	failed error // why there is none; nil: not tried, or it works
	all    [pieces]piece
	next   int
	piece  *piece // of the run under way
	errors int    // in a row that speak against all zero copy
	owed   int    // notifications of failed sends to come: they tell of a copy, as nothing was sent without
}

// piece holds the data of one run.
type piece struct {
	id    uint64
	data  []byte
	refs  int // sends whose data the kernel may still read
	kinds int
	eg    [pieceKinds]*egress
	plain [pieceKinds]bool // sends there copy
}

// copies is what is known about zero copy on an egress.
type copies struct {
	inRow atomic.Int32 // notifications that told of a copy
	off   atomic.Int64 // no zero copy until then, Unix ns
}

func (c *copies) note(copied bool, now int64) {
	if !copied {
		if c.inRow.Load() != 0 {
			c.inRow.Store(0)
		}
		return
	}
	if c.inRow.Add(1) >= copiedAfter {
		c.off.Store(now + int64(copiedTime))
	}
}

// zeroCopies says that it can be had.
func (b *ringBackend) zeroCopies() bool { return b.has.Has(uring.ZeroCopy) && b.zc.failed == nil }

// openZeroCopy takes the memory, at the first use.
func (b *ringBackend) openZeroCopy() {
	z := &b.zc
	z.opened = true
	if !b.has.Has(uring.ZeroCopy) {
		z.failed = errors.New("the kernel has no zero copy")
		return
	}
	z.use = b.has & uring.ZeroCopyReport
	mem, err := b.mem.Contiguous(pieces * pieceSize) // then a piece is one fragment
	if err != nil {
		z.failed = err
		return
	}
	if b.has.Has(uring.ZeroCopyFixed) {
		if err := b.ring.RegisterBuffer(mem); err == nil {
			z.use |= uring.ZeroCopyFixed
		} else {
			b.w.e.log.Info("zero copy without registered memory", "err", err)
		}
	}
	for i := range z.all {
		z.all[i] = piece{id: uint64(i), data: mem[i*pieceSize:][:pieceSize:pieceSize]}
	}
}

// pin copies the run into a piece of its own.
func (b *ringBackend) pin(r *run) bool {
	z := &b.zc
	if !z.opened {
		b.openZeroCopy()
	}
	if z.failed != nil || (b.w.settings.zeroCopy == plan.ZeroCopyAuto && !z.use.Has(uring.ZeroCopyReport)) {
		return false
	}
	for range z.all {
		p := &z.all[z.next]
		z.next = (z.next + 1) % pieces
		if p.refs == 0 {
			p.kinds = 0
			r.move(p.data)
			z.piece = p
			return true
		}
	}
	return false
}

// sendZeroCopy makes e the send of h to o, unless sends there are to copy.
func (b *ringBackend) sendZeroCopy(e *uring.SQE, ref uint64, o *output, h *unix.Msghdr) bool {
	p := b.zc.piece
	kind := p.kindOf(o.egress, b.w.now, b.w.settings.zeroCopy)
	if kind < 0 {
		return false
	}
	e.SendmsgZC(o.fd, b.fixed(o.fd), b.zc.use, h)
	e.UserData = kindZeroCopy | p.id<<48 | uint64(kind)<<refBits | ref
	p.refs++
	return true
}

// kindOf returns the place of eg in p; -1: sends there copy.
func (p *piece) kindOf(eg *egress, now int64, mode plan.ZeroCopy) int {
	for i := range p.kinds {
		if p.eg[i] == eg {
			if p.plain[i] {
				return -1
			}
			return i
		}
	}
	if p.kinds == pieceKinds {
		return -1
	}
	i := p.kinds
	p.kinds++
	p.eg[i], p.plain[i] = eg, mode == plan.ZeroCopyAuto && now < eg.copies.off.Load()
	if p.plain[i] {
		return -1
	}
	return i
}

// zeroCopied takes one of the two completions of a send.
func (b *ringBackend) zeroCopied(c uring.CQE) {
	p := &b.zc.all[c.UserData>>48&0xff]
	if is, copied := c.Notification(); is {
		p.refs--
		if copied && b.zc.owed > 0 {
			b.zc.owed--
			return
		}
		if b.zc.use.Has(uring.ZeroCopyReport) {
			p.eg[c.UserData>>refBits&0xff].copies.note(copied, b.w.now)
			if copied {
				b.w.stats.zeroCopied.Add(1)
			}
		}
		return
	}
	switch {
	case !c.More(): // no notification follows
		p.refs--
	case c.Res < 0 && b.zc.use.Has(uring.ZeroCopyReport):
		b.zc.owed++
	}
	if c.Res >= 0 {
		b.w.stats.zeroCopy.Add(1)
		b.zc.errors = 0
		return
	}
	switch e := unix.Errno(-c.Res); e {
	case unix.ENOMEM, unix.ENOBUFS, unix.EINVAL, unix.EOPNOTSUPP, unix.EMSGSIZE, unix.EFAULT:
		// It may be zero copy that cannot be had: once more without. What is then wrong is the output's fault.
		if e != unix.ENOBUFS && e != unix.EMSGSIZE {
			if b.zc.errors++; b.zc.errors >= copiedAfter && b.zc.failed == nil {
				b.zc.failed = e
				b.w.e.log.Warn("zero copy given up", "err", e)
				b.w.e.tell(func(i *plan.Info) { i.Missing = append(slices.Clip(i.Missing), "zero-copy: given up: "+e.Error()) })
			}
		}
		b.w.failed(c.UserData&(1<<refBits-1), 0)
	default:
		b.w.failed(c.UserData&(1<<refBits-1), e)
	}
}
