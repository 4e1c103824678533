// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"encoding/binary"
	"hash/crc32"
	"time"
)

// HeaderLen is the length of the header; all of it big endian:
//
//	0 magic u32 | 4 stream u32 | 8 sequence u64 | 16 send time, ns since 1970, i64 | 24 CRC-32C of all other bytes
const HeaderLen = 28

// MaxSize is the largest UDP payload that IPv4 carries.
const MaxSize = 65507

const (
	magic  = 0x4d435247 // "MCRG"
	crcAt  = 24
	seqAt  = 8
	timeAt = 16
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Header is what a datagram says about itself.
type Header struct {
	Stream uint32
	Seq    uint64
	Sent   time.Time // the sender's clock
}

// Verdict is what Parse thinks of a datagram.
type Verdict uint8

// Verdicts.
const (
	Whole     Verdict = iota // all there and unchanged
	Short                    // smaller than the header, as far as can be seen one of ours
	Corrupted                // ours, but changed, cut or joined with another
	Foreign                  // not ours
)

// Put writes the header of a datagram over the first bytes of p, as far as they go, and leaves the filling as it is.
func (h Header) Put(p []byte) {
	var short [HeaderLen]byte
	b := p
	if len(p) < HeaderLen {
		b = short[:]
	}
	binary.BigEndian.PutUint32(b, magic)
	binary.BigEndian.PutUint32(b[4:], h.Stream)
	binary.BigEndian.PutUint64(b[seqAt:], h.Seq)
	binary.BigEndian.PutUint64(b[timeAt:], uint64(h.Sent.UnixNano()))
	binary.BigEndian.PutUint32(b[crcAt:], checksum(b))
	if len(p) < HeaderLen {
		copy(p, b)
	}
}

// Parse reads and judges a datagram. The Header is valid for Whole alone.
func Parse(p []byte) (Header, Verdict) {
	if len(p) < HeaderLen {
		want := binary.BigEndian.AppendUint32(nil, magic)
		for i := range min(len(p), len(want)) {
			if p[i] != want[i] {
				return Header{}, Foreign
			}
		}
		return Header{}, Short
	}
	if binary.BigEndian.Uint32(p) != magic {
		return Header{}, Foreign
	}
	if binary.BigEndian.Uint32(p[crcAt:]) != checksum(p) {
		return Header{}, Corrupted
	}
	return Header{
		Stream: binary.BigEndian.Uint32(p[4:]),
		Seq:    binary.BigEndian.Uint64(p[seqAt:]),
		Sent:   time.Unix(0, int64(binary.BigEndian.Uint64(p[timeAt:]))),
	}, Whole
}

// checksum leaves its own four bytes out. p is at least HeaderLen long.
func checksum(p []byte) uint32 {
	return crc32.Update(crc32.Checksum(p[:crcAt], castagnoli), castagnoli, p[HeaderLen:])
}
