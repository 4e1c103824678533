// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mcr/tests/lab"
)

// machine is what runs were made on, and with.
type machine struct {
	Kernel    string    `json:"kernel"`
	Arch      string    `json:"arch"`
	CPU       string    `json:"cpu"`
	CPUs      int       `json:"cpus"`
	MemoryMiB int       `json:"memory_mib"`
	Hosted    string    `json:"virtualization"` // by systemd-detect-virt or the CPU's flag; "none" where there is none
	Mitigated string    `json:"spectre_v2"`
	Go        string    `json:"go"`
	Version   string    `json:"mcrd_version"`
	Digest    string    `json:"mcrd_sha256"`
	SourceCPU string    `json:"source_cpu"`
	FwdCPU    string    `json:"forwarder_cpu"`
	Load      string    `json:"load_at_start"` // load averages over 1, 5, 15 minutes
	Start     time.Time `json:"start"`
	Quick     bool      `json:"quick"` // the runs are too short and too few
}

func (b *bench) describe() machine {
	m := machine{
		Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version(), SourceCPU: b.srcCPU, FwdCPU: b.fwdCPU, Start: time.Now().UTC().Truncate(time.Second),
		CPU: field("/proc/cpuinfo", "model name"), Load: strings.TrimSpace(read("/proc/loadavg")),
		Mitigated: strings.TrimSpace(read("/sys/devices/system/cpu/vulnerabilities/spectre_v2")), Hosted: "none",
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	var i unix.Sysinfo_t
	if unix.Sysinfo(&i) == nil {
		m.MemoryMiB = int(i.Totalram * uint64(i.Unit) >> 20)
	}
	if out, err := exec.Command("systemd-detect-virt", "--vm").Output(); err == nil {
		m.Hosted = strings.TrimSpace(string(out))
	} else if strings.Contains(field("/proc/cpuinfo", "flags"), " hypervisor") {
		m.Hosted = "a hypervisor"
	}
	path := lab.Bin(b.t, "mcrd")
	if out, err := exec.Command(path, "--version").Output(); err == nil {
		m.Version = strings.TrimSpace(string(out))
	}
	if program, err := os.ReadFile(path); err == nil {
		sum := sha256.Sum256(program)
		m.Digest = hex.EncodeToString(sum[:])
	}
	return m
}

// same says that runs of both may be compared.
func (m machine) same(o machine) bool {
	return m.Quick == o.Quick && m.Kernel == o.Kernel && m.CPU == o.CPU && m.CPUs == o.CPUs && m.Digest == o.Digest && m.SourceCPU == o.SourceCPU && m.FwdCPU == o.FwdCPU
}

func read(path string) string {
	b, _ := os.ReadFile(path) // what cannot be read is left out of the description
	return string(b)
}

func field(path, name string) string {
	for line := range strings.Lines(read(path)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
