// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"golang.org/x/sys/unix"

	"mcr/dataplane/afpacket"
	"mcr/dataplane/sock"
)

// frameSlots is how many datagrams in fragments a shard holds for its packet points, 64 KiB each.
const frameSlots = 64

// openPacket opens the socket of a packet point, and makes room for fragments on its shard.
func (pt *point) openPacket(p sock.Point) (int, error) {
	s := pt.shard
	if s.frags.Load() == nil {
		mem, err := s.mem.Bytes(frameSlots * afpacket.SlotSize)
		if err != nil {
			return -1, err
		}
		s.frags.Store(afpacket.NewReassembler(mem))
	}
	fd, err := afpacket.Open(afpacket.Config{
		IfIndex: p.IfIndex, Stamps: p.Stamps,
		Filter: afpacket.Filter{Group: number(p.Group), Port: p.Port, Fragments: true},
	})
	if err != nil {
		return -1, err
	}
	if err := sock.SetReceiveBuffer(fd, p.ReceiveBuffer); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// frame makes p what a packet point received, or nothing, and returns the time stamp.
func (w *worker) frame(p *packet, a *arrival) int64 {
	pt := p.pt
	aux := afpacket.ParseAux(a.control)
	want := afpacket.Want{Group: number(pt.key.Group), Port: pt.key.Port}
	d, v := afpacket.Parse(a.payload, afpacket.Link(a.name), aux, want)
	if v == afpacket.Fragment {
		var slot int
		d, slot, v = pt.shard.frags.Load().Add(uint32(pt.fd), d, want, w.e.clock().UnixNano())
		p.slot = int16(slot + 1)
	}
	if v != afpacket.Whole {
		pt.reject(v)
		p.pt = nil
		return 0
	}
	p.data, p.seg, p.src, p.sport, p.ttl, p.tos = d.Payload, d.Segment, d.Source, d.SourcePort, d.TTL, d.TOS
	return aux.Stamp
}

// reject counts what is not forwarded.
func (pt *point) reject(v afpacket.Verdict) {
	if !pt.primary {
		return
	}
	switch v {
	case afpacket.BadChecksum:
		pt.checksum.Add(1)
	case afpacket.UnknownSegment:
		pt.gso.Add(1)
	}
}
