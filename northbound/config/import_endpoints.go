// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"

	"mcr/northbound/config/json5"
	"mcr/northbound/config/tree"
)

// tunnels reads the endpoints of interfaces.
func (im *importer) tunnels(v *json5.Value) *json5.Value {
	const top = "tunnel_endpoints"
	out := &json5.Value{Kind: json5.Array, Pos: v.Pos}
	if !im.is(v, json5.Array, top) {
		return out
	}
	for i, t := range v.Elems {
		at := fmt.Sprintf("%s[%d]", top, i)
		if !im.is(t, json5.Object, at) {
			continue
		}
		name := t.Get("interface")
		if name == nil {
			im.fault(at, t.Pos, "needs an interface")
			continue
		}
		entry := object(t.Pos, member("interface", name))
		for _, m := range t.Members {
			switch m.Name {
			case "interface":
			case "endpoints":
				list := im.endpoints(at+".endpoints", m.Value)
				entry.Members = append(entry.Members, member("endpoints", object(m.Pos, member("endpoint", list))))
			default:
				im.unknown(at, m)
			}
		}
		out.Elems = append(out.Elems, entry)
	}
	return out
}

// endpoints reads those of one interface: each is an address, or an object with it.
func (im *importer) endpoints(at string, v *json5.Value) *json5.Value {
	out := &json5.Value{Kind: json5.Array, Pos: v.Pos}
	if !im.is(v, json5.Array, at) {
		return out
	}
	config := tree.Find(tunnelPath + "/endpoints/endpoint/config")
	for i, e := range v.Elems {
		at := fmt.Sprintf("%s[%d]", at, i)
		if e.Kind == json5.String {
			out.Elems = append(out.Elems, object(e.Pos, member("address", e)))
			continue
		}
		if !im.is(e, json5.Object, at) {
			continue
		}
		address := e.Get("address")
		if address == nil {
			im.fault(at, e.Pos, "needs an address")
			continue
		}
		leaves := object(e.Pos)
		for _, m := range e.Members {
			if m.Name != "address" {
				leaves.Members = append(leaves.Members, im.leaf(at, m, config, "", everywhere)...)
			}
		}
		out.Elems = append(out.Elems, object(e.Pos, member("address", address), member("config", leaves)))
	}
	return out
}
