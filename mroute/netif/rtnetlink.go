// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

// datagram is as much as the kernel puts into one: a dump comes in up to 32 kB, a notice is smaller.
const datagram = 64 << 10

// patience is how long an answer may take. The kernel gives it at once, or is broken.
const patience = 10 * time.Second

// errInterrupted says that something changed during a dump, so that it may lack what was there all along.
var errInterrupted = errors.New("the dump was interrupted")

// openRoute opens a socket of NETLINK_ROUTE in the calling thread's network namespace that hears groups (RTNLGRP_…).
func openRoute(groups ...uint) (fd int, f *os.File, err error) {
	fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return 0, nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	addr := &unix.SockaddrNetlink{Family: unix.AF_NETLINK}
	for _, g := range groups {
		addr.Groups |= 1 << (g - 1)
	}
	if err := unix.Bind(fd, addr); err != nil {
		_ = unix.Close(fd)
		return 0, nil, fmt.Errorf("subscribe to rtnetlink: %w", err)
	}
	return fd, os.NewFile(uintptr(fd), "rtnetlink"), nil
}

// conn asks rtnetlink. It is no vishvananda/netlink handle because links are read one by one, up to thousands in a second:
// that package takes 64 kB of fresh memory for each datagram, and its links do not always tell their kind (a gre tunnel
// without local address is ip6gre there). One goroutine may use it at a time.
type conn struct {
	file *os.File
	seq  uint32
	buf  []byte // what was read last
}

func openConn() (*conn, error) {
	fd, f, err := openRoute()
	if err != nil {
		return nil, err
	}
	// Linux 4.20: addresses can be asked for by interface. Without, more is answered than was asked, and thrown away.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	return &conn{file: f, buf: make([]byte, datagram)}, nil
}

// ask sends a request and hands each message of the answer to take, which must not keep it. After errInterrupted the
// answer was whole but for what it says.
func (c *conn) ask(typ, flags uint16, body []byte, take func([]byte)) error {
	c.seq++
	order := binary.NativeEndian
	req := order.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	req = order.AppendUint16(req, typ)
	req = order.AppendUint16(req, unix.NLM_F_REQUEST|flags)
	req = order.AppendUint32(req, c.seq)
	req = order.AppendUint32(req, 0)
	if _, err := c.file.Write(append(req, body...)); err != nil {
		return err
	}
	if err := c.file.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	interrupted := false
	for {
		n, err := c.file.Read(c.buf)
		if err != nil {
			return err
		}
		for m, rest, ok := cut(c.buf[:n]); ok; m, rest, ok = cut(rest) {
			if m.seq != c.seq { // of an answer that was given up
				continue
			}
			interrupted = interrupted || m.flags&unix.NLM_F_DUMP_INTR != 0
			last := m.flags&unix.NLM_F_MULTI == 0
			switch m.typ {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				if err := m.errno(); err != nil {
					return err
				}
				last = true
			default:
				take(m.data)
			}
			switch {
			case last && interrupted:
				return errInterrupted
			case last:
				return nil
			}
		}
	}
}

// message is one netlink message: struct nlmsghdr, linux/netlink.h.
type message struct {
	typ, flags uint16
	seq        uint32
	data       []byte
}

// cut returns the first message of b and what follows it; false where none is whole.
func cut(b []byte) (m message, rest []byte, ok bool) {
	if len(b) < unix.SizeofNlMsghdr {
		return m, nil, false
	}
	order := binary.NativeEndian
	n := order.Uint32(b)
	if n < unix.SizeofNlMsghdr || uint64(n) > uint64(len(b)) {
		return m, nil, false
	}
	m = message{order.Uint16(b[4:]), order.Uint16(b[6:]), order.Uint32(b[8:]), b[unix.SizeofNlMsghdr:n]}
	return m, b[min(len(b), (int(n)+3)&^3):], true
}

// errno is the error that a message of type NLMSG_ERROR or NLMSG_DONE carries; none is success.
func (m message) errno() error {
	if len(m.data) < 4 {
		return nil
	}
	if n := int32(binary.NativeEndian.Uint32(m.data)); n < 0 {
		return unix.Errno(-n)
	}
	return nil
}

// attribute returns the value of the first route attribute of a type (struct rtattr, linux/rtnetlink.h).
func attribute(b []byte, typ uint16) ([]byte, bool) {
	for len(b) >= unix.SizeofRtAttr {
		n, t := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if n < unix.SizeofRtAttr || n > len(b) {
			break
		}
		if t&^uint16(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER) == typ {
			return b[unix.SizeofRtAttr:n], true
		}
		b = b[min(len(b), (n+3)&^3):]
	}
	return nil, false
}

// link reads one link with its addresses, not its WireGuard peers; nil: there is none.
func (c *conn) link(i plan.IfIndex) (l *Link, err error) {
	err = c.ask(unix.RTM_GETLINK, 0, linkRequest(i), func(b []byte) {
		if is, ok := parseLink(b); ok && is.Index == i {
			l = is
		}
	})
	if err == nil && l != nil {
		err = c.ask(unix.RTM_GETADDR, unix.NLM_F_DUMP, addrRequest(i), func(b []byte) {
			if a, ok := parseAddr(b); ok && a.link == i {
				l.Addrs = append(l.Addrs, a.Addr)
			}
		})
	}
	switch {
	case errors.Is(err, unix.ENODEV):
		return nil, nil
	case errors.Is(err, errInterrupted): // by another link, or by what there will be a notice of
		return l, nil
	case err != nil:
		return nil, fmt.Errorf("read link %d: %w", i, err)
	}
	return l, nil
}

// links reads all links with their addresses. whole is false where some may be missing, or lack an address.
func (c *conn) links() (links map[plan.IfIndex]*Link, whole bool, err error) {
	links, whole = map[plan.IfIndex]*Link{}, true
	err = c.ask(unix.RTM_GETLINK, unix.NLM_F_DUMP, linkRequest(0), func(b []byte) {
		if l, ok := parseLink(b); ok {
			links[l.Index] = l
		}
	})
	if errors.Is(err, errInterrupted) {
		whole, err = false, nil
	}
	if err == nil {
		err = c.ask(unix.RTM_GETADDR, unix.NLM_F_DUMP, addrRequest(0), func(b []byte) {
			// A link that went between the two dumps is no loss: there will be a notice.
			if a, ok := parseAddr(b); ok && links[a.link] != nil {
				links[a.link].Addrs = append(links[a.link].Addrs, a.Addr)
			}
		})
	}
	if errors.Is(err, errInterrupted) {
		whole, err = false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read links and addresses: %w", err)
	}
	return links, whole, nil
}

// linkRequest is a struct ifinfomsg with IFLA_EXT_MASK: statistics, half of an answer, are left out.
func linkRequest(i plan.IfIndex) []byte {
	const skipStats = 1 << 3 // RTEXT_FILTER_SKIP_STATS, Linux 4.4
	order := binary.NativeEndian
	b := make([]byte, unix.SizeofIfInfomsg)
	order.PutUint32(b[4:], uint32(i))
	b = order.AppendUint16(b, unix.SizeofRtAttr+4)
	b = order.AppendUint16(b, unix.IFLA_EXT_MASK)
	return order.AppendUint32(b, skipStats)
}

// addrRequest is a struct ifaddrmsg.
func addrRequest(i plan.IfIndex) []byte {
	b := make([]byte, unix.SizeofIfAddrmsg)
	b[0] = unix.AF_INET
	binary.NativeEndian.PutUint32(b[4:], uint32(i))
	return b
}
