// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"strings"

	"mcr/gen"
	"mcr/northbound/config/tree"
)

type (
	genInstances = gen.McrNetworkInstance_NetworkInstances
	genProtocol  = gen.McrNetworkInstance_NetworkInstances_NetworkInstance_Protocols_Protocol
)

// instances checks that there is one instance, with PIM and IGMP each under its own protocol.
func (k *checker) instances(all *genInstances) {
	if all == nil {
		return
	}
	for name, i := range all.NetworkInstance {
		at := "/network-instances/network-instance" + tree.KeyText("name", name)
		if name != "default" {
			k.fault(Invalid, at, "the only network instance is default")
		}
		if i.Protocols == nil {
			continue
		}
		for key, p := range i.Protocols.Protocol {
			id := "PIM"
			if key.Identifier == gen.McrTypes_INSTALL_PROTOCOL_TYPE_IGMP {
				id = "IGMP"
			}
			k.protocol(at+"/protocols/protocol"+tree.KeyText("identifier", id)+tree.KeyText("name", key.Name), id, key.Name, p)
		}
	}
}

func (k *checker) protocol(at, id, name string, p *genProtocol) {
	if want := strings.ToLower(id); name != want {
		k.fault(Invalid, at, "the protocol %s is called %s", id, want)
	}
	if p.Pim != nil && id != "PIM" {
		k.fault(Invalid, at+"/pim", "belongs under the protocol PIM")
	}
	if p.Igmp != nil && id != "IGMP" {
		k.fault(Invalid, at+"/igmp", "belongs under the protocol IGMP")
	}
	if rps := p.GetPim().GetGlobal().GetRendezvousPoints(); rps != nil {
		for name, rp := range rps.RendezvousPoint {
			k.groupPrefixes(at+"/pim/global/rendezvous-points/rendezvous-point"+tree.KeyText("address", name)+
				"/config/multicast-groups", rp.GetConfig().GetMulticastGroups())
		}
	}
	if l := p.GetPim().GetInterfaces(); l != nil {
		for name, i := range l.Interface {
			k.subinterface(at+"/pim/interfaces/interface"+tree.KeyText("interface-id", name), i.GetInterfaceRef().GetConfig().GetSubinterface())
		}
	}
	if l := p.GetIgmp().GetInterfaces(); l != nil {
		for name, i := range l.Interface {
			at := at + "/igmp/interfaces/interface" + tree.KeyText("interface-id", name)
			k.subinterface(at, i.GetInterfaceRef().GetConfig().GetSubinterface())
			if s := i.GetStaticMembershipGroups(); s != nil {
				for g := range s.StaticGroups {
					if neverForwarded.Contains(addr(g)) {
						k.fault(Invalid, at+"/static-membership-groups/static-groups"+tree.KeyText("static-group", g),
							"%s is in 224.0.0.0/24, which is never forwarded", g)
					}
				}
			}
		}
	}
}

func (k *checker) subinterface(at string, n uint32) {
	if n != 0 {
		k.fault(Invalid, at+"/interface-ref/config/subinterface", "%d: only 0 exists", n)
	}
}

// groupPrefixes checks a list of group prefixes that are separated by blanks.
func (k *checker) groupPrefixes(at, list string) {
	for s := range strings.FieldsSeq(list) {
		p, err := netip.ParsePrefix(s)
		switch {
		case err != nil || !p.Addr().Is4() || !p.Addr().IsMulticast() || p.Bits() < 4:
			k.fault(Invalid, at, "%q is not a prefix of multicast groups", s)
		case p != p.Masked():
			k.fault(Invalid, at, "%s has host bits set; %v is meant", s, p.Masked())
		}
	}
}
