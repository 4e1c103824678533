// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/openconfig/goyang/pkg/yang"

	"mcr/gen"
)

// Kind is the kind of a schema node.
type Kind uint8

// Kinds.
const (
	Container Kind = iota
	List
	Leaf
	LeafList
)

// Node is a node of the schema, joined to the field of the generated struct that holds its data.
type Node struct {
	Name     string
	Module   string // as in RFC 7951 names
	Path     string // without keys, such as /mcr/forwarding/rules/rule; the root's is empty
	Kind     Kind
	Config   bool // false: read-only
	IsKey    bool // leaf that is a key of the list above
	Type     *Type
	Parent   *Node
	Children []*Node       // ascending by name
	Keys     []*Node       // of a List, in the schema's order
	Default  reflect.Value // of a Leaf, as Type.parse gives it; not valid: none

	field  int          // in the parent's struct
	goType reflect.Type // struct of a Container or of an entry of a List
	index  map[string]*Node
}

// Child returns the child of that name, or nil.
func (n *Node) Child(name string) *Node { return n.index[name] }

// Find returns the node of a path as Node.Path writes it, or nil.
func Find(path string) *Node {
	n := Schema()
	for name := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		if n = n.Child(name); n == nil {
			return nil
		}
	}
	return n
}

// Leaves calls f for n, if it is a leaf, or for each leaf below it.
func (n *Node) Leaves(f func(*Node)) {
	if n.Kind == Leaf || n.Kind == LeafList {
		f(n)
	}
	for _, c := range n.Children {
		c.Leaves(f)
	}
}

// Schema returns the root of the schema. It panics if the generated code is not of the kind that this package knows.
var Schema = sync.OnceValue(func() *Node {
	n := &Node{Config: true, goType: reflect.TypeFor[gen.Device]()}
	n.addChildren(gen.SchemaTree["Device"])
	return n
})

func (n *Node) addChildren(e *yang.Entry) {
	n.index = map[string]*Node{}
	for i := range n.goType.NumField() {
		f := n.goType.Field(i)
		c := &Node{Name: f.Tag.Get("path"), Module: f.Tag.Get("module"), Parent: n, field: i}
		ce := e.Dir[c.Name]
		if ce == nil {
			panic(fmt.Sprintf("no schema for %s/%s", n.Path, c.Name))
		}
		c.Path = n.Path + "/" + c.Name
		c.Config = n.Config && !ce.ReadOnly()
		n.Children, n.index[c.Name] = append(n.Children, c), c
		switch {
		case ce.IsLeaf():
			c.Kind = Leaf
		case ce.IsLeafList():
			c.Kind = LeafList
		case ce.IsList():
			c.Kind, c.goType = List, f.Type.Elem().Elem()
		default:
			c.goType = f.Type.Elem()
		}
		if c.goType != nil {
			c.addChildren(ce)
		} else if c.Config && ce.Type.Kind != yang.Yleafref {
			c.Type = newType(ce.Type, f.Type)
			if c.Kind == Leaf && len(ce.Default) == 1 {
				c.Default, _ = c.Type.parse(ce.Default[0])
			}
		}
	}
	slices.SortFunc(n.Children, func(a, b *Node) int { return strings.Compare(a.Name, b.Name) })
	if n.Kind == List {
		n.addKeys(strings.Fields(e.Key))
	}
}

// addKeys gives the keys the type of the leaf in config that they refer to.
func (n *Node) addKeys(names []string) {
	for _, name := range names {
		k := n.index[name]
		k.IsKey = true
		n.Keys = append(n.Keys, k)
		if k.Config {
			k.Type = n.index["config"].index[name].Type
		}
	}
}
