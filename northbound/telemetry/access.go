// SPDX-License-Identifier: Apache-2.0

package telemetry

// Access says how much of what is at and below a path a client may read.
type Access uint8

// Answers of Filter.Readable.
const (
	AccessNone Access = iota // nothing
	AccessSome               // ask for the paths below
	AccessAll                // everything
)

// Access says how much of what a pattern can match may be read, as far as the elements before its first wildcard tell:
// with AccessNone there is nothing to look for.
func (f *Filter) Access(s *Schema, p *Pattern) Access {
	if f.Readable == nil {
		return AccessAll
	}
	a, n := f.Readable(nil), s.Root
	for i, e := range p.elems {
		n = n.Children[e.Name]
		if a != AccessSome || n == nil || len(e.Keys) < len(n.Keys) {
			break
		}
		a = f.Readable(Path(p.elems[:i+1]))
	}
	return a
}

// gate asks Filter.Readable along the paths of items, and remembers the answers of the latest path, since neighbours share
// most of it. A nil gate lets everything pass. It is not safe for use by several goroutines.
type gate struct {
	readable func(Path) Access
	path     Path
	known    []Access // [i] is that of the first i elements; AccessSome but for the last
}

// shut says that nothing of an item may be read.
func (g *gate) shut(it *item) bool { return g != nil && g.ask(it.path) == AccessNone }

// passes says whether a leaf of an item may be read. Of a list entry of which anything may be read, so may the keys.
func (g *gate) passes(it *item, ref *leafRef) bool {
	if g == nil {
		return true
	}
	a := g.ask(it.path)
	if a != AccessSome || ref.node.IsKey && len(ref.elems) == 1 {
		return a != AccessNone
	}
	path := leafPath(it.path, ref)
	for n := len(it.path) + 1; a == AccessSome && n <= len(path); n++ {
		a = g.readable(path[:n])
	}
	return a == AccessAll
}

// ask returns what holds for a path.
func (g *gate) ask(p Path) Access {
	same := 0
	for same < len(g.path) && same < len(p) && equalElem(g.path[same], p[same]) {
		same++
	}
	g.path, g.known = p, g.known[:min(len(g.known), same+1)]
	if len(g.known) == 0 {
		g.known = append(g.known, g.readable(nil))
	}
	for g.known[len(g.known)-1] == AccessSome && len(g.known) <= len(p) {
		g.known = append(g.known, g.readable(p[:len(g.known)]))
	}
	return g.known[len(g.known)-1]
}
