// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// roadmapForm is the roadmap's list of outputs, roadmapAdd its command line.
const roadmapForm = "239.1.1.1:5000:eth1,239.1.1.1:5000:gre0@10.2.0.5"

var roadmapAdd = strings.Fields("add --input-interface eth0 --input-group 239.1.1.1 --input-port 5000 --outputs " + roadmapForm)

// P1.5: the roadmap's command line forwards, and list prints the same form.
func TestP1_5_RoadmapCommandLine(t *testing.T) {
	t.Parallel()
	n := newHybrid(t)
	lan, spoke := n.lan.GroupSink("eth0", "239.1.1.1:5000"), n.far.Sink("10.2.0.5:5000")
	d := run(t, n.rtr, "")
	d.ctl(roadmapAdd...)
	n.src.Send(feed(300))
	lan.Exactly(300)
	spoke.Exactly(300)

	var list []struct{ Name, Form string }
	if err := json.Unmarshal([]byte(d.ctl("list", "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].Form != roadmapForm || list[0].Name != "eth0:239.1.1.1:5000" {
		t.Errorf("list -o json: %+v, want one rule with %s", list, roadmapForm)
	}
	table := d.ctl("list")
	for form := range strings.SplitSeq(roadmapForm, ",") {
		if !strings.Contains(table, " "+form+" ") {
			t.Errorf("list lacks %s:\n%s", form, table)
		}
	}
	// What list prints can be added again, and is the same rule.
	d.ctl("remove", list[0].Name)
	d.ctl("add", "--input-interface", "eth0", "--input-group", "239.1.1.1", "--input-port", "5000", "--outputs", list[0].Form)
	if again := d.ctl("list"); again != table {
		t.Errorf("list before\n%s\nand after\n%s", table, again)
	}
}

// P1.5: a malformed form is refused with the position of the fault.
func TestP1_5_MalformedFormIsRefusedWithThePosition(t *testing.T) {
	t.Parallel()
	d := run(t, newHybrid(t).rtr, "")
	for name, tc := range map[string]struct{ form, rest string }{ // rest is what stands from the fault on
		"at_empty":     {"239.1.1.1:5000:gre0@", ""},
		"two_at":       {"239.1.1.1:5000:gre0@10.2.0.5@10.2.0.6", "@10.2.0.6"},
		"ipv6":         {"239.1.1.1:5000:gre0@2001:db8::1", "2001:db8::1"},
		"host_name":    {"239.1.1.1:5000:gre0@spoke.example.net", "spoke.example.net"},
		"port_too_big": {"239.1.1.1:5000:eth1,239.1.1.1:65536:gre0@10.2.0.5", "65536:gre0@10.2.0.5"},
		"port_minus":   {"239.1.1.1:-1:eth1", "-1:eth1"},
		"no_interface": {"239.1.1.1:5000", ""},
		"empty":        {"239.1.1.1:5000:eth1,", ""},
	} {
		says := d.ctlRefused(2, "add", "--input-interface", "eth0", "--input-group", "239.1.1.1", "--input-port", "5000", "--outputs", tc.form)
		mark := "  " + tc.form + "\n  " + strings.Repeat(" ", len(tc.form)-len(tc.rest)) + "^"
		if !strings.Contains(says, mark) {
			t.Errorf("%s: want the fault marked thus:\n%s\nmcrctl says:\n%s", name, mark, says)
		}
	}
	if list := d.ctl("list", "-o", "json"); strings.TrimSpace(list) != "[]" {
		t.Errorf("rules after nothing but refusals: %s", list)
	}
}

// P1.7: a name that is taken is refused by mcrctl, and --replace takes it.
func TestP1_5_TakenNameIsRefused(t *testing.T) {
	t.Parallel()
	d := run(t, newHybrid(t).rtr, "")
	d.ctl(roadmapAdd...)
	before := d.ctl("list")
	says := d.ctlRefused(1, roadmapAdd...)
	if !strings.Contains(says, "eth0:239.1.1.1:5000") || !strings.Contains(says, "--replace") {
		t.Errorf("mcrctl says %s", says)
	}
	if after := d.ctl("list"); after != before {
		t.Errorf("list before\n%s\nand after\n%s", before, after)
	}
	d.ctl(append(roadmapAdd[:len(roadmapAdd)-1:len(roadmapAdd)-1], "239.1.1.1:5000:eth1", "--replace")...)
	if after := d.ctl("list"); strings.Contains(after, "gre0") || !strings.Contains(after, "239.1.1.1:5000:eth1") {
		t.Errorf("list after --replace:\n%s", after)
	}
}
