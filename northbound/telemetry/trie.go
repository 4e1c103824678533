// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"slices"
	"sort"
	"strings"
)

// trie finds the patterns that match a path: by element name, and below a name by the keys that a pattern pins.
type trie[T comparable] struct{ root trieNode[T] }

type trieNode[T comparable] struct {
	here  []T // patterns that end here
	names map[string][]*trieForm[T]
	deep  *trieNode[T] // below "...", which also matches no element at all
	loop  bool         // this is the node below a "...": it stays where it is on any element
}

// trieForm is the edges of one name that pin the same keys.
type trieForm[T comparable] struct {
	pinned []string
	next   map[string]*trieNode[T] // by the values of the pinned keys
}

// insert adds a pattern.
func (t *trie[T]) insert(p *Pattern, v T) {
	n := &t.root
	for _, e := range p.elems {
		n = n.child(e, true)
	}
	n.here = append(n.here, v)
}

// remove takes a pattern out again, with the nodes that nobody needs any more.
func (t *trie[T]) remove(p *Pattern, v T) { t.root.remove(p.elems, v) }

func (n *trieNode[T]) remove(elems []Elem, v T) {
	if len(elems) == 0 {
		if i := slices.Index(n.here, v); i >= 0 {
			n.here = slices.Delete(n.here, i, i+1)
		}
		return
	}
	e := elems[0]
	c := n.child(e, false)
	if c == nil {
		return
	}
	c.remove(elems[1:], v)
	if !c.empty() {
		return
	}
	if e.Name == "..." {
		n.deep = nil
		return
	}
	pinned, key := pin(e)
	forms := n.names[e.Name]
	for i, f := range forms {
		if !slices.Equal(f.pinned, pinned) {
			continue
		}
		if delete(f.next, key); len(f.next) == 0 {
			forms = slices.Delete(forms, i, i+1)
		}
		break
	}
	if n.names[e.Name] = forms; len(forms) == 0 {
		delete(n.names, e.Name)
	}
}

func (n *trieNode[T]) empty() bool { return len(n.here) == 0 && len(n.names) == 0 && n.deep == nil }

// child returns the node behind an element; it makes it if asked to, else it may return nil.
func (n *trieNode[T]) child(e Elem, create bool) *trieNode[T] {
	if e.Name == "..." {
		if n.deep == nil && create {
			n.deep = &trieNode[T]{loop: true}
		}
		return n.deep
	}
	pinned, key := pin(e)
	var form *trieForm[T]
	for _, f := range n.names[e.Name] {
		if slices.Equal(f.pinned, pinned) {
			form = f
		}
	}
	if form == nil {
		if !create {
			return nil
		}
		form = &trieForm[T]{pinned: pinned, next: map[string]*trieNode[T]{}}
		if n.names == nil {
			n.names = map[string][]*trieForm[T]{}
		}
		n.names[e.Name] = append(n.names[e.Name], form)
	}
	c := form.next[key]
	if c == nil && create {
		c = &trieNode[T]{}
		form.next[key] = c
	}
	return c
}

// pin returns the names of an element's keys, ascending, and their values as one string.
func pin(e Elem) (names []string, values string) {
	for _, k := range e.Keys {
		names = append(names, k.Name)
	}
	sort.Strings(names)
	values, _ = pinned(e, names)
	return names, values
}

// pinned joins the values of the named keys; false if the element lacks one.
func pinned(e Elem, names []string) (string, bool) {
	if len(names) == 1 {
		for _, k := range e.Keys {
			if k.Name == names[0] {
				return k.Value, true
			}
		}
		return "", false
	}
	var b strings.Builder
	for _, name := range names {
		i := slices.IndexFunc(e.Keys, func(k Key) bool { return k.Name == name })
		if i < 0 {
			return "", false
		}
		b.WriteString(e.Keys[i].Value)
		b.WriteByte(0)
	}
	return b.String(), true
}

// start returns the state before the first element of a path.
func (t *trie[T]) start() []*trieNode[T] { return (&t.root).reach(nil) }

// reach adds the node, and what "..." reaches from it without an element.
func (n *trieNode[T]) reach(set []*trieNode[T]) []*trieNode[T] {
	if slices.Contains(set, n) {
		return set
	}
	set = append(set, n)
	if n.deep != nil {
		set = n.deep.reach(set)
	}
	return set
}

// advance appends to dst the state after one more element.
func advance[T comparable](dst, set []*trieNode[T], e Elem) []*trieNode[T] {
	for _, n := range set {
		if n.loop {
			dst = n.reach(dst)
		}
		for _, name := range [2]string{e.Name, "*"} {
			for _, f := range n.names[name] {
				if key, ok := pinned(e, f.pinned); ok {
					if c := f.next[key]; c != nil {
						dst = c.reach(dst)
					}
				}
			}
		}
	}
	return dst
}

// ends says whether a pattern ends in the state.
func ends[T comparable](set []*trieNode[T]) bool {
	for _, n := range set {
		if len(n.here) > 0 {
			return true
		}
	}
	return false
}

func sortedKeys(m map[string]string) []string {
	if len(m) == 0 {
		return nil
	}
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

// sortKeys puts keys into the order of names.
func sortKeys(keys []Key, names []string) {
	slices.SortFunc(keys, func(a, b Key) int { return slices.Index(names, a.Name) - slices.Index(names, b.Name) })
}
