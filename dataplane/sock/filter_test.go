// SPDX-License-Identifier: Apache-2.0

package sock

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// An output's socket keeps nothing of what is sent to it, whichever way its filter was made.
func TestDropAllKeepsNothing(t *testing.T) {
	shared := dropAll()
	if shared < 0 {
		t.Log("bpf(2) is not allowed here: the classic filter alone is tried")
	}
	for _, classic := range []bool{shared < 0, true} {
		if classic {
			real := dropAll
			dropAll = func() int { return -1 }
			defer func() { dropAll = real }()
		}
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		raw, err := c.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var attached error
		if err := raw.Control(func(fd uintptr) { attached = attachDropAll(int(fd)) }); err != nil || attached != nil {
			t.Fatal(err, attached)
		}
		s, err := net.DialUDP("udp4", nil, c.LocalAddr().(*net.UDPAddr))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := s.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		// Over lo a datagram is in the queue, or gone, when send returns.
		if err := raw.Control(func(fd uintptr) {
			_, _, attached = unix.Recvfrom(int(fd), make([]byte, 8), unix.MSG_DONTWAIT)
		}); err != nil || attached != unix.EAGAIN {
			t.Errorf("classic %v: received: %v %v, want %v", classic, err, attached, unix.EAGAIN)
		}
	}
}
