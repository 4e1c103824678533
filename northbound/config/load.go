// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"

	gpb "github.com/openconfig/gnmi/proto/gnmi"

	"mcr/northbound/config/json5"
	"mcr/northbound/config/tree"
)

// Check makes the static checks of a start-up file as if it were the whole configuration. The error is an *Error; name
// is used in it.
func Check(data []byte, name string) error {
	if _, err := transact(empty(), []change{changeOfFile(name, data)}); err != nil {
		return err
	}
	return nil
}

// parseText reads the text of a start-up file: RFC 7951 JSON, which stands for the whole tree, or JSON5 in the form of
// import.go, which stands for the parts that it names.
func parseText(data []byte) ([]part, []tree.Fault) {
	v, err := json5.Parse(data)
	if err == nil && !isTree(v) {
		return importText(v)
	}
	if err == nil {
		v, err = json5.ParseJSON(data)
	}
	if err != nil {
		e := err.(*json5.SyntaxError)
		return nil, []tree.Fault{{Reason: e.Reason, Pos: e.Pos}}
	}
	return []part{{&gpb.Path{}, v}}, nil
}

// isTree says whether a text is meant as RFC 7951: it has a member that is called like the top of a YANG tree.
func isTree(v *json5.Value) bool {
	for _, m := range v.Members {
		name := m.Name
		if _, bare, ok := strings.Cut(name, ":"); ok {
			name = bare
		}
		if tree.Schema().Child(name) != nil {
			return true
		}
	}
	return false
}
