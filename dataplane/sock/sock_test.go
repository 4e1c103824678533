// SPDX-License-Identifier: Apache-2.0

package sock

import (
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

func cmsg(level, kind uint32, data ...byte) []byte {
	b := make([]byte, cmsgHeader, cmsgSpace)
	binary.NativeEndian.PutUint64(b, uint64(cmsgHeader+len(data)))
	binary.NativeEndian.PutUint32(b[8:], level)
	binary.NativeEndian.PutUint32(b[12:], kind)
	b = append(b, data...)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	return b
}

func join(bs ...[]byte) (all []byte) {
	for _, b := range bs {
		all = append(all, b...)
	}
	return all
}

func TestParseControl(t *testing.T) {
	ttl, tos := cmsg(unix.IPPROTO_IP, unix.IP_TTL, 7, 0, 0, 0), cmsg(unix.IPPROTO_IP, unix.IP_TOS, 0xb8)
	gro := cmsg(unix.IPPROTO_UDP, unix.UDP_GRO, 0x24, 0x05, 0, 0)
	for _, c := range []struct {
		name string
		in   []byte
		want Control
	}{
		{"nothing", nil, Control{}},
		{"all three", join(ttl, tos, gro), Control{TTL: 7, TOS: 0xb8, Segment: 1316}},
		{"unknown ones are passed over", join(cmsg(1, 2, 3), gro, cmsg(9, 9)), Control{Segment: 1316}},
		{"the last is cut short", join(ttl, tos[:17], gro[:3])[:40], Control{TTL: 7}},
		{"too short for its kind", join(cmsg(unix.IPPROTO_IP, unix.IP_TTL, 7), tos), Control{TOS: 0xb8}},
		{"length below the header", join(ttl, make([]byte, 24), tos), Control{TTL: 7}},
		{"a time stamp", join(ttl, cmsg(unix.SOL_SOCKET, unix.SCM_TIMESTAMPNS, 2, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0)), Control{TTL: 7, Stamp: 2e9 + 5}},
		{"negative segment", cmsg(unix.IPPROTO_UDP, unix.UDP_GRO, 0, 0, 0, 0x80), Control{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ParseControl(c.in); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestPutControl(t *testing.T) {
	b := make([]byte, ControlSpace)
	if n := PutControl(b, 0, 0, -1); n != 0 {
		t.Errorf("nothing takes %d bytes", n)
	}
	if n := PutControl(b, 1316, 5, 0xb8); n != ControlSpace {
		t.Errorf("all takes %d bytes", n)
	}
	n := PutControl(b, 0, 5, 0xb8)
	if got := ParseControl(b[:n]); got != (Control{TTL: 5, TOS: 0xb8}) {
		t.Errorf("read back %+v", got)
	}
}

func FuzzParseControl(f *testing.F) {
	f.Add([]byte{})
	f.Add(cmsg(unix.IPPROTO_IP, unix.IP_TTL, 7, 0, 0, 0))
	f.Add(join(cmsg(unix.IPPROTO_IP, unix.IP_TOS, 1), cmsg(unix.IPPROTO_UDP, unix.UDP_GRO, 1, 0, 0, 0)))
	f.Add(cmsg(unix.IPPROTO_UDP, unix.UDP_GRO)[:cmsgHeader])
	f.Add(cmsg(unix.SOL_SOCKET, unix.SCM_TIMESTAMPNS, 2, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 2, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if c := ParseControl(b); c.Segment < 0 {
			t.Errorf("segment %d", c.Segment)
		}
	})
}

// F6: this kernel does not damage segmented datagrams, or is known to.
func TestCheckSegmentation(t *testing.T) {
	if err := CheckSegmentation(); errors.Is(err, ErrDamaged) {
		t.Errorf("segmentation is off on this kernel: %v", err)
	}
}

func TestArena(t *testing.T) {
	var a Arena
	xs, err := Make[uint64](&a, 1000)
	if err != nil || len(xs) != 1000 || a.Size() != 8192 {
		t.Fatalf("%d elements, %d bytes: %v", len(xs), a.Size(), err)
	}
	xs[999] = 1
	a.Free()
	a.Free()
	if a.Size() != 0 {
		t.Errorf("%d bytes after Free", a.Size())
	}
}
