// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/btree"
)

// Tree holds the Units of all writers and tells streams what changed.
type Tree struct {
	schema *Schema

	// mu orders Apply against itself and against the registering of streams. Readers of snapshots never take it, and
	// nobody who holds it waits for a client.
	mu      sync.Mutex
	items   *items // those of snap, to be changed by the next Apply
	streams map[*Stream]struct{}
	watched trie[*watch]
	floor   time.Time // of the latest sample: no later change is dated before it

	snap atomic.Pointer[Snapshot]
}

// Snapshot is the whole tree at one moment. It never changes, except that sampled leaves are read when asked for.
type Snapshot struct {
	schema *Schema
	// Time is when the latest change in it happened.
	Time    time.Time
	version uint64
	items   *items
}

// items is ordered by key. A clone shares with its origin what neither has changed since.
type items = btree.BTreeG[*item]

// degree of the tree of items: a change copies a few nodes of so many items or twice as many.
const degree = 32

// item is what the tree holds at a path: a Unit, a list entry, or both. It is immutable.
type item struct {
	key  string // the path in its canonical form, with a slash behind
	path Path
	node *Node
	born uint64 // version of the tree in which it appeared

	entry bool
	keys  []Leaf // of a list entry
	refs  int    // Units at and below a list entry

	unit    *Unit  // leaves with their times; nil: none
	counted uint64 // version in which the Unit got its Sample
}

// New returns an empty tree.
func New(s *Schema) *Tree {
	t := &Tree{schema: s, streams: map[*Stream]struct{}{}}
	t.items = btree.NewG(degree, func(a, b *item) bool { return a.key < b.key })
	t.snap.Store(&Snapshot{schema: s, items: t.items.Clone()})
	return t
}

// Schema returns the schema that the tree was made with.
func (t *Tree) Schema() *Schema { return t.schema }

// Snapshot returns the tree as it is now. It costs a pointer.
func (t *Tree) Snapshot() *Snapshot { return t.snap.Load() }

// Unit returns the Unit of exactly this path with its leaves' times, or nil.
func (s *Snapshot) Unit(p Path) *Unit {
	if it, ok := s.items.Get(&item{key: p.String() + "/"}); ok {
		return it.unit
	}
	return nil
}

// Len returns the number of Units and list entries.
func (s *Snapshot) Len() int { return s.items.Len() }

// Apply makes changes that become visible together. What stays equal keeps its time and causes nothing. The error names
// units, keys and leaves that the schema does not have; they are left out and the rest is done.
func (t *Tree) Apply(c Changes) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.snap.Load()
	b := &batch{
		schema: t.schema, items: t.items, refs: map[string]*refChange{}, gone: map[string]*item{},
		next: &Snapshot{schema: t.schema, Time: c.Time, version: old.version + 1}, watched: len(t.streams) > 0,
		commit: c.Commit,
	}
	for _, floor := range [2]time.Time{old.Time, t.floor} { // times never go back for one path
		if b.next.Time.Before(floor) {
			b.next.Time = floor
		}
	}
	for _, p := range c.Delete {
		b.remove(p)
	}
	keys := make([]string, len(c.Update))
	for i, u := range c.Update {
		keys[i] = u.Path.key()
	}
	for i, u := range latest(c.Update, keys) {
		if u != nil {
			b.update(u, keys[i])
		}
	}
	b.settleEntries()
	if b.touched {
		b.next.items = t.items.Clone()
		t.snap.Store(b.next)
	}
	if b.touched || b.commit != nil {
		t.tell(b)
	}
	return errors.Join(b.errs...)
}

// latest returns, at the place of the first Unit of each path, the last one of it, and nil at the places of the others.
func latest(units []*Unit, keys []string) []*Unit {
	if len(units) < 2 {
		return units
	}
	at := make(map[string]int, len(units))
	out := make([]*Unit, len(units))
	for i, u := range units {
		first, again := at[keys[i]]
		if !again {
			first = i
			at[keys[i]] = i
		}
		out[first] = u
	}
	return out
}

// batch is one Apply at work.
type batch struct {
	schema  *Schema
	items   *items
	pivot   item // to look for
	next    *Snapshot
	refs    map[string]*refChange
	gone    map[string]*item // Units that were removed, by key, until an update brings them back
	watched bool             // somebody wants to know what changed
	touched bool
	commit  *CommitMark
	errs    []error

	changed []*change
	removed []*removal
	lost    []goneLeaf // leaves that left a Unit which stays
}

// refChange counts the Units that came to and went from a list entry.
type refChange struct {
	path  Path
	delta int
	gone  bool // the entry ended in this batch
}

// get returns the item of a key.
func (b *batch) get(key string) (*item, bool) {
	b.pivot.key = key
	return b.items.Get(&b.pivot)
}

func (b *batch) remove(p Path) {
	key := p.key()
	it, ok := b.get(key)
	if !ok || it.unit == nil {
		return
	}
	g := *it
	g.entry, g.keys = false, nil // a list entry outlives its own Unit
	b.gone[key] = &g
	b.put(it, nil)
	b.count(p, key, -1)
}

// put stores an item with another Unit, or takes it out where nothing is left of it.
func (b *batch) put(it *item, u *Unit) {
	b.touched = true
	if u == nil && !it.entry {
		b.items.Delete(it)
		return
	}
	cp := *it
	if u != nil && u.Sample != nil && (it.unit == nil || it.unit.Sample == nil) {
		cp.counted = b.next.version
	}
	cp.unit = u
	b.items.ReplaceOrInsert(&cp)
}

func (b *batch) update(u *Unit, key string) {
	it, ok := b.get(key)
	if !ok {
		node, err := b.check(u.Path)
		if err != nil {
			b.errs = append(b.errs, err)
			return
		}
		it = &item{key: key, path: u.Path, node: node, born: b.next.version}
	}
	before := it.unit
	if before == nil {
		if back := b.gone[key]; back != nil {
			before = back.unit
			if !ok {
				it = back
			}
			delete(b.gone, key)
		}
	}
	if it.unit == nil || !ok {
		b.count(u.Path, key, 1)
	}
	now, same := b.leaves(it, before, u)
	if same && u.Sample == nil && before != nil && before.Sample == nil && it.unit != nil && ok {
		return
	}
	if b.watched && before != nil && before.Sample != nil && u.Sample == nil {
		for _, l := range before.Sample(nil) {
			b.lose(it, l)
		}
	}
	b.put(it, now)
}

// leaves returns the Unit as it is to be stored and notes the differences to the one before, which may be nil.
func (b *batch) leaves(it *item, before, u *Unit) (now *Unit, same bool) {
	now = &Unit{Path: it.path, Leaves: make([]Leaf, 0, len(u.Leaves)), Sample: u.Sample}
	in := u.Leaves
	byName := func(a, b Leaf) int { return strings.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(in, byName) {
		in = slices.SortedStableFunc(slices.Values(in), byName)
	}
	var old []Leaf
	if before != nil {
		old = before.Leaves
	}
	same = true
	for i := range in {
		l := &in[i]
		if l.Value.Kind == 0 {
			continue
		}
		for len(old) > 0 && old[0].Name < l.Name {
			b.lose(it, old[0])
			old, same = old[1:], false
		}
		fresh := len(old) == 0 || old[0].Name != l.Name
		if !fresh && old[0].Value.Equal(l.Value) {
			now.Leaves, old = append(now.Leaves, old[0]), old[1:]
			continue
		}
		ref := it.node.leaves[l.Name]
		if ref == nil {
			b.errs = append(b.errs, fmt.Errorf("%s/%s: no such leaf in the schema", it.path, l.Name))
			continue
		}
		if ref.node.Sampled {
			b.errs = append(b.errs, fmt.Errorf("%s/%s: a sampled leaf is no event", it.path, l.Name))
			continue
		}
		if !fresh {
			old = old[1:]
		}
		same = false
		now.Leaves = append(now.Leaves, *l)
		last := &now.Leaves[len(now.Leaves)-1]
		last.Time = b.next.Time.UnixNano()
		b.change(it, ref, last, fresh)
	}
	for _, l := range old {
		b.lose(it, l)
		same = false
	}
	return now, same
}

// change notes a new or changed leaf.
func (b *batch) change(it *item, ref *leafRef, l *Leaf, fresh bool) {
	if b.watched {
		b.changed = append(b.changed, &change{it: it, ref: ref, leaf: *l, fresh: fresh})
	}
}

// lose notes a leaf that is gone from a Unit that stays.
func (b *batch) lose(it *item, l Leaf) {
	if ref := it.node.leaves[l.Name]; b.watched && ref != nil {
		b.lost = append(b.lost, goneLeaf{it, ref})
	}
}

// count adds n Units to every list entry on the path.
func (b *batch) count(p Path, key string, n int) {
	end := 0
	for i := range p {
		end += keyLen(&p[i])
		if len(p[i].Keys) == 0 {
			continue
		}
		k := key[:end+1]
		r := b.refs[k]
		if r == nil {
			r = &refChange{path: p[:i+1]}
			b.refs[k] = r
		}
		r.delta += n
	}
}

// keyLen is the length of an element in a key.
func keyLen(e *Elem) int {
	n := elemLen(e)
	for i := range e.Keys {
		n += strings.Count(e.Keys[i].Value, "]") + strings.Count(e.Keys[i].Value, `\`)
	}
	return n
}

// settleEntries makes the list entries that have become non-empty, takes out those that have become empty, and turns what
// is gone into removals: one per entry, not one per leaf.
func (b *batch) settleEntries() {
	for _, key := range slices.Sorted(maps.Keys(b.refs)) {
		r := b.refs[key]
		if r.delta == 0 {
			continue
		}
		it, ok := b.get(key)
		switch {
		case !ok || !it.entry:
			b.addEntry(key, r, it)
		case it.refs+r.delta == 0:
			r.gone = true
			b.touched = true
			b.items.Delete(it)
			g := *it // its key leaves go with the outermost entry that ends
			if own := b.gone[key]; own != nil {
				g.unit = own.unit
			}
			b.gone[key] = &g
		default:
			cp := *it
			cp.refs += r.delta
			b.touched = true
			b.items.ReplaceOrInsert(&cp)
		}
	}
	if b.watched {
		b.foldRemovals()
		b.foldLost()
	}
}

func (b *batch) addEntry(key string, r *refChange, it *item) {
	e := &item{key: key, path: r.path, node: b.schema.Find(r.path), born: b.next.version}
	if it != nil { // a Unit at the entry itself came first
		cp := *it
		e = &cp
	}
	e.entry, e.refs = true, r.delta
	for _, k := range r.path[len(r.path)-1].Keys {
		ref := e.node.leaves[k.Name]
		v, err := ref.node.Parse(k.Value)
		if err != nil { // a writer's mistake; the text is still a key
			b.errs = append(b.errs, fmt.Errorf("%s: key %s: %w", r.path, k.Name, err))
			v = String(k.Value)
		}
		l := Leaf{Name: k.Name, Value: v, Time: b.next.Time.UnixNano()}
		e.keys = append(e.keys, l)
		b.change(e, ref, &l, true)
	}
	b.touched = true
	b.items.ReplaceOrInsert(e)
}

// check says whether the schema has a container or list entry with this path and these keys.
func (b *batch) check(p Path) (*Node, error) {
	n := b.schema.Root
	for _, e := range p {
		c := n.Children[e.Name]
		if c == nil || c.leaf {
			return nil, fmt.Errorf("%s: no container %q in the schema", p, e.Name)
		}
		if !slices.EqualFunc(c.Keys, e.Keys, func(name string, k Key) bool { return name == k.Name }) {
			return nil, fmt.Errorf("%s: keys of %q are not %v in this order", p, e.Name, c.Keys)
		}
		n = c
	}
	return n, nil
}
