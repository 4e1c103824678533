// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"fmt"
	"reflect"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
)

// Delete removes all that path matches: elements and keys may be "*", keys may be left out, and "..." stands for any
// number of elements. What is not there is no fault.
func (e *Edit) Delete(path *gpb.Path) {
	elems := path.GetElem()
	//lint:ignore SA1019 deprecated, and refused here
	if len(path.GetElement()) > 0 {
		e.fault(nil, "", Invalid, -1, "the path has the deprecated field element; use elem")
		return
	}
	if len(elems) == 0 {
		e.root = e.newStruct(Schema())
		return
	}
	if !e.checkDelete(elems) {
		return
	}
	var found [][]step
	match(Schema(), e.root, elems, nil, &found)
	for _, steps := range found { // parents come before their children
		e.remove(steps)
	}
}

// checkDelete follows the path through the schema: it must name something that can be configured.
func (e *Edit) checkDelete(elems []*gpb.PathElem) bool {
	nodes := []*Node{Schema()}
	for i, el := range elems {
		var next []*Node
		code, reason := NotFound, fmt.Sprintf("no node %s here", quote(el.GetName()))
		for _, n := range nodes {
			switch el.GetName() {
			case "*":
				next = append(next, n.Children...)
			case "...":
				next = append(next, n)
				next = append(next, n.below()...)
			default:
				c, why := n.lookup(el.GetName())
				if c == nil {
					reason = why
					continue
				}
				if why := c.checkDeleteKeys(el.GetKey()); why != "" {
					code, reason = Invalid, why
					continue
				}
				next = append(next, c)
			}
		}
		nodes = nodes[:0:0]
		for _, n := range next {
			last := i == len(elems)-1
			switch {
			case !n.Config:
				code, reason = Invalid, "is read-only"
			case last && n.IsKey && el.GetName() == n.Name:
				code, reason = Invalid, "a key cannot be deleted without its entry"
			default:
				nodes = append(nodes, n)
			}
		}
		if len(nodes) == 0 {
			e.faults = append(e.faults, Fault{Path: Text(elems[:i+1]), Code: code, Reason: reason, Pos: -1})
			return false
		}
	}
	return true
}

func (n *Node) below() []*Node {
	var all []*Node
	for _, c := range n.Children {
		all = append(append(all, c), c.below()...)
	}
	return all
}

func (n *Node) checkDeleteKeys(keys map[string]string) string {
	if reason := n.checkKeyNames(keys); reason != "" || !n.Config {
		return reason
	}
	for name, text := range keys {
		if text == "*" {
			continue
		}
		if _, reason := n.index[name].Type.parse(text); reason != "" {
			return fmt.Sprintf("key %q: %s", name, reason)
		}
	}
	return ""
}

// match collects what exists below s and fits elems.
func match(n *Node, s reflect.Value, elems []*gpb.PathElem, at []step, found *[][]step) {
	if len(elems) == 0 {
		if n.Parent != nil && !n.IsKey {
			*found = append(*found, append([]step(nil), at...))
		}
		return
	}
	el := elems[0]
	if el.GetName() == "..." {
		match(n, s, elems[1:], at, found)
	}
	if n.Kind == Leaf || n.Kind == LeafList {
		return
	}
	for _, c := range n.Children {
		if !c.Config || s.Elem().Field(c.field).IsZero() {
			continue
		}
		rest := elems[1:]
		switch el.GetName() {
		case "*":
		case "...":
			rest = elems
		default:
			if hit, _ := n.lookup(el.GetName()); hit != c {
				continue
			}
		}
		f := s.Elem().Field(c.field)
		if c.Kind != List {
			match(c, f, rest, append(at, step{node: c}), found)
			continue
		}
		if key, reason := c.parseKeys(el.GetKey()); reason == "" { // one entry, perhaps of very many
			if p := f.MapIndex(key); p.IsValid() {
				match(c, p, rest, append(at, step{c, key}), found)
			}
			continue
		}
		for it := f.MapRange(); it.Next(); {
			if c.keyFits(it.Key(), el) {
				match(c, it.Value(), rest, append(at, step{c, it.Key()}), found)
			}
		}
	}
}

func (n *Node) keyFits(key reflect.Value, el *gpb.PathElem) bool {
	for i, k := range n.Keys {
		text, ok := el.GetKey()[k.Name]
		if !ok || text == "*" {
			continue
		}
		want, reason := k.Type.parse(text)
		if reason != "" || want.Interface() != keyPart(key, n, i).Interface() {
			return false
		}
	}
	return true
}

// remove takes away what steps lead to, if it is still there.
func (e *Edit) remove(steps []step) {
	s := e.root
	for _, st := range steps {
		f := s.Elem().Field(st.node.field)
		if f.IsZero() {
			return
		}
		if s = f; st.node.Kind == List {
			if s = f.MapIndex(st.key); !s.IsValid() {
				return
			}
		}
	}
	last := steps[len(steps)-1]
	up, _ := e.reach(steps[:len(steps)-1])
	if last.node.Kind == List {
		e.removeEntry(up, last.node, last.key)
		return
	}
	up.Elem().Field(last.node.field).SetZero()
}

func (e *Edit) removeEntry(s reflect.Value, n *Node, key reflect.Value) {
	m, l := e.list(s, n)
	l.touched = append(l.touched, key)
	m.SetMapIndex(key, reflect.Value{})
}

// clearList empties list n of the fresh struct s.
func (e *Edit) clearList(s reflect.Value, n *Node) {
	s.Elem().Field(n.field).SetZero()
	e.lists[slot{s.Interface(), n.field}] = &listEdit{}
}
