// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"encoding/binary"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// option is an integer socket option.
type option struct{ level, name, value int }

func setOptions(fd int, opts []option) error {
	for _, o := range opts {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return fmt.Errorf("socket option %d/%d = %d: %w", o.level, o.name, o.value, err)
		}
	}
	return nil
}

func withFD(rc syscall.RawConn, f func(fd int) error) error {
	var err error
	if e := rc.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
		return e
	}
	return err
}

// segmentSize is the control message UDP_SEGMENT, a u16: include/uapi/linux/udp.h, Linux 4.18.
func segmentSize(n int) []byte {
	b := binary.NativeEndian.AppendUint64(nil, uint64(unix.CmsgLen(2)))
	b = binary.NativeEndian.AppendUint32(b, unix.IPPROTO_UDP)
	b = binary.NativeEndian.AppendUint32(b, unix.UDP_SEGMENT)
	b = binary.NativeEndian.AppendUint16(b, uint16(n))
	return append(b, make([]byte, unix.CmsgSpace(2)-len(b))...)
}
