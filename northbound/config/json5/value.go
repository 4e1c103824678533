// SPDX-License-Identifier: Apache-2.0

package json5

import (
	"bytes"
	"fmt"
)

// Kind is the kind of a Value.
type Kind uint8

// Kinds.
const (
	Null Kind = iota
	Bool
	Number
	String
	Array
	Object
)

func (k Kind) String() string {
	return [...]string{"null", "a boolean", "a number", "a string", "an array", "an object"}[k]
}

// Value is one value of the text.
type Value struct {
	Kind Kind
	Pos  int // byte offset in the text
	// Text is the contents of a String, "true" or "false" of a Bool, and of a Number its JSON form: hexadecimal is turned
	// to decimal, a leading + goes, a leading or trailing point gets its 0. Infinity and NaN stay.
	Text    string
	Members []Member // of an Object, in the order of the text
	Elems   []*Value // of an Array
}

// Member is one member of an object.
type Member struct {
	Name  string
	Pos   int // of the name
	Value *Value
}

// Get returns the value of a member of an object, or nil.
func (v *Value) Get(name string) *Value {
	for i := range v.Members {
		if v.Members[i].Name == name {
			return v.Members[i].Value
		}
	}
	return nil
}

// MaxDepth is how deep arrays and objects may nest.
const MaxDepth = 1000

// SyntaxError is what Parse and ParseJSON return.
type SyntaxError struct {
	Pos    int // byte offset in the text
	Reason string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("offset %d: %s", e.Pos, e.Reason) }

// Position returns the line and column, both from 1 and the column in bytes, of an offset in text.
func Position(text []byte, pos int) (line, column int) {
	pos = min(pos, len(text))
	before := text[:pos]
	return 1 + bytes.Count(before, []byte{'\n'}), pos - bytes.LastIndexByte(before, '\n')
}
