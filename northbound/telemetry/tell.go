// SPDX-License-Identifier: Apache-2.0

package telemetry

// tell queues what a batch changed at the streams that want it. It is called with Tree.mu held and never blocks.
func (t *Tree) tell(b *batch) {
	if !b.watched {
		return
	}
	var held queues
	defer held.release()
	for _, r := range b.removed {
		t.tellRemoval(r, &held)
	}
	m := &matcher{trie: &t.watched}
	for _, c := range b.changed {
		for _, hit := range m.leaf(c.it, c.ref) {
			if hit.watch.events && hit.takes(c.it, c.ref) {
				held.hold(hit.watch.stream.queue).update(c)
			}
		}
	}
	if b.commit == nil {
		return
	}
	for s := range t.streams {
		if s.req.CommitMarks {
			held.hold(s.queue).commit(b.commit)
		}
	}
}

// queues are those that are locked until a batch is told whole, so that no client reads half of it.
type queues []*queue

func (l *queues) hold(q *queue) *queue {
	if !q.held {
		q.mu.Lock()
		q.held = true
		*l = append(*l, q)
	}
	return q
}

func (l *queues) release() {
	for _, q := range *l {
		q.held = false
		q.mu.Unlock()
	}
}

// known is what one stream knows of a node that is gone.
type known struct {
	keys []string // event-driven leaves that it gets
	told bool     // it was told of something else below
}

func (t *Tree) tellRemoval(r *removal, held *queues) {
	streams := map[*Stream]*known{}
	m := &matcher{trie: &t.watched}
	for _, g := range r.leaves {
		key := ""
		for _, hit := range m.leaf(g.it, g.ref) {
			if !hit.takes(g.it, g.ref) {
				continue
			}
			s := hit.watch.stream
			k := streams[s]
			if k == nil {
				k = &known{}
				streams[s] = k
			}
			if hit.watch.events && !g.ref.node.Sampled {
				if key == "" {
					key = g.it.key + g.ref.name
				}
				if len(k.keys) == 0 || k.keys[len(k.keys)-1] != key { // overlapping subscriptions
					k.keys = append(k.keys, key)
				}
			} else if r.born <= s.sampled.Load() {
				k.told = true
			}
		}
	}
	for s, k := range streams {
		held.hold(s.queue).remove(r, k.keys, k.told)
	}
}

// watchHit is a watch that a path matches, and how many elements the pattern took.
type watchHit struct {
	watch *watch
	match int
}

// takes says whether the client's filter lets a leaf pass.
func (h *watchHit) takes(it *item, ref *leafRef) bool {
	w := h.watch
	if w.depth > 0 && !w.pattern.deepTail() && len(it.path)+len(ref.elems)-h.match > w.depth {
		return false
	}
	return w.stream.req.Filter.Passes(ref.node) && w.gate.passes(it, ref)
}

// matcher finds the watches of leaves; it remembers the latest item, since leaves come in rows.
type matcher struct {
	trie *trie[*watch]
	it   *item
	set  []*trieNode[*watch]
	hits []watchHit // of the item's path
	out  []watchHit
}

func (m *matcher) leaf(it *item, ref *leafRef) []watchHit {
	if m.it != it {
		m.it, m.hits = it, m.hits[:0]
		m.set = m.trie.start()
		m.hits = collect(m.hits, m.set, 0)
		for i, e := range it.path {
			if m.set = advance(nil, m.set, e); len(m.set) == 0 {
				break
			}
			m.hits = collect(m.hits, m.set, i+1)
		}
	}
	m.out = append(m.out[:0], m.hits...)
	set := m.set
	for i, e := range ref.elems {
		if len(set) == 0 {
			break
		}
		set = advance(nil, set, e)
		m.out = collect(m.out, set, len(it.path)+i+1)
	}
	return m.out
}

// collect adds the watches that end in the state and have not been found at a shorter path.
func collect(dst []watchHit, set []*trieNode[*watch], n int) []watchHit {
	for _, node := range set {
	next:
		for _, w := range node.here {
			if node.loop {
				for _, h := range dst {
					if h.watch == w {
						continue next
					}
				}
			}
			dst = append(dst, watchHit{watch: w, match: n})
		}
	}
	return dst
}
