// SPDX-License-Identifier: Apache-2.0

package uring

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// pages is memory outside the Go heap for the time of a probe.
type pages struct{ kept [][]byte }

func (h *pages) Bytes(n int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, (n+4095)&^4095, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	h.kept = append(h.kept, b)
	return b, nil
}

func (h *pages) free() {
	for _, b := range h.kept {
		unix.Munmap(b) //nolint:errcheck // a mapping of our own
	}
}

// Probe finds out, feature by feature and by trying, what this kernel and this sandbox have; what without names is taken as
// missing. The caller is locked to its thread. The error is for no io_uring at all, and wraps the errno, such as EPERM where it is
// forbidden.
func Probe(without Feature) (*Support, error) {
	r, err := Open(8, 16, without)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	mem := &pages{}
	defer mem.free()
	s := &Support{Has: r.has}
	if s.Has.Has(DeferTaskrun) {
		s.Has |= CoopTaskrun &^ without // no need of it
	}
	without.Features(func(one Feature, _ string) { s.found(one, ErrTakenAway) })
	try := func(one Feature, f func() error) {
		if without&one == 0 {
			s.found(one, f())
		}
	}
	try(RegisteredFiles, func() error { return r.RegisterFiles(8) })
	var bufs *Buffers
	try(BufferRing, func() (err error) {
		bufs, err = r.NewBuffers(mem, 0, 8, 512)
		return err
	})
	try(Multishot, func() error {
		if bufs == nil {
			return errors.New("needs a buffer ring")
		}
		return probeReceive(r, mem, bufs)
	})
	probeZeroCopy(r, mem, try)
	return s, nil
}

// Tags of the probes' requests. A trial that fails early may leave a completion behind, so that each has its own.
const (
	recvTag = iota + 1
	sendTag
	cancelTag
	zeroCopyTag // and those after it
)

// answer waits for the completion with this tag, or for a failed one of with.
func (r *Ring) answer(tag, with uint64) (CQE, error) {
	for range 100 {
		if err := r.Wait(); err != nil {
			return CQE{}, err
		}
		for c, ok := r.Next(); ok; c, ok = r.Next() {
			if c.UserData == tag {
				return c, nil
			}
			if c.UserData == with && c.Res < 0 {
				return c, unix.Errno(-c.Res)
			}
		}
	}
	return CQE{}, errors.New("no completion")
}

// probeReceive sends one message to itself: RECVMSG in multishot mode, from a buffer ring.
func probeReceive(r *Ring, mem *pages, bufs *Buffers) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	b, err := mem.Bytes(4096)
	if err != nil {
		return err
	}
	e := r.SQE()
	e.RecvMultishot(int32(pair[0]), false, header(b), bufs.Group())
	e.UserData = recvTag
	e = r.SQE()
	e.Sendmsg(int32(pair[1]), false, r.Has(CQESkip), message(b[1024:], b[3072:3074]))
	e.UserData = sendTag
	c, err := r.answer(recvTag, sendTag)
	switch {
	case err != nil:
		return err
	case c.Res < 0:
		return unix.Errno(-c.Res)
	case !c.More():
		return errors.New("ended after one message")
	}
	e = r.SQE()
	e.Cancel(recvTag)
	e.UserData = cancelTag
	_, err = r.answer(recvTag, cancelTag)
	return err
}

// probeZeroCopy sends to a closed port of the loopback interface. That this cannot be sent, where the interface is down, says
// that the kernel knows how to.
func probeZeroCopy(r *Ring, mem *pages, try func(Feature, func() error)) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	var b []byte
	if err == nil {
		defer unix.Close(fd)
		if err = unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 9}); err == nil {
			b, err = mem.Bytes(8192)
		}
	}
	tag := uint64(zeroCopyTag)
	send := func(use Feature) error {
		if err != nil {
			return err
		}
		tag++
		e := r.SQE()
		e.SendmsgZC(int32(fd), false, use, message(b, b[4096:6000]))
		e.UserData = tag
		c, err := r.answer(tag, tag)
		if err != nil {
			return err
		}
		if e := unix.Errno(-c.Res); c.Res < 0 && e != unix.ECONNREFUSED && e != unix.ENETUNREACH {
			return e
		}
		if !c.More() {
			return nil
		}
		if c, err = r.answer(tag, tag); err != nil {
			return err
		}
		if is, _ := c.Notification(); !is {
			return fmt.Errorf("result %d instead of a notification", c.Res)
		}
		return nil
	}
	missing := errors.New("needs zero-copy")
	try(ZeroCopy, func() error {
		err := send(0)
		if err == nil {
			missing = nil
		}
		return err
	})
	try(ZeroCopyReport, func() error {
		if missing != nil {
			return missing
		}
		return send(ZeroCopyReport)
	})
	try(ZeroCopyFixed, func() error {
		if missing != nil {
			return missing
		}
		if err := r.RegisterBuffer(b); err != nil {
			return err
		}
		return send(ZeroCopyFixed)
	})
}
