// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openconfig/goyang/pkg/yang"
)

// theirs is what OpenConfig's modules have at the paths that MCR has too: a comment with where it is from, a line
// "module NAME VERSION" for each module, then path, config or state, type and default of each leaf, with tabs between.
//
//go:embed openconfig.txt
var theirs string

// subtrees are where paths are OpenConfig's, with what each is called in the page. What they augment is not among it.
var subtrees = []struct{ path, title, module string }{
	{"/interfaces/interface", "Interfaces", "openconfig-interfaces"},
	{"/network-instances/network-instance/protocols/protocol/pim", "PIM", "openconfig-pim"},
	{"/network-instances/network-instance/protocols/protocol/igmp", "IGMP", "openconfig-igmp"},
	{"/network-instances/network-instance", "Network instance", "openconfig-network-instance"},
}

// subtree is the first that holds a path, -1 if none does.
func subtree(p string) int {
	return slices.IndexFunc(subtrees, func(s struct{ path, title, module string }) bool {
		return strings.HasPrefix(p, s.path+"/")
	})
}

// leaf is one leaf of either side.
type leaf struct{ access, typ, def string }

// sides of a comparison: leaves by path.
type leaves map[string]leaf

// collect notes the leaves below e that are of the module of this namespace; other modules may have put theirs in.
func collect(e *yang.Entry, at, namespace string, all leaves) {
	for _, c := range children(e) {
		p := at + "/" + c.Name
		if c.Namespace().Name != namespace {
			continue
		}
		switch {
		case !isLeaf(c):
			collect(c, p, namespace, all)
			continue
		case slices.Contains(strings.Fields(e.Key), c.Name): // a name for the leaf in config or state
			continue
		}
		l := leaf{access: "config", typ: base(c), def: strings.Join(c.Default, " ")}
		if c.ReadOnly() {
			l.access = "state"
		}
		all[p] = l
	}
}

// base is the kind of a leaf's values, alike in both sides: a reference is what it refers to.
func base(e *yang.Entry) string {
	t := e.Type
	name := yang.TypeKindToName[t.Kind]
	switch t.Kind {
	case yang.Yenum:
		name += " " + strings.Join(inOrder(t.Enum), " ")
	case yang.Yleafref:
		name = "reference"
	}
	if e.IsLeafList() {
		name = "list of " + name
	}
	return name
}

// compare is docs/openconfig.md.
func compare(tops []*yang.Entry) ([]byte, error) {
	modules, from, oc, err := parse(theirs)
	if err != nil {
		return nil, err
	}
	mine := leaves{}
	for _, t := range tops {
		collect(t, "", t.Namespace().Name, mine)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, openconfigHead, from)
	for i, s := range subtrees {
		fmt.Fprintf(&b, "\n## %s (%s %s)\n", s.title, s.module, modules[s.module])
		writeSubtree(&b, i, mine, oc)
	}
	return b.Bytes(), nil
}

const openconfigHead = `# MCR and OpenConfig

<!-- Code generated from the YANG modules by gen/yangdoc. DO NOT EDIT. -->

Below ` + "`/interfaces` and `/network-instances`" + ` MCR's paths are those of OpenConfig's models. A client that knows these sends
` + "`origin: openconfig`" + ` and may write module names as OpenConfig does: ` + "`openconfig-interfaces:interfaces`" + `. The answers then have
OpenConfig's module names and identities too. Without the origin they are MCR's own (` + "`mcr-interfaces:interfaces`" + `).
Capabilities lists MCR's modules alone, because what follows is a part of OpenConfig's models, with deviations.

Compared with %s. Nodes that other modules add to these by augmentation are not counted as left out.
`

func writeSubtree(b *bytes.Buffer, i int, mine, oc leaves) {
	var same int
	var differ, own, out []string
	at := subtrees[i].path
	for _, p := range slices.Sorted(maps.Keys(mine)) {
		if subtree(p) != i {
			continue
		}
		m, short := mine[p], strings.TrimPrefix(p, at+"/")
		o, ok := oc[p]
		switch d := deviations(m, o); {
		case !ok:
			own = append(own, short)
		case len(d) > 0:
			differ = append(differ, fmt.Sprintf("| `%s` | %s |", short, cell(strings.Join(d, "; "))))
		default:
			same++
		}
	}
	for _, p := range slices.Sorted(maps.Keys(oc)) {
		if _, ok := mine[p]; !ok && subtree(p) == i {
			out = append(out, strings.TrimPrefix(p, at+"/"))
		}
	}
	fmt.Fprintf(b, "\nPaths from `%s`. The same in both: %d leaves.\n", at, same)
	if len(differ) > 0 {
		fmt.Fprintf(b, "\n| differs | how |\n|---|---|\n%s\n", strings.Join(differ, "\n"))
	}
	writeList(b, "MCR's own", own)
	writeList(b, "Left out", out)
}

// writeList names leaves by the container that they are in.
func writeList(b *bytes.Buffer, title string, all []string) {
	if len(all) == 0 {
		return
	}
	in := map[string][]string{}
	for _, p := range all {
		dir, name := path.Split(p)
		in[dir] = append(in[dir], "`"+name+"`")
	}
	fmt.Fprintf(b, "\n%s:\n\n", title)
	for _, dir := range slices.Sorted(maps.Keys(in)) {
		config := strings.TrimSuffix(dir, "state/") + "config/"
		names, where := in[dir], dir
		if strings.HasSuffix(dir, "config/") {
			state := in[strings.TrimSuffix(dir, "config/")+"state/"]
			if slices.Equal(names, state) {
				where = strings.TrimSuffix(dir, "config/") + "{config,state}/"
			}
		} else if strings.HasSuffix(dir, "state/") {
			names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(in[config], n) })
		}
		if len(names) > 0 {
			fmt.Fprintf(b, "- `%s`: %s\n", where, strings.Join(names, ", "))
		}
	}
}

// deviations says how a leaf differs.
func deviations(m, o leaf) (d []string) {
	if m.access != o.access {
		d = append(d, fmt.Sprintf("%s here, %s there", m.access, o.access))
	}
	// A reference names a value of some type: a plain type in its place takes the same texts.
	if m.typ != o.typ && m.typ != "reference" && o.typ != "reference" {
		d = append(d, fmt.Sprintf("%s here, %s there", m.typ, o.typ))
	}
	if m.def != o.def {
		d = append(d, fmt.Sprintf("default %s here, %s there", orNone(m.def), orNone(o.def)))
	}
	return d
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return "`" + s + "`"
}

// parse reads openconfig.txt.
func parse(text string) (modules map[string]string, from string, all leaves, err error) {
	modules, all = map[string]string{}, leaves{}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "# "); ok {
			from = rest
			continue
		}
		f := strings.Split(line, "\t")
		switch {
		case f[0] == "module" && len(f) == 3:
			modules[f[1]] = f[2]
		case len(f) == 4:
			all[f[0]] = leaf{f[1], f[2], f[3]}
		default:
			return nil, "", nil, fmt.Errorf("openconfig.txt: %q", line)
		}
	}
	if len(all) == 0 {
		return nil, "", nil, errors.New("openconfig.txt: no leaves")
	}
	return modules, from, all, nil
}

// extract makes openconfig.txt from a checkout of OpenConfig's modules.
func extract(public, revision string) ([]byte, error) {
	var dirs []string
	err := filepath.WalkDir(public, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, p)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	tops, err := load(dirs, "openconfig-interfaces", "openconfig-network-instance", "openconfig-pim", "openconfig-igmp")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "# github.com/openconfig/public at %s\n", revision)
	all := leaves{}
	for _, t := range tops {
		v := ""
		for _, x := range t.Exts {
			if strings.HasSuffix(x.Keyword, ":openconfig-version") {
				v = x.Argument
			}
		}
		fmt.Fprintf(&b, "module\t%s\t%s\n", t.Name, v)
		collect(t, "", t.Namespace().Name, all)
	}
	for _, p := range slices.Sorted(maps.Keys(all)) {
		if subtree(p) >= 0 && ownNode(p) {
			fmt.Fprintf(&b, "%s\t%s\t%s\t%s\n", p, all[p].access, all[p].typ, all[p].def)
		}
	}
	return b.Bytes(), nil
}

// ownNode leaves out the parts of a network instance that are other protocols and tables.
func ownNode(p string) bool {
	if i := subtree(p); subtrees[i].title != "Network instance" {
		return true
	}
	rest := strings.TrimPrefix(p, "/network-instances/network-instance/")
	for _, keep := range []string{"name", "config/", "state/", "protocols/protocol/identifier", "protocols/protocol/name", "protocols/protocol/config/", "protocols/protocol/state/"} {
		if rest == keep || strings.HasSuffix(keep, "/") && strings.HasPrefix(rest, keep) {
			return true
		}
	}
	return false
}
