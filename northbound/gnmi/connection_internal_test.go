// SPDX-License-Identifier: Apache-2.0

package gnmi

import (
	"context"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// G92: the mark is on the connection of the caller, IPv4 or IPv6, and the latest counts; on others it is no error.
func TestG92MarkOfAConnection(t *testing.T) {
	for _, tt := range []struct {
		address       string
		level, option int
	}{{"127.0.0.1:0", unix.IPPROTO_IP, unix.IP_TOS}, {"[::1]:0", unix.IPPROTO_IPV6, unix.IPV6_TCLASS}} {
		l, err := net.Listen("tcp", tt.address)
		if err != nil {
			t.Skipf("no %s here: %v", tt.address, err)
		}
		t.Cleanup(func() { _ = l.Close() })
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		ctx := context.WithValue(t.Context(), callerKey{}, client{raw: conn})
		for _, dscp := range []uint32{63, 10} {
			if err := mark(ctx, dscp); err != nil {
				t.Fatal(err)
			}
		}
		raw, err := conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) {
			if v, err := unix.GetsockoptInt(int(fd), tt.level, tt.option); err != nil || v != 10<<2 {
				t.Errorf("%s: traffic class %d, %v", tt.address, v, err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	a, b := net.Pipe()
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	if err := mark(context.WithValue(t.Context(), callerKey{}, client{raw: a}), 10); err != nil {
		t.Errorf("no TCP: %v", err)
	}
}
