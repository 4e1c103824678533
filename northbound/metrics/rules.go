// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"cmp"
	"slices"
)

// ruleGroup is the input of each rule.
var ruleGroup = group{
	path:   "/mcr/forwarding/rules/rule/state",
	labels: ruleLabels,
	families: []family{
		{name: "mcr_rule_received_packets_total", help: "Datagrams of the rule's input that were forwarded.", leaf: "counters/packets", counter: true},
		{name: "mcr_rule_received_bytes_total", help: "UDP payload of these datagrams.", leaf: "counters/octets", counter: true},
		{name: "mcr_rule_last_packet_timestamp_seconds", help: "When the latest datagram came, in seconds since 1970.", leaf: "last-packet-time", scale: nano},
		{name: "mcr_rule_outputs", help: "Outputs of the rule.", leaf: "output-count"},
		{name: "mcr_rule_outputs_up", help: "Outputs of the rule that are up.", leaf: "output-up-count"},
	},
	more: func(s *scrape, u *unit, l labels) {
		status := u.text("input-status")
		for _, one := range inputStatuses {
			s.add(&inputStatus, l.with("status", one), bit(one == status))
		}
		if status != "" && !slices.Contains(inputStatuses, status) { // the list may grow
			s.add(&inputStatus, l.with("status", status), 1)
		}
		s.status(u, l, &ruleUp, &ruleDownReason)
		s.reason(u, l, "discard-reason", &ruleDiscardReason)
		for _, d := range ruleDrops {
			if v := u.leaf(d.leaf); v.Kind != 0 {
				s.add(&ruleDropped, l.with("reason", d.reason), float64(v.Num))
			}
		}
	},
}

// outputGroup is each configured output: one copy of each datagram.
var outputGroup = group{
	path:   "/mcr/forwarding/rules/rule/outputs/output/state",
	labels: outputLabels,
	families: []family{
		{name: "mcr_output_sent_packets_total", help: "Copies sent.", leaf: "counters/packets", counter: true},
		{name: "mcr_output_sent_bytes_total", help: "UDP payload of the copies sent.", leaf: "counters/octets", counter: true},
		{name: "mcr_output_errors_total", help: "Copies not sent because the kernel refused them.", leaf: "counters/errors", counter: true},
		{name: "mcr_output_last_packet_timestamp_seconds", help: "When the latest copy was sent, in seconds since 1970.", leaf: "last-packet-time", scale: nano},
	},
	more: func(s *scrape, u *unit, l labels) {
		s.status(u, l, &outputUp, &outputDownReason)
		for _, d := range outputUnsent {
			if v := u.leaf(d.leaf); v.Kind != 0 {
				s.add(&outputUnsentPackets, l.with("reason", d.reason), float64(v.Num))
			}
		}
		for _, d := range outputErrors { // the sum is always there; ten thousand outputs need not say seven times 0
			if v := u.leaf(d.leaf); v.Num != 0 {
				s.add(&outputErrorReasons, l.with("reason", d.reason), float64(v.Num))
			}
		}
	},
}

var (
	inputStatus         = family{name: "mcr_rule_input_status", help: "1 for the status that the rule's input has, 0 for the others."}
	ruleUp              = family{name: "mcr_rule_up", help: "1 if the rule's oper-status is up or degraded."}
	ruleDownReason      = family{name: "mcr_rule_down_reason", help: "1 for the reason for which a rule is down or degraded; no series while it is up."}
	ruleDiscardReason   = family{name: "mcr_rule_discard_reason", help: "1 for the reason for which the input's latest datagrams were dropped; no series if they were not."}
	ruleDropped         = family{name: "mcr_rule_dropped_packets_total", help: "Datagrams of the rule's input that were not forwarded.", counter: true}
	outputUp            = family{name: "mcr_output_up", help: "1 if the output's oper-status is up or degraded."}
	outputDownReason    = family{name: "mcr_output_down_reason", help: "1 for the reason for which an output is down or degraded; no series while it is up."}
	outputUnsentPackets = family{name: "mcr_output_unsent_packets_total", help: "Copies that were not given to the kernel.", counter: true}
	outputErrorReasons  = family{name: "mcr_output_error_reasons_total", help: "Copies not sent because the kernel refused them, by kind of error; a kind that never came is left out.", counter: true}
)

// inputStatuses are the values of input-status.
var inputStatuses = []string{"receiving", "silent", "never", "discarding", "not-joined"}

// because is a counter leaf that stands for one reason.
type because struct{ leaf, reason string }

var ruleDrops = []because{
	{"counters/dropped-checksum", "checksum"},
	{"counters/dropped-gso", "gso"},
	{"counters/dropped-limit", "limit"},
	{"counters/dropped-loop", "loop"},
	{"counters/dropped-overrun", "overrun"},
	{"counters/dropped-truncated", "truncated"},
	{"counters/dropped-ttl", "ttl"},
	{"counters/dropped-wrong-interface", "wrong-interface"},
}

var outputUnsent = []because{
	{"counters/dropped", "dropped"},
	{"counters/not-ready", "not-ready"},
	{"counters/skipped-ttl", "ttl"},
}

var outputErrors = []because{
	{"counters/errors-key", "key"},
	{"counters/errors-no-buffer", "no-buffer"},
	{"counters/errors-other", "other"},
	{"counters/errors-permission", "permission"},
	{"counters/errors-refused", "refused"},
	{"counters/errors-size", "size"},
	{"counters/errors-unreachable", "unreachable"},
}

func ruleLabels(s *scrape, u *unit) labels {
	name, port := u.key(3, 0), u.text("input-port")
	s.ports[name] = port
	return pairs("group", u.text("input-group"), "interface", u.text("input-interface"), "port", port, "rule", name,
		"source", u.text("input-source"))
}

// outputLabels name a branch by what is configured and not by what it resolves to at the moment, so that a branch that is
// down has the same series.
func outputLabels(s *scrape, u *unit) labels {
	rule := u.key(3, 0)
	port := u.text("port")
	if port == "0" || port == "" { // it keeps the port that arrived
		port = cmp.Or(s.ports[rule], "0")
	}
	return pairs("destination", cmp.Or(u.text("unicast-dest"), u.text("group")), "interface", u.text("interface"),
		"output", u.key(5, 0), "port", port, "rule", rule)
}

// status adds whether a rule or an output is up, and why it is not.
func (s *scrape) status(u *unit, l labels, up, reason *family) {
	oper := u.text("oper-status")
	if oper == "" {
		return
	}
	s.add(up, l, bit(oper == "up" || oper == "degraded"))
	s.reason(u, l, "down-reason", reason)
}

// reason adds a reason, where there is one.
func (s *scrape) reason(u *unit, l labels, leaf string, f *family) {
	if why := u.text(leaf); why != "" && why != "none" {
		s.add(f, l.with("reason", why), 1)
	}
}
