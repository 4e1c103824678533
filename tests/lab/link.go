// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"strings"

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
func (h *Host) NoChecksumOffload(name string) {
	h.t.Helper()
	if err := h.Do(func() error { return ethtoolSet(name, ethtoolSTXCSUM, 0) }); err != nil {
		h.fatal(fmt.Errorf("ethtool: %w", err), "checksum offload of %s", name)
	}
}
