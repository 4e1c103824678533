// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
)

// maxElems bounds the elements of a pattern; the tree itself is far less deep.
const maxElems = 64

// Pattern is a request's path, checked against the schema: elements and keys may be wildcards.
type Pattern struct {
	elems []Elem // a key that is left out or "*" is not there
	nodes []*Node
	wild  bool
}

// PathError says which element of a path is wrong, and why.
type PathError struct {
	Path   string // as it was asked for
	Reason string
}

func (e *PathError) Error() string { return e.Path + ": " + e.Reason }

// Wild says that the pattern may match several nodes: a wildcard, or a key left out.
func (p *Pattern) Wild() bool { return p.wild }

// Nodes returns the schema nodes that the pattern can end at, at least one; one exactly if no element is a wildcard.
func (p *Pattern) Nodes() []*Node { return p.nodes }

// String renders the pattern in gNMI's usual form; keys that are left out stay so.
func (p *Pattern) String() string {
	if len(p.elems) == 0 {
		return "/"
	}
	return Path(p.elems).String()
}

// Path returns the path of a pattern without wildcards.
func (p *Pattern) Path() Path { return p.elems }

// Elems returns the pattern as gNMI path elements.
func (p *Pattern) Elems() []*gpb.PathElem { return Path(p.elems).Elems() }

// deepTail says that the pattern ends in "...": each leaf is then a match of its own.
func (p *Pattern) deepTail() bool { return len(p.elems) > 0 && p.elems[len(p.elems)-1].Name == "..." }

// Resolve checks a path against the schema and puts its keys into canonical form: a module prefix in a name or an identity
// goes, 05 becomes 5. The error is a *PathError, or an *UnimplementedError, with which there is a pattern all the same.
func (s *Schema) Resolve(elems []*gpb.PathElem) (*Pattern, error) {
	p := &Pattern{nodes: []*Node{s.Root}}
	fail := func(format string, args ...any) error {
		return &PathError{Path: FormatElems(elems), Reason: fmt.Sprintf(format, args...)}
	}
	if len(elems) > maxElems {
		return nil, fail("more than %d elements", maxElems)
	}
	for _, e := range elems {
		module, name := cutPrefix(e.GetName())
		if name == "" || !utf8.ValidString(name) {
			return nil, fail("element %q has no name", e.GetName())
		}
		next := step(p.nodes, name)
		if len(next) == 0 {
			return nil, fail("no element %q in the schema", name)
		}
		if module != "" {
			all := next
			next = slices.DeleteFunc(slices.Clone(all), func(n *Node) bool { return module != n.Module && module != n.alias })
			if len(next) == 0 {
				return nil, fail("no module %q here; %s:%s is meant", module, all[0].Module, name)
			}
		}
		p.nodes = next
		el := Elem{Name: name}
		if name == "*" || name == "..." {
			p.wild = true
		}
		for _, k := range sortedKeys(e.GetKey()) {
			v, err := keyValue(next, k, e.GetKey()[k])
			if err != nil {
				return nil, fail("element %q: %v", name, err)
			}
			if v != "*" {
				el.Keys = append(el.Keys, Key{k, v})
			}
		}
		p.elems = append(p.elems, p.ordered(el))
	}
	if p.unserved() {
		return p, &UnimplementedError{Path: FormatElems(elems)}
	}
	return p, nil
}

// ordered puts the keys of the latest element into schema order and notes whether some are left out.
func (p *Pattern) ordered(e Elem) Elem {
	if len(p.nodes) != 1 || !p.nodes[0].list {
		return e
	}
	keys := p.nodes[0].Keys
	p.wild = p.wild || len(e.Keys) < len(keys)
	sortKeys(e.Keys, keys)
	return e
}

// step returns the nodes that an element leads to from any of the given ones.
func step(from []*Node, name string) []*Node {
	seen := map[*Node]bool{}
	var out []*Node
	add := func(n *Node) bool {
		if seen[n] {
			return false
		}
		seen[n] = true
		out = append(out, n)
		return true
	}
	var deep func(n *Node)
	deep = func(n *Node) {
		if add(n) {
			for _, c := range n.Children {
				deep(c)
			}
		}
	}
	for _, n := range from {
		switch name {
		case "...":
			deep(n)
		case "*":
			for _, c := range n.Children {
				add(c)
			}
		default:
			if c := n.Children[name]; c != nil {
				add(c)
			}
		}
	}
	return out
}

// keyValue returns the canonical text of a key that at least one of the nodes has.
func keyValue(nodes []*Node, key, text string) (string, error) {
	if !utf8.ValidString(text) {
		return "", fmt.Errorf("key %q is not valid UTF-8", key)
	}
	err := fmt.Errorf("no key %q", key)
	for _, n := range nodes {
		for _, k := range n.Keys {
			if k != key {
				continue
			}
			if text == "*" {
				return text, nil
			}
			v, perr := n.Children[k].Parse(text)
			if perr == nil {
				return v.Text(), nil
			}
			err = fmt.Errorf("key %q: %w", key, perr)
		}
	}
	return "", err
}

// prefix returns a string with which the canonical key of everything that matches begins.
func (p *Pattern) prefix(s *Schema) string {
	var b strings.Builder
	n := s.Root
	for i := range p.elems {
		e := &p.elems[i]
		if n = n.Children[e.Name]; n == nil { // a wildcard
			return b.String() + "/"
		}
		if !n.list {
			appendElem(&b, e)
			continue
		}
		known := 0
		for known < len(n.Keys) && known < len(e.Keys) && e.Keys[known].Name == n.Keys[known] {
			known++
		}
		if known < len(n.Keys) {
			appendElem(&b, &Elem{Name: e.Name, Keys: e.Keys[:known]})
			return b.String() + "["
		}
		appendElem(&b, e)
	}
	return b.String() + "/"
}

// Elems returns the path as gNMI path elements.
func (p Path) Elems() []*gpb.PathElem {
	out := make([]*gpb.PathElem, len(p))
	for i, e := range p {
		pe := &gpb.PathElem{Name: e.Name}
		if len(e.Keys) > 0 {
			pe.Key = make(map[string]string, len(e.Keys))
			for _, k := range e.Keys {
				pe.Key[k.Name] = k.Value
			}
		}
		out[i] = pe
	}
	return out
}

// FormatElems renders gNMI path elements for people, keys in order of name.
func FormatElems(elems []*gpb.PathElem) string {
	if len(elems) == 0 {
		return "/"
	}
	p := make(Path, len(elems))
	for i, e := range elems {
		p[i].Name = e.GetName()
		for _, k := range sortedKeys(e.GetKey()) {
			p[i].Keys = append(p[i].Keys, Key{k, e.GetKey()[k]})
		}
	}
	return p.String()
}
