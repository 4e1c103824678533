// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Lab is one topology. It ends with its test.
type Lab struct {
	t     TB
	hosts map[string]*Host
}

// New begins an empty topology.
func New(t TB) *Lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatalf("the lab needs root: it makes network namespaces")
	}
	return &Lab{t: t, hosts: map[string]*Host{}}
}

// Host is one machine of the topology.
type Host struct {
	Name string

	t  TB
	ns netns.NsHandle
	nl *netlink.Handle

	far map[int]end // the other ends of our veth pairs, by our index
}

// end is one end of a veth pair.
type end struct {
	host  *Host
	index int
}

// Host makes a machine with lo up, without IPv6 (its chatter disturbs counts) and without reverse-path filter; asked again, it
// returns the same one.
func (l *Lab) Host(name string) *Host {
	l.t.Helper()
	if h := l.hosts[name]; h != nil {
		return h
	}
	ns, err := newNetns()
	if err != nil {
		l.t.Fatalf("host %s: %v", name, err)
	}
	l.t.Cleanup(func() { closeNetns(ns) })
	nl, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		l.t.Fatalf("host %s: netlink: %v", name, err)
	}
	l.t.Cleanup(nl.Close)
	h := &Host{Name: name, t: l.t, ns: ns, nl: nl, far: map[int]end{}}
	for _, which := range []string{"all", "default"} {
		h.Sysctl("net/ipv4/conf/"+which+"/rp_filter", "0")
		if _, err := os.Stat("/proc/sys/net/ipv6"); err == nil {
			h.Sysctl("net/ipv6/conf/"+which+"/disable_ipv6", "1")
		}
	}
	h.Up("lo")
	l.hosts[name] = h
	return h
}

// setAside renames a device of that name that a loaded tunnel driver made in each network namespace, such as gre0, and that nobody
// can delete.
func (h *Host) setAside(name string) {
	h.t.Helper()
	l, err := h.nl.LinkByName(name)
	if err != nil {
		return // as a rule there is none
	}
	if l.Type() == "veth" || l.Type() == "tuntap" {
		return // the lab's own: that is a mistake, and told as such
	}
	if err := h.nl.LinkSetName(l, "fb-"+name); err != nil {
		h.fatal(err, "rename %s", name)
	}
}

// Link joins two hosts with a veth pair, both ends up; an address "" leaves that end without.
func (l *Lab) Link(a *Host, aIface, aAddr string, b *Host, bIface, bAddr string) {
	l.t.Helper()
	a.setAside(aIface)
	b.setAside(bIface)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = aIface
	attrs.Namespace = netlink.NsFd(int(a.ns))
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: bIface, PeerNamespace: netlink.NsFd(int(b.ns))}
	if err := a.nl.LinkAdd(veth); err != nil {
		l.t.Fatalf("link %s/%s - %s/%s: %v", a.Name, aIface, b.Name, bIface, err)
	}
	ai, bi := a.Index(aIface), b.Index(bIface)
	a.far[ai], b.far[bi] = end{b, bi}, end{a, ai}
	for _, e := range []struct {
		h           *Host
		iface, addr string
	}{{a, aIface, aAddr}, {b, bIface, bAddr}} {
		if e.addr != "" {
			e.h.Addr(e.iface, e.addr)
		}
		e.h.Up(e.iface)
	}
}

// fatal ends the test with what was tried on which host.
func (h *Host) fatal(err error, format string, a ...any) {
	h.t.Helper()
	h.t.Fatalf("host %s: %s: %v", h.Name, fmt.Sprintf(format, a...), err)
}

func (h *Host) addr(s string) netip.Addr {
	h.t.Helper()
	a, err := netip.ParseAddr(s)
	if err != nil {
		h.fatal(err, "address %q", s)
	}
	return a
}
