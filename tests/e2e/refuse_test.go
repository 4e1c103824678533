// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// refusal is a change that must not be made.
type refusal struct {
	path  string // what is set; below the rule "feed" unless it begins with mcr
	value any
	code  codes.Code // OK stands for InvalidArgument
	at    string     // the end of the path at fault
	says  string
}

// bad is an output of the rule that is refused.
func bad(at, says string, config obj) refusal {
	o := obj{"name": "bad", "config": obj{"name": "bad", "interface": "gre0", "port": 5000}}
	return refusal{path: "outputs/output[name=bad]", value: with(o, config), at: "output[name=bad]" + at, says: says}
}

// input is a rule whose input is refused.
func input(code codes.Code, at, says string, config obj) refusal {
	return refusal{
		path: "mcr/forwarding/rules/rule[name=new]", value: with(ruleOn("new", "eth0"), config), code: code,
		at: "rule[name=new]/config" + at, says: says,
	}
}

// refusals are what P1.7 refuses, by what is wrong.
var refusals = map[string]refusal{
	"destination_multicast":    bad("/config/unicast-dest", "239.9.9.9", obj{"unicast-dest": "239.9.9.9"}),
	"destination_class_e":      bad("/config/unicast-dest", "240.0.0.1", obj{"unicast-dest": "240.0.0.1"}),
	"destination_zero_net":     bad("/config/unicast-dest", "0.1.2.3", obj{"unicast-dest": "0.1.2.3"}),
	"destination_broadcast":    bad("/config/unicast-dest", "255.255.255.255", obj{"unicast-dest": "255.255.255.255"}),
	"destination_loopback":     bad("/config/unicast-dest", "127.0.0.1", obj{"unicast-dest": "127.0.0.1"}),
	"destination_ipv6":         bad("/config/unicast-dest", "2001:db8::1", obj{"unicast-dest": "2001:db8::1"}),
	"destination_host_name":    bad("/config/unicast-dest", "spoke", obj{"unicast-dest": "spoke"}),
	"group_is_a_host":          bad("/config/group", "10.2.0.5", obj{"group": "10.2.0.5"}),
	"group_link_local":         bad("/config/group", "224.0.0.0/24", obj{"group": "224.0.0.5"}),
	"no_interface":             bad("/config/interface", "needed", obj{"interface": nil, "unicast-dest": "10.2.0.5"}),
	"port_too_large":           bad("/config/port", "65536", obj{"unicast-dest": "10.2.0.5", "port": 65536}),
	"ttl_0":                    bad("/config/ttl", "0", obj{"unicast-dest": "10.2.0.9", "ttl": 0}),
	"same_branch":              bad("", "spoke", obj{"unicast-dest": "10.2.0.5"}),
	"same_branch_by_port":      bad("", "spoke", obj{"unicast-dest": "10.2.0.5", "port": 0}), // 0 is the input's 5000
	"same_group":               bad("", "lan", obj{"interface": "eth1", "group": group}),
	"loop":                     bad("", "loop", obj{"interface": "eth0", "group": group}),
	"loop_on_another_port":     bad("", "loop", obj{"interface": "eth0", "port": 6000}), // the group is left out: the input's
	"unknown_leaf":             {path: "outputs/output[name=lan]/config", value: obj{"colour": "red"}, at: "output[name=lan]/config", says: `"colour"`},
	"input_link_local":         input(codes.OK, "/input-group", "224.0.0.0/24", obj{"input-group": "224.0.0.251"}),
	"input_class_e":            input(codes.OK, "/input-group", "240.0.0.1", obj{"input-group": "240.0.0.1"}),
	"input_without_group":      input(codes.OK, "/input-group", "needed", obj{"input-group": nil}),
	"input_without_interface":  input(codes.OK, "/input-interface", "needed", obj{"input-group": "239.1.1.2", "input-interface": nil}),
	"input_of_another_rule":    input(codes.AlreadyExists, "", "feed", nil),
	"own_input_without_port":   input(codes.OK, "/input-port", "unicast address", obj{"input-group": "10.0.0.2", "input-port": 0}), // P4.6
	"rule_without_its_input":   {path: "mcr/forwarding/rules/rule[name=new]", value: obj{"name": "new"}, at: "input-group", says: "needed"},
	"loop_by_change_of_input":  {path: "config/input-interface", value: "eth1", at: "output[name=lan]", says: "loop"},
	"taken_by_change_of_input": {path: "mcr/forwarding/rules/rule[name=other]/config/input-group", value: group, code: codes.AlreadyExists, at: "rule[name=other]/config", says: "feed"},
}

// P1.7: each fault is refused with its reason and its path, and nothing changes: not the configuration, not the state dir, no packet.
func TestP1_7_FaultsAreRefusedAndChangeNothing(t *testing.T) {
	t.Parallel()
	n := newHybrid(t)
	lan, spoke := n.lan.GroupSink("eth0", "239.1.1.1:5000"), n.far.Sink("10.2.0.5:5000")
	other := with(ruleOn("other", "eth0"), obj{"input-group": "239.1.1.3"})
	feedRule := ruleOn("feed", "eth0", multi("lan", "eth1", group, 5000), uni("spoke", "gre0", "10.2.0.5", 5000))
	d := runRules(t, n.rtr, "", feedRule, other)
	config, state, files := d.config("mcr"), d.settled(), d.stored().String()
	sender := n.src.StartSend(feed(0))
	lan.Wait(10, patience)

	said := map[string]refusal{}
	for _, name := range slices.Sorted(maps.Keys(refusals)) {
		r := refusals[name]
		path := r.path
		if !strings.HasPrefix(path, "mcr") {
			path = rulePath("feed") + "/" + path
		}
		err := d.replace(path, clean(r.value))
		st := status.Convert(err)
		want := r.code
		if want == codes.OK {
			want = codes.InvalidArgument
		}
		if st.Code() != want || !strings.Contains(st.Message(), r.says) || !faultAt(st, r.at) {
			t.Errorf("%s: want %v at …%s with %q in it, got %v", name, want, r.at, r.says, err)
		}
		if twin, is := said[st.Message()]; is && twin.says != r.says {
			t.Errorf("%s is refused in the words for %q: %s", name, twin.says, st.Message())
		}
		said[st.Message()] = r
		if config != d.config("mcr") || files != d.stored().String() {
			t.Fatalf("%s changed the configuration or the state dir", name)
		}
	}
	if got := d.settled(); got != state {
		t.Errorf("state before\n%s\nand after\n%s", state, got)
	}
	sent := sender.Stop()
	lan.Exactly(sent.Sent)
	spoke.Exactly(sent.Sent)
}

// P1.7: of a Set with a good and a bad part nothing is done.
func TestP1_7_GoodPartOfABadSetIsNotDone(t *testing.T) {
	t.Parallel()
	d := runRules(t, newHybrid(t).rtr, "", hybridRule())
	before := d.config("mcr")
	err := d.replace(rulesPath, obj{"rule": []obj{
		ruleOn("good", "eth1"), ruleOn("bad", "eth0", uni("o", "gre0", "240.0.0.1", 1)),
	}})
	if err == nil || d.config("mcr") != before {
		t.Errorf("error %v, configuration before\n%s\nand after\n%s", err, before, d.config("mcr"))
	}
}

// P1.7: what looks like a fault and is none.
func TestP1_7_LegalOutputsAreTaken(t *testing.T) {
	t.Parallel()
	n := newHybrid(t)
	n.src.Addr("eth0", "10.0.0.99/24")
	back := n.src.Sink("10.0.0.99:5000")
	loop, regrouped := n.rtr.Sink("127.0.0.1:5000"), n.src.GroupSink("eth0", "239.1.1.2:5000")
	d := runRules(t, n.rtr, "", hybridRule(
		uni("input-interface", "eth0", "10.0.0.99", 5000), // a HER branch where the stream comes in
		uni("lo", "lo", "127.0.0.1", 5000),
		multi("other-group", "eth0", "239.1.1.2", 5000),
		multi("one", "gre0", group, 5000), multi("two", "gre0", group, 5001), // one destination, two ports
	))
	n.src.Send(feed(100))
	back.Exactly(100)
	loop.Exactly(100)
	regrouped.Exactly(100)
	d.must(d.remove(rulePath("hybrid-feed")))
}

// P1.7: a packet is never sent to its own source address, wherever the source is; that is counted, and costs siblings nothing.
func TestP1_7_NothingGoesBackToItsSource(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		n := newHybrid(t)
		n.src.Addr("eth0", "10.0.0.99/24")
		back, spoke := n.src.Sink("0.0.0.0:5000"), n.far.Sink("10.2.0.5:5000")
		d := runRules(t, n.rtr, engine, hybridRule(uni("back", "eth0", "10.0.0.1", 5000), uni("spoke", "gre0", "10.2.0.5", 5000)))
		n.src.Send(feed(100)) // from 10.0.0.1
		spoke.Exactly(100)
		back.Exactly(0)
		d.counts(outputPath("hybrid-feed", "back")+"/state/counters/dropped", 100)
		d.sent("hybrid-feed", "back", 0)
		other := feed(100)
		other.Source = "10.0.0.99"
		n.src.Send(other)
		spoke.Exactly(200)
		back.Exactly(100)
		d.sent("hybrid-feed", "back", 100)
	})
}

// settled is the state of the rules without counters.
func (d daemon) settled() string {
	d.t.Helper()
	all := d.get(rulesPath)
	maps.DeleteFunc(all, func(k, _ string) bool {
		return strings.Contains(k, "/counters/") || strings.Contains(k, "last-packet-time") || strings.HasSuffix(k, "input-status")
	})
	return all.String()
}

// clean leaves out members that are nil, on all levels.
func clean(v any) any {
	o, ok := v.(obj)
	if !ok {
		return v
	}
	out := obj{}
	for k, e := range o {
		if e != nil {
			out[k] = clean(e)
		}
	}
	return out
}

// faultAt says whether a refusal names a path with this end.
func faultAt(st *status.Status, end string) bool {
	for _, d := range st.Details() {
		bad, _ := d.(*errdetails.BadRequest)
		for _, v := range bad.GetFieldViolations() {
			if strings.HasSuffix(v.GetField(), end) {
				return true
			}
		}
	}
	return false
}
