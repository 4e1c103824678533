// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"reflect"

	"mcr/gen"
)

// Finish completes the change: keys are filled into config containers that leave them out, empty containers go, and what
// says the same as the old tree becomes the old tree's struct again. It returns the old tree itself where nothing
// changed. What is wrong is added to Faults.
func (e *Edit) Finish() *gen.Device {
	root := e.finish(&where{node: Schema()}, reflect.ValueOf(e.old), e.root)
	return root.Interface().(*gen.Device)
}

// Changed returns the keys of the entries of a list that differ between the old tree and the new one, after Finish.
// owner is the struct of the new tree that holds the list, and n the list; the list has one key, a string.
func (e *Edit) Changed(owner any, n *Node) []string {
	l := e.lists[slot{owner, n.field}]
	if l == nil {
		return nil
	}
	keys := make([]string, len(l.touched))
	for i, k := range l.touched {
		keys[i] = k.String()
	}
	return keys
}

// Touched is Changed for any list, by the number of its field; ok is false where the edit did not write to it.
func (e *Edit) Touched(owner any, field int) (keys []reflect.Value, ok bool) {
	l := e.lists[slot{owner, field}]
	if l == nil {
		return nil, false
	}
	return l.touched, true
}

// finish returns what takes the place of s, which is not nil. old is nil where the old tree has nothing there.
func (e *Edit) finish(w *where, old, s reflect.Value) reflect.Value {
	if !e.fresh[s.Interface()] {
		return s
	}
	n := w.node
	if n.Kind == List {
		e.fillKeys(w, s)
	}
	was := reflect.Zero(n.goType)
	if !old.IsNil() {
		was = old.Elem()
	}
	for _, c := range n.Children {
		f := s.Elem().Field(c.field)
		switch {
		case f.IsZero() && c.Kind != List:
		case c.Kind == Container:
			r := e.finish(&where{up: w, node: c}, was.Field(c.field), f)
			if r.Elem().IsZero() {
				f.SetZero()
			} else {
				f.Set(r)
			}
		case c.Kind == List && c.Config:
			e.finishList(w, c, s, was.Field(c.field))
		}
	}
	if !old.IsNil() && same(was, s.Elem()) {
		return old
	}
	return s
}

func (e *Edit) finishList(w *where, c *Node, s, old reflect.Value) {
	f := s.Elem().Field(c.field)
	at := slot{s.Interface(), c.field}
	l := e.lists[at]
	if l == nil {
		if f.IsNil() && old.Len() > 0 { // gone with a replaced or deleted container above
			l = &listEdit{}
			e.lists[at] = l
		} else {
			return
		}
	}
	keys := l.touched
	if !l.cloned {
		keys = append(keys, old.MapKeys()...)
	}
	l.touched = nil
	seen := make(map[any]bool, len(keys))
	for _, key := range keys {
		if k := key.Interface(); seen[k] {
			continue
		} else {
			seen[k] = true
		}
		was := old.MapIndex(key)
		if !was.IsValid() {
			was = reflect.Zero(f.Type().Elem())
		}
		now := f.MapIndex(key)
		if now.IsValid() {
			r := e.finish(&where{w, c, key}, was, now)
			if r.Pointer() != now.Pointer() {
				f.SetMapIndex(key, r)
			}
			now = r
		}
		if !now.IsValid() && was.IsNil() || now.IsValid() && now.Pointer() == was.Pointer() {
			continue
		}
		l.touched = append(l.touched, key)
	}
	switch {
	case f.Len() == 0:
		f.SetZero()
	case len(l.touched) == 0:
		f.Set(old)
	}
}

// fillKeys makes the leaves in config that the keys refer to equal to the keys.
func (e *Edit) fillKeys(w *where, s reflect.Value) {
	n := w.node
	config := n.index["config"]
	for i, k := range n.Keys {
		c := config.index[k.Name]
		key := keyPart(w.key, n, i)
		if f := s.Elem().Field(config.field); !f.IsNil() {
			if v, set := leaf(f.Elem().Field(c.field)); set {
				if v.Interface() != key.Interface() {
					e.fault(&where{up: w, node: config}, c.Name, Invalid, -1, "%s differs from the key %s",
						quote(c.Type.text(v)), quote(k.Type.text(key)))
				}
				continue
			}
		}
		setLeaf(e.child(s, config).Elem().Field(c.field), key)
	}
}

// same compares two structs whose children are already shared where they are equal.
func same(a, b reflect.Value) bool {
	for i := range a.NumField() {
		if !sameField(a.Field(i), b.Field(i)) {
			return false
		}
	}
	return true
}

// sameField compares two fields of generated structs: containers and lists by their pointer, leaves by their value.
func sameField(x, y reflect.Value) bool {
	switch x.Kind() {
	case reflect.Map:
		return x.Pointer() == y.Pointer()
	case reflect.Slice:
		if x.Len() != y.Len() {
			return false
		}
		for j := range x.Len() {
			if !x.Index(j).Equal(y.Index(j)) {
				return false
			}
		}
		return true
	case reflect.Pointer:
		if x.Pointer() == y.Pointer() {
			return true
		}
		return !x.IsNil() && !y.IsNil() && x.Type().Elem().Kind() != reflect.Struct && x.Elem().Equal(y.Elem())
	}
	return x.Equal(y)
}
