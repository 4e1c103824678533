// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"testing"

	"mcr/tests/lab"
)

// way is how datagrams go through mcrd: an engine, and a receive method. The zero value leaves both to mcrd.
type way struct{ engine, method string }

// methods are the receive methods that there are.
var methods = []string{"socket", "packet"}

// ways runs f with each engine and receive method: the requirements on packets hold for all of them.
func ways(t *testing.T, f func(t *testing.T, w way)) {
	engines(t, func(t *testing.T, engine string) {
		for _, method := range methods {
			t.Run(method, func(t *testing.T) {
				t.Parallel()
				f(t, way{engine, method})
			})
		}
	})
}

// rule is the rule received in this way.
func (w way) rule(r obj) obj {
	if w.method == "" {
		return r
	}
	return with(r, obj{"receive-method": w.method})
}

func (w way) rules(rules []obj) []obj {
	all := make([]obj, len(rules))
	for i, r := range rules {
		all[i] = w.rule(r)
	}
	return all
}

// runRules is runRules in this way, and startWith startWith.
func (w way) runRules(t testing.TB, h *lab.Host, rules ...obj) daemon {
	t.Helper()
	return runRules(t, h, w.engine, w.rules(rules)...)
}

func (w way) startWith(b *bed, rules ...obj) {
	b.t.Helper()
	b.startWith(w.engine, w.rules(rules)...)
}
