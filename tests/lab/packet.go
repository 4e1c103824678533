// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Checksum says what a UDP checksum is worth.
type Checksum uint8

// Checksum states.
const (
	ChecksumNone  Checksum = iota // not UDP, or a fragment: nothing to say
	ChecksumRight                 // verified
	ChecksumZero                  // the sender left it out
	ChecksumWrong
	ChecksumOpen // left to an offload that never came to act, as between the ends of a veth
)

func (c Checksum) String() string { return [...]string{"none", "right", "zero", "wrong", "open"}[c] }

// Packet is an IPv4 packet as it was on the wire. It is decoded here on purpose, apart from the code under test.
type Packet struct {
	Src, Dst netip.AddrPort // ports 0 if it is not UDP, or not the first fragment
	Protocol uint8
	TTL, TOS uint8
	ID       uint16
	DF       bool
	Fragment bool     // a part of a datagram
	Checksum Checksum // of UDP
	Payload  []byte   // of UDP, else of IP
	Outgoing bool     // sent by the host that listens
}

// decode keeps no reference to b. open says that the checksum is still to be filled in.
func decode(b []byte, open bool) (Packet, error) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return Packet{}, fmt.Errorf("not IPv4: % x", b[:min(len(b), 20)])
	}
	hl, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if hl < 20 || total < hl || total > len(b) {
		return Packet{}, fmt.Errorf("IPv4 lengths: header %d, total %d, captured %d", hl, total, len(b))
	}
	flags := binary.BigEndian.Uint16(b[6:])
	p := Packet{
		Protocol: b[9], TTL: b[8], TOS: b[1], ID: binary.BigEndian.Uint16(b[4:]),
		DF: flags&0x4000 != 0, Fragment: flags&0x3fff != 0,
		Payload: append([]byte(nil), b[hl:total]...),
	}
	src, dst := netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	p.Src, p.Dst = netip.AddrPortFrom(src, 0), netip.AddrPortFrom(dst, 0)
	if p.Protocol != 17 || flags&0x1fff != 0 || len(p.Payload) < 8 {
		return p, nil
	}
	udp := p.Payload
	p.Src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(udp))
	p.Dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(udp[2:]))
	p.Payload = udp[8:]
	if p.Fragment {
		return p, nil
	}
	switch {
	case open:
		p.Checksum = ChecksumOpen
	case binary.BigEndian.Uint16(udp[6:]) == 0:
		p.Checksum = ChecksumZero
	case sum(pseudo(src, dst, len(udp)), udp) != 0xffff:
		p.Checksum = ChecksumWrong
	default:
		p.Checksum = ChecksumRight
	}
	return p, nil
}

// UDP makes an IPv4 packet, as a TUN device takes it.
func UDP(src, dst netip.AddrPort, ttl uint8, payload []byte) []byte {
	b := make([]byte, 28, 28+len(payload))
	b[0], b[8], b[9] = 0x45, ttl, 17
	binary.BigEndian.PutUint16(b[2:], uint16(28+len(payload)))
	copy(b[12:], src.Addr().AsSlice())
	copy(b[16:], dst.Addr().AsSlice())
	binary.BigEndian.PutUint16(b[10:], ^sum(0, b[:20]))
	binary.BigEndian.PutUint16(b[20:], src.Port())
	binary.BigEndian.PutUint16(b[22:], dst.Port())
	binary.BigEndian.PutUint16(b[24:], uint16(8+len(payload)))
	b = append(b, payload...)
	c := ^sum(pseudo(src.Addr(), dst.Addr(), len(b)-20), b[20:])
	if c == 0 {
		c = 0xffff // RFC 768: 0 would say "none"
	}
	binary.BigEndian.PutUint16(b[26:], c)
	return b
}

func pseudo(src, dst netip.Addr, length int) uint32 {
	return uint32(sum(0, src.AsSlice())) + uint32(sum(0, dst.AsSlice())) + 17 + uint32(length)
}

// sum is the ones' complement sum of RFC 1071.
func sum(s uint32, b []byte) uint16 {
	for len(b) > 1 {
		s += uint32(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) > 0 {
		s += uint32(b[0]) << 8
	}
	for s>>16 != 0 {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}
