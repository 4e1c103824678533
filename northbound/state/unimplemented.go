// SPDX-License-Identifier: Apache-2.0

package state

import (
	"strings"

	"mcr/gen"
	"mcr/northbound/config"
	"mcr/northbound/telemetry"
)

// notYet are the state leaves that nothing makes and the configuration leaves that nothing reads, with the reason. A name with
// a slash at its end stands for all below. Readers of these are told that they are not implemented.
var notYet = map[string]string{
	"/mcr/remote-join/config/":                        "the remote-join service does not exist yet",
	"/mcr/amt-relay/":                                 "the AMT relay does not exist yet",
	"/mcr/registration/":                              "the registration service does not exist yet",
	"/mcr/remote-join/clients/":                       "the remote-join service does not exist yet",
	"/mcr/remote-join/state/counters/":                "the remote-join service does not exist yet",
	"/mcr/rpf-overrides/":                             "nothing is learnt yet, so nothing has a reverse path",
	"/mcr/mrib/entries/entry/upstream/":               "PIM does not run yet",
	"/mcr/mrib/entries/entry/senders/":                "the dataplane does not tell the sources it hears yet",
	"/mcr/forwarding/rules/rule/senders/":             "the dataplane does not tell the sources it hears yet",
	"/mcr/mrib/entries/entry/outputs/output/holders/": "the router does not tell the holders yet; with static rules alone, rule and rule-output do",

	"/mcr/remote-join/state/allowed-client":            "the remote-join service does not exist yet",
	"/mcr/remote-join/state/allowed-group":             "the remote-join service does not exist yet",
	"/mcr/remote-join/state/client-count":              "the remote-join service does not exist yet",
	"/mcr/remote-join/state/enabled":                   "the remote-join service does not exist yet",
	"/mcr/remote-join/state/hold-time":                 "the remote-join service does not exist yet",
	"/mcr/remote-join/state/listen-address":            "the remote-join service does not exist yet",
	"/mcr/remote-join/state/listening":                 "the remote-join service does not exist yet",
	"/mcr/remote-join/state/maximum-clients":           "the remote-join service does not exist yet",
	"/mcr/remote-join/state/maximum-groups-per-client": "the remote-join service does not exist yet",
	"/mcr/remote-join/state/nonce-required":            "the remote-join service does not exist yet",
	"/mcr/remote-join/state/port":                      "the remote-join service does not exist yet",
	"/mcr/remote-join/state/request-rate":              "the remote-join service does not exist yet",

	"/mcr/forwarding/rules/rule/state/counters/dropped-wrong-interface": "nothing is learnt yet, and static rules have no reverse path",

	"/mcr/mrib/entries/entry/state/expires":                          "static rules do not end",
	"/mcr/mrib/entries/entry/state/counters/dropped-wrong-interface": "nothing is learnt yet, and static rules have no reverse path",
	"/mcr/mrib/entries/entry/outputs/output/state/assert-state":      "PIM does not run yet",
	"/mcr/mrib/entries/entry/outputs/output/state/expires":           "static rules do not end",
	"/network-instances/network-instance/protocols/protocol/state/":  "no protocol runs yet",
	"/network-instances/network-instance/protocols/protocol/pim/":    "PIM does not run yet; its interfaces say so",
	"/network-instances/network-instance/protocols/protocol/igmp/":   "IGMP does not run yet; its interfaces say so",
}

// despite are leaves that are made, below a name in notYet that stands for all below.
var despite = func() map[string]bool {
	all := map[string]bool{}
	for _, protocol := range []string{"pim", "igmp"} {
		for _, leaf := range []string{"auto-her", "down-reason", "enabled", "her-mode", "interface-id"} {
			all["/network-instances/network-instance/protocols/protocol/"+protocol+"/interfaces/interface/state/"+leaf] = true
		}
	}
	return all
}()

// NewSchema returns the schema of the tree. What cannot be configured and what is never shown is marked in it.
func NewSchema() (*telemetry.Schema, error) {
	generated, err := gen.Schema()
	if err != nil {
		return nil, err
	}
	s, err := telemetry.NewSchema(generated)
	if err != nil {
		return nil, err
	}
	return s, s.MarkUnimplemented(unimplemented(s.Root)...)
}

// unimplemented returns the leaves below n that cannot be configured, or have a reason not to be made.
func unimplemented(n *telemetry.Node) []string {
	var out []string
	for _, c := range n.Children {
		path := c.Path()
		switch why, _ := reason(path); {
		case !c.IsLeaf():
			out = append(out, unimplemented(c)...)
		case c.IsKey: // there as long as anything else in its entry is
		case c.Config && !config.Accepts(path), !c.Config && why != "":
			out = append(out, path)
		}
	}
	return out
}

// reason returns why a leaf is not made, and the row that says so.
func reason(path string) (why, row string) {
	if despite[path] {
		return "", ""
	}
	for row, why := range notYet {
		if row == path || strings.HasSuffix(row, "/") && strings.HasPrefix(path, row) {
			return why, row
		}
	}
	return "", ""
}
