// SPDX-License-Identifier: Apache-2.0

package config

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// The digest of a configuration is a SHA-256 over the frame of the rules and a sum over the rules; that of a rule likewise
// over its outputs. A sum adds SHA-256 hashes, so that one output of ten thousand is taken out and put in without a look
// at the others. Equal configurations have equal digests, and others do not by chance; it protects from no forger.

// sum adds hashes, whatever their order: four numbers modulo 2^64.
type sum [4]uint64

func (s *sum) add(h sum) {
	for i := range s {
		s[i] += h[i]
	}
}

func (s *sum) sub(h sum) {
	for i := range s {
		s[i] -= h[i]
	}
}

func hashOf(text []byte) (h sum) {
	b := sha256.Sum256(text)
	for i := range h {
		h[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return h
}

// hash is that of a list in its frame, with the sum of its entries.
func (f frame) hash(entries sum) sum { return hashOf(f.text(entries)) }

func (f frame) text(entries sum) []byte {
	b := make([]byte, 0, len(f.before)+len(f.after)+8*len(entries))
	b = append(b, f.before...)
	for _, n := range entries {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	return append(b, f.after...)
}

// digest is hash as text.
func (f frame) digest(entries sum) string {
	b := sha256.Sum256(f.text(entries))
	return hex.EncodeToString(b[:])
}
