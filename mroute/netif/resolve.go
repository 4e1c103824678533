// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"cmp"
	"net/netip"
	"slices"
)

// Resolve returns what is known of the far end of l, and which of it serves h. The best place that names an address wins:
//
//  1. the endpoint configured for the holder as neighbour, then the only one configured without a neighbour;
//  2. the peer of a point-to-point address (inet A peer B);
//  3. the other host of a /31 or /30 (RFC 3021);
//  4. the holder's own address;
//  5. the single /32 among the allowed-ips of a WireGuard interface's only peer;
//  6. the outer remote of a tunnel that carries IP itself. It is reached inside the tunnel, by a socket bound to the
//     device, since the far kernel takes it for its own there as well.
//
// A static output, whose holder is the zero Holder, has every configured endpoint, else the best of the rest. An address
// of this host, which local says, and a group are never used. Tunnels that carry Ethernet have no outer remote as
// endpoint: what is behind them are neighbours with addresses of their own.
//
// l is nil where there is no such interface. conf is ordered by address. Nothing is changed, or kept.
func Resolve(l *Link, local func(netip.Addr) bool, conf []ConfiguredEndpoint, h Holder) Resolution {
	if l == nil {
		return Resolution{Reason: LinkMissing}
	}
	seen := append(configured(conf, h), l.discovered(h)...)
	found := false
	for i := range seen {
		c := &seen[i]
		switch {
		case c.Address.IsMulticast():
			c.PassedOver = IsMulticast
		case local(c.Address):
			c.PassedOver = OwnAddress
		case c.PassedOver != NotPassedOver:
		case !found, h.static() && c.Origin == Configured:
			found = true
		default:
			c.PassedOver = Outranked
		}
	}
	r := Resolution{Candidates: distinct(seen)}
	if !found {
		r.Reason = l.unresolved(conf, h)
	}
	return r
}

// Endpoints returns the addresses in use, ascending; nil while there is none.
func (r Resolution) Endpoints() []netip.Addr {
	var out []netip.Addr
	for _, c := range r.Candidates {
		if c.InUse() {
			out = append(out, c.Address)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

// Origin returns where the endpoints in use came from; OriginNone while there is none.
func (r Resolution) Origin() Origin {
	for _, c := range r.Candidates {
		if c.InUse() {
			return c.Origin
		}
	}
	return OriginNone
}

// static says that the configuration asks, for an output of a rule. A reporter whose address is not known yet (0.0.0.0)
// is a holder all the same.
func (h Holder) static() bool { return h == Holder{} }

// configured returns what the configuration names, the best for h first.
func configured(conf []ConfiguredEndpoint, h Holder) []Candidate {
	type ranked struct {
		Candidate
		rank int
	}
	several := shared(conf) > 1
	rank := func(e ConfiguredEndpoint) (int, PassedOver) {
		switch {
		case h.static():
			return 0, NotPassedOver
		case e.Neighbor.IsValid() && e.Neighbor == h.Addr:
			return 0, NotPassedOver
		case e.Neighbor.IsValid():
			return 2, OtherNeighbor
		case several:
			return 1, OneOfSeveralEndpoints
		}
		return 1, NotPassedOver
	}
	all := make([]ranked, len(conf))
	for i, e := range conf {
		n, over := rank(e)
		all[i] = ranked{Candidate{e.Address, Configured, over}, n}
	}
	slices.SortStableFunc(all, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
	out := make([]Candidate, len(all))
	for i, r := range all {
		out[i] = r.Candidate
	}
	return out
}

// shared counts the endpoints that are no single neighbour's.
func shared(conf []ConfiguredEndpoint) (n int) {
	for _, e := range conf {
		if !e.Neighbor.IsValid() {
			n++
		}
	}
	return n
}

// discovered returns what the kernel and the holder name, the best first.
func (l *Link) discovered(h Holder) []Candidate {
	var out []Candidate
	add := func(a netip.Addr, o Origin, over PassedOver) {
		if a.Is4() && !a.IsUnspecified() {
			out = append(out, Candidate{a, o, over})
		}
	}
	for _, a := range l.Addrs {
		add(a.Peer, PeerAddress, NotPassedOver)
	}
	for _, a := range l.Addrs {
		add(a.subnetPeer(), SubnetPeer, NotPassedOver)
	}
	add(h.Addr, h.Origin, NotPassedOver)
	for _, p := range l.Peers {
		over := NotPassedOver
		switch {
		case len(l.Peers) > 1:
			over = OneOfSeveralPeers
		case p.hosts() > 1:
			over = OneOfSeveralHosts
		}
		for _, n := range p.AllowedIPs {
			if n.IsSingleIP() {
				add(n.Addr(), WireGuardPeer, over)
			}
		}
	}
	if l.Type != "ether" {
		add(l.OuterRemote, OuterRemote, NotPassedOver)
	}
	return out
}

// subnetPeer returns the other host of the address's /31 or /30, if it has one.
func (a Addr) subnetPeer() netip.Addr {
	if a.Peer.IsValid() || !a.IP.Is4() {
		return netip.Addr{}
	}
	b := a.IP.As4()
	switch last := b[3]; a.Prefix.Bits() {
	case 31:
		b[3] = last ^ 1
	case 30:
		if last&3 == 0 || last&3 == 3 { // the subnet itself, or its broadcast address
			return netip.Addr{}
		}
		b[3] = last ^ 3
	default:
		return netip.Addr{}
	}
	return netip.AddrFrom4(b)
}

// hosts counts the IPv4 hosts among the allowed-ips.
func (p *Peer) hosts() (n int) {
	for _, a := range p.AllowedIPs {
		if a.IsSingleIP() && a.Addr().Is4() && !a.Addr().IsMulticast() {
			n++
		}
	}
	return n
}

// distinct names each address once: from where it is used, else from the best place.
func distinct(seen []Candidate) []Candidate {
	var out []Candidate
	for i, c := range seen {
		same := func(o Candidate) bool { return o.Address == c.Address }
		better := func(o Candidate) bool { return same(o) && o.InUse() }
		if slices.ContainsFunc(out, same) || !c.InUse() && slices.ContainsFunc(seen[i+1:], better) {
			continue
		}
		out = append(out, c)
	}
	return out
}

// multipoint are the kinds that have no remote unless they were made with one.
var multipoint = map[string]bool{
	"gre": true, "ipip": true, "sit": true, "vti": true, "ip6gre": true, "ip6tnl": true, "vti6": true, "xfrm": true,
}

// unresolved says why there is no endpoint for h.
func (l *Link) unresolved(conf []ConfiguredEndpoint, h Holder) Unresolved {
	switch {
	case !h.static() && shared(conf) > 1:
		return SeveralEndpoints
	case l.External:
		return CollectMetadata
	case l.OuterRemote.IsMulticast():
		return MulticastRemote
	case len(l.Peers) > 1:
		return SeveralPeers
	case len(l.Peers) == 1 && l.Peers[0].hosts() != 1:
		return NoHostAllowedIP
	case multipoint[l.Kind] && !l.PointPoint && !l.OuterRemote.IsValid():
		return Multipoint
	}
	return NoPeerInformation
}
