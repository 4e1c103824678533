// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"

	gpb "github.com/openconfig/gnmi/proto/gnmi"

	"mcr/northbound/config/json5"
	"mcr/northbound/config/tree"
)

// Kind is the kind of an operation.
type Kind uint8

// Kinds, in the order in which they are applied.
const (
	Delete Kind = iota
	Replace
	Update
)

func (k Kind) String() string { return [...]string{"delete", "replace", "update"}[k] }

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
	path  string // canonical; empty for a text that says itself what it changes
	file  string
	text  []byte // that offsets refer to
	apply func(*tree.Edit)
	early []tree.Fault // found before it could be applied
}

// changeOf prepares a Set's operation.
func changeOf(op Op) change {
	c := change{op: op.Index, kind: op.Kind, path: tree.Canonical(op.Path)}
	if op.CLI {
		return changeOfText(op)
	}
	if op.Kind == Delete {
		c.apply = func(e *tree.Edit) { e.Delete(op.Path) }
		return c
	}
	v, text, fault := tree.FromTyped(op.Path, op.Value)
	c.text = text
	switch {
	case fault != nil:
		fault.Path = c.path
		c.early = []tree.Fault{*fault}
	case op.Kind == Replace:
		c.apply = func(e *tree.Edit) { e.Replace(op.Path, v) }
	default:
		c.apply = func(e *tree.Edit) { e.Update(op.Path, v) }
	}
	return c
}

// changeOfText prepares an operation whose value is the text of a start-up file.
func changeOfText(op Op) change {
	c := change{op: op.Index, kind: op.Kind}
	ascii, ok := op.Value.GetValue().(*gpb.TypedValue_AsciiVal)
	switch {
	case op.Kind == Delete:
		c.early = []tree.Fault{{Reason: "a delete cannot have the origin mcr_cli", Pos: -1}}
	case !ok:
		c.early = []tree.Fault{{Reason: "with the origin mcr_cli the value must be an ascii_val", Pos: -1}}
	default:
		c.text = []byte(ascii.AsciiVal)
		c.apply, c.early = parseText(c.text, op.Kind == Replace)
	}
	return c
}

// changeOfFile prepares the contents of a start-up file.
func changeOfFile(name string, data []byte) change {
	c := change{op: -1, kind: Replace, file: name, text: data}
	c.apply, c.early = parseText(data, true)
	return c
}

// transact applies changes to old, in this order, and checks the result. It returns old itself where nothing changes.
func transact(old *compiled, changes []change) (*compiled, *Error) {
	e := tree.NewEdit(old.tree, refuse)
	var faults []Fault
	for _, c := range changes {
		n := len(e.Faults())
		if c.apply != nil {
			c.apply(e)
		}
		for _, f := range append(c.early, e.Faults()[n:]...) {
			faults = append(faults, c.fault(f))
		}
	}
	n := len(e.Faults())
	now := e.Finish()
	for _, f := range e.Faults()[n:] {
		faults = append(faults, attribute(changes, Fault{Path: f.Path, Code: codeOf(f.Code), Reason: f.Reason}))
	}
	if len(faults) > 0 {
		return nil, &Error{faults}
	}
	if now == old.tree {
		return old, nil
	}
	var changed []touched
	c := compile(old, now, e, &changed)
	for _, f := range check(old, c, changed) {
		faults = append(faults, attribute(changes, f))
	}
	if len(faults) > 0 {
		return nil, &Error{faults}
	}
	return c, nil
}

func (c change) fault(f tree.Fault) Fault {
	out := Fault{Op: c.op, Kind: c.kind, Path: f.Path, Code: codeOf(f.Code), Reason: f.Reason, File: c.file}
	if c.text != nil && f.Pos >= 0 {
		out.Line, out.Column = json5.Position(c.text, f.Pos)
	}
	return out
}

// attribute names the operation that a fault of the whole configuration most likely comes from: the last one at, above
// or below its path.
func attribute(changes []change, f Fault) Fault {
	f.Op = -1
	for _, c := range changes {
		if above(c.path, f.Path) || above(f.Path, c.path) {
			f.Op, f.Kind, f.File = c.op, c.kind, c.file
		}
	}
	return f
}

// above says whether path a is b or above it.
func above(a, b string) bool {
	a = strings.TrimSuffix(a, "/")
	rest, ok := strings.CutPrefix(b, a)
	return ok && (rest == "" || rest[0] == '/' || rest[0] == '[')
}
