// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"mcr/tests/lab"
)

// memberships lists the groups of an interface, as the kernel of the host has them.
func memberships(t *testing.T, h *lab.Host, iface string) (groups []string) {
	t.Helper()
	var text []byte
	err := h.Do(func() (err error) { text, err = os.ReadFile("/proc/thread-self/net/igmp"); return err })
	if err != nil {
		t.Fatal(err)
	}
	here := false
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		switch {
		case line[0] != '\t':
			here = len(f) > 1 && f[1] == iface
		case here:
			var b [4]byte
			if v, err := hex.DecodeString(f[0]); err == nil && len(v) == 4 {
				binary.NativeEndian.PutUint32(b[:], binary.BigEndian.Uint32(v))
				groups = append(groups, netip.AddrFrom4(b).String())
			}
		}
	}
	return groups
}

// joined waits until an interface is a member of these groups beside 224.0.0.1, which it always is.
func joined(t *testing.T, h *lab.Host, iface string, want ...string) {
	t.Helper()
	lab.Until(t, patience, fmt.Sprintf("%s is a member of %v", iface, want), func() error {
		got := slices.DeleteFunc(memberships(t, h, iface), func(g string) bool { return g == "224.0.0.1" })
		if slices.Sort(got); !slices.Equal(got, want) {
			return fmt.Errorf("it is one of %v", got)
		}
		return nil
	})
}

// report is one group record of an IGMPv3 report, RFC 3376, 4.2.
type report struct {
	kind    byte
	group   netip.Addr
	sources []netip.Addr
}

// reports reads the IGMPv3 reports out of a capture.
func reports(c *lab.Capture) (all []report) {
	for _, p := range c.Packets(func(p lab.Packet) bool { return p.Protocol == 2 && len(p.Payload) >= 8 && p.Payload[0] == 0x22 }) {
		rest := p.Payload[8:]
		for n := binary.BigEndian.Uint16(p.Payload[6:]); n > 0 && len(rest) >= 8; n-- {
			r := report{kind: rest[0], group: netip.AddrFrom4([4]byte(rest[4:]))}
			sources := int(binary.BigEndian.Uint16(rest[2:]))
			rest = rest[8:]
			for ; sources > 0 && len(rest) >= 4; sources-- {
				r.sources = append(r.sources, netip.AddrFrom4([4]byte(rest)))
				rest = rest[4:]
			}
			all = append(all, r)
		}
	}
	return all
}

// heard waits until the link has carried such a report.
func heard(t *testing.T, c *lab.Capture, want report) {
	t.Helper()
	lab.Until(t, patience, fmt.Sprintf("IGMPv3 report %+v", want), func() error {
		for _, r := range reports(c) {
			if r.kind == want.kind && r.group == want.group && slices.Equal(r.sources, want.sources) {
				return nil
			}
		}
		return errors.New("not heard")
	}, func() string { return fmt.Sprintf("heard: %+v", reports(c)) })
}

// Kinds of group records, RFC 3376, 4.2.12.
const (
	changeToInclude = 3
	changeToExclude = 4
	allowNew        = 5
	blockOld        = 6
)

// P1.9: the group is joined with the first user of it and left with the last, on the wire as well.
func TestP1_9_GroupIsJoinedAndLeft(t *testing.T) {
	t.Parallel()
	n := newHybrid(t)
	wire := n.src.Tap("eth0")
	d := runRules(t, n.rtr, "", hybridRule())
	joined(t, n.rtr, "eth0", group)
	heard(t, wire, report{changeToExclude, netip.MustParseAddr(group), nil})
	d.await(rulePath("hybrid-feed")+"/state/joined", "true")

	second := with(ruleOn("second", "eth0", uni("o", "gre0", "10.2.0.5", 7000)), obj{"input-port": 5001})
	d.must(d.update(rulePath("second"), second))
	d.must(d.remove(rulePath("hybrid-feed")))
	joined(t, n.rtr, "eth0", group) // the second rule still wants it
	for _, r := range reports(wire) {
		if r.kind == changeToInclude {
			t.Errorf("left while a rule wants it: %+v", r)
		}
	}
	d.must(d.remove(rulePath("second")))
	joined(t, n.rtr, "eth0")
	heard(t, wire, report{changeToInclude, netip.MustParseAddr(group), nil})
}

// P1.9: a rule that is switched off, and a daemon that is gone, are no users.
func TestP1_9_GroupIsLeftByDisabledRuleAndAtTheEnd(t *testing.T) {
	t.Parallel()
	n := newHybrid(t)
	d := runRules(t, n.rtr, "", hybridRule())
	joined(t, n.rtr, "eth0", group)
	d.must(d.update(rulePath("hybrid-feed")+"/config/enabled", false))
	joined(t, n.rtr, "eth0")
	d.must(d.update(rulePath("hybrid-feed")+"/config/enabled", true))
	joined(t, n.rtr, "eth0", group)
	if err := d.Stop(); err != nil {
		t.Errorf("mcrd: %v", err)
	}
	joined(t, n.rtr, "eth0")
}

// P1.9: with a source the join is source-specific, and only that source is forwarded.
func TestP1_9_SourceSpecificJoin(t *testing.T) {
	t.Parallel()
	n := newHybrid(t)
	n.src.Addr("eth0", "10.0.0.7/24")
	n.src.Addr("eth0", "10.0.0.8/24")
	wire, sink, sink8 := n.src.Tap("eth0"), n.far.Sink("10.2.0.5:5000"), n.far.Sink("10.2.0.5:5008")
	d := runRules(t, n.rtr, "", with(hybridRule(uni("spoke", "gre0", "10.2.0.5", 5000)), obj{"input-source": "10.0.0.7"}))
	heard(t, wire, report{allowNew, netip.MustParseAddr(group), []netip.Addr{netip.MustParseAddr("10.0.0.7")}})

	from := func(source string) {
		t.Helper()
		s := feed(100)
		s.Source = source
		n.src.Send(s)
	}
	from("10.0.0.8")
	from("10.0.0.7")
	from("10.0.0.1")
	sink.Exactly(100)
	for a, r := range sink.Report(0).Sources {
		if a.Addr() != netip.MustParseAddr("10.2.0.1") {
			t.Errorf("%d from %v", r, a)
		}
	}

	// A second source of the group on the same port, then the first goes.
	d.must(d.update(rulePath("eight"), with(ruleOn("eight", "eth0", uni("spoke", "gre0", "10.2.0.5", 5008)), obj{"input-source": "10.0.0.8"})))
	from("10.0.0.8")
	from("10.0.0.7")
	sink.Exactly(200)
	sink8.Exactly(100)
	d.must(d.remove(rulePath("hybrid-feed")))
	heard(t, wire, report{blockOld, netip.MustParseAddr(group), []netip.Addr{netip.MustParseAddr("10.0.0.7")}})
	from("10.0.0.8")
	from("10.0.0.7")
	sink8.Exactly(200)
	sink.Exactly(200)
}
