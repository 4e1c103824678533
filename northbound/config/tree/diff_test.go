// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcr/gen"
)

// differences lists what Diff tells.
func differences(old, now *gen.Device, e *Edit) map[string]string {
	out := map[string]string{}
	Diff(old, now, e, func(d Difference) { out[d.Path()] = d.Old() + " -> " + d.New() })
	return out
}

// An edit, two whole walks, and the way back all tell the same differences.
func TestDiff(t *testing.T) {
	const rules = "/mcr/forwarding/rules/rule"
	full := `{"mcr:mcr":{"forwarding":{"config":{"unicast-ttl":5},"rules":{"rule":[{"name":"r1","config":{"input-port":1},"outputs":{"output":[{"name":"a","config":{"port":1}},{"name":"b","config":{"port":2}}]}},{"name":"r2","config":{"input-port":2}}]}}}}`
	_, base := mustEdit(t, &gen.Device{}, "/", full)
	for _, tt := range []struct {
		name, path, value string
		want              map[string]string
	}{
		{"a leaf", rules + "[name=r1]/config/input-port", "7", map[string]string{rules + "[name=r1]/config/input-port": "1 -> 7"}},
		{"an entry", rules + "[name=r1]/outputs/output[name=c]", `{"config":{"port":3}}`, map[string]string{
			rules + "[name=r1]/outputs/output[name=c]/config/name": ` -> "c"`, rules + "[name=r1]/outputs/output[name=c]/config/port": " -> 3",
		}},
		{"a list that becomes shorter", rules + "[name=r1]/outputs", `{"output":[{"name":"b","config":{"port":2}}]}`, map[string]string{
			rules + "[name=r1]/outputs/output[name=a]/config/name": `"a" -> `, rules + "[name=r1]/outputs/output[name=a]/config/port": "1 -> ",
		}},
		{"a list that goes with its container", rules + "[name=r1]", `{"config":{"input-port":1}}`, map[string]string{
			rules + "[name=r1]/outputs/output[name=a]/config/name": `"a" -> `, rules + "[name=r1]/outputs/output[name=a]/config/port": "1 -> ",
			rules + "[name=r1]/outputs/output[name=b]/config/name": `"b" -> `, rules + "[name=r1]/outputs/output[name=b]/config/port": "2 -> ",
		}},
		{"all but one", "/", `{"mcr:mcr":{"forwarding":{"rules":{"rule":[{"name":"r2","config":{"input-port":2}}]}}}}`, map[string]string{
			"/mcr/forwarding/config/unicast-ttl": "5 -> ", rules + "[name=r1]/config/name": `"r1" -> `, rules + "[name=r1]/config/input-port": "1 -> ",
			rules + "[name=r1]/outputs/output[name=a]/config/name": `"a" -> `, rules + "[name=r1]/outputs/output[name=a]/config/port": "1 -> ",
			rules + "[name=r1]/outputs/output[name=b]/config/name": `"b" -> `, rules + "[name=r1]/outputs/output[name=b]/config/port": "2 -> ",
		}},
		{"the same", "/", full, map[string]string{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, now := mustEdit(t, base, tt.path, tt.value)
			if diff := cmp.Diff(tt.want, differences(base, now, e)); diff != "" {
				t.Errorf("with the edit (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.want, differences(base, now, nil)); diff != "" {
				t.Errorf("without (-want +got):\n%s", diff)
			}
			back := map[string]string{}
			Diff(now, base, nil, func(d Difference) { back[d.Path()] = d.New() + " -> " + d.Old() })
			if !maps.Equal(tt.want, back) {
				t.Errorf("backwards: %v", back)
			}
		})
	}
}

// mustEdit replaces what is at one path.
func mustEdit(t testing.TB, old *gen.Device, at, text string) (*Edit, *gen.Device) {
	t.Helper()
	e := NewEdit(old, nil)
	e.Replace(path(t, at), value(t, text))
	now := e.Finish()
	for _, f := range e.Faults() {
		t.Fatal(f)
	}
	return e, now
}
