// SPDX-License-Identifier: Apache-2.0

package vm_test

import (
	"testing"
	"time"

	"mcr/tests/lab"
)

// T2: an IPIP tunnel without multicast.
//
//	src              rtr: mcrd                                     dst                    far
//	eth0 ─────────── eth0  eth1 ────────────────────────────────── eth0  eth1 ─────────── eth0
//	10.0.1.1         .2    192.0.2.1                     192.0.2.2       10.3.0.1         10.3.0.5
//	                       ipip1 ═══════════════════════════ ipip1
//	                       10.2.0.1                       10.2.0.2
//
// The source sends to 239.1.1.1:5000. The receivers are the tunnel's far end, and a host behind it on another port.
func TestT2_HERTunnel(t *testing.T) {
	l := lab.New(t)
	needs(t, l, "ipip")
	src, rtr, dst, far := l.Host("src"), l.Host("rtr"), l.Host("dst"), l.Host("far")
	l.Link(src, "eth0", "10.0.1.1/24", rtr, "eth0", "10.0.1.2/24")
	l.Link(rtr, "eth1", "192.0.2.1/24", dst, "eth0", "192.0.2.2/24")
	l.Link(dst, "eth1", "10.3.0.1/24", far, "eth0", "10.3.0.5/24")
	rtr.IPIP("ipip1", "192.0.2.1", "192.0.2.2", "10.2.0.1", "10.2.0.2")
	dst.IPIP("ipip1", "192.0.2.2", "192.0.2.1", "10.2.0.2", "10.2.0.1")
	rtr.Multicast("ipip1", false)
	rtr.Route("10.3.0.0/24", "dev ipip1")
	rtr.NoChecksumOffload("eth1") // so that the checksum is on the wire for the tap to see
	dst.Forward(true)
	far.Route("default", "10.3.0.1")

	rtr.MCRD(lab.MCRDConfig{Config: `{
	  rules: [{
	    name: "her-tunnel",
	    input: { interface: "eth0", group: "239.1.1.1", port: 5000 },
	    outputs: [
	      { interface: "ipip1", group: "239.1.1.1", port: 5000, unicast_dest: "10.2.0.2" },
	      { interface: "ipip1", unicast_dest: "10.3.0.5", port: 6000 },
	    ],
	  }],
	}`})
	wire := dst.Tap("ipip1")
	peer, behind := dst.Sink("10.2.0.2:5000"), far.Sink("10.3.0.5:6000")

	const count = 240
	send := lab.Stream{Iface: "eth0", Group: "239.1.1.1", Port: 5000, Count: count, Rate: 400, TTL: 8, DSCP: 34}
	send.Sizes = []int{1316, 1316, 1316, 0, 1, 33, 1452, 2000} // 1,452 is what the tunnel takes whole; 2,000 is fragmented
	src.Send(send)

	for _, receiver := range []struct {
		sink *lab.Sink
		ttl  uint8
	}{{peer, 64}, {behind, 63}} {
		r := receiver.sink.Exactly(count)
		if r.TTL[receiver.ttl] != count || r.DSCP[34] != count || r.ECN[0] != count || len(r.Sources) != 1 {
			t.Errorf("want TTL %d, DSCP 34, ECN 0, one source throughout; got\n%s", receiver.ttl, receiver.sink)
		}
		for s := range r.Sources {
			if s.Addr().String() != "10.2.0.1" {
				t.Errorf("source %v, want the tunnel's address 10.2.0.1", s)
			}
		}
	}
	whole := wire.Wait(2*count*7/8, 10*time.Second, func(p lab.Packet) bool { return p.Protocol == 17 && !p.Fragment && !p.Outgoing })
	for _, p := range whole {
		if p.Dst.Addr().IsMulticast() || p.Checksum != lab.ChecksumRight {
			t.Fatalf("on the tunnel: %v > %v, checksum %v", p.Src, p.Dst, p.Checksum)
		}
	}
}

// The same into a TUN device without multicast: no guest needed, and every byte is seen as it left the kernel.
func TestT2_HERIntoTUN(t *testing.T) {
	l := lab.New(t)
	src, rtr := l.Host("src"), l.Host("rtr")
	l.Link(src, "eth0", "10.0.1.1/24", rtr, "eth0", "10.0.1.2/24")
	tun := rtr.TUN("tun0", "10.2.0.1", "10.2.0.2")
	d := rtr.MCRD(lab.MCRDConfig{Config: `{
	  forwarding: { auto_her_for_p2p_tunnels: true }, // which changes nothing where a host is named
	  rules: [{
	    input: { interface: "eth0", group: "239.1.1.1", port: 5000 },
	    outputs: [{ interface: "tun0", unicast_dest: "10.2.0.2", port: 5000 }],
	  }],
	}`})
	sizes := []int{1316, 1316, 0, 1, 33, 1472}
	src.Send(lab.Stream{Iface: "eth0", Group: "239.1.1.1", Port: 5000, Sizes: sizes, Count: 60, Rate: 1000, TTL: 1})
	got := tun.Wait(60, 10*time.Second, nil)
	for i, p := range got {
		if p.Dst.String() != "10.2.0.2:5000" || p.Src != got[0].Src || p.Src.Addr().String() != "10.2.0.1" ||
			p.TTL != 64 || p.TOS != 0 || p.Checksum != lab.ChecksumRight || len(p.Payload) != sizes[i%len(sizes)] {
			t.Errorf("packet %d: %v > %v, TTL %d, TOS %#x, checksum %v, %d bytes", i, p.Src, p.Dst, p.TTL, p.TOS, p.Checksum, len(p.Payload))
		}
	}
	if len(got) != 60 {
		t.Errorf("%d packets, want 60", len(got))
	}
	why(t, d, "tun0", "10.2.0.2", "peer-address")
}
