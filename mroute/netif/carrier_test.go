// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"encoding/binary"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

// What the other end of a veth pair does to the carrier is counted, and a link that is not there has no count.
func TestCarrierTransitions(t *testing.T) {
	inNamespace(t)
	addLink(t, veth("a0", "a1"), "10.0.0.1/24")
	must(t, netlink.LinkSetUp(mustLink(t, "a1")))
	m := start(t)
	count := func() uint64 {
		t.Helper()
		n, ok := m.CarrierTransitions("a0")
		if !ok {
			t.Fatal("a0 is not known")
		}
		return n
	}
	before := count()
	for range 3 {
		must(t, netlink.LinkSetDown(mustLink(t, "a1")))
		must(t, netlink.LinkSetUp(mustLink(t, "a1")))
	}
	if n := count(); n != before+6 {
		t.Errorf("%d transitions, want %d and 6 more", n, before)
	}
	if _, ok := m.CarrierTransitions("a9"); ok {
		t.Error("a link that is not there has a count")
	}
}

// carrierMessage is an RTM_NEWLINK as the kernel writes it, as far as it is looked at.
func carrierMessage(index int32, changes uint32) []byte {
	order := binary.NativeEndian
	b := make([]byte, unix.SizeofIfInfomsg)
	order.PutUint32(b[4:], uint32(index))
	b = append(b, 7, 0, 3, 0, 'a', '0', 0, 0) // IFLA_IFNAME, padded
	b = order.AppendUint16(b, 8)
	b = order.AppendUint16(b, 35)
	return order.AppendUint32(b, changes)
}

func FuzzParseCarrier(f *testing.F) {
	whole := carrierMessage(7, 42)
	if i, n, ok := parseCarrier(whole); !ok || i != 7 || n != 42 {
		f.Errorf("%d, %d, %v", i, n, ok)
	}
	for n := range len(whole) {
		if _, _, ok := parseCarrier(whole[:n]); ok {
			f.Errorf("the first %d bytes have a count", n)
		}
	}
	f.Add(whole)
	f.Add(carrierMessage(0, 1))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if i, _, ok := parseCarrier(data); ok && i <= plan.IfIndex(0) {
			t.Errorf("a count of interface %d", i)
		}
	})
}
