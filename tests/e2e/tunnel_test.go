// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"net/netip"
	"testing"

	mcrgen "mcr/cmd/mcrgen/stream"
	"mcr/tests/lab"
)

// T2, the quick form: the roadmap's topology, where a TUN device with multicast off and a peer address stands for the
// IPIP tunnel. Destination, port, TTL, checksum, payload and count are seen at the far end of the tunnel.
func TestT2_TunnelWithoutMulticast(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		l := lab.New(t)
		src, rtr := l.Host("src"), l.Host("rtr")
		l.Link(src, "veth_s", "10.0.0.1/24", rtr, "eth0", "10.0.0.2/24")
		tunnel := rtr.TUN("ipip0", "10.2.0.1", "10.2.0.2")
		d := runRules(t, rtr, engine, ruleOn("her", "eth0", with(uni("far", "ipip0", "10.2.0.2", 5000), obj{"group": group})))
		s := feed(1000)
		s.Iface, s.Sizes, s.Burst = "veth_s", []int{1316, 1316, 1316, 1316, 100, 31}, 12
		src.Send(s)

		got := tunnel.Wait(1000, patience, nil)
		numbers := map[uint64]bool{}
		for _, p := range got {
			h, verdict := mcrgen.Parse(p.Payload)
			numbers[h.Seq] = true
			if verdict != mcrgen.Whole || p.Dst != netip.MustParseAddrPort("10.2.0.2:5000") || p.Src.Addr() != netip.MustParseAddr("10.2.0.1") ||
				p.TTL != 64 || p.Checksum != lab.ChecksumRight || p.Fragment || p.DF {
				t.Fatalf("payload verdict %d, %v > %v, ttl %d, checksum %v, fragment %v, DF %v", verdict, p.Src, p.Dst, p.TTL, p.Checksum, p.Fragment, p.DF)
			}
		}
		d.sent("her", "far", 1000)
		if len(tunnel.Packets(nil)) != 1000 || len(numbers) != 1000 {
			t.Errorf("%d packets with %d numbers, want 1000", len(tunnel.Packets(nil)), len(numbers))
		}
	})
}
