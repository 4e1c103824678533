// SPDX-License-Identifier: Apache-2.0

package afpacket

import (
	"encoding/binary"
	"math/bits"

	"golang.org/x/sys/unix"
)

// checksumRight verifies the checksum of a UDP datagram (RFC 768), header included. One that is absent is right.
func checksumRight(source, dest uint32, udp []byte) bool {
	pseudo := uint64(source) + uint64(dest) + unix.IPPROTO_UDP + uint64(len(udp))
	return udp[6]|udp[7] == 0 || fold(sum(pseudo, udp)) == 0xffff
}

// sum adds b, as big-endian 16-bit words, in ones' complement (RFC 1071), to an earlier sum of an even number of bytes. Eight
// bytes at a time: 2^64 is 1 modulo 2^16 - 1, so that carries come round.
func sum(s uint64, b []byte) uint64 {
	var carry uint64
	for len(b) >= 32 {
		s, carry = bits.Add64(s, binary.BigEndian.Uint64(b), 0)
		s, carry = bits.Add64(s, binary.BigEndian.Uint64(b[8:]), carry)
		s, carry = bits.Add64(s, binary.BigEndian.Uint64(b[16:]), carry)
		s, carry = bits.Add64(s, binary.BigEndian.Uint64(b[24:]), carry)
		s, carry = bits.Add64(s, carry, 0)
		s += carry
		b = b[32:]
	}
	for len(b) >= 8 {
		s, carry = bits.Add64(s, binary.BigEndian.Uint64(b), 0)
		s += carry
		b = b[8:]
	}
	var last [8]byte
	copy(last[:], b)
	s, carry = bits.Add64(s, binary.BigEndian.Uint64(last[:]), 0)
	return s + carry
}

// fold makes 16 bits of a sum.
func fold(s uint64) uint16 {
	s = s>>32 + s&0xffffffff
	s = s>>32 + s&0xffffffff
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	return uint16(s>>16 + s)
}
