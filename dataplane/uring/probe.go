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

// Probe finds out by trying whether this kernel and this sandbox have what is needed, over a pair of local sockets. The
// caller is locked to its thread. The error wraps the errno, such as EPERM where io_uring is forbidden.
func Probe() (used, missing []string, err error) {
	r, err := Open(8, 16)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	used, missing = r.Features()
	if err := r.RegisterFiles(8); err != nil {
		return nil, nil, err
	}
	mem := &pages{}
	defer mem.free()
	if err := probeReceive(r, mem); err != nil {
		return nil, nil, err
	}
	return append([]string{"io-uring", "cqe-skip", "registered-files", "buffer-ring", "multishot-recvmsg"}, used...), missing, nil
}

// probeReceive sends one message to itself: RECVMSG in multishot mode, from a buffer ring.
func probeReceive(r *Ring, mem *pages) error {
	bufs, err := r.NewBufferRing(mem, 0, 8, 512)
	if err != nil {
		return err
	}
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
	tmpl, send := header(b), header(b[1024:])
	setIovec(b[2048:], b[3072:3074])
	send.Iov, send.Iovlen = iovec(b[2048:]), 1

	const recvTag, sendTag = 1, 2
	e := r.SQE()
	e.RecvMultishot(int32(pair[0]), false, tmpl, bufs.Group())
	e.UserData = recvTag
	e = r.SQE()
	e.Sendmsg(int32(pair[1]), false, send)
	e.UserData = sendTag
	for range 100 {
		if err := r.Wait(); err != nil {
			return err
		}
		for c, ok := r.Next(); ok; c, ok = r.Next() {
			switch {
			case c.Res < 0:
				return fmt.Errorf("io_uring request %d: %w", c.UserData, unix.Errno(-c.Res))
			case c.UserData == recvTag && !c.More():
				return errors.New("multishot receive ended after one message")
			case c.UserData == recvTag:
				return nil
			}
		}
	}
	return errors.New("multishot receive: no completion")
}
