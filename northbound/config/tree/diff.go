// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"reflect"

	"mcr/gen"
)

// Difference is one leaf or leaf-list that differs between two trees.
type Difference struct {
	at       *where // its container
	leaf     *Node
	old, now reflect.Value // fields of the generated structs
}

// Path returns the leaf's gNMI path.
func (d Difference) Path() string { return d.at.String() + "/" + d.leaf.Name }

// Old returns the value in the old tree as RFC 7951 JSON; empty: there is none.
func (d Difference) Old() string { return fieldText(d.leaf, d.old) }

// New returns the value in the new tree.
func (d Difference) New() string { return fieldText(d.leaf, d.now) }

func fieldText(n *Node, f reflect.Value) string {
	if f.IsZero() {
		return ""
	}
	return string(appendField(nil, n, f))
}

// Diff calls f for every leaf that differs between two trees, in no particular order. Keys of list entries are left out: a
// leaf in config says the same. What the trees share costs nothing, but for a look at each entry of a list that differs;
// where now is what e made of old, not even that. e may be nil.
func Diff(old, now *gen.Device, e *Edit, f func(Difference)) {
	d := differ{edit: e, tell: f}
	d.walk(&where{node: Schema()}, reflect.ValueOf(old), reflect.ValueOf(now))
}

type differ struct {
	edit *Edit
	tell func(Difference)                                   // nil: leaves are not looked at
	node func(w *where, old, now reflect.Value) (deep bool) // of containers and entries that differ; nil: true
	stop bool
}

// walk compares two structs of the same type; either may be a nil pointer.
func (d *differ) walk(w *where, old, now reflect.Value) {
	if d.stop || old.Pointer() == now.Pointer() || d.node != nil && !d.node(w, old, now) {
		return
	}
	was, is := deref(old), deref(now)
	for _, c := range w.node.Children {
		if !c.Config || c.IsKey {
			continue
		}
		a, b := was.Field(c.field), is.Field(c.field)
		switch c.Kind {
		case Container:
			d.walk(&where{up: w, node: c}, a, b)
		case List:
			d.list(w, c, now, a, b)
		default:
			if d.tell != nil && !sameField(a, b) {
				d.tell(Difference{w, c, a, b})
			}
		}
	}
}

// deref returns the struct behind a pointer, an empty one behind nil.
func deref(p reflect.Value) reflect.Value {
	if p.IsNil() {
		return reflect.Zero(p.Type().Elem())
	}
	return p.Elem()
}

// list compares the maps a and b of list c; owner is the new struct that holds b.
func (d *differ) list(w *where, c *Node, owner, a, b reflect.Value) {
	if a.Pointer() == b.Pointer() {
		return
	}
	none := reflect.Zero(a.Type().Elem())
	entry := func(key, x, y reflect.Value) {
		if !x.IsValid() {
			x = none
		}
		if !y.IsValid() {
			y = none
		}
		d.walk(&where{w, c, key}, x, y)
	}
	if d.edit != nil && !owner.IsNil() {
		if l := d.edit.lists[slot{owner.Interface(), c.field}]; l != nil {
			for _, key := range l.touched {
				entry(key, a.MapIndex(key), b.MapIndex(key))
			}
			return
		}
	}
	for it := b.MapRange(); it.Next(); {
		entry(it.Key(), a.MapIndex(it.Key()), it.Value())
	}
	for it := a.MapRange(); it.Next(); {
		if !b.MapIndex(it.Key()).IsValid() {
			entry(it.Key(), it.Value(), none)
		}
	}
}
