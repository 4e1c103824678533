// SPDX-License-Identifier: Apache-2.0

package mroute

import (
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"

	"mcr/dataplane/plan"
	"mcr/mroute/netif"
)

// P2.4: a Set that names an address of this host as an endpoint is refused, and says which. A start never is; and an endpoint
// that became an address of this host later does not stand in the way of other changes.
func TestP2_4_OwnAddressAsEndpointIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startRig(t, link(1, "eth0", "10.0.0.1"), link(2, "wg0", "10.1.0.1"))
		prepare := func(start bool, endpoints map[string][]netif.ConfiguredEndpoint) error {
			p, err := g.Prepare(t.Context(), &Config{Endpoints: endpoints}, start)
			if err == nil {
				p.Commit(g.take)
			}
			return err
		}
		at := func(s string) netif.ConfiguredEndpoint {
			return netif.ConfiguredEndpoint{Address: netip.MustParseAddr(s)}
		}
		ours := map[string][]netif.ConfiguredEndpoint{"wg0": {at("10.0.0.1"), at("10.1.0.5")}, "gre1": {at("10.1.0.1")}}
		refusal, ok := errors.AsType[*RefusalError](prepare(false, ours))
		if !ok {
			t.Fatal("it was taken")
		}
		var got []string
		for _, r := range refusal.Refusals {
			got = append(got, r.Interface+" "+r.Endpoint.String()+": "+r.Err.Error())
		}
		g.want("refusals", got, []string{
			"gre1 10.1.0.1: 10.1.0.1 is an address of this host",
			"wg0 10.0.0.1: 10.0.0.1 is an address of this host",
		})
		g.want("message", refusal.Error(), "endpoint 10.1.0.1 on gre1: 10.1.0.1 is an address of this host (and 1 more)")

		if err := prepare(false, map[string][]netif.ConfiguredEndpoint{"wg0": {at("10.1.0.5")}}); err != nil {
			t.Fatal(err)
		}
		g.host.mu.Lock()
		g.host.links = append(g.host.links, link(3, "eth1", "10.1.0.5"))
		g.host.mu.Unlock()
		g.event(netif.Event{Touched: map[plan.IfIndex]bool{3: true}})
		if err := prepare(false, map[string][]netif.ConfiguredEndpoint{"wg0": {at("10.1.0.5"), at("10.1.0.6")}}); err != nil {
			t.Errorf("a change of something else: %v", err)
		}
		if err := prepare(true, ours); err != nil {
			t.Errorf("at start: %v", err)
		}
	})
}
