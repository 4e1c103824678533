// SPDX-License-Identifier: Apache-2.0

package afpacket

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Aux is what the control messages of a frame said.
type Aux struct {
	Network          int    // offset of the network header in the frame; -1: not told
	VLAN             uint16 // id of the VLAN tag that the kernel took off; 0: none, or a tag of priority alone
	ChecksumValid    bool
	ChecksumNotReady bool
	Stamp            int64 // when it arrived (SO_TIMESTAMPNS), Unix ns; 0: not told
}

// Status bits of struct tpacket_auxdata, include/uapi/linux/if_packet.h.
const (
	statusChecksumNotReady = 1 << 3 // TP_STATUS_CSUMNOTREADY
	statusVLANValid        = 1 << 4 // TP_STATUS_VLAN_VALID
	statusChecksumValid    = 1 << 7 // TP_STATUS_CSUM_VALID, 4.5
)

// A control message is struct cmsghdr, <sys/socket.h>: length (u64, header included), level (i32), type (i32), then
// the data; the next begins at a multiple of 8.
const cmsgHeader = 16

// auxdata is sizeof(struct tpacket_auxdata), Linux 2.6.27: tp_status u32, tp_len u32, tp_snaplen u32, tp_mac u16, tp_net u16,
// tp_vlan_tci u16, tp_vlan_tpid u16.
const auxdata = 20

// ControlSpace is the room that the control messages of a frame take, bytes.
const ControlSpace = cmsgHeader + auxdata + 4 + cmsgHeader + 16

// ParseAux reads PACKET_AUXDATA and SCM_TIMESTAMPNS. It stops at what is malformed.
func ParseAux(b []byte) Aux {
	a := Aux{Network: -1}
	for len(b) >= cmsgHeader {
		n := binary.NativeEndian.Uint64(b)
		if n < cmsgHeader || n > uint64(len(b)) {
			break
		}
		data := b[cmsgHeader:n]
		level, kind := binary.NativeEndian.Uint32(b[8:]), binary.NativeEndian.Uint32(b[12:])
		switch {
		case level == unix.SOL_SOCKET && kind == unix.SCM_TIMESTAMPNS && len(data) >= 16: // struct timespec
			a.Stamp = int64(binary.NativeEndian.Uint64(data))*1e9 + int64(binary.NativeEndian.Uint64(data[8:]))
		case level == unix.SOL_PACKET && kind == unix.PACKET_AUXDATA && len(data) >= auxdata:
			status := binary.NativeEndian.Uint32(data)
			a.Network = int(binary.NativeEndian.Uint16(data[14:]))
			a.ChecksumValid, a.ChecksumNotReady = status&statusChecksumValid != 0, status&statusChecksumNotReady != 0
			if status&statusVLANValid != 0 {
				a.VLAN = binary.NativeEndian.Uint16(data[16:]) & 0xfff
			}
		}
		b = b[min(uint64(len(b)), (n+7)&^7):]
	}
	return a
}
