// SPDX-License-Identifier: Apache-2.0

package vm_test

import (
	"net/netip"
	"testing"
	"time"

	"mcr/cmd/mcrgen/stream"
	"mcr/tests/lab"
)

// F6: Linux 6.1 and older refuse a segmented send (EIO) where the egress does not fill in checksums. That egress goes on with single sends,
// loses nothing and says so, the other one is not touched; and when it can again it is asked again.
func TestF6_EgressRefusesSegmentation(t *testing.T) {
	for _, engine := range []string{"uring", "mmsg"} {
		t.Run(engine, func(t *testing.T) {
			l := lab.New(t)
			src, rtr, dst := l.Host("src"), l.Host("rtr"), l.Host("dst")
			l.Link(src, "eth0", "10.0.1.1/24", rtr, "eth0", "10.0.1.2/24")
			l.Link(rtr, "plain", "10.0.2.1/24", dst, "eth0", "10.0.2.2/24")
			l.Link(rtr, "bare", "10.0.3.1/24", dst, "eth1", "10.0.3.2/24")
			rtr.NoChecksumOffload("bare")
			d := rtr.MCRD(lab.MCRDConfig{Config: `{ rules: [{
				name: "r", input: { interface: "eth0", group: "239.1.1.1", port: 5000 },
				outputs: [
					{ name: "plain", interface: "plain", unicast_dest: "10.0.2.2", port: 5000 },
					{ name: "bare", interface: "bare", unicast_dest: "10.0.3.2", port: 5000 },
					{ name: "group", interface: "bare", group: "239.1.1.1", port: 5000 },
				],
			}] }`})
			if err := d.Ctl("set", "mcr/dataplane/config/engine", engine).Wait(lab.Patience(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			await(t, d, "mcr/dataplane/state/engine-used", engine)
			sinks := []*lab.Sink{dst.Sink("10.0.2.2:5000"), dst.Sink("10.0.3.2:5000"), dst.GroupSink("eth1", "239.1.1.1:5000")}
			s := lab.Stream{Iface: "eth0", Group: "239.1.1.1", Port: 5000, Count: 320, Rate: 1000, Size: 1000, Segments: 16, TTL: 4}
			src.Send(s)
			for _, sink := range sinks {
				sink.Exactly(320)
			}
			gso := func(output, leaf string) string {
				return "mcr/forwarding/rules/rule[name=r]/outputs/output[name=" + output + "]/state/gso-" + leaf
			}
			await(t, d, gso("plain", "used"), "true")
			if refusesSegments(t, rtr, "bare", "10.0.3.2:9") {
				await(t, d, gso("bare", "reason"), "the interface refused it")
				await(t, d, gso("group", "used"), "false")
			}
			rtr.ChecksumOffload("bare")
			rtr.Down("bare")
			rtr.Up("bare")
			await(t, d, gso("bare", "used"), "true")
			src.Send(s)
			for _, sink := range sinks {
				sink.Exactly(640)
			}
		})
	}
}

// refusesSegments finds out whether the kernel refuses a segmented send by this interface.
func refusesSegments(t *testing.T, h *lab.Host, iface, dest string) bool {
	t.Helper()
	var sent stream.Sent
	err := h.Do(func() error {
		s, err := stream.OpenSender(stream.SendConfig{Interface: iface, Dest: netip.MustParseAddrPort(dest), Sizes: []int{100}, Segments: 4, Count: 4})
		if err != nil {
			return err
		}
		defer s.Close()
		sent, err = s.Run(t.Context())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sent.Sent == 0
}
