// SPDX-License-Identifier: Apache-2.0

package main

// The reference forwarders: what they share, and the one that is written first.

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

type fwdConf struct {
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

func runFwd(args []string) error {
	if len(args) < 1 {
		return fmt.Errorf("fwd: which kind?")
	}
	kind := args[0]
	fs := flag.NewFlagSet("fwd", flag.ExitOnError)
	c := &fwdConf{}
	fs.StringVar(&c.iface, "iface", "hr0", "input interface")
	group := fs.String("group", "239.1.1.1:5000", "input group:port")
	file := fs.String("outs", "", "file with one ADDRESS:PORT per line")
	fs.BoolVar(&c.gro, "gro", true, "UDP_GRO on the input (GSO kinds)")
	fs.IntVar(&c.bufs, "bufs", 512, "receive buffers (io_uring kinds; a power of two)")
	fs.IntVar(&c.rcvbuf, "rcvbuf", 4<<20, "input SO_RCVBUF")
	fs.IntVar(&c.ttl, "ttl", 64, "unicast TTL")
	fs.IntVar(&c.maxSegs, "maxsegs", 64, "datagrams per UDP_SEGMENT send")
	fs.IntVar(&c.mtu, "mtu", 1500, "egress MTU: larger segments are never grouped")
	check(fs.Parse(args[1:]))
	c.group = must(netip.ParseAddrPort(*group))
	if *file != "" {
		f := must(os.Open(*file))
		for sc := bufio.NewScanner(f); sc.Scan(); {
			if s := strings.TrimSpace(sc.Text()); s != "" {
				a := must(netip.ParseAddrPort(s))
				c.outs = append(c.outs, a)
			}
		}
		f.Close()
	}
	if len(c.outs) == 0 {
		return fmt.Errorf("fwd: no outputs")
	}
	switch kind {
	case "naive":
		return fwdNaive(c)
	case "mmsg":
		return fwdMmsg(c, false)
	case "gso":
		return fwdMmsg(c, true)
	case "uring-gso":
		return fwdUring(c)
	}
	return fmt.Errorf("fwd: unknown kind %q", kind)
}

// inputSocket joins the group and receives only that group, only on that interface.
func inputSocket(c *fwdConf, gro bool) int {
	fd := must(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0))
	ifi := must(net.InterfaceByName(c.iface))
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, c.rcvbuf) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, c.rcvbuf)
	}
	// Without this the socket also gets groups that others on this host joined (the default is 1).
	unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0)
	if gro {
		unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	}
	check(unix.Bind(fd, &unix.SockaddrInet4{Port: int(c.group.Port()), Addr: c.group.Addr().As4()}))
	mreq := unix.IPMreqn{Multiaddr: c.group.Addr().As4(), Ifindex: int32(ifi.Index)}
	check(unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &mreq))
	return fd
}

// outputSocket is connected: the route is looked up once and cached, and ICMP errors come back on it alone.
func outputSocket(c *fwdConf, dst netip.AddrPort) int {
	fd := must(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0))
	unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, c.ttl)
	// OMIT: never set DF, ignore learned path MTUs, fragment at the interface MTU.
	unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_OMIT)
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<20)
	check(unix.Connect(fd, &unix.SockaddrInet4{Port: int(dst.Port()), Addr: dst.Addr().As4()}))
	return fd
}

func outputSockets(c *fwdConf) []int32 {
	fds := make([]int32, len(c.outs))
	for i := range c.outs {
		fds[i] = int32(outputSocket(c, c.outs[i]))
	}
	return fds
}

// fwdNaive is the loop that one writes first.
func fwdNaive(c *fwdConf) error {
	ifi := must(net.InterfaceByName(c.iface))
	in := must(net.ListenMulticastUDP("udp4", ifi, net.UDPAddrFromAddrPort(c.group)))
	in.SetReadBuffer(c.rcvbuf)
	out := must(net.ListenUDP("udp4", nil))
	dst := make([]*net.UDPAddr, len(c.outs))
	for i, a := range c.outs {
		dst[i] = net.UDPAddrFromAddrPort(a)
	}
	buf := make([]byte, 65536)
	for {
		n, _, err := in.ReadFromUDP(buf)
		check(err)
		for _, d := range dst {
			out.WriteToUDP(buf[:n], d)
		}
	}
}
