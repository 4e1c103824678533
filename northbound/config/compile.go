// SPDX-License-Identifier: Apache-2.0

package config

import (
	"crypto/sha256"
	"encoding/hex"
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
	json    []byte  // the canonical RFC 7951 form
	digest  string  // SHA-256 of json
}

type (
	genRule   = gen.Mcr_Mcr_Forwarding_Rules_Rule
	genOutput = gen.Mcr_Mcr_Forwarding_Rules_Rule_Outputs_Output
)

// rule is one rule of the tree, its translation and its bytes.
type rule struct {
	src     *genRule
	out     *mroute.Rule
	outputs []*output // ascending by name
	json    []byte
}

type output struct {
	src  *genOutput
	out  *mroute.Output
	json []byte
}

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
		c.rules = old.rules
	default:
		c.rules = merge(old.rules, e.Changed(is, tree.Find(rulePath)), func(name string, prev *rule) *rule {
			src := is.Rule[name]
			if src == nil {
				return nil
			}
			t := compileRule(prev, src, e)
			*changed = append(*changed, t)
			return t.rule
		})
	}
	for _, r := range c.rules {
		c.outputs += len(r.outputs)
	}
	c.config = translate(old, c)
	c.json = tree.Append(nil, tree.Schema(), now, func(b []byte, n *tree.Node) ([]byte, bool) {
		if n.Path != rulePath {
			return b, false
		}
		return appendArray(b, c.rules, func(r *rule) []byte { return r.json }), true
	})
	sum := sha256.Sum256(c.json)
	c.digest = hex.EncodeToString(sum[:])
	return c
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
		r.outputs = was.outputs
	} else {
		r.outputs = merge(was.outputs, e.Changed(outs, tree.Find(outputPath)), func(name string, _ *output) *output {
			o := outs.Output[name]
			if o == nil {
				return nil
			}
			t.outputs = append(t.outputs, &output{o, translateOutput(o, out), tree.Append(nil, tree.Find(outputPath), o, nil)})
			return t.outputs[len(t.outputs)-1]
		})
	}
	if prev != nil && out.Group != was.out.Group { // outputs without a group take the input's
		r.outputs = slices.Clone(r.outputs)
		for i, o := range r.outputs {
			if o.src.GetConfig().GetGroup() == "" {
				r.outputs[i] = &output{o.src, translateOutput(o.src, out), o.json}
			}
		}
	}
	out.Outputs = make([]*mroute.Output, len(r.outputs))
	for i, o := range r.outputs {
		out.Outputs[i] = o.out
	}
	r.json = tree.Append(nil, tree.Find(rulePath), src, func(b []byte, _ *tree.Node) ([]byte, bool) {
		return appendArray(b, r.outputs, func(o *output) []byte { return o.json }), true
	})
	return t
}

func appendArray[E any](b []byte, list []E, bytes func(E) []byte) []byte {
	size := 2
	for _, e := range list {
		size += len(bytes(e)) + 1
	}
	b = append(slices.Grow(b, size), '[')
	for i, e := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, bytes(e)...)
	}
	return append(b, ']')
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
