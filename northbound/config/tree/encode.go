// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"cmp"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
)

// Append appends the configuration of a container or list entry as RFC 7951 JSON. p is a pointer to the generated
// struct of n. Members and entries are sorted, so that equal trees give equal bytes. Where override is not nil and
// returns true for a list, it has appended the array itself.
func Append(b []byte, n *Node, p any, override func(b []byte, n *Node) ([]byte, bool)) []byte {
	enc := encoder{override: override}
	return enc.object(b, n, reflect.ValueOf(p))
}

type encoder struct {
	override func(b []byte, n *Node) ([]byte, bool)
}

func (enc *encoder) object(b []byte, n *Node, p reflect.Value) []byte {
	b = append(b, '{')
	empty := true
	for _, c := range n.Children {
		f := p.Elem().Field(c.field)
		if !c.Config || f.IsZero() {
			continue
		}
		if !empty {
			b = append(b, ',')
		}
		empty = false
		b = append(b, '"')
		if c.Module != n.Module {
			b = append(append(b, c.Module...), ':')
		}
		b = append(append(b, c.Name...), `":`...)
		switch c.Kind {
		case Container:
			b = enc.object(b, c, f)
		case List:
			b = enc.list(b, c, f)
		default:
			b = appendField(b, c, f)
		}
	}
	return append(b, '}')
}

// appendField appends the value of a leaf or leaf-list, which has one.
func appendField(b []byte, n *Node, f reflect.Value) []byte {
	if n.Kind == Leaf {
		v, _ := leaf(f)
		return n.Type.append(b, v)
	}
	b = append(b, '[')
	for i := range f.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		b = n.Type.append(b, f.Index(i))
	}
	return append(b, ']')
}

func (enc *encoder) list(b []byte, c *Node, m reflect.Value) []byte {
	if enc.override != nil {
		if b, done := enc.override(b, c); done {
			return b
		}
	}
	keys := m.MapKeys()
	slices.SortFunc(keys, func(x, y reflect.Value) int { return c.compareKeys(x, y) })
	b = append(b, '[')
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = enc.object(b, c, m.MapIndex(k))
	}
	return append(b, ']')
}

func (n *Node) compareKeys(x, y reflect.Value) int {
	for i, k := range n.Keys {
		a, b := keyPart(x, n, i), keyPart(y, n, i)
		c := 0
		if k.Type.ranges != nil {
			c = cmp.Compare(a.Uint(), b.Uint())
		} else {
			c = cmp.Compare(k.Type.text(a), k.Type.text(b))
		}
		if c != 0 {
			return c
		}
	}
	return 0
}

func (t *Type) append(b []byte, v reflect.Value) []byte {
	switch {
	case t.enum != nil && t.enum.identity:
		return strconv.AppendQuote(b, t.enum.module+":"+t.text(v))
	case v.Kind() == reflect.Bool, t.ranges != nil && v.Kind() != reflect.Uint64:
		return append(b, t.text(v)...)
	}
	return AppendString(b, t.text(v))
}

// AppendString appends a JSON string.
func AppendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			q, _ := json.Marshal(s) // of a string: cannot fail
			return append(b, q...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
