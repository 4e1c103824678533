// SPDX-License-Identifier: Apache-2.0

package state

import (
	"net/netip"
	"strconv"

	"mcr/mroute"
	"mcr/mroute/mrib"
	"mcr/northbound/telemetry"
)

// at returns the path base/names….
func at(base telemetry.Path, names ...string) telemetry.Path {
	p := make(telemetry.Path, len(base), len(base)+len(names))
	copy(p, base)
	for _, n := range names {
		p = append(p, telemetry.Elem{Name: n})
	}
	return p
}

// entryAt returns the path base/list[key=value], with room for more elements.
func entryAt(base telemetry.Path, list, key, value string) telemetry.Path {
	p := make(telemetry.Path, len(base), len(base)+4)
	copy(p, base)
	return append(p, telemetry.Elem{Name: list, Keys: []telemetry.Key{{Name: key, Value: value}}})
}

func names(n ...string) telemetry.Path { return at(nil, n...) }

var (
	rulesPath      = names("mcr", "forwarding", "rules")
	entriesPath    = names("mcr", "mrib", "entries")
	dataplanePath  = names("mcr", "dataplane")
	systemPath     = names("mcr", "system")
	interfacesPath = names("interfaces")
	tunnelsPath    = names("mcr", "tunnel-endpoints")
	stateElem      = telemetry.Elem{Name: "state"}
)

// rulePath is the path of a rule's state.
func rulePath(rule string) telemetry.Path {
	return append(entryAt(rulesPath, "rule", "name", rule), stateElem)
}

// ruleOutputPath is the path of a configured output's state.
func ruleOutputPath(k mroute.RuleOutputKey) telemetry.Path {
	p := entryAt(rulesPath, "rule", "name", k.Rule)
	keys := []telemetry.Key{{Name: "name", Value: k.Output}}
	return append(p, telemetry.Elem{Name: "outputs"}, telemetry.Elem{Name: "output", Keys: keys}, stateElem)
}

// entryPath is the path of an MRIB entry, with room for more elements. The outputs of an entry share its keys.
func (s *step) entryPath(k mrib.EntryKey) telemetry.Path {
	if s.entryKeys == nil || s.entryKey != k {
		s.entryKey = k
		s.entryKeys = []telemetry.Key{
			{Name: "interface", Value: k.Interface},
			{Name: "source", Value: s.addr(sourceOf(k))},
			{Name: "group", Value: s.addr(k.Group)},
			{Name: "port", Value: port(k.Port)},
		}
	}
	p := make(telemetry.Path, len(entriesPath), len(entriesPath)+4)
	copy(p, entriesPath)
	return append(p, telemetry.Elem{Name: "entry", Keys: s.entryKeys})
}

// sourceOf is the source of an entry as YANG writes it: 0.0.0.0 for any.
func sourceOf(k mrib.EntryKey) netip.Addr {
	if !k.Source.IsValid() {
		return netip.IPv4Unspecified()
	}
	return k.Source
}

// entryOutputPath is the path of the state of an output of an entry.
func (s *step) entryOutputPath(k mroute.EntryOutputKey) telemetry.Path {
	o := k.Output
	return append(s.entryPath(k.Entry), telemetry.Elem{Name: "outputs"}, telemetry.Elem{Name: "output", Keys: []telemetry.Key{
		{Name: "interface", Value: o.Interface},
		{Name: "destination", Value: s.addr(destination(o))},
		{Name: "port", Value: port(o.Port)},
		{Name: "encapsulation", Value: o.Encap.String()},
		{Name: "source-port", Value: port(o.SourcePort)},
	}}, stateElem)
}

// destination is the destination of an output as YANG writes it: 0.0.0.0 while it is not known.
func destination(o mrib.OutputKey) netip.Addr {
	if !o.Dest.IsValid() {
		return netip.IPv4Unspecified()
	}
	return o.Dest
}

func port(p uint16) string { return strconv.FormatUint(uint64(p), 10) }

// interfacePath is the path of an interface.
func interfacePath(name string) telemetry.Path {
	return entryAt(interfacesPath, "interface", "name", name)
}

// tunnelPath is the path of what is known of the far end of an interface.
func tunnelPath(iface string) telemetry.Path {
	return entryAt(tunnelsPath, "tunnel-endpoint", "interface", iface)
}

// addressesPath is the path of the addresses of an interface.
func addressesPath(name string) telemetry.Path {
	return at(subinterfacePath(name), "ipv4", "addresses")
}

func subinterfacePath(name string) telemetry.Path {
	return entryAt(at(interfacePath(name), "subinterfaces"), "subinterface", "index", "0")
}

// protocolPath is the path of the state of a protocol's interface.
func protocolPath(k mroute.ProtocolInterface) telemetry.Path {
	low := map[string]string{"PIM": "pim", "IGMP": "igmp"}[k.Protocol]
	p := entryAt(names("network-instances"), "network-instance", "name", "default")
	p = append(p, telemetry.Elem{Name: "protocols"}, telemetry.Elem{Name: "protocol", Keys: []telemetry.Key{
		{Name: "identifier", Value: k.Protocol}, {Name: "name", Value: low},
	}})
	return at(entryAt(at(p, low, "interfaces"), "interface", "interface-id", k.Interface), "state")
}
