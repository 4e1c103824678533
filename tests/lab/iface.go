// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"net"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// iface does f to the interface, or ends the test.
func (h *Host) iface(name, what string, f func(netlink.Link) error) {
	h.t.Helper()
	link, err := h.nl.LinkByName(name)
	if err == nil {
		err = f(link)
	}
	if err != nil {
		h.fatal(err, "%s %s", what, name)
	}
}

// Up sets the interface up, and waits until it and the other end of its cable send: up to a second after the carrier is
// there the kernel still throws away what is sent.
func (h *Host) Up(name string) {
	h.t.Helper()
	h.iface(name, "set up", func(l netlink.Link) error {
		if err := h.nl.LinkSetUp(l); err != nil {
			return err
		}
		index := l.Attrs().Index
		h.running(index)
		if far, ok := h.far[index]; ok {
			far.host.running(far.index)
		}
		return nil
	})
}

// running waits until an interface that is up and has a carrier runs.
func (h *Host) running(index int) {
	h.t.Helper()
	Until(h.t, Patience(5*time.Second), "interface runs", func() error {
		l, err := h.nl.LinkByIndex(index)
		if err != nil {
			return nil // it is gone
		}
		const ready = unix.IFF_UP | unix.IFF_LOWER_UP
		if f := l.Attrs().RawFlags; f&ready == ready && f&unix.IFF_RUNNING == 0 {
			return fmt.Errorf("%s has a carrier and does not run", l.Attrs().Name)
		}
		return nil
	})
}

// Down sets the interface down.
func (h *Host) Down(name string) { h.t.Helper(); h.iface(name, "set down", h.nl.LinkSetDown) }

// Delete deletes the interface; a veth takes its other end with it.
func (h *Host) Delete(name string) { h.t.Helper(); h.iface(name, "delete", h.nl.LinkDel) }

// Rename renames the interface, which must be down on kernels before 6.2.
func (h *Host) Rename(name, to string) {
	h.t.Helper()
	h.iface(name, "rename", func(l netlink.Link) error { return h.nl.LinkSetName(l, to) })
}

// Move puts the interface into the other host's network namespace, where it is down and without addresses.
func (h *Host) Move(name string, to *Host) {
	h.t.Helper()
	h.iface(name, "move to "+to.Name, func(l netlink.Link) error { return h.nl.LinkSetNsFd(l, int(to.ns)) })
}

// Multicast sets or clears IFF_MULTICAST.
func (h *Host) Multicast(name string, on bool) {
	h.t.Helper()
	set := h.nl.LinkSetMulticastOff
	if on {
		set = h.nl.LinkSetMulticastOn
	}
	h.iface(name, "set multicast of", set)
}

// MTU sets the interface's MTU.
func (h *Host) MTU(name string, mtu int) {
	h.t.Helper()
	h.iface(name, "set MTU of", func(l netlink.Link) error { return h.nl.LinkSetMTU(l, mtu) })
}

// Index is the interface's index.
func (h *Host) Index(name string) (index int) {
	h.t.Helper()
	h.iface(name, "look at", func(l netlink.Link) error { index = l.Attrs().Index; return nil })
	return index
}

// MAC is the interface's hardware address.
func (h *Host) MAC(name string) (mac net.HardwareAddr) {
	h.t.Helper()
	h.iface(name, "look at", func(l netlink.Link) error { mac = l.Attrs().HardwareAddr; return nil })
	return mac
}

// Addr adds an address, such as "10.0.0.1/24".
func (h *Host) Addr(name, prefix string) {
	h.t.Helper()
	h.iface(name, "add "+prefix+" to", func(l netlink.Link) error {
		a, err := netlink.ParseAddr(prefix)
		if err != nil {
			return err
		}
		return h.nl.AddrAdd(l, a)
	})
}

// Peer adds a point-to-point address: local, with peer at the other end.
func (h *Host) Peer(name, local, peer string) {
	h.t.Helper()
	h.iface(name, "add "+local+" peer "+peer+" to", func(l netlink.Link) error {
		a, err := netlink.ParseAddr(local + "/32")
		if err != nil {
			return err
		}
		if a.Peer, err = netlink.ParseIPNet(peer + "/32"); err != nil {
			return err
		}
		return h.nl.AddrAdd(l, a)
	})
}

// ReAddress takes all IPv4 addresses of the interface away and gives it this one; "" gives none.
func (h *Host) ReAddress(name, prefix string) {
	h.t.Helper()
	h.iface(name, "take the addresses of", func(l netlink.Link) error {
		old, err := h.nl.AddrList(l, netlink.FAMILY_V4)
		if err != nil {
			return err
		}
		for i := range old {
			if err := h.nl.AddrDel(l, &old[i]); err != nil {
				return fmt.Errorf("%v: %w", old[i].IPNet, err)
			}
		}
		return nil
	})
	if prefix != "" {
		h.Addr(name, prefix)
	}
}

// Route adds or replaces a route to a prefix ("default" for all) through via, an address or "dev NAME".
func (h *Host) Route(prefix, via string) {
	h.t.Helper()
	r, err := h.route(prefix, via)
	if err == nil {
		err = h.nl.RouteReplace(r)
	}
	if err != nil {
		h.fatal(err, "route %s via %s", prefix, via)
	}
}

// DelRoute deletes the route that Route made of the same words.
func (h *Host) DelRoute(prefix, via string) {
	h.t.Helper()
	r, err := h.route(prefix, via)
	if err == nil {
		err = h.nl.RouteDel(r)
	}
	if err != nil {
		h.fatal(err, "delete route %s via %s", prefix, via)
	}
}

func (h *Host) route(prefix, via string) (*netlink.Route, error) {
	if prefix == "default" {
		prefix = "0.0.0.0/0"
	}
	dst, err := netlink.ParseIPNet(prefix)
	if err != nil {
		return nil, err
	}
	r := &netlink.Route{Dst: dst}
	if dev, ok := cutDev(via); ok {
		link, err := h.nl.LinkByName(dev)
		if err != nil {
			return nil, err
		}
		r.LinkIndex, r.Scope = link.Attrs().Index, netlink.SCOPE_LINK
		return r, nil
	}
	if r.Gw = net.ParseIP(via); r.Gw == nil {
		return nil, fmt.Errorf("%q is neither an address nor dev NAME", via)
	}
	return r, nil
}

// Neigh makes a permanent neighbour.
func (h *Host) Neigh(name, ip string, mac net.HardwareAddr) {
	h.t.Helper()
	h.neigh(name, ip, mac, netlink.NUD_PERMANENT)
}

// NeighFailed makes a neighbour whose resolution failed; the kernel asks again when something is sent to it.
func (h *Host) NeighFailed(name, ip string) {
	h.t.Helper()
	h.neigh(name, ip, nil, netlink.NUD_FAILED)
}

func (h *Host) neigh(name, ip string, mac net.HardwareAddr, state int) {
	h.t.Helper()
	h.iface(name, "set neighbour "+ip+" on", func(l netlink.Link) error {
		return h.nl.NeighSet(&netlink.Neigh{
			LinkIndex: l.Attrs().Index, Family: netlink.FAMILY_V4, State: state,
			IP: h.addr(ip).AsSlice(), HardwareAddr: mac,
		})
	})
}
