// SPDX-License-Identifier: Apache-2.0

package afpacket

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Verdict is what Parse makes of a frame.
type Verdict uint8

// Verdicts.
const (
	Whole          Verdict = iota // a datagram, or several that were segmented or joined by the kernel
	Fragment                      // a part of one, for a Reassembler
	NotOurs                       // another protocol, group, port or VLAN
	BadHeader                     // the kernel would not take its IP or UDP header
	BadChecksum                   // the UDP checksum is wrong
	UnknownSegment                // joined datagrams of a size that the kernel does not tell
)

// Want is the destination that a receive point serves. Port 0 stands for every port.
type Want struct {
	Group uint32 // in host order
	Port  uint16
}

// Datagram is what a frame carries. Payload and Data lie in the frame.
type Datagram struct {
	Source   uint32 // IPv4, in host order
	Port     uint16 // destination; 0 where the fragment does not hold it
	TTL, TOS uint8

	// Of a whole one.
	SourcePort uint16
	Payload    []byte
	Segment    int // size of its datagrams, the last may be shorter; as long as Payload for a single one

	// Of a fragment.
	ID     uint16
	Offset int    // of Data in the IP payload, bytes
	More   bool   // it is not the last
	Data   []byte // IP payload
}

// virtioHeader mirrors struct virtio_net_hdr, include/uapi/linux/virtio_net.h, which PACKET_VNET_HDR (Linux 2.6.27) puts
// before each frame; in the byte order of the host, as the legacy interface has it: flags u8, gso_type u8, hdr_len u16,
// gso_size u16, csum_start u16, csum_offset u16.
const virtioHeader = 10

const (
	virtioNeedsChecksum = 1 << 0 // VIRTIO_NET_HDR_F_NEEDS_CSUM: not filled in; it never left the machine
	virtioDataValid     = 1 << 1 // VIRTIO_NET_HDR_F_DATA_VALID: somebody has looked

	virtioGSONone  = 0
	virtioGSOUDP   = 3 // VIRTIO_NET_HDR_GSO_UDP: one datagram that the device below was to fragment (UFO)
	virtioGSOUDPL4 = 5 // VIRTIO_NET_HDR_GSO_UDP_L4: datagrams of gso_size (USO, UDP_GRO); read from Linux 6.2 on
)

const (
	ipHeader  = 20
	udpHeader = 8
)

// Parse reads a frame as the packet socket of Open gives it: a virtio-net header, then the link's header, then IPv4. link is
// the ARPHRD type, by which the IP header is found where aux does not tell.
//
// It accepts what the kernel's IP and UDP would: header checksum, lengths and UDP checksum are verified, the last unless it is
// not filled in yet, was verified, or is absent. Padding is cut off. What it returns is never longer than what the headers say.
func Parse(b []byte, link uint16, aux Aux, want Want) (Datagram, Verdict) {
	if len(b) < virtioHeader {
		return Datagram{}, BadHeader
	}
	flags, gso, size := b[0], b[1], int(binary.NativeEndian.Uint16(b[4:]))
	if aux.VLAN != 0 {
		return Datagram{}, NotOurs // of a VLAN that has no interface here, or has one that is not ours
	}
	ip, ok := network(b[virtioHeader:], link, aux.Network)
	if !ok {
		return Datagram{}, NotOurs
	}
	d, body, v := parseIP(ip, want)
	if v != Whole {
		return d, v
	}
	if v = d.parseUDP(body, want); v != Whole {
		return d, v
	}
	switch {
	case gso == virtioGSOUDPL4 && size > 0:
		d.Segment = min(size, len(d.Payload))
	case gso != virtioGSONone && gso != virtioGSOUDP:
		return d, UnknownSegment
	}
	if flags&virtioNeedsChecksum == 0 && flags&virtioDataValid == 0 && !aux.ChecksumNotReady && !aux.ChecksumValid &&
		!checksumRight(d.Source, want.Group, body[:udpHeader+len(d.Payload)]) {
		return d, BadChecksum
	}
	return d, Whole
}

// network returns the frame from its IP header on. The kernel tells where that is (tp_net); without that word the link says.
func network(frame []byte, link uint16, offset int) ([]byte, bool) {
	if offset > 0 || (offset == 0 && !ethernet(link)) {
		if offset > len(frame) {
			return nil, false
		}
		return frame[offset:], true
	}
	if !ethernet(link) {
		return frame, true
	}
	const etherHeader, tag = 14, 4
	for at := etherHeader - 2; len(frame) >= at+2; at += tag {
		switch binary.BigEndian.Uint16(frame[at:]) {
		case unix.ETH_P_IP:
			return frame[at+2:], true
		case unix.ETH_P_8021Q, unix.ETH_P_8021AD: // the tag follows, and then the next type
			continue
		}
		return nil, false
	}
	return nil, false
}

// ethernet says that frames of the link begin with an Ethernet header.
func ethernet(link uint16) bool { return link == unix.ARPHRD_ETHER || link == unix.ARPHRD_LOOPBACK }

// parseIP reads the IPv4 header (RFC 791), and returns the IP payload of what is no fragment.
func parseIP(ip []byte, want Want) (d Datagram, body []byte, v Verdict) {
	if len(ip) < ipHeader || ip[0]>>4 != 4 {
		return d, nil, BadHeader
	}
	head, total := int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
	if head < ipHeader || total < head || total > len(ip) {
		return d, nil, BadHeader
	}
	if ip[9] != unix.IPPROTO_UDP || binary.BigEndian.Uint32(ip[16:]) != want.Group {
		return d, nil, NotOurs
	}
	if fold(sum(0, ip[:head])) != 0xffff {
		return d, nil, BadHeader
	}
	d.Source, d.TTL, d.TOS = binary.BigEndian.Uint32(ip[12:]), ip[8], ip[1]
	body = ip[head:total:total]
	const moreFragments, offsetMask = 1 << 13, 1<<13 - 1
	f := binary.BigEndian.Uint16(ip[6:])
	if f&(moreFragments|offsetMask) == 0 {
		return d, body, Whole
	}
	d.ID, d.Offset, d.More, d.Data = binary.BigEndian.Uint16(ip[4:]), int(f&offsetMask)*8, f&moreFragments != 0, body
	if d.Offset == 0 && len(body) >= udpHeader {
		d.Port = binary.BigEndian.Uint16(body[2:]) // another's is for the Reassembler to know
	}
	return d, nil, Fragment
}

// parseUDP reads the UDP header (RFC 768) at the beginning of an IP payload.
func (d *Datagram) parseUDP(body []byte, want Want) Verdict {
	if len(body) < udpHeader {
		return BadHeader
	}
	d.SourcePort, d.Port = binary.BigEndian.Uint16(body), binary.BigEndian.Uint16(body[2:])
	if want.Port != 0 && d.Port != want.Port {
		return NotOurs
	}
	n := int(binary.BigEndian.Uint16(body[4:]))
	if n < udpHeader || n > len(body) {
		return BadHeader
	}
	d.Payload = body[udpHeader:n:n]
	d.Segment = len(d.Payload)
	return Whole
}
