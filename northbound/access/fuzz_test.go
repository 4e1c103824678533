// SPDX-License-Identifier: Apache-2.0

package access

import (
	"testing"
)

// FuzzUsers: whatever is taken can be written and read again, and says the same.
func FuzzUsers(f *testing.F) {
	s := schema(f)
	for _, seed := range []string{
		`{"format":1}`,
		`{"format":1,"roles":{"noc":{"/":"read","/mcr/forwarding/rules/rule[name=a\\]b]":"write"}},"users":{"ann":{"role":"noc"}}}`,
		`{"format":1,"users":{"spiffe://a/b":{"role":"admin","password":"` + annsHash + `"}}}`,
		`{"format":1,"users":{"a":{"role":"viewer"},"a":{"role":"admin"}}}`,
		`{"format":1,"roles":{"x":{"/[":"read"}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		u, err := parseUsers(s, data)
		if err != nil {
			return
		}
		text, err := u.text()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseUsers(s, text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		for _, name := range u.Names() {
			if one, two := u.caller(name, false), again.caller(name, false); one.entry != two.entry || one.Rights.String() != two.Rights.String() {
				t.Errorf("%s: %+v and %+v", name, one, two)
			}
		}
	})
}
