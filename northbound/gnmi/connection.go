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
	sockets map[net.Addr]*net.TCPConn
}

func newConnections() *connections {
	return &connections{streams: map[net.Addr]int{}, sockets: map[net.Addr]*net.TCPConn{}}
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
func (c *connections) mark(ctx context.Context, dscp uint32) error {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	c.mu.Lock()
	socket := c.sockets[p.Addr]
	c.mu.Unlock()
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

// watched is a listener whose TCP connections are known to c while they are open.
func (c *connections) watched(l net.Listener) net.Listener {
	if l.Addr().Network() != "tcp" {
		return l
	}
	return &watchedListener{l, c}
}

type watchedListener struct {
	net.Listener
	all *connections
}

func (l *watchedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	socket, ok := conn.(*net.TCPConn)
	if err != nil || !ok {
		return conn, err
	}
	l.all.mu.Lock()
	defer l.all.mu.Unlock()
	l.all.sockets[socket.RemoteAddr()] = socket
	return &watchedConn{socket, l.all}, nil
}

type watchedConn struct {
	*net.TCPConn
	all *connections
}

func (c *watchedConn) Close() error {
	c.all.mu.Lock()
	delete(c.all.sockets, c.RemoteAddr())
	c.all.mu.Unlock()
	return c.TCPConn.Close()
}
