// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// syscallTime is how long system calls are counted: after the measured time, as counting makes each call dearer.
const syscallTime = 300 * time.Millisecond

// syscalls is how many system calls the forwarder makes for one output. It counts the tracepoint raw_syscalls:sys_enter by
// a perf event on each thread, which a thread's children inherit; what an io_uring does by itself is no call. Needs tracefs.
func (o *one) syscalls() (*float64, error) {
	id, err := tracepoint("raw_syscalls/sys_enter")
	if err != nil {
		return nil, err
	}
	var fds []int
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_TRACEPOINT, Config: id, Bits: unix.PerfBitInherit}
	attr.Size = uint32(unsafe.Sizeof(attr))
	before, err := o.count.Sum(o.keys)
	if err != nil {
		return nil, err
	}
	for _, p := range processes(o.fwd.Pid()) {
		tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", p))
		for _, t := range tasks {
			tid, _ := strconv.Atoi(t.Name())
			fd, err := unix.PerfEventOpen(&attr, tid, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
			if err == unix.ESRCH { // it has ended
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("perf event: %w", err)
			}
			fds = append(fds, fd)
		}
	}
	time.Sleep(syscallTime)
	calls := 0.0
	for _, fd := range fds {
		var word [8]byte
		if _, err := unix.Read(fd, word[:]); err != nil {
			return nil, fmt.Errorf("perf event: %w", err)
		}
		calls += float64(binary.NativeEndian.Uint64(word[:]))
	}
	after, err := o.count.Sum(o.keys)
	if err != nil {
		return nil, err
	}
	out := per(calls, float64(after-before))
	return &out, nil
}

// profile samples the forwarder's stacks for a second, for perf report.
func (o *one) profile() error {
	file := filepath.Join(o.Profile, fmt.Sprintf("%s-%d.perf", o.f.name, o.N))
	out, err := exec.Command("perf", "record", "-q", "-F", "997", "-g", "-o", file, "-p", strconv.Itoa(o.fwd.Pid()), "sleep", "1").CombinedOutput()
	if err != nil {
		return fmt.Errorf("perf record: %w: %s", err, out)
	}
	return nil
}

func tracepoint(name string) (id uint64, err error) {
	var b []byte
	for _, dir := range []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"} {
		if b, err = os.ReadFile(dir + "/events/" + name + "/id"); err == nil {
			return strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
		}
	}
	return 0, fmt.Errorf("system calls cannot be counted: %w", err)
}
