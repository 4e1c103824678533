// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Tally counts what arrives at many addresses without a wake-up for it: a filter drops everything, and the kernel counts
// that, datagram by datagram, also of a segmented send. So a thousand receivers cost some of the softirq's time and no
// process any. It sees counts alone, neither order nor content: keep a Sink or two beside it.
type Tally struct {
	h   *Host
	fds []int
}

// Tally listens at addresses and ports of the host, until the test ends.
func (h *Host) Tally(at ...netip.AddrPort) *Tally {
	h.t.Helper()
	y := &Tally{h: h}
	h.t.Cleanup(func() {
		for _, fd := range y.fds {
			unix.Close(fd)
		}
	})
	err := h.Do(func() error {
		for _, a := range at {
			if err := y.listen(a); err != nil {
				return fmt.Errorf("%v: %w", a, err)
			}
		}
		return nil
	})
	if err != nil {
		h.fatal(err, "tally")
	}
	return y
}

func (y *Tally) listen(at netip.AddrPort) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	y.fds = append(y.fds, fd)
	nothing := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing[0]}); err != nil {
		return err
	}
	return unix.Bind(fd, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())})
}

// Counts is what has come so far, by address. It costs as much as the host has sockets: call it now and then.
func (y *Tally) Counts() map[netip.AddrPort]uint64 {
	y.h.t.Helper()
	out := map[netip.AddrPort]uint64{}
	for _, u := range y.h.udpSockets() {
		out[u.at] += u.drops
	}
	return out
}

// Waiting is how many bytes of memory wait to be read in the host's UDP sockets at an address.
func (h *Host) Waiting(at netip.AddrPort) (n uint64) {
	h.t.Helper()
	for _, u := range h.udpSockets() {
		if u.at == at {
			n += u.waiting
		}
	}
	return n
}

// udpSocket is a line of /proc/net/udp.
type udpSocket struct {
	at             netip.AddrPort
	waiting, drops uint64
}

func (h *Host) udpSockets() []udpSocket {
	h.t.Helper()
	var text []byte
	err := h.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/udp")
		return err
	})
	if err != nil {
		h.fatal(err, "list UDP sockets")
	}
	return parseUDPSockets(text)
}

// parseUDPSockets reads /proc/net/udp (net/ipv4/udp.c, udp4_format_sock): the local address, the receive queue, and in the
// last column what the socket did not take. Lines that do not fit are left out.
func parseUDPSockets(text []byte) (all []udpSocket) {
	for line := range bytes.Lines(text) {
		f := strings.Fields(string(line))
		if len(f) < 13 {
			continue
		}
		addr, port, _ := strings.Cut(f[1], ":")
		_, queue, _ := strings.Cut(f[4], ":")
		a, err1 := hex.DecodeString(addr)
		p, err2 := strconv.ParseUint(port, 16, 16)
		waiting, err3 := strconv.ParseUint(queue, 16, 64)
		drops, err4 := strconv.ParseUint(f[len(f)-1], 10, 64)
		if errors.Join(err1, err2, err3, err4) != nil || len(a) != 4 {
			continue
		}
		// The address is a number in the machine's byte order, little-endian on all that we run on.
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{a[3], a[2], a[1], a[0]}), uint16(p))
		all = append(all, udpSocket{at, waiting, drops})
	}
	return all
}
