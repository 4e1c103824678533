// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Errors of Route.
var (
	// ErrNoRoute: no route leads to the destination at all.
	ErrNoRoute = errors.New("no route")
	// ErrRouteElsewhere: a route exists, and leaves by another interface.
	ErrRouteElsewhere = errors.New("the route leaves by another interface")
)

// Route returns the source address that the kernel would give a datagram to dst which leaves by l.
//
// The kernel takes a destination without a route for on-link when an interface is given, and answers as if all were
// well (ip_route_output_key_hash_rcu, net/ipv4/route.c). On an interface with neighbours that is a black hole, so the
// forwarding table itself is asked as well. On a point-to-point or NOARP link it is the way to send.
func (m *Monitor) Route(dst netip.Addr, l *Link) (netip.Addr, error) {
	opt := &netlink.RouteGetOptions{OifIndex: int(l.Index)}
	routes, err := m.handle.RouteGetWithOptions(dst.AsSlice(), opt)
	if err != nil {
		return netip.Addr{}, m.noRoute(dst, l, err)
	}
	if len(routes) == 0 {
		return netip.Addr{}, ErrNoRoute
	}
	onLink := routes[0].Gw == nil
	if onLink && !dst.IsMulticast() && !l.PointPoint && !l.NoARP && !l.Loopback && !l.onSubnet(dst) {
		opt.FIBMatch = true
		if _, err := m.handle.RouteGetWithOptions(dst.AsSlice(), opt); err != nil {
			return netip.Addr{}, m.noRoute(dst, l, err)
		}
	}
	src, ok := fromIP(routes[0].Src)
	if !ok {
		return netip.Addr{}, fmt.Errorf("route to %v on %s names no source address", dst, l.Name)
	}
	return src, nil
}

// onSubnet says that dst is on one of the link's own subnets: the route that came with the address needs no second look.
func (l *Link) onSubnet(dst netip.Addr) bool {
	for _, a := range l.Addrs {
		if a.Prefix.Contains(dst) {
			return true
		}
	}
	return false
}

// noRoute tells "none at all" from "none here".
func (m *Monitor) noRoute(dst netip.Addr, l *Link, err error) error {
	if !errors.Is(err, unix.ENETUNREACH) && !errors.Is(err, unix.EHOSTUNREACH) {
		return fmt.Errorf("look up route to %v on %s: %w", dst, l.Name, err)
	}
	routes, err := m.handle.RouteGetWithOptions(dst.AsSlice(), nil)
	if err == nil && len(routes) > 0 && routes[0].LinkIndex != int(l.Index) {
		return ErrRouteElsewhere
	}
	return ErrNoRoute
}
