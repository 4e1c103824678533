// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"regexp"
	"testing"

	"mcr/tests/lab"
)

// P2.4: a person is told what was seen, what is used, what was passed over and why, and what to look at when a branch is down.
func TestP2_4_PeopleAreTold(t *testing.T) {
	t.Parallel()
	n := newTunnel(t)
	d := runRules(t, n.rtr, "")
	d.autoHER(true)
	n.rtr.ReAddress("gre0", "10.6.0.1/30")
	n.rtr.Peer("gre0", "10.5.0.1", "10.5.0.2")
	d.setEndpoints("gre0", "10.7.0.9")
	d.must(d.setRules(hybridRule(multi("far", "tun0", group, 5000), multi("plain", "gre0", group, 5000))))
	d.isEndpoint("gre0", "10.7.0.9", "configured")
	d.up("hybrid-feed", "far")
	says := func(text string, lines ...string) {
		t.Helper()
		for _, line := range lines {
			if !regexp.MustCompile("(?m)^" + line).MatchString(text) {
				t.Errorf("no line like %q in\n%s", line, text)
			}
		}
	}
	says(d.ctl("show", "endpoints"), `tun0 +tun +yes +no +yes +10\.4\.0\.2 +peer-address +0 `, `gre0 +veth +no +no +no +10\.7\.0\.9 +configured +2 `)
	says(d.ctl("show", "endpoints", "--why", "gre0"), `10\.7\.0\.9 +configured +yes `, `10\.5\.0\.2 +peer-address +no .*passed over`, `10\.6\.0\.2 +subnet-peer +no .*passed over`)
	says(d.ctl("show", "interfaces"), `tun0 +tun +\w+ .*10\.4\.0\.1/32 peer 10\.4\.0\.2`)
	n.rtr.ReAddress("tun0", "10.4.0.1/24")
	d.down("hybrid-feed", "far", "endpoint-unresolved")
	says(d.ctl("show", "rule", "hybrid-feed"), `hybrid-feed: .*output far does not send: .*tun0.*\(endpoint-unresolved\)`)
	says(d.ctl("show", "endpoints", "--why", "tun0"), `tun0: .*\(no-peer-information\)`)
	d.ctlRefused(1, "show", "endpoints", "--why", "eth9")
}

// P1.4, P3.8, P2.4: endpoints and head-end replication by a JSON5 file, at the start and by mcrctl, and the same after a restart.
func TestP1_4_EndpointsInAFile(t *testing.T) {
	both(t, func(t *testing.T, configure func(*lab.Host, string) daemon) {
		h := newHub(t)
		h.Tunnel(h.rtr, "tun0", "10.250.0.1", h.spokes, "tun0", "10.250.0.2")
		sinks, far := h.sinks(3), h.spokes.Sink("10.250.0.2:5000")
		d := configure(h.rtr, `{
			forwarding: { auto_her_for_p2p_tunnels: true },
			pim: { enabled: true, interfaces: [{ name: "wg0", auto_her: true }] },
			tunnel_endpoints: [{ interface: "wg0", endpoints: ["10.1.0.5", "10.2.0.5", { address: "10.3.0.5", neighbor: "10.0.9.2" }] }],
			rules: [{ name: "feed", input: { interface: "eth0", group: "239.1.1.1", port: 5000 }, outputs: [{ name: "spokes", interface: "wg0" }, { name: "far", interface: "tun0" }] }],
		}`)
		for _, total := range []uint64{100, 200} {
			if total > 100 {
				d.Restart()
			}
			d.up("feed", "spokes")
			d.up("feed", "far")
			d.await(outputPath("feed", "spokes")+"/state/branch-count", "3")
			h.src.Send(feed(100))
			for _, s := range append(sinks, far) {
				s.Wait(total, patience)
			}
			for _, s := range append(sinks, far) {
				s.Exactly(total)
			}
		}
	})
}
