// SPDX-License-Identifier: Apache-2.0

package state

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/openconfig/ygot/ygot"

	"mcr/gen"
	"mcr/mroute"
	"mcr/northbound/config"
	"mcr/northbound/telemetry"
)

// apply commits two configurations, one after the other, and returns the config Units that the second one changed.
func apply(t *testing.T, before, after *gen.Device) (update map[string]string, remove []string) {
	t.Helper()
	rec := newRecorder(t)
	p := newPublisher(t, rec)
	commit(p, nil, before)
	rec.changes = append(rec.changes, telemetry.Changes{})
	commit(p, before, after)
	update = map[string]string{}
	last := rec.changes[len(rec.changes)-1]
	for _, u := range last.Update {
		if u.Path[len(u.Path)-1].Name != "config" {
			continue
		}
		var b strings.Builder
		for _, l := range u.Leaves {
			fmt.Fprintf(&b, "%s=%s ", l.Name, text(l.Value))
		}
		update[u.Path.String()] = strings.TrimSpace(b.String())
	}
	for _, p := range last.Delete {
		if p[len(p)-1].Name == "config" {
			remove = append(remove, p.String())
		}
	}
	slices.Sort(remove)
	return update, remove
}

const (
	rulePrefix = "/mcr/forwarding/rules/rule[name=r1]"
	pimPrefix  = "/network-instances/network-instance[name=default]/protocols/protocol[identifier=PIM][name=pim]"
)

func TestConfigUnits(t *testing.T) {
	rows := []struct {
		name          string
		before, after func(*gen.Device)
		update        map[string]string
		remove        []string
	}{
		{
			name: "a new rule gives a unit for itself and one for each output",
			after: func(d *gen.Device) {
				r := d.GetOrCreateMcr().GetOrCreateForwarding().GetOrCreateRules().GetOrCreateRule("r1")
				c := r.GetOrCreateConfig()
				c.Name, c.Enabled, c.SilenceTimeout = ygot.String("r1"), ygot.Bool(false), ygot.Uint32(5)
				c.ReceiveMethod = gen.McrTypes_ReceiveMethod_packet
				r.GetOrCreateOutputs().GetOrCreateOutput("a]b").GetOrCreateConfig().Ttl = ygot.Uint8(7)
			},
			update: map[string]string{
				rulePrefix + "/config":                           "enabled=false input-port=0 name=r1 receive-method=packet silence-timeout=5",
				rulePrefix + `/outputs/output[name=a\]b]/config`: "enabled=true port=0 source-port=0 ttl=7",
			},
		},
		{
			name: "identities, keys of several parts and hyphens are spelt as in YANG",
			after: func(d *gen.Device) {
				ni := d.GetOrCreateNetworkInstances().GetOrCreateNetworkInstance("default")
				ni.GetOrCreateConfig().Type = gen.McrTypes_NETWORK_INSTANCE_TYPE_DEFAULT_INSTANCE
				pr := ni.GetOrCreateProtocols().GetOrCreateProtocol(gen.McrTypes_INSTALL_PROTOCOL_TYPE_PIM, "pim")
				pr.GetOrCreateConfig().Identifier = gen.McrTypes_INSTALL_PROTOCOL_TYPE_PIM
				pr.GetOrCreatePim().GetOrCreateInterfaces().GetOrCreateInterface("eth0").GetOrCreateConfig().HerMode = gen.McrTypes_HerMode_never
				d.GetOrCreateMcr().GetOrCreateRegistration().GetOrCreatePolicy().GetOrCreateConfig().DestinationPolicy = gen.Mcr_Mcr_Registration_Policy_Config_DestinationPolicy_caller_only
			},
			update: map[string]string{
				"/network-instances/network-instance[name=default]/config": "type=DEFAULT_INSTANCE",
				pimPrefix + "/config":                     "enabled=true identifier=PIM",
				pimPrefix + "/pim/global/config":          "spt-threshold=immediate",
				pimPrefix + "/pim/global/register/config": "rate=1000",
				pimPrefix + "/pim/interfaces/interface[interface-id=eth0]/config": "dr-priority=1 enabled=false hello-interval=30 her-mode=never " +
					"join-prune-interval=60 override-interval=2500 propagation-delay=500",
				"/mcr/registration/policy/config": "destination-policy=caller-only",
			},
		},
		{
			name: "leaf-lists of text and of numbers",
			after: func(d *gen.Device) {
				d.GetOrCreateMcr().GetOrCreateDataplane().GetOrCreateConfig().Cpus = []uint16{1, 3}
				b := d.Mcr.GetOrCreateForwarding().GetOrCreateBoundaries().GetOrCreateBoundary("eth0").GetOrCreateConfig()
				b.GroupPrefix = []string{"239.0.0.0/8", "232.0.0.0/8"}
			},
			update: map[string]string{
				"/mcr/dataplane/config": "busy-poll-usec=0 coalesce-usec=0 cpus=[1][3] engine=auto gso-max-segments=64 receive-buffers=512 receive-socket-buffer=8388608 ring-entries=4096 workers=0 zero-copy=auto",
				"/mcr/forwarding/boundaries/boundary[interface=eth0]/config": "group-prefix=[239.0.0.0/8][232.0.0.0/8]",
			},
		},
		{
			name: "a shared key is told to nobody",
			before: func(d *gen.Device) {
				d.GetOrCreateMcr().GetOrCreateRemoteJoin().GetOrCreateConfig().Enabled = ygot.Bool(true)
			},
			after: func(d *gen.Device) {
				c := d.GetOrCreateMcr().GetOrCreateRemoteJoin().GetOrCreateConfig()
				c.SharedKey, c.Port = ygot.String("secret"), ygot.Uint16(9)
			},
			update: map[string]string{"/mcr/remote-join/config": "port=9"},
		},
		{
			name: "a changed leaf gives the whole container, and nothing beside it",
			before: func(d *gen.Device) {
				rs := d.GetOrCreateMcr().GetOrCreateForwarding().GetOrCreateRules()
				rs.GetOrCreateRule("r1").GetOrCreateConfig().InputPort = ygot.Uint16(5000)
				rs.GetOrCreateRule("r2").GetOrCreateConfig().InputPort = ygot.Uint16(5000)
			},
			after: func(d *gen.Device) {
				rs := d.GetOrCreateMcr().GetOrCreateForwarding().GetOrCreateRules()
				rs.GetOrCreateRule("r1").GetOrCreateConfig().InputPort = ygot.Uint16(5001)
				rs.GetOrCreateRule("r2").GetOrCreateConfig().InputPort = ygot.Uint16(5000)
			},
			update: map[string]string{rulePrefix + "/config": "enabled=true input-port=5001 receive-method=auto silence-timeout=10"},
		},
		{
			name: "what goes is removed, unit by unit; the defaults of what is no list stay",
			before: func(d *gen.Device) {
				r := d.GetOrCreateMcr().GetOrCreateForwarding().GetOrCreateRules().GetOrCreateRule("r1")
				r.GetOrCreateConfig().Name = ygot.String("r1")
				r.GetOrCreateOutputs().GetOrCreateOutput("o1").GetOrCreateConfig().Name = ygot.String("o1")
				d.GetOrCreateInterfaces().GetOrCreateInterface("eth0").GetOrCreateConfig().Name = ygot.String("eth0")
				d.Mcr.GetOrCreateDataplane().GetOrCreateConfig().Workers = ygot.Uint16(2)
			},
			after:  func(d *gen.Device) { d.GetOrCreateMcr().GetOrCreateDataplane().GetOrCreateConfig() },
			update: map[string]string{"/mcr/dataplane/config": "busy-poll-usec=0 coalesce-usec=0 engine=auto gso-max-segments=64 receive-buffers=512 receive-socket-buffer=8388608 ring-entries=4096 workers=0 zero-copy=auto"},
			remove: []string{
				"/interfaces/interface[name=eth0]/config",
				rulePrefix + "/config", rulePrefix + "/outputs/output[name=o1]/config",
			},
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			before, after := &gen.Device{}, &gen.Device{}
			if row.before != nil {
				row.before(before)
			}
			row.after(after)
			update, remove := apply(t, before, after)
			if row.update == nil {
				row.update = map[string]string{}
			}
			if diff := cmp.Diff(row.update, update); diff != "" {
				t.Errorf("updates (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(row.remove, remove); diff != "" {
				t.Errorf("deletes (-want +got):\n%s", diff)
			}
		})
	}
}

// G65: a leaf that is taken away is its default again, and one that is set to its default is no change.
func TestG65BackToDefault(t *testing.T) {
	with := func(port *uint16) *gen.Device {
		d := sampleDevice()
		d.Mcr.Forwarding.Rules.Rule["r1"].Outputs.Output["o1"].Config.Port = port
		return d
	}
	const path = rulePrefix + "/outputs/output[name=o1]/config"
	update, remove := apply(t, with(ygot.Uint16(7)), with(nil))
	if !strings.Contains(update[path], "port=0 ") || len(remove) > 0 {
		t.Errorf("updates %v, deletes %v", update, remove)
	}
	if update, remove := apply(t, with(nil), with(ygot.Uint16(0))); len(update)+len(remove) > 0 {
		t.Errorf("updates %v, deletes %v where the default is spelt out", update, remove)
	}
}

// G19: the defaults of an empty configuration, and of a list entry that has nothing but its key, are those of the schema,
// where the leaf can be configured.
func TestG19DefaultsInUse(t *testing.T) {
	rec := newRecorder(t)
	p := newPublisher(t, rec)
	d := &gen.Device{}
	commit(p, nil, d)
	full := sampleDevice()
	full.GetOrCreateNetworkInstances().GetOrCreateNetworkInstance("default").GetOrCreateProtocols().
		GetOrCreateProtocol(gen.McrTypes_INSTALL_PROTOCOL_TYPE_IGMP, "igmp")
	commit(p, d, full)
	for path, want := range map[string]map[string]string{
		"/mcr/forwarding/config": {
			"auto-her-for-p2p-tunnels": "false", "her-mode": "auto", "multicast-ttl": "64", "multicast-ttl-policy": "decrement",
			"rediscovery-interval": "30", "unicast-ttl": "64",
		},
		"/mcr/amt-relay/config": nil, // refused, so nothing is in use
		rulePrefix + "/outputs/output[name=o1]/config": {
			"enabled": "true", "interface": "gre0", "name": "o1", "port": "0", "source-port": "0", "unicast-dest": "10.2.0.5",
		},
		"/network-instances/network-instance[name=default]/protocols/protocol[identifier=IGMP][name=igmp]/config": {"enabled": "true"},
		// The schema has it under PIM alone.
		"/network-instances/network-instance[name=default]/protocols/protocol[identifier=IGMP][name=igmp]/pim/global/config": nil,
	} {
		if diff := cmp.Diff(want, rec.unit(path)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
}

// The containers that exist below one sort of entry alone are those of the modules.
func TestConditionalContainersAreTheModules(t *testing.T) {
	files, err := filepath.Glob("../../yang/*.yang")
	if err != nil || len(files) == 0 {
		t.Fatalf("no modules: %v", err)
	}
	when := regexp.MustCompile(`uses mcr-\w+:(\w+)-top \{\s+when "derived-from-or-self\(./config/identifier, 'mcr-types:(\S+)'\)"`)
	got := map[string]string{}
	conditions := 0
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		conditions += strings.Count(string(text), ` when "`)
		for _, m := range when.FindAllStringSubmatch(string(text), -1) {
			got["/network-instances/network-instance/protocols/protocol/"+m[1]] = m[2]
		}
	}
	if diff := cmp.Diff(got, conditional); diff != "" || conditions != len(got) {
		t.Errorf("%d conditions (-modules +here):\n%s", conditions, diff)
	}
}

// Every configuration leaf but the secret ones comes out: a tree with every config container filled gives all of them.
func TestEveryConfigLeafIsKnown(t *testing.T) {
	known := map[string]bool{}
	var walk func(n *node, path string)
	walk = func(n *node, path string) {
		for _, l := range n.leaves {
			known[path+"/"+l.name] = true
		}
		for _, c := range n.children {
			walk(c.node, path+"/"+c.name)
		}
	}
	walk(device(), "")
	for _, e := range configLeaves() {
		path := gen.SchemaPath(e)
		if known[path] == writeOnly[path] {
			t.Errorf("%s: known is %v, write-only is %v", path, known[path], writeOnly[path])
		}
		delete(known, path)
	}
	for _, path := range slices.Sorted(maps.Keys(known)) {
		t.Errorf("%s is no configuration leaf", path)
	}
}

// share returns a copy-on-write neighbour of d: a new path down to the outputs of rule r1, all else shared.
func share(d *gen.Device, change func(map[string]*gen.Mcr_Mcr_Forwarding_Rules_Rule_Outputs_Output)) *gen.Device {
	nd, m, f, rs := *d, *d.Mcr, *d.Mcr.Forwarding, *d.Mcr.Forwarding.Rules
	r := *rs.Rule["r1"]
	outs := *r.Outputs
	outs.Output = maps.Clone(outs.Output)
	change(outs.Output)
	r.Outputs = &outs
	rs.Rule = maps.Clone(rs.Rule)
	rs.Rule["r1"] = &r
	f.Rules, m.Forwarding, nd.Mcr = &rs, &f, &m
	return &nd
}

// What two configurations share is not looked into: its leaves may not even be read.
func TestSharedPartsAreNotWalked(t *testing.T) {
	before := &gen.Device{}
	outs := before.GetOrCreateMcr().GetOrCreateForwarding().GetOrCreateRules().GetOrCreateRule("r1").GetOrCreateOutputs()
	for i := range 100 {
		outs.GetOrCreateOutput(fmt.Sprint("o", i)).GetOrCreateConfig().Port = ygot.Uint16(1)
	}
	after := share(before, func(m map[string]*gen.Mcr_Mcr_Forwarding_Rules_Rule_Outputs_Output) {
		m["new"] = &gen.Mcr_Mcr_Forwarding_Rules_Rule_Outputs_Output{Config: &gen.Mcr_Mcr_Forwarding_Rules_Rule_Outputs_Output_Config{Port: ygot.Uint16(2)}}
		delete(m, "o5")
	})
	for _, o := range outs.Output {
		*o.Config.Port = 3 // would show if a shared container were read
	}
	update, remove := apply(t, before, after)
	if diff := cmp.Diff(map[string]string{rulePrefix + "/outputs/output[name=new]/config": "enabled=true port=2 source-port=0"}, update); diff != "" {
		t.Errorf("updates (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{rulePrefix + "/outputs/output[name=o5]/config"}, remove); diff != "" {
		t.Errorf("deletes (-want +got):\n%s", diff)
	}
}

// A Set that changes nothing changes no config Unit (G55), also where the tree was written anew.
func TestEqualConfigurationsGiveNothing(t *testing.T) {
	for name, after := range map[string]func(*gen.Device) *gen.Device{
		"the same tree": func(d *gen.Device) *gen.Device { return d },
		"an equal tree": func(*gen.Device) *gen.Device { return sampleDevice() },
	} {
		before := sampleDevice()
		if update, remove := apply(t, before, after(before)); len(update)+len(remove) > 0 {
			t.Errorf("%s: updates %v, deletes %v", name, update, remove)
		}
	}
}

// A commit and what it did to the router come as one; state shows the revision, the commit that waits, and the latest ones.
func TestConfigurationState(t *testing.T) {
	rec := newRecorder(t)
	p := newPublisher(t, rec)
	n := len(rec.changes)
	at := t0.Add(time.Hour)
	before, b := sampleDevice(), sampleBatch()
	b.Time = at
	first := &config.Snapshot{
		Tree: before, Revision: 41, User: "file", Time: t0, Digest: "d1", Owner: config.File, FileDiffers: true,
		Commits: []config.Commit{
			{Revision: 40, User: "ann", Address: "unix", Time: t0, Changed: 3}, {Revision: 41, User: "file", Time: t0},
		},
	}
	p.Commit(config.Committed{State: b, New: first})
	if len(rec.changes) != n+1 || !rec.changes[n].Time.Equal(at) {
		t.Errorf("%d applies, the first at %v; want one at %v", len(rec.changes)-n, rec.changes[n].Time, at)
	}
	whole := func(want map[string]string) {
		t.Helper()
		if diff := cmp.Diff(want, rec.unit("/mcr/system/configuration/state")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	want := map[string]string{
		"digest": "d1", "last-commit-time": ns, "last-commit-user": "file", "owner": "file", "revision": "41", "start-file-differs": "true",
	}
	whole(want)
	commitUnit := func(id uint64) map[string]string {
		return rec.unit(fmt.Sprintf("/mcr/system/configuration/commits/commit[id=%d]/state", id))
	}
	for _, want := range []map[string]string{
		{"id": "40", "time": ns, "user": "ann", "address": "unix", "change-count": "3"}, {"id": "41", "time": ns, "user": "file", "change-count": "0"},
	} {
		id, _ := strconv.ParseUint(want["id"], 10, 64)
		if diff := cmp.Diff(want, commitUnit(id)); diff != "" {
			t.Errorf("commit before the start (-want +got):\n%s", diff)
		}
	}

	waits := *first
	waits.PendingID, waits.PendingDeadline = "c1", at
	p.Commit(config.Committed{Old: first, New: &waits, State: mroute.Batch{Time: at}})
	want["pending-commit-id"], want["pending-commit-deadline"] = "c1", "1795611600000000000"
	whole(want)
	p.Commit(config.Committed{Old: &waits, New: first, State: mroute.Batch{Time: at}})
	delete(want, "pending-commit-id")
	delete(want, "pending-commit-deadline")
	whole(want)

	was := first
	for i := range uint64(30) {
		is := &config.Snapshot{Tree: was.Tree, Revision: 42 + i, User: "bob", Address: "unix", Time: at}
		is.Commits = append(slices.Clone(was.Commits), config.Commit{Revision: 42 + i, User: "bob", Address: "unix", Time: at, Changed: 2})
		is.Commits = is.Commits[max(0, len(is.Commits)-20):]
		p.Commit(config.Committed{Old: was, New: is, State: mroute.Batch{Time: at}})
		was = is
	}
	if diff := cmp.Diff(map[string]string{"address": "unix", "change-count": "2", "id": "71", "time": "1795611600000000000", "user": "bob"}, commitUnit(71)); diff != "" {
		t.Errorf("latest commit (-want +got):\n%s", diff)
	}
	for id, there := range map[uint64]bool{40: false, 41: false, 51: false, 52: true, 71: true} {
		if got := commitUnit(id) != nil; got != there {
			t.Errorf("commit %d is there: %v, want %v", id, got, there)
		}
	}
}
