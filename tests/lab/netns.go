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

// made is what CheckLeaks looks at.
var made struct {
	sync.Mutex
	open   map[uint64]bool   // inodes of the namespaces that are open
	closed map[string]uint64 // processes that were left in a namespace when it was closed, with its inode
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
	if made.open == nil {
		made.open, made.closed = map[uint64]bool{}, map[string]uint64{}
	}
	made.open[ino] = true
	return ns, nil
}

// closeNetns looks for processes now, since afterwards another program's namespace may get the inode number.
func closeNetns(ns netns.NsHandle) {
	if ino, err := inode(ns); err == nil {
		made.Lock()
		delete(made.open, ino)
		for _, pid := range inNetns(ino) {
			made.closed[pid] = ino
		}
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
