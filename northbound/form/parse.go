// SPDX-License-Identifier: Apache-2.0

package form

import (
	"net/netip"
	"strconv"
	"strings"
)

// ParseOutputs reads a list of outputs, separated by commas. The offset of an *Error counts from the start of list.
func ParseOutputs(list string) ([]Output, error) {
	var outs []Output
	start := 0
	for part := range strings.SplitSeq(list, ",") {
		o, err := parse(part)
		if err != nil {
			return nil, &Error{Text: list, Offset: start + err.Offset, Reason: err.Reason}
		}
		outs = append(outs, o)
		start += len(part) + 1
	}
	return outs, nil
}

// ParseOutput reads one output. What it returns as an error is an *Error.
func ParseOutput(s string) (Output, error) {
	o, err := parse(s)
	if err != nil {
		return Output{}, err
	}
	return o, nil
}

// parse returns a nil *Error where s is well formed.
func parse(s string) (o Output, err *Error) {
	fail := func(offset int, reason string) (Output, *Error) {
		return Output{}, &Error{Text: s, Offset: offset, Reason: reason}
	}
	if s == "" {
		return fail(0, "empty; GROUP:PORT:INTERFACE is wanted")
	}
	if i := strings.IndexByte(s, ','); i >= 0 {
		return fail(i, "a comma: one output is wanted")
	}
	head, dest, hasDest := strings.Cut(s, "@")
	group, rest, ok := strings.Cut(head, ":")
	if at, reason := checkIPv6(head); reason != "" {
		return fail(at, reason)
	}
	if o.Group, err = address(group); err != nil {
		return fail(err.Offset, err.Reason)
	}
	if reason := checkGroup(o.Group); reason != "" {
		return fail(0, reason)
	}
	if !ok {
		return fail(len(group), "the port is missing; GROUP:PORT:INTERFACE is wanted")
	}
	at := len(group) + 1
	port, iface, ok := strings.Cut(rest, ":")
	n, perr := strconv.ParseUint(port, 10, 16)
	switch {
	case port == "":
		return fail(at, "the port is empty; 0 keeps the port that arrived")
	case perr != nil:
		return fail(at, "the port is not a number from 0 to 65535")
	case !ok:
		return fail(at+len(port), "the interface is missing; GROUP:PORT:INTERFACE is wanted")
	}
	o.Port = uint16(n)
	at += len(port) + 1
	if i, reason := checkInterface(iface); reason != "" {
		return fail(at+i, reason)
	}
	o.Interface = iface
	if !hasDest {
		return o, nil
	}
	at += len(iface) + 1
	if i := strings.IndexByte(dest, '@'); i >= 0 {
		return fail(at+i, "a second @")
	}
	if dest == "" {
		return fail(at, "nothing after the @; a host address is wanted")
	}
	if o.Dest, err = address(dest); err != nil {
		return fail(at+err.Offset, err.Reason)
	}
	if reason := checkHost(o.Dest); reason != "" {
		return fail(at, reason)
	}
	return o, nil
}

// checkIPv6 looks for an IPv6 group, whose colons would otherwise be taken for separators.
func checkIPv6(head string) (offset int, reason string) {
	if strings.HasPrefix(head, "[") {
		return 0, "an IPv6 address; only IPv4 is supported"
	}
	if strings.Count(head, ":") <= 2 {
		return 0, ""
	}
	for i := range head { // the longest front part that is an address would be the group
		if j := len(head) - i; j == len(head) || head[j] == ':' {
			if a, err := netip.ParseAddr(head[:j]); err == nil && a.Is6() {
				return 0, "an IPv6 address; only IPv4 is supported"
			}
		}
	}
	for range 3 {
		offset += strings.IndexByte(head[offset:], ':') + 1
	}
	return offset - 1, "a third colon; GROUP:PORT:INTERFACE is wanted"
}

// address reads an IPv4 address; the offset of the error counts from the start of s.
func address(s string) (netip.Addr, *Error) {
	a, err := netip.ParseAddr(s)
	switch {
	case err == nil && a.Is4():
		return a, nil
	case err == nil || strings.ContainsAny(s, ":["):
		return a, &Error{Reason: "an IPv6 address; only IPv4 is supported"}
	case s == "":
		return a, &Error{Reason: "an IPv4 address is missing"}
	case strings.ContainsFunc(s, func(r rune) bool { return r|0x20 >= 'a' && r|0x20 <= 'z' }):
		return a, &Error{Reason: "a host name; an IPv4 address is wanted"}
	}
	return a, &Error{Reason: "not an IPv4 address"}
}

func checkGroup(a netip.Addr) string {
	switch {
	case !a.IsMulticast():
		return a.String() + " is not a multicast group"
	case a.IsLinkLocalMulticast():
		return "groups in 224.0.0.0/24 are never forwarded"
	}
	return ""
}

func checkHost(a netip.Addr) string {
	switch b := a.As4(); {
	case a.IsMulticast():
		return a.String() + " is a multicast group; a host address is wanted after the @"
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "the broadcast address; a host address is wanted after the @"
	case b[0] == 0, b[0] >= 240:
		return a.String() + " is not a host address"
	}
	return ""
}

// checkInterface does what the kernel does, and refuses what the schema's type refuses.
func checkInterface(s string) (offset int, reason string) {
	switch {
	case s == "":
		return 0, "the interface is empty"
	case len(s) > 15:
		return 15, "an interface name has at most 15 characters"
	case s == ".", s == "..", s == "*":
		return 0, "no interface can have this name"
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '/' || c == ':' {
			return i, "a character that no interface name has"
		}
	}
	return 0, ""
}
