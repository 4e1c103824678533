// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"mcr/tests/lab"
)

// icmpErrors are all errors of RFC 792 and RFC 1812 that can quote a datagram, with their codes, and some that mean nothing.
var icmpErrors = map[ipv4.ICMPType]int{ // how many codes
	ipv4.ICMPTypeDestinationUnreachable: 17, 4: 1, // source quench
	ipv4.ICMPTypeRedirect: 4, ipv4.ICMPTypeTimeExceeded: 2, ipv4.ICMPTypeParameterProblem: 3,
}

// storm sends ICMP errors to a host, which quote a datagram that it is to have sent.
type storm struct {
	fd       int
	messages [][]byte
	to       unix.SockaddrInet4
}

// newStorm makes one message of each kind.
func newStorm(t *testing.T, from *lab.Host, src, dst netip.AddrPort) *storm {
	t.Helper()
	s := &storm{fd: -1, to: unix.SockaddrInet4{Addr: src.Addr().As4()}}
	quoted := lab.UDP(src, dst, 63, []byte("some payload"))
	for typ, codes := range icmpErrors {
		for code := range codes {
			m := make([]byte, 8, 8+len(quoted))
			m[0], m[1] = byte(typ), byte(code)
			if typ == ipv4.ICMPTypeDestinationUnreachable && code == 4 {
				binary.BigEndian.PutUint16(m[6:], 576) // next-hop MTU
			}
			if typ == ipv4.ICMPTypeRedirect {
				copy(m[4:], src.Addr().AsSlice()) // to the host itself: not to be followed
			}
			m = append(m, quoted...)
			binary.BigEndian.PutUint16(m[2:], internetChecksum(m))
			s.messages = append(s.messages, m)
		}
	}
	err := from.Do(func() (err error) {
		s.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
		return err
	})
	if err != nil {
		t.Fatalf("raw socket: %v", err)
	}
	t.Cleanup(func() { unix.Close(s.fd) })
	return s
}

// internetChecksum is that of RFC 1071, of a message whose own is 0.
func internetChecksum(b []byte) uint16 {
	var s uint32
	for ; len(b) > 1; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) > 0 {
		s += uint32(b[0]) << 8
	}
	for s>>16 != 0 {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}

func (s *storm) send(t *testing.T, m []byte) {
	t.Helper()
	if err := unix.Sendto(s.fd, m, 0, &s.to); err != nil && err != unix.ECONNREFUSED {
		t.Fatalf("send ICMP: %v", err)
	}
}

// P4.3, F1: ICMP errors of all kinds, true or forged, that quote a branch's datagrams cost its siblings nothing, and neither
// the branch itself, as its receiver is there: whatever the kernel reports in place of sending is sent again.
func TestF1_ICMPStorm(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		b := newBed(t)
		sinks := map[string]*lab.Sink{
			"lan": b.dst.GroupSink("eth0", "239.2.2.2:5000"), "one": b.dst.Sink("10.0.2.2:6001"), "stormed": b.dst.Sink("10.0.2.2:6002"),
		}
		b.startWith(engine, ruleOn("r", "in",
			multi("lan", "out", "239.2.2.2", 5000), uni("one", "out", "10.0.2.2", 6001), uni("stormed", "out", "10.0.2.2", 6002)))
		port := uint16(b.c.output("r", "stormed").num("local-port"))
		st := newStorm(t, b.dst, netip.AddrPortFrom(netip.MustParseAddr("10.0.2.1"), port), netip.MustParseAddrPort("10.0.2.2:6002"))
		live := steady(4000, 0)
		live.Burst = 8
		s := b.src.StartSend(live)
		sinks["stormed"].Wait(100, patience)
		for range 20 { // one at a time: each may stand in the way of one send
			for _, m := range st.messages {
				st.send(t, m)
				reaches(sinks["stormed"], 1, patience)
			}
		}
		o := b.c.output("r", "stormed")
		if o.num("counters/errors-refused") == 0 || o.num("counters/errors-unreachable") == 0 || o.num("counters/errors-other") == 0 {
			t.Errorf("the storm does not show in the counters\n%v", o)
		}
		calm := s.Stop().Sent
		for name, sink := range sinks {
			sink.Exactly(calm)
			if o := b.c.output("r", name); o.num("counters/packets") != calm || o.num("counters/errors") != 0 {
				t.Errorf("%s: want %d packets, none lost\n%v", name, calm, o)
			}
		}

		// As fast as it goes: now the branch may lose some, and counts them; its siblings still lose none.
		s = b.src.StartSend(live)
		end := time.Now().Add(time.Second)
		for time.Now().Before(end) {
			for _, m := range st.messages {
				st.send(t, m)
			}
		}
		sent := calm + s.Stop().Sent
		for name, sink := range sinks {
			if name == "stormed" {
				continue
			}
			sink.Exactly(sent)
			if o := b.c.output("r", name); o.num("counters/packets") != sent || o["counters/last-error"] != "" {
				t.Errorf("%s: want %d packets and no error\n%v", name, sent, o)
			}
		}
		sinks["stormed"].Quiet(quiet)
		o = b.c.output("r", "stormed")
		if got := sinks["stormed"].Received(); got != o.num("counters/packets") || got+o.num("counters/errors") != sent {
			t.Errorf("the stormed branch: %d received of %d\n%v", got, sent, o)
		} else {
			t.Logf("the stormed branch lost %d of %d", sent-got, sent-calm)
		}
		// It recovers by itself, and was warned of once.
		s = b.src.StartSend(live)
		b.c.follow(outputPath("r", "stormed")+"/state").is(patience, outputPath("r", "stormed")+"/state/oper-status", "up")
		s.Stop()
		logged(t, b.d, 1, 1, "level=WARN", "output is down", "output=stormed ")
		logged(t, b.d, 0, 0, "level=WARN", "output=one ")
	})
}
