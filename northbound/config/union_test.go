// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"
	"testing"
)

func unionReplace(t testing.TB, path, value string) Op {
	op := replace(t, path, value)
	op.Kind = UnionReplace
	return op
}

// G50: with one origin a union_replace is a replace of the named paths.
func TestG50_UnionReplaceOfOneOrigin(t *testing.T) {
	s, _ := open(t, t.TempDir())
	mustSet(t, s, update(t, rulePath, "["+ruleJSON("r1", outputJSON("a", "10.0.0.1", ""))+"]"), update(t, "/mcr/forwarding/config/multicast-ttl", "9"))
	mustSet(t, s, unionReplace(t, rulePath+"[name=r1]", ruleJSON("r1", outputJSON("b", "10.0.0.2", ""))), unionReplace(t, "/mcr/forwarding/limits/config", `{"maximum-rules":7}`))
	c := s.Running().c
	if r := c.config.Rules["r1"]; len(r.Outputs) != 1 || r.Outputs[0].Name != "b" || c.config.Forwarding.MulticastTTL != 9 {
		t.Errorf("%s", contents(t, c))
	}
	mustSet(t, s, cli(UnionReplace, `{rules:[]}`))
	if got := contents(t, s.Running().c); !strings.Contains(got, `"multicast-ttl":9`) || strings.Contains(got, `"r1"`) {
		t.Errorf("%s", got)
	}
}

// G50: paths and a text together are the whole configuration.
func TestG50_UnionReplaceOfTwoOrigins(t *testing.T) {
	s, _ := open(t, t.TempDir())
	mustSet(t, s, update(t, rulePath, "["+ruleJSON("r1", outputJSON("a", "10.0.0.1", ""))+"]"), setTTL(t, "9"))
	text := cli(UnionReplace, `{rules:[{name:"r2",input:{interface:"eth0",group:"239.1.1.2",port:5000}}], forwarding:{unicast_ttl:7}}`)
	mustSet(t, s, text, unionReplace(t, "/mcr/forwarding/config", `{"multicast-ttl":9,"unicast-ttl":7}`),
		unionReplace(t, rulePath+"[name=r3]", strings.Replace(ruleJSON("r3"), "239.1.1.1", "239.1.1.3", 1)))
	c := s.Running().c
	if len(c.rules) != 2 || c.config.Rules["r2"] == nil || c.config.Rules["r3"] == nil || c.config.Forwarding.MulticastTTL != 9 || ttl(s) != 7 {
		t.Errorf("%s", contents(t, c))
	}
	checkAlike(t, c)
	// The same again, in the other order.
	res := mustSet(t, s, unionReplace(t, rulePath+"[name=r3]", strings.Replace(ruleJSON("r3"), "239.1.1.1", "239.1.1.3", 1)),
		unionReplace(t, "/mcr/forwarding/config", `{"multicast-ttl":9,"unicast-ttl":7}`), text)
	if res.Changed {
		t.Errorf("%s", contents(t, s.Running().c))
	}
}

// G50: a leaf with two values is refused at the operation that brings the second, and nothing changes.
func TestG50_UnionConflict(t *testing.T) {
	s, _ := open(t, t.TempDir())
	mustSet(t, s, setTTL(t, "9"))
	for name, tt := range map[string]struct{ value, text string }{
		"two values":               {`{"unicast-ttl":5}`, `{forwarding:{unicast_ttl:7}}`},
		"the default and another":  {`{"unicast-ttl":64}`, `{forwarding:{unicast_ttl:7}}`},
		"another and the default":  {`{"unicast-ttl":7}`, `{forwarding:{unicast_ttl:64}}`},
		"in a second of the texts": {`{"multicast-ttl":7}`, `{forwarding:{multicast_ttl:7,unicast_ttl:1,multicast_ttl_policy:"keep"},rules:[],x:1}`},
	} {
		_, err := set(s, cli(UnionReplace, tt.text), unionReplace(t, "/mcr/forwarding/config", tt.value))
		f := faults(t, err)[0]
		if f.Code != Invalid || f.Kind != UnionReplace || f.Op != 0 || ttl(s) != 9 || s.Running().Revision != 1 {
			t.Errorf("%s: %+v", name, f)
		}
		if !strings.Contains(tt.text, "x:") && (f.Path != "/mcr/forwarding/config/unicast-ttl" || f.Line != 1) {
			t.Errorf("%s: %+v", name, f)
		}
	}
	// One and the same, and overlapping paths of one origin, are no conflict.
	mustSet(t, s, cli(UnionReplace, `{forwarding:{unicast_ttl:7}}`), unionReplace(t, "/mcr/forwarding/config", `{"unicast-ttl":5}`),
		unionReplace(t, "/mcr/forwarding/config/unicast-ttl", `7`))
	if ttl(s) != 7 {
		t.Errorf("TTL %d", ttl(s))
	}
}
