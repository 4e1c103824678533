// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"mcr/tests/lab"
)

// kernelLink is an interface as ip(8) sees it: an opinion that is not mcrd's, nor of the library that mcrd uses.
type kernelLink struct {
	Index    int      `json:"ifindex"`
	Name     string   `json:"ifname"`
	Flags    []string `json:"flags"`
	MTU      int      `json:"mtu"`
	Oper     string   `json:"operstate"`
	Hardware string   `json:"link_type"`
	Master   string   `json:"master"`
	Info     struct {
		Kind string `json:"info_kind"`
	} `json:"linkinfo"`
	Addrs []kernelAddr `json:"addr_info"`
}

type kernelAddr struct {
	Family string `json:"family"`
	Local  string `json:"local"`
	Peer   string `json:"address"`
	Bits   int    `json:"prefixlen"`
}

func (k *kernelLink) has(flag string) bool { return slices.Contains(k.Flags, flag) }

// kernelLinks lists the interfaces of a host.
func kernelLinks(t testing.TB, h *lab.Host) (all []kernelLink) {
	t.Helper()
	if err := json.Unmarshal([]byte(h.Run("ip", "-j", "-d", "addr", "show")), &all); err != nil {
		t.Fatal(err)
	}
	for i := range all {
		k := &all[i]
		k.Addrs = slices.DeleteFunc(k.Addrs, func(a kernelAddr) bool { return a.Family != "inet" })
	}
	return all
}

// operNames are the words of iproute2 in OpenConfig's spelling, where they differ.
var operNames = map[string]string{"LOWERLAYERDOWN": "LOWER_LAYER_DOWN", "NOTPRESENT": "NOT_PRESENT"}

// leaves is what /interfaces has to say of the interface.
func (k *kernelLink) leaves(into leaves) {
	at := "interfaces/interface[name=" + k.Name + "]/"
	state := func(leaf string, value any) { into[at+"state/"+leaf] = fmt.Sprint(value) }
	state("name", k.Name)
	state("ifindex", k.Index)
	state("kind", k.Info.Kind)
	state("mtu", min(k.MTU, 65535))
	state("multicast", k.has("MULTICAST"))
	state("point-to-point", k.has("POINTOPOINT"))
	state("logical", k.Info.Kind != "" || k.has("LOOPBACK"))
	state("admin-status", "DOWN")
	if k.has("UP") {
		state("admin-status", "UP")
	}
	oper := k.Oper
	if name := operNames[oper]; name != "" {
		oper = name
	}
	if oper == "UNKNOWN" && !k.has("UP") {
		oper = "DOWN"
	}
	state("oper-status", oper)
	if k.Master != "" {
		state("master", k.Master)
	}
	at += "subinterfaces/subinterface[index=0]/"
	state("index", 0)
	for _, a := range k.Addrs {
		at := at + "ipv4/addresses/address[ip=" + a.Local + "]/state/"
		into[at+"ip"], into[at+"prefix-length"] = a.Local, fmt.Sprint(a.Bits)
		if a.Peer != "" && a.Peer != a.Local {
			into[at+"peer"] = a.Peer
		}
	}
}

// candidate is an address that may be at the far end.
type candidate struct{ addr, origin, passedOver string }

// candidates are those of a link by P2.4 for a static output, in its plainest form: everything configured is used; without that the first peer
// of an address; without that the first other host of a /31 or /30. What is an address of the host itself is passed over.
func (k *kernelLink) candidates(configured []string, own map[string]bool) (all []candidate) {
	for _, a := range configured {
		all = append(all, candidate{addr: a, origin: "configured"})
	}
	for _, a := range k.Addrs {
		if a.Peer != "" && a.Peer != a.Local {
			all = append(all, candidate{addr: a.Peer, origin: "peer-address"})
		}
	}
	for _, a := range k.Addrs {
		if other := otherHost(a); other != "" {
			all = append(all, candidate{addr: other, origin: "subnet-peer"})
		}
	}
	seen := map[string]bool{} // what several name is one candidate, of the best place
	all = slices.DeleteFunc(all, func(c candidate) bool { was := seen[c.addr]; seen[c.addr] = true; return was })
	best := ""
	for i := range all {
		c := &all[i]
		switch {
		case own[c.addr]:
			c.passedOver = "own-address"
		case best != "" && (best != c.origin || best != "configured"):
			c.passedOver = "outranked"
		default:
			best, c.passedOver = c.origin, "none"
		}
	}
	return all
}

// otherHost is the other host of a /31 (RFC 3021) or /30, "" for any other address.
func otherHost(a kernelAddr) string {
	ip := netip.MustParseAddr(a.Local)
	last := ip.As4()[3] & 3
	switch {
	case a.Peer != "" && a.Peer != a.Local:
		return ""
	case a.Bits == 31 && last&1 == 0, a.Bits == 30 && last == 1:
		return ip.Next().String()
	case a.Bits == 31, a.Bits == 30 && last == 2:
		return ip.Prev().String()
	}
	return ""
}

// endpointLeaves is what /mcr/tunnel-endpoints has to say of the interface, where the global auto-her is as given.
func (k *kernelLink) endpointLeaves(into leaves, configured []string, own map[string]bool, autoHER bool) {
	if !k.has("POINTOPOINT") && k.has("MULTICAST") && len(configured) == 0 {
		return
	}
	at := endpointsPath(k.Name) + "/state/"
	into[at+"interface"], into[at+"kind"] = k.Name, k.Info.Kind
	into[at+"point-to-point"], into[at+"multicast"] = fmt.Sprint(k.has("POINTOPOINT")), fmt.Sprint(k.has("MULTICAST"))
	into[at+"her-active"] = fmt.Sprint(autoHER && k.has("POINTOPOINT") && !k.has("MULTICAST"))
	origin, used := "none", ""
	n := 0
	for _, c := range k.candidates(configured, own) {
		below := endpointsPath(k.Name) + "/candidates/candidate[address=" + c.addr + "]/state/"
		into[below+"address"], into[below+"origin"] = c.addr, c.origin
		into[below+"in-use"], into[below+"passed-over-reason"] = fmt.Sprint(c.passedOver == "none"), c.passedOver
		if c.passedOver == "none" {
			origin, used, n = c.origin, c.addr, n+1
		}
	}
	into[at+"endpoint-origin"], into[at+"reason"] = origin, "none"
	if n == 1 {
		into[at+"endpoint-address"] = used
	}
	if n == 0 {
		into[at+"reason"] = "no-peer-information"
	}
}

// agreement compares what mcrd says of interfaces and endpoints with what the kernel says.
type agreement struct {
	daemon
	h          *lab.Host
	configured map[string][]string // endpoints, by interface
	autoHER    bool
}

// want is what mcrd should say now.
func (a agreement) want() leaves {
	a.t.Helper()
	links, own := kernelLinks(a.t, a.h), map[string]bool{}
	for _, k := range links {
		for _, addr := range k.Addrs {
			own[addr.Local] = true
		}
	}
	all := leaves{}
	for _, k := range links {
		k.leaves(all)
		k.endpointLeaves(all, a.configured[k.Name], own, a.autoHER)
	}
	return all
}

// compared leaves out what the kernel has no opinion of.
func compared(all leaves) leaves {
	all = maps.Clone(all)
	maps.DeleteFunc(all, func(path, value string) bool {
		switch {
		case value == "", !strings.Contains(path, "/state/"), strings.Contains(path, "/counters/"), strings.Contains(path, "/endpoints/"):
			return true
		}
		switch path[strings.LastIndexByte(path, '/')+1:] {
		case "last-change", "description", "type":
			return true
		}
		return false
	})
	return all
}

// differences lists what is not as it should be, a few of it.
func differences(got, want leaves) error {
	var bad []string
	for path, w := range want {
		if g, is := got[path]; !is {
			bad = append(bad, fmt.Sprintf("%s is missing, want %s", path, w))
		} else if g != w {
			bad = append(bad, fmt.Sprintf("%s = %s, want %s", path, g, w))
		}
	}
	for path, g := range got {
		if _, is := want[path]; !is {
			bad = append(bad, fmt.Sprintf("%s = %s is too much", path, g))
		}
	}
	if len(bad) == 0 {
		return nil
	}
	slices.Sort(bad)
	return fmt.Errorf("%d differences:\n%s", len(bad), strings.Join(bad[:min(len(bad), 20)], "\n"))
}

// holds waits until mcrd and the kernel agree, and says of how many leaves.
func (a agreement) holds(within time.Duration, what string) int {
	a.t.Helper()
	n := 0
	lab.Until(a.t, within, "mcrd agrees with the kernel "+what, func() error {
		want := compared(a.want())
		n = len(want)
		return differences(compared(a.get("interfaces", "mcr/tunnel-endpoints")), want)
	})
	return n
}
