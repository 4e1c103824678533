// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"slices"
	"time"

	"mcr/dataplane/plan"
	"mcr/gen"
	"mcr/mroute"
	"mcr/mroute/mrib"
)

// addr returns an invalid address for an absent leaf; the schema's type has seen to the rest.
func addr(s string) netip.Addr {
	a, _ := netip.ParseAddr(s)
	return a
}

// prefix returns an invalid prefix for an invalid text.
func prefix(s string) netip.Prefix {
	p, _ := netip.ParsePrefix(s)
	return p
}

func translate(old, c *compiled) *mroute.Config {
	mcr := c.tree.GetMcr()
	fwd := mcr.GetForwarding().GetConfig()
	cfg := &mroute.Config{
		Forwarding: mroute.Forwarding{
			UnicastTTL:          fwd.GetUnicastTtl(),
			MulticastTTL:        fwd.GetMulticastTtl(),
			MulticastTTLMode:    ttlMode(fwd),
			RediscoveryInterval: time.Duration(fwd.GetRediscoveryInterval()) * time.Second,
			MaximumSockets:      mcr.GetForwarding().GetLimits().GetConfig().GetMaximumSockets(),
			AutoHER:             fwd.GetAutoHerForP2PTunnels(),
			HERMode:             herMode(fwd.GetHerMode()),
		},
		Rules:       translateRules(old, c),
		Boundaries:  boundaries(mcr.GetForwarding().GetBoundaries()),
		GSOOff:      gsoOff(mcr.GetDataplane().GetEgressInterfaces()),
		PortLearner: portLearner(mcr.GetDataplane().GetPortLearner().GetConfig()),
		Endpoints:   translateEndpoints(old, c),
		PIM:         pim(c.tree),
		IGMP:        igmp(c.tree),
	}
	translateDataplane(cfg, mcr.GetDataplane().GetConfig())
	if fwd != nil {
		cfg.Forwarding.MinimumInputTTL = fwd.MinimumInputTtl
	}
	return cfg
}

func translateRules(old, c *compiled) map[string]*mroute.Rule {
	if old.config != nil && c.tree.GetMcr().GetForwarding().GetRules() == old.tree.GetMcr().GetForwarding().GetRules() {
		return old.config.Rules
	}
	rules := make(map[string]*mroute.Rule, len(c.rules))
	for _, r := range c.rules {
		rules[r.out.Name] = r.out
	}
	return rules
}

func ttlMode(c *gen.Mcr_Mcr_Forwarding_Config) plan.TTLMode {
	switch c.GetMulticastTtlPolicy() {
	case gen.Mcr_Mcr_Forwarding_Config_MulticastTtlPolicy_keep:
		return plan.TTLKeep
	case gen.Mcr_Mcr_Forwarding_Config_MulticastTtlPolicy_fixed:
		return plan.TTLFixed
	}
	return plan.TTLDecrement
}

func translateDataplane(cfg *mroute.Config, c *gen.Mcr_Mcr_Dataplane_Config) {
	cfg.Engine = engine(c)
	cfg.Workers = int(c.GetWorkers())
	for _, n := range slices.Sorted(slices.Values(c.GetCpus())) {
		cfg.CPUs = append(cfg.CPUs, int(n))
	}
	cfg.RingEntries = int(c.GetRingEntries())
	cfg.ReceiveBuffers = int(c.GetReceiveBuffers())
	cfg.ReceiveSocketBuffer = int(c.GetReceiveSocketBuffer())
	cfg.Coalesce = time.Duration(c.GetCoalesceUsec()) * time.Microsecond
	cfg.BusyPoll = time.Duration(c.GetBusyPollUsec()) * time.Microsecond
	cfg.ZeroCopy = zeroCopy(c)
	cfg.GSOMaxSegments = int(c.GetGsoMaxSegments())
}

func engine(c *gen.Mcr_Mcr_Dataplane_Config) plan.Engine {
	switch c.GetEngine() {
	case gen.McrDataplane_Engine_uring:
		return plan.EngineURing
	case gen.McrDataplane_Engine_mmsg:
		return plan.EngineMMsg
	}
	return plan.EngineAuto
}

func zeroCopy(c *gen.Mcr_Mcr_Dataplane_Config) plan.ZeroCopy {
	switch c.GetZeroCopy() {
	case gen.Mcr_Mcr_Dataplane_Config_ZeroCopy_on:
		return plan.ZeroCopyOn
	case gen.Mcr_Mcr_Dataplane_Config_ZeroCopy_off:
		return plan.ZeroCopyOff
	}
	return plan.ZeroCopyAuto
}

func boundaries(c *gen.Mcr_Mcr_Forwarding_Boundaries) map[string][]netip.Prefix {
	all := map[string][]netip.Prefix{}
	if c == nil {
		return all
	}
	for name, b := range c.Boundary {
		var ps []netip.Prefix
		for _, text := range b.GetConfig().GetGroupPrefix() {
			ps = append(ps, prefix(text))
		}
		slices.SortFunc(ps, netip.Prefix.Compare)
		all[name] = slices.Compact(ps)
	}
	return all
}

func gsoOff(c *gen.Mcr_Mcr_Dataplane_EgressInterfaces) map[string]bool {
	off := map[string]bool{}
	if c != nil {
		for name, i := range c.EgressInterface {
			if i.GetConfig().GetGso() == gen.Mcr_Mcr_Dataplane_EgressInterfaces_EgressInterface_Config_Gso_off {
				off[name] = true
			}
		}
	}
	return off
}

func portLearner(c *gen.Mcr_Mcr_Dataplane_PortLearner_Config) mroute.PortLearner {
	return mroute.PortLearner{
		MaximumPorts: int(c.GetMaximumLearntPorts()),
		Hold:         time.Duration(c.GetLearntPortHold()) * time.Second,
	}
}

func protocol(d *gen.Device, id gen.E_McrTypes_INSTALL_PROTOCOL_TYPE, name string) *genProtocol {
	return d.GetNetworkInstances().GetNetworkInstance("default").GetProtocols().GetProtocol(id, name)
}

func pim(d *gen.Device) mroute.Protocol {
	p := protocol(d, gen.McrTypes_INSTALL_PROTOCOL_TYPE_PIM, "pim")
	out := mroute.Protocol{Enabled: p != nil && p.GetConfig().GetEnabled(), Interfaces: map[string]mroute.InterfaceProtocol{}}
	if l := p.GetPim().GetInterfaces(); l != nil {
		for name, i := range l.Interface {
			out.Interfaces[name] = mroute.InterfaceProtocol{}
			if c := i.Config; c != nil {
				out.Interfaces[name] = interfaceProtocol(c.GetEnabled(), c.AutoHer, c.HerMode)
			}
		}
	}
	return out
}

func igmp(d *gen.Device) mroute.Protocol {
	p := protocol(d, gen.McrTypes_INSTALL_PROTOCOL_TYPE_IGMP, "igmp")
	out := mroute.Protocol{Enabled: p != nil && p.GetConfig().GetEnabled(), Interfaces: map[string]mroute.InterfaceProtocol{}}
	if l := p.GetIgmp().GetInterfaces(); l != nil {
		for name, i := range l.Interface {
			out.Interfaces[name] = mroute.InterfaceProtocol{}
			if c := i.Config; c != nil {
				out.Interfaces[name] = interfaceProtocol(c.GetEnabled(), c.AutoHer, c.HerMode)
			}
		}
	}
	return out
}

func interfaceProtocol(enabled bool, auto *bool, mode gen.E_McrTypes_HerMode) mroute.InterfaceProtocol {
	return mroute.InterfaceProtocol{Enabled: enabled, HER: mrib.ProtocolHER{Auto: auto, Mode: herMode(mode)}}
}

// translateRule leaves Outputs out.
func translateRule(src *genRule) *mroute.Rule {
	c := src.GetConfig()
	r := &mroute.Rule{
		Name:           src.GetName(),
		Enabled:        c.GetEnabled(),
		Interface:      c.GetInputInterface(),
		Group:          addr(c.GetInputGroup()),
		Source:         addr(c.GetInputSource()),
		Port:           c.GetInputPort(),
		Method:         receiveMethod(c),
		SilenceTimeout: time.Duration(c.GetSilenceTimeout()) * time.Second,
	}
	if c != nil {
		r.MinimumInputTTL = c.MinimumInputTtl
	}
	return r
}

func receiveMethod(c *gen.Mcr_Mcr_Forwarding_Rules_Rule_Config) mrib.ReceiveMethod {
	switch c.GetReceiveMethod() {
	case gen.McrTypes_ReceiveMethod_socket:
		return mrib.ReceiveSocket
	case gen.McrTypes_ReceiveMethod_packet:
		return mrib.ReceivePacket
	}
	return mrib.ReceiveAuto
}

func translateOutput(src *genOutput, r *mroute.Rule) *mroute.Output {
	c := src.GetConfig()
	o := &mroute.Output{
		Name:       src.GetName(),
		Enabled:    c.GetEnabled(),
		Interface:  c.GetInterface(),
		Group:      addr(c.GetGroup()),
		Unicast:    addr(c.GetUnicastDest()),
		Port:       c.GetPort(),
		Source:     addr(c.GetSourceAddress()),
		SourcePort: c.GetSourcePort(),
		TTL:        c.GetTtl(), // 0 where absent, which is no valid value
		DSCP:       plan.DSCPKeep,
	}
	if !o.Group.IsValid() {
		o.Group = r.Group
	}
	if c != nil {
		o.HERMode = herMode(c.HerMode)
	}
	if c != nil && c.Dscp != nil {
		o.DSCP = int8(*c.Dscp)
	}
	return o
}

func herMode(m gen.E_McrTypes_HerMode) mrib.HERMode {
	switch m {
	case gen.McrTypes_HerMode_auto:
		return mrib.HERAuto
	case gen.McrTypes_HerMode_always:
		return mrib.HERAlways
	case gen.McrTypes_HerMode_never:
		return mrib.HERNever
	}
	return mrib.HERInherit
}
