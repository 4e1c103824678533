// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"
	"sync"

	"mcr/northbound/config/tree"
)

// consumed lists the configuration leaves that are translated into the router's configuration, or checked as a limit.
// Each is named, so that a leaf that is new in the YANG modules is refused until somebody makes it work.
var consumed = map[string][]string{
	"/mcr/forwarding/config": {
		"auto-her-for-p2p-tunnels", "her-mode", "rediscovery-interval", "unicast-ttl", "multicast-ttl-policy", "multicast-ttl",
		"minimum-input-ttl",
	},
	"/mcr/forwarding/limits/config": {
		"maximum-rules", "maximum-entries", "maximum-outputs-per-entry", "maximum-outputs", "maximum-sockets",
	},
	"/mcr/forwarding/boundaries/boundary/config": {"interface", "group-prefix"},
	"/mcr/forwarding/rules/rule/config": {
		"name", "enabled", "input-interface", "input-group", "input-port", "input-source", "receive-method", "silence-timeout",
		"minimum-input-ttl",
	},
	"/mcr/forwarding/rules/rule/outputs/output/config": {
		"name", "enabled", "interface", "group", "port", "unicast-dest", "her-mode", "source-address", "source-port", "ttl", "dscp",
	},
	"/mcr/dataplane/config": {
		"engine", "workers", "cpus", "ring-entries", "receive-buffers", "receive-socket-buffer", "gso-max-segments",
		"zero-copy", "coalesce-usec", "busy-poll-usec",
	},
	"/mcr/dataplane/port-learner/config":                       {"maximum-learnt-ports", "learnt-port-hold"},
	"/mcr/dataplane/egress-interfaces/egress-interface/config": {"name", "gso"},

	"/mcr/tunnel-endpoints/tunnel-endpoint/config":                    {"interface"},
	"/mcr/tunnel-endpoints/tunnel-endpoint/endpoints/endpoint/config": {"address", "neighbor"},

	// Of protocols that do not run yet, what head-end replication goes by.
	protocolPath + "/config":                           {"enabled"},
	protocolPath + "/pim/interfaces/interface/config":  {"enabled", "auto-her", "her-mode"},
	protocolPath + "/igmp/interfaces/interface/config": {"enabled", "auto-her", "her-mode"},
}

// kept lists leaves, and containers with all below but for what is consumed, that are stored and shown although nothing
// acts on them yet.
var kept = []string{
	"/mcr/forwarding/rules/rule/config/description",
	"/interfaces/interface/config",
	"/network-instances",
}

// accepted holds the schema nodes that may be configured: the leaves of the tables above, list keys that go with them,
// and what is above these.
var accepted = sync.OnceValue(func() map[*tree.Node]bool {
	all := map[*tree.Node]bool{}
	accept := func(n *tree.Node) {
		for ; n != nil && !all[n]; n = n.Parent {
			all[n] = true
			for _, k := range n.Keys {
				all[k] = true
			}
		}
	}
	tree.Schema().Leaves(func(n *tree.Node) {
		if n.Config && (isConsumed(n) || isKept(n)) {
			accept(n)
		}
	})
	return all
})

func isConsumed(n *tree.Node) bool {
	for _, name := range consumed[n.Parent.Path] {
		if name == n.Name {
			return true
		}
	}
	return false
}

func isKept(n *tree.Node) bool {
	if isConsumed(n) {
		return false
	}
	for _, p := range kept {
		if n.Path == p || strings.HasPrefix(n.Path, p+"/") {
			return true
		}
	}
	return false
}

// refuse is the tree.Edit's question whether a node may be configured.
func refuse(n *tree.Node) string {
	if accepted()[n] || !n.Config {
		return ""
	}
	return "is not implemented in this version, so it cannot be configured"
}

// Accepts says whether a configuration node, by its schema path without keys, may be configured in this version.
func Accepts(path string) bool {
	n := tree.Find(path)
	return n != nil && n.Config && accepted()[n]
}

// UnimplementedPaths returns the schema paths of the configuration nodes that nothing implements: the topmost of each subtree.
func UnimplementedPaths() []string {
	var out []string
	var walk func(n *tree.Node)
	walk = func(n *tree.Node) {
		for _, c := range n.Children {
			switch {
			case !c.Config:
			case accepted()[c]:
				walk(c)
			default:
				out = append(out, c.Path)
			}
		}
	}
	walk(tree.Schema())
	return out
}
