// SPDX-License-Identifier: Apache-2.0

package form

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Output is one output as the short form says it.
type Output struct {
	Group     netip.Addr // a multicast group
	Port      uint16     // 0: keep the port that arrived
	Interface string
	Dest      netip.Addr // the host that gets the copy; invalid: the group
}

// String returns the form that ParseOutput reads.
func (o Output) String() string {
	s := fmt.Sprintf("%v:%d:%s", o.Group, o.Port, o.Interface)
	if o.Dest.IsValid() {
		s += "@" + o.Dest.String()
	}
	return s
}

// Format writes a list of outputs, separated by commas.
func Format(outs []Output) string {
	parts := make([]string, len(outs))
	for i, o := range outs {
		parts[i] = o.String()
	}
	return strings.Join(parts, ",")
}

// Error says what is wrong with a form, and where.
type Error struct {
	Text   string // the whole argument
	Offset int    // byte at which the fault is; len(Text) where something is missing at the end
	Reason string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%q, position %d: %s", e.Text, e.Offset+1, e.Reason)
}

// OutputName is the name of an output that was given none. The same output always gets the same name, so that adding it
// twice is adding it once. dest is the host, else the group that the copies go to; port 0 is written "0".
func OutputName(iface string, dest netip.Addr, port uint16) string {
	return iface + "@" + dest.String() + ":" + strconv.Itoa(int(port))
}

// RuleName is the name of a rule that was given none. source is invalid where any source is meant.
func RuleName(iface string, group netip.Addr, port uint16, source netip.Addr) string {
	s := iface + ":" + group.String() + ":" + strconv.Itoa(int(port))
	if source.IsValid() {
		s += ":" + source.String()
	}
	return s
}
