// SPDX-License-Identifier: Apache-2.0

package gen

import (
	"strings"

	"github.com/openconfig/goyang/pkg/yang"
)

// Sampled tells whether a state leaf moves by itself all the time, so that it is sampled: counters, gauges, deadlines
// that each refresh moves, and a few by name. All other leaves are told on change. Keys of lists are never sampled.
//
// The rule needs no table beside the schema; the list it gives is in testdata/state-leaves.txt.
func Sampled(leaf *yang.Entry) bool {
	if leaf.Type != nil {
		switch leaf.Type.Name {
		case "counter64", "gauge64", "deadline64":
			return true
		}
	}
	if leaf.Name == "last-packet-time" || leaf.Name == "last-error-time" {
		return true
	}
	path := SchemaPath(leaf)
	return strings.Contains(path, "/counters/") ||
		path == "/mcr/system/state/current-time" ||
		strings.HasPrefix(path, "/mcr/system/process/")
}

// SchemaPath returns the path of a schema node as clients write it: from the top of the data tree, without modules and keys.
func SchemaPath(e *yang.Entry) string {
	if e == nil || e.Parent == nil {
		return ""
	}
	return SchemaPath(e.Parent) + "/" + e.Name
}
