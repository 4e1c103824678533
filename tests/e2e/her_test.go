// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	gnmipb "github.com/openconfig/gnmi/proto/gnmi"

	mcrgen "mcr/cmd/mcrgen/stream"
	"mcr/tests/lab"
)

// bringer is a place where both forms of a multicast output are received: copies to the group, and copies to the endpoint.
type bringer struct{ group, endpoint *lab.Sink }

func bringers(h *lab.Host, iface, endpoint string) bringer {
	return bringer{h.GroupSink(iface, group+":5000"), h.Sink(endpoint + ":5000")}
}

// herSetting is what P3.2 looks at.
type herSetting struct {
	global    obj // config of /mcr/forwarding
	pim, igmp obj // interfaces, by name, with their config; nil: the protocol is not configured
	pimOff    bool
	outputs   map[string]obj // additions to the outputs "tun0", "gre0" and "eth1"
}

// set makes it the configuration of the feed's three outputs.
func (s herSetting) set(d daemon) {
	d.t.Helper()
	output := func(iface string) obj { return with(multi(iface, iface, group, 5000), s.outputs[iface]) }
	d.must(d.set(&gnmipb.SetRequest{Replace: []*gnmipb.Update{
		put("mcr/forwarding/config", with(obj{"config": obj{}}, s.global)["config"]),
		put("network-instances", obj{"network-instance": []obj{{
			"name": "default", "config": obj{"name": "default"},
			"protocols": obj{"protocol": []obj{protocol("PIM", "pim", s.pim, !s.pimOff), protocol("IGMP", "igmp", s.igmp, true)}},
		}}}),
		put(rulesPath, obj{"rule": []obj{hybridRule(output("tun0"), output("gre0"), output("eth1"))}}),
	}}))
}

func protocol(id, name string, interfaces obj, enabled bool) obj {
	var all []obj
	for iface, config := range interfaces {
		c := with(obj{"config": config}, obj{"interface-id": iface})["config"]
		all = append(all, obj{"interface-id": iface, "config": c})
	}
	p := obj{"identifier": id, "name": name, "config": obj{"identifier": id, "name": name, "enabled": enabled && interfaces != nil}}
	if interfaces != nil {
		p[name] = obj{"interfaces": obj{"interface": all}}
	}
	return p
}

// Settings of a protocol's interface.
var (
	herOn     = obj{"enabled": true, "auto-her": true}
	herOff    = obj{"enabled": true, "auto-her": false}
	herAlways = obj{"enabled": true, "auto-her": true, "her-mode": "always"}
	herNever  = obj{"enabled": true, "auto-her": true, "her-mode": "never"}
)

// P3.2: which outputs of a static rule become unicast copies, by all that decides about it, at the receivers: each gets each packet
// in one form, and in that alone. tun0 is point-to-point without IFF_MULTICAST, gre0 is not point-to-point and has no IFF_MULTICAST
// either, eth1 is a LAN with it.
func TestP3_2_WhatIsRewritten(t *testing.T) {
	globally := obj{"auto-her-for-p2p-tunnels": true}
	rows := []struct {
		name string
		herSetting
		her string // the interfaces whose output is rewritten
	}{
		{"nothing is set", herSetting{}, ""},
		{"global", herSetting{global: globally}, "tun0"},
		{"global, mode never", herSetting{global: obj{"auto-her-for-p2p-tunnels": true, "her-mode": "never"}}, ""},
		{"global, mode always", herSetting{global: obj{"auto-her-for-p2p-tunnels": true, "her-mode": "always"}}, "tun0"},
		{"a mode alone switches nothing on", herSetting{global: obj{"her-mode": "always"}}, ""},
		{"PIM of one interface", herSetting{pim: obj{"gre0": herOn}}, "gre0"},
		{"IGMP of one interface", herSetting{igmp: obj{"gre0": herOn}}, "gre0"},
		{"PIM and global", herSetting{global: globally, pim: obj{"gre0": herOn}}, "tun0 gre0"},
		{"PIM where there is IFF_MULTICAST", herSetting{pim: obj{"eth1": herOn}}, ""},
		{"PIM where there is IFF_MULTICAST, mode always", herSetting{pim: obj{"eth1": herAlways}}, "eth1"},
		{"PIM where there is IFF_MULTICAST, global mode always", herSetting{global: obj{"her-mode": "always"}, pim: obj{"eth1": herOn}}, "eth1"},
		{"PIM, mode never", herSetting{pim: obj{"gre0": herNever}}, ""},
		{"PIM, its mode goes before the global one", herSetting{global: obj{"her-mode": "always"}, pim: obj{"gre0": herNever}}, ""},
		{"PIM off goes before global on", herSetting{global: globally, pim: obj{"tun0": herOff}}, ""},
		{"PIM's interface is not enabled", herSetting{pim: obj{"gre0": obj{"enabled": false, "auto-her": true}}}, ""},
		{"PIM's off does not count where it is not enabled", herSetting{global: globally, pim: obj{"tun0": obj{"enabled": false, "auto-her": false}}}, "tun0"},
		{"PIM is not enabled", herSetting{pim: obj{"gre0": herOn}, pimOff: true}, ""},
		{"PIM on and IGMP without a word", herSetting{pim: obj{"gre0": herOn}, igmp: obj{"gre0": obj{"enabled": true}}}, "gre0"},
		{"PIM and IGMP on", herSetting{pim: obj{"gre0": herOn}, igmp: obj{"gre0": herOn}}, "gre0"},
		{"PIM on, IGMP off: others follow global", herSetting{pim: obj{"gre0": herOn, "tun0": herOn}, igmp: obj{"gre0": herOff, "tun0": herOff}}, ""},
		{"PIM off, IGMP on: others follow global, on", herSetting{global: globally, pim: obj{"gre0": herOff, "tun0": herOff}, igmp: obj{"gre0": herOn, "tun0": herOn}}, "tun0"},
		{"PIM on, IGMP off but not enabled", herSetting{pim: obj{"gre0": herOn}, igmp: obj{"gre0": obj{"enabled": false, "auto-her": false}}}, "gre0"},
		{"output auto", herSetting{outputs: map[string]obj{"gre0": {"her-mode": "auto"}, "eth1": {"her-mode": "auto"}}}, "gre0"},
		{"output always", herSetting{outputs: map[string]obj{"gre0": {"her-mode": "always"}, "eth1": {"her-mode": "always"}}}, "gre0 eth1"},
		{"output never", herSetting{global: globally, pim: obj{"gre0": herOn}, outputs: map[string]obj{"tun0": {"her-mode": "never"}}}, "gre0"},
		{"output auto goes before never of global", herSetting{
			global: obj{"auto-her-for-p2p-tunnels": true, "her-mode": "never"}, outputs: map[string]obj{"tun0": {"her-mode": "auto"}},
		}, "tun0"},
	}
	engines(t, func(t *testing.T, engine string) {
		n := newTunnel(t)
		all := map[string]bringer{
			"tun0": bringers(n.far, "tun0", "10.4.0.2"), "gre0": bringers(n.far, "eth0", "10.2.0.5"), "eth1": bringers(n.lan, "eth0", "10.0.1.1"),
		}
		d := runRules(t, n.rtr, engine)
		d.setEndpoints("gre0", "10.2.0.5")
		d.setEndpoints("eth1", "10.0.1.1")
		w := d.follow(rulesPath)
		got, want := map[*lab.Sink]uint64{}, map[*lab.Sink]uint64{}
		for _, row := range rows {
			if t.Failed() {
				return
			}
			row.set(d)
			for iface, b := range all {
				her, state := slices.Contains(strings.Fields(row.her), iface), outputPath("hybrid-feed", iface)+"/state/"
				w.until(soon, fmt.Sprintf("%s: her-active of %s is %v", row.name, iface, her), func(l leaves) bool {
					return l[state+"her-active"] == fmt.Sprint(her) && l[state+"oper-status"] == "up"
				})
				if her {
					want[b.endpoint] += 20
				} else {
					want[b.group] += 20
				}
			}
			n.src.Send(feed(20))
			for s, n := range want {
				s.Wait(n, patience)
			}
			for _, b := range all {
				b.group.Quiet(quiet / 4)
				b.endpoint.Quiet(quiet / 4)
				got[b.group], got[b.endpoint] = b.group.Received(), b.endpoint.Received()
			}
			for iface, b := range all {
				if got[b.group] != want[b.group] || got[b.endpoint] != want[b.endpoint] {
					t.Errorf("%s: %s got %d by multicast and %d by unicast, want %d and %d", row.name, iface,
						got[b.group], got[b.endpoint], want[b.group], want[b.endpoint])
				}
			}
		}
	})
}

// P2.5, P3.2: what names a host is never rewritten, and an interface with IFF_MULTICAST only where the mode is always.
func TestP2_5_UnicastDestAndMulticastInterfacesAreLeftAlone(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		n := newTunnel(t)
		n.lan.Addr("eth0", "10.0.1.7/24")
		n.far.Addr("tun0", "10.4.0.7/32")
		n.rtr.Route("10.4.0.7/32", "dev tun0")
		named, tunnelled, other := n.lan.Sink("10.0.1.7:5000"), n.far.Sink("10.4.0.7:5000"), n.far.Sink("10.4.0.2:5000")
		lan, endpoint := n.lan.GroupSink("eth0", group+":5000"), n.lan.Sink("10.0.1.1:5001")
		d := runRules(t, n.rtr, engine)
		d.autoHER(true)
		d.setEndpoints("eth1", "10.0.1.1")
		d.must(d.setRules(hybridRule(
			with(uni("named", "eth1", "10.0.1.7", 5000), obj{"her-mode": "always"}), with(uni("tunnel", "tun0", "10.4.0.7", 5000), obj{"her-mode": "never"}),
			multi("lan", "eth1", group, 5000), with(multi("rewritten", "eth1", group, 5001), obj{"her-mode": "always"}))))
		for name, her := range map[string]string{"named": "false", "tunnel": "false", "lan": "false", "rewritten": "true"} {
			d.await(outputPath("hybrid-feed", name)+"/state/her-active", her)
		}
		n.src.Send(feed(100))
		for _, s := range []*lab.Sink{named, tunnelled, lan, endpoint} {
			s.Exactly(100)
		}
		other.Exactly(0)
	})
}

// P3.3: switched off, an output sends multicast also where IFF_MULTICAST is clear, with one warning for each time that it comes to that.
func TestP3_3_OffSendsMulticastWithOneWarning(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		n := newTunnel(t)
		b := bringers(n.far, "tun0", "10.4.0.2")
		d := runRules(t, n.rtr, engine, hybridRule(multi("far", "tun0", group, 5000)))
		warned := func(times int) {
			t.Helper()
			logged(t, d.MCRD, times, times, "level=WARN", "multicast is sent on an interface without multicast", "interface=tun0")
		}
		her := outputPath("hybrid-feed", "far") + "/state/her-active"
		n.src.Send(feed(100))
		b.group.Exactly(100)
		warned(1)
		n.rtr.MTU("tun0", 1400) // an event that changes nothing of it
		d.await("interfaces/interface[name=tun0]/state/mtu", "1400")
		warned(1)
		d.autoHER(true)
		d.await(her, "true")
		n.src.Send(feed(100))
		b.endpoint.Exactly(100)
		warned(1)
		d.autoHER(false)
		d.await(her, "false")
		n.src.Send(feed(100))
		b.group.Exactly(200)
		warned(2)
		n.rtr.Multicast("tun0", true)
		d.await("interfaces/interface[name=tun0]/state/multicast", "true")
		n.src.Send(feed(100))
		b.group.Exactly(300)
		warned(2)
		n.rtr.Multicast("tun0", false)
		d.await("interfaces/interface[name=tun0]/state/multicast", "false")
		n.src.Send(feed(100))
		b.group.Exactly(400)
		warned(3)
		b.endpoint.Exactly(100)
	})
}

// P3.4: on and without endpoint an output is down with the reason and nothing leaves, in neither form; it comes up by itself, and goes
// down again when the endpoint goes.
func TestP3_4_UnresolvedIsDownAndComesUp(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		n := newTunnel(t)
		n.rtr.ReAddress("tun0", "10.4.0.1/24")
		wire := n.far.Tap("tun0")
		lan, far := n.lan.GroupSink("eth0", group+":5000"), n.far.Sink("10.4.0.2:5000")
		d := runRules(t, n.rtr, engine)
		d.autoHER(true)
		d.must(d.setRules(hybridRule(multi("lan", "eth1", group, 5000), multi("far", "tun0", group, 5000))))
		out := outputPath("hybrid-feed", "far") + "/state/"
		total, sent := uint64(0), uint64(0)
		unresolved := func() {
			t.Helper()
			d.down("hybrid-feed", "far", "endpoint-unresolved")
			d.await(out+"branch-count", "0")
			d.await(endpointsPath("tun0")+"/state/reason", "no-peer-information")
			before := d.get(out + "counters")
			n.src.Send(feed(100))
			total += 100
			lan.Exactly(total)
			d.counts(out+"counters/not-ready", before.num(out+"counters/not-ready")+100)
			d.sent("hybrid-feed", "far", sent)
		}
		resolved := func() {
			t.Helper()
			d.up("hybrid-feed", "far")
			n.src.Send(feed(100))
			total, sent = total+100, sent+100
			far.Exactly(sent)
			lan.Exactly(total)
			d.sent("hybrid-feed", "far", sent)
		}
		unresolved()
		n.rtr.ReAddress("tun0", "")
		n.rtr.Peer("tun0", "10.4.0.1", "10.4.0.2")
		resolved()
		for name, want := range map[string]string{
			"her-active": "true", "endpoint": "10.4.0.2", "endpoint-port": "5000", "endpoint-origin": "peer-address", "branch-count": "1", "local-address": "10.4.0.1",
		} {
			d.await(out+name, want)
		}
		n.rtr.ReAddress("tun0", "10.4.0.1/24")
		unresolved()
		d.setEndpoints("tun0", "10.4.0.2")
		resolved()
		d.await(out+"endpoint-origin", "configured")
		if got := wire.Packets(func(p lab.Packet) bool { return p.Protocol == 17 }); uint64(len(got)) != sent {
			t.Errorf("%d datagrams left, want %d\n%s", len(got), sent, wire)
		}
		logged(t, d.MCRD, 2, 2, "level=WARN", "output is down", "output=far", "endpoint-unresolved")
	})
}

// P3.6: IFF_MULTICAST set and cleared moves a branch between both forms within a second, never both of one packet, and its siblings
// lose nothing.
func TestP3_6_FlagMovesTheBranch(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		n := newTunnel(t)
		wire := n.far.Tap("tun0")
		lan, b := n.lan.GroupSink("eth0", group+":5000"), bringers(n.far, "tun0", "10.4.0.2")
		d := runRules(t, n.rtr, engine)
		d.autoHER(true)
		d.must(d.setRules(hybridRule(multi("lan", "eth1", group, 5000), multi("far", "tun0", group, 5000))))
		d.up("hybrid-feed", "far")
		live := n.src.StartSend(feed(0))
		b.endpoint.Wait(100, patience)
		for range 5 {
			n.rtr.Multicast("tun0", true)
			reaches(b.group, 1, soon)
			reaches(b.group, 200, patience)
			n.rtr.Multicast("tun0", false)
			reaches(b.endpoint, 1, soon)
			reaches(b.endpoint, 200, patience)
		}
		sent := live.Stop().Sent
		lan.Exactly(sent)
		b.endpoint.Quiet(quiet)
		forms := map[uint64]int{}
		for _, p := range wire.Packets(func(p lab.Packet) bool { return p.Protocol == 17 }) {
			h, verdict := mcrgen.Parse(p.Payload)
			if verdict != mcrgen.Whole {
				t.Fatalf("%v > %v is broken", p.Src, p.Dst)
			}
			forms[h.Seq]++
		}
		for seq, times := range forms {
			if times > 1 {
				t.Errorf("datagram %d left %d times", seq, times)
			}
		}
		t.Logf("%d datagrams over 10 flips of the flag: %d by multicast, %d by unicast, %d lost",
			sent, b.group.Received(), b.endpoint.Received(), int(sent)-len(forms))
		d.sent("hybrid-feed", "far", uint64(len(forms)))
		d.await(outputPath("hybrid-feed", "far")+"/state/endpoint", "10.4.0.2")
	})
}

// toward says that a packet goes to an address.
func toward(addr string) func(lab.Packet) bool {
	a := netip.MustParseAddr(addr)
	return func(p lab.Packet) bool { return p.Dst.Addr() == a && p.Protocol == 17 }
}
