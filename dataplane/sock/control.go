// SPDX-License-Identifier: Apache-2.0

package sock

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// A control message is struct cmsghdr, <sys/socket.h>: length (u64, header included), level (i32), type (i32), then
// the data; the next begins at a multiple of 8.
const (
	cmsgHeader = 16
	cmsgSpace  = cmsgHeader + 8 // of each message that is used here

	// ControlSpace is the room that PutControl needs at most, bytes.
	ControlSpace = 3 * cmsgSpace

	// ReceiveSpace is the room that the messages of a receive point take, bytes: TTL, TOS, segment size and, while it is wanted,
	// the time stamp.
	ReceiveSpace = ControlSpace + cmsgHeader + 16
)

// Control is what the control messages of a received datagram said. 0 where they did not.
type Control struct {
	TTL, TOS uint8
	Segment  int   // size of the segments of a coalesced datagram (UDP_GRO), bytes
	Stamp    int64 // when it arrived, Unix ns
}

// ParseControl reads IP_TTL, IP_TOS (IP_RECVTTL, IP_RECVTOS), UDP_GRO and SCM_TIMESTAMPNS. It stops at what is malformed.
func ParseControl(b []byte) Control {
	var c Control
	for len(b) >= cmsgHeader {
		n := binary.NativeEndian.Uint64(b)
		if n < cmsgHeader || n > uint64(len(b)) {
			break
		}
		data := b[cmsgHeader:n]
		switch cmsgKind(b) {
		case kindTTL:
			if len(data) >= 4 {
				c.TTL = uint8(binary.NativeEndian.Uint32(data))
			}
		case kindTOS:
			if len(data) >= 1 {
				c.TOS = data[0]
			}
		case kindGRO:
			if len(data) >= 4 {
				c.Segment = int(int32(binary.NativeEndian.Uint32(data)))
			}
		case kindStamp:
			if len(data) >= 16 { // struct timespec
				c.Stamp = int64(binary.NativeEndian.Uint64(data))*1e9 + int64(binary.NativeEndian.Uint64(data[8:]))
			}
		}
		b = b[min(uint64(len(b)), (n+7)&^7):]
	}
	c.Segment = max(c.Segment, 0)
	return c
}

const (
	kindTTL     = unix.IPPROTO_IP<<32 | unix.IP_TTL
	kindTOS     = unix.IPPROTO_IP<<32 | unix.IP_TOS
	kindGRO     = unix.IPPROTO_UDP<<32 | unix.UDP_GRO
	kindSegment = unix.IPPROTO_UDP<<32 | unix.UDP_SEGMENT
	kindStamp   = unix.SOL_SOCKET<<32 | unix.SCM_TIMESTAMPNS
)

func cmsgKind(b []byte) uint64 {
	return uint64(binary.NativeEndian.Uint32(b[8:]))<<32 | uint64(binary.NativeEndian.Uint32(b[12:]))
}

// PutControl writes the control messages of a send into b, which must hold ControlSpace bytes, and returns how long
// they are. A segment or ttl of 0, and a negative tos, are left out.
func PutControl(b []byte, segment uint16, ttl uint8, tos int) int {
	n := 0
	put := func(kind uint64, size int) []byte {
		m := b[n : n+cmsgSpace]
		clear(m)
		binary.NativeEndian.PutUint64(m, uint64(cmsgHeader+size))
		binary.NativeEndian.PutUint32(m[8:], uint32(kind>>32))
		binary.NativeEndian.PutUint32(m[12:], uint32(kind))
		n += cmsgSpace
		return m[cmsgHeader:]
	}
	if segment > 0 {
		binary.NativeEndian.PutUint16(put(kindSegment, 2), segment)
	}
	if ttl > 0 {
		binary.NativeEndian.PutUint32(put(kindTTL, 4), uint32(ttl))
	}
	if tos >= 0 {
		binary.NativeEndian.PutUint32(put(kindTOS, 4), uint32(tos))
	}
	return n
}
