// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math/bits"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/openconfig/gnmi/proto/gnmi_ext"
)

// Intervals of samples.
const (
	MinInterval    = time.Second      // the shortest, and what 0 means
	TargetInterval = 10 * time.Second // of counters where the client leaves the choice to us
	namedCounter   = time.Second      // ON_CHANGE of a counter that the client named
	unnamedCounter = 10 * time.Second // ON_CHANGE of counters below a container
	maxBytes       = 1 << 20          // of one notification, roughly
)

// Mode says when the values of a subscription are sent.
type Mode uint8

// Modes of a stream.
const (
	TargetDefined Mode = iota // sampled leaves each TargetInterval or Interval, the rest on change
	OnChange
	Sample
)

// Subscription is one path of a stream.
type Subscription struct {
	Pattern *Pattern
	Mode    Mode
	// Interval of samples; 0 is the shortest (Sample) or TargetInterval (TargetDefined).
	Interval time.Duration
	// Heartbeat is how often everything is sent though nothing changed; 0: never.
	Heartbeat         time.Duration
	SuppressRedundant bool // Sample: only what changed since it was last sent
}

// Request is what one client wants.
type Request struct {
	Subscriptions []Subscription
	Encoding      Encoding
	UpdatesOnly   bool
	Filter        Filter // Depth, Modules, ConfigOnly and Readable
	// CommitMarks asks for configuration only, and for a ConfigSubscription.sync_done after the changes of each commit.
	CommitMarks bool
	// Prefix goes into each notification; target and origin only.
	Prefix *gpb.Path
	Now    func() time.Time // nil: time.Now
}

// Check says whether the intervals are ones that we can keep.
func (s *Subscription) Check() error {
	if s.Interval != 0 && s.Interval < MinInterval && s.Mode != OnChange {
		return fmt.Errorf("sample_interval %v is shorter than the smallest, %v", s.Interval, MinInterval)
	}
	if s.Heartbeat != 0 && s.Heartbeat < MinInterval {
		return fmt.Errorf("heartbeat_interval %v is shorter than the smallest, %v", s.Heartbeat, MinInterval)
	}
	return nil
}

// Stream is one client's subscriptions.
type Stream struct {
	tree  *Tree
	req   Request
	watch []*watch
	queue *queue
	now   func() time.Time
	out   *notification // that is being made

	first         *Snapshot // from which the initial data comes
	sent, skipped atomic.Uint64

	// sampled is the version of the snapshot that was last sampled from: what appeared later the client does not know.
	sampled atomic.Uint64
}

// watch is a subscription in the trie.
type watch struct {
	stream  *Stream
	pattern *Pattern
	events  bool // changes are wanted, not only deletes
	depth   int
	gate    *gate // nil: all that the pattern matches may be read. Under Tree.mu
}

func newStream(t *Tree, req Request) *Stream {
	s := &Stream{tree: t, req: req, now: req.Now, out: newNotification(req.Encoding, req.Prefix)}
	if s.now == nil {
		s.now = time.Now
	}
	if req.CommitMarks {
		s.req.Filter.ConfigOnly = true
	}
	return s
}

// Subscribe begins a stream: from here on no change is lost. Run it and Close it.
func (t *Tree) Subscribe(req Request) *Stream {
	s := newStream(t, req)
	s.queue = newQueue()
	for i := range req.Subscriptions {
		sub := &req.Subscriptions[i]
		w := &watch{stream: s, pattern: sub.Pattern, events: sub.Mode != Sample, depth: req.Filter.Depth}
		switch req.Filter.Access(t.schema, sub.Pattern) {
		case AccessNone:
			continue
		case AccessSome:
			w.gate = &gate{readable: req.Filter.Readable}
		}
		s.watch = append(s.watch, w)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.streams[s] = struct{}{}
	for _, w := range s.watch {
		t.watched.insert(w.pattern, w)
	}
	s.first = t.snap.Load()
	s.sampled.Store(s.first.version)
	return s
}

// Close ends the stream and frees what waits. It may be called twice.
func (s *Stream) Close() {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	if _, ok := s.tree.streams[s]; !ok {
		return
	}
	delete(s.tree.streams, s)
	for _, w := range s.watch {
		s.tree.watched.remove(w.pattern, w)
	}
}

// Waiting returns the number of values and deletes that the client has not taken yet.
func (s *Stream) Waiting() int { return int(s.queue.count.waiting.Load()) }

// StreamStats are figures of one stream.
type StreamStats struct {
	Sent    uint64 // messages
	Waiting uint64 // values, deletes and marks that wait to be sent
	Merged  uint64 // values that a later one of their leaf replaced before they were sent
	// Dropped counts what was given up because the client did not read: samples that were not taken, each for all its leaves,
	// and what waited when the stream ended with ErrSlow.
	Dropped uint64
}

// Stats returns the figures as they are now. It never blocks, and may be called from any goroutine, also after Close.
func (s *Stream) Stats() StreamStats {
	c := s.queue.count
	return StreamStats{
		Sent: s.sent.Load(), Waiting: uint64(max(c.waiting.Load(), 0)), Merged: c.merged.Load(),
		Dropped: s.skipped.Load() + c.dropped.Load(),
	}
}

// Run sends the initial data, one sync marker, and then what changes, until ctx ends or send fails; it returns that error,
// or ErrSlow. It is the only caller of send.
func (s *Stream) Run(ctx context.Context, transmit func(*Message) error) error {
	send := func(m *Message) error {
		if err := transmit(m); err != nil {
			return err
		}
		s.sent.Add(1)
		return nil
	}
	first := s.first
	s.first = nil
	if !s.req.UpdatesOnly {
		for i := range s.req.Subscriptions {
			if err := s.emit(first, s.req.Subscriptions[i].Pattern, s.req.Filter, false, send); err != nil {
				return err
			}
		}
	}
	if err := send(syncMarker); err != nil {
		return err
	}
	jobs := s.jobs(first)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(s.nextDue(jobs, s.now()))
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.queue.signal:
			if _, err := s.pass(s.queue, send); err != nil {
				return err
			}
		case <-timer.C:
			if err := s.sampleDue(jobs, send); err != nil {
				return err
			}
		}
	}
}

// syncMarker is the same for all: its memory is not of the pool.
var syncMarker = encode(&gpb.SubscribeResponse{Response: &gpb.SubscribeResponse_SyncResponse{SyncResponse: true}})

// syncDone tells that all changes of a commit have been sent.
func syncDone(m *CommitMark) *Message {
	return encode(&gpb.SubscribeResponse{Extension: []*gnmi_ext.Extension{{Ext: &gnmi_ext.Extension_ConfigSubscription{
		ConfigSubscription: &gnmi_ext.ConfigSubscription{Action: &gnmi_ext.ConfigSubscription_SyncDone{
			SyncDone: &gnmi_ext.ConfigSubscriptionSyncDone{
				CommitConfirmId: strings.ToValidUTF8(m.ID, "\uFFFD"), ServerCommitId: strconv.FormatUint(m.Number, 10), Done: true,
			},
		}},
	}}}})
}

// pass sends one message's worth of what waits; false: nothing waits.
func (s *Stream) pass(q *queue, send func(*Message) error) (bool, error) {
	m, err := q.next(s.out)
	if m == nil || err != nil {
		return false, err
	}
	return true, send(m)
}

// flush sends what was collected.
func (s *Stream) flush(send func(*Message) error) error {
	if m := s.out.message(); m != nil {
		return send(m)
	}
	return nil
}

// Once sends all data of a request and then the sync marker: ONCE, and one answer of POLL.
func (t *Tree) Once(req Request, send func(*Message) error) error {
	s := newStream(t, req)
	if !req.UpdatesOnly {
		snap := t.Snapshot()
		for i := range req.Subscriptions {
			if err := s.emit(snap, req.Subscriptions[i].Pattern, s.req.Filter, false, send); err != nil {
				return err
			}
		}
	}
	return send(syncMarker)
}

// emit sends all leaves of a pattern, each with the time of its latest change, or with the time of now where they are a
// sample.
func (s *Stream) emit(snap *Snapshot, p *Pattern, f Filter, sample bool, send func(*Message) error) error {
	return s.emitIf(snap, p, f, sample, nil, send)
}

func (s *Stream) emitIf(
	snap *Snapshot, p *Pattern, f Filter, sample bool, want func(*Hit) bool, send func(*Message) error,
) error {
	now := s.now()
	taken := now.UnixNano()
	var err error
	snap.Select(p, f, now, func(h *Hit) bool {
		if want != nil && !want(h) {
			return true
		}
		at := h.Leaf.Time
		if sample {
			at = taken
		}
		if at != s.out.time || s.out.count >= maxUpdates || len(s.out.body) > maxBytes {
			if err = s.flush(send); err != nil {
				return false
			}
			s.out.time = at
		}
		s.out.leaf(h.it, h.ref, &h.Leaf.Value)
		return true
	})
	if err != nil {
		return err
	}
	return s.flush(send)
}

// job is something that a stream sends at intervals.
type job struct {
	pattern  *Pattern
	filter   Filter
	interval time.Duration
	due      time.Time
	all      bool // also what did not change since it was last sent
	seen     *seen
	size     uint64 // leaves that the latest round sent
}

// jobs makes the timetable of a stream. It begins now, and does not drift: each due time is the one before plus the
// interval, or the next one in that row after a pause.
func (s *Stream) jobs(first *Snapshot) []*job {
	var out []*job
	now := s.now()
	for i := range s.req.Subscriptions {
		sub := &s.req.Subscriptions[i]
		j := &job{pattern: sub.Pattern, filter: s.req.Filter, interval: sub.Interval, all: true}
		switch sub.Mode {
		case Sample:
			j.interval = max(j.interval, MinInterval)
			j.all = !sub.SuppressRedundant
		case TargetDefined:
			j.filter.SampledOnly = true
			if j.interval == 0 {
				j.interval = TargetInterval
			}
		case OnChange:
			j.filter.SampledOnly = true
			j.interval, j.all = unnamedCounter, false
			if nodes := sub.Pattern.nodes; len(nodes) == 1 && nodes[0].leaf {
				j.interval = namedCounter
			}
		}
		if j.filter.SampledOnly && !canSample(sub.Pattern.nodes) {
			j = nil // nothing there is ever sampled
		} else {
			out = append(out, j)
		}
		if j != nil && !j.all {
			j.seen = newSeen()
			if !s.req.UpdatesOnly { // the initial data has been sent
				first.Select(j.pattern, j.filter, now, func(h *Hit) bool { j.seen.changed(h); return true })
				j.seen.turn()
			}
		}
		if sub.Heartbeat > 0 && (sub.Mode == OnChange || sub.Mode == TargetDefined || sub.SuppressRedundant) {
			h := &job{pattern: sub.Pattern, filter: s.req.Filter, interval: sub.Heartbeat, all: true}
			if j != nil {
				h.seen = j.seen
			}
			out = append(out, h)
		}
	}
	for _, j := range out {
		j.due = now.Add(j.interval)
	}
	return out
}

// canSample says whether a sampled leaf can be at or below one of the nodes.
func canSample(nodes []*Node) bool {
	for _, n := range nodes {
		if n.Sampled {
			return true
		}
		for _, c := range n.Children {
			if canSample([]*Node{c}) {
				return true
			}
		}
	}
	return false
}

// nextDue returns how long to wait. A sample that could not be taken for half an interval, since the client did not read, is
// skipped.
func (s *Stream) nextDue(jobs []*job, now time.Time) time.Duration {
	wait := time.Hour
	for _, j := range jobs {
		if late := now.Sub(j.due); late > j.interval/2 {
			s.skipped.Add(j.size * uint64(late/j.interval+1))
			j.advance(now)
		}
		wait = min(wait, j.due.Sub(now))
	}
	return max(wait, 0)
}

// sampleDue sends the samples that are due. The snapshot and what waits are taken at one moment, and what waits goes out
// first: it is older than the sample.
func (s *Stream) sampleDue(jobs []*job, send func(*Message) error) error {
	now := s.now()
	var due []*job
	for _, j := range jobs {
		if !j.due.After(now) {
			due = append(due, j)
			j.advance(now)
		}
	}
	if len(due) == 0 {
		return nil
	}
	s.tree.mu.Lock()
	snap, older := s.tree.snap.Load(), s.queue.take()
	s.sampled.Store(snap.version)
	if s.tree.floor.Before(now) {
		s.tree.floor = now
	}
	s.tree.mu.Unlock()
	for {
		if more, err := s.pass(older, send); err != nil {
			return err
		} else if !more {
			break
		}
	}
	for _, j := range due {
		j.size = 0
		if err := s.emitIf(snap, j.pattern, j.filter, true, j.want, send); err != nil {
			return err
		}
		j.seen.turn()
	}
	return nil
}

// advance moves to the first due time after now.
func (j *job) advance(now time.Time) {
	j.due = j.due.Add(now.Sub(j.due).Truncate(j.interval) + j.interval)
}

// want says whether a leaf is to be sent now.
func (j *job) want(h *Hit) bool {
	if changed := j.seen == nil || j.seen.changed(h); !changed && !j.all {
		return false
	}
	j.size++
	return true
}

// seen remembers the values that were sent in the latest round, by hash: 16 bytes a leaf.
type seen struct {
	seed      maphash.Seed
	last, now map[uint64]uint64

	it *item // the latest, and the hash of its path
	at uint64
}

func newSeen() *seen {
	return &seen{seed: maphash.MakeSeed(), last: map[uint64]uint64{}, now: map[uint64]uint64{}}
}

// changed notes the value of a leaf and says whether it differs from the one of the round before. One that was gone in
// between, and may be back before anybody looked, is new.
func (s *seen) changed(h *Hit) bool {
	if s.it != h.it {
		s.it, s.at = h.it, maphash.String(s.seed, h.it.key)
	}
	key := s.at ^ bits.RotateLeft64(maphash.String(s.seed, h.ref.name), 1)
	var buf [64]byte
	text := binary.LittleEndian.AppendUint64(buf[:0], h.it.counted)
	val := maphash.Bytes(s.seed, h.Node.appendValue(text, EncodingJSON, h.Leaf.Value))
	old, ok := s.last[key]
	s.now[key] = val
	return !ok || old != val
}

// turn ends a round: what did not come up in it is forgotten.
func (s *seen) turn() {
	if s != nil {
		s.last, s.now = s.now, s.last
		clear(s.now)
	}
}
