// SPDX-License-Identifier: Apache-2.0

package main

// The counting sink: a tc (tcx, kernel 6.6) ingress program on the receiving veth. It adds the number of datagrams
// (gso_segs of a super-packet) to the slot of the destination 10.9.x.y, in an array indexed by x*256+y, and drops
// the packet, or lets it pass to real sockets where the slot says so. So the sink costs every forwarder the same.

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

const slots = 65536

type slot struct{ Packets, Pass uint64 }

type insn struct {
	op   uint8
	regs uint8 // dst | src<<4
	off  int16
	imm  int32
}

func bpfCall(cmd int, attr unsafe.Pointer, size uintptr) (int, error) {
	r, _, e := unix.Syscall(unix.SYS_BPF, uintptr(cmd), uintptr(attr), size)
	if e != 0 {
		return -1, e
	}
	return int(r), nil
}

type counter struct{ mapFD, progFD, linkFD int }

func newCounter(ifindex int) (*counter, error) {
	m := struct{ typ, key, val, max, flags uint32 }{2 /* ARRAY */, 4, 16, slots, 0}
	mapFD, err := bpfCall(0, unsafe.Pointer(&m), unsafe.Sizeof(m))
	if err != nil {
		return nil, fmt.Errorf("bpf map: %w", err)
	}
	const (
		dataOff, endOff, segsOff = 76, 80, 164 // struct __sk_buff
		out                      = -1          // patched: jump to "pass"
	)
	prog := []insn{
		{0xbf, 6 | 1<<4, 0, 0},            // r6 = ctx
		{0x61, 2 | 6<<4, dataOff, 0},      // r2 = data
		{0x61, 3 | 6<<4, endOff, 0},       // r3 = data_end
		{0xbf, 4 | 2<<4, 0, 0},            // r4 = r2
		{0x07, 4, 0, 34},                  // r4 += 34
		{0x2d, 4 | 3<<4, out, 0},          // if r4 > r3 pass
		{0x69, 4 | 2<<4, 12, 0},           // r4 = ethertype
		{0x55, 4, out, 0x0008},            // if != 0x0800 pass
		{0x71, 4 | 2<<4, 23, 0},           // r4 = protocol
		{0x55, 4, out, 17},                // if != UDP pass
		{0x69, 4 | 2<<4, 30, 0},           // r4 = first half of the destination
		{0x55, 4, out, 0x090a},            // if != 10.9 pass
		{0x71, 4 | 2<<4, 32, 0},           // r4 = x
		{0x67, 4, 0, 8},                   // r4 <<= 8
		{0x71, 5 | 2<<4, 33, 0},           // r5 = y
		{0x4f, 4 | 5<<4, 0, 0},            // r4 |= r5
		{0x63, 10 | 4<<4, -4, 0},          // key = r4
		{0x18, 1 | 1<<4, 0, int32(mapFD)}, // r1 = map
		{0, 0, 0, 0},                      //
		{0xbf, 2 | 10<<4, 0, 0},           // r2 = fp
		{0x07, 2, 0, -4},                  // r2 -= 4
		{0x85, 0, 0, 1},                   // map_lookup_elem
		{0x15, 0, out, 0},                 // if null pass
		{0x61, 1 | 6<<4, segsOff, 0},      // r1 = gso_segs
		{0x55, 1, 1, 0},                   // if != 0 skip
		{0xb7, 1, 0, 1},                   // r1 = 1
		{0xdb, 0 | 1<<4, 0, 0},            // lock *(u64*)(r0+0) += r1
		{0x79, 1 | 0<<4, 8, 0},            // r1 = pass flag
		{0x55, 1, out, 0},                 // if pass
		{0xb7, 0, 0, 2},                   // TC_ACT_SHOT
		{0x95, 0, 0, 0},                   //
		{0xb7, 0, 0, -1},                  // pass: TCX_NEXT
		{0x95, 0, 0, 0},                   //
	}
	for i := range prog {
		if prog[i].off == out && prog[i].op != 0 {
			prog[i].off = int16(len(prog) - 2 - i - 1)
		}
	}
	var code bytes.Buffer
	binary.Write(&code, binary.LittleEndian, func() (b []byte) {
		for _, in := range prog {
			var e [8]byte
			e[0], e[1] = in.op, in.regs
			binary.LittleEndian.PutUint16(e[2:], uint16(in.off))
			binary.LittleEndian.PutUint32(e[4:], uint32(in.imm))
			b = append(b, e[:]...)
		}
		return
	}())
	text, lic, log := code.Bytes(), []byte("GPL\x00"), make([]byte, 65536)
	p := struct {
		typ, cnt           uint32
		insns, lic         uint64
		logLevel, logSize  uint32
		logBuf             uint64
		kver, flags        uint32
		name               [16]byte
		ifindex, attachTyp uint32
	}{
		typ: 3 /* SCHED_CLS */, cnt: uint32(len(prog)), insns: uptr(&text[0]), lic: uptr(&lic[0]),
		logLevel: 1, logSize: uint32(len(log)), logBuf: uptr(&log[0]), attachTyp: 46,
	}
	copy(p.name[:], "mcrbench")
	progFD, err := bpfCall(5, unsafe.Pointer(&p), unsafe.Sizeof(p))
	if err != nil {
		return nil, fmt.Errorf("bpf prog: %w\n%s", err, bytes.TrimRight(log, "\x00"))
	}
	l := struct {
		prog, ifindex, typ, flags uint32
		pad                       [4]uint64
	}{uint32(progFD), uint32(ifindex), 46 /* TCX_INGRESS */, 0, [4]uint64{}}
	linkFD, err := bpfCall(28, unsafe.Pointer(&l), unsafe.Sizeof(l))
	if err != nil {
		return nil, fmt.Errorf("bpf tcx link (kernel 6.6 or newer): %w", err)
	}
	return &counter{mapFD, progFD, linkFD}, nil
}

func uptr(b *byte) uint64 { return uint64(uintptr(unsafe.Pointer(b))) }

func (c *counter) elem(cmd int, key uint32, v *slot) error {
	a := struct {
		fd              uint32
		_               uint32
		key, val, flags uint64
	}{fd: uint32(c.mapFD), key: uint64(uintptr(unsafe.Pointer(&key))), val: uint64(uintptr(unsafe.Pointer(v)))}
	_, err := bpfCall(cmd, unsafe.Pointer(&a), unsafe.Sizeof(a))
	return err
}

// Close detaches the program and drops the map.
func (c *counter) Close() {
	for _, fd := range []int{c.linkFD, c.progFD, c.mapFD} {
		unix.Close(fd)
	}
}

// Set zeroes the slot and says whether its packets go on to sockets.
func (c *counter) Set(key uint32, pass bool) error {
	var v slot
	if pass {
		v.Pass = 1
	}
	return c.elem(2, key, &v)
}

// Read returns the packets of each key.
func (c *counter) Read(keys []uint32) ([]uint64, error) {
	out := make([]uint64, len(keys))
	var v slot
	for i, k := range keys {
		if err := c.elem(1, k, &v); err != nil {
			return nil, err
		}
		out[i] = v.Packets
	}
	return out, nil
}

// Sum is the packets of all keys together.
func (c *counter) Sum(keys []uint32) (sum uint64, err error) {
	each, err := c.Read(keys)
	for _, x := range each {
		sum += x
	}
	return sum, err
}
