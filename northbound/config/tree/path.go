// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
)

// step is one element of a path that exists in the schema and has no wildcard.
type step struct {
	node *Node
	key  reflect.Value // not valid: no list, or the whole list
}

// Text renders a path as it was given, in gNMI's usual form.
func Text(elems []*gpb.PathElem) string {
	var b strings.Builder
	for _, el := range elems {
		b.WriteString("/" + el.GetName())
		for _, name := range slices.Sorted(maps.Keys(el.GetKey())) {
			b.WriteString(KeyText(name, el.GetKey()[name]))
		}
	}
	if b.Len() == 0 {
		return "/"
	}
	return b.String()
}

// moduleAliases are the modules in which OpenConfig clients know our nodes.
var moduleAliases = map[string]string{
	"mcr-network-instance": "openconfig-network-instance",
	"mcr-interfaces":       "openconfig-interfaces",
}

// lookup finds a child by a name that may have a module prefix.
func (n *Node) lookup(name string) (*Node, string) {
	module, bare, ok := strings.Cut(name, ":")
	if !ok {
		module, bare = "", name
	}
	c := n.index[bare]
	switch {
	case c == nil:
		return nil, fmt.Sprintf("no node %s here", quote(name))
	case ok && module != c.Module && module != moduleAliases[c.Module]:
		return nil, fmt.Sprintf("no module %s here; %s:%s is meant", quote(module), c.Module, bare)
	}
	return c, ""
}

// resolve follows a path without wildcards. Where it cannot, it records a fault.
func (e *Edit) resolve(path *gpb.Path) (steps []step, ok bool) {
	elems := path.GetElem()
	fail := func(i int, code Code, format string, args ...any) ([]step, bool) {
		e.faults = append(e.faults, Fault{Path: Text(elems[:i]), Code: code, Reason: fmt.Sprintf(format, args...), Pos: -1})
		return nil, false
	}
	//lint:ignore SA1019 deprecated, and refused here
	if len(path.GetElement()) > 0 {
		return fail(0, Invalid, "the path has the deprecated field element; use elem")
	}
	n, refused := Schema(), ""
	for i, el := range elems {
		if el.GetName() == "*" || el.GetName() == "..." {
			return fail(i+1, Invalid, "a wildcard is allowed in a delete only")
		}
		c, reason := n.lookup(el.GetName())
		if c == nil {
			return fail(i+1, NotFound, "%s", reason)
		}
		if !c.Config {
			return fail(i+1, Invalid, "is read-only")
		}
		if refused == "" {
			refused = e.refuse(c)
		}
		st := step{node: c}
		if whole := c.Kind == List && len(el.GetKey()) == 0 && i == len(elems)-1; !whole {
			if st.key, reason = c.parseKeys(el.GetKey()); reason != "" {
				return fail(i+1, Invalid, "%s", reason)
			}
		}
		steps, n = append(steps, st), c
	}
	if refused != "" { // told of the whole path, which is known to exist by now
		return fail(len(elems), Unimplemented, "%s", refused)
	}
	return steps, true
}

// parseKeys makes a map key of the keys of a path element: all of them, none else, and no wildcard.
func (n *Node) parseKeys(keys map[string]string) (reflect.Value, string) {
	if reason := n.checkKeyNames(keys); reason != "" {
		return reflect.Value{}, reason
	}
	if n.Kind != List {
		return reflect.Value{}, ""
	}
	parts := make([]reflect.Value, len(n.Keys))
	for i, k := range n.Keys {
		text, ok := keys[k.Name]
		if !ok {
			return reflect.Value{}, fmt.Sprintf("the key %q is missing", k.Name)
		}
		if text == "*" {
			return reflect.Value{}, "a wildcard is allowed in a delete only"
		}
		var reason string
		if parts[i], reason = k.Type.parse(text); reason != "" {
			return reflect.Value{}, fmt.Sprintf("key %q: %s", k.Name, reason)
		}
	}
	return n.mapKey(parts), ""
}

func (n *Node) checkKeyNames(keys map[string]string) string {
	for name := range keys {
		if n.Kind != List {
			return fmt.Sprintf("has no keys, not %s either", quote(name))
		}
		if c := n.index[name]; c == nil || !c.IsKey {
			return fmt.Sprintf("has no key %s", quote(name))
		}
	}
	return ""
}

// mapKey makes the key of the list's Go map.
func (n *Node) mapKey(parts []reflect.Value) reflect.Value {
	if len(parts) == 1 {
		return parts[0]
	}
	key := reflect.New(n.Parent.goType.Field(n.field).Type.Key()).Elem()
	for i, p := range parts {
		key.Field(i).Set(p)
	}
	return key
}

// reach returns the struct that steps lead to, and makes or copies all on the way.
func (e *Edit) reach(steps []step) (reflect.Value, *where) {
	s, w := e.ownRoot(), &where{node: Schema()}
	for _, st := range steps {
		if st.node.Kind == List {
			s = e.entry(s, st.node, st.key)
		} else {
			s = e.child(s, st.node)
		}
		w = &where{w, st.node, st.key}
	}
	return s, w
}

// Canonical renders a path without module prefixes and with keys in their canonical spelling, as far as the schema knows
// them; faults have such paths.
func Canonical(path *gpb.Path) string {
	n, w := Schema(), &where{node: Schema()}
	for _, el := range path.GetElem() {
		if n, _ = n.lookup(el.GetName()); n == nil || !n.Config {
			return Text(path.GetElem())
		}
		key := reflect.Value{}
		if len(el.GetKey()) > 0 {
			var reason string
			if key, reason = n.parseKeys(el.GetKey()); reason != "" {
				return Text(path.GetElem())
			}
		}
		w = &where{w, n, key}
	}
	return cmp.Or(w.String(), "/")
}
