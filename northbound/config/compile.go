// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bufio"
	"hash/maphash"
	"io"
	"slices"
	"strings"
	"sync"

	"mcr/gen"
	"mcr/mroute"
	"mcr/northbound/config/tree"
)

// compiled is a tree with all that is made of it. Immutable; successive ones share what is the same.
type compiled struct {
	tree    *gen.Device
	config  *mroute.Config
	rules   []*rule // ascending by name
	outputs int     // of all rules
	frame   frame   // of the rules
	sum     sum     // of the rules
	digest  string
}

// frame is the canonical RFC 7951 form of what is around the array of a long list; after is nil where there is no list. The
// entries keep theirs, so that a change among ten thousand encodes one.
type frame struct{ before, after []byte }

type (
	genRule   = gen.Mcr_Mcr_Forwarding_Rules_Rule
	genOutput = gen.Mcr_Mcr_Forwarding_Rules_Rule_Outputs_Output
)

// rule is one rule of the tree, its translation and its bytes.
type rule struct {
	src     *genRule
	out     *mroute.Rule
	outputs []*output // ascending by name
	ids     []uint64  // hash of each output's identity
	frame   frame     // of the outputs
	sum     sum       // of the outputs
	hash    sum       // of the rule
}

type output struct {
	src  *genOutput
	out  *mroute.Output
	json []byte
	hash sum
	id   uint64 // hash of its identity
}

func newOutput(src *genOutput, r *mroute.Rule) *output {
	json := tree.Append(nil, tree.Find(outputPath), src, nil)
	return (&output{src: src, out: translateOutput(src, r), json: json, hash: hashOf(json)}).under(r)
}

// under returns the output as one of a rule with the input of r.
func (o *output) under(r *mroute.Rule) *output {
	is := *o
	if o.src.GetConfig().GetGroup() == "" && o.out.Group != r.Group { // it takes the input's
		is.out = translateOutput(o.src, r)
	}
	is.id = maphash.Comparable(idSeed, identityOf(r, is.out))
	return &is
}

var idSeed = maphash.MakeSeed()

func (r *rule) name() string   { return r.out.Name }
func (o *output) name() string { return o.out.Name }

// touched is a rule whose checks must be made again.
type touched struct {
	rule    *rule
	input   bool      // its own leaves changed, so all that depends on them may be wrong
	outputs []*output // that are new or changed
}

const (
	rulePath   = "/mcr/forwarding/rules/rule"
	outputPath = rulePath + "/outputs/output"
)

// empty is the configuration of a daemon that was never told anything.
var empty = sync.OnceValue(func() *compiled {
	return compile(&compiled{tree: &gen.Device{}}, &gen.Device{}, nil, nil)
})

// compile makes what the router and the state file need of now, the result of e, and shares what it can with old.
// changed gets the rules that must be checked. It takes trees that break any rule of check.go: needed leaves may be
// missing.
func compile(old *compiled, now *gen.Device, e *tree.Edit, changed *[]touched) *compiled {
	c := &compiled{tree: now}
	was, is := old.tree.GetMcr().GetForwarding().GetRules(), now.GetMcr().GetForwarding().GetRules()
	switch {
	case is == nil:
	case is == was:
		c.rules, c.sum = old.rules, old.sum
	default:
		c.sum = old.sum
		c.rules = merge(old.rules, e.Changed(is, tree.Find(rulePath)), func(name string, prev *rule) *rule {
			if prev != nil {
				c.sum.sub(prev.hash)
			}
			src := is.Rule[name]
			if src == nil {
				return nil
			}
			t := compileRule(prev, src, e)
			*changed = append(*changed, t)
			c.sum.add(t.rule.hash)
			return t.rule
		})
	}
	for _, r := range c.rules {
		c.outputs += len(r.outputs)
	}
	c.config = translate(old, c)
	c.frame = newFrame(tree.Schema(), now, rulePath)
	c.digest = c.frame.digest(c.sum)
	return c
}

// newFrame encodes what is around the array of the list at path, all but the list.
func newFrame(n *tree.Node, p any, path string) (f frame) {
	cut := -1
	f.before = tree.Append(nil, n, p, func(b []byte, list *tree.Node) ([]byte, bool) {
		if list.Path != path {
			return b, false
		}
		cut = len(b)
		return b, true
	})
	if cut >= 0 {
		f.before, f.after = f.before[:cut], f.before[cut:]
	}
	return f
}

// WriteTo writes the canonical RFC 7951 form of the configuration.
func (c *compiled) WriteTo(to io.Writer) (int64, error) {
	w := bufio.NewWriterSize(to, 16<<10)
	n := writeFramed(w, c.frame, c.rules, func(r *rule) int64 {
		return writeFramed(w, r.frame, r.outputs, func(o *output) int64 {
			_, _ = w.Write(o.json)
			return int64(len(o.json))
		})
	})
	return n, w.Flush() // which tells of the first error
}

// writeFramed writes a frame with its array and returns the number of bytes.
func writeFramed[E any](w *bufio.Writer, f frame, list []E, write func(E) int64) int64 {
	_, _ = w.Write(f.before)
	n := int64(len(f.before) + len(f.after))
	if f.after == nil {
		return n
	}
	_ = w.WriteByte('[')
	for i, e := range list {
		if i > 0 {
			_ = w.WriteByte(',')
			n++
		}
		n += write(e)
	}
	_ = w.WriteByte(']')
	_, _ = w.Write(f.after)
	return n + 2
}

// compileRule translates src, which differs from prev; prev is nil for a new rule.
func compileRule(prev *rule, src *genRule, e *tree.Edit) touched {
	was := &rule{src: &genRule{}, out: &mroute.Rule{}}
	if prev != nil {
		was = prev
	}
	out := translateRule(src)
	r := &rule{src: src, out: out}
	t := touched{rule: r, input: was.src.Config != src.Config}
	if outs := src.Outputs; outs == nil {
	} else if outs == was.src.Outputs {
		r.outputs, r.sum = was.outputs, was.sum
	} else {
		r.sum = was.sum
		r.outputs = merge(was.outputs, e.Changed(outs, tree.Find(outputPath)), func(name string, prev *output) *output {
			if prev != nil {
				r.sum.sub(prev.hash)
			}
			src := outs.Output[name]
			if src == nil {
				return nil
			}
			o := newOutput(src, out)
			r.sum.add(o.hash)
			t.outputs = append(t.outputs, o)
			return o
		})
	}
	if prev != nil && (out.Group != was.out.Group || out.Port != was.out.Port) {
		r.outputs = slices.Clone(r.outputs)
		for i, o := range r.outputs {
			r.outputs[i] = o.under(out)
		}
	}
	out.Outputs, r.ids = make([]*mroute.Output, len(r.outputs)), make([]uint64, len(r.outputs))
	for i, o := range r.outputs {
		out.Outputs[i], r.ids[i] = o.out, o.id
	}
	r.frame = newFrame(tree.Find(rulePath), src, outputPath)
	r.hash = r.frame.hash(r.sum)
	return t
}

type named interface {
	comparable
	name() string
}

func search[E named](list []E, name string) (int, bool) {
	return slices.BinarySearchFunc(list, name, func(e E, n string) int { return strings.Compare(e.name(), n) })
}

// find returns the element of that name in an ascending list, or the zero value.
func find[E named](list []E, name string) (e E) {
	if i, ok := search(list, name); ok {
		e = list[i]
	}
	return e
}

// merge returns the ascending list with the elements of the given names made anew; remake returns the zero value for one
// that is gone.
func merge[E named](list []E, names []string, remake func(name string, prev E) E) []E {
	slices.Sort(names)
	var zero E
	out := make([]E, 0, len(list)+len(names))
	for _, name := range names {
		i, ok := search(list, name)
		out = append(out, list[:i]...)
		prev := zero
		if list = list[i:]; ok {
			prev, list = list[0], list[1:]
		}
		if e := remake(name, prev); e != zero {
			out = append(out, e)
		}
	}
	return append(out, list...)
}
