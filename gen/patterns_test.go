// SPDX-License-Identifier: Apache-2.0

package gen_test

import (
	"strings"
	"testing"

	"github.com/openconfig/goyang/pkg/yang"
	"github.com/openconfig/ygot/ygot"
	"github.com/openconfig/ygot/ytypes"

	"mcr/gen"
)

// patternTests has good and bad values for every type with a pattern; a new pattern without a row fails the test.
var patternTests = map[string]struct{ good, bad []string }{
	"ipv4-address": {
		good: []string{"0.0.0.0", "10.2.0.5", "239.1.1.1", "255.255.255.255", "1.20.255.249"},
		bad: []string{
			"", "10.2.0", "10.2.0.5.1", "10.2.0.256", "10.2.0.05", "010.2.0.5", "10.2.0.5 ", "10.2.0.5\n", "::1", "10.2.0.5/32",
			"host", "10,2,0,5", "10.2.0.-1", "١.2.0.5",
		},
	},
	"ipv4-multicast": {
		good: []string{"224.0.0.0", "224.0.0.251", "232.1.2.3", "239.255.255.255"},
		bad:  []string{"", "223.255.255.255", "240.0.0.0", "10.0.0.1", "239.1.1", "239.1.1.256", "239.01.1.1", "x239.1.1.1"},
	},
	"ipv4-unicast": {
		good: []string{"1.0.0.0", "9.9.9.9", "10.2.0.5", "99.0.0.1", "127.0.0.1", "199.0.0.1", "223.255.255.255"},
		bad:  []string{"", "0.0.0.0", "0.1.2.3", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "01.2.3.4", "10.0.0"},
	},
	"ipv4-prefix": {
		good: []string{"0.0.0.0/0", "10.0.0.0/8", "239.0.0.0/9", "10.2.0.5/32", "10.0.0.0/19", "10.0.0.0/30"},
		bad:  []string{"", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/08", "10.0.0.0/-1", "10.0.0/8", "10.0.0.0/8/8", "::/0"},
	},
	"interface-name": {
		good: []string{"lo", "eth0", "eth0.100", "wg-spoke_1", "br@x", "a", "123456789012345", "!", "~", "*", "."},
		bad:  []string{"", "1234567890123456", "a b", "a/b", "a:b", ":none", "é", "a\tb", "a\n"},
	},
	"interface-or-none": {
		good: []string{"lo", "eth0.100", ":none"},
		bad:  []string{"", ":", ":none2", "none:", ":other", "a/b", "1234567890123456"},
	},
	"entry-name": {
		good: []string{
			"r1", "hybrid-feed", "wg0@10.1.0.5:5000", "eth0:239.1.1.1:5000", "a*", "*a*", "**/**", "]", `\`,
			strings.Repeat("x", 128),
		},
		bad: []string{"", "*", "**", "a b", " a", "a\n", "é", strings.Repeat("x", 129)},
	},
	"sha256": { // a leaf's own pattern goes by the leaf's name
		good: []string{strings.Repeat("0af9", 16)},
		bad:  []string{"", strings.Repeat("0af9", 15), strings.Repeat("0AF9", 16), strings.Repeat("0afg", 16), strings.Repeat("0af9", 16) + "0"},
	},
}

// Patterns are run by Go's RE2 here and by other engines in clients: the modules use what means the same in all
// . This goes through the check that a Set goes through.
func TestPatterns(t *testing.T) {
	seen := map[string]bool{}
	for _, leaf := range leaves(t) {
		if leaf.Type == nil || len(leaf.Type.Pattern) == 0 {
			continue
		}
		name := leaf.Type.Name
		if name == "string" {
			name = leaf.Name
		}
		if seen[name] {
			continue
		}
		seen[name] = true
		rows, ok := patternTests[name]
		if !ok {
			t.Errorf("%s: no values for the pattern of type %s", gen.SchemaPath(leaf), name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			for _, v := range rows.good {
				if err := check(leaf, v); err != nil {
					t.Errorf("%q is refused: %v", v, err)
				}
			}
			for _, v := range rows.bad {
				if err := check(leaf, v); err == nil {
					t.Errorf("%q is accepted", v)
				}
			}
		})
	}
	for name := range patternTests {
		if !seen[name] {
			t.Errorf("no leaf has the type %s any more", name)
		}
	}
}

// check validates one value as the server does. Values of leaf-lists are checked one by one.
func check(leaf *yang.Entry, v string) error {
	if leaf.IsLeafList() {
		return asError(ytypes.Validate(leaf, []string{v}))
	}
	return asError(ytypes.Validate(leaf, ygot.String(v)))
}

// asError avoids the typed nil that ytypes gives back.
func asError[E interface {
	~[]error
	error
}](errs E) error {
	if len(errs) == 0 {
		return nil
	}
	return errs
}
