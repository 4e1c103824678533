// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Capture collects the IPv4 packets of an interface.
type Capture struct {
	t    TB
	name string
	file *os.File

	mu      sync.Mutex // guards what follows
	packets []Packet
	changed chan struct{} // closed, and made anew, at each packet
}

// maxCapture bounds the memory of a Capture, packets.
const maxCapture = 100_000

// TUN is a point-to-point device whose far end is the test itself: what the host sends into it is captured, just as it would be on a
// wire, checksums included; what Inject writes arrives at the host.
type TUN struct{ *Capture }

// TUN makes a TUN device without IFF_MULTICAST, up, with a local address and a peer.
func (h *Host) TUN(name, local, peer string) *TUN {
	h.t.Helper()
	link := &netlink.Tuntap{LinkAttrs: Attrs(name), Mode: netlink.TUNTAP_MODE_TUN, Flags: netlink.TUNTAP_NO_PI, NonPersist: true, Queues: 1}
	if err := h.Do(func() error { return h.nl.LinkAdd(link) }); err != nil {
		h.fatal(err, "add tun %s", name)
	}
	h.Multicast(name, false)
	h.Peer(name, local, peer)
	h.Up(name)
	c := h.capture(name, link.Fds[0], func(b []byte) (int, bool, bool, error) {
		n, err := link.Fds[0].Read(b)
		return n, false, true, err
	})
	return &TUN{c}
}

// Inject lets a packet arrive at the host from the tunnel.
func (d *TUN) Inject(packet []byte) {
	d.t.Helper()
	if _, err := d.file.Write(packet); err != nil {
		d.t.Fatalf("inject into %s: %v", d.name, err)
	}
}

// Tap listens to an interface of the host, both ways. It is bound to ETH_P_ALL, since a packet socket bound to ETH_P_IP
// never sees what the host itself sends.
func (h *Host) Tap(name string) *Capture {
	h.t.Helper()
	var fd int
	err := h.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0) // 0: nothing until bound
		if err != nil {
			return err
		}
		if err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err == nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20) // fewer packets are kept without it
			err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: h.Index(name)})
		}
		return err
	})
	if err != nil {
		h.fatal(err, "tap %s", name)
	}
	file := os.NewFile(uintptr(fd), "tap "+name)
	raw, err := file.SyscallConn()
	if err != nil {
		h.fatal(err, "tap %s", name)
	}
	return h.capture(name, file, func(b []byte) (int, bool, bool, error) { return readTap(raw, b) })
}

// readTap receives one packet, and says whether its checksum is open, and whether the host itself sent it.
func readTap(raw syscall.RawConn, b []byte) (n int, open, outgoing bool, err error) {
	oob := make([]byte, 256)
	e := raw.Read(func(fd uintptr) bool {
		var oobn int
		var from unix.Sockaddr
		if n, oobn, _, from, err = unix.Recvmsg(int(fd), b, oob, 0); err == unix.EAGAIN {
			return false
		}
		if ll, ok := from.(*unix.SockaddrLinklayer); ok {
			outgoing = ll.Pkttype == unix.PACKET_OUTGOING
		}
		for rest := oob[:max(oobn, 0)]; len(rest) >= unix.SizeofCmsghdr; {
			h, data, more, err := unix.ParseOneSocketControlMessage(rest)
			if err != nil {
				break
			}
			if h.Level == unix.SOL_PACKET && h.Type == unix.PACKET_AUXDATA && len(data) >= 4 {
				open = binary.NativeEndian.Uint32(data)&unix.TP_STATUS_CSUMNOTREADY != 0
			}
			rest = more
		}
		return true
	})
	if e != nil {
		err = e
	}
	return n, open, outgoing, err
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

func (h *Host) capture(name string, file *os.File, read func([]byte) (n int, open, outgoing bool, err error)) *Capture {
	c := &Capture{t: h.t, name: h.Name + "/" + name, file: file, changed: make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, 1<<16)
		for {
			n, open, outgoing, err := read(b)
			if err == unix.ENETDOWN { // the interface went down; it may come back
				continue
			}
			if err != nil { // closed, or the interface is gone
				return
			}
			if p, err := decode(b[:n], open); err == nil { // not ARP and the like
				p.Outgoing = outgoing
				c.add(p)
			}
		}
	})
	h.t.Cleanup(func() { file.Close(); wg.Wait() })
	return c
}

func (c *Capture) add(p Packet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.packets) < maxCapture {
		c.packets = append(c.packets, p)
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// Packets is what came so far and fits; match nil takes all.
func (c *Capture) Packets(match func(Packet) bool) []Packet {
	got, _ := c.matching(match)
	return got
}

func (c *Capture) matching(match func(Packet) bool) (got []Packet, more <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.packets {
		if match == nil || match(p) {
			got = append(got, p)
		}
	}
	return got, c.changed
}

// Wait waits for n packets that fit and returns all that did.
func (c *Capture) Wait(n int, within time.Duration, match func(Packet) bool) []Packet {
	c.t.Helper()
	deadline := time.After(within)
	for {
		got, more := c.matching(match)
		if len(got) >= n {
			return got
		}
		select {
		case <-more:
		case <-deadline:
			c.t.Fatalf("capture on %s: %d of %d packets within %v; all that came:\n%s", c.name, len(got), n, within, c)
		}
	}
}

// String lists the first packets, one a line.
func (c *Capture) String() string {
	var b strings.Builder
	for i, p := range c.Packets(nil) {
		if i == 50 {
			b.WriteString("…\n")
			break
		}
		fmt.Fprintf(&b, "%v > %v proto %d ttl %d tos %#x len %d checksum %v\n", p.Src, p.Dst, p.Protocol, p.TTL, p.TOS, len(p.Payload), p.Checksum)
	}
	return b.String()
}
