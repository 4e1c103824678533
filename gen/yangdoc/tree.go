// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/openconfig/goyang/pkg/yang"

	"mcr/gen"
)

const treeHead = `# The tree

<!-- Code generated from the YANG modules by gen/yangdoc. DO NOT EDIT. -->

Every node that MCR's YANG modules have. Paths are as gNMI writes them; a list has its keys in brackets. "config" can be set;
"state" can be read only, and holds all of "config" beside it as well as what is listed here. Leaves marked *sampled* move by
themselves: SAMPLE is meant for them. All others tell their changes.

A node that stands here and that this version does not act on is refused by name when it is set, and answered with
Unimplemented when it is asked for.
`

// treePage is docs/tree.md.
func treePage(tops []*yang.Entry) []byte {
	var b bytes.Buffer
	b.WriteString(treeHead)
	for _, top := range tops {
		for _, e := range children(top) {
			writeNode(&b, e, "/"+e.Name)
		}
	}
	return b.Bytes()
}

// children are the nodes below one that hold data, by name.
func children(e *yang.Entry) []*yang.Entry {
	return slices.SortedFunc(maps.Values(e.Dir), func(a, b *yang.Entry) int { return cmp.Compare(a.Name, b.Name) })
}

// writeNode writes a container or list that has leaves of its own, in config or state, as a section, and then what is below.
func writeNode(b *bytes.Buffer, e *yang.Entry, path string) {
	if e.IsList() {
		for k := range strings.FieldsSeq(e.Key) {
			path += "[" + k + "]"
		}
	}
	var rows []string
	config := e.Dir["config"]
	if config != nil {
		rows = append(rows, leafRows(config, "config/", nil)...)
	}
	if state := e.Dir["state"]; state != nil {
		rows = append(rows, leafRows(state, "state/", config)...)
	}
	keys := strings.Fields(e.Key)
	for _, c := range children(e) {
		if isLeaf(c) && !slices.Contains(keys, c.Name) {
			rows = append(rows, row(c, c.Name))
		}
	}
	if len(rows) > 0 {
		fmt.Fprintf(b, "\n## %s\n\n%s\n\n| leaf | type | default | what it is |\n|---|---|---|---|\n%s\n", path, prose(e.Description), strings.Join(rows, "\n"))
	}
	for _, c := range children(e) {
		if !isLeaf(c) && c.Name != "config" && c.Name != "state" {
			writeNode(b, c, path+"/"+c.Name)
		}
	}
}

// leafRows are the rows of a container and of those in it; what but has too is left out.
func leafRows(e *yang.Entry, prefix string, but *yang.Entry) (rows []string) {
	for _, c := range children(e) {
		switch {
		case but != nil && but.Dir[c.Name] != nil:
		case isLeaf(c):
			rows = append(rows, row(c, prefix+c.Name))
		default:
			rows = append(rows, leafRows(c, prefix+c.Name+"/", nil)...)
		}
	}
	return rows
}

func isLeaf(e *yang.Entry) bool { return e.IsLeaf() || e.IsLeafList() }

func row(e *yang.Entry, name string) string {
	var what strings.Builder
	what.WriteString(prose(e.Description))
	if e.ReadOnly() && gen.Sampled(e) {
		what.WriteString(" *sampled*")
	}
	def := ""
	if len(e.Default) > 0 {
		def = "`" + strings.Join(e.Default, "` `") + "`"
	}
	typ := typeText(e)
	if e.Units != "" {
		typ += ", " + e.Units
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s |", name, cell(typ), def, cell(what.String()))
}

// typeText says what values a leaf takes.
func typeText(e *yang.Entry) string {
	t := typeOf(e.Type)
	if e.IsLeafList() {
		t = "list of " + t
	}
	return t
}

func typeOf(t *yang.YangType) string {
	switch t.Kind {
	case yang.Yenum:
		return strings.Join(inOrder(t.Enum), ", ")
	case yang.Yidentityref:
		var names []string
		for _, v := range t.IdentityBase.Values {
			names = append(names, v.Name)
		}
		slices.Sort(names)
		return strings.Join(names, ", ")
	case yang.Yunion:
		var all []string
		for _, m := range t.Type {
			all = append(all, typeOf(m))
		}
		return strings.Join(all, " or ")
	case yang.Yleafref:
		return "a name"
	case yang.Ystring:
		name := t.Name
		if len(t.Length) > 0 && name == "string" {
			name += " of " + t.Length.String()
		}
		return name
	}
	base := yang.TypeKindToName[t.Kind]
	text := t.Name
	if text != base {
		text += " (" + base + ")"
	}
	if len(t.Range) > 0 && t.Root != nil && !t.Range.Equal(yang.BaseTypedefs[base].YangType.Range) {
		text += " " + t.Range.String()
	}
	return text
}

// inOrder lists the names of an enumeration as the module does.
func inOrder(e *yang.EnumType) []string {
	values := e.ValueMap()
	var names []string
	for _, v := range slices.Sorted(maps.Keys(values)) {
		names = append(names, values[v])
	}
	return names
}

// prose is a description on one line.
func prose(s string) string { return strings.Join(strings.Fields(s), " ") }

// cell keeps a bar in a text from ending its cell.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
