// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/spf13/cobra"
)

var tunnelsPath = at("mcr", "tunnel-endpoints", "tunnel-endpoint")

func tunnelPath(iface string) *gpb.Path {
	p := at("mcr", "tunnel-endpoints", "tunnel-endpoint")
	p.Elem[2].Key = map[string]string{"interface": iface}
	return p
}

// tunnel is …/tunnel-endpoints/tunnel-endpoint.
type tunnel struct {
	Interface string `json:"interface"`
	State     struct {
		Address      string `json:"endpoint-address"`
		Origin       string `json:"endpoint-origin"`
		Reason       string `json:"reason"`
		Kind         string `json:"kind"`
		PointToPoint bool   `json:"point-to-point"`
		Multicast    bool   `json:"multicast"`
		HER          bool   `json:"her-active"`
		OuterLocal   string `json:"outer-local"`
		OuterRemote  string `json:"outer-remote"`
		LastChange   number `json:"last-change"`
	} `json:"state"`
	Endpoints struct {
		Endpoint []struct {
			Address string `json:"address"`
			State   struct {
				Neighbor string `json:"neighbor"`
			} `json:"state"`
		} `json:"endpoint"`
	} `json:"endpoints"`
	Candidates struct {
		Candidate []*candidate `json:"candidate"`
	} `json:"candidates"`
}

// candidate is an address that might be an endpoint.
type candidate struct {
	Address string `json:"address"`
	State   struct {
		Origin     string `json:"origin"`
		InUse      bool   `json:"in-use"`
		PassedOver string `json:"passed-over-reason"`
		LastChange number `json:"last-change"`
	} `json:"state"`
}

// inUse are the addresses that copies go to.
func (t *tunnel) inUse() []string {
	var all []string
	for _, c := range t.Candidates.Candidate {
		if c.State.InUse {
			all = append(all, c.Address)
		}
	}
	return all
}

func (a *app) showEndpointsCommand() *cobra.Command {
	var why string
	cmd := &cobra.Command{
		Use:   "endpoints",
		Short: "The far end of each interface, as multicast is sent there by unicast",
		Long: `Show, for each interface that is point-to-point, has no multicast or is named in the configuration, the unicast endpoint
behind it: where multicast outputs are turned into unicast copies (HER, head-end replication), the copies go there.

With --why one interface is explained: what mcrd sees of it, every address that might be the endpoint, which one is used,
and why each of the others is passed over. The order is: configured, the peer of an address, the other host of a /31 or /30,
the neighbor who asks, the only /32 of the only WireGuard peer, the tunnel's outer remote.

An endpoint is configured with
  mcrctl set '/mcr/tunnel-endpoints/tunnel-endpoint[interface=wg0]/endpoints/endpoint[address=10.1.0.5]/config/address' 10.1.0.5`,
		Example: "  mcrctl show endpoints\n  mcrctl show endpoints --why gre1",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&why, "why", "", "explain the endpoint of one `interface`")
	_ = cmd.RegisterFlagCompletionFunc("why", a.completeTunnel)
	cmd.RunE = a.withClient(func(ctx context.Context, c *client, _ []string) error {
		if cmd.Flags().Changed("why") {
			return a.explainEndpoint(ctx, c, why)
		}
		us, err := c.list(ctx, gpb.GetRequest_STATE, tunnelsPath)
		if err != nil {
			return err
		}
		if a.json() {
			return writeValues(a.stdout, us)
		}
		return writeEndpoints(a.stdout, us)
	})
	return cmd
}

// completeTunnel completes the interfaces of which mcrd knows the far end, or why it does not.
func (a *app) completeTunnel(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	err := a.withClient(func(ctx context.Context, c *client, _ []string) error {
		path := tunnelPath("*")
		path.Elem = append(path.Elem, at("state", "interface").Elem...)
		us, err := c.list(ctx, gpb.GetRequest_STATE, path)
		for _, u := range us {
			names = append(names, u.Path.GetElem()[2].GetKey()["interface"])
		}
		return err
	})(cmd, nil)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// tunnels reads entries, ascending by interface, each with its candidates in the order of preference.
func tunnels(us []update) ([]*tunnel, error) {
	all, err := decode[tunnel](us)
	if err != nil {
		return nil, err
	}
	for i, t := range all {
		t.Interface = cmp.Or(t.Interface, lastKey(us[i].Path, "interface"))
		slices.SortStableFunc(t.Candidates.Candidate, func(a, b *candidate) int {
			return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a.Address, b.Address))
		})
	}
	slices.SortFunc(all, func(a, b *tunnel) int { return strings.Compare(a.Interface, b.Interface) })
	return all, nil
}

// rank orders candidates: those in use first, then the better origins.
func rank(c *candidate) int {
	if c.State.InUse {
		return -1
	}
	if i := slices.Index(originOrder, c.State.Origin); i >= 0 {
		return i
	}
	return len(originOrder)
}

func writeEndpoints(w io.Writer, us []update) error {
	all, err := tunnels(us)
	if err != nil {
		return err
	}
	var t table
	t.row("INTERFACE", "KIND", "P2P", "MULTICAST", "HER", "ENDPOINT", "FROM", "PASSED OVER", "CHANGED")
	for _, e := range all {
		s := &e.State
		used := e.inUse()
		to, from := state("-", s.Reason), "-"
		if len(used) > 0 {
			to, from = endpointList(used), s.Origin
		}
		changed := "-"
		if s.LastChange != 0 {
			changed = ago(us[0].Time, s.LastChange)
		}
		t.row(e.Interface, dash(s.Kind), yes(s.PointToPoint), yes(s.Multicast), yes(s.HER), to, from,
			count(number(len(e.Candidates.Candidate)-len(used))), changed)
	}
	return t.write(w)
}

// endpointList names a few endpoints, and counts more.
func endpointList(all []string) string {
	const most = 3
	if len(all) > most {
		return fmt.Sprintf("%d endpoints", len(all))
	}
	return strings.Join(all, ", ")
}

// explainEndpoint shows what is known of one interface.
func (a *app) explainEndpoint(ctx context.Context, c *client, iface string) error {
	us, err := c.list(ctx, gpb.GetRequest_STATE, tunnelPath(iface))
	if err != nil {
		return err
	}
	path := at("interfaces", "interface")
	path.Elem[1].Key = map[string]string{"name": iface}
	seen, err := c.list(ctx, gpb.GetRequest_STATE, path)
	if err != nil {
		return err
	}
	switch {
	case len(us) == 1 && a.json():
		return writeValues(a.stdout, us)
	case len(us) == 1:
		return writeEvidence(a.stdout, us, seen)
	case len(seen) == 0:
		return fmt.Errorf("there is no interface %s; mcrctl show interfaces shows all", iface)
	}
	return fmt.Errorf("nobody asks for the far end of %s: it is not point-to-point, it has multicast, and no endpoint is configured there", iface)
}

func writeEvidence(w io.Writer, us, seen []update) error {
	all, err := tunnels(us)
	if err != nil {
		return err
	}
	interfaces, err := decode[hostInterface](seen)
	if err != nil {
		return err
	}
	e, now := all[0], us[0].Time
	if _, err := fmt.Fprintf(w, "%s: %s\n\n", e.Interface, verdict(e)); err != nil {
		return err
	}
	if err := writeFacts(w, e, interfaces, now); err != nil {
		return err
	}
	if len(e.Candidates.Candidate) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	var t table
	t.row("CANDIDATE", "FROM", "USED", "SINCE", "WHAT IT IS")
	for _, c := range e.Candidates.Candidate {
		s := &c.State
		since := "-"
		if s.LastChange != 0 {
			since = ago(now, s.LastChange)
		}
		what := usedWord(s.Origin)
		if !s.InUse {
			what = word(originWords, s.Origin) + "; passed over: " + word(passedOverWords, s.PassedOver)
		}
		t.row(c.Address, s.Origin, yes(s.InUse), since, what)
	}
	return t.write(w)
}

// writeFacts shows what the kernel and the configuration say of an interface.
func writeFacts(w io.Writer, e *tunnel, interfaces []*hostInterface, now time.Time) error {
	s := &e.State
	var t table
	if s.Reason != "interface-missing" {
		t.row("kind", dash(s.Kind))
		flags := []string{"no POINTOPOINT", "no MULTICAST"}
		if s.PointToPoint {
			flags[0] = "POINTOPOINT"
		}
		if s.Multicast {
			flags[1] = "MULTICAST"
		}
		t.row("flags", strings.Join(flags, ", "))
	}
	if len(interfaces) > 0 {
		t.row("addresses", dash(interfaces[0].addresses()))
	}
	if s.OuterLocal != "" || s.OuterRemote != "" {
		t.row("outer", fmt.Sprintf("from %s to %s", cmp.Or(s.OuterLocal, "any"), cmp.Or(s.OuterRemote, "any")))
	}
	var configured []string
	for _, c := range e.Endpoints.Endpoint {
		text := c.Address
		if n := c.State.Neighbor; n != "" {
			text += " for " + n
		}
		configured = append(configured, text)
	}
	t.row("configured", dash(strings.Join(configured, ", ")))
	t.row("HER", yes(s.HER))
	if s.LastChange != 0 {
		t.row("changed", ago(now, s.LastChange))
	}
	return t.write(w)
}

// verdict says in one line what becomes of multicast outputs, and where unicast copies go.
func verdict(e *tunnel) string {
	s := &e.State
	used := e.inUse()
	var to string
	switch len(used) {
	case 0:
		to = fmt.Sprintf("no endpoint is known: %s (%s)", unresolved(e.Interface, s.Reason), s.Reason)
	case 1:
		to = fmt.Sprintf("the endpoint is %s, %s (%s)", used[0], usedWord(s.Origin), s.Origin)
	default:
		to = fmt.Sprintf("there are %d endpoints, each gets a copy (%s)", len(used), s.Origin)
	}
	switch {
	case s.HER && len(used) == 0:
		return "multicast outputs are to be unicast copies, and " + to
	case s.HER:
		return "multicast outputs become unicast copies; " + to
	case !s.Multicast && s.Reason != "interface-missing":
		return "multicast outputs stay multicast, though the interface has none (head-end replication is off); " + to
	}
	return "multicast outputs stay multicast; " + to
}
