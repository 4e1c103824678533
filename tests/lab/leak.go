// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"
)

// CheckLeaks runs the tests and then looks for what they left: network namespaces (and with them links), processes in
// them, goroutines, descriptors. Use: func TestMain(m *testing.M) { os.Exit(lab.CheckLeaks(m.Run)) }.
func CheckLeaks(run func() int) int {
	// What lives as long as the process is made first: the starter's thread, and the poller's two descriptors.
	ran := make(chan struct{})
	starter() <- func() { close(ran) }
	<-ran
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
	goroutines, files := pprof.Lookup("goroutine").Count(), descriptors()
	code := run()
	RemoveBuilt()
	left := leaks(goroutines, files)
	for end := time.Now().Add(2 * time.Second); left != "" && time.Now().Before(end); left = leaks(goroutines, files) {
		time.Sleep(10 * time.Millisecond) // goroutines that were told to end do so now
	}
	if left != "" {
		fmt.Fprintf(os.Stderr, "left behind:\n%s", left)
		return max(code, 1)
	}
	return code
}

func leaks(goroutines int, files map[string]string) string {
	var b strings.Builder
	made.Lock()
	for ino := range made.open {
		fmt.Fprintf(&b, "network namespace net:[%d] is open\n", ino)
		for _, pid := range inNetns(ino) {
			fmt.Fprintf(&b, "process %s in it\n", pid)
		}
	}
	for pid, ino := range made.closed {
		if got, err := os.Readlink("/proc/" + pid + "/ns/net"); err == nil && got == netnsName(ino) {
			fmt.Fprintf(&b, "process %s in a network namespace that was closed\n", pid)
		}
	}
	made.Unlock()
	for fd, what := range descriptors() {
		if files[fd] != what {
			fmt.Fprintf(&b, "descriptor %s: %s\n", fd, what)
		}
	}
	if n := pprof.Lookup("goroutine").Count(); n > goroutines {
		fmt.Fprintf(&b, "%d goroutines, %d before:\n", n, goroutines)
		_ = pprof.Lookup("goroutine").WriteTo(&b, 1) // a Builder takes all
	}
	return b.String()
}

func netnsName(inode uint64) string { return "net:[" + strconv.FormatUint(inode, 10) + "]" }

// inNetns lists the processes in a namespace that is open.
func inNetns(inode uint64) (pids []string) {
	want := netnsName(inode)
	links, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	for _, l := range links {
		if got, err := os.Readlink(l); err == nil && got == want {
			pids = append(pids, strings.Split(l, "/")[2])
		}
	}
	return pids
}

// descriptors maps the open descriptors of this process to what they are.
func descriptors() map[string]string {
	all := map[string]string{}
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if what, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil { // not the one that listed them
			all[e.Name()] = what
		}
	}
	return all
}
