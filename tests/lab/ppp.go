// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"net"
	"sync"

	"golang.org/x/sys/unix"
)

// pxProtoOE is PX_PROTO_OE, include/uapi/linux/if_pppox.h.
const pxProtoOE = 0

// PPPoE makes one end of a PPP session over a cable, up, whose other end is the host with that hardware address. Nothing is
// negotiated: the kernel's driver wants no more than the two addresses and the number of the session (drivers/net/ppp/pppoe.c and
// ppp_generic.c, which passes IP at once). The interface is gone with remove, or with the test.
func (h *Host) PPPoE(name, cable string, far net.HardwareAddr) (remove func()) {
	h.t.Helper()
	var fds []int
	remove = sync.OnceFunc(func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	})
	h.t.Cleanup(remove)
	unit := -1
	err := h.Do(func() (err error) {
		open := func(what string, fd int, err error) (int, error) {
			if err != nil {
				return -1, fmt.Errorf("%s: %w", what, err)
			}
			fds = append([]int{fd}, fds...) // closed in the opposite order
			return fd, nil
		}
		fd, err := unix.Socket(unix.AF_PPPOX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, pxProtoOE)
		session, err := open("session", fd, err)
		if err != nil {
			return err
		}
		if err := unix.Connect(session, &unix.SockaddrPPPoE{SID: 1, Remote: far, Dev: cable}); err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		number, err := unix.IoctlGetInt(session, unix.PPPIOCGCHAN)
		if err != nil {
			return fmt.Errorf("PPPIOCGCHAN: %w", err)
		}
		fd, err = unix.Open("/dev/ppp", unix.O_RDWR|unix.O_CLOEXEC, 0)
		channel, err := open("channel", fd, err)
		if err != nil {
			return err
		}
		if err := unix.IoctlSetPointerInt(channel, unix.PPPIOCATTCHAN, number); err != nil {
			return fmt.Errorf("PPPIOCATTCHAN: %w", err)
		}
		fd, err = unix.Open("/dev/ppp", unix.O_RDWR|unix.O_CLOEXEC, 0)
		iface, err := open("interface", fd, err)
		if err != nil {
			return err
		}
		if err := unix.IoctlSetPointerInt(iface, unix.PPPIOCNEWUNIT, -1); err != nil {
			return fmt.Errorf("PPPIOCNEWUNIT: %w", err)
		}
		if unit, err = unix.IoctlGetInt(iface, unix.PPPIOCGUNIT); err != nil {
			return fmt.Errorf("PPPIOCGUNIT: %w", err)
		}
		if err := unix.IoctlSetPointerInt(channel, unix.PPPIOCCONNECT, unit); err != nil {
			return fmt.Errorf("PPPIOCCONNECT: %w", err)
		}
		return nil
	})
	if err != nil {
		h.fatal(err, "PPPoE over %s", cable)
	}
	h.Rename(fmt.Sprintf("ppp%d", unit), name)
	h.MTU(name, 1492) // RFC 2516
	h.Up(name)
	return remove
}
