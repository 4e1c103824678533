// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"strings"

	"mcr/northbound/config/json5"
)

// Member returns the member of an object by its name without module prefix, or nil.
func Member(v *json5.Value, name string) *json5.Value {
	for _, m := range v.Members {
		if m.Name == name || strings.HasSuffix(m.Name, ":"+name) {
			return m.Value
		}
	}
	return nil
}

// Entry returns the entry of an array that has the keys of a path element, or nil.
func Entry(v *json5.Value, keys map[string]string) *json5.Value {
next:
	for _, e := range v.Elems {
		for name, want := range keys {
			k := Member(e, name)
			if k == nil || k.Text != want && !strings.HasSuffix(k.Text, ":"+want) {
				continue next
			}
		}
		return e
	}
	return nil
}
