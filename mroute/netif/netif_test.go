// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"errors"
	"log/slog"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// inNamespace gives the test a network namespace of its own. The thread is never given back, so it dies with the test's
// goroutine, and the namespace with it.
func inNamespace(t testing.TB) {
	t.Helper()
	runtime.LockOSThread()
	ns, err := netns.New()
	if err != nil {
		t.Skipf("SKIPPED: no network namespace can be made (root needed): %v", err)
	}
	t.Cleanup(func() { _ = ns.Close() })
}

// addLink makes a link in the test's namespace.
func addLink(t *testing.T, l netlink.Link, addrs ...string) {
	t.Helper()
	if err := netlink.LinkAdd(l); err != nil {
		t.Fatalf("add %s: %v", l.Attrs().Name, err)
	}
	must(t, netlink.LinkSetUp(l))
	for _, a := range addrs {
		addr, err := netlink.ParseAddr(a)
		must(t, err)
		must(t, netlink.AddrAdd(l, addr))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func veth(a, b string) netlink.Link {
	la := netlink.NewLinkAttrs()
	la.Name = a
	return &netlink.Veth{LinkAttrs: la, PeerName: b}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// start opens a monitor and runs it until the test ends.
func start(t *testing.T) *Monitor {
	t.Helper()
	m, err := Open(discard())
	must(t, err)
	run(t, m)
	return m
}

// await receives events until one satisfies ok.
func await(t *testing.T, m *Monitor, what string, ok func(Event) bool) Event {
	t.Helper()
	limit := time.After(5 * time.Second)
	for {
		select {
		case ev := <-m.Events():
			if ok(ev) {
				return ev
			}
		case <-limit:
			t.Fatalf("no event for: %s", what)
		}
	}
}

// P1.10, F3, D3: links and addresses come, change and go.
func TestMonitorFollowsLinks(t *testing.T) {
	inNamespace(t)
	m := start(t)
	addLink(t, veth("eth0", "peer0"), "10.0.1.2/24")
	must(t, netlink.LinkSetUp(mustLink(t, "peer0")))
	ev := await(t, m, "eth0 up with its address", func(ev Event) bool {
		l := ev.Snapshot.Link("eth0")
		return l != nil && l.Oper == "UP" && l.HasAddr()
	})
	l := ev.Snapshot.Link("eth0")
	if l.Kind != "veth" || !l.Multicast || l.PointPoint || l.Oper != "UP" || l.Addrs[0].Prefix != netip.MustParsePrefix("10.0.1.2/24") {
		t.Errorf("eth0 is %+v", *l)
	}
	if !ev.Snapshot.IsLocal(netip.MustParseAddr("10.0.1.2")) || ev.Snapshot.IsLocal(netip.MustParseAddr("10.0.1.3")) {
		t.Error("IsLocal is wrong")
	}
	must(t, netlink.LinkSetDown(mustLink(t, "peer0")))
	await(t, m, "eth0 without carrier", func(ev Event) bool { return !ev.Snapshot.Link("eth0").Running })
	must(t, netlink.LinkSetMulticastOff(mustLink(t, "eth0")))
	await(t, m, "multicast off", func(ev Event) bool { return !ev.Snapshot.Link("eth0").Multicast })
	rename(t, mustLink(t, "eth0"), "up0")
	await(t, m, "renamed", func(ev Event) bool { return ev.Snapshot.Link("up0") != nil && ev.Snapshot.Link("eth0") == nil })
	must(t, netlink.LinkDel(mustLink(t, "up0")))
	ev = await(t, m, "deleted", func(ev Event) bool { return ev.Snapshot.Link("up0") == nil })
	if !ev.Touched[l.Index] {
		t.Errorf("the index of the deleted link is not among the touched: %v", ev.Touched)
	}
}

func mustLink(t *testing.T, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	must(t, err)
	return l
}

func TestUnchangedLinksKeepTheirPointer(t *testing.T) {
	inNamespace(t)
	must(t, netlink.LinkSetUp(mustLink(t, "lo")))
	m := start(t)
	was := m.Snapshot().Link("lo")
	addLink(t, veth("eth1", "peer1"))
	ev := await(t, m, "eth1", func(ev Event) bool { return ev.Snapshot.Link("eth1") != nil })
	if ev.Snapshot.Link("lo") != was {
		t.Errorf("lo changed: %+v, was %+v", ev.Snapshot.Link("lo"), was)
	}
}

// D5: nothing arrives on a bridge port; state names its master.
func TestBridgePortIsEnslaved(t *testing.T) {
	inNamespace(t)
	la := netlink.NewLinkAttrs()
	la.Name = "br0"
	br := &netlink.Bridge{LinkAttrs: la}
	addLink(t, br)
	addLink(t, veth("eth0", "peer0"))
	must(t, netlink.LinkSetMaster(mustLink(t, "eth0"), br))
	m := start(t)
	if l := m.Snapshot().Link("eth0"); !l.Enslaved || l.MasterName != "br0" {
		t.Errorf("eth0 is %+v", *l)
	}
}

// Point-to-point addresses show their peer.
func TestPeerAddress(t *testing.T) {
	inNamespace(t)
	addLink(t, &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tun0"}, Mode: netlink.TUNTAP_MODE_TUN}, "10.5.0.1/32")
	tun := mustLink(t, "tun0")
	addr, err := netlink.ParseAddr("10.6.0.1/32")
	must(t, err)
	peer, err := netlink.ParseAddr("10.6.0.2/32")
	must(t, err)
	addr.Peer = peer.IPNet
	must(t, netlink.AddrAdd(tun, addr))
	m := start(t)
	l := m.Snapshot().Link("tun0")
	if !l.PointPoint || l.Kind != "tun" || len(l.Addrs) != 2 {
		t.Fatalf("tun0 is %+v", *l)
	}
	for _, a := range l.Addrs {
		want := netip.Addr{}
		if a.IP == netip.MustParseAddr("10.6.0.1") {
			want = netip.MustParseAddr("10.6.0.2")
		}
		if a.Peer != want {
			t.Errorf("peer of %v is %v, want %v", a.IP, a.Peer, want)
		}
	}
}

// D3, P1.10: the source is the route's, and a destination without a route is told from one that is reachable.
func TestRoute(t *testing.T) {
	inNamespace(t)
	addLink(t, veth("eth0", "peer0"), "10.0.1.2/24", "10.0.1.3/24")
	addLink(t, veth("eth1", "peer1"), "10.0.2.2/24")
	must(t, netlink.LinkSetUp(mustLink(t, "peer0")))
	must(t, netlink.LinkSetUp(mustLink(t, "peer1")))
	m := start(t)
	dst, err := netlink.ParseIPNet("10.9.0.0/16")
	must(t, err)
	via := netlink.Route{Dst: dst, Gw: netip.MustParseAddr("10.0.1.9").AsSlice(), LinkIndex: mustLink(t, "eth0").Attrs().Index, Src: netip.MustParseAddr("10.0.1.3").AsSlice()}
	must(t, netlink.RouteAdd(&via))
	ev := await(t, m, "route", func(ev Event) bool { return len(ev.Prefixes) > 0 && ev.Prefixes[0].String() == "10.9.0.0/16" })
	for _, c := range []struct {
		name, dest, iface, source string
		err                       error
	}{
		{"on the subnet", "10.0.1.7", "eth0", "10.0.1.2", nil},
		{"by a gateway, with a preferred source", "10.9.1.1", "eth0", "10.0.1.3", nil},
		{"a group", "239.1.1.1", "eth1", "10.0.2.2", nil},
		{"nowhere", "192.0.2.1", "eth0", "", ErrNoRoute},
		{"by another interface", "10.9.1.1", "eth1", "", ErrRouteElsewhere},
	} {
		t.Run(c.name, func(t *testing.T) {
			src, err := m.Route(netip.MustParseAddr(c.dest), ev.Snapshot.Link(c.iface))
			if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if c.err == nil && src.String() != c.source {
				t.Errorf("source %v, want %s", src, c.source)
			}
		})
	}
}

func TestAuditReadsEverythingAnew(t *testing.T) {
	inNamespace(t)
	m := start(t)
	m.SetAudit(10 * time.Millisecond)
	await(t, m, "audit", func(ev Event) bool { return ev.All })
}
