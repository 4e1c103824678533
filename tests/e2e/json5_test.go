// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"os"
	"strings"
	"testing"

	"mcr/tests/lab"
)

// roadmap holds the roadmap's configurations, letter for letter.
var roadmap = map[string]string{
	"hybrid": `{
  rules: [{
    name: "hybrid-feed",
    input: { interface: "eth0", group: "239.1.1.1", port: 5000 },
    outputs: [
      // Normal multicast output
      { interface: "eth1", group: "239.1.1.1", port: 5000 },

      // HER to tunnel endpoint
      { interface: "gre0", group: "239.1.1.1", port: 5000,
        unicast_dest: "10.2.0.5" }
    ]
  }]
}
`,
	"pim": `{
  pim: {
    enabled: true,
    interfaces: [
      { name: "eth0" },
      { name: "tunnel0", auto_her: true }  // Enable auto-HER for this interface
    ]
  }
}
`,
	"forwarding": `{
  forwarding: {
    auto_her_for_p2p_tunnels: true  // Auto-HER on all P2P non-multicast interfaces
  }
}
`,
	"spokes": `{
  rules: [{
    input: { interface: "eth0", group: "239.1.1.1", port: 5000 },
    outputs: [
      { interface: "wg0", unicast_dest: "10.1.0.5", port: 5000 },
      { interface: "wg0", unicast_dest: "10.2.0.5", port: 5000 },
      { interface: "wg0", unicast_dest: "10.3.0.5", port: 5000 }
    ]
  }]
}
`,
}

// both runs f with each way to give mcrd a configuration file: at its first start, and by mcrctl apply.
func both(t *testing.T, f func(t *testing.T, configure func(h *lab.Host, text string) daemon)) {
	t.Parallel()
	t.Run("start", func(t *testing.T) {
		t.Parallel()
		f(t, func(h *lab.Host, text string) daemon { t.Helper(); return run(t, h, text) })
	})
	t.Run("apply", func(t *testing.T) {
		t.Parallel()
		f(t, func(h *lab.Host, text string) daemon {
			t.Helper()
			d := run(t, h, "")
			d.ctl("apply", file(t, text))
			return d
		})
	})
}

// P1.4, P1.3: the roadmap's first example.
func TestP1_4_RoadmapHybridExampleForwards(t *testing.T) {
	both(t, func(t *testing.T, configure func(*lab.Host, string) daemon) {
		n := newHybrid(t)
		lan, spoke := n.lan.GroupSink("eth0", "239.1.1.1:5000"), n.far.Sink("10.2.0.5:5000")
		d := configure(n.rtr, roadmap["hybrid"])
		d.up("hybrid-feed", "eth1@239.1.1.1:5000") // names as DESIGN has them where the user gives none
		d.up("hybrid-feed", "gre0@10.2.0.5:5000")
		n.src.Send(feed(300))
		lan.Exactly(300)
		spoke.Exactly(300)
	})
}

const protocolsPath = "network-instances/network-instance[name=default]/protocols/"

// P1.4: PIM is configured, enabled where an interface is listed, and says that it does not run yet.
func TestP1_4_RoadmapPIMExampleIsAccepted(t *testing.T) {
	both(t, func(t *testing.T, configure func(*lab.Host, string) daemon) {
		d := configure(newHybrid(t).rtr, roadmap["pim"])
		pim := protocolsPath + "protocol[identifier=PIM][name=pim]"
		c := d.get(pim)
		for path, want := range map[string]string{
			"config/enabled": "true",
			"pim/interfaces/interface[interface-id=eth0]/config/enabled":     "true",
			"pim/interfaces/interface[interface-id=tunnel0]/config/enabled":  "true",
			"pim/interfaces/interface[interface-id=tunnel0]/config/auto-her": "true",
			"pim/interfaces/interface[interface-id=eth0]/state/down-reason":  "not-running",
		} {
			if got := c[pim+"/"+path]; got != want {
				t.Errorf("%s = %q, want %s", path, got, want)
			}
		}
		if got, is := c[pim+"/pim/interfaces/interface[interface-id=eth0]/config/auto-her"]; is {
			t.Errorf("auto-her of eth0 is %s, want none", got)
		}
	})
}

// P1.4: an IGMP interface likewise, and pim: {enabled} alone.
func TestP1_4_ListedIGMPInterfaceIsEnabled(t *testing.T) {
	both(t, func(t *testing.T, configure func(*lab.Host, string) daemon) {
		d := configure(newHybrid(t).rtr, `{ pim: { enabled: true }, igmp: { interfaces: [{ name: "eth1" }, { name: "gre0", enabled: false }] } }`)
		igmp := protocolsPath + "protocol[identifier=IGMP][name=igmp]/igmp/interfaces/"
		c := d.get(protocolsPath)
		for path, want := range map[string]string{
			igmp + "interface[interface-id=eth1]/config/enabled":                "true",
			igmp + "interface[interface-id=gre0]/config/enabled":                "false",
			igmp + "interface[interface-id=eth1]/state/down-reason":             "not-running",
			protocolsPath + "protocol[identifier=PIM][name=pim]/config/enabled": "true",
		} {
			if got := c[path]; got != want {
				t.Errorf("%s = %q, want %s", path, got, want)
			}
		}
	})
}

// P1.4
func TestP1_4_RoadmapForwardingExampleIsAccepted(t *testing.T) {
	both(t, func(t *testing.T, configure func(*lab.Host, string) daemon) {
		d := configure(newHybrid(t).rtr, roadmap["forwarding"])
		const leaf = "mcr/forwarding/config/auto-her-for-p2p-tunnels"
		if got := d.get(leaf)[leaf]; got != "true" {
			t.Errorf("%s = %q, want true", leaf, got)
		}
	})
}

// P1.4, DESIGN 8: a file replaces the parts that it has and leaves the others.
func TestP1_4_ApplyReplacesWhatTheFileHas(t *testing.T) {
	t.Parallel()
	n := newHybrid(t)
	d := run(t, n.rtr, roadmap["hybrid"])
	d.ctl("apply", file(t, roadmap["forwarding"]))
	if got := d.config(rulesPath); !strings.Contains(got, "hybrid-feed") {
		t.Errorf("rules after a file without rules: %s", got)
	}
	d.ctl("apply", file(t, roadmap["spokes"]))
	if got := d.config(rulesPath); strings.Contains(got, "hybrid-feed") || !strings.Contains(got, "eth0:239.1.1.1:5000") {
		t.Errorf("rules after a file with rules: %s", got)
	}
}

// P1.4: an unknown key is named, with its line.
func TestP1_4_UnknownKeyIsRefusedWithItsLine(t *testing.T) {
	t.Parallel()
	text := strings.Replace(roadmap["hybrid"], "unicast_dest:", "unicast_dst:", 1) // in line 11
	says := func(t *testing.T, message string) {
		t.Helper()
		if !strings.Contains(message, "unicast_dst") || !strings.Contains(message, "11") {
			t.Errorf("want the key and line 11: %s", message)
		}
	}
	t.Run("apply", func(t *testing.T) {
		t.Parallel()
		d := run(t, newHybrid(t).rtr, roadmap["hybrid"])
		before, files := d.config("mcr"), d.stored()
		says(t, d.ctlRefused(1, "apply", file(t, text)))
		if d.config("mcr") != before || d.stored().String() != files.String() {
			t.Error("a refused file changed something")
		}
	})
	t.Run("start", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		p := newHybrid(t).rtr.Start(lab.Bin(t, "mcrd"), "--config", file(t, text), "--state-dir", dir+"/state", "--listen", "unix://"+dir+"/s")
		if err := p.Wait(patience); err == nil || p.ExitCode() < 1 {
			t.Errorf("mcrd: %v, want an exit code above 0", err)
		}
		says(t, p.Stderr.String())
		if _, err := os.Stat(dir + "/s"); err == nil {
			t.Error("the socket is there")
		}
	})
	t.Run("check", func(t *testing.T) {
		t.Parallel()
		p := newHybrid(t).rtr.Start(lab.Bin(t, "mcrd"), "check", file(t, text))
		if err := p.Wait(patience); err == nil || p.ExitCode() < 1 {
			t.Errorf("mcrd check: %v, want an exit code above 0", err)
		}
		says(t, p.Stderr.String()+p.Stdout.String())
	})
}
