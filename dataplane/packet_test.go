// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

// D4: a datagram whose UDP checksum is wrong is never forwarded, one without is, whoever verifies it.
func TestD4_Checksums(t *testing.T) {
	methods(t, func(t *testing.T, l *lab, e *Engine) {
		r := l.receiver("10.9.0.1:6000")
		l.apply(e, l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000")}}))
		wrong := func(b []byte) { b[40] ^= 0xff }
		for _, f := range []struct {
			payload string
			spoil   func(frame []byte)
		}{
			{"right", func([]byte) {}},
			{"", func([]byte) {}},
			{"absent", func(b []byte) { b[40], b[41] = 0, 0 }},
			{"wrong", wrong},
			{"odd", wrong},
			{"payload", func(b []byte) { b[45] ^= 1 }},
			{"the last", func([]byte) {}},
		} {
			l.inject(f.payload, f.spoil)
		}
		for _, want := range []string{"right", "", "absent", "the last"} {
			if g := r.next(); g.payload != want {
				t.Errorf("got %q, want %q", g.payload, want)
			}
		}
		if rest := r.rest(); len(rest) > 0 {
			t.Errorf("more: %q", payloads(rest))
		}
		c, _ := e.Point(l.key())
		counted := map[plan.Method]uint64{plan.MethodPacket: 3}[l.method]
		if c.Packets != 4 || c.Checksum != counted {
			t.Errorf("%+v, want %d with a wrong checksum", c, counted)
		}
		if n := e.Totals().ChecksumErrors; l.method == plan.MethodSocket && n != 3 {
			t.Errorf("%d checksum errors in all", n)
		}
	})
}

// inject writes an Ethernet frame of the stream on in1, with the frame (from its Ethernet header on) changed by spoil.
func (l *lab) inject(payload string, spoil func(frame []byte)) {
	l.t.Helper()
	l.injectPacket(l.datagram(payload), spoil)
}

// injectPacket is inject of an IPv4 packet.
func (l *lab) injectPacket(packet []byte, spoil func(frame []byte)) {
	l.t.Helper()
	frame := slices.Concat([]byte{1, 0, 0x5e, 1, 1, 1, 2, 0, 0, 0, 0, 1, 8, 0}, packet)
	l.inFar(func() {
		spoil(frame)
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		l.must(err)
		defer unix.Close(fd)
		l.must(unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: l.in1, Halen: 6, Addr: [8]byte{1, 0, 0x5e, 1, 1, 1}}))
	})
}

// datagram is an IPv4 packet of the stream.
func (l *lab) datagram(payload string) []byte { return l.datagramTo(groupPort, payload) }

func (l *lab) datagramTo(port uint16, payload string) []byte {
	ip := &layers.IPv4{Version: 4, TTL: 5, Protocol: layers.IPProtocolUDP, SrcIP: sourceIP.AsSlice(), DstIP: group.AsSlice()}
	udp := &layers.UDP{SrcPort: 40000, DstPort: layers.UDPPort(port)}
	l.must(udp.SetNetworkLayerForChecksum(ip))
	b := gopacket.NewSerializeBuffer()
	l.must(gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ip, udp, gopacket.Payload(payload)))
	return b.Bytes()
}

// fragments are an IPv4 packet to port in two, always with the same ID.
func (l *lab) fragments(port uint16, payload string) (first, rest []byte) {
	const header, cut = 20, 1400 // bytes, the latter a multiple of 8
	body := l.datagramTo(port, payload)[header:]
	fragment := func(offset int, flags layers.IPv4Flag, data []byte) []byte {
		ip := &layers.IPv4{
			Version: 4, TTL: 5, Id: 77, Protocol: layers.IPProtocolUDP, SrcIP: sourceIP.AsSlice(), DstIP: group.AsSlice(),
			FragOffset: uint16(offset / 8), Flags: flags,
		}
		b := gopacket.NewSerializeBuffer()
		l.must(gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ip, gopacket.Payload(data)))
		return slices.Clone(b.Bytes())
	}
	return fragment(0, layers.IPv4MoreFragments, body[:cut]), fragment(cut, 0, body[cut:])
}

// P1.8: a sender's segmented runs arrive intact, as super-packets and cut up by its device.
func TestP1_8_SenderSegments(t *testing.T) {
	methods(t, func(t *testing.T, l *lab, e *Engine) {
		r := l.receiver("10.9.0.1:6000")
		l.apply(e, l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000")}}))
		src := l.source(5, 0)
		l.must(control(src, func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 1000) }))
		unread := uint64(0) // runs that this kernel cannot give us
		var major, minor int
		if _, err := fmt.Sscanf(kernelRelease(), "%d.%d", &major, &minor); err != nil {
			t.Fatal(err)
		}
		before6_2 := major < 6 || (major == 6 && minor < 2)
		for _, uso := range []bool{true, false} {
			if !uso { // a packet of more segments is cut up before the driver
				l.inFar(func() {
					link, err := netlink.LinkByName("in1")
					l.must(err)
					l.must(netlink.LinkSetGSOMaxSegs(link, 1))
				})
			}
			want := append(numbered(30, 1000), strings.Repeat("z", 77))
			l.send(src, strings.Join(want, ""), "short")
			want = append(want, "short")
			for i, p := range want {
				g := r.next()
				if before6_2 && g.payload == "short" && i == 0 && uso && l.method == plan.MethodPacket { // see afpacket.Open
					unread++
					break
				}
				if g.payload != p {
					t.Fatalf("USO %v, datagram %d: %d bytes, want %d", uso, i, len(g.payload), len(p))
				}
			}
		}
		if c, _ := e.Point(l.key()); c.Packets != 64-31*unread || c.GSO != unread {
			t.Errorf("point: %+v", c)
		}
	})
}

// D5: fragments for several points of one interface, at the same time, reach each of them; jumbo frames too.
func TestD5_Fragments(t *testing.T) {
	methods(t, func(t *testing.T, l *lab, e *Engine) {
		p := &plan.Plan{}
		var rs []*receiver
		var srcs []*net.UDPConn
		const points = 3
		for i := range points {
			one := l.onePoint(&plan.List{ID: plan.ListID(i + 1), Outputs: []*plan.Output{l.output(plan.OutputID(i+1), fmt.Sprintf("10.9.0.%d:6000", i+1))}})
			one.Points[0].Port += uint16(i)
			p.Points = append(p.Points, one.Points[0])
			rs = append(rs, l.receiver(fmt.Sprintf("10.9.0.%d:6000", i+1)))
			srcs = append(srcs, l.dial(sourceIP, groupPort+uint16(i), 7, 0))
		}
		l.apply(e, p)
		check := func(sizes ...int) {
			t.Helper()
			for n := range 30 { // one round at a time: the kernel's queue of what has come (netdev_max_backlog) takes 1,000 fragments
				for i, c := range srcs {
					for _, size := range sizes {
						l.send(c, fmt.Sprint(i, n, strings.Repeat("f", size)))
					}
				}
				for i, r := range rs {
					for _, size := range sizes {
						want := fmt.Sprint(i, n, strings.Repeat("f", size))
						if g := r.next(); g.payload != want {
							t.Fatalf("point %d: %d bytes %.8q, want %d %.8q", i, len(g.payload), g.payload, len(want), want)
						}
					}
				}
			}
		}
		check(1470, 1473, 4000, 65000)
		l.setMTU("in0", 9000)
		l.inFar(func() { l.setMTU("in1", 9000) })
		l.ready("in0")
		check(8900, 20000)
		for i, r := range rs {
			if rest := r.rest(); len(rest) > 0 {
				t.Errorf("point %d: %d more", i, len(rest))
			}
		}
	})
}

// D5: a datagram in fragments reaches the point though one with its ID came to another port: a sender's sockets may count by themselves.
func TestD5_SameIDOfAnotherPort(t *testing.T) {
	methods(t, func(t *testing.T, l *lab, e *Engine) {
		r := l.receiver("10.9.0.1:6000")
		l.apply(e, l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000")}}))
		for n := range 5 {
			for _, port := range []uint16{groupPort + 1, groupPort} {
				first, rest := l.fragments(port, fmt.Sprint(n, strings.Repeat(string('a'+rune(port-groupPort)), 2000)))
				for _, f := range [][]byte{first, rest} {
					l.injectPacket(f, func([]byte) {})
				}
			}
			if want, g := fmt.Sprint(n, strings.Repeat("a", 2000)), r.next(); g.payload != want {
				t.Fatalf("datagram %d: %d bytes, want %d", n, len(g.payload), len(want))
			}
		}
		if rest := r.rest(); len(rest) > 0 {
			t.Errorf("%d more", len(rest))
		}
		if c, _ := e.Point(l.key()); c.Packets != 5 || c.Checksum != 0 {
			t.Errorf("point: %+v", c)
		}
	})
}

// A source that the kernel's reverse-path filter drops is received by packet, and by that alone.
func TestReversePath(t *testing.T) {
	methods(t, func(t *testing.T, l *lab, e *Engine) {
		r := l.receiver("10.9.0.1:6000")
		l.apply(e, l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000")}}))
		for _, name := range []string{"all", "in0"} {
			l.must(os.WriteFile("/proc/sys/net/ipv4/conf/"+name+"/rp_filter", []byte("1"), 0o644))
		}
		far := netip.MustParseAddr("203.0.113.1")
		l.inFar(func() { l.address("in1", far.String()+"/32") })
		l.send(l.sourceFrom(far, 5, 0), "filtered")
		l.send(l.source(5, 0), "not filtered")
		want := []string{"not filtered"}
		if l.method == plan.MethodPacket {
			want = []string{"filtered", "not filtered"}
		}
		for _, w := range want {
			if g := r.next(); g.payload != w {
				t.Errorf("got %q, want %q", g.payload, w)
			}
		}
		if rest := r.rest(); len(rest) > 0 {
			t.Errorf("more: %q", payloads(rest))
		}
	})
}

// D5: an interface without a link header.
func TestD5_TUN(t *testing.T) {
	methods(t, func(t *testing.T, l *lab, e *Engine) {
		tun, index := l.tun("tun0")
		r := l.receiver("10.9.0.1:6000")
		p := l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000")}})
		p.Points[0].IfIndex = index
		l.apply(e, p)
		for _, w := range []string{"first", "", strings.Repeat("x", 1400)} {
			_, err := unix.Write(tun, l.datagram(w))
			l.must(err)
			if g := r.next(); g.payload != w {
				t.Errorf("got %d bytes, want %d", len(g.payload), len(w))
			}
		}
	})
}

// tun makes a TUN interface that is up.
func (l *lab) tun(name string) (fd int, index plan.IfIndex) {
	l.t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		l.t.Skipf("no TUN here: %v", err)
	}
	l.t.Cleanup(func() { unix.Close(fd) })
	var ifr struct { // struct ifreq
		name  [unix.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(ifr.name[:], name)
	ifr.flags = unix.IFF_TUN | unix.IFF_NO_PI
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETIFF, uintptr(unsafe.Pointer(&ifr))); e != 0 {
		l.t.Skipf("no TUN here: %v", e)
	}
	l.address(name, "10.11.0.1/24")
	return fd, plan.IfIndex(l.index(name))
}

// D5: a VLAN interface gets its own frames, and the interface below it the others.
func TestD5_VLAN(t *testing.T) {
	methods(t, func(t *testing.T, l *lab, e *Engine) {
		vlan := func(parent, name, addr string) {
			la := netlink.NewLinkAttrs()
			la.Name, la.ParentIndex = name, l.index(parent)
			if err := netlink.LinkAdd(&netlink.Vlan{LinkAttrs: la, VlanId: 5}); err != nil {
				t.Skipf("no VLAN interface here: %v", err)
			}
			l.address(name, addr)
		}
		vlan("in0", "in0.5", "10.12.0.2/24")
		l.inFar(func() { vlan("in1", "in1.5", "10.12.0.1/24") })
		below, above := l.receiver("10.9.0.1:6000"), l.receiver("10.9.0.2:6000")
		p := l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000")}})
		up := l.onePoint(&plan.List{ID: 2, Outputs: []*plan.Output{l.output(2, "10.9.0.2:6000")}})
		up.Points[0].IfIndex = plan.IfIndex(l.index("in0.5"))
		p.Points = append(p.Points, up.Points...)
		l.apply(e, p)
		tagged := l.source(5, 0)
		l.inFar(func() {
			l.ready("in1.5")
			i := l.index("in1.5")
			l.must(control(tagged, func(fd int) error {
				return unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(i)})
			}))
		})
		l.send(tagged, "tagged", strings.Repeat("t", 3000))
		l.send(l.source(5, 0), "plain")
		if diff := cmp.Diff([]string{"tagged", strings.Repeat("t", 3000)}, []string{above.next().payload, above.next().payload}); diff != "" {
			t.Errorf("VLAN (-want +got):\n%s", diff)
		}
		if g := below.next(); g.payload != "plain" {
			t.Errorf("below it: %q", g.payload)
		}
		if n := len(above.rest()) + len(below.rest()); n > 0 {
			t.Errorf("%d more", n)
		}
	})
}

// A change of the receive method under traffic loses nothing, doubles nothing, and keeps the order.
func TestMethodChange(t *testing.T) {
	engines(t, func(t *testing.T, l *lab, e *Engine) {
		r := l.receiver("10.9.0.1:6000")
		list := &plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000")}}
		l.apply(e, l.onePoint(list))
		sent := numbered(5000, 100)
		ended := stream(l.source(5, 0), sent, 5000)
		changes := 0
		for running := true; running; changes++ {
			time.Sleep(20 * time.Millisecond) // or there would be nothing but changes
			l.method ^= 1
			l.apply(e, l.onePoint(list))
			if i := e.Info(); i.InputSockets != 1+int(l.method) || i.OutputSockets != 1 {
				t.Fatalf("sockets: %+v", i)
			}
			select {
			case <-ended:
				running = false
			default:
			}
		}
		l.received(e, uint64(len(sent)))
		got := payloads(r.all(len(sent)))
		c, _ := e.Point(l.key())
		if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) || uint64(len(got)) != c.Packets || c.NoMatch != 0 {
			t.Errorf("doubled, or out of order: %d arrived, %+v", len(got), c)
		}
		if lost := len(sent) - len(got); lost > 0 {
			t.Errorf("%d lost in %d changes: %+v", lost, changes, c)
		}
	})
}

// Without CAP_NET_RAW the point and the learner are down with the reason, and what is beside them works.
func TestPacketNotAllowed(t *testing.T) {
	l := newLab(t)
	e := l.start()
	l.method = plan.MethodPacket
	p := l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000")}})
	learner, other := *p.Points[0], *p.Points[0]
	learner.Port, other.Port, other.Method = 0, 5001, plan.MethodSocket
	p.Points = append(p.Points, &learner, &other)
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	l.must(unix.Capget(&hdr, &caps[0]))
	with := caps
	caps[0].Effective &^= 1 << unix.CAP_NET_RAW
	l.must(unix.Capset(&hdr, &caps[0])) // of this thread
	ps := l.tryApply(e, p)
	l.must(unix.Capset(&hdr, &with[0]))
	if len(ps) != 2 || ps[0].Err == nil || ps[1].Err == nil {
		t.Errorf("problems: %v", ps)
	}
	r := l.receiver("10.9.0.1:6000")
	l.send(l.dial(sourceIP, 5001, 5, 0), "x")
	if g := r.next(); g.payload != "x" {
		t.Errorf("%+v", g)
	}
}
