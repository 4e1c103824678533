// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

// corrupted sends n datagrams of size bytes to the group, with a wrong UDP checksum.
func (l *lab) corrupted(n, size int) {
	l.t.Helper()
	l.inFar(func() {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
		l.must(err)
		defer unix.Close(fd)
		l.must(unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(l.in1)}))
		l.must(unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, 5))
		b := make([]byte, 8+size)
		binary.BigEndian.PutUint16(b, 4000)
		binary.BigEndian.PutUint16(b[2:], groupPort)
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
		binary.BigEndian.PutUint16(b[6:], 0x1234)
		for range n {
			l.must(unix.Sendto(fd, b, 0, &unix.SockaddrInet4{Addr: group.As4()}))
		}
	})
}

// D4: a datagram with a wrong checksum is never sent on, and is not taken for one that the receive queue had no room for.
func TestD4_WrongChecksumIsNoOverrun(t *testing.T) {
	engines(t, func(t *testing.T, l *lab, e *Engine) {
		r := l.receiver("10.9.0.1:6000")
		p := l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000")}})
		p.Settings.ReceiveSocketBuffer = 64 << 10
		l.apply(e, p)
		src := l.source(5, 0)
		l.corrupted(5, 1000)
		l.send(src, "good")
		if g := r.next(); g.payload != "good" {
			t.Errorf("%+v", g)
		}
		counts := func(overrun, checksum uint64) {
			t.Helper()
			eventually(t, "counted", func() bool {
				c, _ := e.Point(l.key())
				return c.Checksum >= checksum && c.Overrun >= overrun
			})
			if c, _ := e.Point(l.key()); c.Checksum != checksum || (c.Overrun != 0) != (overrun != 0) {
				t.Errorf("%+v, want %d wrong checksums, overrun %v", c, checksum, overrun > 0)
			}
		}
		counts(0, 5)
		reached, open := l.hold()
		l.send(src, "wakes it")
		<-reached
		l.send(src, numbered(400, 1000)...)
		close(open)
		eventually(t, "all are accounted for", func() bool { c, _ := e.Point(l.key()); return c.Packets+c.Overrun == 402 })
		counts(1, 5)
		l.corrupted(3, 1000)
		l.send(src, "good")
		counts(1, 8)
		if n := e.Totals().ChecksumErrors; n != 8 {
			t.Errorf("the namespace counts %d wrong checksums, 8 were sent", n)
		}
		for _, g := range r.rest() {
			if len(g.payload) == 1000 && g.payload[6] != ' ' {
				t.Errorf("a damaged datagram was sent on: %q", g.payload[:20])
			}
		}
	})
}
