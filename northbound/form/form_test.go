// SPDX-License-Identifier: Apache-2.0

package form

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var addrs = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

// P1.5: the roadmap's example, and the same form back.
func TestParseOutputs(t *testing.T) {
	g := netip.MustParseAddr("239.1.1.1")
	for _, tt := range []struct {
		name, in string
		want     []Output
	}{
		{"roadmap_example", "239.1.1.1:5000:eth1,239.1.1.1:5000:gre0@10.2.0.5", []Output{
			{Group: g, Port: 5000, Interface: "eth1"},
			{Group: g, Port: 5000, Interface: "gre0", Dest: netip.MustParseAddr("10.2.0.5")},
		}},
		{"port_0_keeps", "239.1.1.1:0:eth1", []Output{{Group: g, Interface: "eth1"}}},
		{"vlan_interface", "239.1.1.1:65535:eth1.100", []Output{{Group: g, Port: 65535, Interface: "eth1.100"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseOutputs(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, addrs); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if s := Format(got); s != tt.in {
				t.Errorf("printed back as %q, want %q", s, tt.in)
			}
		})
	}
}

// P1.5: a malformed form is refused with the position of the fault.
func TestParseFaults(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		offset   int
		reason   string
	}{
		{"nothing", "", 0, "empty"},
		{"empty_element", "239.1.1.1:1:eth1,,239.1.1.1:1:eth2", 17, "empty"},
		{"comma_at_end", "239.1.1.1:1:eth1,", 17, "empty"},
		{"nothing_after_at", "239.1.1.1:5000:gre0@", 20, "nothing after the @"},
		{"two_at", "239.1.1.1:5000:gre0@10.2.0.5@10.2.0.6", 28, "second @"},
		{"two_at_together", "239.1.1.1:5000:gre0@@", 20, "second @"},
		{"ipv6_destination", "239.1.1.1:5000:gre0@2001:db8::1", 20, "IPv6"},
		{"ipv6_group", "ff0e::1:5000:eth1", 0, "IPv6"},
		{"ipv6_group_in_brackets", "[ff0e::1]:5000:eth1", 0, "IPv6"},
		{"host_name_as_destination", "239.1.1.1:5000:gre0@spoke.example.net", 20, "host name"},
		{"host_name_as_group", "all.example.net:5000:eth1", 0, "host name"},
		{"port_too_large", "239.1.1.1:65536:eth1", 10, "0 to 65535"},
		{"port_negative", "239.1.1.1:-1:eth1", 10, "0 to 65535"},
		{"port_signed", "239.1.1.1:+1:eth1", 10, "0 to 65535"},
		{"port_empty", "239.1.1.1::eth1", 10, "port is empty"},
		{"port_missing", "239.1.1.1", 9, "port is missing"},
		{"interface_missing", "239.1.1.1:5000", 14, "interface is missing"},
		{"interface_empty", "239.1.1.1:5000:", 15, "interface is empty"},
		{"interface_empty_before_at", "239.1.1.1:5000:@10.0.0.1", 15, "interface is empty"},
		{"interface_too_long", "239.1.1.1:5000:abcdefghijklmnop", 30, "at most 15"},
		{"interface_with_slash", "239.1.1.1:5000:a/b", 16, "character"},
		{"interface_dot", "239.1.1.1:5000:..", 15, "no interface"},
		{"third_colon", "239.1.1.1:5000:eth1:x", 19, "third colon"},
		{"unicast_group", "10.0.0.1:5000:eth1", 0, "not a multicast group"},
		{"link_local_group", "224.0.0.5:5000:eth1", 0, "224.0.0.0/24"},
		{"group_with_leading_zero", "239.01.1.1:5000:eth1", 0, "not an IPv4"},
		{"group_as_destination", "239.1.1.1:5000:gre0@239.1.1.2", 20, "multicast group"},
		{"broadcast", "239.1.1.1:5000:gre0@255.255.255.255", 20, "broadcast"},
		{"class_e", "239.1.1.1:5000:gre0@240.0.0.1", 20, "not a host"},
		{"zero_net", "239.1.1.1:5000:gre0@0.0.0.1", 20, "not a host"},
		{"blank_after_comma", "239.1.1.1:1:eth1, 239.1.1.1:1:eth2", 17, "not an IPv4"},
		{"fault_in_second", "239.1.1.1:1:eth1,239.1.1.1:70000:eth2", 27, "0 to 65535"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseOutputs(tt.in)
			e, ok := errors.AsType[*Error](err)
			if !ok {
				t.Fatalf("got %v, want an *Error", err)
			}
			if e.Offset != tt.offset || !strings.Contains(e.Reason, tt.reason) || e.Text != tt.in {
				t.Errorf("got %d %q of %q, want %d %q", e.Offset, e.Reason, e.Text, tt.offset, tt.reason)
			}
		})
	}
}

// TREE.md 1.1: names that users leave out.
func TestDefaultNames(t *testing.T) {
	g, h := netip.MustParseAddr("239.1.1.1"), netip.MustParseAddr("10.1.0.5")
	for got, want := range map[string]string{
		OutputName("wg0", h, 5000):              "wg0@10.1.0.5:5000",
		OutputName("eth1", g, 0):                "eth1@239.1.1.1:0",
		RuleName("eth0", g, 5000, netip.Addr{}): "eth0:239.1.1.1:5000",
		RuleName("eth0", g, 0, h):               "eth0:239.1.1.1:0:10.1.0.5",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func FuzzParseOutputs(f *testing.F) {
	for _, s := range []string{
		"239.1.1.1:5000:eth1,239.1.1.1:5000:gre0@10.2.0.5", "239.1.1.1:0:eth1", "", ",", "@", "::", "[ff02::1]:1:e",
		"ff0e::1:5000:eth1", "239.1.1.1:65536:e", "239.1.1.1:1:e@@", "239.1.1.1:1:a:b:c@1.2.3.4",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		outs, err := ParseOutputs(s)
		if err != nil {
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Offset < 0 || e.Offset > len(s) || e.Reason == "" || e.Text != s {
				t.Fatalf("%q: bad error %#v", s, err)
			}
			return
		}
		again, err := ParseOutputs(Format(outs))
		if err != nil {
			t.Fatalf("%q was printed as %q: %v", s, Format(outs), err)
		}
		if diff := cmp.Diff(outs, again, addrs); diff != "" {
			t.Fatalf("%q (-first +again):\n%s", s, diff)
		}
	})
}
