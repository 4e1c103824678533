// SPDX-License-Identifier: Apache-2.0

package vm_test

import (
	"testing"

	"mcr/tests/lab"
)

// D5: interfaces that belong to a VRF, whose addresses and routes are in its table alone.
//
//	src              rtr: mcrd, in and out in vrf0                 dst
//	eth0 ─────────── in       out ──────────────────────────────── eth0
//	10.0.1.1         .2       10.0.2.1                             10.0.2.2, 10.9.0.1
func TestD5_MembersOfAVRF(t *testing.T) {
	l := lab.New(t)
	needs(t, l, "vrf")
	src, rtr, dst := l.Host("src"), l.Host("rtr"), l.Host("dst")
	l.Link(src, "eth0", "10.0.1.1/24", rtr, "in", "")
	l.Link(rtr, "out", "", dst, "eth0", "10.0.2.2/24")
	dst.Addr("eth0", "10.9.0.1/32")
	rtr.Add(vrf("vrf0"))
	rtr.Run("ip", "link", "set", "in", "master", "vrf0")
	rtr.Run("ip", "link", "set", "out", "master", "vrf0")
	rtr.Addr("in", "10.0.1.2/24")
	rtr.Addr("out", "10.0.2.1/24")
	rtr.Run("ip", "route", "add", "10.9.0.0/16", "via", "10.0.2.2", "vrf", "vrf0")

	rtr.MCRD(lab.MCRDConfig{Config: `{
	  rules: [{
	    name: "vrf",
	    input: { interface: "in", group: "239.1.1.1", port: 5000 },
	    outputs: [
	      { interface: "out", group: "239.2.2.2", port: 5000 },
	      { interface: "out", unicast_dest: "10.0.2.2", port: 6001 },
	      { interface: "out", unicast_dest: "10.9.0.1", port: 6002 },
	      { interface: "out", unicast_dest: "10.0.2.2", port: 6009 },
	    ],
	  }],
	}`})
	sinks := []*lab.Sink{dst.GroupSink("eth0", "239.2.2.2:5000"), dst.Sink("10.0.2.2:6001"), dst.Sink("10.9.0.1:6002")}
	const count = 200 // 10.0.2.2:6009 is closed
	src.Send(lab.Stream{Iface: "eth0", Group: "239.1.1.1", Port: 5000, Count: count, Rate: 400})
	for _, s := range sinks {
		r := s.Exactly(count)
		for from := range r.Sources {
			if from.Addr().String() != "10.0.2.1" {
				t.Errorf("source %v, want 10.0.2.1", from)
			}
		}
	}
}
