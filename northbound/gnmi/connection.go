// SPDX-License-Identifier: Apache-2.0

package gnmi

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// enterStream counts a stream of the caller's connection; leave takes it back. More than limit of them are refused.
func enterStream(ctx context.Context, limit int) (leave func(), err error) {
	info, _ := peerOf(ctx)
	if info == nil {
		return func() {}, nil
	}
	leave = func() { info.streams.Add(-1) }
	if info.streams.Add(1) > int64(limit) {
		leave()
		return nil, refuse(errLimit, "more than %d Subscribe calls on one connection", limit)
	}
	return leave, nil
}

// mark sets the DSCP of all that is sent on the caller's connection, where it is TCP. There is one for a connection: the
// latest counts (G92).
func mark(ctx context.Context, dscp uint32) error {
	socket := caller(ctx).tcp()
	if socket == nil {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var v4, v6 error
	if err := raw.Control(func(fd uintptr) {
		// A socket of IPv6 may carry IPv4; then it has both. The two bits below the DSCP are the kernel's, for TCP.
		v4 = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS, int(dscp<<2))
		v6 = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_TCLASS, int(dscp<<2))
	}); err != nil {
		return err
	}
	if v4 != nil && v6 != nil {
		return errors.Join(v4, v6)
	}
	return nil
}
