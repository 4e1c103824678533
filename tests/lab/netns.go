// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// made holds the inode of each namespace that is open, for CheckLeaks.
var made struct {
	sync.Mutex
	inodes map[uint64]bool // true while open
}

func newNetns() (ns netns.NsHandle, err error) {
	err = away(func() error {
		ns, err = netns.New()
		return err
	})
	if err != nil {
		return ns, fmt.Errorf("new network namespace: %w", err)
	}
	ino, err := inode(ns)
	if err != nil {
		return ns, errors.Join(err, ns.Close())
	}
	made.Lock()
	defer made.Unlock()
	if made.inodes == nil {
		made.inodes = map[uint64]bool{}
	}
	made.inodes[ino] = true
	return ns, nil
}

func closeNetns(ns netns.NsHandle) {
	if ino, err := inode(ns); err == nil {
		made.Lock()
		made.inodes[ino] = false
		made.Unlock()
	}
	ns.Close()
}

func inode(ns netns.NsHandle) (uint64, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(ns), &st)
	return st.Ino, err
}

// away runs f on a thread that may change its network namespace, and brings the thread home. It is not left to die
// instead: it may be the process's main thread, which cannot.
func away(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get() // of this thread
	if err != nil {
		return err
	}
	defer home.Close()
	defer func() {
		if err := netns.Set(home); err != nil {
			panic(fmt.Sprintf("lab: thread cannot return to its network namespace: %v", err))
		}
	}()
	return f()
}

// Do runs f with the calling thread in the host's network namespace. Sockets made in f stay there; goroutines started
// in f do not.
func (h *Host) Do(f func() error) error {
	return away(func() error {
		if err := netns.Set(h.ns); err != nil {
			return fmt.Errorf("enter host %s: %w", h.Name, err)
		}
		return f()
	})
}

// Sysctl writes a setting of the host, such as "net/ipv4/ip_local_port_range".
func (h *Host) Sysctl(name, value string) {
	h.t.Helper()
	if err := h.Do(func() error { return os.WriteFile("/proc/sys/"+name, []byte(value), 0) }); err != nil {
		h.fatal(err, "sysctl %s = %q", name, value)
	}
}

// Forward makes the host's kernel a unicast router, or not.
func (h *Host) Forward(on bool) {
	h.t.Helper()
	h.Sysctl("net/ipv4/ip_forward", strconv.Itoa(map[bool]int{true: 1}[on]))
}
