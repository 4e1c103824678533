// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/openconfig/goyang/pkg/yang"
	"github.com/openconfig/ygot/ygot"
	"github.com/openconfig/ygot/ytypes"
)

// Subtrees and leaves that are sampled although neither their type nor their name says so.
var (
	sampledPaths = []string{"/mcr/system/state/current-time", "/mcr/system/process"}
	sampledTypes = []string{"counter64", "gauge64", "deadline64"}
	sampledNames = []string{"last-packet-time", "last-error-time"}
)

// Node is a node of the schema: a container, a list, a leaf or a leaf-list. It is immutable.
type Node struct {
	Name   string
	Module string // the module whose namespace it is in
	Config bool
	// Sampled says that it moves all the time: it is read when wanted and causes no event.
	Sampled  bool
	IsKey    bool     // a leaf that is a key of the list above it
	Keys     []string // of a list, in schema order
	Children map[string]*Node
	Parent   *Node

	leaf, leafList, list bool
	unimplemented        bool              // nothing at or below it is served
	moves                bool              // it or something above it is sampled as a whole, where it is not configuration
	base                 Kind              // KindBool, KindUint, KindInt or KindString, of one value
	bits                 int               // of integers
	alias                string            // another module; empty: none
	identities           map[string]string // name to defining module, for an identityref
	otherNames           map[string]string // name to what it is called elsewhere, with the module
	leaves               map[string]*leafRef
}

// leafRef is a leaf seen from a container above it, with no list between.
type leafRef struct {
	node  *Node
	name  string // relative to the container, such as "counters/packets"
	elems []Elem
	wire  []byte // elems as a gnmi.Path
}

func newLeafRef(name string, n *Node, elems ...Elem) *leafRef {
	return &leafRef{node: n, name: name, elems: elems, wire: appendElems(nil, elems)}
}

// IsLeaf says that the node is a leaf or a leaf-list.
func (n *Node) IsLeaf() bool { return n.leaf }

// IsLeafList says that the node is a leaf-list.
func (n *Node) IsLeafList() bool { return n.leafList }

// IsList says that the node is a list.
func (n *Node) IsList() bool { return n.list }

// Path returns the schema path, without keys.
func (n *Node) Path() string {
	if n.Parent == nil {
		return "/"
	}
	return strings.TrimSuffix(n.Parent.Path(), "/") + "/" + n.Name
}

// Schema answers questions about nodes. It is made once, given other names, told what is not implemented, and immutable from
// then on.
type Schema struct{ Root *Node }

// Alias is another naming of the same tree, that of EncodingAlias. Paths and values may always use it.
type Alias struct {
	// Modules are modules by the schema path of a node, such as "/interfaces": it and all below have it, but for what is at or
	// below a longer path that is here, too.
	Modules map[string]string
	// Identities are identities with their modules, both names so: "mcr-types:PIM".
	Identities map[string]string
}

// SetAlias gives the nodes other names. It is called before the schema is used.
func (s *Schema) SetAlias(a Alias) {
	for _, c := range s.Root.Children {
		c.setAlias(a, "", "/"+c.Name)
	}
}

func (n *Node) setAlias(a Alias, module, path string) {
	if m, ok := a.Modules[path]; ok {
		module = m
	}
	n.alias = module
	for name, mod := range n.identities {
		if other, ok := a.Identities[mod+":"+name]; ok {
			if n.otherNames == nil {
				n.otherNames = map[string]string{}
			}
			n.otherNames[name] = other
		}
	}
	for _, c := range n.Children {
		c.setAlias(a, module, path+"/"+c.Name)
	}
}

// NewSchema reads what ygot generated: gen.Schema().
func NewSchema(s *ytypes.Schema) (*Schema, error) {
	root := s.RootSchema()
	if root == nil || !s.IsValid() {
		return nil, errors.New("schema has no root")
	}
	n := &Node{Config: true, Children: map[string]*Node{}}
	if err := n.addStruct(root, reflect.TypeOf(s.Root).Elem()); err != nil {
		return nil, err
	}
	n.finish("")
	return &Schema{Root: n}, nil
}

// addStruct adds the children that the Go struct typ has. The struct knows the modules and identities, the entry the rest.
func (n *Node) addStruct(e *yang.Entry, typ reflect.Type) error {
	for i := range typ.NumField() {
		f := typ.Field(i)
		name := f.Tag.Get("path")
		if name == "" || strings.Contains(name, "/") {
			continue
		}
		ce := e.Dir[name]
		if ce == nil {
			return fmt.Errorf("schema of %s has no node %s", e.Name, name)
		}
		c := &Node{Name: name, Module: f.Tag.Get("module"), Config: !ce.ReadOnly(), Parent: n, Children: map[string]*Node{}}
		n.Children[name] = c
		t := f.Type
		switch {
		case ce.IsLeaf() || ce.IsLeafList():
			c.addType(ce, t)
			c.IsKey = slices.Contains(n.Keys, name)
		default:
			c.list, c.Keys = ce.IsList(), strings.Fields(ce.Key)
			if t.Kind() == reflect.Map {
				t = t.Elem()
			}
			if err := c.addStruct(ce, t.Elem()); err != nil {
				return err
			}
		}
	}
	return nil
}

// addType reads the type of a leaf.
func (n *Node) addType(e *yang.Entry, typ reflect.Type) {
	n.leaf, n.leafList = true, e.IsLeafList()
	target := e
	for target.Type.Kind == yang.Yleafref { // only list keys: a path such as ../config/name
		if target = follow(target); target == nil {
			target = e
			break
		}
	}
	t := target.Type
	n.base, n.bits = KindString, 0
	switch t.Kind {
	case yang.Ybool:
		n.base = KindBool
	case yang.Yuint8, yang.Yuint16, yang.Yuint32, yang.Yuint64:
		n.base, n.bits = KindUint, 8<<(t.Kind-yang.Yuint8)
	case yang.Yint8, yang.Yint16, yang.Yint32, yang.Yint64:
		n.base, n.bits = KindInt, 8<<(t.Kind-yang.Yint8)
	case yang.Yidentityref:
		n.identities = identities(typ)
	}
	n.Sampled = !n.Config && slices.Contains(sampledTypes, t.Name)
}

// follow returns the target of a leafref, or nil.
func follow(e *yang.Entry) *yang.Entry {
	cur := e
	for part := range strings.SplitSeq(e.Type.Path, "/") {
		if cur == nil {
			return nil
		}
		if part == ".." {
			cur = cur.Parent
			continue
		}
		_, name := cutPrefix(part)
		cur = cur.Dir[name]
	}
	if cur == nil || cur.Type == nil {
		return nil
	}
	return cur
}

// identities returns the names of an identity type with their modules.
func identities(typ reflect.Type) map[string]string {
	if typ.Kind() == reflect.Slice {
		typ = typ.Elem()
	}
	e, ok := reflect.Zero(typ).Interface().(ygot.GoEnum)
	if !ok {
		return nil
	}
	names := map[string]string{}
	for _, d := range e.ΛMap()[typ.Name()] {
		names[d.Name] = d.DefiningModule
	}
	return names
}

// finish settles what depends on the place of a node: sampled subtrees, and the leaves seen from each container.
func (n *Node) finish(path string) {
	n.moves = n.Parent != nil && n.Parent.moves || !n.leaf && n.Name == "counters" || slices.Contains(sampledPaths, path) ||
		n.leaf && slices.Contains(sampledNames, n.Name)
	if n.moves {
		n.Sampled = !n.Config
	}
	for _, c := range n.Children {
		c.finish(path + "/" + c.Name)
	}
	if n.leaf {
		return
	}
	n.leaves = map[string]*leafRef{}
	for name, c := range n.Children {
		switch {
		case c.leaf:
			n.leaves[name] = newLeafRef(name, c, Elem{Name: name})
		case !c.list:
			for sub, r := range c.leaves {
				n.leaves[name+"/"+sub] = newLeafRef(name+"/"+sub, r.node, append([]Elem{{Name: name}}, r.elems...)...)
			}
		}
	}
}

// Find returns the node of an absolute path, or nil. Keys are not looked at.
func (s *Schema) Find(p Path) *Node {
	n := s.Root
	for _, e := range p {
		if n = n.Children[e.Name]; n == nil {
			return nil
		}
	}
	return n
}

// Parse reads the text of one value of the leaf, such as a key in a path. The error says what is wrong.
func (n *Node) Parse(text string) (Value, error) {
	switch n.base {
	case KindBool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return Value{}, fmt.Errorf("%q is not a boolean", text)
		}
		return Bool(b), nil
	case KindUint:
		u, err := strconv.ParseUint(text, 10, n.bits)
		if err != nil {
			return Value{}, fmt.Errorf("%q is not a number of %d bits", text, n.bits)
		}
		return Uint(u), nil
	case KindInt:
		i, err := strconv.ParseInt(text, 10, n.bits)
		if err != nil {
			return Value{}, fmt.Errorf("%q is not a signed number of %d bits", text, n.bits)
		}
		return Value{Kind: KindInt, Num: uint64(i)}, nil
	}
	if n.identities != nil {
		mod, name := cutPrefix(text)
		if mod != "" && mod != n.identities[name] && text != n.otherNames[name] {
			return Value{}, fmt.Errorf("no identity %q here", text)
		}
		text = name
	}
	return String(text), nil
}

// Text returns a value as it stands in the key of a path.
func (v Value) Text() string {
	switch v.Kind {
	case KindBool:
		return strconv.FormatBool(v.Num != 0)
	case KindUint:
		return strconv.FormatUint(v.Num, 10)
	case KindInt:
		return strconv.FormatInt(int64(v.Num), 10)
	}
	return v.Str
}

// Equal says whether two values are the same.
func (v Value) Equal(w Value) bool {
	return v.Kind == w.Kind && v.Num == w.Num && v.Str == w.Str && slices.Equal(v.Strs(), w.Strs()) && slices.Equal(v.Nums(), w.Nums())
}

// cutPrefix splits "module:name"; a name that has no prefix has an empty one.
func cutPrefix(s string) (prefix, name string) {
	if i := strings.IndexByte(s, ':'); i >= 0 {
		return s[:i], s[i+1:]
	}
	return "", s
}
