// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func cutDev(via string) (string, bool) { return strings.CutPrefix(via, "dev ") }

// Attrs are the attributes of a new link: its name, all else by default.
func Attrs(name string) netlink.LinkAttrs {
	a := netlink.NewLinkAttrs()
	a.Name = name
	return a
}

// Add makes any kind of link and sets it up.
func (h *Host) Add(link netlink.Link) {
	h.t.Helper()
	if err := h.nl.LinkAdd(link); err != nil {
		h.fatal(err, "add %s %s", link.Type(), link.Attrs().Name)
	}
	h.Up(link.Attrs().Name)
}

// Has says whether the kernel knows this kind of link, by making one.
func (h *Host) Has(link netlink.Link) bool {
	h.t.Helper()
	err := h.nl.LinkAdd(link)
	if err == nil {
		h.Delete(link.Attrs().Name)
		return true
	}
	if !errors.Is(err, unix.EOPNOTSUPP) {
		h.fatal(err, "try %s", link.Type())
	}
	return false
}

// Dummy makes an interface that takes packets and loses them, up, with the address. Where the kernel has no dummy driver it is one end
// of a veth pair, whose other end "NAME.x" nobody uses.
func (h *Host) Dummy(name, prefix string) {
	h.t.Helper()
	err := h.nl.LinkAdd(&netlink.Dummy{LinkAttrs: Attrs(name)})
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = h.nl.LinkAdd(&netlink.Veth{LinkAttrs: Attrs(name), PeerName: name + ".x"})
		if err == nil {
			h.Up(name + ".x")
		}
	}
	if err != nil {
		h.fatal(err, "add dummy %s", name)
	}
	h.Up(name)
	if prefix != "" {
		h.Addr(name, prefix)
	}
}

// IPIP makes an ipip tunnel between two outer addresses, up, with inner addresses local and peer. It has no
// IFF_MULTICAST by default.
func (h *Host) IPIP(name, outerLocal, outerRemote, local, peer string) {
	h.t.Helper()
	h.Add(&netlink.Iptun{LinkAttrs: Attrs(name), Local: h.addr(outerLocal).AsSlice(), Remote: h.addr(outerRemote).AsSlice(), PMtuDisc: 1})
	h.Peer(name, local, peer)
}

// NoChecksumOffload makes the kernel fill in checksums before a packet leaves on the interface, so that a Tap at the
// other end sees them. A veth otherwise passes packets on with the checksum left open.
func (h *Host) NoChecksumOffload(name string) { h.t.Helper(); h.checksumOffload(name, 0) }

// ChecksumOffload takes that back.
func (h *Host) ChecksumOffload(name string) { h.t.Helper(); h.checksumOffload(name, 1) }

func (h *Host) checksumOffload(name string, on uint32) {
	h.t.Helper()
	if err := h.Do(func() error { return ethtoolSet(name, ethtoolSTXCSUM, on) }); err != nil {
		h.fatal(fmt.Errorf("ethtool: %w", err), "checksum offload of %s", name)
	}
}

// NoSegmentationOffload makes the kernel cut up what a sender leaves to segmentation (UDP_SEGMENT) before it leaves on the
// interface.
func (h *Host) NoSegmentationOffload(name string) {
	h.t.Helper()
	h.Run("ip", "link", "set", "dev", name, "gso_max_segs", "1") // what has more is segmented before the driver
}

// TunLink joins two hosts with a TUN device each, whose packets a goroutine carries across: an L3 link, without MAC addresses, that takes
// multicast. An address "" leaves that end without. It ends with the test.
func (l *Lab) TunLink(a *Host, aIface, aAddr string, b *Host, bIface, bAddr string) {
	l.t.Helper()
	end := func(h *Host, iface, addr string) *os.File {
		h.setAside(iface)
		link := &netlink.Tuntap{LinkAttrs: Attrs(iface), Mode: netlink.TUNTAP_MODE_TUN, Flags: netlink.TUNTAP_NO_PI, NonPersist: true, Queues: 1}
		if err := h.Do(func() error { return h.nl.LinkAdd(link) }); err != nil {
			h.fatal(err, "add tun %s", iface)
		}
		// What waits for the goroutine is not lost on a busy machine: the default is 500 packets.
		h.iface(iface, "set queue length of", func(l netlink.Link) error { return h.nl.LinkSetTxQLen(l, 20_000) })
		if addr != "" {
			h.Addr(iface, addr)
		}
		h.Up(iface)
		return link.Fds[0]
	}
	x, y := end(a, aIface, aAddr), end(b, bIface, bAddr)
	var wg sync.WaitGroup
	carry := func(from, to *os.File) {
		b := make([]byte, 1<<16)
		for {
			n, err := from.Read(b)
			if err != nil { // closed
				return
			}
			if _, err := to.Write(b[:n]); errors.Is(err, os.ErrClosed) {
				return
			}
		}
	}
	wg.Go(func() { carry(x, y) })
	wg.Go(func() { carry(y, x) })
	l.t.Cleanup(func() { x.Close(); y.Close(); wg.Wait() })
}

// Tunnel joins two hosts by TunLink as real tunnels do: without IFF_MULTICAST at a, and with each end's address the peer of
// the other's.
func (l *Lab) Tunnel(a *Host, aIface, aAddr string, b *Host, bIface, bAddr string) {
	l.t.Helper()
	l.TunLink(a, aIface, "", b, bIface, "")
	a.Multicast(aIface, false)
	b.Peer(bIface, bAddr, aAddr)
	a.Peer(aIface, aAddr, bAddr)
}
