// SPDX-License-Identifier: Apache-2.0

package config

import (
	"maps"
	"net/netip"
	"slices"

	"mcr/gen"
	"mcr/mroute/netif"
	"mcr/northbound/config/tree"
)

const tunnelPath = "/mcr/tunnel-endpoints/tunnel-endpoint"

func endpointPathOf(iface string, address netip.Addr) string {
	return tunnelPath + tree.KeyText("interface", iface) + "/endpoints/endpoint" + tree.KeyText("address", address.String())
}

// translateEndpoints returns the configured endpoints of each interface that is named, also of one that has none.
func translateEndpoints(old, c *compiled) map[string][]netif.ConfiguredEndpoint {
	is := c.tree.GetMcr().GetTunnelEndpoints()
	if old.config != nil && is == old.tree.GetMcr().GetTunnelEndpoints() {
		return old.config.Endpoints
	}
	all := map[string][]netif.ConfiguredEndpoint{}
	if is != nil {
		for name, i := range is.TunnelEndpoint {
			all[name] = endpointsOf(i.GetEndpoints())
		}
	}
	return all
}

func endpointsOf(c *gen.Mcr_Mcr_TunnelEndpoints_TunnelEndpoint_Endpoints) []netif.ConfiguredEndpoint {
	if c == nil {
		return nil
	}
	var all []netif.ConfiguredEndpoint
	for address, e := range c.Endpoint {
		all = append(all, netif.ConfiguredEndpoint{Address: addr(address), Neighbor: addr(e.GetConfig().GetNeighbor())})
	}
	slices.SortFunc(all, func(a, b netif.ConfiguredEndpoint) int { return a.Address.Compare(b.Address) })
	return all
}

// endpoints checks the configured endpoints of the interfaces whose subtree is another one than before. That an address is no
// group is the schema's to see; whether it is one of this host's, the router's.
func (k *checker) endpoints(old, now *compiled) {
	was, is := old.tree.GetMcr().GetTunnelEndpoints(), now.tree.GetMcr().GetTunnelEndpoints()
	if is == nil || is == was {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(is.TunnelEndpoint)) {
		if was == nil || was.TunnelEndpoint[name] != is.TunnelEndpoint[name] {
			k.endpointsOf(name, now.config.Endpoints[name])
		}
	}
}

func (k *checker) endpointsOf(iface string, all []netif.ConfiguredEndpoint) {
	serves := map[netip.Addr]netip.Addr{} // endpoint, by neighbour
	for _, e := range all {
		at := endpointPathOf(iface, e.Address) + "/config/"
		if e.Address.IsLoopback() {
			k.fault(Invalid, at+"address", "%v is an address of every host, so it is none of another", e.Address)
		}
		if !e.Neighbor.IsValid() {
			continue
		}
		if e.Neighbor.IsLoopback() {
			k.fault(Invalid, at+"neighbor", "%v is an address of every host, so it is none of another", e.Neighbor)
		}
		if other, taken := serves[e.Neighbor]; taken {
			k.fault(Invalid, at+"neighbor", "%v has the endpoint %v already", e.Neighbor, other)
			continue
		}
		serves[e.Neighbor] = e.Address
	}
}
