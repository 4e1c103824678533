// SPDX-License-Identifier: Apache-2.0

package state

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/openconfig/ygot/ygot"

	"mcr/gen"
	"mcr/mroute"
	"mcr/northbound/config/json5"
	"mcr/northbound/config/tree"
)

// What a commit touched, as the datastore tells it, gives the same Units as a look at every entry.
func TestTouchedListsAreEnough(t *testing.T) {
	edit := func(old *gen.Device, path, text string) (*tree.Edit, *gen.Device) {
		t.Helper()
		p, err := ygot.StringToStructuredPath(path)
		if err != nil {
			t.Fatal(err)
		}
		v, err := json5.ParseJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		e := tree.NewEdit(old, nil)
		e.Replace(p, v)
		now := e.Finish()
		for _, f := range e.Faults() {
			t.Fatal(f)
		}
		return e, now
	}
	const rules = "/mcr/forwarding/rules/rule"
	_, base := edit(&gen.Device{}, "/", `{"mcr:mcr":{"forwarding":{"config":{"unicast-ttl":5},"rules":{"rule":[{"name":"r1","config":{"input-port":1},"outputs":{"output":[{"name":"a","config":{"port":1}},{"name":"b","config":{"port":2}}]}},{"name":"r2","config":{"input-port":2}}]}}},
		"mcr-interfaces:interfaces":{"interface":[{"name":"e0","config":{"description":"x"}}]}}`)
	for name, change := range map[string]struct{ path, text string }{
		"leaf":              {rules + "[name=r1]/outputs/output[name=a]/config/port", "7"},
		"new entry":         {rules + "[name=r1]/outputs/output[name=c]", `{"config":{"port":3}}`},
		"new rule":          {rules + "[name=r3]", `{"config":{"input-port":3},"outputs":{"output":[{"name":"a"}]}}`},
		"shorter list":      {rules + "[name=r1]/outputs", `{"output":[{"name":"b","config":{"port":2}}]}`},
		"rule without list": {rules + "[name=r1]", `{"config":{"input-port":1}}`},
		"all other":         {"/", `{"mcr:mcr":{"forwarding":{"rules":{"rule":[{"name":"r2","config":{"input-port":9}}]}}}}`},
		"interface":         {"/interfaces/interface[name=e0]/config/description", `"y"`},
	} {
		t.Run(name, func(t *testing.T) {
			e, now := edit(base, change.path, change.text)
			publish := func(known bool) (map[string]map[string]string, []string) {
				rec := newRecorder(t)
				p := newPublisher(t, rec)
				commit(p, nil, base)
				c := committed(base, now, mroute.Batch{Time: t0})
				if known {
					c.Touched = e.Touched
				}
				p.Commit(c)
				update, remove := rec.last()
				out := map[string]map[string]string{}
				for _, path := range update {
					out[path] = rec.unit(path)
				}
				return out, remove
			}
			wantUpdate, wantRemove := publish(false)
			update, remove := publish(true)
			if diff := cmp.Diff(wantUpdate, update); diff != "" || len(update) == 0 && len(remove) == 0 {
				t.Errorf("updates (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(wantRemove, remove); diff != "" {
				t.Errorf("deletes (-want +got):\n%s", diff)
			}
		})
	}
}
