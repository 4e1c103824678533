// SPDX-License-Identifier: Apache-2.0

package state

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/openconfig/ygot/ygot"

	"mcr/gen"
	"mcr/northbound/config"
	"mcr/northbound/telemetry"
)

// writeOnly holds configuration leaves that can be written and are told to nobody.
var writeOnly = map[string]bool{"/mcr/remote-join/config/shared-key": true}

// node is what the walk needs to know of one generated struct. Made once, from the types.
type node struct {
	children []child
	leaves   []leaf // of a config container; ascending by name
	defaults bool   // a leaf at or below it, not below a list, has a default
}

// child is a container or a list below a node.
type child struct {
	index  int
	name   string
	node   *node
	config bool      // a container named config: its leaves make a Unit
	keys   []keyPart // of a list, in schema order
	under  string    // the first key of the entry that it is in, where it belongs to no other; empty: any
}

// conditional are the containers that the schema has below one sort of entry alone (when), with that entry's first key.
var conditional = map[string]string{
	"/network-instances/network-instance/protocols/protocol/pim":  "PIM",
	"/network-instances/network-instance/protocols/protocol/igmp": "IGMP",
}

// keyPart is one key of a list; index is its field in the map's key struct, or -1 where the key is the map's key itself.
type keyPart struct {
	name  string
	index int
	text  func(reflect.Value) telemetry.Value
}

type leaf struct {
	index int
	name  string
	value func(reflect.Value) telemetry.Value
	// preset is the default, which is in use wherever the leaf is not set; absent for a leaf that cannot be configured yet.
	preset telemetry.Value
}

// device describes gen.Device. It panics if the generator makes something that it never made: a test would have told.
var device = sync.OnceValue(func() *node { return newNode(reflect.TypeFor[gen.Device](), "", false) })

// newNode describes the struct type t at a schema path; nil where no config container is at or below it.
func newNode(t reflect.Type, path string, inConfig bool) *node {
	n := &node{}
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("path")
		p := path + "/" + name
		if name == "" || writeOnly[p] {
			continue
		}
		switch ft := f.Type; {
		case ft.Kind() == reflect.Pointer && ft.Elem().Kind() == reflect.Struct:
			n.add(child{index: i, name: name, config: name == "config"}, ft.Elem(), p)
		case ft.Kind() == reflect.Map:
			n.add(child{index: i, name: name, keys: keyParts(ft)}, ft.Elem().Elem(), p)
		case inConfig:
			l := leaf{index: i, name: name, value: converter(ft)}
			if config.Accepts(p) {
				l.preset = preset(t, f.Name, name)
			}
			n.leaves, n.defaults = append(n.leaves, l), n.defaults || l.preset.Kind != 0
		}
	}
	if len(n.children) == 0 && len(n.leaves) == 0 {
		return nil
	}
	slices.SortFunc(n.leaves, func(a, b leaf) int { return cmp.Compare(a.name, b.name) })
	return n
}

func (n *node) add(c child, t reflect.Type, path string) {
	if c.name == "state" {
		return
	}
	if c.node = newNode(t, path, c.config); c.node != nil {
		c.under = conditional[path]
		n.children = append(n.children, c)
		n.defaults = n.defaults || c.keys == nil && c.node.defaults
	}
}

// preset returns the default of a leaf of the generated struct t, which its getter knows.
func preset(t reflect.Type, field, name string) telemetry.Value {
	e := gen.SchemaTree[t.Name()].Dir[name]
	if e.IsLeafList() || len(e.Default) == 0 {
		return telemetry.Value{}
	}
	v := reflect.New(t).MethodByName("Get" + field).Call(nil)[0]
	return converter(v.Type())(v)
}

// keyParts describes the keys of a generated list, in the order of the schema.
func keyParts(m reflect.Type) []keyPart {
	entry := gen.SchemaTree[m.Elem().Elem().Name()]
	names := strings.Fields(entry.Key)
	if len(names) == 1 {
		return []keyPart{{names[0], -1, converter(m.Key())}}
	}
	var parts []keyPart
	for _, name := range names {
		for i := range m.Key().NumField() {
			if f := m.Key().Field(i); f.Tag.Get("path") == name {
				parts = append(parts, keyPart{name, i, converter(f.Type)})
			}
		}
	}
	return parts
}

// converter returns the function that reads a leaf of a generated type; the zero Value stands for "not set".
func converter(t reflect.Type) func(reflect.Value) telemetry.Value {
	if t.Kind() == reflect.Pointer {
		inner := converter(t.Elem())
		return func(v reflect.Value) telemetry.Value {
			if v.IsNil() {
				return telemetry.Value{}
			}
			return inner(v.Elem())
		}
	}
	if t.Implements(reflect.TypeFor[ygot.GoEnum]()) {
		names := gen.ΛEnum[t.Name()]
		return func(v reflect.Value) telemetry.Value {
			if d, ok := names[v.Int()]; ok {
				return telemetry.String(d.Name)
			}
			return telemetry.Value{}
		}
	}
	switch t.Kind() {
	case reflect.Bool:
		return func(v reflect.Value) telemetry.Value { return telemetry.Bool(v.Bool()) }
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return func(v reflect.Value) telemetry.Value { return telemetry.Uint(v.Uint()) }
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return func(v reflect.Value) telemetry.Value {
			return telemetry.Value{Kind: telemetry.KindInt, Num: uint64(v.Int())}
		}
	case reflect.String:
		return func(v reflect.Value) telemetry.Value { return telemetry.String(v.String()) }
	case reflect.Slice:
		return listConverter(converter(t.Elem()))
	}
	panic(fmt.Sprintf("state: generated type %v is not known", t))
}

// listConverter reads a leaf-list whose values item reads.
func listConverter(item func(reflect.Value) telemetry.Value) func(reflect.Value) telemetry.Value {
	return func(v reflect.Value) telemetry.Value {
		var strs []string
		var nums []uint64
		for i := range v.Len() {
			switch x := item(v.Index(i)); x.Kind {
			case telemetry.KindUint:
				nums = append(nums, x.Num)
			case telemetry.KindString:
				strs = append(strs, x.Str)
			}
		}
		switch {
		case nums != nil:
			return telemetry.Uints(nums)
		case strs != nil:
			return telemetry.Strings(strs)
		}
		return telemetry.Value{}
	}
}

// differ walks two generated trees side by side.
type differ struct {
	*slab
	path    telemetry.Path
	changes *telemetry.Changes
	changed func(telemetry.Path)                                       // told of every config container that changed
	touched func(owner any, field int) (keys []reflect.Value, ok bool) // see config.Committed; nil: nothing is known
}

// walk tells what differs between two structs of the same type; either may be a nil pointer. A container that nothing is
// set in is there all the same, with its defaults, where the list entry around it is: was and is say so.
func (d *differ) walk(n *node, before, after reflect.Value, was, is bool) {
	for i := range n.children {
		c := &n.children[i]
		b, a := field(before, c.index), field(after, c.index)
		if b.Pointer() == a.Pointer() && (was == is || c.keys != nil || !c.node.defaults) ||
			c.under != "" && d.path[len(d.path)-1].Keys[0].Value != c.under {
			continue
		}
		d.path = append(d.path, telemetry.Elem{Name: c.name})
		switch {
		case c.keys != nil:
			d.list(c, after, b, a)
		case c.config:
			d.container(c.node, b, a, was, is)
		default:
			d.walk(c.node, b, a, was, is)
		}
		d.path = d.path[:len(d.path)-1]
	}
}

// field returns a field of the struct that v points to, or the field's zero value where v is nil.
func field(v reflect.Value, index int) reflect.Value {
	if v.IsNil() {
		return reflect.Zero(v.Type().Elem().Field(index).Type)
	}
	return v.Elem().Field(index)
}

// list compares the entries of two lists; owner is the struct that holds the second. Where it is not known which entries were
// touched it looks at every one, at its pointer alone where that is equal.
func (d *differ) list(c *child, owner, before, after reflect.Value) {
	if d.touched != nil && !owner.IsNil() {
		if keys, ok := d.touched(owner.Interface(), c.index); ok {
			none := reflect.Zero(before.Type().Elem())
			for _, key := range keys {
				d.entry(c, key, orNone(before.MapIndex(key), none), orNone(after.MapIndex(key), none))
			}
			return
		}
	}
	switch b := before.Interface().(type) { // the long lists, without reflection: five times faster
	case map[string]*gen.Mcr_Mcr_Forwarding_Rules_Rule_Outputs_Output:
		typedList(d, c, b, after.Interface().(map[string]*gen.Mcr_Mcr_Forwarding_Rules_Rule_Outputs_Output))
		return
	case map[string]*gen.Mcr_Mcr_Forwarding_Rules_Rule:
		typedList(d, c, b, after.Interface().(map[string]*gen.Mcr_Mcr_Forwarding_Rules_Rule))
		return
	}
	t := before.Type()
	key, entry := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
	none := reflect.Zero(t.Elem())
	kept := 0
	for it := after.MapRange(); it.Next(); {
		key.SetIterKey(it)
		entry.SetIterValue(it)
		was := before.MapIndex(key)
		if was.IsValid() {
			kept++
		} else {
			was = none
		}
		if was.Pointer() != entry.Pointer() {
			d.entry(c, key, was, entry)
		}
	}
	if kept == before.Len() {
		return
	}
	for it := before.MapRange(); it.Next(); {
		key.SetIterKey(it)
		if !after.MapIndex(key).IsValid() {
			entry.SetIterValue(it)
			d.entry(c, key, entry, none)
		}
	}
}

func orNone(v, none reflect.Value) reflect.Value {
	if v.IsValid() {
		return v
	}
	return none
}

// typedList is list for a type that is known.
func typedList[E any](d *differ, c *child, before, after map[string]*E) {
	kept := 0
	for k, is := range after {
		was, ok := before[k]
		if ok {
			kept++
		}
		if was != is {
			d.entry(c, reflect.ValueOf(k), reflect.ValueOf(was), reflect.ValueOf(is))
		}
	}
	if kept == len(before) {
		return
	}
	for k, was := range before {
		if _, ok := after[k]; !ok {
			d.entry(c, reflect.ValueOf(k), reflect.ValueOf(was), reflect.ValueOf((*E)(nil)))
		}
	}
}

func (d *differ) entry(c *child, key, before, after reflect.Value) {
	keys := make([]telemetry.Key, len(c.keys))
	for i, k := range c.keys {
		v := key
		if k.index >= 0 {
			v = key.Field(k.index)
		}
		keys[i] = telemetry.Key{Name: k.name, Value: keyText(k.text(v))}
	}
	last := len(d.path) - 1
	d.path[last].Keys = keys
	d.walk(c.node, before, after, !before.IsNil(), !after.IsNil())
	d.path[last].Keys = nil
}

func keyText(v telemetry.Value) string {
	if v.Kind == telemetry.KindUint {
		return strconv.FormatUint(v.Num, 10)
	}
	return v.Str
}

// container tells how one config container changed. Leaves that are not set show their defaults.
func (d *differ) container(n *node, before, after reflect.Value, was, is bool) {
	shown := d.leaves(len(n.leaves))
	changed := false
	for i := range n.leaves {
		l := &n.leaves[i]
		b, a := l.read(before), l.read(after)
		if b.Kind == 0 && was {
			b = l.preset
		}
		if a.Kind == 0 && is {
			a = l.preset
		}
		changed = changed || !b.Equal(a)
		shown.value(l.name, a)
	}
	if !changed {
		return
	}
	path := slices.Clone(d.path)
	if len(shown) > 0 {
		d.changes.Update = append(d.changes.Update, &telemetry.Unit{Path: path, Leaves: d.done(shown)})
	} else {
		d.changes.Delete = append(d.changes.Delete, path)
	}
	d.changed(path)
}

// read returns what is set in the struct that v points to.
func (l *leaf) read(v reflect.Value) telemetry.Value {
	if v.IsNil() {
		return telemetry.Value{}
	}
	return l.value(v.Elem().Field(l.index))
}
