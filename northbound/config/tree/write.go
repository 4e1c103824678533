// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"fmt"
	"reflect"

	gpb "github.com/openconfig/gnmi/proto/gnmi"

	"mcr/northbound/config/json5"
)

// Update adds what v holds at path, or changes it there.
func (e *Edit) Update(path *gpb.Path, v *json5.Value) { e.write(path, v, false) }

// Replace makes what is at path equal to v; what v leaves out goes.
func (e *Edit) Replace(path *gpb.Path, v *json5.Value) { e.write(path, v, true) }

// BeginUnion empties the tree, and lets Join know from then on what was written.
func (e *Edit) BeginUnion() {
	e.root = e.newStruct(Schema())
	e.given = map[slot]reflect.Value{}
}

// Join is Update after BeginUnion, and finds fault with a leaf that was given another value since.
func (e *Edit) Join(path *gpb.Path, v *json5.Value) {
	e.joining = true
	e.write(path, v, false)
	e.joining = false
}

// clashes says whether a value of leaf n of s differs from what was written before it is joined.
func (e *Edit) clashes(w *where, n *Node, s, val reflect.Value, pos int) bool {
	if e.given == nil {
		return false
	}
	at := slot{s.Interface(), n.field}
	was, ok := e.given[at]
	e.given[at] = val
	if !ok || !e.joining || sameField(was, val) {
		return false
	}
	e.fault(w, n.Name, Invalid, pos, "another operation of this union gives it another value, %s", clip(string(appendField(nil, n, was))))
	return true
}

func (e *Edit) write(path *gpb.Path, v *json5.Value, replace bool) {
	steps, ok := e.resolve(path)
	if !ok {
		return
	}
	if len(steps) == 0 {
		if replace {
			e.root = e.newStruct(Schema())
		}
		e.merge(&where{node: Schema()}, e.ownRoot(), v)
		return
	}
	last := steps[len(steps)-1]
	n := last.node
	s, w := e.reach(steps[:len(steps)-1])
	switch {
	case n.Kind == Leaf || n.Kind == LeafList:
		e.set(w, n, s, v)
	case n.Kind == List && !last.key.IsValid():
		if replace {
			e.clearList(s, n)
		}
		e.mergeList(w, n, s, v)
	case n.Kind == List:
		at := &where{w, n, last.key}
		if replace && v.Kind == json5.Object && len(v.Members) == 0 {
			e.fault(at, "", Invalid, v.Pos, "an empty object cannot replace a list entry; delete it instead")
			return
		}
		if replace {
			e.removeEntry(s, n, last.key)
		}
		e.merge(at, e.entry(s, n, last.key), v)
	default:
		if f := s.Elem().Field(n.field); replace {
			f.SetZero()
		}
		e.merge(&where{up: w, node: n}, e.child(s, n), v)
	}
}

// merge decodes an object into the fresh struct s.
func (e *Edit) merge(w *where, s reflect.Value, v *json5.Value) {
	if v.Kind != json5.Object {
		e.fault(w, "", Invalid, v.Pos, "%v where an object is wanted", v.Kind)
		return
	}
	seen := make(map[*Node]bool, len(v.Members))
	for _, m := range v.Members {
		c, reason := w.node.lookup(m.Name)
		switch {
		case c == nil:
			e.fault(w, "", Invalid, m.Pos, "%s", reason)
			continue
		case seen[c]:
			e.fault(w, c.Name, Invalid, m.Pos, "is there twice")
			continue
		case !c.Config:
			e.fault(w, c.Name, Invalid, m.Pos, "is read-only")
			continue
		}
		seen[c] = true
		if reason := e.refuse(c); reason != "" {
			e.fault(w, c.Name, Unimplemented, m.Pos, "%s", reason)
			continue
		}
		switch c.Kind {
		case Container:
			if m.Value.Kind != json5.Object || len(m.Value.Members) > 0 {
				e.merge(&where{up: w, node: c}, e.child(s, c), m.Value)
			}
		case List:
			e.mergeList(w, c, s, m.Value)
		default:
			e.set(w, c, s, m.Value)
		}
	}
}

// mergeList decodes an array into list c of the fresh struct s.
func (e *Edit) mergeList(w *where, c *Node, s reflect.Value, v *json5.Value) {
	if v.Kind != json5.Array {
		e.fault(w, c.Name, Invalid, v.Pos, "%v where an array of entries is wanted", v.Kind)
		return
	}
	seen := make(map[any]bool, len(v.Elems))
	for i, el := range v.Elems {
		name := fmt.Sprintf("%s[%d]", c.Name, i) // as long as the key is not known
		if el.Kind != json5.Object {
			e.fault(w, name, Invalid, el.Pos, "%v where an object is wanted", el.Kind)
			continue
		}
		key, reason := c.entryKey(el)
		if reason != "" {
			e.fault(w, name, Invalid, el.Pos, "%s", reason)
			continue
		}
		at := &where{w, c, key}
		if k := key.Interface(); seen[k] {
			e.fault(at, "", Invalid, el.Pos, "is there twice")
			continue
		} else {
			seen[k] = true
		}
		e.merge(at, e.entry(s, c, key), el)
	}
}

// entryKey takes the key of a list entry from its members.
func (n *Node) entryKey(v *json5.Value) (reflect.Value, string) {
	parts := make([]reflect.Value, len(n.Keys))
	for i, k := range n.Keys {
		for _, m := range v.Members {
			if c, _ := n.lookup(m.Name); c != k {
				continue
			}
			var reason string
			if parts[i], reason = k.Type.decode(m.Value); reason != "" {
				return reflect.Value{}, fmt.Sprintf("key %q: %s", k.Name, reason)
			}
		}
		if !parts[i].IsValid() {
			return reflect.Value{}, fmt.Sprintf("the key %q is missing", k.Name)
		}
	}
	return n.mapKey(parts), ""
}

// set decodes a leaf or leaf-list of the fresh struct s. A value that is the schema's default is as good as none, so that
// what a Get shows, defaults included, can be written back and changes nothing.
func (e *Edit) set(w *where, n *Node, s reflect.Value, v *json5.Value) {
	if n.Kind == LeafList {
		e.setLeafList(w, n, s, v)
		return
	}
	f := s.Elem().Field(n.field)
	val, reason := n.Type.decode(v)
	if reason != "" {
		e.fault(w, n.Name, Invalid, v.Pos, "%s", reason)
		return
	}
	if n.IsKey {
		if is, _ := leaf(f); is.Interface() != val.Interface() {
			e.fault(w, n.Name, Invalid, v.Pos, "%s differs from the key in the path", quote(n.Type.text(val)))
		}
		return
	}
	if e.clashes(w, n, s, val, v.Pos) {
		return
	}
	if n.Default.IsValid() && val.Equal(n.Default) { // in use all the same (RFC 6243 section 2.2: trim)
		f.SetZero()
		return
	}
	setLeaf(f, val)
}

func (e *Edit) setLeafList(w *where, n *Node, s reflect.Value, v *json5.Value) {
	f := s.Elem().Field(n.field)
	if v.Kind != json5.Array {
		e.fault(w, n.Name, Invalid, v.Pos, "%v where an array is wanted", v.Kind)
		return
	}
	out := reflect.Zero(f.Type())
	seen := map[any]bool{}
	for _, el := range v.Elems {
		val, reason := n.Type.decode(el)
		if reason == "" && seen[val.Interface()] {
			reason = fmt.Sprintf("%s is there twice", quote(n.Type.text(val)))
		}
		if reason != "" {
			e.fault(w, n.Name, Invalid, el.Pos, "%s", reason)
			continue
		}
		seen[val.Interface()] = true
		out = reflect.Append(out, val)
	}
	if !e.clashes(w, n, s, out, v.Pos) {
		f.Set(out)
	}
}
