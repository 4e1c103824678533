// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
	"mcr/dataplane/sock"
	"mcr/dataplane/uring"
)

// maxOutputs is what the dataplane is made for.
const maxOutputs = 131072

// ErrClosed is returned by Prepare after Run has ended.
var ErrClosed = errors.New("the dataplane has ended")

// Config of an Engine. The zero value works.
type Config struct {
	Log   *slog.Logger     // nil: nothing is logged
	Clock func() time.Time // nil: time.Now

	without uring.Feature // taken as missing, for tests
}

// Engine is the dataplane. It begins with an empty Plan.
type Engine struct {
	log     *slog.Logger
	clock   func() time.Time
	cpus    []int         // that may be used
	procs   int           // Go's processors, see processors
	spare   bool          // there is one more of them than procs; under prepMu
	shards  []*shard      // as many
	seats   []*seat       // one for each worker that there can be
	restart chan struct{} // other workers are wanted
	spread  int           // outputs of a list on each of its shards before it takes another one
	events  chan plan.Event
	notice  chan struct{} // some worker has notices
	snmp    *os.File      // /proc/net/snmp of this namespace; nil: not readable

	queueFull atomic.Uint64 // UdpRcvbufErrors of the namespace when it was last read

	support      uring.Support // features of io_uring
	uringErr     error         // why there is no io_uring
	segmentErr   error         // why nothing is segmented
	common       []string      // features in use whatever the engine
	segmentLimit int           // datagrams in one segmented send that the kernel takes

	// infoMu guards info, what Info tells; workers write when they adopt. Leaf lock.
	infoMu sync.Mutex
	info   plan.Info

	// prepMu is held by Prepare, Commit and Discard, and by the janitor where it changes memberships. It comes before mu.
	prepMu   sync.Mutex
	prepared *prep // neither committed nor discarded
	ports    ports
	egresses map[egressKey]*egress

	learners *learners

	// mu guards what follows, and the control fields of points, lists and outputs: to write takes prepMu and mu, to read
	// either. Workers take neither.
	mu      sync.RWMutex
	plan    *plan.Plan
	set     settings
	points  map[plan.PointKey]*inlet // receive points and learners
	lists   map[plan.ListID]*list
	outputs map[plan.OutputID]*output
	groups  map[plan.PointKey]*portGroup // of inlets, by the key of what would be their port learner
	workers []*worker                    // that serve; none before Run and while they are restarted
	waiting []*adoption                  // for other workers
	sockets int                          // open: outputs and points
	files   int                          // descriptors of the process
	limit   int                          // sockets of the dataplane; the rest is the process's
	running bool
	closed  bool
	retired []*adoption // for the janitor, oldest first
	retire  chan struct{}
}

// Open finds out what this kernel and this sandbox allow, and returns an Engine that does nothing yet. Sockets will be
// made in the network namespace of the thread that calls Prepare, which should be that of this one.
func Open(c Config) (*Engine, error) {
	cpus := usableCPUs()
	n := len(cpus)
	e := &Engine{
		log: c.Log, clock: c.Clock,
		events: make(chan plan.Event, 16), notice: make(chan struct{}, 1), retire: make(chan struct{}, 1), restart: make(chan struct{}, 1),
		plan: &plan.Plan{}, set: settingsOf(plan.Settings{}, n), cpus: cpus, procs: runtime.GOMAXPROCS(0), spread: spreadFrom, points: map[plan.PointKey]*inlet{}, lists: map[plan.ListID]*list{},
		outputs: map[plan.OutputID]*output{}, groups: map[plan.PointKey]*portGroup{}, egresses: map[egressKey]*egress{}, ports: ports{},
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if e.clock == nil {
		e.clock = time.Now
	}
	ls, err := openLearners(e.log, e.notice)
	if err != nil {
		return nil, err
	}
	e.learners = ls
	e.files = fileLimit()
	e.limit = e.files * 9 / 10
	e.probe(c.without)
	for i := range n {
		seat, err := newSeat(i, e.notice)
		if err != nil {
			e.shut()
			return nil, err
		}
		e.seats = append(e.seats, seat)
		e.shards = append(e.shards, newShard(e, i))
	}
	if f, err := os.Open("/proc/thread-self/net/snmp"); err == nil {
		e.snmp = f
	}
	return e, nil
}

// fileLimit is how many descriptors we may have, as far as we can use them.
func fileLimit() int {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return 1024
	}
	return int(min(r.Cur, 2*maxOutputs))
}

// probe tries what may be missing.
func (e *Engine) probe(without uring.Feature) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	i := &e.info
	i.SocketLimit, i.Kernel = e.limit, kernelRelease()
	if s, err := uring.Probe(without); err != nil {
		e.uringErr, i.Missing = err, []string{"io-uring: " + err.Error()}
	} else {
		e.support, i.Missing = *s, s.Missing()
	}
	if e.segmentLimit = sock.SegmentLimit(); e.segmentLimit < sock.MaxSegments {
		i.Missing = append(i.Missing, fmt.Sprintf("udp-gso-%d: the kernel takes %d segments", sock.MaxSegments, e.segmentLimit))
	}
	e.common = []string{"udp-gro"}
	err := sock.CheckSegmentation()
	switch {
	case errors.Is(err, sock.ErrDamaged):
		e.segmentErr = err
		i.Missing = append(i.Missing, "udp-gso: "+err.Error())
		e.log.Warn("segmentation is off: the kernel damages segmented datagrams", "err", err)
		return
	case err != nil:
		e.log.Info("segmentation not checked", "err", err)
	}
	e.common = append(e.common, "udp-gso")
	if e.segmentLimit == sock.MaxSegments {
		e.common = append(e.common, fmt.Sprintf("udp-gso-%d", sock.MaxSegments))
	}
}

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// tell changes what Info returns.
func (e *Engine) tell(f func(*plan.Info)) {
	e.infoMu.Lock()
	defer e.infoMu.Unlock()
	f(&e.info)
}

// Run moves datagrams until ctx ends. It returns when all has ended and every socket is closed; an Engine runs once.
func (e *Engine) Run(ctx context.Context) error {
	e.mu.Lock()
	if e.running || e.closed {
		e.mu.Unlock()
		return ErrClosed
	}
	e.running = true
	e.mu.Unlock()
	defer e.shut()

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return e.supervise(ctx, g) })
	g.Go(func() error { return e.notifier(ctx) })
	g.Go(func() error { return e.janitor(ctx) })
	g.Go(func() error { return e.spareProcessor(ctx) })
	g.Go(func() error { return e.learners.run(ctx) })
	return g.Wait()
}

// Close gives back what Open took, for an Engine that does not run. Safe twice, and after Run.
func (e *Engine) Close() error {
	e.mu.RLock()
	running := e.running
	e.mu.RUnlock()
	if running {
		return errors.New("the dataplane runs: end its context")
	}
	e.shut()
	return nil
}

// Info describes the running dataplane.
func (e *Engine) Info() plan.Info {
	e.infoMu.Lock()
	i := e.info
	e.infoMu.Unlock()
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, in := range e.points {
		i.InputSockets += in.sockets()
	}
	for _, w := range e.workers {
		i.Workers = append(i.Workers, w.info())
	}
	i.OutputSockets = e.sockets - i.InputSockets
	return i
}
