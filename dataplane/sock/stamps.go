// SPDX-License-Identifier: Apache-2.0

package sock

import (
	"time"

	"golang.org/x/sys/unix"
)

// AwaitStamps waits until the kernel stamps what arrives, as it does soon after the first socket asked for that: until then a
// datagram gets the time at which it is received, another one on every socket (net_enable_timestamp, net/core/dev.c, and
// __sock_recv_timestamp, net/socket.c). It finds out by datagrams over the loopback interface; false: it does not, or lo is down.
func AwaitStamps(limit time.Duration) bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	if StartStamps(fd) != nil || unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}) != nil {
		return false
	}
	self, err := unix.Getsockname(fd)
	if err != nil || unix.Connect(fd, self) != nil {
		return false
	}
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	var b [1]byte
	var control [ReceiveSpace]byte
	for start := time.Now(); time.Since(start) < limit; {
		if _, err := unix.Write(fd, b[:]); err != nil {
			return false
		}
		if n, err := unix.Poll(poll, int(limit.Milliseconds())); n == 0 || err != nil {
			continue
		}
		before := time.Now().UnixNano() // it has arrived
		_, n, _, _, err := unix.Recvmsg(fd, b[:], control[:], 0)
		if err != nil {
			continue
		}
		if stamp := ParseControl(control[:n]).Stamp; stamp != 0 && stamp < before {
			return true
		}
		time.Sleep(100 * time.Microsecond)
	}
	return false
}
