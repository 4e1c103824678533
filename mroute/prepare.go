// SPDX-License-Identifier: Apache-2.0

package mroute

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
	"mcr/mroute/mrib"
	"mcr/mroute/netif"
)

// Prepare makes everything ready that c needs and that can fail for lack of resources. A missing or down interface is
// no failure: that output starts down. With start set nothing is refused: what today's machine cannot do is down with a
// reason. Otherwise a *RefusalError says what it is that cannot be done. Running traffic is not touched.
//
// After success the router's loop waits for Commit or Discard.
func (r *Router) Prepare(ctx context.Context, c *Config, start bool) (Prepared, error) {
	t := &transaction{cfg: c, start: start, ready: make(chan error, 1), decision: make(chan func(Batch), 1), adopted: make(chan (<-chan struct{}), 1)}
	select {
	case r.calls <- func(ctx context.Context) { r.transact(ctx, t) }:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-r.done:
		return nil, ErrStopped
	}
	if err := <-t.ready; err != nil {
		return nil, err
	}
	return t, nil
}

// transaction is a configuration between Prepare and Commit.
type transaction struct {
	cfg      *Config
	start    bool
	ready    chan error
	decision chan func(Batch) // a nil function discards
	adopted  chan (<-chan struct{})
}

// Commit implements Prepared.
func (t *transaction) Commit(publish func(Batch)) {
	t.decision <- publish
	adopted := <-t.adopted
	if adopted == nil {
		return
	}
	limit := time.NewTimer(adoptionWait)
	defer limit.Stop()
	select {
	case <-adopted:
	case <-limit.C:
	}
}

// Discard implements Prepared.
func (t *transaction) Discard() {
	t.decision <- nil
	<-t.adopted
}

// transact runs one transaction on the loop.
func (r *Router) transact(ctx context.Context, t *transaction) {
	defer close(t.adopted)
	defer func() { r.host.conf = r.cfg }() // t's, or that of before
	if err := r.refusedEndpoints(t.cfg); err != nil && !t.start {
		t.ready <- err
		return
	}
	next := r.stage(r.table, t.cfg, r.difference(t.cfg))
	next, a, err := r.prepare(next, t.cfg)
	if err == nil && !t.start {
		if err = r.refusals(next, a.Problems()); err != nil {
			a.Discard()
		}
	}
	t.ready <- err
	if err != nil {
		return
	}
	select {
	case publish := <-t.decision:
		if publish == nil {
			a.Discard()
			return
		}
		b := r.batch()
		restarts := t.cfg.restarts(r.cfg)
		adopted := r.install(t.cfg, next, a, &b)
		if restarts {
			r.adopted = adopted
		}
		r.net.SetAudit(t.cfg.audit())
		publish(b)
		t.adopted <- adopted
	case <-ctx.Done():
		a.Discard()
	}
}

// stage returns t as it is after the change, under what c says of all rows.
func (r *Router) stage(t *mrib.Table, c *Config, ch mrib.Change) *mrib.Table {
	ch.Now, ch.Knobs, ch.Boundaries = r.now(), c.knobs(), c.Boundaries
	r.host.conf = c
	return t.Stage(ch, r.host)
}

// difference is what Stage has to look at to go from the running configuration to c. Equal pointers are equal rules.
func (r *Router) difference(c *Config) mrib.Change {
	ch := mrib.Change{Rules: map[string]*mrib.Rule{}, Old: map[string]*mrib.Rule{}}
	for name, is := range c.Rules {
		if was := r.cfg.Rules[name]; was != is {
			ch.Rules[name] = is
			if was != nil {
				ch.Old[name] = was
			}
		}
	}
	for name, was := range r.cfg.Rules {
		if c.Rules[name] == nil {
			ch.Rules[name], ch.Old[name] = nil, was
		}
	}
	if !sameKnobs(c.knobs(), r.cfg.knobs()) {
		ch.Doubt = func(*mrib.Member) bool { return true }
	}
	if !maps.EqualFunc(c.Boundaries, r.cfg.Boundaries, slices.Equal[[]netip.Prefix]) {
		ch.Doubt = func(*mrib.Member) bool { return true }
		ch.DoubtInput = func(string, netip.Addr) bool { return true }
	}
	ch.Doubt = either(ch.Doubt, herDoubt(r.cfg, c))
	return ch
}

func sameKnobs(a, b mrib.Knobs) bool {
	at, bt := a.MinimumInputTTL, b.MinimumInputTTL
	a.MinimumInputTTL, b.MinimumInputTTL = nil, nil
	return a == b && (at == nil) == (bt == nil) && (at == nil || *at == *bt)
}

// knobs are the settings that the MRIB needs, with the defaults of an empty configuration.
func (c *Config) knobs() mrib.Knobs {
	f := c.Forwarding
	return mrib.Knobs{
		UnicastTTL: f.UnicastTTL, MulticastTTL: f.MulticastTTL, MulticastMode: f.MulticastTTLMode, MinimumInputTTL: f.MinimumInputTTL,
		MaximumLearntPorts: c.PortLearner.MaximumPorts,
	}
}

// restarts says that c takes other workers than old.
func (c *Config) restarts(old *Config) bool {
	return c.Engine != old.Engine || c.Workers != old.Workers || !slices.Equal(c.CPUs, old.CPUs) ||
		c.RingEntries != old.RingEntries || c.ReceiveBuffers != old.ReceiveBuffers
}

func (c *Config) audit() time.Duration {
	if c.Forwarding.RediscoveryInterval <= 0 {
		return 30 * time.Second
	}
	return c.Forwarding.RediscoveryInterval
}

// refusals are the problems for which a Set is refused: the machine, or the limit of sockets, lacks what it takes.
// Whatever else is wrong, such as an address that another socket holds, leaves that one input or output down.
func (r *Router) refusals(t *mrib.Table, ps []plan.Problem) error {
	e := &RefusalError{}
	for _, p := range ps {
		if p.Setting != "" {
			e.Refusals = append(e.Refusals, Refusal{Setting: p.Setting, Err: p.Err})
			continue
		}
		if !scarce(p.Err) {
			continue
		}
		if p.Output != 0 && r.problems[p.Output].err != nil || p.Output == 0 && r.deaf[p.Point].err != nil {
			continue // it was so before: not this Set's doing
		}
		rule, out := t.Find(p)
		e.Refusals = append(e.Refusals, Refusal{Rule: rule, Output: out, Err: p.Err})
	}
	if len(e.Refusals) == 0 {
		return nil
	}
	return e
}

// refusedEndpoints is an error where c names an endpoint that is an address of this host and that the running configuration
// does not name: copies for it would never leave. At a start, and when the address comes later, it is passed over.
func (r *Router) refusedEndpoints(c *Config) error {
	e := &RefusalError{}
	for _, iface := range slices.Sorted(maps.Keys(c.Endpoints)) {
		for _, is := range c.Endpoints[iface] {
			same := func(was netif.ConfiguredEndpoint) bool { return was.Address == is.Address }
			if r.host.links.IsLocal(is.Address) && !slices.ContainsFunc(r.cfg.Endpoints[iface], same) {
				err := fmt.Errorf("%v is an address of this host", is.Address)
				e.Refusals = append(e.Refusals, Refusal{Interface: iface, Endpoint: is.Address, Err: err})
			}
		}
	}
	if len(e.Refusals) == 0 {
		return nil
	}
	return e
}

// scarce says that err means a lack of descriptors or memory.
func scarce(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
}
