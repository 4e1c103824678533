// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	gpb "github.com/openconfig/gnmi/proto/gnmi"

	"mcr/northbound/config/json5"
	"mcr/northbound/config/tree"
	"mcr/northbound/form"
)

// The start-up file in JSON5. Keys are the names of YANG leaves with _ for -:
//
//	{ rules: [ { name, enabled, …, input: { interface, group, … }, outputs: [ { interface, unicast_dest, … } ] } ],
//	  pim: { enabled, interfaces: [ { name, … } ] }, igmp: likewise, forwarding: { …, limits: { … } },
//	  tunnel_endpoints: [ { interface, endpoints: [ "10.1.0.5", { address, neighbor } ] } ] }
//
// It is turned into the members of the YANG tree, each with its place in the text, and then goes the way of any value.

// importer collects the faults of one text. at is the place in it, such as rules[0].outputs.
type importer struct{ faults []tree.Fault }

func (im *importer) fault(at string, pos int, format string, args ...any) {
	im.faults = append(im.faults, tree.Fault{Path: at, Reason: fmt.Sprintf(format, args...), Pos: pos})
}

func importText(v *json5.Value) ([]part, []tree.Fault) {
	var im importer
	var parts []part
	if im.is(v, json5.Object, "") {
		for _, m := range v.Members {
			switch m.Name {
			case "rules":
				parts = append(parts, part{pathTo("mcr", "forwarding", "rules"), object(v.Pos, member("rule", im.rules(m.Value)))})
			case "forwarding":
				parts = append(parts, im.forwarding(m.Value)...)
			case "pim", "igmp":
				parts = append(parts, im.protocol(m.Name, m.Value))
			case "tunnel_endpoints":
				parts = append(parts, part{pathTo("mcr", "tunnel-endpoints"), object(v.Pos, member("tunnel-endpoint", im.tunnels(m.Value)))})
			default:
				im.unknown("", m)
			}
		}
	}
	return parts, im.faults
}

func pathTo(names ...string) *gpb.Path {
	p := &gpb.Path{}
	for _, n := range names {
		p.Elem = append(p.Elem, &gpb.PathElem{Name: n})
	}
	return p
}

func member(name string, v *json5.Value) json5.Member {
	return json5.Member{Name: name, Pos: v.Pos, Value: v}
}

func object(pos int, members ...json5.Member) *json5.Value {
	return &json5.Value{Kind: json5.Object, Pos: pos, Members: members}
}

func (im *importer) is(v *json5.Value, kind json5.Kind, at string) bool {
	if v.Kind != kind {
		im.fault(at, v.Pos, "%v where %v is wanted", v.Kind, kind)
		return false
	}
	return true
}

func (im *importer) unknown(at string, m json5.Member) {
	im.fault(at, m.Pos, "unknown key %q", m.Name)
}

// leafName returns the YANG name of a key of the text, or "" where the key cannot be one.
func leafName(key string) string {
	if strings.ContainsAny(key, "-:") {
		return ""
	}
	return strings.ReplaceAll(key, "_", "-")
}

// leaf makes a member of a config container of a key of the text, if there is such a leaf and it is wanted here.
func (im *importer) leaf(at string, m json5.Member, config *tree.Node, prefix string, here func(leaf string) bool) []json5.Member {
	name := leafName(m.Name)
	if name != "" {
		name = prefix + name
	}
	if config.Child(name) == nil || !here(name) {
		im.unknown(at, m)
		return nil
	}
	return []json5.Member{{Name: name, Pos: m.Pos, Value: m.Value}}
}

func everywhere(string) bool { return true }

func (im *importer) rules(v *json5.Value) *json5.Value {
	out := &json5.Value{Kind: json5.Array, Pos: v.Pos}
	if !im.is(v, json5.Array, "rules") {
		return out
	}
	for i, r := range v.Elems {
		at := fmt.Sprintf("rules[%d]", i)
		if im.is(r, json5.Object, at) {
			out.Elems = append(out.Elems, im.rule(at, r))
		}
	}
	return out
}

// inputLeaf says whether a leaf of a rule's config stands under input in the text.
func inputLeaf(name string) bool {
	return strings.HasPrefix(name, "input-") || name == "receive-method"
}

func (im *importer) rule(at string, v *json5.Value) *json5.Value {
	config := tree.Find(rulePath + "/config")
	leaves := object(v.Pos)
	var in rawInput
	var outs, name *json5.Value
	for _, m := range v.Members {
		switch m.Name {
		case "name":
			name = m.Value
		case "input":
			in = im.input(at+".input", m.Value, leaves)
		case "outputs":
			outs = m.Value
		default:
			leaves.Members = append(leaves.Members, im.leaf(at, m, config, "", func(n string) bool { return !inputLeaf(n) })...)
		}
	}
	if name == nil {
		if !in.group.IsValid() || in.iface == "" {
			im.fault(at, v.Pos, "needs a name, or an input with interface and group to make one of")
			name = &json5.Value{Kind: json5.String, Pos: v.Pos, Text: at}
		} else {
			name = &json5.Value{Kind: json5.String, Pos: v.Pos, Text: form.RuleName(in.iface, in.group, in.port, in.source)}
		}
	}
	entry := object(v.Pos, member("name", name), member("config", leaves))
	if outs != nil {
		list := im.outputs(at+".outputs", outs, in)
		entry.Members = append(entry.Members, member("outputs", object(outs.Pos, member("output", list))))
	}
	return entry
}

// rawInput is what of an input goes into default names, as far as it can be read.
type rawInput struct {
	iface         string
	group, source netip.Addr
	port          uint16
}

// input adds the leaves of an input to those of its rule.
func (im *importer) input(at string, v *json5.Value, leaves *json5.Value) rawInput {
	if !im.is(v, json5.Object, at) {
		return rawInput{}
	}
	config := tree.Find(rulePath + "/config")
	for _, m := range v.Members {
		if m.Name == "receive_method" {
			leaves.Members = append(leaves.Members, json5.Member{Name: "receive-method", Pos: m.Pos, Value: m.Value})
			continue
		}
		leaves.Members = append(leaves.Members, im.leaf(at, m, config, "input-", inputLeaf)...)
	}
	return rawInput{text(v, "interface"), addr(text(v, "group")), addr(text(v, "source")), port(v)}
}

func text(v *json5.Value, key string) string {
	if m := v.Get(key); m != nil && m.Kind == json5.String {
		return m.Text
	}
	return ""
}

func port(v *json5.Value) uint16 {
	if m := v.Get("port"); m != nil && m.Kind == json5.Number {
		n, _ := strconv.ParseUint(m.Text, 10, 16)
		return uint16(n)
	}
	return 0
}

func (im *importer) outputs(at string, v *json5.Value, in rawInput) *json5.Value {
	out := &json5.Value{Kind: json5.Array, Pos: v.Pos}
	if !im.is(v, json5.Array, at) {
		return out
	}
	config := tree.Find(outputPath + "/config")
	for i, o := range v.Elems {
		at := fmt.Sprintf("%s[%d]", at, i)
		if !im.is(o, json5.Object, at) {
			continue
		}
		leaves := object(o.Pos)
		name := o.Get("name")
		for _, m := range o.Members {
			if m.Name != "name" {
				leaves.Members = append(leaves.Members, im.leaf(at, m, config, "", everywhere)...)
			}
		}
		if name == nil {
			name = im.outputName(at, o, in)
		}
		out.Elems = append(out.Elems, object(o.Pos, member("name", name), member("config", leaves)))
	}
	return out
}

func (im *importer) outputName(at string, o *json5.Value, in rawInput) *json5.Value {
	dest := in.group
	for _, key := range []string{"group", "unicast_dest"} {
		if a := addr(text(o, key)); a.IsValid() {
			dest = a
		}
	}
	name := &json5.Value{Kind: json5.String, Pos: o.Pos, Text: at}
	if iface := text(o, "interface"); iface == "" || !dest.IsValid() {
		im.fault(at, o.Pos, "needs a name, or an interface and a destination to make one of")
	} else {
		name.Text = form.OutputName(iface, dest, port(o))
	}
	return name
}

func (im *importer) forwarding(v *json5.Value) []part {
	if !im.is(v, json5.Object, "forwarding") {
		return nil
	}
	config, limits := object(v.Pos), object(v.Pos)
	for _, m := range v.Members {
		if m.Name != "limits" {
			config.Members = append(config.Members, im.leaf("forwarding", m, tree.Find("/mcr/forwarding/config"), "", everywhere)...)
			continue
		}
		if im.is(m.Value, json5.Object, "forwarding.limits") {
			for _, m := range m.Value.Members {
				limits.Members = append(limits.Members,
					im.leaf("forwarding.limits", m, tree.Find("/mcr/forwarding/limits/config"), "", everywhere)...)
			}
		}
	}
	return []part{{pathTo("mcr", "forwarding", "config"), config}, {pathTo("mcr", "forwarding", "limits", "config"), limits}}
}

const protocolPath = "/network-instances/network-instance/protocols/protocol"

// protocol reads the part pim or igmp.
func (im *importer) protocol(name string, v *json5.Value) part {
	path := pathTo("network-instances", "network-instance", "protocols", "protocol")
	path.Elem[1].Key = map[string]string{"name": "default"}
	path.Elem[3].Key = map[string]string{"identifier": strings.ToUpper(name), "name": name}
	config, list := object(v.Pos), &json5.Value{Kind: json5.Array, Pos: v.Pos}
	if im.is(v, json5.Object, name) {
		for _, m := range v.Members {
			switch m.Name {
			case "enabled":
				config.Members = append(config.Members, m)
			case "interfaces":
				list = im.interfaces(name, m.Value)
			default:
				im.unknown(name, m)
			}
		}
	}
	interfaces := object(v.Pos, member("interfaces", object(v.Pos, member("interface", list))))
	return part{path, object(v.Pos, member("config", config), member(name, interfaces))}
}

func (im *importer) interfaces(protocol string, v *json5.Value) *json5.Value {
	out := &json5.Value{Kind: json5.Array, Pos: v.Pos}
	at := protocol + ".interfaces"
	if !im.is(v, json5.Array, at) {
		return out
	}
	config := tree.Find(protocolPath + "/" + protocol + "/interfaces/interface/config")
	for i, iface := range v.Elems {
		at := fmt.Sprintf("%s[%d]", at, i)
		if !im.is(iface, json5.Object, at) {
			continue
		}
		name := iface.Get("name")
		if name == nil {
			im.fault(at, iface.Pos, "needs a name")
			continue
		}
		leaves := object(iface.Pos)
		if iface.Get("enabled") == nil { // listed is enabled
			leaves.Members = append(leaves.Members, member("enabled", &json5.Value{Kind: json5.Bool, Pos: iface.Pos, Text: "true"}))
		}
		for _, m := range iface.Members {
			if m.Name != "name" {
				leaves.Members = append(leaves.Members,
					im.leaf(at, m, config, "", func(n string) bool { return n != "interface-id" })...)
			}
		}
		out.Elems = append(out.Elems, object(iface.Pos, member("interface-id", name), member("config", leaves)))
	}
	return out
}
