// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// What a group sends, cut at its segment size, is what came, in order, and within the kernel's limits.
func TestGroups(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	mem, err := arena(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	for i := range mem {
		mem[i] = byte(rnd.Uint32())
	}
	c := &config{maxSegs: 64, mtu: 1500}
	g := newGrouper(c, 256, 1024)
	for range 2000 {
		var want [][]byte
		g.reset()
		for at := 0; len(want) < 100; {
			seg := []int{0, 1, 188, 1316, 1472, 1473, 3001}[rnd.IntN(7)]
			n := 1
			if seg > 0 && seg <= 1472 && rnd.IntN(2) == 0 { // the kernel joined some, of what came in by the same MTU
				n = 1 + rnd.IntN(min(70, 65507/seg))
			}
			p := mem[at : at+seg*n]
			if n > 1 && rnd.IntN(2) == 0 { // the last is shorter
				p = p[:len(p)-rnd.IntN(seg)]
			}
			at = (at + len(p) + rnd.IntN(2)*100) % (1 << 19)
			g.add(p, seg, true)
			if len(p) == 0 {
				want = append(want, nil)
			}
			for ; len(p) > 0; p = p[min(seg, len(p)):] {
				want = append(want, p[:min(seg, len(p))])
			}
		}
		g.finish()
		var got [][]byte
		for i := range g.groups {
			gr := &g.groups[i]
			var all []byte
			for _, v := range g.iovs[gr.firstIov : gr.firstIov+gr.iovs] {
				all = append(all, unsafe.Slice(v.Base, v.Len)...)
			}
			if gr.segs > c.maxSegs || len(all) > maxUDP || gr.segs > 1 && gr.seg > c.mtu-28 || (gr.hdr.Control != nil) != (gr.segs > 1) {
				t.Fatalf("group of %d datagrams of %d, %d bytes, control %v", gr.segs, gr.seg, len(all), gr.hdr.Control != nil)
			}
			if len(all) == 0 {
				got = append(got, nil)
			}
			for ; len(all) > 0; all = all[min(gr.seg, len(all)):] {
				got = append(got, all[:min(gr.seg, len(all))])
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%d datagrams, want %d", len(got), len(want))
		}
		for i := range want {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("datagram %d: %d bytes, want %d", i, len(got[i]), len(want[i]))
			}
		}
	}
}
