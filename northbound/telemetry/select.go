// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"runtime"
	"slices"
	"strings"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
)

// Filter narrows a selection. The zero value takes everything.
type Filter struct {
	ConfigOnly bool // no config-false leaf
	StateOnly  bool // no config-true leaf; keys of lists that hold state stay
	// Operational leaves out the state that repeats configuration: a leaf whose config container has one of its name.
	Operational bool
	SampledOnly bool            // nothing but sampled leaves
	Depth       int             // levels below a match; 0: all
	Modules     map[string]bool // namespaces; nil: all
	// Readable says how much of what is at and below a path may be read; nil: everything. The path has all its keys; none of
	// its elements is the root. It is called from any goroutine, must be quick, must not change its mind while the Filter is
	// used, and must not keep the path. AccessSome at a leaf is as good as AccessNone.
	Readable func(Path) Access
}

// Hit is a leaf that matches a pattern.
type Hit struct {
	Node *Node
	Leaf Leaf

	it    *item
	ref   *leafRef
	match int // elements of the leaf's path that the pattern matched
}

// Path returns the absolute path of the leaf.
func (h *Hit) Path() Path { return leafPath(h.it.path, h.ref) }

// Base returns the path of the Unit or list entry that holds the leaf. Its leaves come one after the other and share the
// path, which must not be changed.
func (h *Hit) Base() Path { return h.it.path }

// Match returns the path of the node that the pattern matched: the leaf itself or something above it.
func (h *Hit) Match() Path { return h.Path()[:h.match] }

// Select calls visit for each leaf at or below what matches the pattern, in order of path, until visit returns false.
// Sampled leaves are read now; now is the time they get if they carry none. A Hit is good until visit returns.
func (s *Snapshot) Select(p *Pattern, f Filter, now time.Time, visit func(*Hit) bool) {
	w := &walk{snap: s, pattern: p, filter: f, now: now, visit: visit, known: map[*Node]*verdicts{}}
	switch f.Access(s.schema, p) {
	case AccessNone:
		return
	case AccessSome:
		w.gate = &gate{readable: f.Readable}
	}
	w.trie.insert(p, true)
	prefix := p.prefix(s.schema)
	for i := 1; i < len(prefix); i++ { // Units above a leaf that is asked for by name
		if prefix[i] != '/' || i+1 == len(prefix) {
			continue
		}
		if it, ok := s.items.Get(&item{key: prefix[:i+1]}); ok && w.item(it) {
			return
		}
	}
	items := 0
	s.items.AscendGreaterOrEqual(&item{key: prefix}, func(it *item) bool {
		if items++; items%yieldAfter == 0 {
			runtime.Gosched()
		}
		return strings.HasPrefix(it.key, prefix) && !w.item(it)
	})
}

// yieldAfter is how many items a walk visits, in some tenth of a millisecond, before it lets others run: a worker of the dataplane that
// comes back from the kernel may wait for its processor.
const yieldAfter = 16

// walk is one Select at work.
type walk struct {
	snap    *Snapshot
	pattern *Pattern
	filter  Filter
	now     time.Time
	visit   func(*Hit) bool
	trie    trie[bool]
	gate    *gate // nil: everything may be read
	hit     Hit
	buf     []Leaf
	known   map[*Node]*verdicts

	// The states after each element of the latest path, so that neighbours share the work.
	path   Path
	states [][]*trieNode[bool]
}

// item visits the leaves of one item; true ends the walk.
func (w *walk) item(it *item) bool {
	match := -1
	if len(w.states) == 0 {
		w.states = append(w.states, w.trie.start())
	}
	same := 0
	for same < len(it.path) && same < len(w.path) && same+1 < len(w.states) && equalElem(it.path[same], w.path[same]) {
		same++
	}
	w.path, w.states = it.path, w.states[:same+1]
	for i := 0; ; i++ {
		set := w.states[i]
		if match < 0 && ends(set) {
			match = i
		}
		if i == len(it.path) {
			break
		}
		if i+1 == len(w.states) {
			w.states = append(w.states, advance(w.spare(i+1), set, it.path[i]))
		}
	}
	if match < 0 && len(w.states[len(it.path)]) == 0 || w.gate.shut(it) {
		return false
	}
	if !w.filter.SampledOnly && (w.leaves(it, it.keys, match) || it.unit != nil && w.leaves(it, it.unit.Leaves, match)) {
		return true
	}
	return it.unit != nil && w.sample(it, match)
}

// spare returns the room of a state that is no longer needed.
func (w *walk) spare(i int) []*trieNode[bool] {
	if i < cap(w.states) {
		return w.states[:i+1][i][:0]
	}
	return nil
}

func (w *walk) sample(it *item, match int) bool {
	if it.unit.Sample == nil || w.filter.ConfigOnly {
		return false
	}
	w.buf = it.unit.Sample(w.buf[:0])
	for i := range w.buf {
		if w.buf[i].Time == 0 {
			w.buf[i].Time = w.now.UnixNano()
		}
	}
	return w.leaves(it, w.buf, match)
}

// leaves visits those leaves of an item that match and pass the filter.
func (w *walk) leaves(it *item, leaves []Leaf, match int) bool {
	known := w.verdicts(it, match)
	for i := range leaves {
		l := &leaves[i]
		if l.Value.Kind == 0 {
			continue
		}
		v, ok := known.of[l.Name]
		if !ok {
			v = w.judge(it, it.node.leaves[l.Name], match)
			known.of[l.Name] = v
		}
		if v.ref == nil || !w.gate.passes(it, v.ref) {
			continue
		}
		w.hit = Hit{Node: v.ref.node, Leaf: *l, it: it, ref: v.ref, match: v.match}
		if !w.visit(&w.hit) {
			return true
		}
	}
	return false
}

// verdicts are what pattern and filter say of the leaves below items of one node in one state, by name: as long as keys have
// not led to another state they are the same for ten thousand outputs.
type verdicts struct {
	state []*trieNode[bool]
	match int
	of    map[string]verdict
}

// verdict is a leaf that is wanted, and how many elements of its path the pattern matched; without ref it is not wanted.
type verdict struct {
	ref   *leafRef
	match int
}

func (w *walk) verdicts(it *item, match int) *verdicts {
	v, state := w.known[it.node], w.states[len(it.path)]
	if v == nil || v.match != match || !slices.Equal(v.state, state) {
		v = &verdicts{state: slices.Clone(state), match: match, of: map[string]verdict{}}
		w.known[it.node] = v
	}
	return v
}

// judge looks at everything but who may read the leaf, which depends on the keys.
func (w *walk) judge(it *item, ref *leafRef, match int) verdict {
	if ref == nil {
		return verdict{}
	}
	if match < 0 {
		if match = w.below(it, ref); match < 0 {
			return verdict{}
		}
	}
	n := len(it.path) + len(ref.elems)
	if w.pattern.deepTail() {
		match = n
	}
	if !w.filter.Passes(ref.node) || w.filter.Depth > 0 && n-match > w.filter.Depth {
		return verdict{}
	}
	return verdict{ref, match}
}

// below matches the elements of a leaf below its item.
func (w *walk) below(it *item, ref *leafRef) int {
	set := w.states[len(it.path)]
	for i, e := range ref.elems {
		if set = advance(nil, set, e); ends(set) {
			return len(it.path) + i + 1
		}
	}
	return -1
}

// Passes says whether a leaf is of the wanted sort.
func (f *Filter) Passes(n *Node) bool {
	switch {
	case f.ConfigOnly && !n.Config && !n.IsKey,
		(f.StateOnly || f.Operational) && n.Config && !n.IsKey,
		f.Operational && n.appliedConfig(),
		f.SampledOnly && !n.Sampled,
		f.Modules != nil && !f.Modules[n.Module]:
		return false
	}
	return true
}

// appliedConfig says that a leaf in a container "state" repeats one of the "config" beside it.
func (n *Node) appliedConfig() bool {
	if n.Parent == nil || n.Parent.Name != "state" || n.Parent.Parent == nil {
		return false
	}
	cfg := n.Parent.Parent.Children["config"]
	return cfg != nil && cfg.Children[n.Name] != nil
}

func equalElem(a, b Elem) bool {
	if a.Name != b.Name || len(a.Keys) != len(b.Keys) {
		return false
	}
	for i := range a.Keys {
		if a.Keys[i] != b.Keys[i] {
			return false
		}
	}
	return true
}

// Collect answers a Get of one pattern: an Update per match (JSON) or per leaf (PROTO), in order of path. Keys of list
// entries alone, which a filter leaves over, are no answer. An empty result means that there is no data.
func (s *Snapshot) Collect(p *Pattern, f Filter, enc Encoding, now time.Time) []*gpb.Update {
	if enc == EncodingProto {
		return s.collectLeaves(p, f, now)
	}
	return s.collectJSON(p, f, enc, now)
}

// CollectWire is Collect for PROTO, with the Updates in their wire form, one behind the other, as fields of a
// gnmi.Notification; n is their number. A whole tree has a million of them.
func (s *Snapshot) CollectWire(p *Pattern, f Filter, now time.Time) (updates []byte, n int) {
	out := newNotification(EncodingProto, nil)
	s.each(p, f, now, func(h *Hit) { out.leaf(h.it, h.ref, &h.Leaf.Value) })
	return out.body, out.count
}

func (s *Snapshot) collectLeaves(p *Pattern, f Filter, now time.Time) []*gpb.Update {
	var out []*gpb.Update
	s.each(p, f, now, func(h *Hit) {
		out = append(out, &gpb.Update{
			Path: &gpb.Path{Elem: h.Path().Elems()}, Val: h.Node.Typed(EncodingProto, h.Leaf.Value),
		})
	})
	return out
}

// each is Select without the key leaves of entries of which the filter leaves nothing else.
func (s *Snapshot) each(p *Pattern, f Filter, now time.Time, visit func(*Hit)) {
	if !f.ConfigOnly && !f.StateOnly && !f.Operational {
		s.Select(p, f, now, func(h *Hit) bool { visit(h); return true })
		return
	}
	var keys []Hit // of entries of which nothing else has come yet
	s.Select(p, f, now, func(h *Hit) bool {
		if len(h.it.keys) > 0 && h.Node.IsKey && h.match <= len(h.it.path) {
			keep := keys[:0]
			for _, k := range keys {
				if contains(k.it.path, h.it.path) {
					keep = append(keep, k)
				}
			}
			keys = append(keep, *h)
			return true
		}
		for i := range keys {
			if contains(keys[i].it.path, h.it.path) {
				visit(&keys[i])
			}
		}
		keys = keys[:0]
		visit(h)
		return true
	})
}

// contains says whether a path is at or below p.
func contains(p, path Path) bool {
	if len(path) < len(p) {
		return false
	}
	for i := range p {
		if !equalElem(p[i], path[i]) {
			return false
		}
	}
	return true
}
