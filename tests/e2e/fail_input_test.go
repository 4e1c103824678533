// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mcr/tests/lab"
)

// judged is how long an input may take to say what it is doing, with a silence-timeout of 1 s: that, 1 s more by F7, and
// half a second for a busy machine.
const judged = 2500 * time.Millisecond

// onGroup moves a rule, or a stream, to another group, and makes the rule quick to judge.
func onGroup(rule obj, g string) obj {
	return with(rule, obj{"input-group": g, "silence-timeout": 1})
}

func streamTo(g string, ttl int) lab.Stream {
	s := steady(500, 0)
	s.Group, s.TTL = g, ttl
	return s
}

// badChecksums sends n datagrams to a group, each with a wrong UDP checksum.
func badChecksums(t *testing.T, h *lab.Host, iface, source, g string, n int) {
	t.Helper()
	to := netip.AddrPortFrom(netip.MustParseAddr(g), 5000)
	p := lab.UDP(netip.AddrPortFrom(netip.MustParseAddr(source), 4000), to, 16, []byte("with a wrong checksum"))
	p[26] ^= 0x55
	err := h.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(h.Index(iface))}); err != nil {
			return err
		}
		for range n {
			if err := unix.Sendto(fd, p, 0, &unix.SockaddrInet4{Addr: to.Addr().As4()}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("send wrong checksums: %v", err)
	}
}

// hold binds a group and port on a host for this test alone, so that nobody else can. The returned function lets go.
func hold(t *testing.T, h *lab.Host, g string) func() {
	t.Helper()
	fd := -1
	err := h.Do(func() (err error) {
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrInet4{Port: 5000, Addr: netip.MustParseAddr(g).As4()})
	})
	end := func() {
		if fd >= 0 {
			unix.Close(fd)
			fd = -1
		}
	}
	t.Cleanup(end)
	if err != nil {
		t.Fatalf("hold %s: %v", g, err)
	}
	return end
}

// An input says whether its stream comes, and why not, within silence-timeout + 1 s, on change, with one warning per
// transition. F7.
func TestF7_InputStatus(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.l.Link(b.src, "eth1", "10.0.5.1/24", b.rtr, "in2", "10.0.5.2/24")
	b.start(with(onGroup(ruleOn("r", "in", uni("one", "out", "10.0.2.2", 6001)), group), obj{"minimum-input-ttl": 5}))
	w := b.c.follow(rulePath("r") + "/state")
	status, why := rulePath("r")+"/state/input-status", rulePath("r")+"/state/discard-reason"
	w.is(soon, status, "never")
	took := func(what string, begin, end time.Time) {
		t.Helper()
		t.Logf("%s: after %v", what, end.Sub(begin).Round(10*time.Millisecond))
	}
	warned := func(words ...string) { t.Helper(); logged(t, b.d, 1, 1, append(words, "level=WARN")...) }

	begin := time.Now()
	s := b.src.StartSend(streamTo(group, 16))
	took("receiving", begin, w.is(judged, status, "receiving"))
	s.Stop()
	begin = time.Now()
	took("silent", begin, w.is(judged, status, "silent"))
	warned("stream stopped")

	begin = time.Now()
	s = b.src.StartSend(streamTo(group, 4))
	took("discarding/ttl", begin, w.until(judged, "discarding for ttl", func(l leaves) bool { return l[status] == "discarding" && l[why] == "ttl" }))
	s.Stop()
	w.is(judged, status, "silent")
	w.is(soon, why, "none")
	warned("stream is dropped", "reason=ttl")

	begin = time.Now()
	other := streamTo(group, 16)
	other.Iface = "eth1"
	s = b.src.StartSend(other)
	took("discarding/wrong-interface", begin, w.until(judged, "discarding for wrong-interface", func(l leaves) bool {
		return l[status] == "discarding" && l[why] == "wrong-interface"
	}))
	s.Stop()
	w.is(judged, status, "silent")
	warned("stream is dropped", "reason=wrong-interface")

	begin = time.Now()
	badChecksums(t, b.src, "eth0", "10.0.1.1", group, 20)
	took("discarding/checksum", begin, w.until(judged, "discarding for checksum", func(l leaves) bool {
		return l[status] == "discarding" && l[why] == "checksum"
	}))
	w.is(judged, status, "silent")
	warned("stream is dropped", "reason=checksum")
	if n := b.c.get("mcr/dataplane/state/counters/checksum-errors")["mcr/dataplane/state/counters/checksum-errors"]; n != "20" {
		t.Errorf("%s wrong checksums are counted, 20 were sent", n)
	}

	s = b.src.StartSend(streamTo(group, 16))
	w.is(judged, status, "receiving")
	s.Stop()
	want := []string{"never", "receiving", "silent", "discarding", "silent", "discarding", "silent", "discarding", "silent", "receiving"}
	if got := w.values(status); !slices.Equal(got, want) {
		t.Errorf("input-status was %v, want %v", got, want)
	}
}

// A group that cannot be joined says so, and joins by itself as soon as it can. F7, P1.10.
func TestF7_InputNotJoined(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	release := hold(t, b.rtr, group)
	b.start(
		with(ruleOn("held", "in", uni("one", "out", "10.0.2.2", 6001)), obj{"receive-method": "socket"}),
		ruleOn("nowhere", "nix0", uni("one", "out", "10.0.2.2", 6001)))
	w := b.c.follow(rulesPath)
	for rule, reason := range map[string]string{"held": "address-in-use", "nowhere": "interface-missing"} {
		w.is(judged, rulePath(rule)+"/state/input-status", "not-joined")
		w.is(soon, rulePath(rule)+"/state/joined", "false")
		w.is(soon, rulePath(rule)+"/state/down-reason", reason)
		w.is(soon, rulePath(rule)+"/state/oper-status", "down")
		logged(t, b.d, 1, 1, "level=WARN", "rule="+rule+" ", reason)
	}
	release()
	w.is(judged, rulePath("held")+"/state/joined", "true")
	w.is(soon, rulePath("held")+"/state/down-reason", "none")
	one := b.dst.Sink("10.0.2.2:6001")
	b.src.Send(steady(2000, 100))
	one.Exactly(100)
	b.l.Link(b.src, "eth1", "10.0.5.1/24", b.rtr, "nix0", "10.0.5.2/24")
	w.is(soon, rulePath("nowhere")+"/state/joined", "true")
	w.is(soon, rulePath("nowhere")+"/state/oper-status", "up")
}

// mcrctl show rule NAME names the cause in its first line, for each of F7's eight.
func TestF7_ShowRuleNamesTheCause(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.l.Link(b.src, "eth1", "10.0.5.1/24", b.rtr, "in2", "10.0.5.2/24")
	hold(t, b.rtr, "239.9.0.2")
	out := uni("one", "out", "10.0.2.2", 6001)
	b.dst.Sink("10.0.2.2:6001")
	b.start(
		onGroup(ruleOn("nowhere", "nix0", out), "239.9.0.1"),
		with(onGroup(ruleOn("held", "in", out), "239.9.0.2"), obj{"receive-method": "socket"}),
		onGroup(ruleOn("quiet", "in", out), "239.9.0.3"),
		with(onGroup(ruleOn("short", "in", out), "239.9.0.4"), obj{"minimum-input-ttl": 5}),
		onGroup(ruleOn("astray", "in", out), "239.9.0.5"),
		onGroup(ruleOn("halfway", "in", out, uni("gone", "nix1", "10.0.7.7", 6001)), "239.9.0.6"),
		onGroup(ruleOn("deaf", "in", uni("closed", "out", "10.0.2.2", 6009)), "239.9.0.7"),
		onGroup(ruleOn("well", "in", out), "239.9.0.8"),
		onGroup(ruleOn("torn", "in", out), "239.9.0.9"),
	)
	for _, s := range []lab.Stream{streamTo("239.9.0.4", 4), streamTo("239.9.0.6", 16), streamTo("239.9.0.7", 16), streamTo("239.9.0.8", 16)} {
		b.src.StartSend(s)
	}
	astray := streamTo("239.9.0.5", 16)
	astray.Iface = "eth1"
	b.src.StartSend(astray)
	says := func(rule, want string) {
		t.Helper()
		like := regexp.MustCompile("^" + rule + ": " + want)
		lab.Until(t, judged, "mcrctl show rule "+rule, func() error {
			p := b.d.Ctl("show", "rule", rule)
			if err := p.Wait(5 * time.Second); err != nil {
				return errors.Join(err, errors.New(p.Stderr.String()))
			}
			first, _, _ := strings.Cut(p.Stdout.String(), "\n")
			if !like.MatchString(first) {
				return fmt.Errorf("it says %q, want %v", first, like)
			}
			return nil
		})
	}
	says("nowhere", `.*interface nix0 does not exist.*\(interface-missing\)`)
	says("held", `.*another program holds 239\.9\.0\.2:5000.*\(address-in-use\)`)
	says("quiet", `nothing has come .*source is silent.*\(never\)`)
	says("short", `.*TTL below .*5: [\d,]+ datagrams dropped \(ttl\)`)
	says("astray", `.*239\.9\.0\.5:5000 arrives on another interface than in\b.*\(wrong-interface\)`)
	says("halfway", `output gone does not send: interface nix1 does not exist`)
	says("deaf", `output closed does not send: .*10\.0\.2\.2 has no program on UDP port 6009`)
	says("well", `receiving, and the output sends`)
	badChecksums(t, b.src, "eth0", "10.0.1.1", "239.9.0.9", 20)
	says("torn", `.*wrong UDP checksum.*\(checksum\)`)
}
