// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const ethtoolSTXCSUM = 0x17 // ETHTOOL_STXCSUM, linux/ethtool.h

// ethtoolSet does SIOCETHTOOL with a struct ethtool_value {__u32 cmd; __u32 data}, in the namespace of the thread.
func ethtoolSet(name string, cmd, data uint32) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	value := [2]uint32{cmd, data}
	ifreq := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&value)}
	copy(ifreq.name[:unix.IFNAMSIZ-1], name)
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&ifreq))); e != 0 {
		return e
	}
	return nil
}
