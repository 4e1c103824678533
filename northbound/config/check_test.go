// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// P1.5, P1.7, section 4 of the YANG study, and what is not there yet.
func TestRefusals(t *testing.T) {
	r1 := rulePath + "[name=r1]"
	in := r1 + "/config"
	out := r1 + "/outputs/output[name=a]"
	pim := "/network-instances/network-instance[name=default]/protocols/protocol[identifier=PIM][name=pim]"
	igmp := "/network-instances/network-instance[name=default]/protocols/protocol[identifier=IGMP][name=igmp]"
	endpointOf := func(address string) string { return endpointPathOf("wg0", addr(address)) }
	for _, tt := range []struct {
		name, path, value string
		code              Code
		at, reason        string
	}{
		{"unicast_dest_is_a_group", out + "/config/unicast-dest", `"224.1.1.1"`, Invalid, out + "/config/unicast-dest", "multicast group"},
		{"unicast_dest_reserved", out + "/config/unicast-dest", `"240.1.1.1"`, Invalid, out + "/config/unicast-dest", "240.0.0.0/4"},
		{"unicast_dest_zero", out + "/config/unicast-dest", `"0.1.1.1"`, Invalid, out + "/config/unicast-dest", "0.0.0.0/8"},
		{"unicast_dest_broadcast", out + "/config/unicast-dest", `"255.255.255.255"`, Invalid, out + "/config/unicast-dest", "broadcast"},
		{"unicast_dest_loopback", out + "/config/unicast-dest", `"127.0.0.1"`, Invalid, out + "/config/unicast-dest", "interface lo only"},
		{"output_group_unicast", out + "/config/group", `"10.1.1.1"`, Invalid, out + "/config/group", "not a multicast group"},
		{"output_group_link_local", out + "/config/group", `"224.0.0.251"`, Invalid, out + "/config/group", "224.0.0.0/24"},
		{"input_group_link_local", in + "/input-group", `"224.0.0.1"`, Invalid, in + "/input-group", "224.0.0.0/24"},
		{"input_group_zero", in + "/input-group", `"0.0.0.0"`, Invalid, in + "/input-group", "neither a multicast group nor a host"},
		{"input_group_broadcast", in + "/input-group", `"255.255.255.255"`, Invalid, in + "/input-group", "neither a multicast group nor a host"},
		{"receive_method_unknown", in + "/receive-method", `"raw"`, Invalid, in + "/receive-method", "raw"},
		{"learnt_ports_0", "/mcr/dataplane/port-learner/config/maximum-learnt-ports", `0`, Invalid, "/mcr/dataplane/port-learner/config/maximum-learnt-ports", "1 to 65535"},
		{"input_group_loopback", rulePath + "[name=x]/config", `{"input-interface":"eth0","input-group":"127.0.0.1","input-port":1}`, Invalid, rulePath + "[name=x]/config/input-group", "interface lo only"},
		{"input_group_own_address_without_port", rulePath + "[name=x]/config", `{"input-interface":"eth0","input-group":"10.0.0.1"}`, Invalid, rulePath + "[name=x]/config/input-port", "10.0.0.1, which is a unicast address"},
		{"input_group_own_address_and_no_destination", in + "/input-group", `"10.0.0.9"`, Invalid, r1 + "/outputs/output[name=m]/config/group", "unicast-dest"},
		{"input_group_own_address_is_sent_to_itself", rulePath + "[name=x]", `{"config":{"input-interface":"eth0","input-group":"10.0.0.1","input-port":1},"outputs":{"output":[{"name":"y","config":{"name":"y","interface":"eth0","unicast-dest":"10.0.0.1"}}]}}`, Invalid, rulePath + "[name=x]/outputs/output[name=y]", "loop"},
		{"port_too_large", out + "/config/port", `65536`, Invalid, out + "/config/port", "0 to 65535"},
		{"loop", r1 + "/outputs/output[name=x]", `{"config":{"interface":"eth0"}}`, Invalid, r1 + "/outputs/output[name=x]", "loop"},
		{"loop_named", r1 + "/outputs/output[name=x]", `{"config":{"interface":"eth0","group":"239.1.1.1"}}`, Invalid, r1 + "/outputs/output[name=x]", "loop"},
		{"loop_on_other_port", r1 + "/outputs/output[name=x]", `{"config":{"interface":"eth0","port":6000}}`, Invalid, r1 + "/outputs/output[name=x]", "loop"},
		{"loop_made_by_input", in + "/input-interface", `"eth1"`, Invalid, r1 + "/outputs/output[name=m]", "loop"},
		{"same_branch", r1 + "/outputs/output[name=x]", `{"config":{"interface":"wg0","unicast-dest":"10.0.0.1","port":7}}`, Invalid, r1 + "/outputs/output[name=x]", "output a"},
		{"same_branch_by_effective_port", r1 + "/outputs/output[name=x]", `{"config":{"interface":"wg0","unicast-dest":"10.0.0.2","port":5000}}`, Invalid, r1 + "/outputs/output[name=x]", "output b"},
		{"same_branch_by_default_group", r1 + "/outputs/output[name=x]", `{"config":{"interface":"eth1","group":"239.1.1.1"}}`, Invalid, r1 + "/outputs/output[name=x]", "output m"},
		{"same_branch_made_by_input", in + "/input-port", `7`, Invalid, r1 + "/outputs/output[name=c]", "output a"},
		{"output_interface_needed", r1 + "/outputs/output[name=x]", `{"config":{"unicast-dest":"10.0.0.9"}}`, Invalid, r1 + "/outputs/output[name=x]/config/interface", "needed"},
		{"input_interface_needed", rulePath + "[name=x]", `{"config":{"input-group":"239.2.2.2","input-port":1}}`, Invalid, rulePath + "[name=x]/config/input-interface", "needed"},
		{"input_group_needed", rulePath + "[name=x]", `{"config":{"input-interface":"e","input-port":1}}`, Invalid, rulePath + "[name=x]/config/input-group", "needed"},
		{"input_taken", rulePath + "[name=x]", `{"config":{"input-interface":"eth0","input-group":"239.1.1.1","input-port":5000}}`, AlreadyExists, rulePath + "[name=x]/config", "rule r1"},
		{"other_instance", "/network-instances/network-instance[name=red]", `{"config":{"name":"red"}}`, Invalid, "/network-instances/network-instance[name=red]", "default"},
		{"pim_called_otherwise", strings.Replace(pim, "=pim", "=x", 1) + "/config/enabled", `true`, Invalid, strings.Replace(pim, "=pim", "=x", 1), "called pim"},
		{"pim_under_igmp", igmp + "/pim/global/config/maximum-groups", `1`, Invalid, igmp + "/pim", "under the protocol PIM"},
		{"igmp_under_pim", pim + "/igmp/interfaces/interface[interface-id=e]/config/enabled", `true`, Invalid, pim + "/igmp", "under the protocol IGMP"},
		{"subinterface", pim + "/pim/interfaces/interface[interface-id=e]/interface-ref/config/subinterface", `1`, Invalid, pim + "/pim/interfaces/interface[interface-id=e]/interface-ref/config/subinterface", "only 0"},
		{"rp_groups", pim + "/pim/global/rendezvous-points/rendezvous-point[address=10.0.0.1]/config/multicast-groups", `"239.0.0.0/8 10.0.0.0/8"`, Invalid, pim + "/pim/global/rendezvous-points/rendezvous-point[address=10.0.0.1]/config/multicast-groups", "10.0.0.0/8"},
		{"rp_groups_host_bits", pim + "/pim/global/rendezvous-points/rendezvous-point[address=10.0.0.1]/config/multicast-groups", `"239.0.0.1/8"`, Invalid, pim + "/pim/global/rendezvous-points/rendezvous-point[address=10.0.0.1]/config/multicast-groups", "host bits"},
		{"static_group_link_local", igmp + "/igmp/interfaces/interface[interface-id=e]/static-membership-groups/static-groups[static-group=224.0.0.9]", `{"config":{"source":"10.0.0.1"}}`, Invalid, igmp + "/igmp/interfaces/interface[interface-id=e]/static-membership-groups/static-groups[static-group=224.0.0.9]", "224.0.0.0/24"},
		{"boundary_without_groups", "/mcr/forwarding/boundaries/boundary[interface=e]/config/group-prefix", `["10.0.0.0/8"]`, Invalid, "/mcr/forwarding/boundaries/boundary[interface=e]/config/group-prefix", "no multicast group"},
		{"endpoint_is_a_group", tunnelPath + "[interface=wg0]/endpoints/endpoint", `[{"address":"10.1.0.5"},{"address":"239.1.1.1"}]`, Invalid, tunnelPath + "[interface=wg0]/endpoints/endpoint[1]", "multicast group"},
		{"endpoint_of_every_host", endpointOf("127.0.0.1") + "/config/address", `"127.0.0.1"`, Invalid, endpointOf("127.0.0.1") + "/config/address", "every host"},
		{"endpoint_for_a_group", endpointOf("10.0.0.9") + "/config/neighbor", `"224.1.1.1"`, Invalid, endpointOf("10.0.0.9") + "/config/neighbor", "multicast group"},
		{"endpoint_for_every_host", endpointOf("10.0.0.9") + "/config/neighbor", `"127.0.0.1"`, Invalid, endpointOf("10.0.0.9") + "/config/neighbor", "every host"},
		{"loop_with_her_off", r1 + "/outputs/output[name=x]", `{"config":{"interface":"eth0","her-mode":"never"}}`, Invalid, r1 + "/outputs/output[name=x]", "her-mode of its own"},
		{"registration_in_json", "/mcr/registration", `{"config":{"enabled":true}}`, Unimplemented, "/mcr/registration", "not implemented"},
		{"workers", "/mcr/dataplane/config/workers", `257`, Invalid, "/mcr/dataplane/config/workers", "0 to 256"},
		{"ring_entries", "/mcr/dataplane/config/ring-entries", `63`, Invalid, "/mcr/dataplane/config/ring-entries", "64"},
		{"registration", "/mcr/registration/config/enabled", `true`, Unimplemented, "/mcr/registration/config/enabled", "not implemented"},
		{"long_text", rulePath + "[name=r1]/config/description", `"` + strings.Repeat("ä", 300) + `"`, Invalid, rulePath + "[name=r1]/config/description", `ä..." has 300 characters; 0 to 255 are wanted`},
		{"gso_segments", "/mcr/dataplane/config/gso-max-segments", `129`, Invalid, "/mcr/dataplane/config/gso-max-segments", "128"},
		{"coalesce", "/mcr/dataplane/config/coalesce-usec", `1000001`, Invalid, "/mcr/dataplane/config/coalesce-usec", "1000000"},
		{"busy_poll", "/mcr/dataplane/config/busy-poll-usec", `1000001`, Invalid, "/mcr/dataplane/config/busy-poll-usec", "1000000"},
		{"limit_rules", "/mcr/forwarding/limits/config/maximum-rules", `0`, Invalid, rulePath, "maximum-rules, 0"},
		{"limit_entries", "/mcr/forwarding/limits/config/maximum-entries", `0`, Invalid, rulePath, "maximum-entries, 0"},
		{"limit_outputs", "/mcr/forwarding/limits/config/maximum-outputs", `3`, Invalid, rulePath, "maximum-outputs, 3"},
		{"limit_outputs_of_a_rule", "/mcr/forwarding/limits/config/maximum-outputs-per-entry", `3`, Invalid, r1 + "/outputs", "maximum-outputs-per-entry, 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, r := open(t, t.TempDir())
			mustSet(t, s, update(t, rulePath, "["+ruleJSON("r1", outputJSON("a", "10.0.0.1", `,"port":7`), outputJSON("b", "10.0.0.2", ""),
				outputJSON("c", "10.0.0.1", ""), `{"name":"m","config":{"interface":"eth1"}}`)+"]"))
			before, prepares := s.Running(), r.prepares
			_, err := set(s, update(t, tt.path, tt.value))
			f := faults(t, err)
			if len(f) != 1 || f[0].Code != tt.code || f[0].Path != tt.at || !strings.Contains(f[0].Reason, tt.reason) {
				t.Errorf("got %v\n(codes %v)\nwant one, code %d: %s: …%s…", err, f[0].Code, tt.code, tt.at, tt.reason)
			}
			if want := "update[0] " + tt.at + ": "; !strings.HasPrefix(err.Error(), want) {
				t.Errorf("message %q does not begin with %q", err, want)
			}
			if s.Running() != before || r.prepares != prepares {
				t.Error("something was changed")
			}
		})
	}
}

// P1.7, P4.2: what looks like a conflict and is none.
func TestAllowed(t *testing.T) {
	for _, tt := range []struct{ name, rule string }{
		{"her_on_the_input_interface", ruleJSON("r1", `{"name":"a","config":{"interface":"eth0","unicast-dest":"10.0.0.1"}}`)},
		{"other_group_on_the_input_interface", ruleJSON("r1", `{"name":"a","config":{"interface":"eth0","group":"239.1.1.2"}}`)},
		{"her_for_the_input_group_on_the_input_interface", ruleJSON("r1", `{"name":"a","config":{"interface":"eth0","her-mode":"always"}}`)},
		{"her_by_the_flags_on_the_input_interface", ruleJSON("r1", `{"name":"a","config":{"interface":"eth0","group":"239.1.1.1","her-mode":"auto"}}`)},
		{"loopback_on_lo", ruleJSON("r1", `{"name":"a","config":{"interface":"lo","unicast-dest":"127.0.0.1"}}`)},
		{"two_ports", ruleJSON("r1", outputJSON("a", "10.0.0.1", `,"port":1`), outputJSON("b", "10.0.0.1", `,"port":2`), outputJSON("c", "10.0.0.1", ""))},
		{"two_source_ports", ruleJSON("r1", outputJSON("a", "10.0.0.1", `,"source-port":1`), outputJSON("b", "10.0.0.1", `,"source-port":2`))},
		{"no_outputs", ruleJSON("r1")},
		{"same_group_from_other_source", ruleJSON("r1") + `,{"name":"r2","config":{"input-interface":"eth0","input-group":"239.1.1.1","input-port":5000,"input-source":"10.0.0.1"}}`},
		{"every_port_beside_one", ruleJSON("r1") + `,{"name":"r2","config":{"input-interface":"eth0","input-group":"239.1.1.1","input-port":0}}`},
		{"receive_method", `{"name":"r2","config":{"input-interface":"eth0","input-group":"239.1.1.1","receive-method":"packet"}}`},
		{"same_group_on_other_interface", ruleJSON("r1") + "," + strings.Replace(ruleJSON("r2"), "eth0", "eth1", 1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := open(t, t.TempDir())
			mustSet(t, s, update(t, rulePath, "["+tt.rule+"]"))
			checkAlike(t, s.Running().c)
		})
	}
}

// Names may move between rules and outputs in one Set: only the result counts (G44).
func TestOnlyTheResultIsChecked(t *testing.T) {
	s, _ := open(t, t.TempDir())
	mustSet(t, s, update(t, rulePath, "["+ruleJSON("r1", outputJSON("a", "10.0.0.1", ""), outputJSON("b", "10.0.0.2", ""))+"]"))
	mustSet(t, s,
		update(t, rulePath+"[name=r1]/outputs/output[name=a]/config/unicast-dest", `"10.0.0.2"`),
		update(t, rulePath+"[name=r1]/outputs/output[name=b]/config/unicast-dest", `"10.0.0.1"`))
	mustSet(t, s, update(t, rulePath, "["+ruleJSON("r2")+"]"), remove(t, rulePath+"[name=r1]"))
	checkAlike(t, s.Running().c)
}

// P1.7: among many outputs, a changed one is compared with the unchanged, and each conflict is said once.
func TestConflictsAmongMany(t *testing.T) {
	s, _ := open(t, t.TempDir())
	mustSet(t, s, update(t, rulePath, "["+manyOutputs(300)+"]"))
	_, err := set(s,
		update(t, rulePath+"[name=r1]/outputs/output[name=x]", outputJSON("x", "10.1.0.7", "")),
		update(t, rulePath+"[name=r1]/outputs/output[name=y]", outputJSON("y", "10.1.0.7", "")),
		update(t, rulePath+"[name=r1]/outputs/output[name=o8]/config/port", "1"))
	f := faults(t, err)
	if len(f) != 2 {
		t.Errorf("%d faults, want 2: %v", len(f), err)
	}
}

func TestEveryFaultIsReported(t *testing.T) {
	s, _ := open(t, t.TempDir())
	var ops []Op
	for i := range 5 {
		ops = append(ops, update(t, fmt.Sprintf("%s[name=r%d]/config/input-port", rulePath, i), `70000`))
	}
	ops = append(ops, remove(t, "/nowhere"), update(t, "/mcr/forwarding/config/unicast-ttl", `5`))
	_, err := set(s, ops...)
	if n := len(faults(t, err)); n != 6 {
		t.Errorf("%d faults, want 6: %v", n, err)
	}
	if !strings.Contains(err.Error(), "update[3] "+rulePath+"[name=r3]/config/input-port: ") || !strings.Contains(err.Error(), "delete[0] /nowhere: ") {
		t.Error(err)
	}
	_, err = set(s, update(t, rulePath, `[{"name":"a"},{"name":"b"}]`)) // faults of the whole are all reported too
	if n := len(faults(t, err)); n != 4 {
		t.Errorf("%d faults, want 4: %v", n, err)
	}
}

// A large request that is wrong all over is refused as fast as a good one is taken, and says enough.
func TestManyFaults(t *testing.T) {
	s, _ := open(t, t.TempDir())
	var ops []Op
	for i := range 3000 {
		ops = append(ops, update(t, fmt.Sprintf("%s[name=r%d]/config/enabled", rulePath, i), "true"))
	}
	var texts []string
	for i := range 5000 {
		texts = append(texts, fmt.Sprintf("{\"name\":\"r%d\",\n\"config\":{\"input-port\":-1}}", i))
	}
	for _, req := range [][]Op{ops, {update(t, rulePath, "["+strings.Join(texts, ",")+"]")}} {
		start := time.Now()
		_, err := set(s, req...)
		f := faults(t, err)
		if last := f[len(f)-1]; len(f) != maxFaults || last.Op < 0 {
			t.Errorf("%d faults, the last %+v", len(f), last)
		}
		if d := time.Since(start); d > 10*time.Second { // it took minutes
			t.Errorf("refused after %v", d)
		}
	}
}
