// SPDX-License-Identifier: Apache-2.0

package access

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/openconfig/ygot/ygot"

	"mcr/northbound/telemetry"
)

// Permission is what a rule grants at and below its path.
type Permission uint8

// Permissions, each with all of those before it.
const (
	None Permission = iota
	Read
	Write
)

var permissions = [...]string{None: "none", Read: "read", Write: "write"}

func (p Permission) String() string { return permissions[p] }

// Names of the built-in roles.
const (
	Admin  = "admin"  // write /
	Viewer = "viewer" // read /
)

// rule grants something at and below a path. A key that the path leaves out is any.
type rule struct {
	path   telemetry.Path
	grants Permission
}

// Rights are the rules of a role. Of several rules that fit a node the longest path counts, then the one with more keys, then
// the one that grants less. The zero value grants nothing. Rights never change.
type Rights struct {
	rules []rule // most specific first
}

// Everything returns the rights to read and write all.
func Everything() *Rights { return everything }

var everything = &Rights{rules: []rule{{nil, Write}}}

// newRights reads the rules of a role: path to permission. The paths are checked against the schema, since one with a mistake
// in it would grant, or deny, nothing.
func newRights(schema *telemetry.Schema, rules map[string]string) (*Rights, error) {
	r := &Rights{}
	for text, grants := range rules {
		p := slices.Index(permissions[:], grants)
		if p < 0 {
			return nil, fmt.Errorf("%s: %q is neither none, read nor write", text, grants)
		}
		path, err := rulePath(schema, text)
		if err != nil {
			return nil, err
		}
		r.rules = append(r.rules, rule{path, Permission(p)})
	}
	slices.SortFunc(r.rules, func(a, b rule) int {
		return cmp.Or(
			cmp.Compare(len(b.path), len(a.path)), cmp.Compare(keys(b.path), keys(a.path)),
			cmp.Compare(a.grants, b.grants), strings.Compare(a.path.String(), b.path.String()),
		)
	})
	return r, nil
}

func rulePath(schema *telemetry.Schema, text string) (telemetry.Path, error) {
	if !strings.HasPrefix(text, "/") {
		return nil, fmt.Errorf("%q: the path of a rule begins with /", text)
	}
	p, err := ygot.StringToStructuredPath(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", text, err)
	}
	pattern, err := schema.Resolve(p.GetElem())
	if _, later := errors.AsType[*telemetry.UnimplementedError](err); err != nil && !later {
		return nil, err
	}
	for _, e := range pattern.Path() {
		if e.Name == "*" || e.Name == "..." {
			return nil, fmt.Errorf("%s: %w", text, errors.New("the path of a rule has no wildcards but for keys"))
		}
	}
	return pattern.Path(), nil
}

func keys(p telemetry.Path) (n int) {
	for _, e := range p {
		n += len(e.Keys)
	}
	return n
}

// Allows says whether all, and whether some, of what is at and below a path is granted. The path is canonical, and may be a
// pattern: keys left out, elements "*" and "...". Then it speaks of all that the pattern could match.
func (r *Rights) Allows(p telemetry.Path, want Permission) (all, some bool) {
	all = true
	for i := range r.rules {
		meets, covers := r.rules[i].fits(p)
		if !meets {
			continue
		}
		if r.rules[i].grants >= want {
			some = true
		} else {
			all = false
		}
		if covers { // what follows is less specific
			return all, some
		}
	}
	return false, some
}

// fits says whether a rule speaks of something at or below what a pattern can match, and whether it speaks of all of that.
func (r *rule) fits(p telemetry.Path) (meets, covers bool) {
	covers = len(r.path) <= len(p)
	for i := range min(len(r.path), len(p)) {
		want, e := &r.path[i], &p[i]
		switch e.Name {
		case "...": // any number of any elements
			return true, false
		case "*":
			covers = false
			continue
		case want.Name:
		default:
			return false, false
		}
		for _, k := range want.Keys {
			v, given := key(e, k.Name)
			if given && v != k.Value {
				return false, false
			}
			covers = covers && given
		}
	}
	return true, covers
}

func key(e *telemetry.Elem, name string) (string, bool) {
	for i := range e.Keys {
		if e.Keys[i].Name == name {
			return e.Keys[i].Value, true
		}
	}
	return "", false
}

// String renders the rules, most specific first, as in "/mcr/system none, / read".
func (r *Rights) String() string {
	var b strings.Builder
	for i, rule := range r.rules {
		if i > 0 {
			b.WriteString(", ")
		}
		if len(rule.path) == 0 {
			b.WriteByte('/')
		}
		b.WriteString(rule.path.String() + " " + rule.grants.String())
	}
	return b.String()
}
