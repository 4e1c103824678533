// SPDX-License-Identifier: Apache-2.0

package state

import (
	"mcr/gen"
	"mcr/mroute"
	"mcr/northbound/telemetry"
)

// protocol publishes the state of PIM or IGMP on an interface: that it does not run, and what head-end replication goes by
// there.
func (s *step) protocol(k mroute.ProtocolInterface) {
	path := protocolPath(k)
	p := s.protocols[k]
	if p == nil {
		s.remove(path)
		return
	}
	auto, mode, enabled := s.protocolConfig(k)
	var l leaves
	if auto != nil {
		l.flag("auto-her", *auto)
	}
	l.text("down-reason", p.Reason.String())
	l.flag("enabled", enabled)
	l.value("her-mode", enumValue(mode))
	l.text("interface-id", k.Interface)
	s.update(path, l, nil)
}

// protocolConfig returns what is configured of an interface of PIM or IGMP.
func (s *step) protocolConfig(k mroute.ProtocolInterface) (autoHER *bool, mode gen.E_McrTypes_HerMode, enabled bool) {
	protocols := s.device.GetNetworkInstances().GetNetworkInstance("default").GetProtocols()
	if k.Protocol == "PIM" {
		p := protocols.GetProtocol(gen.McrTypes_INSTALL_PROTOCOL_TYPE_PIM, "pim")
		if c := p.GetPim().GetInterfaces().GetInterface(k.Interface).GetConfig(); c != nil {
			return c.AutoHer, c.HerMode, c.GetEnabled()
		}
		return nil, 0, false
	}
	p := protocols.GetProtocol(gen.McrTypes_INSTALL_PROTOCOL_TYPE_IGMP, "igmp")
	if c := p.GetIgmp().GetInterfaces().GetInterface(k.Interface).GetConfig(); c != nil {
		return c.AutoHer, c.HerMode, c.GetEnabled()
	}
	return nil, 0, false
}

// protocolInterface returns the interface of PIM or IGMP whose config container has this path.
func protocolInterface(p telemetry.Path) (mroute.ProtocolInterface, bool) {
	const depth = 7 // network-instances, network-instance, protocols, protocol, pim, interfaces, interface
	if len(p) != depth+1 || p[depth-1].Name != "interface" {
		return mroute.ProtocolInterface{}, false
	}
	return mroute.ProtocolInterface{Protocol: p[3].Keys[0].Value, Interface: p[depth-1].Keys[0].Value}, true
}
