// SPDX-License-Identifier: Apache-2.0

package config

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"mcr/northbound/config/tree"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// The tables name leaves that exist, each once, and every other configuration leaf is refused.
func TestEveryLeafIsConsumedKeptOrRefused(t *testing.T) {
	for parent, names := range consumed {
		for _, name := range names {
			n := tree.Find(parent + "/" + name)
			if n == nil || !n.Config || n.Type == nil {
				t.Errorf("%s/%s is no configuration leaf", parent, name)
			}
		}
	}
	for _, p := range kept {
		if tree.Find(p) == nil {
			t.Errorf("%s does not exist", p)
		}
	}
	refused := 0
	tree.Schema().Leaves(func(n *tree.Node) {
		if n.Config && !n.IsKey && !isConsumed(n) && !isKept(n) {
			refused++
			if refuse(n) == "" {
				t.Errorf("%s does nothing and is accepted", n.Path)
			}
		}
		if n.Config && (isConsumed(n) || isKept(n)) && refuse(n) != "" {
			t.Errorf("%s is refused", n.Path)
		}
	})
	if refused == 0 {
		t.Error("nothing is refused")
	}
}

// A consumed leaf has an effect: its value shows in what the router gets, or it is a limit.
func TestConsumedLeavesReachTheRouter(t *testing.T) {
	values := map[string]string{
		"rediscovery-interval": "77", "unicast-ttl": "77", "multicast-ttl-policy": `"keep"`, "multicast-ttl": "77", "minimum-input-ttl": "77",
		"maximum-sockets": "77", "enabled": "false", "input-interface": `"eth7"`, "input-group": `"239.7.7.7"`, "input-port": "77",
		"input-source": `"10.7.7.7"`, "silence-timeout": "77", "interface": `"eth7"`, "group": `"239.7.7.7"`, "port": "77",
		"unicast-dest": `"10.7.7.7"`, "her-mode": `"always"`, "source-address": `"10.7.7.7"`, "source-port": "77", "ttl": "77", "dscp": "7",
		"engine": `"mmsg"`, "workers": "7", "cpus": "[7]", "ring-entries": "128", "receive-buffers": "256", "receive-socket-buffer": "77777",
		"gso-max-segments": "7", "gso": `"off"`,
		"receive-method": `"socket"`, "maximum-learnt-ports": "7", "learnt-port-hold": "77",
		"zero-copy": `"off"`, "coalesce-usec": "77", "busy-poll-usec": "77",
		"group-prefix": `["239.0.0.0/8"]`, "auto-her-for-p2p-tunnels": "true", "auto-her": "false", "neighbor": `"10.7.7.7"`,
	}
	keys := strings.NewReplacer("/rule/", "/rule[name=r1]/", "/output/", "/output[name=a]/", "/egress-interface/", "/egress-interface[name=e]/", "/boundary/", "/boundary[interface=e]/",
		"/tunnel-endpoint/", "/tunnel-endpoint[interface=e]/", "/endpoint/", "/endpoint[address=10.1.0.5]/",
		"/network-instance/", "/network-instance[name=default]/", "/protocol/config/", "/protocol[identifier=PIM][name=pim]/config/",
		"/protocol/pim/", "/protocol[identifier=PIM][name=pim]/pim/", "/protocol/igmp/", "/protocol[identifier=IGMP][name=igmp]/igmp/", "/interface/", "/interface[interface-id=e]/")
	base, err := transact(empty(), []change{changeOf(update(t, rulePath, "["+ruleJSON("r1", outputJSON("a", "10.0.0.1", ""), `{"name":"b","config":{"interface":"e"}}`)+"]"))})
	if err != nil {
		t.Fatal(err)
	}
	for parent, names := range consumed {
		for _, name := range names {
			limit := strings.HasPrefix(name, "maximum-") && name != "maximum-sockets"
			if limit || slices.Contains(tree.Find(parent).Parent.Keys, tree.Find(parent).Parent.Child(name)) { // keys are in the path; TestLimits has the limits
				continue
			}
			path := keys.Replace(parent+"/") + name
			if name == "group" {
				path = strings.Replace(path, "name=a", "name=b", 1)
			}
			value := values[name]
			if name == "enabled" && strings.HasPrefix(parent, protocolPath) { // which makes the entry, in which it is false
				value = "true"
			}
			c, err := transact(base, []change{changeOf(update(t, path, value))})
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			got := describe(c.config)
			if got == describe(base.config) {
				t.Errorf("%s = %s changes nothing", path, value)
			}
			checkAlike(t, c)
		}
	}
}
