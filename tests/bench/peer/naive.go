// SPDX-License-Identifier: Apache-2.0

package peer

import "net"

// naive is the loop that one writes first.
func naive(c *config) error {
	ifi := must(net.InterfaceByName(c.iface))
	in := must(net.ListenMulticastUDP("udp4", ifi, net.UDPAddrFromAddrPort(c.group)))
	check(control(in, func(fd int) { receiveBuffer(fd, c.rcvbuf) }))
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

func control(c *net.UDPConn, f func(fd int)) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { f(int(fd)) })
}
