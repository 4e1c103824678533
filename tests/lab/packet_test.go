// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"net/netip"
	"testing"
)

var from, to = netip.MustParseAddrPort("10.0.0.1:4000"), netip.MustParseAddrPort("239.1.1.1:5000")

func TestDecodeJudgesChecksums(t *testing.T) {
	for name, tc := range map[string]struct {
		change func([]byte)
		open   bool
		want   Checksum
	}{
		"right":        {func([]byte) {}, false, ChecksumRight},
		"odd_byte_off": {func(b []byte) { b[len(b)-1] ^= 1 }, false, ChecksumWrong},
		"left_out":     {func(b []byte) { b[26], b[27] = 0, 0 }, false, ChecksumZero},
		"open":         {func([]byte) {}, true, ChecksumOpen},
		"fragment":     {func(b []byte) { b[6] = 0x20 }, false, ChecksumNone},
	} {
		t.Run(name, func(t *testing.T) {
			b := UDP(from, to, 5, []byte("odd"))
			tc.change(b)
			p, err := decode(b, tc.open)
			if err != nil || p.Checksum != tc.want || p.Src != from || p.Dst != to || p.TTL != 5 {
				t.Errorf("decoded %+v, %v, want checksum %v", p, err, tc.want)
			}
		})
	}
}

func TestReadyLine(t *testing.T) {
	for line, want := range map[string]bool{
		"ready":                                   true,
		"time=x level=INFO msg=ready socket=y":    true,
		`{"level":"INFO","msg":"ready","pid":1}`:  true,
		"time=x level=INFO msg=\"not yet ready\"": false,
		`{"msg":"ready to fail"}`:                 false,
		"":                                        false,
	} {
		if got := isReady(line); got != want {
			t.Errorf("isReady(%q) = %v", line, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(UDP(from, to, 5, nil), false)
	f.Add(UDP(from, to, 5, []byte("some payload"))[:30], true)
	f.Fuzz(func(t *testing.T, b []byte, open bool) {
		if p, err := decode(b, open); err == nil && len(p.Payload) > len(b) {
			t.Errorf("payload of %d bytes out of %d", len(p.Payload), len(b))
		}
	})
}
