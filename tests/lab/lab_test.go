// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"mcr/tests/lab"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { os.Exit(lab.CheckLeaks(m.Run)) }

// pair is src eth0 10.0.1.1/24 - dst eth0 10.0.1.2/24.
func pair(t lab.TB) (src, dst *lab.Host) {
	t.Helper()
	l := lab.New(t)
	src, dst = l.Host("src"), l.Host("dst")
	l.Link(src, "eth0", "10.0.1.1/24", dst, "eth0", "10.0.1.2/24")
	return src, dst
}

func TestStreamArrives(t *testing.T) {
	t.Parallel()
	src, dst := pair(t)
	unicast, group := dst.Sink("10.0.1.2:5000"), dst.GroupSink("eth0", "239.1.1.1:5000")
	ssm := dst.GroupSink("eth0", "232.1.1.1:5000", "10.0.1.1")
	other := dst.GroupSink("eth0", "232.1.1.2:5000", "10.0.1.99")

	to := lab.Stream{Iface: "eth0", Group: "10.0.1.2", Port: 5000, Count: 300, Rate: 5000, TTL: 9, DSCP: 46, SourcePort: 4000}
	to.Sizes = []int{0, 1, 27, 28, 1316, 1472, 3001, 65507} // empty, short, odd, fragmented
	src.Send(to)
	r := unicast.Exactly(300)
	if r.TTL[9] != 300 || r.DSCP[46] != 300 || r.Sources[netip.MustParseAddrPort("10.0.1.1:4000")] != 300 {
		t.Errorf("seen TTL %v, DSCP %v, sources %v", r.TTL, r.DSCP, r.Sources)
	}
	if r.MinSize != 0 || r.MaxSize != 65507 || r.Short != 114 {
		t.Errorf("sizes %d..%d with %d short, want 0..65507 with 114", r.MinSize, r.MaxSize, r.Short)
	}
	if p := r.Latency.P50; p <= 0 || p > 1e6 {
		t.Errorf("median latency %v µs", p)
	}

	for _, g := range []string{"239.1.1.1", "232.1.1.1", "232.1.1.2"} {
		src.Send(lab.Stream{Iface: "eth0", Group: g, Port: 5000, Count: 200})
	}
	group.Exactly(200)
	ssm.Exactly(200)
	other.Exactly(0)
}

func TestStreamWithoutEndStopsWhenTold(t *testing.T) {
	t.Parallel()
	src, dst := pair(t)
	sink := dst.Sink("0.0.0.0:5000")
	s := src.StartSend(lab.Stream{Iface: "eth0", Group: "10.0.1.2", Port: 5000, Rate: 1000, Burst: 10})
	sink.Wait(50, 5*time.Second)
	sent := s.Stop()
	sink.Exactly(sent.Sent)
	if sent.Sent%10 != 0 {
		t.Errorf("sent %d, want whole bursts of 10", sent.Sent)
	}
}

// A sender that uses UDP segmentation, over a cable that takes the runs whole and one that has them cut up before it.
func TestSegmentedStream(t *testing.T) {
	t.Parallel()
	src, dst := pair(t)
	sink, wire := dst.Sink("10.0.1.2:5000"), dst.Tap("eth0")
	s := lab.Stream{Iface: "eth0", Group: "10.0.1.2", Port: 5000, Count: 100, Rate: 5000, Size: 1000, Segments: 16}
	src.Send(s)
	sink.Exactly(100)
	whole := len(wire.Packets(nil))
	if whole > 20 {
		t.Errorf("%d packets on the wire, want the 7 runs", whole)
	}
	src.NoSegmentationOffload("eth0")
	src.Send(s)
	sink.Exactly(200)
	wire.Wait(whole+100, 5*time.Second, nil)
}

func TestInterfaceLife(t *testing.T) {
	t.Parallel()
	src, dst := pair(t)
	sink := dst.Sink("0.0.0.0:5000")
	n := uint64(0)
	arrives := func(to string) {
		t.Helper()
		src.Send(lab.Stream{Group: to, Port: 5000, Count: 1})
		n++
		sink.Exactly(n)
	}
	arrives("10.0.1.2")
	dst.Down("eth0")
	dst.Rename("eth0", "lan")
	dst.Up("lan")
	arrives("10.0.1.2")
	dst.ReAddress("lan", "10.0.1.3/24")
	arrives("10.0.1.3")
	dst.Dummy("stub", "10.9.0.1/24")
	src.Route("10.9.0.0/24", "10.0.1.3")
	arrives("10.9.0.1")
	src.DelRoute("10.9.0.0/24", "10.0.1.3")
	src.Route("10.9.0.1/32", "dev eth0")
	src.Neigh("eth0", "10.9.0.1", dst.MAC("lan"))
	arrives("10.9.0.1")
	src.NeighFailed("eth0", "10.0.1.77")

	has := func(flag net.Flags) bool {
		t.Helper()
		var i *net.Interface
		if err := dst.Do(func() (err error) { i, err = net.InterfaceByName("lan"); return err }); err != nil {
			t.Fatal(err)
		}
		return i.Flags&flag != 0
	}
	dst.Multicast("lan", false)
	if has(net.FlagMulticast) {
		t.Error("multicast is still on")
	}
	dst.Multicast("lan", true)
	if !has(net.FlagMulticast) {
		t.Error("multicast is still off")
	}
	dst.MTU("lan", 9000)
	dst.Delete("lan")
	if err := src.Do(func() error { _, err := net.InterfaceByName("eth0"); return err }); err == nil {
		t.Error("the other end of a deleted veth is still there")
	}
}

func TestTUNShowsWhatWouldBeOnTheWire(t *testing.T) {
	t.Parallel()
	h := lab.New(t).Host("rtr")
	tun := h.TUN("tun0", "10.2.0.1", "10.2.0.5")
	h.Send(lab.Stream{Group: "10.2.0.5", Port: 5000, SourcePort: 4000, Sizes: []int{0, 3, 1316}, Count: 3, TTL: 64, DSCP: 10})
	got := tun.Wait(3, 5*time.Second, nil)
	for i, size := range []int{0, 3, 1316} {
		p := got[i]
		if len(p.Payload) != size || p.Checksum != lab.ChecksumRight || p.TTL != 64 || p.TOS != 40 ||
			p.Src.String() != "10.2.0.1:4000" || p.Dst.String() != "10.2.0.5:5000" {
			t.Errorf("packet %d of %d bytes: %+v", i, size, p)
		}
	}

	// And the other way: what we write arrives, and a wrong checksum does not.
	sink := h.Sink("10.2.0.1:5000")
	good := lab.UDP(netip.MustParseAddrPort("10.2.0.5:4000"), netip.MustParseAddrPort("10.2.0.1:5000"), 7, []byte("MCR"))
	bad := append([]byte(nil), good...)
	bad[27] ^= 1
	tun.Inject(bad)
	tun.Inject(good)
	if r := sink.Exactly(1); r.TTL[7] != 1 {
		t.Errorf("TTL seen: %v", r.TTL)
	}
	var i *net.Interface
	if err := h.Do(func() (err error) { i, err = net.InterfaceByName("tun0"); return err }); err != nil {
		t.Fatal(err)
	}
	if i.Flags&net.FlagMulticast != 0 || i.Flags&net.FlagPointToPoint == 0 {
		t.Errorf("flags of tun0: %v, want point-to-point without multicast", i.Flags)
	}
}

func TestTapSeesChecksumsOnceOffloadIsOff(t *testing.T) {
	t.Parallel()
	src, dst := pair(t)
	tap := dst.Tap("eth0")
	dst.Sink("10.0.1.2:5000")
	send := lab.Stream{Group: "10.0.1.2", Port: 5000, Count: 1, Size: 101}
	states := func(n int) (all []string) {
		for _, p := range tap.Wait(n, 5*time.Second, func(p lab.Packet) bool { return p.Protocol == 17 && !p.Outgoing }) {
			all = append(all, p.Checksum.String())
		}
		return all
	}
	src.Send(send)
	states(1)
	src.NoChecksumOffload("eth0")
	src.Send(send)
	send.Size = 3001
	src.Send(send)
	if diff := cmp.Diff([]string{"open", "right", "none", "none", "none"}, states(5)); diff != "" {
		t.Errorf("checksums (-want +got):\n%s", diff)
	}
}

// "Nothing leaves here" is only worth something if what leaves is seen.
func TestTapSeesBothWays(t *testing.T) {
	t.Parallel()
	src, dst := pair(t)
	out, in := src.Tap("eth0"), dst.Tap("eth0")
	sink := dst.GroupSink("eth0", "239.1.1.1:5000")
	src.Send(lab.Stream{Iface: "eth0", Group: "239.1.1.1", Port: 5000, Count: 5})
	sink.Exactly(5)
	for name, tc := range map[string]struct {
		tap      *lab.Capture
		outgoing bool
	}{"sender": {out, true}, "receiver": {in, false}} {
		group := func(p lab.Packet) bool { return p.Dst.String() == "239.1.1.1:5000" }
		got := tc.tap.Wait(5, 5*time.Second, group)
		for _, p := range got {
			if p.Outgoing != tc.outgoing {
				t.Errorf("%s: outgoing %v, want %v", name, p.Outgoing, tc.outgoing)
			}
		}
		if len(got) != 5 {
			t.Errorf("%s: saw %d packets, want each of 5 once", name, len(got))
		}
	}
}

func TestProcesses(t *testing.T) {
	t.Parallel()
	h := lab.New(t).Host("a")
	h.Dummy("only-here", "10.1.1.1/24")
	if out := h.Run("ip", "-br", "addr"); !strings.Contains(out, "only-here") {
		t.Errorf("a process does not run in the host's namespace: %s", out)
	}

	p := h.Start("sh", "-c", "echo one; echo two >&2; exit 3")
	err := p.Wait(5 * time.Second)
	if ee, ok := errors.AsType[*exec.ExitError](err); !ok || ee.ExitCode() != 3 || p.ExitCode() != 3 {
		t.Errorf("exit: %v, want code 3", err)
	}
	if p.Stdout.String() != "one\n" || p.Stderr.String() != "two\n" {
		t.Errorf("output %q, %q", p.Stdout.String(), p.Stderr.String())
	}

	long := h.Start("sh", "-c", "sleep 1000 & echo $!; wait")
	line, err := long.Stdout.WaitLine(5*time.Second, long.Done(), func(l string) bool { return l != "" })
	if err != nil {
		t.Fatal(err)
	}
	if err := long.Wait(time.Millisecond); err == nil {
		t.Error("wait returned nil for a running process")
	}
	long.Kill()
	lab.Until(t, 5*time.Second, "the child of a killed process is gone", func() error {
		if _, err := os.Stat("/proc/" + line + "/stat"); err == nil {
			return errors.New("still there")
		}
		return nil
	})

	stubborn := h.Start("sleep", "1000")
	if err := stubborn.Stop(); err == nil {
		t.Error("stop of a process that SIGTERM ends says success")
	}
	if _, err := stubborn.Stdout.WaitLine(time.Hour, stubborn.Done(), func(string) bool { return true }); err == nil {
		t.Error("found a line that was never written")
	}
}

func TestHostsAreApart(t *testing.T) {
	t.Parallel()
	a, b := pair(t) // the same names as in every other test
	a.Sysctl("net/ipv4/ip_local_port_range", "20000 20010")
	a.Forward(true)
	read := func(h *lab.Host, name string) (s string) {
		t.Helper()
		err := h.Do(func() error { c, err := os.ReadFile("/proc/sys/" + name); s = strings.TrimSpace(string(c)); return err })
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if got := read(a, "net/ipv4/ip_local_port_range"); got != "20000\t20010" {
		t.Errorf("port range %q", got)
	}
	if read(a, "net/ipv4/ip_forward") != "1" || read(b, "net/ipv4/ip_forward") != "0" {
		t.Error("a setting of one host shows on the other, or not at all")
	}
	if read(b, "net/ipv4/conf/eth0/rp_filter") != "0" {
		t.Error("the reverse-path filter is on")
	}
}

func TestDoComesHome(t *testing.T) {
	t.Parallel()
	h := lab.New(t).Host("a")
	here := func() string { s, _ := os.Readlink("/proc/thread-self/ns/net"); return s }
	home := here()
	var inside string
	want := errors.New("from inside")
	if err := h.Do(func() error { inside = here(); return want }); err != want {
		t.Errorf("error %v, want %v", err, want)
	}
	func() {
		defer func() { recover() }()
		h.Do(func() error { panic("inside") })
	}()
	if inside == home || here() != home {
		t.Errorf("home %s, inside %s, after %s", home, inside, here())
	}
}

func TestDemoCleansUpAfterFailureAndPanic(t *testing.T) {
	for name, fail := range map[string]func(lab.TB){
		"fatal": func(t lab.TB) { t.Fatalf("on purpose") },
		"panic": func(lab.TB) { panic("on purpose") },
	} {
		t.Run(name, func(t *testing.T) {
			var order []string
			var p *lab.Proc
			var log strings.Builder
			err := lab.Demo(t.Context(), name, &log, func(t lab.TB) {
				t.Cleanup(func() { order = append(order, "first made") })
				t.Cleanup(func() { order = append(order, "second made") })
				p = lab.New(t).Host("a").Start("sleep", "1000")
				fail(t)
			})
			if err == nil || !strings.Contains(log.String(), "on purpose") {
				t.Errorf("error %v, log %q", err, log.String())
			}
			if diff := cmp.Diff([]string{"second made", "first made"}, order); diff != "" {
				t.Errorf("clean-ups (-want +got):\n%s", diff)
			}
			if err := p.Wait(0); err == nil || p.ExitCode() != -1 {
				t.Errorf("the process: %v", err)
			}
		})
	}
	if err := lab.Demo(t.Context(), "good", io.Discard, func(lab.TB) {}); err != nil {
		t.Errorf("a good run: %v", err)
	}
}

// The leak check must be able to fail, so each kind of leak is made once, in a process of its own.
func TestCheckLeaksFindsLeaks(t *testing.T) {
	if kind := os.Getenv("LAB_LEAK"); kind != "" {
		leak(kind)
		return
	}
	t.Parallel()
	for kind, want := range map[string]string{
		"none": "", "netns": "network namespace", "process": "process ", "goroutine": "goroutines", "descriptor": "/dev/null",
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCheckLeaksFindsLeaks$")
			cmd.Env = append(os.Environ(), "LAB_LEAK="+kind)
			out, err := cmd.CombinedOutput()
			if (err == nil) != (want == "") || !strings.Contains(string(out), want) {
				t.Errorf("error %v, want %q in\n%s", err, want, out)
			}
		})
	}
}

// never is a test whose clean-ups do not run.
type never struct{ lab.TB }

func (never) Cleanup(func())           {}
func (never) Helper()                  {}
func (never) Context() context.Context { return context.Background() }

func leak(kind string) {
	switch kind {
	case "netns":
		lab.New(never{}).Host("a")
	case "process":
		lab.New(never{}).Host("a").Start("sleep", "100") // dies with us
	case "goroutine":
		go func() { select {} }()
	case "descriptor":
		unix.Open("/dev/null", unix.O_RDONLY, 0)
	}
}

// What a killed test leaves must go by itself.
func TestKilledTestLeavesNothing(t *testing.T) {
	if os.Getenv("LAB_KILLED") != "" {
		h := lab.New(t).Host("a")
		p := h.Start("sh", "-c", "readlink /proc/self/ns/net; exec sleep 1000")
		line, err := p.Stdout.WaitLine(5*time.Second, p.Done(), func(string) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("inside " + line + "\n")
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledTestLeavesNothing$")
	cmd.Env = append(os.Environ(), "LAB_KILLED=1")
	out, _ := cmd.Output()
	_, ns, ok := strings.Cut(strings.TrimSpace(string(out)), "inside ")
	if !ok {
		t.Fatalf("the killed test said %q", out)
	}
	lab.Until(t, 10*time.Second, "no process in "+ns, func() error {
		dirs, _ := os.ReadDir("/proc")
		for _, d := range dirs {
			if got, err := os.Readlink("/proc/" + d.Name() + "/ns/net"); err == nil && got == ns {
				return errors.New("process " + d.Name())
			}
		}
		return nil
	})
}
