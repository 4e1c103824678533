// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Code says what kind of fault it is.
type Code uint8

// Codes.
const (
	Invalid       Code = iota // a bad value, key or structure, or a write to what is read-only
	NotFound                  // a path that is not in the schema
	Unimplemented             // in the schema, and without effect so far
)

// Fault is one thing that is wrong with a change.
type Fault struct {
	Path   string // gNMI form, canonical as far as it could be read
	Code   Code
	Reason string
	Pos    int // byte offset in the text of the value; -1 where there is none
}

// where is a place in a data tree, kept as a chain because it is only rarely printed.
type where struct {
	up   *where
	node *Node
	key  reflect.Value // of a list entry
}

func (w *where) String() string {
	if w == nil || w.node.Parent == nil {
		return ""
	}
	s := w.up.String() + "/" + w.node.Name
	if !w.key.IsValid() {
		return s
	}
	for i, k := range w.node.Keys {
		s += KeyText(k.Name, k.Type.text(keyPart(w.key, w.node, i)))
	}
	return s
}

var keyEscapes = strings.NewReplacer(`\`, `\\`, `]`, `\]`)

// KeyText writes one key of a path element.
func KeyText(name, value string) string { return "[" + name + "=" + keyEscapes.Replace(value) + "]" }

// keyPart returns key number i of a list's map key.
func keyPart(key reflect.Value, n *Node, i int) reflect.Value {
	if len(n.Keys) == 1 {
		return key
	}
	return key.Field(i) // ygot writes the fields in the schema's order
}

func (e *Edit) fault(w *where, name string, code Code, pos int, format string, args ...any) {
	path := w.String()
	if name != "" {
		path += "/" + name
	}
	if path == "" {
		path = "/"
	}
	e.faults = append(e.faults, Fault{Path: path, Code: code, Reason: fmt.Sprintf(format, args...), Pos: pos})
}

// maxQuoted is how much of a client's text a reason repeats, in bytes: what is wrong with it stands behind it.
const maxQuoted = 64

func clip(s string) string {
	if len(s) <= maxQuoted {
		return s
	}
	n := maxQuoted
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}

// quote quotes a client's text, or its beginning.
func quote(s string) string { return strconv.Quote(clip(s)) }
