// SPDX-License-Identifier: Apache-2.0

package state

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mcr/mroute"
	"mcr/northbound/telemetry"
)

const netDev = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:  100       2    0    0    0     0          0         0      100       2    0    0    0     0       0          0
  eth0: 1111      22    3    4    0     0          0         5     6666      77    8    9    0     0       0          0
eth0.1:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16
`

func TestParseNetDev(t *testing.T) {
	rows := []struct {
		name, in string
		want     map[string]linkCounters
	}{
		{"three interfaces", netDev, map[string]linkCounters{
			"lo":     {inOctets: 100, inPackets: 2, outOctets: 100, outPackets: 2},
			"eth0":   {inOctets: 1111, inPackets: 22, inErrors: 3, inDiscards: 4, inMulticast: 5, outOctets: 6666, outPackets: 77, outErrors: 8, outDiscards: 9},
			"eth0.1": {inOctets: 1, inPackets: 2, inErrors: 3, inDiscards: 4, inMulticast: 8, outOctets: 9, outPackets: 10, outErrors: 11, outDiscards: 12},
		}},
		{"a line that is cut short is left out", "lo: 1 2 3\n", map[string]linkCounters{}},
		{"a line with a word in it is left out", "lo: 1 2 3 4 5 6 7 x 9 10 11 12 13 14 15 16\n", map[string]linkCounters{}},
		{"nothing", "", map[string]linkCounters{}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if diff := cmp.Diff(row.want, parseNetDev([]byte(row.in)), cmp.AllowUnexported(linkCounters{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzProc(f *testing.F) {
	for _, s := range []string{netDev, "", "a:", "lo: 1 2 3\n", "1 2 3", "CapEff:\t000001ffffffffff\n", "CapEff: x\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name := range parseNetDev(b) {
			if name == "" {
				t.Error("an interface without name")
			}
		}
		parseStatm(b, 4096)
		if c, ok := parseCapabilities(b); !ok && c != nil {
			t.Error("capabilities and no success")
		}
	})
}

func TestParseCapabilities(t *testing.T) {
	for _, row := range []struct {
		name, in string
		want     []string
		ok       bool
	}{
		{"two", "Name:\tmcrd\nCapEff:\t0000000000003000\nCapBnd:\tff\n", []string{"CAP_NET_ADMIN", "CAP_NET_RAW"}, true},
		{"one that is newer than the list", "CapEff:\t8000000000000000\n", []string{"CAP_63"}, true},
		{"none", "CapEff:\t0000000000000000\n", nil, true},
		{"no such line", "Name:\tmcrd\n", nil, false},
	} {
		got, ok := parseCapabilities([]byte(row.in))
		if diff := cmp.Diff(row.want, got); diff != "" || ok != row.ok {
			t.Errorf("%s: ok %v (-want +got):\n%s", row.name, ok, diff)
		}
	}
}

// One reading serves for a moment; then it is read anew, also when the clock goes back.
func TestLinkCountersAreReadOnceForManyInterfaces(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "net"), 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(octets string) {
		t.Helper()
		line := "lo: " + octets + " 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"
		if err := os.WriteFile(filepath.Join(root, "net", "dev"), []byte(line), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	now := t0
	r := newProcReader(func() time.Time { return now })
	r.root = root
	expect := func(want uint64) {
		t.Helper()
		if c, ok := r.link("lo"); !ok || c.inOctets != want {
			t.Errorf("octets = %d, %v; want %d", c.inOctets, ok, want)
		}
	}
	write("1")
	expect(1)
	write("2")
	expect(1)
	now = now.Add(time.Second)
	expect(2)
	write("3")
	now = now.Add(-time.Hour)
	expect(3)
	if _, ok := r.link("eth9"); ok {
		t.Error("an interface that is not there has counters")
	}
}

// Q1: the process shows itself, from the real /proc.
func TestProcessFigures(t *testing.T) {
	rec := newRecorder(t)
	newPublisher(t, rec)
	var u *telemetry.Unit
	for _, x := range rec.changes[0].Update {
		if x.Path.String() == "/mcr/system/process/state" {
			u = x
		}
	}
	if u == nil {
		t.Fatal("the process has no unit")
	}
	got := map[string]uint64{}
	for _, l := range u.Sample(nil) {
		got[l.Name] = l.Value.Num
	}
	if got["pid"] != uint64(os.Getpid()) {
		t.Errorf("pid = %d", got["pid"])
	}
	for _, leaf := range []string{"cpu-time", "goroutines", "heap-memory", "open-files", "open-files-limit", "resident-memory"} {
		if got[leaf] == 0 {
			t.Errorf("%s is missing or 0", leaf)
		}
	}
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc")
	}
	if n := got["open-files"]; n+3 < uint64(len(all)) || n > uint64(len(all))+3 {
		t.Errorf("open-files = %d, /proc/self/fd has %d", n, len(all))
	}
}

func TestSystemState(t *testing.T) {
	rec := newRecorder(t)
	newPublisher(t, rec)
	got := rec.unit("/mcr/system/state")
	for leaf, want := range map[string]string{
		"version": "1.2.3", "commit": "abc", "build-time": "", "start-time": ns, "current-time": "1795608060000000000",
	} {
		if g, ok := got[leaf]; !ok || g != want {
			t.Errorf("%s = %q, %v; want %q", leaf, g, ok, want)
		}
	}
}

// What leaves on an interface is dropped by its device or by its queueing discipline; the figure is the sum.
func TestTransmitDroppedIsOfDeviceAndQueue(t *testing.T) {
	root := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(filepath.Join(root, "net"), 0o755))
	must(os.WriteFile(filepath.Join(root, "net", "dev"), []byte(netDev), 0o644))
	rec := newRecorder(t)
	p := New(Config{
		Tree: rec, Counters: sampleCounters(), Start: t0,
		QueueDrops: func(iface string) (uint64, bool) { return 100, iface == "eth0" },
	})
	p.proc.root = root
	p.Batch(mroute.Batch{Time: t0, Egress: map[string]*mroute.EgressState{"eth0": {GSOUsed: true}, "nix0": {}}})
	path := func(name string) string {
		return "/mcr/dataplane/egress-interfaces/egress-interface[name=" + name + "]/state"
	}
	if got := rec.unit(path("eth0"))["counters/transmit-dropped"]; got != "109" {
		t.Errorf("transmit-dropped = %s, want 9 of the device and 100 of the queue", got)
	}
	if got, ok := rec.unit(path("nix0"))["counters/transmit-dropped"]; ok {
		t.Errorf("an interface that is not there has dropped %s", got)
	}
}
