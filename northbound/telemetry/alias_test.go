// SPDX-License-Identifier: Apache-2.0

package telemetry_test

import (
	"testing"

	"mcr/northbound/telemetry"
)

// G23: a path may have the modules of the other naming, and an answer in it has them where they change.
func TestG23Alias(t *testing.T) {
	s := newSchema(t)
	const ipv4 = "/interfaces/interface/subinterfaces/subinterface/ipv4"
	s.SetAlias(telemetry.Alias{
		Modules:    map[string]string{"/interfaces": "openconfig-interfaces", ipv4: "openconfig-if-ip"},
		Identities: map[string]string{"mcr-types:tunnel": "iana-if-type:tunnel"},
	})
	tree := telemetry.New(s)
	apply(t, tree, start,
		unit(t, "/interfaces/interface[name=gre0]/state", str("name", "gre0"), str("type", "tunnel")),
		unit(t, "/interfaces/interface[name=gre0]/subinterfaces/subinterface[index=0]/ipv4/addresses/address[ip=10.0.0.1]/state", str("ip", "10.0.0.1")))
	p, err := s.Resolve(parse(t, "/openconfig-interfaces:interfaces/openconfig-interfaces:interface[name=gre0]"))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"openconfig-interfaces:name":"gre0","openconfig-interfaces:state":{"name":"gre0","type":"iana-if-type:tunnel"},` +
		`"openconfig-interfaces:subinterfaces":{"subinterface":[{"index":0,"openconfig-if-ip:ipv4":{"addresses":{"address":[{"ip":"10.0.0.1","state":{"ip":"10.0.0.1"}}]}}}]}}`
	updates := tree.Snapshot().Collect(p, telemetry.Filter{}, telemetry.EncodingAlias, start)
	if got := string(updates[0].GetVal().GetJsonIetfVal()); got != want {
		t.Errorf("answer %s\nwant   %s", got, want)
	}
	if _, err := s.Resolve(parse(t, "/openconfig-network-instance:interfaces")); err == nil {
		t.Error("a module that the node is not in is taken")
	}
}
