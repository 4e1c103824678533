// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"

	"mcr/gen"
	"mcr/mroute"
	"mcr/mroute/mrib"
	"mcr/northbound/config/tree"
)

// checker makes the static checks that look beyond one leaf. Paths are canonical.
type checker struct {
	faults []Fault
}

func (k *checker) fault(code Code, path, format string, args ...any) {
	k.faults = append(k.faults, Fault{Op: -1, Path: path, Code: code, Reason: fmt.Sprintf(format, args...)})
}

// check looks at what changed, and at what the change may have made wrong elsewhere.
func check(old, c *compiled, changed []touched) []Fault {
	var k checker
	for _, t := range changed {
		if t.input {
			k.rule(t.rule)
		}
		k.outputs(t)
	}
	k.inputs(c.rules, changed)
	k.limits(c)
	k.boundaries(c.tree.GetMcr().GetForwarding().GetBoundaries())
	k.endpoints(old, c)
	if c.tree.NetworkInstances != old.tree.NetworkInstances {
		k.instances(c.tree.NetworkInstances)
	}
	return k.faults
}

var neverForwarded = netip.MustParsePrefix("224.0.0.0/24")

const boundaryPath = "/mcr/forwarding/boundaries/boundary"

func rulePathOf(name string) string { return rulePath + tree.KeyText("name", name) }

func outputPathOf(rule, name string) string {
	return rulePathOf(rule) + "/outputs/output" + tree.KeyText("name", name)
}

// rule checks the input of one rule.
func (k *checker) rule(r *rule) {
	at := rulePathOf(r.name()) + "/config"
	if r.out.Interface == "" {
		k.fault(Invalid, at+"/input-interface", "is needed")
	}
	switch g := r.out.Group; {
	case !g.IsValid():
		k.fault(Invalid, at+"/input-group", "is needed")
	case neverForwarded.Contains(g):
		k.fault(Invalid, at+"/input-group", "%v is in 224.0.0.0/24, which is never forwarded", g)
	case g.IsMulticast():
	case !hostAddress(g):
		k.fault(Invalid, at+"/input-group", "%v is neither a multicast group nor a host address", g)
	case r.out.Port == 0:
		k.fault(Invalid, at+"/input-port", "is needed beside input-group %v, which is a unicast address", g)
	case r.out.Method == mrib.ReceivePacket:
		k.fault(Invalid, at+"/receive-method", "packet does not receive an own address, %v; a socket does", g)
	case g.IsLoopback() && r.out.Interface != "lo":
		k.fault(Invalid, at+"/input-group", "%v arrives on the interface lo only", g)
	}
}

func hostAddress(a netip.Addr) bool {
	if !a.Is4() {
		return false
	}
	b := a.As4()
	return b[0] > 0 && b[0] < 224
}

// outputs checks the outputs of one rule: those that changed, or all where the input did.
func (k *checker) outputs(t touched) {
	outs := t.outputs
	if t.input {
		outs = t.rule.outputs
	}
	r := t.rule.out
	for _, o := range outs {
		k.output(r, o.out, o.src)
	}
	k.identities(t.rule, outs)
}

func (k *checker) output(r *mroute.Rule, o *mroute.Output, src *genOutput) {
	at := func(leaf string) string { return outputPathOf(r.Name, o.Name) + leaf } // dear, and rarely needed
	if o.Interface == "" {
		k.fault(Invalid, at("/config/interface"), "is needed")
	}
	if src.GetConfig().GetGroup() != "" && neverForwarded.Contains(o.Group) {
		k.fault(Invalid, at("/config/group"), "%v is in 224.0.0.0/24, which is never forwarded", o.Group)
	}
	if o.Unicast.IsValid() {
		if o.Unicast.IsLoopback() && o.Interface != "lo" {
			k.fault(Invalid, at("/config/unicast-dest"), "%v is reached on the interface lo only", o.Unicast)
		}
		if o.Unicast == r.Group && (o.Port == 0 || o.Port == r.Port) {
			k.fault(Invalid, at(""), "would be a loop: %v:%d is what the rule receives", r.Group, r.Port)
		}
	} else if hostAddress(o.Group) {
		k.fault(Invalid, at("/config/group"), "is needed, or unicast-dest: input-group %v is a unicast address", r.Group)
	} else if o.Interface == r.Interface && o.Interface != "" && o.Group == r.Group && !ownHER(o) {
		k.fault(Invalid, at(""), "would be a loop: %v goes out of the interface it comes in on, %s; with a her-mode of its own, "+
			"auto or always, it is sent to unicast endpoints there", o.Group, o.Interface)
	}
}

// ownHER says that an output asks by itself for head-end replication. Where the interface's flags then forbid it, it is down.
func ownHER(o *mroute.Output) bool { return o.HERMode == mrib.HERAuto || o.HERMode == mrib.HERAlways }

// identity is what makes two outputs of a rule one and the same branch.
type identity struct {
	iface      string
	dest       netip.Addr
	port       uint16
	sourcePort uint16
}

func identityOf(r *mroute.Rule, o *mroute.Output) identity {
	id := identity{o.Interface, o.Group, o.Port, o.SourcePort}
	if o.Unicast.IsValid() {
		id.dest = o.Unicast
	}
	if id.port == 0 {
		id.port = r.Port
	}
	return id
}

// identities looks for outputs that are the same branch as one of outs.
func (k *checker) identities(r *rule, outs []*output) {
	if len(outs) == 0 {
		return
	}
	mine := make(map[identity]*output, len(outs))
	report := func(o, other *output, id identity) {
		k.fault(Invalid, outputPathOf(r.name(), o.name()), "is the same branch as output %s: interface %s, destination %v, port %d",
			other.name(), id.iface, id.dest, id.port)
	}
	for _, o := range outs {
		id := identityOf(r.out, o.out)
		if other := mine[id]; other != nil {
			report(o, other, id)
			continue
		}
		mine[id] = o
	}
	if len(outs) == len(r.outputs) {
		return
	}
	one, all := outs[0].id, make(map[uint64]bool, len(outs))
	for _, o := range outs {
		all[o.id] = true
	}
	for i, hash := range r.ids {
		if hash != one && (len(outs) == 1 || !all[hash]) {
			continue
		}
		other := r.outputs[i]
		id := identityOf(r.out, other.out)
		// A changed one that equals a changed one was found above.
		if o := mine[id]; o != nil && find(outs, other.name()) == nil {
			report(o, other, id)
		}
	}
}

// input is what two rules must not share.
type input struct {
	iface         string
	group, source netip.Addr
	port          uint16
}

// inputs looks for rules that receive what a changed one receives. Both ways are said in terms of the changed rule.
func (k *checker) inputs(rules []*rule, changed []touched) {
	fresh := map[*rule]bool{}
	for _, t := range changed {
		if t.input && t.rule.out.Interface != "" && t.rule.out.Group.IsValid() {
			fresh[t.rule] = true
		}
	}
	if len(fresh) == 0 {
		return
	}
	first := make(map[input]*rule, len(rules))
	for _, r := range rules {
		in := input{r.out.Interface, r.out.Group, r.out.Source, r.out.Port}
		other := first[in]
		switch {
		case other == nil:
			first[in] = r
			continue
		case !fresh[r]:
			r, other = other, r
		}
		if fresh[r] {
			k.fault(AlreadyExists, rulePathOf(r.name())+"/config", "the input (interface %s, group %v, port %d) is that of rule %s",
				in.iface, in.group, in.port, other.name())
		}
	}
}

func (k *checker) limits(c *compiled) {
	l := c.tree.GetMcr().GetForwarding().GetLimits().GetConfig()
	const at = "/mcr/forwarding/limits/config/"
	over := func(n int, limit uint32) bool { return uint64(n) > uint64(limit) }
	if n, limit := len(c.rules), l.GetMaximumRules(); over(n, limit) {
		k.fault(Invalid, rulePath, "%d rules are more than %smaximum-rules, %d", n, at, limit)
	}
	if n, limit := len(c.rules), l.GetMaximumEntries(); over(n, limit) {
		k.fault(Invalid, rulePath, "%d rules make more entries than %smaximum-entries, %d", n, at, limit)
	}
	if limit := l.GetMaximumOutputs(); over(c.outputs, limit) {
		k.fault(Invalid, rulePath, "%d outputs in all are more than %smaximum-outputs, %d", c.outputs, at, limit)
	}
	for _, r := range c.rules {
		if n, limit := len(r.outputs), l.GetMaximumOutputsPerEntry(); over(n, limit) {
			k.fault(Invalid, rulePathOf(r.name())+"/outputs", "%d outputs are more than %smaximum-outputs-per-entry, %d", n, at, limit)
		}
	}
}

var multicast = netip.MustParsePrefix("224.0.0.0/4")

func (k *checker) boundaries(bs *gen.Mcr_Mcr_Forwarding_Boundaries) {
	if bs == nil {
		return
	}
	for name, b := range bs.Boundary {
		for _, text := range b.GetConfig().GetGroupPrefix() {
			if !prefix(text).Overlaps(multicast) {
				k.fault(Invalid, boundaryPath+tree.KeyText("interface", name)+"/config/group-prefix", "%s holds no multicast group", text)
			}
		}
	}
}
