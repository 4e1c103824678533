// SPDX-License-Identifier: Apache-2.0

package afpacket

import (
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// MaxExcluded is how many ports a filter keeps out; what is beyond comes through. They are compared one by one, some 0.5 ns each, and
// the program is charged to net.core.optmem_max (20 KiB by default before Linux 6.8).
const MaxExcluded = 400

// Filter says which frames of an interface a socket keeps: UDP to the group, addressed to this host, and not of a VLAN or another
// interface above the one that it is bound to.
type Filter struct {
	Group  uint32
	Port   uint16   // 0: every port but Except
	Except []uint16 // of Port 0
	// Fragments keeps all fragments, of whatever port: those after the first do not tell theirs, and a Reassembler has to know which
	// of them belong to another's first.
	Fragments bool
	// HeadOnly keeps one byte of each: enough to count.
	HeadOnly bool
}

// netOffset, SKF_NET_OFF of include/uapi/linux/filter.h, makes an offset one into the network header, which must lie in the linear
// part of the packet. For links whose header has no fixed length, such as a GRE tunnel's.
const netOffset = 1<<32 - 0x100000

// etherOffset is where the network header begins in an Ethernet frame: the kernel took off the VLAN tag.
const etherOffset = 14

func (f *Filter) program(ifIndex int, link uint16) []bpf.Instruction {
	ip := uint32(netOffset)
	if ethernet(link) {
		ip = etherOffset
	}
	keep := bpf.RetConstant{Val: 1 << 18}
	if f.HeadOnly {
		keep.Val = 1
	}
	drop := bpf.RetConstant{Val: 0}
	const moreFragments, offsetMask = 1 << 13, 1<<13 - 1
	fragment, verdict := uint32(offsetMask), drop // those that do not tell their port
	if f.Fragments {
		fragment, verdict = moreFragments|offsetMask, keep
	}
	// Each test falls through to the next, or skips to the RET behind it.
	prog := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtInterfaceIndex}, // of the VLAN interface, for its frames
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(ifIndex), SkipTrue: 1},
		drop,
		bpf.LoadExtension{Num: bpf.ExtType}, // PACKET_OTHERHOST is another's, PACKET_OUTGOING our own
		bpf.JumpIf{Cond: bpf.JumpLessOrEqual, Val: unix.PACKET_MULTICAST, SkipTrue: 1},
		drop,
		bpf.LoadAbsolute{Off: ip + 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_UDP, SkipTrue: 1},
		drop,
		bpf.LoadAbsolute{Off: ip + 16, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: f.Group, SkipTrue: 1},
		drop,
		bpf.LoadAbsolute{Off: ip + 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: fragment, SkipTrue: 1},
		verdict,
		bpf.LoadMemShift{Off: ip},
		bpf.LoadIndirect{Off: ip + 2, Size: 2},
	}
	if f.Port != 0 {
		return append(prog, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(f.Port), SkipTrue: 1}, drop, keep)
	}
	for _, port := range f.Except[:min(len(f.Except), MaxExcluded)] {
		prog = append(prog, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(port), SkipTrue: 1}, drop)
	}
	return append(prog, keep)
}

// attach swaps the filter of fd, for frames that come from now on.
func attach(fd int, prog []bpf.Instruction) error {
	raw, err := bpf.Assemble(prog)
	if err != nil {
		return fmt.Errorf("assemble filter: %w", err)
	}
	code := make([]unix.SockFilter, len(raw))
	for i, in := range raw {
		code[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}); err != nil {
		return fmt.Errorf("set SO_ATTACH_FILTER: %w", err)
	}
	return nil
}
