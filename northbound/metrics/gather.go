// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"fmt"
	"slices"
	"strings"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	dto "github.com/prometheus/client_model/go"

	"mcr/northbound/telemetry"
)

// Gatherer turns a tree into metric families. It is a prometheus.Gatherer.
type Gatherer struct {
	tree     *telemetry.Tree
	groups   []group
	patterns []*telemetry.Pattern // of groups
}

// NewGatherer returns a Gatherer on a tree. The error says which of our paths the tree's schema does not have.
func NewGatherer(tree *telemetry.Tree) (*Gatherer, error) {
	g := &Gatherer{tree: tree, groups: groups}
	for _, grp := range g.groups {
		p, err := tree.Schema().Resolve(elems(grp.path))
		if err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
		g.patterns = append(g.patterns, p)
	}
	return g, nil
}

// elems splits a path without keys.
func elems(path string) (out []*gpb.PathElem) {
	for name := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		out = append(out, &gpb.PathElem{Name: name})
	}
	return out
}

// Gather reads the tree as it is now. Families without a series are left out; the others come in order of their names.
func (g *Gatherer) Gather() ([]*dto.MetricFamily, error) {
	s := &scrape{families: map[string]*dto.MetricFamily{}, ports: map[string]string{}}
	snap, now := g.tree.Snapshot(), time.Now()
	for i := range g.groups {
		s.group(snap, &g.groups[i], g.patterns[i], now)
	}
	out := make([]*dto.MetricFamily, 0, len(s.families))
	for _, f := range s.families {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return out, nil
}

// scrape is one Gather at work.
type scrape struct {
	families map[string]*dto.MetricFamily
	ports    map[string]string // UDP port of each rule's input
	room     []series
}

// group reads the Units of a group, one after the other.
func (s *scrape) group(snap *telemetry.Snapshot, g *group, p *telemetry.Pattern, now time.Time) {
	var u unit
	end := func() {
		if len(u.leaves) > 0 {
			s.unit(g, &u)
		}
	}
	snap.Select(p, telemetry.Filter{StateOnly: true}, now, func(h *telemetry.Hit) bool {
		if base := h.Base(); len(base) != len(u.path) || &base[0] != &u.path[0] {
			end()
			u.path, u.leaves = base, u.leaves[:0]
		}
		u.leaves = append(u.leaves, h.Leaf)
		return true
	})
	end()
}

func (s *scrape) unit(g *group, u *unit) {
	var labels labels
	if g.labels != nil {
		labels = g.labels(s, u)
	}
	for i := range g.families {
		f := &g.families[i]
		if v := u.leaf(f.leaf); v.Kind != 0 {
			s.add(f, labels, float64(v.Num)*f.unit())
		}
	}
	if g.more != nil {
		g.more(s, u, labels)
	}
}

// series is the room of one series, in one piece.
type series struct {
	metric  dto.Metric
	counter dto.Counter
	gauge   dto.Gauge
	value   float64
}

// add adds a series to a family. The labels may be shared with others and are not changed.
func (s *scrape) add(f *family, l labels, value float64) {
	fam := s.families[f.name]
	if fam == nil {
		kind := dto.MetricType_GAUGE
		if f.counter {
			kind = dto.MetricType_COUNTER
		}
		fam = &dto.MetricFamily{Name: &f.name, Help: &f.help, Type: &kind}
		s.families[f.name] = fam
	}
	if len(s.room) == 0 {
		s.room = make([]series, 256)
	}
	m := &s.room[0]
	s.room = s.room[1:]
	m.value = value
	m.metric.Label = l
	if f.counter {
		m.counter.Value = &m.value
		m.metric.Counter = &m.counter
	} else {
		m.gauge.Value = &m.value
		m.metric.Gauge = &m.gauge
	}
	fam.Metric = append(fam.Metric, &m.metric)
}

// sum adds a value to the one series of a family that has these labels.
func (s *scrape) sum(f *family, l labels, value float64) {
	if fam := s.families[f.name]; fam != nil {
		for _, m := range fam.Metric {
			if slices.EqualFunc(m.Label, l, func(a, b *dto.LabelPair) bool {
				return a.GetName() == b.GetName() && a.GetValue() == b.GetValue()
			}) {
				*m.Gauge.Value += value
				return
			}
		}
	}
	s.add(f, l, value)
}

// labels are the labels of a series, ascending by name.
type labels []*dto.LabelPair

// pairs makes labels of names and values in turn, which come in order of the names. It keeps words.
func pairs(words ...string) labels {
	room := make([]dto.LabelPair, len(words)/2)
	out := make(labels, len(room))
	for i := range room {
		value := &words[2*i+1]
		*value = strings.ToValidUTF8(*value, "\uFFFD") // the kernel takes any octets in the name of an interface
		room[i].Name, room[i].Value = &words[2*i], value
		out[i] = &room[i]
	}
	return out
}

// with returns the labels and one more.
func (l labels) with(name, value string) labels {
	more := pairs(name, value)[0]
	i, _ := slices.BinarySearchFunc(l, name, func(p *dto.LabelPair, name string) int { return strings.Compare(p.GetName(), name) })
	return slices.Insert(slices.Clone(l), i, more)
}

// unit is the leaves of one Unit, as they are now.
type unit struct {
	path   telemetry.Path
	leaves []telemetry.Leaf
}

// leaf returns the value of a leaf; the zero Value: it is absent.
func (u *unit) leaf(name string) telemetry.Value {
	for i := range u.leaves {
		if u.leaves[i].Name == name {
			return u.leaves[i].Value
		}
	}
	return telemetry.Value{}
}

// text is the value of a leaf as text, empty where it is absent.
func (u *unit) text(name string) string {
	v := u.leaf(name)
	if v.Kind == 0 {
		return ""
	}
	return v.Text()
}

// key is a key of the list entry that is so many elements down the path.
func (u *unit) key(elem, key int) string { return u.path[elem].Keys[key].Value }
