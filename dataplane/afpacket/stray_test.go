// SPDX-License-Identifier: Apache-2.0

package afpacket

import (
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/net/ipv4"

	"mcr/dataplane/plan"
)

// F7: a stream that arrives on another interface is found; our own copies and other groups are not.
func TestStraySeesStreamOnAnyInterface(t *testing.T) {
	runtime.LockOSThread() // for good: the thread and its namespace end with the test
	ns, err := netns.New()
	if err != nil {
		t.Skipf("SKIPPED: no network namespace can be made (root needed): %v", err)
	}
	defer ns.Close()
	in, out := vethPair(t)
	s, err := OpenStray()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want, other := netip.MustParseAddr("239.1.1.1"), netip.MustParseAddr("239.1.1.2")
	if err := s.Look([]netip.Addr{want}); err != nil {
		t.Fatal(err)
	}
	got := map[plan.Sight]bool{}
	for end := time.Now().Add(5 * time.Second); len(got) == 0 && time.Now().Before(end); runtime.Gosched() {
		send(t, out, other) // again: before the links have noticed their carrier they drop it
		send(t, out, want)
		got = s.Seen()
	}
	sight := plan.Sight{IfIndex: plan.IfIndex(in.Attrs().Index), Group: want, Port: 5000}
	if len(got) != 1 || !got[sight] {
		t.Errorf("seen %v, want %v alone", got, sight)
	}
}

func vethPair(t *testing.T) (in, out netlink.Link) {
	t.Helper()
	la := netlink.NewLinkAttrs()
	la.Name = "in0"
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: la, PeerName: "out0"}); err != nil {
		t.Fatal(err)
	}
	for name, l := range map[string]*netlink.Link{"in0": &in, "out0": &out} {
		var err error
		if *l, err = netlink.LinkByName(name); err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetUp(*l); err != nil {
			t.Fatal(err)
		}
	}
	addr, err := netlink.ParseAddr("10.0.1.1/24")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrAdd(out, addr); err != nil {
		t.Fatal(err)
	}
	return in, out
}

func send(t *testing.T, l netlink.Link, group netip.Addr) {
	t.Helper()
	c, err := net.ListenPacket("udp4", "10.0.1.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := ipv4.NewPacketConn(c).SetMulticastInterface(&net.Interface{Index: l.Attrs().Index}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.WriteTo([]byte("x"), &net.UDPAddr{IP: group.AsSlice(), Port: 5000}); err != nil {
		t.Fatal(err)
	}
}

func TestLookTakesNoGroupAndTheMost(t *testing.T) {
	for _, n := range []int{0, 1, MaxGroups, MaxGroups + 1} {
		groups := make([]netip.Addr, n)
		for i := range groups {
			groups[i] = netip.AddrFrom4([4]byte{239, 1, 1, byte(i)})
		}
		if got, want := len(filter(groups)), 9+min(n, MaxGroups); got != want {
			t.Errorf("%d groups: %d instructions, want %d", n, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 1, 1, 239, 1, 1, 1, 0x9c, 0x40, 0x13, 0x88})
	f.Add([]byte{0x4f, 0, 0, 29})
	f.Fuzz(func(t *testing.T, b []byte) {
		if g, _, ok := parse(b); ok && !g.Is4() {
			t.Errorf("group %v", g)
		}
	})
}
