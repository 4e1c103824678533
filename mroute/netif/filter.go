// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"bytes"
	"net/netip"
	"os"
	"slices"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Filtered says whether the kernel's reverse-path filter drops what src sends to l, before any UDP socket sees it:
// __fib_validate_source, net/ipv4/fib_frontend.c. The stricter of the settings for all interfaces and for this one holds.
func (m *Monitor) Filtered(src netip.Addr, l *Link) bool {
	mode := max(rpFilter("all"), rpFilter(l.Name))
	if mode == 0 {
		return false
	}
	opt := &netlink.RouteGetOptions{FIBMatch: true} // all next hops
	if master := m.Snapshot().Index(l.Master); master != nil && master.Kind == "vrf" {
		opt.VrfName = master.Name
	}
	routes, err := m.handle.RouteGetWithOptions(src.AsSlice(), opt)
	if err != nil || len(routes) == 0 || routes[0].Type != unix.RTN_UNICAST {
		return true
	}
	r := routes[0]
	back := r.LinkIndex == int(l.Index) ||
		slices.ContainsFunc(r.MultiPath, func(n *netlink.NexthopInfo) bool { return n.LinkIndex == int(l.Index) })
	// Loose (2) takes a source that is reachable by whatever interface, if the one it comes in by has an address.
	return !back && (mode == 1 || !l.HasAddr())
}

// rpFilter reads net.ipv4.conf.NAME.rp_filter of the calling thread's network namespace; 0 where it cannot be read.
func rpFilter(name string) int {
	b, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + name + "/rp_filter")
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(string(bytes.TrimSpace(b)))
	return n
}
