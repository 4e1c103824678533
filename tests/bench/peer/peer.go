// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"bufio"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// kinds are the peers by name.
var kinds = map[string]func(*config) error{
	"naive":        naive,
	"sendmmsg":     func(c *config) error { return mmsg(c, false) },
	"gso":          func(c *config) error { return mmsg(c, true) },
	"threads":      threads,
	"uring":        func(c *config) error { return uring(c, uringWays{}) },
	"uring-gso":    func(c *config) error { return uring(c, uringWays{gso: true}) },
	"uring-gso-zc": func(c *config) error { return uring(c, uringWays{gso: true, zeroCopy: true}) },
}

// config is what all peers are told.
type config struct {
	iface   string
	group   netip.AddrPort
	outs    []netip.AddrPort
	gro     bool
	bufs    int
	rcvbuf  int
	ttl     int
	maxSegs int
	mtu     int
}

// Run is the peer that args name, with its flags. It returns an error or never.
func Run(args []string) (err error) {
	if len(args) < 1 || kinds[args[0]] == nil {
		return fmt.Errorf("fwd: which kind?")
	}
	defer func() {
		if e, ok := recover().(error); ok {
			err = fmt.Errorf("%s: %w", args[0], e)
		}
	}()
	fs := flag.NewFlagSet("fwd", flag.ExitOnError)
	c := &config{}
	fs.StringVar(&c.iface, "iface", "hr0", "input interface")
	group := fs.String("group", "239.1.1.1:5000", "input group:port")
	file := fs.String("outs", "", "file with one ADDRESS:PORT per line")
	fs.BoolVar(&c.gro, "gro", true, "UDP_GRO on the input (GSO kinds)")
	fs.IntVar(&c.bufs, "bufs", 512, "receive buffers (io_uring kinds; a power of two)")
	fs.IntVar(&c.rcvbuf, "rcvbuf", 8<<20, "input SO_RCVBUF")
	fs.IntVar(&c.ttl, "ttl", 64, "unicast TTL")
	fs.IntVar(&c.maxSegs, "maxsegs", 64, "datagrams per UDP_SEGMENT send")
	fs.IntVar(&c.mtu, "mtu", 1500, "egress MTU: larger segments are never grouped")
	check(fs.Parse(args[1:]))
	c.group = must(netip.ParseAddrPort(*group))
	if *file != "" {
		f := must(os.Open(*file))
		for sc := bufio.NewScanner(f); sc.Scan(); {
			if s := strings.TrimSpace(sc.Text()); s != "" {
				c.outs = append(c.outs, must(netip.ParseAddrPort(s)))
			}
		}
		f.Close()
	}
	if len(c.outs) == 0 {
		return fmt.Errorf("fwd: no outputs")
	}
	return kinds[args[0]](c)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func must[T any](v T, err error) T {
	check(err)
	return v
}

// inputSocket joins the group and receives only that group, only on that interface.
func inputSocket(c *config, gro bool) int {
	fd := must(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0))
	ifi := must(net.InterfaceByName(c.iface))
	check(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	receiveBuffer(fd, c.rcvbuf)
	// Without this the socket also gets groups that others on this host joined (the default is 1).
	check(unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0))
	if gro {
		check(unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1))
	}
	check(unix.Bind(fd, &unix.SockaddrInet4{Port: int(c.group.Port()), Addr: c.group.Addr().As4()}))
	mreq := unix.IPMreqn{Multiaddr: c.group.Addr().As4(), Ifindex: int32(ifi.Index)}
	check(unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &mreq))
	return fd
}

func receiveBuffer(fd, size int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) != nil {
		check(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size))
	}
}

// outputSocket is connected: the route is looked up once and cached, and ICMP errors come back on it alone. REUSEADDR lets
// 60,000 of them share local ports.
func outputSocket(c *config, dst netip.AddrPort) int {
	fd := must(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0))
	check(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	check(unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, c.ttl))
	// OMIT: never set DF, ignore learned path MTUs, fragment at the interface MTU.
	check(unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_OMIT))
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 4<<20) != nil {
		check(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<20))
	}
	check(unix.Connect(fd, &unix.SockaddrInet4{Port: int(dst.Port()), Addr: dst.Addr().As4()}))
	return fd
}

func outputSockets(c *config) []int32 {
	fds := make([]int32, len(c.outs))
	for i := range c.outs {
		fds[i] = int32(outputSocket(c, c.outs[i]))
	}
	return fds
}
