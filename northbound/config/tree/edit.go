// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"maps"
	"reflect"

	"mcr/gen"
)

// Edit is a change in the making.
type Edit struct {
	old    *gen.Device
	root   reflect.Value // *gen.Device
	refuse func(*Node) string
	fresh  map[any]bool // pointers to structs that this edit made, and may write to
	lists  map[slot]*listEdit
	faults []Fault

	given   map[slot]reflect.Value // by each leaf that was written, its value; nil: no union is made
	joining bool                   // what is there already must not be changed
}

// slot names a field, such as the map of a list, by the struct that it is in.
type slot struct {
	owner any
	field int
}

// listEdit is a map that this edit made.
type listEdit struct {
	cloned  bool            // from the old tree's, whose entries it began with; else it began empty
	touched []reflect.Value // keys of entries that were written or removed, perhaps repeated; after Finish those that differ
}

// NewEdit starts a change of old, which is not changed. refuse, if not nil, returns why a node cannot be configured, or "".
func NewEdit(old *gen.Device, refuse func(*Node) string) *Edit {
	if refuse == nil {
		refuse = func(*Node) string { return "" }
	}
	return &Edit{
		old: old, root: reflect.ValueOf(old), refuse: refuse,
		fresh: map[any]bool{}, lists: map[slot]*listEdit{},
	}
}

// Faults returns what was wrong so far. A change with faults must not be used.
func (e *Edit) Faults() []Fault { return e.faults }

func (e *Edit) newStruct(n *Node) reflect.Value {
	p := reflect.New(n.goType)
	e.fresh[p.Interface()] = true
	return p
}

// own returns p, or a copy of it that may be written to.
func (e *Edit) own(n *Node, p reflect.Value) reflect.Value {
	if e.fresh[p.Interface()] {
		return p
	}
	c := e.newStruct(n)
	c.Elem().Set(p.Elem())
	return c
}

func (e *Edit) ownRoot() reflect.Value {
	e.root = e.own(Schema(), e.root)
	return e.root
}

// child returns container c of the fresh struct s, made or copied so that it may be written to.
func (e *Edit) child(s reflect.Value, c *Node) reflect.Value {
	f := s.Elem().Field(c.field)
	if f.IsNil() {
		f.Set(e.newStruct(c))
	} else {
		f.Set(e.own(c, f))
	}
	return reflect.ValueOf(f.Interface())
}

// list makes the map of list c of the fresh struct s writable.
func (e *Edit) list(s reflect.Value, c *Node) (m reflect.Value, l *listEdit) {
	f := s.Elem().Field(c.field)
	at := slot{s.Interface(), c.field}
	l = e.lists[at]
	if l == nil {
		l = &listEdit{cloned: !f.IsNil()}
		e.lists[at] = l
		cloneMap(f)
	} else if f.IsNil() { // emptied by this edit
		f.Set(reflect.MakeMap(f.Type()))
	}
	return f, l
}

// cloneMap puts a copy of the map, or an empty one, in its place. The two large lists are copied without reflection.
func cloneMap(f reflect.Value) {
	switch m := f.Interface().(type) {
	case map[string]*gen.Mcr_Mcr_Forwarding_Rules_Rule:
		if m != nil {
			f.Set(reflect.ValueOf(maps.Clone(m)))
			return
		}
	case map[string]*gen.Mcr_Mcr_Forwarding_Rules_Rule_Outputs_Output:
		if m != nil {
			f.Set(reflect.ValueOf(maps.Clone(m)))
			return
		}
	}
	c := reflect.MakeMapWithSize(f.Type(), f.Len())
	for it := f.MapRange(); it.Next(); {
		c.SetMapIndex(it.Key(), it.Value())
	}
	f.Set(c)
}

// entry returns the entry of list c of the fresh struct s, made or copied so that it may be written to.
func (e *Edit) entry(s reflect.Value, c *Node, key reflect.Value) reflect.Value {
	m, l := e.list(s, c)
	l.touched = append(l.touched, key)
	p := m.MapIndex(key)
	if !p.IsValid() {
		return e.newEntry(m, c, key)
	}
	if !e.fresh[p.Interface()] {
		p = e.own(c, p)
		m.SetMapIndex(key, p)
	}
	return p
}

func (e *Edit) newEntry(m reflect.Value, c *Node, key reflect.Value) reflect.Value {
	p := e.newStruct(c)
	for i, k := range c.Keys {
		setLeaf(p.Elem().Field(k.field), keyPart(key, c, i))
	}
	m.SetMapIndex(key, p)
	return p
}

// setLeaf stores a value in a leaf's field, always behind a new pointer.
func setLeaf(f, v reflect.Value) {
	if f.Kind() == reflect.Pointer {
		p := reflect.New(v.Type())
		p.Elem().Set(v)
		v = p
	}
	f.Set(v)
}

// leaf returns the value of a leaf's field; set is false where there is none.
func leaf(f reflect.Value) (v reflect.Value, set bool) {
	if f.Kind() == reflect.Pointer {
		return f.Elem(), !f.IsNil()
	}
	return f, !f.IsZero()
}
