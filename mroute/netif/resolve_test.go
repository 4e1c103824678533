// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

// own is the address of this host in these tests.
var own = ip("10.5.0.1")

func isOwn(a netip.Addr) bool { return a == own }

// on gives a link addresses, each "10.5.0.1/24" or "10.5.0.1 peer 10.5.0.2/32".
func on(l Link, addrs ...string) *Link {
	for _, s := range addrs {
		local, peer, ok := strings.Cut(s, " peer ")
		if !ok {
			p := netip.MustParsePrefix(s)
			l.Addrs = append(l.Addrs, Addr{IP: p.Addr(), Prefix: p})
			continue
		}
		p := netip.MustParsePrefix(peer)
		l.Addrs = append(l.Addrs, Addr{IP: ip(local), Peer: p.Addr(), Prefix: p})
	}
	return &l
}

// tunnel is a tunnel of a kind as the kernel shows it; remote "" is none.
func tunnel(kind, remote string) Link {
	l := Link{Name: "t0", Kind: kind, Type: kind, NoARP: true, OuterLocal: ip("192.0.2.1")}
	if remote != "" {
		l.OuterRemote, l.PointPoint = ip(remote), true
	}
	if kind == "vti" {
		l.Type = "ipip"
	}
	return l
}

// wg is a WireGuard interface; each peer is its allowed-ips.
func wg(peers ...string) Link {
	l := Link{Name: "wg0", Kind: "wireguard", Type: "none", NoARP: true, PointPoint: true}
	for i, s := range peers {
		p := Peer{Key: fmt.Sprint(i)}
		for _, a := range strings.Fields(s) {
			p.AllowedIPs = append(p.AllowedIPs, netip.MustParsePrefix(a))
		}
		l.Peers = append(l.Peers, p)
	}
	return l
}

// conf is what is configured, each "10.5.0.9" or "10.5.0.9 for 10.5.0.2".
func conf(s ...string) []ConfiguredEndpoint {
	var out []ConfiguredEndpoint
	for _, e := range s {
		addr, neighbor, ok := strings.Cut(e, " for ")
		c := ConfiguredEndpoint{Address: ip(addr)}
		if ok {
			c.Neighbor = ip(neighbor)
		}
		out = append(out, c)
	}
	return out
}

func neighbor(s string) Holder { return Holder{ip(s), PIMNeighbor} }
func reporter(s string) Holder { return Holder{ip(s), IGMPReporter} }

// brief writes a resolution as "ADDRESS ORIGIN[=PASSED-OVER]; …", and the reason where there is one.
func brief(r Resolution) string {
	var out []string
	for _, c := range r.Candidates {
		s := c.Address.String() + " " + c.Origin.String()
		if !c.InUse() {
			s += "=" + c.PassedOver.String()
		}
		out = append(out, s)
	}
	if r.Reason != Resolved {
		out = append(out, r.Reason.String())
	}
	return strings.Join(out, "; ")
}

// Each row of P2.2, P2.3 and P2.4.
func TestP2_4_Resolve(t *testing.T) {
	external := tunnel("gre", "")
	external.External, external.Type = true, "none"
	tap := tunnel("gretap", "192.0.2.2")
	tap.Type, tap.NoARP, tap.PointPoint = "ether", false, false
	tun := Link{Name: "tun0", Kind: "tun", Type: "none", PointPoint: true, Multicast: true, NoARP: true}
	ether := Link{Name: "eth0", Type: "ether", Multicast: true}
	ppp := Link{Name: "ppp0", Type: "ppp", PointPoint: true, NoARP: true}
	static := Holder{}
	for _, c := range []struct {
		name string
		link *Link
		conf []ConfiguredEndpoint
		h    Holder
		want string
	}{
		// P2.2: what is found.
		{"P2.2 gre", on(tunnel("gre", "192.0.2.2")), nil, static, "192.0.2.2 outer-remote"},
		{"P2.2 ipip", on(tunnel("ipip", "192.0.2.2")), nil, static, "192.0.2.2 outer-remote"},
		{"P2.2 sit", on(tunnel("sit", "192.0.2.2")), nil, static, "192.0.2.2 outer-remote"},
		{"P2.2 vti", on(tunnel("vti", "192.0.2.2")), nil, static, "192.0.2.2 outer-remote"},
		{"P2.2 tun with a peer", on(tun, "10.5.0.1 peer 10.5.0.2/32"), nil, static, "10.5.0.2 peer-address"},
		{"P2.2 ppp", on(ppp, "10.5.0.1 peer 10.5.0.2/32"), nil, static, "10.5.0.2 peer-address"},
		{"P2.2 a peer with a prefix", on(tun, "10.5.0.1 peer 10.5.0.2/24"), nil, static, "10.5.0.2 peer-address"},
		{"P2.2 a peer on ethernet", on(ether, "10.5.0.1 peer 10.5.0.2/32"), nil, static, "10.5.0.2 peer-address"},
		{"P2.2 a /31 with ourselves", on(tun, "10.5.0.0/31"), nil, static, "10.5.0.1 subnet-peer=own-address; no-peer-information"},
		{"P2.2 a /31 from below", on(tun, "10.6.0.0/31"), nil, static, "10.6.0.1 subnet-peer"},
		{"P2.2 a /31 from above", on(tun, "10.6.0.1/31"), nil, static, "10.6.0.0 subnet-peer"},
		{"P2.2 a /30 from below", on(tun, "10.5.0.1/30"), nil, static, "10.5.0.2 subnet-peer"},
		{"P2.2 a /30 from above", on(tun, "10.6.0.6/30"), nil, static, "10.6.0.5 subnet-peer"},
		{"P2.2 a /30 on ethernet", on(ether, "10.5.0.1/30"), nil, static, "10.5.0.2 subnet-peer"},
		{"P2.2 the subnet of a /30", on(tun, "10.6.0.4/30"), nil, static, "no-peer-information"},
		{"P2.2 the broadcast of a /30", on(tun, "10.6.0.7/30"), nil, static, "no-peer-information"},
		{"P2.2 wireguard with one peer", on(wg("10.5.0.2/32")), nil, static, "10.5.0.2 wireguard-peer"},
		{"P2.2 wireguard, the /32 among networks", on(wg("10.5.0.2/32 10.6.0.0/24 fd00::2/128")), nil, static, "10.5.0.2 wireguard-peer"},

		// P2.3: what is not, and why.
		{"P2.3 no link", nil, conf("10.5.0.9"), static, "interface-missing"},
		{"P2.3 mGRE", on(tunnel("gre", "")), nil, static, "multipoint"},
		{"P2.3 ipip without remote", on(tunnel("ipip", "")), nil, static, "multipoint"},
		{"P2.3 sit without remote", on(tunnel("sit", "")), nil, static, "multipoint"},
		{"P2.3 vti without remote", on(tunnel("vti", "")), nil, static, "multipoint"},
		{"P2.3 collect-metadata", on(external), nil, static, "collect-metadata"},
		{"P2.3 gre to a group", on(tunnel("gre", "239.9.9.9")), nil, static, "239.9.9.9 outer-remote=multicast-remote; multicast-remote"},
		{
			"P2.3 wireguard with two peers", on(wg("10.5.0.2/32", "10.5.0.3/32 10.6.0.0/24")), nil, static,
			"10.5.0.2 wireguard-peer=several-peers; 10.5.0.3 wireguard-peer=several-peers; several-peers",
		},
		{"P2.3 wireguard without peer", on(wg()), nil, static, "no-peer-information"},
		{"P2.3 wireguard, a network alone", on(wg("10.6.0.0/24")), nil, static, "no-host-allowed-ip"},
		{"P2.3 wireguard, everything", on(wg("0.0.0.0/0")), nil, static, "no-host-allowed-ip"},
		{"P2.3 wireguard, nothing", on(wg("")), nil, static, "no-host-allowed-ip"},
		{
			"P2.3 wireguard, two hosts", on(wg("10.5.0.2/32 10.5.0.3/32")), nil, static,
			"10.5.0.2 wireguard-peer=several-hosts; 10.5.0.3 wireguard-peer=several-hosts; no-host-allowed-ip",
		},
		{"P2.3 wireguard, a host and a group", on(wg("10.5.0.2/32 239.1.1.1/32")), nil, static, "10.5.0.2 wireguard-peer; 239.1.1.1 wireguard-peer=multicast-remote"},
		{"P2.3 wireguard, a group", on(wg("239.1.1.1/32")), nil, static, "239.1.1.1 wireguard-peer=multicast-remote; no-host-allowed-ip"},
		{"P2.3 tun without peer", on(tun, "10.5.0.1/32"), nil, static, "no-peer-information"},
		{"P2.3 ethernet", on(ether, "10.5.0.1/24"), nil, static, "no-peer-information"},
		{"P2.3 a tunnel for ethernet", on(tap, "10.5.0.1/24"), nil, static, "no-peer-information"},
		{"P2.3 no address", on(tun), nil, static, "no-peer-information"},

		// P2.4: the order, for a learnt claim.
		{
			"P2.4 configured for that neighbour", on(tunnel("gre", "192.0.2.2"), "10.5.0.1 peer 10.5.0.2/32"),
			conf("10.5.0.8", "10.5.0.9 for 10.5.0.2"), neighbor("10.5.0.2"),
			"10.5.0.9 configured; 10.5.0.8 configured=outranked; 10.5.0.2 peer-address=outranked; 192.0.2.2 outer-remote=outranked",
		},
		{
			"P2.4 the only configured", on(tunnel("gre", "192.0.2.2"), "10.5.0.1 peer 10.5.0.2/32"),
			conf("10.5.0.8 for 10.5.0.7", "10.5.0.9"), neighbor("10.5.0.2"),
			"10.5.0.9 configured; 10.5.0.8 configured=other-neighbor; 10.5.0.2 peer-address=outranked; 192.0.2.2 outer-remote=outranked",
		},
		{
			"P2.4 the peer address", on(wg("10.5.0.4/32"), "10.6.0.1/30", "10.5.0.1 peer 10.5.0.2/32"), nil, neighbor("10.5.0.3"),
			"10.5.0.2 peer-address; 10.6.0.2 subnet-peer=outranked; 10.5.0.3 pim-neighbor=outranked; 10.5.0.4 wireguard-peer=outranked",
		},
		{
			"P2.4 the other host of a /30", on(wg("10.5.0.4/32"), "10.5.0.1/30"), nil, reporter("10.5.0.3"),
			"10.5.0.2 subnet-peer; 10.5.0.3 igmp-reporter=outranked; 10.5.0.4 wireguard-peer=outranked",
		},
		{
			"P2.4 the holder", on(wg("10.5.0.4/32"), "10.5.0.1/24"), nil, neighbor("10.5.0.3"),
			"10.5.0.3 pim-neighbor; 10.5.0.4 wireguard-peer=outranked",
		},
		{
			"P2.4 the holder of several peers", on(wg("10.5.0.2/32", "10.5.0.3/32"), "10.5.0.1/24"), nil, reporter("10.5.0.3"),
			"10.5.0.3 igmp-reporter; 10.5.0.2 wireguard-peer=several-peers",
		},
		{"P2.4 the holder behind mGRE", on(tunnel("gre", ""), "10.5.0.1/24"), nil, neighbor("10.5.0.3"), "10.5.0.3 pim-neighbor"},
		{"P2.4 the holder on ethernet", on(ether, "10.5.0.1/24"), nil, reporter("10.5.0.3"), "10.5.0.3 igmp-reporter"},
		{
			"P2.4 the outer remote comes last", on(tunnel("ipip", "192.0.2.2"), "10.5.0.1/24"), nil, neighbor("10.5.0.3"),
			"10.5.0.3 pim-neighbor; 192.0.2.2 outer-remote=outranked",
		},
		{"P2.4 a reporter without address", on(tunnel("ipip", "192.0.2.2"), "10.5.0.1/24"), nil, reporter("0.0.0.0"), "192.0.2.2 outer-remote"},
		{
			"P2.4 several configured serve no claim", on(tun, "10.5.0.1/24"), conf("10.5.0.8", "10.5.0.9"), reporter("0.0.0.0"),
			"10.5.0.8 configured=several-endpoints; 10.5.0.9 configured=several-endpoints; several-endpoints",
		},
		{
			"P2.4 several configured, and a holder", on(tun, "10.5.0.1/24"), conf("10.5.0.8", "10.5.0.9"), neighbor("10.5.0.3"),
			"10.5.0.8 configured=several-endpoints; 10.5.0.9 configured=several-endpoints; 10.5.0.3 pim-neighbor",
		},
		{
			"P2.4 configured for another, who is the peer", on(tun, "10.5.0.1 peer 10.5.0.2/32"), conf("10.5.0.2 for 10.5.0.7"), neighbor("10.5.0.3"),
			"10.5.0.2 peer-address; 10.5.0.3 pim-neighbor=outranked",
		},

		// P3.8: a static output goes to all that are configured, with neighbour or without.
		{
			"P3.8 several configured", on(tunnel("gre", "192.0.2.2"), "10.5.0.1 peer 10.5.0.2/32"),
			conf("10.5.0.7", "10.5.0.8", "10.5.0.9 for 10.5.0.2"), static,
			"10.5.0.7 configured; 10.5.0.8 configured; 10.5.0.9 configured; 10.5.0.2 peer-address=outranked; 192.0.2.2 outer-remote=outranked",
		},

		// Own addresses and groups.
		{
			"own address configured", on(tun, "10.5.0.1/30"), conf("10.5.0.1"), static,
			"10.5.0.1 configured=own-address; 10.5.0.2 subnet-peer",
		},
		{"own address is the remote", on(tunnel("gre", "10.5.0.1")), nil, static, "10.5.0.1 outer-remote=own-address; no-peer-information"},
		{"own report", on(ether, "10.5.0.1/24"), nil, reporter("10.5.0.1"), "10.5.0.1 igmp-reporter=own-address; no-peer-information"},
		{"a group configured", on(tun), conf("239.1.1.1"), static, "239.1.1.1 configured=multicast-remote; no-peer-information"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := brief(Resolve(c.link, isOwn, c.conf, c.h)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// P2.4: every mixture of evidence, compared with the order read from the specification word by word.
func TestP2_4_Mixtures(t *testing.T) {
	var links []*Link
	for _, base := range []Link{
		{Name: "tun0", Kind: "tun", Type: "none"},
		{Name: "eth0", Type: "ether"},
		tunnel("gre", ""), tunnel("gre", "10.5.0.2"), tunnel("vti", "10.5.0.6"), tunnel("sit", "239.9.9.9"), tunnel("ipip", "10.5.0.1"),
		wg(), wg("10.5.0.2/32"), wg("10.5.0.1/32"), wg("10.5.0.4/32 10.6.0.0/24"), wg("10.5.0.4/32 10.5.0.5/32"), wg("10.5.0.3/32", "10.5.0.4/32"),
	} {
		for _, addrs := range [][]string{
			nil,
			{"10.5.0.1/24"},
			{"10.5.0.1/30"},
			{"10.5.0.0/31"},
			{"10.5.0.1 peer 10.5.0.2/32"},
			{"10.5.0.1 peer 239.1.1.1/32"},
			{"10.5.0.1/24", "10.5.0.1 peer 10.5.0.6/32"},
			{"10.5.0.1/30", "10.5.0.9 peer 10.5.0.1/32", "10.5.0.9 peer 10.5.0.4/32"},
		} {
			links = append(links, on(base, addrs...))
		}
	}
	configured := [][]ConfiguredEndpoint{
		nil, conf("10.5.0.7"), conf("10.5.0.1"), conf("239.1.1.1"), conf("10.5.0.2 for 10.5.0.3"), conf("10.5.0.2 for 10.5.0.8"),
		conf("10.5.0.2", "10.5.0.7"), conf("10.5.0.1", "10.5.0.7"), conf("10.5.0.1 for 10.5.0.3", "10.5.0.7"),
		conf("10.5.0.2", "10.5.0.6 for 10.5.0.3", "10.5.0.7"), conf("10.5.0.2", "10.5.0.7 for 10.5.0.3"),
		conf("10.5.0.2 for 10.5.0.3", "10.5.0.7 for 10.5.0.3"), conf("10.5.0.2", "10.5.0.4", "10.5.0.7 for 10.5.0.8"),
	}
	holders := []Holder{{}, neighbor("10.5.0.3"), reporter("10.5.0.3"), reporter("10.5.0.1"), reporter("0.0.0.0"), neighbor("10.5.0.2")}
	n := 0
	for _, l := range links {
		for _, c := range configured {
			for _, h := range holders {
				n++
				got := Resolve(l, isOwn, c, h)
				want, origin := naive(l, c, h)
				if !slices.Equal(got.Endpoints(), want) || got.Origin() != origin {
					t.Errorf("%+v, configured %v, holder %v:\ngot  %s\nwant %v %v", *l, c, h, brief(got), want, origin)
				}
				if err := sound(got); err != nil {
					t.Errorf("%+v, configured %v, holder %v:\n%s: %v", *l, c, h, brief(got), err)
				}
			}
		}
	}
	t.Logf("%d mixtures", n)
}

// naive is P2.4 as it is written.
func naive(l *Link, conf []ConfiguredEndpoint, h Holder) ([]netip.Addr, Origin) {
	usable := func(a netip.Addr) bool { return a.Is4() && !a.IsUnspecified() && !a.IsMulticast() && a != own }
	if h == (Holder{}) {
		var all []netip.Addr
		for _, e := range conf {
			if usable(e.Address) {
				all = append(all, e.Address)
			}
		}
		if len(all) > 0 {
			return all, Configured
		}
	} else {
		var open []netip.Addr
		for _, e := range conf {
			if e.Neighbor.IsValid() && e.Neighbor == h.Addr && usable(e.Address) {
				return []netip.Addr{e.Address}, Configured
			}
			if !e.Neighbor.IsValid() {
				open = append(open, e.Address)
			}
		}
		if len(open) == 1 && usable(open[0]) {
			return open, Configured
		}
	}
	for _, a := range l.Addrs {
		if usable(a.Peer) {
			return []netip.Addr{a.Peer}, PeerAddress
		}
	}
	for _, a := range l.Addrs {
		if a.Peer.IsValid() || a.Prefix.Bits() != 30 && a.Prefix.Bits() != 31 {
			continue
		}
		// All hosts of the subnet but this one; a /30 has two between its own and its broadcast address.
		var hosts []netip.Addr
		for x := a.Prefix.Masked().Addr(); a.Prefix.Contains(x); x = x.Next() {
			hosts = append(hosts, x)
		}
		if a.Prefix.Bits() == 30 {
			hosts = hosts[1:3]
		}
		others := slices.DeleteFunc(slices.Clone(hosts), func(x netip.Addr) bool { return x == a.IP })
		if len(others) == 1 && usable(others[0]) {
			return others, SubnetPeer
		}
	}
	if usable(h.Addr) {
		return []netip.Addr{h.Addr}, h.Origin
	}
	if len(l.Peers) == 1 {
		var hosts []netip.Addr
		for _, p := range l.Peers[0].AllowedIPs {
			if p.Addr().Is4() && p.Bits() == 32 && !p.Addr().IsMulticast() {
				hosts = append(hosts, p.Addr())
			}
		}
		if len(hosts) == 1 && usable(hosts[0]) {
			return hosts, WireGuardPeer
		}
	}
	if usable(l.OuterRemote) && l.Type != "ether" {
		return []netip.Addr{l.OuterRemote}, OuterRemote
	}
	return nil, OriginNone
}

// sound checks what holds of every resolution.
func sound(r Resolution) error {
	seen, used := map[netip.Addr]bool{}, 0
	for _, c := range r.Candidates {
		switch {
		case seen[c.Address]:
			return fmt.Errorf("%v is there twice", c.Address)
		case c.Address.IsMulticast() != (c.PassedOver == IsMulticast):
			return fmt.Errorf("%v is %v", c.Address, c.PassedOver)
		case isOwn(c.Address) != (c.PassedOver == OwnAddress):
			return fmt.Errorf("%v is %v", c.Address, c.PassedOver)
		case c.PassedOver == Outranked && used == 0:
			return fmt.Errorf("%v is outranked by none", c.Address)
		case c.Origin == OriginNone:
			return fmt.Errorf("%v comes from nowhere", c.Address)
		}
		seen[c.Address] = true
		if c.InUse() {
			used++
		}
	}
	if (used == 0) == (r.Reason == Resolved) {
		return fmt.Errorf("%d in use, and the reason is %v", used, r.Reason)
	}
	return nil
}
