// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// A tally counts each datagram, also of segmented sends, at each address apart.
func TestTally(t *testing.T) {
	l := New(t)
	a, b := l.Host("a"), l.Host("b")
	l.Link(a, "eth0", "10.0.0.1/24", b, "eth0", "10.0.0.2/24")
	one, two := netip.MustParseAddrPort("10.0.0.2:6001"), netip.MustParseAddrPort("10.0.0.2:6002")
	y := b.Tally(one, two)
	a.Send(Stream{Iface: "eth0", Group: "10.0.0.2", Port: 6001, Count: 300, Rate: 3000, Size: 100})
	a.Send(Stream{Iface: "eth0", Group: "10.0.0.2", Port: 6002, Count: 160, Rate: 3000, Size: 100, Segments: 16})
	Until(t, 5*time.Second, "all are counted", func() error {
		if c := y.Counts(); c[one] != 300 || c[two] != 160 {
			return fmt.Errorf("%v", c)
		}
		return nil
	})
	if n := b.Waiting(one); n != 0 {
		t.Errorf("%d bytes wait in a socket that takes nothing", n)
	}
}
