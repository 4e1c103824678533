// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// spokeOnly is the roadmap's first example without its multicast output.
const spokeOnly = `{ rules: [{ name: "hybrid-feed", input: { interface: "eth0", group: "239.1.1.1", port: 5000 },
  outputs: [{ interface: "gre0", group: "239.1.1.1", port: 5000, unicast_dest: "10.2.0.5" }] }] }`

const pendingID = "mcr/system/configuration/state/pending-commit-id"

// G100: apply --confirm, and confirm keeps it, also over a restart. The packets follow at each step.
func TestG100_ConfirmedApplyStays(t *testing.T) {
	t.Parallel()
	n := newHybrid(t)
	lan, spoke := n.lan.GroupSink("eth0", "239.1.1.1:5000"), n.far.Sink("10.2.0.5:5000")
	d := run(t, n.rtr, roadmap["hybrid"])
	d.ctl("apply", file(t, spokeOnly), "--confirm", "60s", "--id", "c1")
	d.await(pendingID, "c1")
	if text := d.ctlRefused(1, "apply", file(t, roadmap["hybrid"])); !strings.Contains(text, "c1") {
		t.Errorf("G103: a second change while one waits: %s", text)
	}
	if text := d.ctlRefused(1, "confirm", "c2"); !strings.Contains(text, "c1") {
		t.Errorf("G104: another id: %s", text)
	}
	d.ctl("confirm")
	d.Restart()
	d.up("hybrid-feed", "gre0@10.2.0.5:5000")
	n.src.Send(feed(100))
	spoke.Exactly(100)
	lan.Exactly(0)
	if text := d.ctlRefused(1, "confirm"); !strings.Contains(text, "no commit waits") {
		t.Errorf("nothing to confirm: %s", text)
	}
}

// G101, G102: without a word, and at once with cancel, the old configuration is back, and the packets follow it.
func TestG101_UnconfirmedApplyGoesBack(t *testing.T) {
	t.Parallel()
	n := newHybrid(t)
	lan, spoke := n.lan.GroupSink("eth0", "239.1.1.1:5000"), n.far.Sink("10.2.0.5:5000")
	d := run(t, n.rtr, roadmap["hybrid"])
	const branch = "eth1@239.1.1.1:5000"
	d.up("hybrid-feed", branch)
	before := d.config("mcr")
	arrives := func(total uint64) {
		t.Helper()
		d.up("hybrid-feed", branch)
		n.src.Send(feed(100))
		spoke.Exactly(total)
		lan.Exactly(total)
		if got := d.config("mcr"); got != before {
			t.Errorf("configuration before\n%s\nand after\n%s", before, got)
		}
	}
	d.ctl("apply", file(t, spokeOnly), "--confirm", "1s")
	if got := d.config("mcr"); strings.Contains(got, branch) {
		t.Errorf("not applied: %s", got)
	}
	arrives(100)
	d.ctl("apply", file(t, spokeOnly), "--confirm", "10m")
	if got := d.config("mcr"); strings.Contains(got, branch) {
		t.Errorf("not applied: %s", got)
	}
	d.ctl("cancel")
	arrives(200)
}

// The history: who, when, what was different, and back again; dry runs say the same and change nothing.
func TestHistoryByMcrctl(t *testing.T) {
	t.Parallel()
	n := newHybrid(t)
	d := run(t, n.rtr, "")
	d.ctl("apply", file(t, roadmap["hybrid"])) // 1
	saved := filepath.Join(t.TempDir(), "saved.json")
	d.ctl("save", saved)
	d.ctl("set", "/mcr/forwarding/config/unicast-ttl", "32") // 2
	d.ctl("apply", file(t, spokeOnly))                       // 3
	files := d.stored()

	const lan = "/mcr/forwarding/rules/rule[name=hybrid-feed]/outputs/output[name=eth1@239.1.1.1:5000]/config"
	const back = "- /mcr/forwarding/config/unicast-ttl 32\n" +
		"+ " + lan + "/group 239.1.1.1\n+ " + lan + "/interface eth1\n+ " + lan + "/name eth1@239.1.1.1:5000\n+ " + lan + "/port 5000\n"
	for _, args := range [][]string{{"diff", "3", "1"}, {"rollback", "1", "--dry-run"}, {"apply", saved, "--dry-run"}} {
		if got := d.ctl(args...); got != back {
			t.Errorf("mcrctl %s:\n%s\nwant\n%s", strings.Join(args, " "), got, back)
		}
	}
	if got := d.ctl("diff", "2", "3"); strings.Contains(got, "+") || strings.Count(got, "- "+lan) != 4 {
		t.Errorf("diff 2 3:\n%s", got)
	}
	if d.stored().String() != files.String() {
		t.Error("looking changed something")
	}
	var rows []struct {
		ID    string
		State struct{ User, Address string }
	}
	if err := json.Unmarshal([]byte(d.ctl("show", "commits", "-o", "json")), &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 3 || rows[0].ID != "3" || rows[2].ID != "1" || rows[0].State.User != "root" || rows[0].State.Address != "unix" {
		t.Errorf("commits: %+v", rows)
	}
	d.ctl("rollback", "1")
	again := filepath.Join(t.TempDir(), "again.json")
	d.Kill()
	d.Start()
	d.ctl("save", again)
	a, err := os.ReadFile(saved)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(again)
	if err != nil {
		t.Fatal(err)
	}
	if string(a) != string(b) {
		t.Errorf("saved after commit 1\n%s\nand after the rollback to it\n%s", a, b)
	}
	if got := d.ctl("diff", "1", "4"); got != "" {
		t.Errorf("diff 1 4 after the restart:\n%s", got)
	}
	d.ctlRefused(1, "rollback", "99")
}
