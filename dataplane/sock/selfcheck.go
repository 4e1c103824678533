// SPDX-License-Identifier: Apache-2.0

package sock

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrDamaged means that segmented datagrams did not arrive as they were sent.
var ErrDamaged = errors.New("the kernel damages segmented datagrams")

// Most segments of one send: UDP_MAX_SEGMENTS, include/linux/udp.h, which is no part of the API. It was raised in Linux 6.9.
const (
	MaxSegments    = 128
	OldMaxSegments = 64
)

// SegmentLimit finds out by trying how many segments the kernel takes in one send.
func SegmentLimit() int {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return OldMaxSegments
	}
	defer unix.Close(fd)
	lo := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 9}
	control := make([]byte, ControlSpace)
	control = control[:PutControl(control, 1, 0, -1)]
	if err := unix.Sendmsg(fd, make([]byte, MaxSegments), control, lo, unix.MSG_DONTWAIT); errors.Is(err, unix.EINVAL) {
		return OldMaxSegments
	}
	return MaxSegments
}

// CheckSegmentation sends one run of equal segments over the loopback interface and compares what arrives, byte by
// byte. ErrDamaged: do not use UDP_SEGMENT. Any other error: not found out, such as where lo is down.
func CheckSegmentation() error {
	const size, count = 1000, 4
	in, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(in)
	lo := [4]byte{127, 0, 0, 1}
	if err := unix.Bind(in, &unix.SockaddrInet4{Addr: lo}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	sa, err := unix.Getsockname(in)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	wait := unix.Timeval{Usec: 300_000}
	if err := unix.SetsockoptTimeval(in, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return os.NewSyscallError("SO_RCVTIMEO", err)
	}
	sent := make([]byte, size*count)
	for i := range sent {
		sent[i] = byte(i*7 + i/size)
	}
	control := make([]byte, ControlSpace)
	control = control[:PutControl(control, size, 0, -1)]
	if err := unix.Sendmsg(in, sent, control, sa, unix.MSG_DONTWAIT); err != nil {
		return os.NewSyscallError("sendmsg", err)
	}
	got := make([]byte, 65536)
	for i := range count {
		n, _, err := unix.Recvfrom(in, got, 0)
		if err != nil {
			return fmt.Errorf("%w: %d of %d arrived", ErrDamaged, i, count)
		}
		if !bytes.Equal(got[:n], sent[i*size:(i+1)*size]) {
			return fmt.Errorf("%w: number %d of %d differs", ErrDamaged, i+1, count)
		}
	}
	return nil
}
