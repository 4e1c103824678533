// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"errors"
	"fmt"
	"reflect"

	gpb "github.com/openconfig/gnmi/proto/gnmi"

	"mcr/gen"
	"mcr/northbound/config/json5"
)

// A patch leads from one tree to another, as a JSON array:
//
//	[ PATH, VALUE, PATH, VALUE, … ]      PATH  = [ "mcr", "forwarding", …, "rule", { "name": "r1" }, … ]
//	                                     VALUE = what is there afterwards, RFC 7951; null: nothing
//
// A PATH names a container or a list entry; the keys of an entry follow its list.

// AppendPatch appends the patch from old to now. Costs and e are as with Diff. It gives up, with false, where the patch has
// more than limit bytes.
func AppendPatch(b []byte, old, now *gen.Device, e *Edit, limit int) ([]byte, bool) {
	p := patcher{b: append(b, '['), end: len(b) + limit}
	p.differ = differ{edit: e, node: p.step}
	p.walk(&where{node: Schema()}, reflect.ValueOf(old), reflect.ValueOf(now))
	return append(p.b, ']'), !p.stop
}

type patcher struct {
	differ
	b   []byte
	end int // length of b at which it gives up
}

// step writes what became of a container or an entry, unless it is said by what is below it.
func (p *patcher) step(w *where, old, now reflect.Value) (deeper bool) {
	if w.node.Parent == nil || !old.IsNil() && !now.IsNil() && sameLeaves(w.node, old, now) {
		return true
	}
	if p.b[len(p.b)-1] != '[' {
		p.b = append(p.b, ',')
	}
	p.b = append(appendPath(append(p.b, '['), w), "],"...)
	if now.IsNil() {
		p.b = append(p.b, "null"...)
	} else {
		var enc encoder
		p.b = enc.object(p.b, w.node, now)
	}
	p.stop = len(p.b) > p.end
	return false
}

func sameLeaves(n *Node, old, now reflect.Value) bool {
	for _, c := range n.Children {
		if c.Config && !c.IsKey && (c.Kind == Leaf || c.Kind == LeafList) && !sameField(old.Elem().Field(c.field), now.Elem().Field(c.field)) {
			return false
		}
	}
	return true
}

func appendPath(b []byte, w *where) []byte {
	if w.node.Parent == nil {
		return b
	}
	if b = appendPath(b, w.up); b[len(b)-1] != '[' {
		b = append(b, ',')
	}
	b = AppendString(b, w.node.Name)
	if !w.key.IsValid() {
		return b
	}
	b = append(b, ",{"...)
	for i, k := range w.node.Keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(AppendString(b, k.Name), ':')
		b = AppendString(b, k.Type.text(keyPart(w.key, w.node, i)))
	}
	return append(b, '}')
}

// Patch makes the changes of a patch. The error says that it is none; what is wrong with its paths and values is among the
// Faults.
func (e *Edit) Patch(v *json5.Value) error {
	if v.Kind != json5.Array || len(v.Elems)%2 != 0 {
		return errors.New("it is not a list of paths and values")
	}
	for i := 0; i < len(v.Elems); i += 2 {
		path, err := patchPath(v.Elems[i])
		if err != nil {
			return err
		}
		if is := v.Elems[i+1]; is.Kind == json5.Null {
			e.Delete(path)
		} else {
			e.Replace(path, is)
		}
	}
	return nil
}

func patchPath(v *json5.Value) (*gpb.Path, error) {
	path := &gpb.Path{}
	for _, el := range v.Elems {
		n := len(path.Elem)
		switch {
		case el.Kind == json5.String:
			path.Elem = append(path.Elem, &gpb.PathElem{Name: el.Text})
		case el.Kind == json5.Object && n > 0 && path.Elem[n-1].Key == nil:
			path.Elem[n-1].Key = map[string]string{}
			for _, m := range el.Members {
				path.Elem[n-1].Key[m.Name] = m.Value.Text
			}
		default:
			return nil, fmt.Errorf("%v in a path", el.Kind)
		}
	}
	if len(path.Elem) == 0 {
		return nil, errors.New("an empty path")
	}
	return path, nil
}
