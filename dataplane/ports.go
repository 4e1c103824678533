// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
	"mcr/dataplane/sock"
)

// perPort is how many sockets share a source port. The kernel looks through all of them at each bind and each ICMP error.
const perPort = 128

// ports chooses source ports so that 10,000 branches take 80 of the host's ephemeral ports instead of all: SO_REUSEADDR
// alone would spread them at random, and leave none for others. Sockets of one port differ in their peer, which is how the
// kernel tells whose an ICMP error is. By source address.
type ports map[netip.Addr]*sharedPort

// sharedPort is the port in use for new sockets.
type sharedPort struct {
	port  uint16
	users map[peer]struct{} // ever since; it only grows, to perPort
}

type peer struct {
	ifIndex plan.IfIndex
	dest    netip.AddrPort
}

// open opens the socket of po. last is the port that the output had before, 0 for none: it is taken again if nobody else
// has taken it meanwhile.
func (p ports) open(po *plan.Output, last uint16) (*socket, error) {
	s := &socket{socketKey: keyOf(po)}
	s.ttl, s.tos = headerOf(po)
	o := sock.Output{
		IfIndex: int(po.IfIndex), Source: po.Source, Port: po.SourcePort, Dest: po.Dest,
		TTL: s.ttl, TOS: s.tos,
	}
	var err error
	if o.Port != 0 {
		s.fd, s.port, err = sock.OpenOutput(o)
		return s, err
	}
	pr := peer{po.IfIndex, po.Dest}
	shared := p[po.Source]
	free := shared != nil && len(shared.users) < perPort
	if free {
		_, taken := shared.users[pr]
		free = !taken
	}
	for _, port := range [...]uint16{last, sharedOr0(shared, free)} {
		if port == 0 {
			continue
		}
		o.Port = port
		if s.fd, s.port, err = sock.OpenOutput(o); err == nil {
			if shared != nil && port == shared.port {
				shared.users[pr] = struct{}{}
			}
			return s, nil
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			return s, err
		}
	}
	o.Port = 0
	if s.fd, s.port, err = sock.OpenOutput(o); err == nil {
		p[po.Source] = &sharedPort{port: s.port, users: map[peer]struct{}{pr: {}}}
	}
	return s, err
}

func sharedOr0(s *sharedPort, free bool) uint16 {
	if !free {
		return 0
	}
	return s.port
}
