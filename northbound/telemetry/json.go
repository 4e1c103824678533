// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"slices"
	"strings"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
)

// collector makes the JSON of matches from leaves that come in order of path.
type collector struct {
	schema *Schema
	out    []*gpb.Update
	doc    document
	match  Path // that doc is of; nil: none has begun

	it   *item
	wait []waitingLeaf // of the item
}

type waitingLeaf struct {
	ref   *leafRef
	value Value
	match int
}

// collectJSON returns an Update per match.
func (s *Snapshot) collectJSON(p *Pattern, f Filter, enc Encoding, now time.Time) []*gpb.Update {
	c := &collector{schema: s.schema, doc: document{enc: enc}}
	s.each(p, f, now, func(h *Hit) {
		if h.it != c.it {
			c.flush()
			c.it = h.it
		}
		c.wait = append(c.wait, waitingLeaf{h.ref, h.Leaf.Value, h.match})
	})
	c.flush()
	c.end()
	return c.out
}

// flush writes the leaves of an item. What is sampled comes after what is not: in order of name, what one container holds is
// together.
func (c *collector) flush() {
	byName := func(a, b waitingLeaf) int { return strings.Compare(a.ref.name, b.ref.name) }
	if !slices.IsSortedFunc(c.wait, byName) {
		slices.SortStableFunc(c.wait, byName)
	}
	for i := range c.wait {
		l := &c.wait[i]
		path, below := c.it.path, l.ref.elems
		match := path[:min(l.match, len(path))]
		if n := l.match - len(path); n > 0 {
			match, below = leafPath(path, l.ref)[:l.match], below[n:]
		}
		if c.match == nil || !equalPath(match, c.match) {
			c.end()
			c.match = match
			c.doc.begin(c.schema.Find(match))
		}
		c.doc.leaf(c.it, path[min(l.match, len(path)):], below, l.ref.node, l.value)
	}
	c.wait = c.wait[:0]
}

// end makes the Update of the match.
func (c *collector) end() {
	if c.match == nil {
		return
	}
	b := c.doc.end()
	v := &gpb.TypedValue{Value: &gpb.TypedValue_JsonIetfVal{JsonIetfVal: b}}
	if c.doc.enc == EncodingJSON {
		v.Value = &gpb.TypedValue_JsonVal{JsonVal: b}
	}
	c.out = append(c.out, &gpb.Update{Path: &gpb.Path{Elem: c.match.Elems()}, Val: v})
	c.match = nil
}

func equalPath(a, b Path) bool { return len(a) == len(b) && contains(a, b) }

// document is the JSON of one node in the making, written as its leaves come.
type document struct {
	enc  Encoding
	b    []byte
	open []openObject // the node itself, and the containers and entries below it that are not closed yet
	it   *item        // of the latest leaf
}

type openObject struct {
	node   *Node
	elem   Elem
	module string // in the encoding; empty for the outermost, so that all its members have theirs
	filled bool   // has a member
	list   *Node  // whose array is open
}

func (d *document) begin(n *Node) {
	d.it = nil
	d.open = append(d.open[:0], openObject{node: n})
	if !n.leaf {
		d.b = append(d.b, '{')
	}
}

// end returns the document.
func (d *document) end() []byte {
	d.close(0)
	if o := &d.open[0]; !o.node.leaf {
		d.endList(o)
		d.b = append(d.b, '}')
	}
	b := d.b
	d.b = nil
	return b
}

// leaf writes a leaf at a path below the document's node: the rest of the item's path, and then the leaf's.
func (d *document) leaf(it *item, rest, elems []Elem, n *Node, v Value) {
	if len(rest)+len(elems) == 0 { // the document is the leaf
		d.b = n.appendValue(d.b, d.enc, v)
		return
	}
	at := func(i int) *Elem {
		if i < len(rest) {
			return &rest[i]
		}
		return &elems[i-len(rest)]
	}
	depth, same := len(rest)+len(elems)-1, 0
	if d.it == it {
		same = min(len(rest), depth)
	}
	d.it = it
	for same < depth && same < len(d.open)-1 && equalElem(*at(same), d.open[same+1].elem) {
		same++
	}
	d.close(same)
	for ; same < depth; same++ {
		d.enter(at(same))
	}
	d.member(&d.open[same], n)
	d.b = n.appendValue(d.b, d.enc, v)
}

// close closes all but n of the objects below the outermost.
func (d *document) close(n int) {
	for i := len(d.open) - 1; i > n; i-- {
		d.endList(&d.open[i])
		d.b = append(d.b, '}')
		d.open = d.open[:i]
	}
}

// enter opens the object of an element.
func (d *document) enter(e *Elem) {
	parent := &d.open[len(d.open)-1]
	n := parent.node.Children[e.Name]
	switch {
	case n.list && parent.list == n:
		d.b = append(d.b, ',')
	case n.list:
		d.member(parent, n)
		d.b = append(d.b, '[')
		parent.list = n
	default:
		d.member(parent, n)
	}
	d.b = append(d.b, '{')
	d.open = append(d.open, openObject{node: n, elem: *e, module: n.module(d.enc)})
}

// member begins a member of an object.
func (d *document) member(o *openObject, n *Node) {
	d.endList(o)
	if o.filled {
		d.b = append(d.b, ',')
	}
	o.filled = true
	d.b = append(d.b, '"')
	if mod := n.module(d.enc); mod != o.module && d.enc != EncodingJSON {
		d.b = append(append(d.b, mod...), ':')
	}
	d.b = append(append(d.b, n.Name...), '"', ':')
}

func (d *document) endList(o *openObject) {
	if o.list != nil {
		d.b = append(d.b, ']')
		o.list = nil
	}
}
