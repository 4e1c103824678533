// SPDX-License-Identifier: Apache-2.0

package gnmi

import (
	"context"
	"errors"
	"net"
	"sync"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/peer"
)

// connections knows the connections of the listeners, for what concerns more than one call of a client. A connection is named by
// the address of its other end: the very value that net.Conn.RemoteAddr returns, which is another for each connection, also of
// a unix socket.
type connections struct {
	mu      sync.Mutex
	streams map[net.Addr]int
}

func newConnections() *connections {
	return &connections{streams: map[net.Addr]int{}}
}

// enter counts a stream of the caller's connection; leave takes it back. More than limit of them are refused.
func (c *connections) enter(ctx context.Context, limit int) (leave func(), err error) {
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr == nil {
		return func() {}, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams[p.Addr] >= limit {
		return nil, refuse(errLimit, "more than %d Subscribe calls on one connection", limit)
	}
	c.streams[p.Addr]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.streams[p.Addr]--; c.streams[p.Addr] <= 0 {
			delete(c.streams, p.Addr)
		}
	}, nil
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
