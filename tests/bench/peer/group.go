// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// groSize finds the UDP_GRO control message: the size of the segments of a coalesced datagram.
func groSize(ctl []byte, whole int) int {
	for len(ctl) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&ctl[0]))
		if h.Len < unix.SizeofCmsghdr || int(h.Len) > len(ctl) {
			break
		}
		if h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_GRO {
			return int(*(*int32)(unsafe.Pointer(&ctl[unix.SizeofCmsghdr])))
		}
		ctl = ctl[min(len(ctl), int(h.Len+7)&^7):]
	}
	return whole
}

// grouper turns a run of received datagrams into as few sends as possible. A group is datagrams of one size, the
// last of which may be shorter, at most maxSegs of them and 65,507 bytes (49 of 1316 bytes). One msghdr serves all outputs.
type grouper struct {
	groups  []group
	hdrs    []unix.Msghdr
	iovs    []unix.Iovec
	ctl     []byte
	niov    int
	maxSegs int  // datagrams in one send
	maxSeg  int  // bytes in one segment: what fits the egress MTU
	open    bool // the last group takes more
}

type group struct {
	hdr              *unix.Msghdr
	seg, segs, bytes int
	firstIov, iovs   int
}

const maxUDP = 65507

// newGrouper: the memory is outside the Go heap, as the kernel reads it while Go code runs.
func newGrouper(c *config, maxGroups, maxIovs int) *grouper {
	h := must(arena(maxGroups * unix.SizeofMsghdr))
	v := must(arena(maxIovs * 16))
	ctl := must(arena(maxGroups * 24))
	return &grouper{
		groups: make([]group, 0, maxGroups), maxSegs: c.maxSegs, maxSeg: c.mtu - 28, ctl: ctl,
		hdrs: unsafe.Slice((*unix.Msghdr)(unsafe.Pointer(&h[0])), maxGroups),
		iovs: unsafe.Slice((*unix.Iovec)(unsafe.Pointer(&v[0])), maxIovs),
	}
}

func (g *grouper) reset() { g.groups, g.niov, g.open = g.groups[:0], 0, false }

// add takes one datagram, or with seg < len(p) a coalesced run of them (UDP_GRO).
func (g *grouper) add(p []byte, seg int, gso bool) {
	if len(p) == 0 { // an empty datagram is a send of its own
		g.groups = append(g.groups, group{firstIov: g.niov})
		g.open = false
		return
	}
	for len(p) > 0 {
		var cur *group
		if g.open {
			cur = &g.groups[len(g.groups)-1]
		}
		if cur == nil || seg > cur.seg || (seg < cur.seg && len(p) > seg) || cur.segs == g.maxSegs || cur.bytes+min(seg, len(p)) > maxUDP {
			g.groups = append(g.groups, group{seg: seg, firstIov: g.niov})
			cur = &g.groups[len(g.groups)-1]
		}
		k := min(g.maxSegs-cur.segs, (maxUDP-cur.bytes)/seg, (len(p)+seg-1)/seg)
		n := min(len(p), max(k, 1)*seg)
		if last := g.niov - 1; cur.iovs > 0 && uptr(g.iovs[last].Base)+g.iovs[last].Len == uptr(&p[0]) {
			g.iovs[last].Len += uint64(n) // adjacent in memory
		} else {
			g.iovs[g.niov] = unix.Iovec{Base: &p[0], Len: uint64(n)}
			g.niov++
			cur.iovs++
		}
		cur.segs += (n + seg - 1) / seg
		cur.bytes += n
		g.open = gso && seg <= g.maxSeg && cur.bytes == cur.segs*cur.seg // a shorter one closes the group
		p = p[n:]
	}
}

func (g *grouper) finish() {
	for i := range g.groups {
		gr := &g.groups[i]
		h := &g.hdrs[i]
		*h = unix.Msghdr{}
		if gr.iovs > 0 {
			h.Iov = &g.iovs[gr.firstIov]
		}
		h.Iovlen = uint64(gr.iovs)
		if gr.segs > 1 {
			b := g.ctl[i*24:]
			*(*unix.Cmsghdr)(unsafe.Pointer(&b[0])) = unix.Cmsghdr{Len: 18, Level: unix.IPPROTO_UDP, Type: unix.UDP_SEGMENT}
			*(*uint16)(unsafe.Pointer(&b[16])) = uint16(gr.seg)
			h.Control, h.Controllen = &b[0], 24
		}
		gr.hdr = h
	}
}
