// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// CPUs are those that this program may use.
func CPUs(t TB) (cpus []int) {
	t.Helper()
	set := affinity(t)
	for cpu := 0; len(cpus) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus
}

func affinity(t TB) (set unix.CPUSet) {
	t.Helper()
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatalf("affinity: %v", err)
	}
	return set
}

// PinSelf keeps this program on the CPUs until the test ends: its threads, and those and the programs that it starts from then on.
func PinSelf(t TB, cpus ...int) {
	t.Helper()
	before, set := affinity(t), unix.CPUSet{}
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	pin(&set)
	t.Cleanup(func() { pin(&before) })
}

func pin(set *unix.CPUSet) {
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, task := range tasks {
		if tid, err := strconv.Atoi(task.Name()); err == nil {
			_ = unix.SchedSetaffinity(tid, set) // one that has ended
		}
	}
}
