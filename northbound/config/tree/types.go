// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/openconfig/goyang/pkg/yang"

	"mcr/gen"
	"mcr/northbound/config/json5"
)

// Type is the type of a configuration leaf: a string, a boolean, an unsigned integer, an enumeration or an identity. The
// modules use no other.
type Type struct {
	Name   string // of the YANG type
	goType reflect.Type
	length [2]uint64
	ranges [][2]uint64 // of an integer, ascending
	match  []*regexp.Regexp
	enum   *enum
}

type enum struct {
	values   map[string]int64
	names    map[int64]string
	identity bool
	module   string // of the identities
	alias    string // OpenConfig's module of the same identities
}

// identityAliases are the modules from which OpenConfig clients take identities that have the same names here.
var identityAliases = map[string]string{
	"INSTALL_PROTOCOL_TYPE": "openconfig-policy-types",
	"NETWORK_INSTANCE_TYPE": "openconfig-network-instance-types",
	"PIM_MODE":              "openconfig-pim-types",
	"INTERFACE_TYPE":        "iana-if-type",
}

// newType panics for a kind of type that the modules do not use today.
func newType(y *yang.YangType, field reflect.Type) *Type {
	t := &Type{Name: y.Name, goType: field, length: [2]uint64{0, math.MaxUint64}}
	if k := field.Kind(); k == reflect.Pointer || k == reflect.Slice {
		t.goType = field.Elem()
	}
	for _, r := range y.Range {
		t.ranges = append(t.ranges, [2]uint64{r.Min.Value, r.Max.Value})
	}
	for _, r := range y.Length {
		t.length = [2]uint64{r.Min.Value, r.Max.Value}
	}
	for _, p := range y.Pattern {
		t.match = append(t.match, regexp.MustCompile("^(?:"+p+")$"))
	}
	switch y.Kind {
	case yang.Yenum, yang.Yidentityref:
		t.enum = newEnum(t.goType.Name(), y.Kind == yang.Yidentityref)
	case yang.Ystring, yang.Ybool, yang.Yuint8, yang.Yuint16, yang.Yuint32, yang.Yuint64:
	default:
		panic(fmt.Sprintf("type %s of kind %v is not supported", y.Name, y.Kind))
	}
	return t
}

func newEnum(goName string, identity bool) *enum {
	en := &enum{values: map[string]int64{}, names: map[int64]string{}, identity: identity}
	for v, d := range gen.ΛEnum[goName] {
		en.values[d.Name], en.names[v] = v, d.Name
		en.module = d.DefiningModule
	}
	for base, module := range identityAliases {
		if strings.HasSuffix(goName, "_"+base) {
			en.alias = module
		}
	}
	return en
}

// decode makes a Go value of a JSON value, or says what is wrong with it.
func (t *Type) decode(v *json5.Value) (reflect.Value, string) {
	want := json5.String
	switch {
	case t.goType.Kind() == reflect.Bool:
		want = json5.Bool
	case t.ranges != nil && (v.Kind != json5.String || t.goType.Kind() != reflect.Uint64): // 64 bits come as either
		want = json5.Number
	}
	if v.Kind != want {
		return reflect.Value{}, fmt.Sprintf("%v where %v is wanted", v.Kind, want)
	}
	return t.parse(v.Text)
}

// parse makes a Go value of a text, such as that of a key.
func (t *Type) parse(s string) (reflect.Value, string) {
	v := reflect.New(t.goType).Elem()
	switch {
	case t.enum != nil:
		n, reason := t.enum.parse(s)
		v.SetInt(n)
		return v, reason
	case t.goType.Kind() == reflect.Bool:
		if s != "true" && s != "false" {
			return v, fmt.Sprintf("%s is neither true nor false", quote(s))
		}
		v.SetBool(s == "true")
		return v, ""
	case t.ranges != nil:
		n, reason := t.integer(s)
		if reason == "" {
			v.SetUint(n)
		}
		return v, reason
	}
	v.SetString(s)
	return v, t.checkString(s)
}

// integer takes a whole number, also in a form such as 5.0 or 5e3, never one with a fraction.
func (t *Type) integer(s string) (uint64, string) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		f, ferr := strconv.ParseFloat(s, 64)
		switch {
		case ferr != nil && f == 0, math.IsNaN(f), strings.ContainsAny(s, "_xXpP"):
			return 0, fmt.Sprintf("%s is not a number", quote(s))
		case f != math.Trunc(f):
			return 0, fmt.Sprintf("%s is not a whole number", clip(s))
		case f < 0 || f > 1<<53:
			return 0, fmt.Sprintf("%s is not in the range %s", clip(s), t.rangeText())
		}
		n = uint64(f)
	}
	if !slices.ContainsFunc(t.ranges, func(r [2]uint64) bool { return n >= r[0] && n <= r[1] }) {
		return 0, fmt.Sprintf("%s is not in the range %s", clip(s), t.rangeText())
	}
	return n, ""
}

func (t *Type) rangeText() string {
	var parts []string
	for _, r := range t.ranges {
		parts = append(parts, fmt.Sprintf("%d to %d", r[0], r[1]))
	}
	return strings.Join(parts, " or ")
}

func (en *enum) parse(s string) (int64, string) {
	name := s
	if module, rest, ok := strings.Cut(s, ":"); ok && en.identity {
		if module != en.module && module != en.alias {
			return 0, fmt.Sprintf("%s: no such module here; %s is wanted", quote(s), en.module)
		}
		name = rest
	}
	if n, ok := en.values[name]; ok {
		return n, ""
	}
	var names []string
	for n := range en.values {
		names = append(names, n)
	}
	slices.Sort(names)
	return 0, fmt.Sprintf("%s is none of %s", quote(s), strings.Join(names, ", "))
}

// checkString says what is wrong in words that fit the type, before it falls back on the pattern.
func (t *Type) checkString(s string) string {
	var reason string
	switch t.Name {
	case "ipv4-address", "ipv4-unicast", "ipv4-multicast":
		reason = checkAddress(s, t.Name)
	case "ipv4-prefix":
		reason = checkPrefix(s)
	case "interface-name":
		if s == "." || s == ".." || s == "*" {
			reason = fmt.Sprintf("no interface can be called %s", quote(s))
		}
	}
	if reason != "" {
		return reason
	}
	if n := uint64(len([]rune(s))); n < t.length[0] || n > t.length[1] {
		return fmt.Sprintf("%s has %d characters; %d to %d are wanted", quote(s), n, t.length[0], t.length[1])
	}
	for _, m := range t.match {
		if !m.MatchString(s) {
			return fmt.Sprintf("%s is not a valid %s", quote(s), t.Name)
		}
	}
	return ""
}

// checkAddress explains; the pattern of the type decides.
func checkAddress(s, typ string) string {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return fmt.Sprintf("%s is not an IPv4 address", quote(s))
	case !a.Is4():
		return fmt.Sprintf("%s is an IPv6 address; only IPv4 is supported", quote(s))
	case typ == "ipv4-multicast" && !a.IsMulticast():
		return fmt.Sprintf("%s is not a multicast group", s)
	case typ != "ipv4-unicast":
		return ""
	}
	switch b := a.As4(); {
	case a.IsMulticast():
		return fmt.Sprintf("%s is a multicast group; a host address is wanted", s)
	case s == "255.255.255.255":
		return fmt.Sprintf("%s is the broadcast address; a host address is wanted", s)
	case b[0] == 0:
		return fmt.Sprintf("%s is in 0.0.0.0/8; a host address is wanted", s)
	case b[0] >= 240:
		return fmt.Sprintf("%s is in the reserved 240.0.0.0/4; a host address is wanted", s)
	}
	return ""
}

func checkPrefix(s string) string {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil || !p.Addr().Is4():
		return fmt.Sprintf("%s is not an IPv4 prefix", quote(s))
	case p != p.Masked():
		return fmt.Sprintf("%s has host bits set; %v is meant", s, p.Masked())
	}
	return ""
}

// text is the inverse of parse. v is not a pointer.
func (t *Type) text(v reflect.Value) string {
	switch {
	case t.enum != nil:
		return t.enum.names[v.Int()]
	case v.Kind() == reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case t.ranges != nil:
		return strconv.FormatUint(v.Uint(), 10)
	}
	return v.String()
}
