// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strings"

	"mcr/northbound/config/tree"
)

// Code says what kind of fault it is.
type Code uint8

// Codes.
const (
	Invalid       Code = iota // the request or the configuration is wrong
	NotFound                  // a path that is not in the schema, or a commit that is not kept
	Unimplemented             // in the schema, and has no effect in this version
	AlreadyExists             // an input that another rule has
	Refused                   // the configuration is right, and this machine cannot do it today
	Internal                  // it could not be stored, or the router failed
	NotReady                  // the store has not been started, or is closed
	Precondition              // a commit waits to be confirmed, or none does
)

func codeOf(c tree.Code) Code {
	switch c {
	case tree.NotFound:
		return NotFound
	case tree.Unimplemented:
		return Unimplemented
	}
	return Invalid
}

// Fault is one thing that is wrong.
type Fault struct {
	Op           int // the operation's number within its kind; -1: of none in particular
	Kind         Kind
	Path         string // gNMI path; of a JSON5 text perhaps the place in it, such as rules[0].outputs[1]
	Code         Code
	Reason       string
	File         string // name of the file, if the value came from one
	Line, Column int    // in the text of the value, from 1; 0: not known
}

func (f Fault) String() string {
	var b strings.Builder
	switch {
	case f.File != "":
		fmt.Fprintf(&b, "%s:", f.File)
		if f.Line > 0 {
			fmt.Fprintf(&b, "%d:%d:", f.Line, f.Column)
		}
		b.WriteByte(' ')
	case f.Op >= 0:
		fmt.Fprintf(&b, "%v[%d] ", f.Kind, f.Op)
		switch { // in a value of one line only a fault of the text itself needs its place: others have a path
		case f.Line > 0 && f.Path == "":
			fmt.Fprintf(&b, "line %d, column %d: ", f.Line, f.Column)
		case f.Line > 1:
			fmt.Fprintf(&b, "line %d, column %d, ", f.Line, f.Column)
		}
	}
	if f.Path != "" {
		fmt.Fprintf(&b, "%s: ", f.Path)
	}
	b.WriteString(f.Reason)
	return b.String()
}

// Error is why a change was not made. It has at least one fault.
type Error struct{ Faults []Fault }

func (e *Error) Error() string {
	var b strings.Builder
	for i, f := range e.Faults {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(f.String())
	}
	return b.String()
}

// failure makes an Error of one fault that no operation caused.
func failure(code Code, format string, args ...any) *Error {
	return &Error{[]Fault{{Op: -1, Code: code, Reason: fmt.Sprintf(format, args...)}}}
}

// FileError says why a state file cannot be used.
type FileError struct {
	File    string
	Version string // of the MCR that wrote it, as far as it could be read
	Err     error
}

func (e *FileError) Error() string {
	s := e.File
	if e.Version != "" {
		s += " (written by version " + e.Version + ")"
	}
	return s + ": " + e.Err.Error()
}

func (e *FileError) Unwrap() error { return e.Err }

// LockedError says that another process has the state directory.
type LockedError struct {
	Dir string
	PID string // of the holder; empty if it could not be read
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("state directory %s is in use by the process with pid %s", e.Dir, e.PID)
}
