// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

// What a queueing discipline drops is counted, and the count never goes back: neither with another discipline, nor without.
func TestQueueDrops(t *testing.T) {
	inNamespace(t)
	addLink(t, veth("a0", "a1"), "10.0.0.1/24")
	must(t, netlink.LinkSetUp(mustLink(t, "a1")))
	must(t, netlink.NeighAdd(&netlink.Neigh{
		LinkIndex: mustLink(t, "a0").Attrs().Index, State: netlink.NUD_PERMANENT, IP: net.IPv4(10, 0, 0, 2),
		HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 9},
	}))
	m := start(t)
	drops := func() uint64 {
		t.Helper()
		m.queues.mu.Lock()
		m.queues.at = time.Time{} // else the latest reading serves for a moment
		m.queues.mu.Unlock()
		n, ok := m.QueueDrops("a0")
		if !ok {
			t.Fatal("a0 is not known")
		}
		return n
	}
	conn, err := net.Dial("udp4", "10.0.0.2:9")
	must(t, err)
	defer conn.Close()
	flood := func() {
		for range 50 {
			_, _ = conn.Write(make([]byte, 1000)) // a drop is no error to this socket
		}
	}
	if n := drops(); n != 0 {
		t.Errorf("%d drops without a queue", n)
	}
	attrs := netlink.QdiscAttrs{LinkIndex: mustLink(t, "a0").Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT}
	tbf := &netlink.Tbf{QdiscAttrs: attrs, Rate: 100, Limit: 3000, Buffer: 100_000_000}
	must(t, netlink.QdiscReplace(tbf))
	flood()
	first := drops()
	all, err := netlink.QdiscList(mustLink(t, "a0"))
	must(t, err)
	if want := uint64(all[0].Attrs().Statistics.Queue.Drops); want == 0 || first != want {
		t.Errorf("%d drops, tc says %d", first, want)
	}
	flood()
	second := drops()
	if second < first+40 {
		t.Errorf("%d drops after 50 more packets, %d before", second, first)
	}
	must(t, netlink.QdiscDel(tbf))
	if n := drops(); n != second {
		t.Errorf("%d drops after the queue went, %d before", n, second)
	}
	tbf.Handle = netlink.MakeHandle(2, 0)
	must(t, netlink.QdiscReplace(tbf))
	flood()
	if n := drops(); n < second+40 || n > second+50 {
		t.Errorf("%d drops with another queue, %d before", n, second)
	}
	if _, ok := m.QueueDrops("a9"); ok {
		t.Error("a link that is not there has drops")
	}
}

// The kernel's count has 32 bits.
func TestQueueDropsGoPast32Bits(t *testing.T) {
	q := &queues{links: map[plan.IfIndex]*queue{}}
	for _, n := range []uint32{10, 0xfffffff0, 5} {
		q.note(3, qdisc{handle: 1, kind: "tbf", drops: n})
	}
	if got := q.links[3].total; got != 1<<32+5 {
		t.Errorf("%d, want 2^32 + 5", got)
	}
}

// qdiscMessage is an RTM_NEWQDISC as the kernel writes it.
func qdiscMessage(index int32, parent uint32, drops uint32) []byte {
	order := binary.NativeEndian
	attr := func(typ uint16, value []byte) []byte {
		b := order.AppendUint16(nil, uint16(unix.SizeofRtAttr+len(value)))
		return append(append(order.AppendUint16(b, typ), value...), make([]byte, -len(value)&3)...)
	}
	stats := make([]byte, 20)
	order.PutUint32(stats[8:], drops)
	b := make([]byte, 20)
	order.PutUint32(b[4:], uint32(index))
	order.PutUint32(b[8:], 0x80010000)
	order.PutUint32(b[12:], parent)
	b = append(b, attr(1, []byte("tbf\x00"))...)
	b = append(b, attr(2, []byte{1, 2, 3, 4})...)
	return append(b, attr(7, append(attr(1, make([]byte, 16)), attr(3, stats)...))...)
}

func TestParseQdisc(t *testing.T) {
	i, d, ok := parseQdisc(qdiscMessage(7, 0xffffffff, 42))
	if !ok || i != 7 || d != (qdisc{handle: 0x80010000, kind: "tbf", drops: 42}) {
		t.Errorf("%d, %+v, %v", i, d, ok)
	}
	for _, parent := range []uint32{0, 0x10001, 0xfffffff1} { // no root, a child, clsact
		if _, _, ok := parseQdisc(qdiscMessage(7, parent, 42)); ok {
			t.Errorf("parent %#x is taken for the root", parent)
		}
	}
}

func FuzzParseQdisc(f *testing.F) {
	f.Add(qdiscMessage(7, 0xffffffff, 42))
	f.Add(qdiscMessage(1, 0, 0)[:19])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if i, _, ok := parseQdisc(data); ok && i <= 0 {
			t.Errorf("a discipline of interface %d", i)
		}
	})
}
