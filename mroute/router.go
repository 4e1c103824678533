// SPDX-License-Identifier: Apache-2.0

package mroute

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
	"mcr/mroute/mrib"
	"mcr/mroute/netif"
)

// forwarder is all that the Router wants from a dataplane.
type forwarder interface {
	Prepare(*plan.Plan) (plan.Adoption, error)
	Output(plan.OutputID) (plan.OutputCounters, plan.OutputStatus, bool)
	List(plan.ListID) (plan.ListCounters, bool)
	Point(plan.PointKey) (plan.PointCounters, bool)
	Totals() plan.TotalCounters
	Info() plan.Info
	Events() <-chan plan.Event
	// LinksChanged tells of links that are not what they were: what they refused may work now. It says whether anything
	// was refused.
	LinksChanged(map[plan.IfIndex]bool) bool
}

// interfaces is all that it wants from the host.
type interfaces interface {
	Snapshot() *netif.Snapshot
	Events() <-chan netif.Event
	Route(netip.Addr, *netif.Link) (netip.Addr, error)
	SetAudit(time.Duration)
	Filtered(netip.Addr, *netif.Link) bool
}

// strays sees streams on whatever interface they arrive.
type strays interface {
	Look(groups []netip.Addr) error
	Seen() map[plan.Sight]bool
}

// ErrStopped is returned by calls after Run has ended.
var ErrStopped = errors.New("the router has stopped")

// adoptionWait is how long a commit waits for the workers; after that the lag shows in state alone.
const adoptionWait = time.Second

// Options of a Router.
type Options struct {
	Log       *slog.Logger
	Dataplane forwarder
	Netif     interfaces
	Strays    strays // nil: a stream on the wrong interface is not told from silence
	// Publish gets every batch of state changes that no transaction caused, in order, on the router's loop. It must
	// not block.
	Publish func(Batch)
	Clock   func() time.Time // nil: time.Now
}

// Router is the control plane. Run owns its state.
type Router struct {
	dp      forwarder
	net     interfaces
	strays  *strayWatch
	publish func(Batch)
	now     func() time.Time
	warn    *transitions

	calls chan func(context.Context)
	done  chan struct{}

	// What follows belongs to the loop.
	cfg      *Config
	table    *mrib.Table
	host     *host
	problems map[plan.OutputID]problem // outputs whose socket could not be opened
	deaf     map[plan.PointKey]problem // receive points without a socket
	faults   map[plan.OutputID]fault   // outputs that the dataplane has something to say of
	inputs   map[string]*inputWatch    // by rule
	learning learning
	csum     uint64 // wrong checksums in the namespace, at the last look
	loops    loops
	bounds   boundaries
	seen     published
	adopted  <-chan struct{} // other workers will serve then; nil: none are expected
	protocol map[ProtocolInterface]mrib.Reason
	flagless map[string]bool // interfaces without IFF_MULTICAST that multicast is sent on
}

// problem is something that could not be opened. It lasts until another pointer is handed over.
type problem struct {
	err   error
	out   *plan.Output // of an output
	point *plan.Point  // of a receive point
}

// fault is an OutputStatus that keeps an output from being up.
type fault struct {
	reason mrib.Reason
	err    error
}

// New returns a Router with an empty configuration; Run must follow.
func New(o Options) *Router {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return &Router{
		dp: o.Dataplane, net: o.Netif, strays: newStrayWatch(o.Strays), publish: o.Publish, now: o.Clock, warn: newTransitions(o.Log, o.Clock),
		calls: make(chan func(context.Context)), done: make(chan struct{}),
		cfg: &Config{}, table: &mrib.Table{}, host: newHost(o.Netif),
		problems: map[plan.OutputID]problem{}, deaf: map[plan.PointKey]problem{}, faults: map[plan.OutputID]fault{},
		inputs: map[string]*inputWatch{}, seen: newPublished(), learning: learning{ports: map[plan.PointKey]*portWatch{}},
		loops: loops{}, bounds: newBoundaries(),
	}
}

// Run is the loop. It returns when ctx ends.
func (r *Router) Run(ctx context.Context) error {
	defer close(r.done)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	r.start()
	for {
		select {
		case <-ctx.Done():
			return nil
		case call := <-r.calls:
			call(ctx)
		case ev := <-r.net.Events():
			r.linksChanged(ev)
		case ev := <-r.dp.Events():
			r.dataplaneChanged(ev)
		case <-r.adopted:
			r.adopted = nil
			b := r.batch()
			r.publishGlobal(&b)
			r.emit(b)
		case <-r.learning.due:
			r.learn()
		case <-tick.C:
			r.tick()
		}
	}
}

// start publishes what is known before the first configuration.
func (r *Router) start() {
	r.csum = r.dp.Totals().ChecksumErrors
	b := r.batch()
	r.publishLinks(&b)
	r.publishAllEndpoints(&b)
	r.publishGlobal(&b)
	r.emit(b)
}

// linksChanged brings inputs and outputs in line with what the host looks like now.
func (r *Router) linksChanged(ev netif.Event) {
	old := r.host.links
	c, ends := r.host.update(ev)
	again := r.dp.LinksChanged(changedLinks(old, ev))
	r.restage(c, func(b *Batch) {
		r.publishLinks(b)
		for name := range b.Links {
			r.publishEndpoint(b, name)
		}
		for name := range ends {
			r.publishEndpoint(b, name)
		}
		r.warnFlagless()
	})
	if again {
		b := r.batch()
		r.publishEgress(&b)
		r.publishSegmentation(&b)
		r.emit(b)
	}
}

// restage applies a change that no transaction asked for: it cannot be refused, only leave things down. tell, if not nil, adds to what is
// published.
func (r *Router) restage(c mrib.Change, tell func(*Batch)) {
	next := r.stage(r.table, r.cfg, c)
	b := r.batch()
	if next != r.table {
		var a plan.Adoption
		var err error
		next, a, err = r.prepare(next, r.cfg)
		switch {
		case err != nil:
			r.warn.log.Error("the dataplane refused a table; the old one stays", "err", err)
		case inVain(c, a.Problems()):
			a.Discard() // nobody need hear of a table that is no better
		default:
			r.install(r.cfg, next, a, &b)
		}
	}
	if tell != nil {
		tell(&b)
	}
	r.emit(b)
}

// prepare has the dataplane prepare a table. Where another socket holds the address of a receive point that leaves us the
// choice, it is the table with another method for that point, which is returned.
func (r *Router) prepare(t *mrib.Table, c *Config) (*mrib.Table, plan.Adoption, error) {
	for {
		a, err := r.dp.Prepare(r.plan(t, c))
		if err != nil {
			return t, nil, err
		}
		taken := map[plan.PointKey]bool{}
		for _, p := range a.Problems() {
			if p.Output == 0 && errors.Is(p.Err, unix.EADDRINUSE) && t.Choice(p.Point) {
				taken[p.Point] = true
			}
		}
		if len(taken) == 0 {
			return t, a, nil
		}
		a.Discard()
		t = r.stage(t, c, mrib.Change{Taken: taken})
	}
}

// inVain says that the change was a retry alone, and that everything it tried failed again.
func inVain(c mrib.Change, ps []plan.Problem) bool {
	if len(c.Retry)+len(c.Again) == 0 {
		return false
	}
	failed := 0
	for _, p := range ps {
		if c.Retry[p.Output] || c.Again[p.Point] {
			failed++
		}
	}
	return failed >= len(c.Retry)+len(c.Again)
}

// plan is what the dataplane is told to do.
func (r *Router) plan(t *mrib.Table, c *Config) *plan.Plan {
	off := map[plan.IfIndex]bool{}
	for name := range c.GSOOff {
		if l := r.host.links.Link(name); l != nil {
			off[l.Index] = true
		}
	}
	return &plan.Plan{
		Version: t.Version, Points: t.Points(),
		Settings: plan.Settings{
			Engine: c.Engine, Workers: c.Workers, CPUs: c.CPUs,
			RingEntries: c.RingEntries, ReceiveBuffers: c.ReceiveBuffers, ReceiveSocketBuffer: c.ReceiveSocketBuffer,
			GSOMaxSegments: c.GSOMaxSegments, GSOOff: off,
			MaximumSockets: int(c.Forwarding.MaximumSockets),
			Coalesce:       c.Coalesce, BusyPoll: c.BusyPoll, ZeroCopy: c.ZeroCopy,
		},
	}
}

// install commits what was prepared and tells what changed. The channel closes when the workers have adopted it.
func (r *Router) install(c *Config, next *mrib.Table, a plan.Adoption, b *Batch) <-chan struct{} {
	adopted := a.Commit()
	oldCfg, old := r.cfg, r.table
	r.cfg, r.table = c, next
	r.noteProblems(a.Problems())
	r.publishTable(b, oldCfg, old)
	r.publishGlobal(b)
	return adopted
}

// noteProblems brings what is known of sockets that could not be opened in line with the table. Prepare tells of what it
// tried, which is what has another pointer than before.
func (r *Router) noteProblems(ps []plan.Problem) {
	problems, deaf := map[plan.OutputID]problem{}, map[plan.PointKey]problem{}
	for _, p := range ps {
		switch {
		case p.Setting != "":
			r.warn.log.Warn("a setting of the dataplane is clipped", "setting", p.Setting, "err", p.Err)
		case p.Output != 0:
			problems[p.Output] = problem{err: p.Err}
		default:
			deaf[p.Point] = problem{err: p.Err}
		}
	}
	if len(problems)+len(r.problems) > 0 {
		for _, e := range r.table.Entries {
			for _, m := range e.Members {
				inherit(problems, r.problems, m.ID(), func(p *problem) bool { return p.out == m.Plan }, func(p *problem) { p.out = m.Plan })
			}
		}
	}
	if len(deaf)+len(r.deaf) > 0 {
		for _, pt := range r.table.Points() {
			inherit(deaf, r.deaf, pt.PointKey, func(p *problem) bool { return p.point == pt }, func(p *problem) { p.point = pt })
		}
	}
	r.problems, r.deaf = problems, deaf
}

// inherit completes the problem of k in now: an old one stays while the same pointer stands.
func inherit[K comparable](now, before map[K]problem, k K, same func(*problem) bool, mark func(*problem)) {
	is, again := now[k]
	if !again {
		if is, again = before[k]; !again || !same(&is) {
			return
		}
	}
	mark(&is)
	now[k] = is
}

// tick does what no event tells: stream watching, retries, and the counters that changed state.
func (r *Router) tick() {
	if c, ok := r.retries(); ok {
		r.restage(c, nil)
	}
	r.watchPorts()
	r.reclaim()
	r.loopsOver()
	r.countKept()
	b := r.batch()
	r.reviewFaults(&b)
	r.watchInputs(&b)
	r.publishGlobal(&b)
	r.emit(b)
	r.warn.flush()
}

// retries asks for a new try of what could not be opened: a bounded number at a time.
func (r *Router) retries() (mrib.Change, bool) {
	const most = 256
	c := mrib.Change{Retry: map[plan.OutputID]bool{}, Again: map[plan.PointKey]bool{}}
	for id := range r.problems {
		if len(c.Retry) == most {
			break
		}
		c.Retry[id] = true
	}
	for k := range r.deaf {
		if len(c.Again) == most {
			break
		}
		c.Again[k] = true
	}
	return c, len(c.Retry)+len(c.Again) > 0
}

// emit hands a batch over, if it says anything.
func (r *Router) emit(b Batch) {
	if !b.empty() {
		r.publish(b)
	}
}
