// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"slices"
	"strings"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
)

// parsePath reads a path as people write it: /a/list[key=value]/leaf, where ] and \ in a value are escaped with \.
// ORIGIN:/a/b sets the origin. "*" and "..." are wildcards. The error is a *usageError with the position.
func parsePath(s string) (*gpb.Path, error) {
	path, rest := &gpb.Path{}, s
	if i := strings.IndexByte(s, ':'); i > 0 && strings.HasPrefix(s[i+1:], "/") && !strings.ContainsAny(s[:i], "/[") {
		path.Origin, rest = s[:i], s[i+1:]
	}
	fault := func(what string) error {
		return &usageError{arg: s, pos: len(s) - len(rest), err: errors.New("path: " + what)}
	}
	rest = strings.TrimPrefix(rest, "/")
	for rest != "" {
		n := strings.IndexAny(rest, "/[")
		if n < 0 {
			n = len(rest)
		}
		if n == 0 {
			return nil, fault("a name is missing")
		}
		if i := strings.IndexAny(rest[:n], "]="); i >= 0 {
			rest = rest[i:]
			return nil, fault("this belongs into [key=value]")
		}
		elem := &gpb.PathElem{Name: rest[:n]}
		rest = rest[n:]
		for strings.HasPrefix(rest, "[") {
			name, value, size, what := parseKey(rest)
			if _, twice := elem.Key[name]; twice && what == "" {
				size, what = 1, "a key that was there before"
			}
			if what != "" {
				rest = rest[size:]
				return nil, fault(what)
			}
			if elem.Key == nil {
				elem.Key = map[string]string{}
			}
			elem.Key[name] = value
			rest = rest[size:]
		}
		path.Elem = append(path.Elem, elem)
		if rest != "" && rest[0] != '/' {
			return nil, fault("/ or [ must follow ]")
		}
		rest = strings.TrimPrefix(rest, "/")
	}
	return path, nil
}

// parseKey reads [name=value] at the start of s. On a fault, size is where it is and what says what.
func parseKey(s string) (name, value string, size int, what string) {
	eq := strings.IndexAny(s, "=]")
	if eq < 0 || s[eq] != '=' || eq == 1 {
		return "", "", 1, "a key is written [name=value]"
	}
	var v strings.Builder
	for i := eq + 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if i++; i == len(s) {
				return "", "", len(s), "something must follow the backslash"
			}
		case ']':
			return s[1:eq], v.String(), i + 1, ""
		}
		v.WriteByte(s[i])
	}
	return "", "", len(s), "] is missing"
}

var keyEscape = strings.NewReplacer(`\`, `\\`, `]`, `\]`)

// pathString prints a path so that parsePath reads it back.
func pathString(paths ...*gpb.Path) string {
	var b strings.Builder
	for _, p := range paths {
		if p.GetOrigin() != "" && b.Len() == 0 {
			b.WriteString(p.GetOrigin() + ":")
		}
		for _, e := range p.GetElem() {
			b.WriteString("/" + e.GetName())
			names := make([]string, 0, len(e.GetKey()))
			for name := range e.GetKey() {
				names = append(names, name)
			}
			slices.Sort(names)
			for _, name := range names {
				b.WriteString("[" + name + "=" + keyEscape.Replace(e.GetKey()[name]) + "]")
			}
		}
	}
	if b.Len() == 0 || b.String()[b.Len()-1] == ':' {
		b.WriteByte('/')
	}
	return b.String()
}

// at is a path of plain elements.
func at(names ...string) *gpb.Path {
	p := &gpb.Path{}
	for _, n := range names {
		p.Elem = append(p.Elem, &gpb.PathElem{Name: n})
	}
	return p
}

func rulePath(rule string) *gpb.Path {
	p := at("mcr", "forwarding", "rules", "rule")
	p.Elem[3].Key = map[string]string{"name": rule}
	return p
}

func outputPath(rule, output string) *gpb.Path {
	p := rulePath(rule)
	p.Elem = append(p.Elem, at("outputs", "output").Elem...)
	p.Elem[5].Key = map[string]string{"name": output}
	return p
}
