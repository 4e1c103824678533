// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

// attr is a route attribute as the kernel writes it.
func attr(typ uint16, value ...byte) []byte {
	order := binary.NativeEndian
	b := order.AppendUint16(nil, uint16(unix.SizeofRtAttr+len(value)))
	return append(append(order.AppendUint16(b, typ), value...), make([]byte, -len(value)&3)...)
}

func cat(bs ...[]byte) (out []byte) {
	for _, b := range bs {
		out = append(out, b...)
	}
	return out
}

// linkMessage is the body of an RTM_NEWLINK.
func linkMessage(index int32, flags uint32, attrs ...[]byte) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint32(b[8:], flags)
	return append(b, cat(attrs...)...)
}

// addrMessage is the body of an RTM_NEWADDR.
func addrMessage(index int32, bits byte, attrs ...[]byte) []byte {
	b := []byte{unix.AF_INET, bits, 0, 0, 0, 0, 0, 0}
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	return append(b, cat(attrs...)...)
}

// datagramOf is a netlink message with its header.
func datagramOf(typ uint16, body []byte) []byte {
	order := binary.NativeEndian
	b := order.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	b = append(order.AppendUint16(b, typ), make([]byte, 10)...)
	return append(append(b, body...), make([]byte, -len(body)&3)...)
}

func TestP2_1_ParseLink(t *testing.T) {
	const nested = unix.NLA_F_NESTED
	gre := func(data ...[]byte) []byte {
		return attr(unix.IFLA_LINKINFO|nested, cat(attr(unix.IFLA_INFO_KIND, []byte("gre\x00")...), attr(unix.IFLA_INFO_DATA, cat(data...)...))...)
	}
	name := attr(unix.IFLA_IFNAME, []byte("t0\x00")...)
	for _, c := range []struct {
		name string
		data []byte
		want *Link // nil: refused
	}{
		{"hardware", linkMessage(2, unix.IFF_UP|unix.IFF_MULTICAST, name, attr(unix.IFLA_OPERSTATE, 6)), &Link{
			Index: 2, Name: "t0", Up: true, Running: true, Multicast: true, Oper: "UP",
		}},
		{"a tunnel", linkMessage(2, unix.IFF_POINTOPOINT|unix.IFF_NOARP, name, gre(attr(6, 192, 0, 2, 1), attr(7, 192, 0, 2, 2))), &Link{
			Index: 2, Name: "t0", Kind: "gre", PointPoint: true, NoARP: true, Oper: "DOWN", OuterLocal: ip("192.0.2.1"), OuterRemote: ip("192.0.2.2"),
		}},
		{"any remote", linkMessage(2, 0, name, gre(attr(6, 0, 0, 0, 0), attr(7, 0, 0, 0, 0))), &Link{Index: 2, Name: "t0", Kind: "gre", Oper: "DOWN"}},
		{"collect-metadata", linkMessage(2, 0, name, gre(attr(18))), &Link{Index: 2, Name: "t0", Kind: "gre", Oper: "DOWN", External: true}},
		{"a remote of six bytes", linkMessage(2, 0, name, gre(attr(7, 1, 2, 3, 4, 5, 6))), &Link{Index: 2, Name: "t0", Kind: "gre", Oper: "DOWN"}},
		{"no name", linkMessage(2, 0), nil},
		{"no index", linkMessage(0, 0, name), nil},
		{"a negative index", linkMessage(-1, 0, name), nil},
		{"a header cut off", linkMessage(2, 0)[:15], nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, ok := parseLink(c.data)
			if ok != (c.want != nil) {
				t.Fatalf("taken: %v", ok)
			}
			if c.want == nil {
				return
			}
			if diff := cmp.Diff(c.want, l, cmpopts.EquateComparable(netip.Addr{}), cmpopts.IgnoreFields(Link{}, "Type")); diff != "" {
				t.Errorf("link (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseAddr(t *testing.T) {
	one, two := []byte{10, 5, 0, 1}, []byte{10, 5, 0, 2}
	for _, c := range []struct {
		name string
		data []byte
		want Addr // invalid: refused
	}{
		{"plain", addrMessage(2, 24, attr(unix.IFA_ADDRESS, one...), attr(unix.IFA_LOCAL, one...)), Addr{IP: ip("10.5.0.1"), Prefix: netip.MustParsePrefix("10.5.0.1/24")}},
		{"peer", addrMessage(2, 32, attr(unix.IFA_ADDRESS, two...), attr(unix.IFA_LOCAL, one...)), Addr{IP: ip("10.5.0.1"), Peer: ip("10.5.0.2"), Prefix: netip.MustParsePrefix("10.5.0.2/32")}},
		{"one attribute", addrMessage(2, 24, attr(unix.IFA_ADDRESS, one...)), Addr{IP: ip("10.5.0.1"), Prefix: netip.MustParsePrefix("10.5.0.1/24")}},
		{"no attribute", addrMessage(2, 24), Addr{}},
		{"33 bits", addrMessage(2, 33, attr(unix.IFA_LOCAL, one...)), Addr{}},
		{"no link", addrMessage(0, 24, attr(unix.IFA_LOCAL, one...)), Addr{}},
		{"another family", append([]byte{unix.AF_INET6}, addrMessage(2, 24, attr(unix.IFA_LOCAL, one...))[1:]...), Addr{}},
		{"cut off", addrMessage(2, 24)[:7], Addr{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, ok := parseAddr(c.data)
			if ok != c.want.IP.IsValid() || ok && (a.Addr != c.want || a.link != 2) {
				t.Errorf("%+v, %v, want %+v", a, ok, c.want)
			}
		})
	}
}

func TestParseHint(t *testing.T) {
	bridge := linkMessage(7, 0)
	bridge[0] = unix.AF_BRIDGE
	route := []byte{unix.AF_INET, 16, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0}
	for _, c := range []struct {
		name string
		typ  uint16
		data []byte
		want hint
	}{
		{"link", unix.RTM_NEWLINK, linkMessage(7, 0), hint{link: 7}},
		{"deleted", unix.RTM_DELLINK, linkMessage(7, 0), hint{link: 7, deleted: true}},
		{"left its bridge", unix.RTM_DELLINK, bridge, hint{link: 7}},
		{"address", unix.RTM_DELADDR, addrMessage(7, 24), hint{link: 7}},
		{"route", unix.RTM_NEWROUTE, cat(route, attr(unix.RTA_DST, 10, 9, 0, 0), attr(unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, 7)...)), hint{prefix: netip.MustParsePrefix("10.9.0.0/16"), via: 7}},
		{"route by several", unix.RTM_NEWROUTE, cat(route, attr(unix.RTA_DST, 10, 9, 0, 0)), hint{prefix: netip.MustParsePrefix("10.9.0.0/16")}},
		{"rule", unix.RTM_NEWRULE, nil, hint{routes: true}},
		{"neighbour", unix.RTM_NEWNEIGH, linkMessage(7, 0), hint{}},
		{"no index", unix.RTM_NEWLINK, linkMessage(0, 0), hint{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if h, ok := parseHint(c.typ, c.data); ok != (c.want != hint{}) || ok && h != c.want {
				t.Errorf("%+v, %v, want %+v", h, ok, c.want)
			}
		})
	}
}

func FuzzParseLink(f *testing.F) {
	for _, b := range goldenLinks(f) {
		f.Add(b)
	}
	f.Add(linkMessage(2, 0, attr(unix.IFLA_IFNAME, []byte("t0")...)))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, ok := parseLink(data)
		if !ok {
			return
		}
		if l.Index <= 0 || l.Name == "" || strings.ContainsRune(l.Name, 0) {
			t.Errorf("a link %d named %q", l.Index, l.Name)
		}
		for _, a := range []netip.Addr{l.OuterLocal, l.OuterRemote} {
			if a.IsValid() && (!a.Is4() || a.IsUnspecified()) {
				t.Errorf("it leads to %v", a)
			}
		}
		Resolve(l, isOwn, nil, Holder{})
	})
}

func FuzzParseAddr(f *testing.F) {
	f.Add(addrMessage(2, 32, attr(unix.IFA_ADDRESS, 10, 5, 0, 2), attr(unix.IFA_LOCAL, 10, 5, 0, 1)))
	f.Add(addrMessage(2, 31, attr(unix.IFA_LOCAL, 10, 5, 0, 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, ok := parseAddr(data)
		if ok && (a.link <= 0 || !a.IP.Is4() || !a.Prefix.IsValid() || a.Peer == a.IP) {
			t.Errorf("%+v", a)
		}
		a.subnetPeer()
	})
}

func FuzzParseHint(f *testing.F) {
	f.Add(uint16(24), []byte{2, 16, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0, 8, 0, 1, 0, 10, 9, 0, 0})
	f.Add(uint16(16), make([]byte, 16))
	f.Add(uint16(20), make([]byte, 8))
	f.Fuzz(func(t *testing.T, typ uint16, data []byte) {
		h, ok := parseHint(typ, data)
		if ok && h.link <= 0 && !h.prefix.IsValid() && !h.routes {
			t.Errorf("%+v says nothing", h)
		}
	})
}

// A datagram of whatever content makes something doubtful, or everything, and never more than it has messages.
func FuzzHear(f *testing.F) {
	link := datagramOf(unix.RTM_NEWLINK, linkMessage(7, 0, attr(unix.IFLA_IFNAME, []byte("eth0\x00")...)))
	f.Add(link)
	f.Add(cat(link, datagramOf(unix.RTM_DELADDR, addrMessage(8, 24))))
	f.Add(link[:20])
	f.Fuzz(func(t *testing.T, data []byte) {
		d := newDoubts()
		d.hear(data)
		got := d.take()
		if n := len(got.links) + len(got.prefixes); n > len(data)/unix.SizeofNlMsghdr {
			t.Errorf("%d bytes make %d doubtful", len(data), n)
		}
		for i := range got.links {
			if i <= plan.IfIndex(0) {
				t.Errorf("link %d", i)
			}
		}
	})
}
