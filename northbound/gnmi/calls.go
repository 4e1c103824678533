// SPDX-License-Identifier: Apache-2.0

package gnmi

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/codes"

	"mcr/northbound/telemetry"
)

const (
	// callPace is how often calls may change the tree, and how long one must have run to be in it: calls that come and go are
	// counted under rpcs, and cause no event. A stream, which stays, is in the tree from its beginning if the pace allows.
	callPace = time.Second
	maxPaths = 16 // of a call that are told
)

// calls tells the tree of the service itself: /mcr/system/clients, rpcs and gnmi (G127).
type calls struct {
	tree    *telemetry.Tree
	now     func() time.Time
	slow    time.Duration
	fail    func(error)
	wake    chan struct{} // has one element while the tree may have to be told something
	dropped atomic.Uint64 // clients that took nothing

	mu      sync.Mutex
	last    uint64    // number of the latest call
	told    time.Time // when the tree was last changed
	running map[uint64]*call
	gone    []telemetry.Path // of calls that are in the tree and have ended
	counts  map[outcome]*atomic.Uint64
	fresh   []outcome // not in the tree yet
}

// outcome is how a call ended.
type outcome struct {
	rpc  string
	code string // by gRPC's name, such as OK or INVALID_ARGUMENT
}

// call is one that runs. All but the figures is settled before it is in the tree.
type call struct {
	id       uint64
	who      client
	rpc      string
	mode     string
	encoding string
	paths    []string
	since    time.Time
	stays    bool // a stream
	shown    bool // in the tree; under calls.mu

	sent   atomic.Uint64
	stream atomic.Pointer[telemetry.Stream] // nil but for a STREAM
}

// asks notes a path that is asked for; false: no more are taken.
func (k *call) asks(path string) bool {
	if len(k.paths) < maxPaths {
		k.paths = append(k.paths, clip(path, maxFault))
	}
	return len(k.paths) < maxPaths
}

func newCalls(cfg *Config, fail func(error)) *calls {
	c := &calls{
		tree: cfg.Tree, now: cfg.Now, slow: cfg.SlowClient, fail: fail, wake: make(chan struct{}, 1),
		running: map[uint64]*call{}, counts: map[outcome]*atomic.Uint64{},
	}
	return c
}

// begin notes a call. For one that stays the tree is told at once, if the pace allows, so that it is there before the stream's
// own first data.
func (c *calls) begin(k *call) *call {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	k.id, k.since = c.last, c.now()
	if k.mode == "" {
		k.mode = "none"
	}
	c.running[k.id] = k
	if k.stays && c.now().Sub(c.told) >= callPace {
		c.tell()
	} else {
		c.poke()
	}
	return k
}

func (c *calls) end(k *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.running, k.id)
	if k.shown {
		c.gone = append(c.gone, k.path())
		c.poke()
	}
}

// count notes how a call ended.
func (c *calls) count(rpc string, result codes.Code) {
	if rpc == "" {
		return
	}
	o := outcome{rpc, code.Code(result).String()}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.counts[o]
	if n == nil {
		n = &atomic.Uint64{}
		c.counts[o] = n
		c.fresh = append(c.fresh, o)
		c.poke()
	}
	n.Add(1)
}

func (c *calls) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run tells the tree what changed, once per callPace at most, until ctx ends. Nothing happens while nobody calls.
func (c *calls) run(ctx context.Context) error {
	c.service()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		}
		c.mu.Lock()
		wait := callPace - c.now().Sub(c.told)
		c.mu.Unlock()
		pause.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-pause.C:
		}
		c.mu.Lock()
		c.tell()
		c.mu.Unlock()
	}
}

// tell changes the tree. It is called with the lock held.
func (c *calls) tell() {
	now := c.now()
	ch := telemetry.Changes{Time: now, Delete: c.gone}
	later := false
	for _, id := range slices.Sorted(maps.Keys(c.running)) {
		switch k := c.running[id]; {
		case k.shown:
		case k.stays || now.Sub(k.since) >= callPace:
			k.shown = true
			ch.Update = append(ch.Update, k.unit())
		default:
			later = true
		}
	}
	for _, o := range c.fresh {
		ch.Update = append(ch.Update, o.unit(c.counts[o]))
	}
	c.gone, c.fresh, c.told = nil, nil, now
	if len(ch.Update)+len(ch.Delete) > 0 {
		if err := c.tree.Apply(ch); err != nil {
			c.fail(err)
		}
	}
	if later {
		c.poke()
	}
}

// service tells what holds for the life of the server.
func (c *calls) service() {
	u := &telemetry.Unit{
		Path: systemPath("gnmi"),
		Leaves: []telemetry.Leaf{
			{Name: "client-timeout", Value: telemetry.Uint(uint64(c.slow / time.Second))},
			{Name: "minimum-sample-interval", Value: telemetry.Uint(uint64(telemetry.MinInterval / time.Millisecond))},
		},
		Sample: func(dst []telemetry.Leaf) []telemetry.Leaf {
			return append(dst, telemetry.Leaf{Name: "counters/dropped-clients", Value: telemetry.Uint(c.dropped.Load())})
		},
	}
	if err := c.tree.Apply(telemetry.Changes{Time: c.now(), Update: []*telemetry.Unit{u}}); err != nil {
		c.fail(err)
	}
}

// systemPath is /mcr/system/…/state.
func systemPath(elems ...any) telemetry.Path {
	p := telemetry.Path{{Name: "mcr"}, {Name: "system"}}
	for _, e := range append(elems, "state") {
		switch e := e.(type) {
		case string:
			p = append(p, telemetry.Elem{Name: e})
		case telemetry.Elem:
			p = append(p, e)
		}
	}
	return p
}

func (k *call) path() telemetry.Path {
	return systemPath("clients", telemetry.Elem{Name: "client", Keys: []telemetry.Key{{Name: "id", Value: strconv.FormatUint(k.id, 10)}}})
}

func (k *call) unit() *telemetry.Unit {
	leaves := []telemetry.Leaf{
		{Name: "address", Value: telemetry.String(k.who.address)},
		{Name: "encoding", Value: telemetry.String(k.encoding)},
		{Name: "id", Value: telemetry.Uint(k.id)},
		{Name: "mode", Value: telemetry.String(k.mode)},
		{Name: "paths", Value: telemetry.Strings(k.paths)},
		{Name: "rpc", Value: telemetry.String(k.rpc)},
		{Name: "since", Value: telemetry.Moment(k.since)},
		{Name: "user", Value: telemetry.String(k.who.user)},
	}
	leaves = slices.DeleteFunc(leaves, func(l telemetry.Leaf) bool { // what is not known is absent
		return l.Value.Kind == telemetry.KindString && l.Value.Str == "" || l.Value.Kind == telemetry.KindStrings && len(l.Value.Strs()) == 0
	})
	return &telemetry.Unit{Path: k.path(), Leaves: leaves, Sample: k.sample}
}

// sample reads the figures of a call.
func (k *call) sample(dst []telemetry.Leaf) []telemetry.Leaf {
	var st telemetry.StreamStats
	if s := k.stream.Load(); s != nil {
		st = s.Stats()
	}
	return append(dst,
		telemetry.Leaf{Name: "counters/dropped", Value: telemetry.Uint(st.Dropped)},
		telemetry.Leaf{Name: "counters/merged", Value: telemetry.Uint(st.Merged)},
		telemetry.Leaf{Name: "counters/sent", Value: telemetry.Uint(k.sent.Load())},
		telemetry.Leaf{Name: "counters/waiting", Value: telemetry.Uint(st.Waiting)},
	)
}

func (o outcome) unit(n *atomic.Uint64) *telemetry.Unit {
	keys := []telemetry.Key{{Name: "name", Value: o.rpc}, {Name: "code", Value: o.code}}
	return &telemetry.Unit{
		Path: systemPath("rpcs", telemetry.Elem{Name: "rpc", Keys: keys}),
		Leaves: []telemetry.Leaf{
			{Name: "code", Value: telemetry.String(o.code)},
			{Name: "name", Value: telemetry.String(o.rpc)},
		},
		Sample: func(dst []telemetry.Leaf) []telemetry.Leaf {
			return append(dst, telemetry.Leaf{Name: "counters/calls", Value: telemetry.Uint(n.Load())})
		},
	}
}
