// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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

// tracepoint returns the number of one. Where tracefs is not mounted it is, for a thread that ends with it.
func tracepoint(name string) (id uint64, err error) {
	const dir = "/sys/kernel/tracing"
	file := dir + "/events/" + name + "/id"
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // and not unlocked: so the thread goes, and its mounts
			if err = unix.Unshare(unix.CLONE_NEWNS); err != nil {
				return
			}
			if err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
				return
			}
			if err = unix.Mount("tracefs", dir, "tracefs", 0, ""); err == nil {
				b, err = os.ReadFile(file)
			}
		}()
		<-done
	}
	if err != nil {
		return 0, fmt.Errorf("tracefs: %w", err)
	}
	return strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
}
