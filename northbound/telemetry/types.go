// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"strings"
	"time"
)

// Key is one key of a list entry.
type Key struct{ Name, Value string }

// Elem is one element of an absolute path, with its keys in schema order.
type Elem struct {
	Name string
	Keys []Key
}

// Path is an absolute path in the data tree: all keys given, no wildcard.
type Path []Elem

// Kind says which field of a Value holds it.
type Kind uint8

// Kinds of values. Enumerations, identities and addresses are strings; the schema knows which.
const (
	KindBool Kind = iota + 1
	KindUint
	KindInt
	KindString
	KindStrings // leaf-list of strings, enumerations or addresses
	KindUints   // leaf-list of unsigned integers
)

// Value is the value of a leaf or leaf-list. The zero Value is "absent".
type Value struct {
	Kind Kind
	Num  uint64 // bool 0|1, uint, int as two's complement
	Str  string
	list *leafList // few have one: ten thousand outputs have half a million Values, so they are small
}

// leafList is what a leaf-list holds, of one of the two.
type leafList struct {
	strs []string
	nums []uint64
}

// Bool returns a boolean.
func Bool(b bool) Value {
	v := Value{Kind: KindBool}
	if b {
		v.Num = 1
	}
	return v
}

// Uint returns an unsigned integer of any width.
func Uint[T ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uint](n T) Value {
	return Value{Kind: KindUint, Num: uint64(n)}
}

// String returns a string, enumeration, identity or address.
func String(s string) Value { return Value{Kind: KindString, Str: s} }

// Strings returns a leaf-list. It keeps s.
func Strings(s []string) Value { return Value{Kind: KindStrings, list: &leafList{strs: s}} }

// Uints returns a leaf-list. It keeps n.
func Uints(n []uint64) Value { return Value{Kind: KindUints, list: &leafList{nums: n}} }

// Strs returns what a leaf-list of strings holds. It must not be changed.
func (v *Value) Strs() []string {
	if v.list == nil {
		return nil
	}
	return v.list.strs
}

// Nums returns what a leaf-list of unsigned integers holds. It must not be changed.
func (v *Value) Nums() []uint64 {
	if v.list == nil {
		return nil
	}
	return v.list.nums
}

// Moment returns a timeticks64 or deadline64: nanoseconds since 1970. The zero time is absent.
func Moment(t time.Time) Value {
	if t.IsZero() {
		return Value{}
	}
	return Value{Kind: KindUint, Num: uint64(t.UnixNano())}
}

// Leaf is one leaf below a Unit. Name is its path relative to the Unit, such as "oper-status" or "counters/packets".
type Leaf struct {
	Name  string
	Value Value
	Time  int64 // when it last changed, in nanoseconds since 1970; filled in by the Tree
}

// Unit is the leaves of one container, such as …/rule[name=r1]/config or …/rule[name=r1]/state, as they are at one
// moment. It is what writers hand to the Tree, and immutable from then on.
//
// A list entry's key leaves need no Unit: the Tree makes them from the keys in the path. What is in one container is in one
// Unit: no Unit lies at or below a container that a leaf of another Unit is in.
type Unit struct {
	Path   Path
	Leaves []Leaf // event-driven, none that the schema has as Sampled; ascending by Name; an absent leaf is left out
	// Sample appends the sampled leaves (counters, gauges, deadlines) as they are now, ascending; nil: there are none. It may be
	// called at any time from any goroutine, also after the Unit has left the Tree, and must not block.
	Sample func(dst []Leaf) []Leaf
}

// String renders a path in gNMI's usual form, with ] and \ in key values escaped. It is the path's canonical form.
func (p Path) String() string {
	var b strings.Builder
	p.render(&b)
	return b.String()
}

// key is the canonical form with a slash behind: what the tree orders its items by, so that what is below a node comes right
// after it.
func (p Path) key() string {
	var b strings.Builder
	p.render(&b)
	b.WriteByte('/')
	return b.String()
}

func (p Path) render(b *strings.Builder) {
	n := 1
	for i := range p {
		n += elemLen(&p[i])
	}
	b.Grow(n)
	for i := range p {
		appendElem(b, &p[i])
	}
}

// elemLen is the length of an element in the canonical form, but for what is escaped.
func elemLen(e *Elem) int {
	n := 1 + len(e.Name)
	for i := range e.Keys {
		n += len(e.Keys[i].Name) + len(e.Keys[i].Value) + 3
	}
	return n
}

func appendElem(b *strings.Builder, e *Elem) {
	b.WriteByte('/')
	b.WriteString(e.Name)
	for i := range e.Keys {
		k := &e.Keys[i]
		b.WriteByte('[')
		b.WriteString(k.Name)
		b.WriteByte('=')
		if strings.IndexByte(k.Value, ']') < 0 && strings.IndexByte(k.Value, '\\') < 0 {
			b.WriteString(k.Value)
		} else {
			for _, r := range k.Value {
				if r == ']' || r == '\\' {
					b.WriteByte('\\')
				}
				b.WriteRune(r)
			}
		}
		b.WriteByte(']')
	}
}

// Changes is a set of changes that became true together: subscribers and readers see all of it or nothing. A path in both
// lists is an update.
type Changes struct {
	Time   time.Time
	Update []*Unit     // new or replacing the Unit of the same path
	Delete []Path      // units with exactly these paths go; what is not there is no error
	Commit *CommitMark // these changes are a commit of the configuration; nil: they are not
}

// CommitMark names a commit to streams that ask for it (Request.CommitMarks).
type CommitMark struct {
	Number uint64 // the configuration's own
	ID     string // the client's, of a commit that is to be confirmed; else empty
}
