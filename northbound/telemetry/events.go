// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"maps"
	"slices"
	"strings"
	"sync"
)

// change is a new or changed value of an event-driven leaf. All clients share it and its encodings.
type change struct {
	it    *item
	ref   *leafRef
	leaf  Leaf
	fresh bool // the leaf was not there before

	once  sync.Once
	key   string // canonical path of the leaf
	coded [encodings]struct {
		once sync.Once
		wire []byte
	}
}

// path returns the leaf's canonical path; it is made once.
func (c *change) path() string {
	c.once.Do(func() { c.key = c.it.key + c.ref.name })
	return c.key
}

// wire returns the path and value of a gnmi.Update in an encoding; they are made once per encoding.
func (c *change) wire(enc Encoding) []byte {
	slot := &c.coded[enc]
	slot.once.Do(func() {
		b := appendBytes(nil, tagPath, appendElems(nil, c.it.path), c.ref.wire)
		slot.wire = appendBytes(b, tagVal, c.ref.node.appendTyped(nil, enc, &c.leaf.Value))
	})
	return slot.wire
}

// removal is a node that is gone: a list entry, a container or a leaf, with all that was below it.
type removal struct {
	path   Path
	time   int64
	born   uint64 // version in which the node appeared
	leaves []goneLeaf

	once  sync.Once
	elems []byte
}

// goneLeaf is one leaf that went with a removal.
type goneLeaf struct {
	it  *item
	ref *leafRef
}

// wire returns the elements of the path as a gnmi.Path; they are made once.
func (r *removal) wire() []byte {
	r.once.Do(func() { r.elems = appendElems(nil, r.path) })
	return r.elems
}

// foldRemovals joins what was removed under the outermost node that is wholly gone.
func (b *batch) foldRemovals() {
	byKey := map[string]*removal{}
	for _, key := range slices.Sorted(maps.Keys(b.gone)) {
		it := b.gone[key]
		path, top := it.path, key
		end := 0
		for i := range it.path {
			end += keyLen(&it.path[i])
			if r := b.refs[key[:end+1]]; r != nil && r.gone {
				path, top = it.path[:i+1], key[:end+1]
				break
			}
		}
		leaves := goneLeaves(it)
		if top == key && !it.entry && b.occupied(key) { // something else lives on below the container: leaf by leaf
			for _, g := range leaves {
				b.removed = append(b.removed, b.leafRemoval(g))
			}
			continue
		}
		r := byKey[top]
		if r == nil {
			r = &removal{path: path, time: b.next.Time.UnixNano(), born: it.born}
			byKey[top] = r
			b.removed = append(b.removed, r)
		}
		r.leaves = append(r.leaves, leaves...)
		r.born = min(r.born, it.born)
	}
}

// occupied says whether anything is left below a key.
func (b *batch) occupied(key string) bool {
	found := false
	b.items.AscendGreaterOrEqual(&item{key: key}, func(it *item) bool {
		found = strings.HasPrefix(it.key, key)
		return false
	})
	return found
}

// foldLost turns leaves that left a Unit into removals.
func (b *batch) foldLost() {
	for _, l := range b.lost {
		b.removed = append(b.removed, b.leafRemoval(l))
	}
}

func (b *batch) leafRemoval(g goneLeaf) *removal {
	return &removal{path: leafPath(g.it.path, g.ref), time: b.next.Time.UnixNano(), born: g.it.born, leaves: []goneLeaf{g}}
}

// goneLeaves lists the leaves of an item that is gone, the sampled ones included.
func goneLeaves(it *item) []goneLeaf {
	var out []goneLeaf
	add := func(leaves []Leaf) {
		for _, l := range leaves {
			if ref := it.node.leaves[l.Name]; ref != nil {
				out = append(out, goneLeaf{it, ref})
			}
		}
	}
	add(it.keys)
	if it.unit != nil {
		add(it.unit.Leaves)
		if it.unit.Sample != nil {
			add(it.unit.Sample(nil))
		}
	}
	return out
}

func leafPath(p Path, ref *leafRef) Path {
	out := make(Path, 0, len(p)+len(ref.elems))
	return append(append(out, p...), ref.elems...)
}
