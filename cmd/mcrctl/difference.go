// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
)

// leafChange is one leaf that differs. The values are RFC 7951 JSON; nil: absent.
type leafChange struct {
	Path string          `json:"path"`
	Old  json.RawMessage `json:"old,omitempty"`
	New  json.RawMessage `json:"new,omitempty"`
}

// writeChanges prints a difference for people, as diff does: what goes and what comes, a line each.
func writeChanges(w io.Writer, all []leafChange) error {
	var b strings.Builder
	for _, c := range all {
		if c.Old != nil {
			fmt.Fprintf(&b, "- %s %s\n", c.Path, lineText(c.Old))
		}
		if c.New != nil {
			fmt.Fprintf(&b, "+ %s %s\n", c.Path, lineText(c.New))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// lineText is a leaf's value on one line: a string without quotes, unless it would break the line.
func lineText(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil && s != "" && !strings.ContainsAny(s, "\n\r\t") {
		return s
	}
	return string(raw)
}

// compareConfigs returns the leaves in which two configurations differ, in order of path.
func compareConfigs(before, after []byte) ([]leafChange, error) {
	a, err := configLeaves(before)
	if err != nil {
		return nil, err
	}
	b, err := configLeaves(after)
	if err != nil {
		return nil, err
	}
	all := []leafChange{}
	for path, was := range a {
		if is, ok := b[path]; !ok || !bytes.Equal(was, is) {
			all = append(all, leafChange{Path: path, Old: was, New: is})
		}
	}
	for path, is := range b {
		if _, ok := a[path]; !ok {
			all = append(all, leafChange{Path: path, New: is})
		}
	}
	slices.SortFunc(all, func(x, y leafChange) int { return strings.Compare(x.Path, y.Path) })
	return all, nil
}

// configLeaves flattens a configuration in RFC 7951 JSON to its leaves by path. It needs no schema, because the models have
// OpenConfig's shape: the leaves of a list entry are its keys, and all others are in a container below it.
func configLeaves(text []byte) (map[string]json.RawMessage, error) {
	plain, err := stripModules(text)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	all := map[string]json.RawMessage{}
	if err := flatten(all, &gpb.Path{}, plain); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return all, nil
}

// flatten adds the leaves of an object.
func flatten(all map[string]json.RawMessage, at *gpb.Path, object json.RawMessage) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(object, &members); err != nil {
		return fmt.Errorf("%s: %w", pathString(at), err)
	}
	return flattenMembers(all, at, members)
}

func flattenMembers(all map[string]json.RawMessage, at *gpb.Path, members map[string]json.RawMessage) error {
	for name, v := range members {
		path := below(at, name)
		var entries []map[string]json.RawMessage
		var err error
		switch {
		case v[0] == '{':
			err = flatten(all, path, v)
		case isList(v):
			if err = json.Unmarshal(v, &entries); err == nil {
				err = flattenList(all, path, entries)
			}
		default:
			var b bytes.Buffer
			err = json.Compact(&b, v)
			all[pathString(path)] = b.Bytes()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// isList says whether an array is a list and no leaf-list: of objects.
func isList(v json.RawMessage) bool {
	rest, ok := bytes.CutPrefix(v, []byte("["))
	return ok && bytes.HasPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte("{"))
}

// flattenList adds the leaves of list entries, whose keys go into the path.
func flattenList(all map[string]json.RawMessage, list *gpb.Path, entries []map[string]json.RawMessage) error {
	for _, e := range entries {
		keys := map[string]string{}
		for name, v := range e {
			if v[0] != '{' && v[0] != '[' {
				keys[name] = keyText(name, v)
				delete(e, name)
			}
		}
		path := &gpb.Path{Elem: slices.Clone(list.GetElem())}
		last := len(path.Elem) - 1
		path.Elem[last] = &gpb.PathElem{Name: path.Elem[last].GetName(), Key: keys}
		if err := flattenMembers(all, path, e); err != nil {
			return err
		}
	}
	return nil
}

// keyText is a key's value as it stands in a path. The identifier of a protocol is an identity, whose module a path leaves out.
func keyText(name string, raw json.RawMessage) string {
	s := valueText(raw)
	if name == "identifier" {
		s = s[strings.IndexByte(s, ':')+1:]
	}
	return s
}

// below is the path of a child.
func below(p *gpb.Path, name string) *gpb.Path {
	elems := make([]*gpb.PathElem, len(p.GetElem()), len(p.GetElem())+1)
	copy(elems, p.GetElem())
	return &gpb.Path{Elem: append(elems, &gpb.PathElem{Name: name})}
}
