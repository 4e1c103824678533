// SPDX-License-Identifier: Apache-2.0

package config

import (
	"math"
	"strings"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/openconfig/ygot/ygot"

	"mcr/northbound/config/json5"
	"mcr/northbound/config/tree"
)

// Kind is the kind of an operation.
type Kind uint8

// Kinds, in the order in which they are applied.
const (
	Delete Kind = iota
	Replace
	UnionReplace // no other kind beside it: see union
	Update
)

func (k Kind) String() string { return [...]string{"delete", "replace", "union_replace", "update"}[k] }

// Op is one operation of a Set.
type Op struct {
	Kind  Kind
	Index int             // its number within its field of the SetRequest
	Path  *gpb.Path       // absolute: with the prefix, without target and origin; elements may have a module prefix
	Value *gpb.TypedValue // not for Delete
	CLI   bool            // origin mcr_cli or cli: the value is the text of a start-up file, and Path means nothing
}

// change is one operation in the making, wherever it comes from.
type change struct {
	op    int // as in Fault
	kind  Kind
	parts []part // a start-up file may have several
	file  string
	text  []byte       // that offsets refer to
	early []tree.Fault // found before it could be applied
	cli   bool         // the text of a start-up file
	union unionRole
	patch *json5.Value // of a journal, instead of parts
}

// unionRole is what a change does in a union_replace of two origins.
type unionRole uint8

const (
	noUnion     unionRole = iota
	unionBegins           // all goes; it has no parts
	joined                // its parts are joined with what is there by then
)

// union prepares union_replace operations. By itself each replaces its path, or the parts that its text has. Where a text
// comes with paths, together they are the whole configuration (union_replace specification, 5.3.1): the paths first, on an
// empty one; then the text, and a leaf to which both give a value, but not the same one, is a fault (its option 1).
func union(changes []change) []change {
	n, texts := 0, 0
	for _, c := range changes {
		if c.kind == UnionReplace {
			n++
			if c.cli {
				texts++
			}
		}
	}
	if texts == 0 || texts == n {
		return changes
	}
	out := []change{{op: -1, kind: UnionReplace, union: unionBegins}}
	var last []change
	for _, c := range changes {
		if c.kind == UnionReplace && c.cli {
			c.union = joined
			last = append(last, c)
			continue
		}
		out = append(out, c)
	}
	return append(out, last...)
}

// part is a place in the tree and, but for a delete, what goes there.
type part struct {
	path  *gpb.Path
	value *json5.Value
}

// changeOf prepares a Set's operation.
func changeOf(op Op) change {
	c := change{op: op.Index, kind: op.Kind, cli: op.CLI}
	switch {
	case op.CLI:
		c.readText(op.Value)
	case op.Kind == Delete:
		c.parts = []part{{path: op.Path}}
	default:
		v, text, fault := tree.FromTyped(op.Path, op.Value)
		c.text = text
		if fault != nil {
			fault.Path = tree.Canonical(op.Path)
			c.early = []tree.Fault{*fault}
		} else {
			c.parts = []part{{op.Path, v}}
		}
	}
	return c
}

// readText prepares an operation whose value is the text of a start-up file.
func (c *change) readText(tv *gpb.TypedValue) {
	ascii, ok := tv.GetValue().(*gpb.TypedValue_AsciiVal)
	switch {
	case c.kind == Delete:
		c.early = []tree.Fault{{Reason: "a delete cannot have the origin mcr_cli", Pos: -1}}
	case !ok:
		c.early = []tree.Fault{{Reason: "with the origin mcr_cli the value must be an ascii_val", Pos: -1}}
	default:
		c.text = []byte(ascii.AsciiVal)
		c.parts, c.early = parseText(c.text)
	}
}

// changeOfFile prepares the contents of a start-up file.
func changeOfFile(name string, data []byte) change {
	c := change{op: -1, kind: Replace, file: name, text: data}
	c.parts, c.early = parseText(data)
	return c
}

func (c *change) apply(e *tree.Edit) {
	if c.union == unionBegins {
		e.BeginUnion()
	}
	if c.patch != nil {
		if err := e.Patch(c.patch); err != nil {
			c.early = append(c.early, tree.Fault{Reason: "patch: " + err.Error(), Pos: -1})
		}
	}
	for _, p := range c.parts {
		switch {
		case c.union == joined:
			e.Join(p.path, p.value)
		case c.kind == Delete:
			e.Delete(p.path)
		case c.kind == Replace, c.kind == UnionReplace:
			e.Replace(p.path, p.value)
		default:
			e.Update(p.path, p.value)
		}
	}
}

// maxFaults bounds what is told of one request: more helps nobody, and each takes a while to find in the request.
const maxFaults = 1000

// transact applies changes to old, in this order, and checks the result. It returns old itself where nothing changes.
func transact(old *compiled, changes []change) (*compiled, *Error) {
	c, _, err := propose(old, changes)
	return c, err
}

// propose is transact, and returns the edit too, which knows what differs.
func propose(old *compiled, changes []change) (*compiled, *tree.Edit, *Error) {
	e := tree.NewEdit(old.tree, refuse)
	var faults []Fault
	for _, c := range changes {
		n := len(e.Faults())
		c.apply(e)
		found := append(c.early, e.Faults()[n:]...)
		for _, f := range found[:min(len(found), maxFaults-len(faults))] {
			faults = append(faults, c.fault(f))
		}
	}
	n := len(e.Faults())
	now := e.Finish()
	var whole []Fault
	for _, f := range e.Faults()[n:] {
		whole = append(whole, Fault{Path: f.Path, Code: codeOf(f.Code), Reason: f.Reason})
	}
	if faults = append(faults, attribute(changes, whole)...); len(faults) > 0 {
		return nil, nil, &Error{faults}
	}
	if now == old.tree {
		return old, e, nil
	}
	var changed []touched
	c := compile(old, now, e, &changed)
	if whole = check(old, c, changed); len(whole) > 0 {
		return nil, nil, &Error{attribute(changes, whole)}
	}
	return c, e, nil
}

func (c change) fault(f tree.Fault) Fault {
	out := Fault{Op: c.op, Kind: c.kind, Path: f.Path, Code: codeOf(f.Code), Reason: f.Reason, File: c.file}
	if c.text != nil && f.Pos >= 0 {
		out.Line, out.Column = json5.Position(c.text, f.Pos)
	}
	return out
}

// place is a part of a change with its canonical path.
type place struct {
	*change
	part
	at string
}

// attribute says of faults of the whole configuration which operation each most likely comes from, and the line: the last
// operation at, above or below its path, else the one nearest to it.
func attribute(changes []change, faults []Fault) []Fault {
	faults = faults[:min(len(faults), maxFaults)]
	if len(faults) == 0 {
		return nil
	}
	var places []place
	for i := range changes {
		for _, p := range changes[i].parts {
			places = append(places, place{&changes[i], p, tree.Canonical(p.path)})
		}
	}
	for i := range faults {
		blame(places, &faults[i])
	}
	return faults
}

func blame(places []place, f *Fault) {
	if f.Op = -1; f.Path == "" {
		return
	}
	var best *place
	nearest := -1
	for i := range places {
		p := &places[i]
		near := common(p.at, f.Path)
		if above(p.at, f.Path) || above(f.Path, p.at) {
			near = math.MaxInt
		}
		if near >= nearest {
			best, nearest = p, near
		}
	}
	if best == nil {
		return
	}
	f.Op, f.Kind, f.File = best.op, best.kind, best.file
	if nearest == math.MaxInt && best.text != nil {
		if pos := locate(best.part, f.Path); pos >= 0 {
			f.Line, f.Column = json5.Position(best.text, pos)
		}
	}
}

// common counts the bytes that two paths have in common.
func common(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// above says whether path a is b or above it.
func above(a, b string) bool {
	a = strings.TrimSuffix(a, "/")
	rest, ok := strings.CutPrefix(b, a)
	return ok && (rest == "" || rest[0] == '/' || rest[0] == '[')
}

// locate returns where in the text of p's value path is, or what is above it; -1 where it is not known.
func locate(p part, path string) int {
	full, err := ygot.StringToStructuredPath(path)
	if err != nil || p.value == nil || len(full.Elem) < len(p.path.Elem) {
		return -1
	}
	v := p.value
	for _, el := range full.Elem[len(p.path.Elem):] {
		next := tree.Member(v, el.Name)
		if next != nil && len(el.Key) > 0 {
			next = tree.Entry(next, el.Key)
		}
		if next == nil {
			break
		}
		v = next
	}
	return v.Pos
}
