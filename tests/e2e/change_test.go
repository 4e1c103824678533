// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"testing"

	"mcr/tests/lab"
)

// P1.6, P4.4: a branch is added, changed and removed under traffic; its siblings lose and double nothing, and its counter is the
// sum of what its receivers got.
func TestP1_6_ChangesUnderTrafficCostSiblingsNothing(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		n := newHybrid(t)
		lan, spoke := n.lan.GroupSink("eth0", "239.1.1.1:5000"), n.far.Sink("10.2.0.5:5000")
		first, second := n.far.Sink("10.2.0.5:6001"), n.far.Sink("10.2.0.5:6002")
		d := runRules(t, n.rtr, engine, hybridRule())
		live := feed(0)
		live.Rate, live.Burst = 5000, 10
		sender := n.src.StartSend(live)
		lan.Wait(100, patience)

		branch := outputPath("hybrid-feed", "branch")
		var had uint64
		for range 10 {
			d.must(d.replace(branch, uni("branch", "gre0", "10.2.0.5", 6001)))
			reaches(first, 50, patience)
			d.must(d.update(branch+"/config/port", 6002))
			reaches(second, 50, patience)
			d.must(d.update(branch+"/config", obj{"dscp": 10, "ttl": 9}))
			reaches(second, 50, patience)
			d.must(d.update(branch+"/config/enabled", false))
			d.down("hybrid-feed", "branch", "admin-disabled")
			first.Quiet(quiet)
			second.Quiet(quiet)
			now := first.Received() + second.Received()
			d.sent("hybrid-feed", "branch", now-had)
			had = now
			d.must(d.remove(branch))
		}
		sent := sender.Stop()
		lan.Exactly(sent.Sent)
		spoke.Exactly(sent.Sent)
		d.sent("hybrid-feed", "lan", sent.Sent)
		d.sent("hybrid-feed", "spoke", sent.Sent)
		for _, s := range []*lab.Sink{first, second} {
			if r := s.Report(0); r.Duplicated+r.Reordered+r.Corrupted+r.Foreign > 0 {
				t.Errorf("the branch itself got doubled or broken datagrams: %s", s)
			}
		}
	})
}

// P1.6: with mcrctl, and the result survives a clean restart and kill -9.
func TestP1_6_ChangesSurviveARestart(t *testing.T) {
	t.Parallel()
	n := newHybrid(t)
	lan, spoke, added := n.lan.GroupSink("eth0", "239.1.1.1:5000"), n.far.Sink("10.2.0.5:5000"), n.far.Sink("10.2.0.5:7000")
	d := run(t, n.rtr, roadmap["hybrid"])
	d.ctl("add-output", "hybrid-feed", "239.1.1.1:7000:gre0@10.2.0.5")
	d.ctl("remove-output", "hybrid-feed", "239.1.1.1:5000:gre0@10.2.0.5")
	config := d.config("mcr")
	arrives := func(total uint64) {
		t.Helper()
		n.src.Send(feed(100))
		lan.Exactly(total)
		added.Exactly(total)
		spoke.Exactly(0)
	}
	arrives(100)
	d.Restart()
	arrives(200)
	d.Kill()
	d.Start()
	arrives(300)
	if got := d.config("mcr"); got != config {
		t.Errorf("configuration before\n%s\nand after\n%s", config, got)
	}
}
