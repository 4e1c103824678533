// SPDX-License-Identifier: Apache-2.0

package vm_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"mcr/tests/lab"
)

// P4.3, F1: a WireGuard branch without a peer (ENOKEY), or whose peer has no endpoint yet (EDESTADDRREQ), costs its siblings
// nothing, says what it lacks, and flows when it has it.
//
//	src eth0 ── eth0 rtr eth1 192.0.2.1 ── 192.0.2.2 eth0 dst
//	                 wg0 10.7.0.1 ════════ 10.7.0.2 wg0
func TestP4_3_WireGuardBranchWithoutPeer(t *testing.T) {
	l := lab.New(t)
	if !l.Host("probe").Has(&netlink.Wireguard{LinkAttrs: lab.Attrs("probe")}) {
		t.Skip("this kernel has no wireguard; in the guest the test runs")
	}
	for _, engine := range []string{"uring", "mmsg"} {
		t.Run(engine, func(t *testing.T) {
			l := lab.New(t)
			src, rtr, dst := l.Host("src"), l.Host("rtr"), l.Host("dst")
			l.Link(src, "eth0", "10.0.1.1/24", rtr, "eth0", "10.0.1.2/24")
			l.Link(rtr, "eth1", "192.0.2.1/24", dst, "eth0", "192.0.2.2/24")
			keys := map[*lab.Host]string{}
			for i, h := range []*lab.Host{rtr, dst} {
				h.Add(&netlink.Wireguard{LinkAttrs: lab.Attrs("wg0")})
				h.Addr("wg0", fmt.Sprintf("10.7.0.%d/24", i+1))
				key := newWGKey(t)
				h.Run("wg", "set", "wg0", "listen-port", fmt.Sprint(51820+i), "private-key", key.file)
				keys[h] = key.public
			}
			dst.Run("wg", "set", "wg0", "peer", keys[rtr], "allowed-ips", "10.7.0.1/32")
			d := rtr.MCRD(lab.MCRDConfig{Config: `{ rules: [{
				name: "r", input: { interface: "eth0", group: "239.1.1.1", port: 5000 },
				outputs: [
					{ name: "spoke", interface: "wg0", unicast_dest: "10.7.0.2", port: 5000 },
					{ name: "lan", interface: "eth1", unicast_dest: "192.0.2.2", port: 5000 },
				],
			}] }`})
			if err := d.Ctl("set", "mcr/dataplane/config/engine", engine).Wait(patience); err != nil {
				t.Fatal(err)
			}
			lan, spoke := dst.Sink("192.0.2.2:5000"), dst.Sink("10.7.0.2:5000")
			s := src.StartSend(lab.Stream{Iface: "eth0", Group: "239.1.1.1", Port: 5000, Rate: 500, Size: 400})
			shows := func(words ...string) {
				t.Helper()
				lab.Until(t, patience, fmt.Sprintf("mcrctl show rule says %q", words), func() error {
					p := d.Ctl("show", "rule", "r")
					err := p.Wait(patience)
					for _, w := range words {
						if !strings.Contains(p.Stdout.String(), w) {
							return fmt.Errorf("%v\n%s%s", err, p.Stdout.String(), p.Stderr.String())
						}
					}
					return err
				})
			}
			shows("no WireGuard peer of wg0 may have 10.7.0.2", "(wireguard-no-peer)")
			await(t, d, outputLeaf("spoke", "down-reason"), "wireguard-no-peer")
			rtr.Run("wg", "set", "wg0", "peer", keys[dst], "allowed-ips", "10.7.0.2/32")
			shows("the WireGuard peer has no endpoint yet", "(wireguard-no-endpoint)")
			await(t, d, outputLeaf("spoke", "down-reason"), "wireguard-no-endpoint")
			rtr.Run("wg", "set", "wg0", "peer", keys[dst], "endpoint", "192.0.2.2:51821")
			spoke.Wait(200, patience)
			shows("receiving, and all 2 outputs send")
			sent := s.Stop()
			lan.Exactly(sent.Sent)
			if r := spoke.Report(0); r.Duplicated+r.Corrupted+r.Foreign > 0 {
				t.Errorf("spoke: %s", spoke)
			}
		})
	}
}
