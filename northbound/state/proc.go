// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// linkCounters are the kernel's counters of one interface.
type linkCounters struct {
	inOctets, inPackets, inErrors, inDiscards, inMulticast uint64
	outOctets, outPackets, outErrors, outDiscards          uint64
}

// procReader reads /proc for sampled leaves. One reading of /proc/self/net/dev serves all interfaces for a moment.
type procReader struct {
	clock func() time.Time
	root  string // "/proc/self"

	mu    sync.Mutex
	links map[string]linkCounters
	read  time.Time
}

// linksAge is how long one reading of the interfaces' counters serves. A thousand interfaces are sampled one by one.
const linksAge = 50 * time.Millisecond

func newProcReader(clock func() time.Time) *procReader {
	return &procReader{clock: clock, root: "/proc/self"}
}

// link returns the counters of an interface; false: there is no such interface.
func (r *procReader) link(name string) (linkCounters, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock()
	if age := now.Sub(r.read); r.links == nil || age < 0 || age > linksAge {
		b, err := os.ReadFile(r.root + "/net/dev")
		if err != nil {
			return linkCounters{}, false
		}
		r.links, r.read = parseNetDev(b), now
	}
	c, ok := r.links[name]
	return c, ok
}

// parseNetDev reads /proc/net/dev (net/core/net-procfs.c, dev_seq_printf_stats). Lines that do not fit are left out.
//
//	eth0: bytes packets errs drop fifo frame compressed multicast | bytes packets errs drop fifo colls carrier compressed
func parseNetDev(b []byte) map[string]linkCounters {
	out := map[string]linkCounters{}
	for line := range bytes.Lines(b) {
		// A name may hold no colon, so the last one ends it.
		i := bytes.LastIndexByte(line, ':')
		if i < 0 {
			continue
		}
		name := string(bytes.TrimSpace(line[:i]))
		var n [16]uint64
		f := bytes.Fields(line[i+1:])
		if name == "" || len(f) < len(n) {
			continue
		}
		good := true
		for j := range n {
			v, err := strconv.ParseUint(string(f[j]), 10, 64)
			if err != nil {
				good = false
				break
			}
			n[j] = v
		}
		if good {
			out[name] = linkCounters{
				inOctets: n[0], inPackets: n[1], inErrors: n[2], inDiscards: n[3], inMulticast: n[7],
				outOctets: n[8], outPackets: n[9], outErrors: n[10], outDiscards: n[11],
			}
		}
	}
	return out
}

// resident returns the resident memory in bytes, from /proc/self/statm.
func (r *procReader) resident() (uint64, bool) {
	b, err := os.ReadFile(r.root + "/statm")
	if err != nil {
		return 0, false
	}
	return parseStatm(b, uint64(os.Getpagesize()))
}

func parseStatm(b []byte, page uint64) (uint64, bool) {
	f := bytes.Fields(b)
	if len(f) < 2 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(f[1]), 10, 52)
	return n * page, err == nil
}

// openFiles returns the number of open descriptors. From 6.2 on the folder's size is that number; before, they are counted.
func (r *procReader) openFiles() (uint64, bool) {
	st, err := os.Stat(r.root + "/fd")
	if err != nil {
		return 0, false
	}
	if n := st.Size(); n > 0 {
		return uint64(n), true
	}
	d, err := os.Open(r.root + "/fd")
	if err != nil {
		return 0, false
	}
	defer d.Close()
	all, err := d.Readdirnames(-1)
	return uint64(max(len(all)-1, 0)), err == nil // the one it is read through
}

// capabilities returns the names of the effective capabilities, from the line CapEff of /proc/self/status.
func (r *procReader) capabilities() ([]string, bool) {
	b, err := os.ReadFile(r.root + "/status")
	if err != nil {
		return nil, false
	}
	return parseCapabilities(b)
}

func parseCapabilities(status []byte) ([]string, bool) {
	for line := range bytes.Lines(status) {
		hex, ok := strings.CutPrefix(string(line), "CapEff:")
		if !ok {
			continue
		}
		set, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
		if err != nil {
			return nil, false
		}
		var out []string
		for i := range 64 {
			if set&(1<<i) == 0 {
				continue
			}
			if i < len(capabilityNames) {
				out = append(out, capabilityNames[i])
			} else {
				out = append(out, fmt.Sprintf("CAP_%d", i))
			}
		}
		return out, true
	}
	return nil, false
}

// capabilityNames are those of include/uapi/linux/capability.h, by number.
var capabilityNames = [...]string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
	"CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
	"CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
	"CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
	"CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
	"CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
	"CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}
