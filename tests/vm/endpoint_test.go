// SPDX-License-Identifier: Apache-2.0

package vm_test

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"mcr/cmd/mcrgen/stream"
	"mcr/tests/lab"
)

// T2, P2.2: her_tunnel with the endpoint discovered, on every kind of point-to-point interface: destination, port, TTL, DSCP,
// source, checksum, payload and count are seen at the far end, where no multicast comes out of the tunnel.
func TestT2_EndpointDiscovered(t *testing.T) {
	for _, k := range p2ps() {
		if os.Getenv(someKinds) != "" && k.kind != "gre" && k.kind != "wireguard" {
			continue // make kernels has the others
		}
		t.Run(k.kind, func(t *testing.T) {
			n := newSpur(t)
			needs(t, n.Lab, k.kind)
			n.rtr.NoChecksumOffload("eth1") // so that the checksum is on the wire for the tap to see
			k.make(t, n)
			endpoint, origin := "10.2.0.2", "peer-address"
			if k.kind == "wireguard" { // which knows by itself
				n.rtr.Addr("t0", "10.2.0.1/24")
				origin = "wireguard-peer"
			} else {
				n.rtr.Peer("t0", "10.2.0.1", endpoint)
			}
			d := n.rtr.MCRD(her())
			leads(t, d, endpoint, origin)
			await(t, d, endpointLeaf("t0", "kind"), k.kind)
			await(t, d, endpointLeaf("t0", "point-to-point"), "true")
			await(t, d, endpointLeaf("t0", "multicast"), "false")
			await(t, d, endpointLeaf("t0", "her-active"), "true")
			shake(n.rtr, "t0", n.dst, endpoint)

			wire, peer := n.dst.Tap("t0"), n.dst.Sink(endpoint+":5000")
			const count = 240
			send := feed(count)
			send.DSCP, send.Size = 34, 0
			send.Sizes = []int{1316, 1316, 1316, 0, 1, 33, 1300, 2000} // the last is fragmented
			n.src.Send(send)
			r := peer.Exactly(count)
			if r.TTL[64] != count || r.DSCP[34] != count || r.ECN[0] != count || len(r.Sources) != 1 {
				t.Errorf("want TTL 64, DSCP 34, ECN 0, one source throughout; got\n%s", peer)
			}
			for s := range r.Sources {
				if s.Addr().String() != "10.2.0.1" {
					t.Errorf("source %v, want the tunnel's address 10.2.0.1", s)
				}
			}
			whole := wire.Wait(count*7/8, patience, func(p lab.Packet) bool { return p.Protocol == 17 && !p.Fragment && !p.Outgoing })
			for _, p := range whole {
				if p.Dst.Addr().IsMulticast() || p.Checksum != lab.ChecksumRight {
					t.Fatalf("in the tunnel: %v > %v, checksum %v", p.Src, p.Dst, p.Checksum)
				}
			}
			await(t, d, outputLeaf("far", "counters/packets"), fmt.Sprint(count))
			why(t, d, "t0", endpoint, origin)
		})
	}
}

// P2.1, P2.2, P2.4, P2.6, P2.7, P3.2, P3.6: on every kind, what is known of the far end grows from nothing to a configured endpoint while mcrd
// runs. Each time the best is used, and gets each datagram once and alone; what is outranked is shown. Then the multicast flag comes
// and goes, and the interface is deleted and made again.
func TestP2_4_BestEndpointIsUsed(t *testing.T) {
	for _, k := range p2ps() {
		t.Run(k.kind, func(t *testing.T) {
			n := newSpur(t)
			needs(t, n.Lab, k.kind)
			d := n.rtr.MCRD(her())
			await(t, d, outputLeaf("far", "down-reason"), "interface-missing")

			remove := k.make(t, n)
			w := newWatch(n)
			if n.rtr.Addr("t0", "10.2.0.1/24"); k.endpoint == "" {
				await(t, d, outputLeaf("far", "down-reason"), "endpoint-unresolved")
				await(t, d, endpointLeaf("t0", "reason"), "no-peer-information")
				w.sends(t, "")
				why(t, d, "t0", "no-peer-information")
			} else {
				leads(t, d, k.endpoint, k.origin)
				w.sends(t, k.endpoint)
				why(t, d, "t0", k.endpoint, k.origin)
			}

			n.rtr.ReAddress("t0", "10.2.0.1/30")
			leads(t, d, "10.2.0.2", "subnet-peer")
			w.sends(t, "10.2.0.2")
			why(t, d, "t0", "subnet-peer")

			if k.kind == "wireguard" { // it sends to nobody else's address
				n.rtr.Run("wg", "set", "t0", "peer", peerOf(n.rtr, "t0"), "allowed-ips", "10.2.0.2/32,10.2.0.6/32,10.2.0.9/32")
			}
			n.rtr.ReAddress("t0", "")
			n.rtr.Peer("t0", "10.2.0.1", "10.2.0.6")
			leads(t, d, "10.2.0.6", "peer-address")
			w.sends(t, "10.2.0.6")
			why(t, d, "t0", "peer-address")

			configureEndpoints(t, d, "t0", "10.2.0.9")
			leads(t, d, "10.2.0.9", "configured")
			w.sends(t, "10.2.0.9")
			const candidates = "mcr/tunnel-endpoints/tunnel-endpoint[interface=t0]/candidates/candidate"
			await(t, d, candidates+"[address=10.2.0.6]/state/passed-over-reason", "outranked")
			if k.origin == "outer-remote" {
				await(t, d, candidates+"[address=192.0.2.2]/state/passed-over-reason", "outranked")
				await(t, d, endpointLeaf("t0", "outer-remote"), "192.0.2.2")
				await(t, d, endpointLeaf("t0", "outer-local"), "192.0.2.1")
			}
			why(t, d, "t0", "10.2.0.9", "configured", "10.2.0.6", "a better one is known")

			n.rtr.Multicast("t0", true)
			await(t, d, outputLeaf("far", "her-active"), "false")
			await(t, d, outputLeaf("far", "endpoint"), "239.1.1.1")
			if k.kind == "wireguard" { // no peer may have the group, whatever the flag says
				live := n.src.StartSend(feed(0))
				await(t, d, outputLeaf("far", "down-reason"), "wireguard-no-peer")
				live.Stop()
				w.sends(t, "")
			} else {
				await(t, d, outputLeaf("far", "oper-status"), "up")
				w.sends(t, "239.1.1.1")
			}
			n.rtr.Multicast("t0", false)
			leads(t, d, "10.2.0.9", "configured")
			w.sends(t, "10.2.0.9")

			remove()
			await(t, d, outputLeaf("far", "down-reason"), "interface-missing")
			await(t, d, endpointLeaf("t0", "reason"), "interface-missing") // the configuration names it
			configureEndpoints(t, d, "t0")
			k.near(n)
			n.rtr.Addr("t0", "10.2.0.1/30")
			leads(t, d, "10.2.0.2", "subnet-peer")
			w.sends(t, "10.2.0.2")
			w.besideTheTunnel(t)
		})
	}
}

// watch listens at each address of the far end of a spur, and to the group.
type watch struct {
	n     *spur
	sinks map[string]*lab.Sink
	want  map[string]uint64
	under *lab.Capture
}

func newWatch(n *spur) *watch {
	w := &watch{n, map[string]*lab.Sink{}, map[string]uint64{}, n.dst.Tap("eth0")}
	for _, a := range []string{"10.2.0.2", "10.2.0.6", "10.2.0.9", "192.0.2.2"} {
		w.sinks[a] = n.dst.Sink(a + ":5000")
	}
	w.sinks["239.1.1.1"] = n.dst.GroupSink("t0", "239.1.1.1:5000")
	return w
}

// sends sends some datagrams and demands each of them at that address, "" is nowhere, and none at another.
func (w *watch) sends(t *testing.T, to string) {
	t.Helper()
	const count = 40
	w.n.src.Send(feed(count))
	w.want[to] += count
	if to != "" {
		w.sinks[to].Exactly(w.want[to])
	} else {
		w.drained(t)
	}
	for a, s := range w.sinks {
		if got := s.Received(); got != w.want[a] {
			t.Fatalf("%d datagrams at %s, want %d", got, a, w.want[a])
		}
	}
}

// drained waits until mcrd has read all that was sent to it, and so will not send it elsewhere.
func (w *watch) drained(t *testing.T) {
	t.Helper()
	lab.Until(t, patience, "the input is read", func() error {
		if n := w.n.rtr.Waiting(netip.MustParseAddrPort("239.1.1.1:5000")); n > 0 {
			return fmt.Errorf("%d bytes wait", n)
		}
		return nil
	})
}

// besideTheTunnel demands that nothing ever went to the far end's outer address outside of the tunnel.
func (w *watch) besideTheTunnel(t *testing.T) {
	t.Helper()
	if bare := w.under.Packets(func(p lab.Packet) bool { return p.Dst.Port() == 5000 }); len(bare) > 0 {
		t.Errorf("%d datagrams beside the tunnel, the first %v > %v", len(bare), bare[0].Src, bare[0].Dst)
	}
}

// P2.3: where there is no fixed far end the output is down, with the reason in state; nothing is sent there, nothing is lost elsewhere, and
// mcrd calls it no error.
func TestP2_3_NoFixedFarEnd(t *testing.T) {
	n := newSpur(t)
	needs(t, n.Lab, "gre")
	needs(t, n.Lab, "wireguard")
	rows := []struct{ name, kind, words, reason string }{
		{"mgre", "gre", "local 192.0.2.1", "multipoint"},
		{"gremeta", "gre", "external", "collect-metadata"},
		{"gregroup", "gre", "local 192.0.2.1 remote 239.9.9.9 dev eth1", "multicast-remote"},
		{"ipipany", "ipip", "local 192.0.2.1", "multipoint"},
		{"ipipmeta", "ipip", "external", "collect-metadata"},
		{"sitany", "sit", "local 192.0.2.1", "multipoint"},
		{"wg2", "wireguard", "", "several-peers"},
		{"wgnet", "wireguard", "", "no-host-allowed-ip"},
	}
	outputs := []string{`{ name: "lan", interface: "eth1", unicast_dest: "192.0.2.2", port: 5000 }`}
	var taps []*lab.Capture
	for i, r := range rows {
		ip(n.rtr, "link add "+r.name+" type "+r.kind+" "+r.words)
		n.rtr.Addr(r.name, fmt.Sprintf("10.%d.0.1/24", 20+i))
		n.rtr.Up(r.name)
		taps = append(taps, n.rtr.Tap(r.name))
		// Few of them are point-to-point, so that it is the output that asks for unicast copies.
		outputs = append(outputs, fmt.Sprintf(`{ name: %q, interface: %[1]q, group: "239.1.1.1", port: 5000, her_mode: "auto" }`, r.name))
	}
	n.rtr.Run("wg", "set", "wg2", "peer", newWGKey(t).public, "allowed-ips", "10.26.0.2/32", "peer", newWGKey(t).public, "allowed-ips", "10.26.0.3/32")
	n.rtr.Run("wg", "set", "wgnet", "peer", newWGKey(t).public, "allowed-ips", "10.27.0.0/24")

	lan := n.dst.Sink("192.0.2.2:5000")
	d := n.rtr.MCRD(her(outputs...))
	for _, r := range rows {
		await(t, d, endpointLeaf(r.name, "reason"), r.reason)
		await(t, d, endpointLeaf(r.name, "endpoint-origin"), "none")
		await(t, d, outputLeaf(r.name, "down-reason"), "endpoint-unresolved")
		await(t, d, outputLeaf(r.name, "her-active"), "true")
		await(t, d, outputLeaf(r.name, "branch-count"), "0")
	}
	n.src.Send(feed(100))
	lan.Exactly(100)
	for i, tap := range taps {
		if sent := tap.Packets(func(p lab.Packet) bool { return p.Protocol == 17 }); len(sent) > 0 {
			t.Errorf("%s: %d datagrams were sent, the first to %v", rows[i].name, len(sent), sent[0].Dst)
		}
		t.Run(rows[i].name, func(t *testing.T) { why(t, d, rows[i].name, rows[i].reason) })
	}
	if says := d.Stderr.String(); strings.Contains(says, "level=ERROR") {
		t.Errorf("mcrd says\n%s", says)
	}

	// The far end of one of them becomes known, and it is up by itself.
	n.rtr.Run("wg", "set", "wgnet", "peer", peerOf(n.rtr, "wgnet"), "allowed-ips", "10.27.0.2/32")
	await(t, d, endpointLeaf("wgnet", "endpoint-address"), "10.27.0.2")
	await(t, d, outputLeaf("wgnet", "endpoint-origin"), "wireguard-peer")
}

// peerOf is the public key of the only peer of a WireGuard interface.
func peerOf(h *lab.Host, iface string) string {
	return strings.TrimSpace(h.Run("wg", "show", iface, "peers"))
}

// P2.6, F2: a tunnel is pointed at another far end under traffic. The new one gets the stream, the old one nothing any more, and
// the sibling does not notice.
func TestP2_6_TunnelIsPointedElsewhere(t *testing.T) {
	for _, kind := range []string{"gre", "ipip", "sit"} {
		t.Run(kind, func(t *testing.T) {
			n := newSpur(t)
			needs(t, n.Lab, kind)
			tunnelEnd(n.rtr, kind, "192.0.2.1", "192.0.2.2", "")
			n.rtr.Addr("t0", "10.2.0.1/24")
			for i, local := range []string{"192.0.2.2", "192.0.2.3"} {
				name := fmt.Sprintf("t%d", i)
				ip(n.dst, "link add "+name+" type "+kind+" local "+local+" remote 192.0.2.1")
				n.dst.Up(name)
			}
			wires, lan := []*lab.Capture{n.dst.Tap("t0"), n.dst.Tap("t1")}, n.dst.Sink("192.0.2.2:6000")
			n.dst.Sink("192.0.2.2:5000")
			n.dst.Sink("192.0.2.3:5000")
			to := func(addr string) func(lab.Packet) bool {
				return func(p lab.Packet) bool { return p.Dst.String() == addr+":5000" && !p.Outgoing }
			}
			d := n.rtr.MCRD(her(`{ name: "lan", interface: "eth1", unicast_dest: "192.0.2.2", port: 6000 }`))
			leads(t, d, "192.0.2.2", "outer-remote")
			live := n.src.StartSend(feed(0))
			wires[0].Wait(100, patience, to("192.0.2.2"))
			moved := time.Now()
			ip(n.rtr, "link set t0 type "+kind+" remote 192.0.2.3 local 192.0.2.1")
			wires[1].Wait(1, patience, to("192.0.2.3"))
			took := time.Since(moved)
			wires[1].Wait(100, patience, to("192.0.2.3"))
			leads(t, d, "192.0.2.3", "outer-remote")
			sent := live.Stop()
			lan.Exactly(sent.Sent)
			// What was sent to the old address after the kernel had turned the tunnel came out of the new one.
			old := slices.Concat(numbers(wires[0].Packets(to("192.0.2.2"))), numbers(wires[1].Packets(to("192.0.2.2"))))
			now := numbers(wires[1].Packets(to("192.0.2.3")))
			last, next := slices.Max(old), now[0]
			t.Logf("the first datagram came to the new far end after %v; %d went to neither", took.Round(time.Millisecond), int64(next-last)-1)
			if last >= next || !slices.IsSorted(now) {
				t.Errorf("the old far end got datagrams up to number %d, the new one from %d on", last, next)
			}
			if bound := lab.Patience(time.Second); took > bound {
				t.Errorf("that is more than %v", bound)
			}
		})
	}
}

// numbers are the sequence numbers of datagrams of feed, in the order in which they came. Between the ends of a veth a segmented send
// stays one packet.
func numbers(all []lab.Packet) (out []uint64) {
	for _, p := range all {
		for one := range slices.Chunk(p.Payload, feed(0).Size) {
			h, _ := stream.Parse(one)
			out = append(out, h.Seq)
		}
	}
	return out
}
