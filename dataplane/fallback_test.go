// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
	"mcr/dataplane/uring"
)

// without runs f with engines that have to do without one feature of io_uring each, without pairs that belong together, and without
// all.
func without(t *testing.T, f func(t *testing.T, l *lab, e *Engine)) {
	masks := []uring.Feature{
		uring.SingleIssuer | uring.NoSQArray, uring.DeferTaskrun | uring.CoopTaskrun, uring.CQESkip | uring.Multishot, uring.AllFeatures,
	}
	uring.AllFeatures.Features(func(one uring.Feature, _ string) { masks = append(masks, one) })
	for _, mask := range masks {
		name := strings.ReplaceAll(mask.String(), " ", "+")
		if mask == uring.AllFeatures {
			name = "all"
		}
		t.Run("uring/socket/without_"+name, func(t *testing.T) {
			l := newLab(t)
			l.clock = &clock{}
			e, end := l.startWith(Config{Clock: l.clock.now, without: mask})
			t.Cleanup(end)
			if e.uringErr != nil {
				t.Skipf("no io_uring here: %v", e.uringErr)
			}
			l.apply(e, &plan.Plan{Settings: plan.Settings{Engine: plan.EngineURing, ZeroCopy: plan.ZeroCopyOn}})
			if i := e.Info(); i.Engine != plan.EngineURing {
				t.Fatalf("engine %v: %s", i.Engine, i.EngineReason)
			}
			f(t, l, e)
		})
	}
}

// P1.3, D4, P4.4: whatever feature of io_uring is missing, what is sent arrives whole, once and in order, failures cost nobody else
// anything, and state names what is missing, with the reason.
func TestP1_3_WithoutOneFeature(t *testing.T) {
	without(t, func(t *testing.T, l *lab, e *Engine) {
		mask := uring.AllFeatures &^ e.support.Has
		mask.Features(func(_ uring.Feature, name string) {
			i := e.Info()
			if slices.Contains(i.Features, name) || !slices.ContainsFunc(i.Missing, func(s string) bool { return strings.HasPrefix(s, name+": ") }) {
				t.Errorf("%s: in use %q, missing %q", name, i.Features, i.Missing)
			}
		})
		l.forwardsAll(e)
	})
}

// forwardsAll sends bursts and single datagrams through e, to receivers that listen and one that does not, while the table
// changes, and compares all that arrives.
func (l *lab) forwardsAll(e *Engine) {
	t := l.t
	t.Helper()
	small := l.output(2, "10.9.0.2:6000")
	small.MTU = 700 // does not take segments of 1316
	multi := l.output(3, "239.2.2.2:6001")
	multi.TTLMode = plan.TTLDecrement
	dests := []string{"10.9.0.1:6000", "10.9.0.2:6000", "239.2.2.2:6001"}
	var rs []*receiver
	for _, d := range dests {
		rs = append(rs, l.receiver(d))
	}
	outs := []*plan.Output{l.output(1, dests[0]), small, multi, l.output(4, "10.9.0.4:6999")} // nobody listens at the last
	table := func(outs []*plan.Output) *plan.Plan {
		p := l.onePoint(&plan.List{ID: 1, Outputs: outs})
		p.Settings = e.plan.Settings
		return p
	}
	l.apply(e, table(outs))
	src := l.source(5, 0)
	sent := []string{"first"}
	hold, release := l.hold()
	l.send(src, "first")
	<-hold // the worker stands: the burst is received at once, and out of buffers
	for i, n := range []int{1316, 1316, 500, 1316, 0, 3001, 20000, 7, 7, 5, 7} {
		sent = append(sent, strings.Repeat(string(rune('a'+i)), n))
	}
	sent = append(sent, numbered(900, 1316)...)
	l.send(src, sent[1:]...)
	close(release)
	l.received(e, uint64(len(sent)))
	for i := range 30 {
		sent = append(sent, fmt.Sprint("single ", i))
		l.send(src, sent[len(sent)-1])
		l.received(e, uint64(len(sent)))
		if i%5 == 0 { // a sibling goes, and comes again
			l.apply(e, table(outs[:3]))
			l.apply(e, table(outs))
		}
	}
	for i, r := range rs {
		if diff := cmp.Diff(sent, payloads(r.all(len(sent)))); diff != "" {
			t.Errorf("%s (-want +got):\n%.600s", dests[i], diff)
		}
		if c, _, _ := e.Output(plan.OutputID(i + 1)); c.Packets != uint64(len(sent)) || c.Errors != 0 {
			t.Errorf("%s: %+v", dests[i], c)
		}
	}
	if c, _ := e.Point(l.key()); c.Packets != uint64(len(sent)) || c.Truncated+c.Overrun != 0 {
		t.Errorf("point: %+v", c)
	}
}

// Where a ring would gain nothing, auto leaves it and says why; whoever asks for it gets it.
func TestEngineAutoWithoutWhatMattersIsMmsg(t *testing.T) {
	for _, mask := range []uring.Feature{0, uring.CQESkip, uring.Multishot, uring.BufferRing, uring.RegisteredFiles, uring.DeferTaskrun} {
		t.Run("without_"+mask.String(), func(t *testing.T) {
			l := newLab(t)
			e, end := l.startWith(Config{without: mask})
			t.Cleanup(end)
			if e.uringErr != nil {
				t.Skipf("no io_uring here: %v", e.uringErr)
			}
			l.apply(e, &plan.Plan{})
			gone := mask | uring.AllFeatures&^e.support.Has // an old kernel lacks more
			if gone&uring.BufferRing != 0 {
				gone |= uring.Multishot
			}
			want := plan.EngineURing
			for _, f := range []uring.Feature{uring.CQESkip, uring.Multishot} {
				if gone&f == 0 {
					continue
				}
				want = plan.EngineMMsg
				if why := e.Info().EngineReason; !strings.Contains(why, f.String()) {
					t.Errorf("%v is not named: %s", f, why)
				}
			}
			if i := e.Info(); i.Engine != want {
				t.Errorf("engine %v: %s", i.Engine, i.EngineReason)
			}
			l.forwardsOne(e)
		})
	}
}

func (l *lab) forwardsOne(e *Engine) {
	r := l.receiver("10.9.0.1:6000")
	l.apply(e, l.onePoint(&plan.List{ID: 1, Outputs: []*plan.Output{l.output(1, "10.9.0.1:6000")}}))
	l.send(l.source(5, 0), "works")
	if g := r.next(); g.payload != "works" {
		l.t.Errorf("%+v", g)
	}
}

const forbidden = "MCR_TEST_FORBID_IO_URING"

// F6: where a sandbox forbids io_uring, as the default profiles of container engines do, mmsg runs, with segmentation and
// coalesced receives, and state says why.
func TestF6_IOURingForbidden(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	for name, errno := range map[string]unix.Errno{"eperm": unix.EPERM, "enosys": unix.ENOSYS} {
		if os.Getenv(forbidden) != "" {
			if os.Getenv(forbidden) == name {
				t.Run("mmsg/socket/"+name, func(t *testing.T) { forbiddenHere(t, errno) })
			}
			continue
		}
		t.Run(name, func(t *testing.T) {
			c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+strings.Split(t.Name(), "/")[0]+"$", "-test.v")
			c.Env = append(os.Environ(), forbidden+"="+name)
			if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS: "+strings.Split(t.Name(), "/")[0]+"/mmsg") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// forbiddenHere is the test in a process of its own, all of whose threads are in the sandbox.
func forbiddenHere(t *testing.T, errno unix.Errno) {
	forbid(t, errno)
	l := newLab(t)
	e := l.start()
	l.apply(e, &plan.Plan{})
	i := e.Info()
	if i.Engine != plan.EngineMMsg || !strings.Contains(i.EngineReason, errno.Error()) {
		t.Errorf("engine %v: %s", i.Engine, i.EngineReason)
	}
	if len(i.Missing) == 0 || i.Missing[0] != "io-uring: io_uring_setup: "+errno.Error() || !slices.Contains(i.Features, "udp-gso") || !slices.Contains(i.Features, "udp-gro") {
		t.Errorf("features %q, missing %q", i.Features, i.Missing)
	}
	l.forwardsAll(e)
	if s := e.Workers()[0]; s.Runs > s.Packets/2 {
		t.Errorf("nothing was joined: %+v", s)
	}
}

// forbid makes io_uring_setup fail with errno for every thread of the process: a seccomp filter (seccomp(2)).
func forbid(t *testing.T, errno unix.Errno) {
	t.Helper()
	const secRetErrno, secRetAllow, tsync = 0x00050000, 0x7fff0000, 1
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_IO_URING_SETUP},
		{Code: unix.BPF_RET | unix.BPF_K, K: secRetErrno | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: secRetAllow},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, tsync, uintptr(unsafe.Pointer(&prog))); e != 0 {
		t.Skipf("no seccomp here: %v", e)
	}
}
