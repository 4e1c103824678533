// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

const (
	// coalesce is how long the monitor waits for more messages before it reads the truth.
	coalesce = 5 * time.Millisecond
	// longest is the same where links come and go all the time: what is read took a share of the time, not all of it.
	longest = 250 * time.Millisecond
	// again is how long it waits after the kernel gave no answer.
	again = time.Second
)

// Event says what changed since the one before. Unless All is set, only links in Touched differ from its snapshot.
//
// A link that was deleted, or left the namespace, is always told as missing once, although one of its index and name may
// be back by then: sockets that were bound to it, and memberships, are not.
type Event struct {
	Snapshot *Snapshot
	Touched  map[plan.IfIndex]bool // links of which the kernel said anything, also where the snapshot shows no difference
	Prefixes []netip.Prefix        // destinations whose route changed
	All      bool                  // an overrun, a rule change or an audit: trust nothing that was known

	alone bool // it tells of a link that is missing and will be back: nothing newer may be folded in
}

// Monitor follows one network namespace.
type Monitor struct {
	log    *slog.Logger
	handle *netlink.Handle // answers questions about routes
	heard  *os.File        // where notices come in
	conn   *conn           // of follow, like wg and told
	wg     *peerReader
	told   *Snapshot // what was received last
	doubts *doubts
	events chan Event
	audit  chan time.Duration
	queues *queues

	mu   sync.Mutex
	last *Snapshot
}

// Open subscribes to the calling thread's network namespace and reads it once. Run must follow.
func Open(log *slog.Logger) (m *Monitor, err error) {
	m = &Monitor{
		log: log, wg: newPeerReader(log), doubts: newDoubts(), last: NewSnapshot(), told: NewSnapshot(),
		events: make(chan Event), audit: make(chan time.Duration, 1),
	}
	defer func() {
		if err != nil {
			_ = m.Close()
			m = nil
		}
	}()
	var fd int
	if fd, m.heard, err = openRoute(unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV4_RULE); err != nil {
		return m, err
	}
	// Forced where allowed; an overrun is survived either way.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20)
	}
	if m.conn, err = openConn(); err != nil {
		return m, err
	}
	if m.handle, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return m, fmt.Errorf("open rtnetlink: %w", err)
	}
	if m.queues, err = openQueues(); err != nil {
		return m, err
	}
	d := newDoubt()
	d.all = true
	if _, err = m.read(d); err != nil {
		return m, err
	}
	m.told = m.last
	return m, nil
}

// Close gives the sockets back; Run does it at its end. It may be called again.
func (m *Monitor) Close() error {
	if m.heard != nil {
		_ = m.heard.Close()
	}
	if m.conn != nil {
		_ = m.conn.file.Close()
	}
	if m.handle != nil {
		m.handle.Close()
	}
	if m.queues != nil {
		m.queues.socket.Close()
	}
	m.wg.close()
	return nil
}

// Snapshot returns the latest snapshot.
func (m *Monitor) Snapshot() *Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last
}

// Events delivers what changed, oldest first. While nobody receives, changes are folded into one event.
func (m *Monitor) Events() <-chan Event { return m.events }

// SetAudit sets how often everything is read anew without an event. It may be called from any goroutine.
func (m *Monitor) SetAudit(d time.Duration) {
	for {
		select {
		case m.audit <- d:
			return
		case <-m.audit: // an older wish that was not seen yet
		}
	}
}

// Run follows the kernel until ctx ends.
func (m *Monitor) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		<-ctx.Done()
		_ = m.heard.Close() // ends receive
		return nil
	})
	g.Go(func() error { return m.receive(ctx) })
	g.Go(func() error { return m.follow(ctx) })
	err := g.Wait()
	_ = m.Close()
	return err
}

// receive notes what kernel messages make doubtful. An overrun makes everything so: the socket goes on.
func (m *Monitor) receive(ctx context.Context) error {
	buf := make([]byte, datagram)
	for {
		n, err := m.heard.Read(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			m.doubts.everything()
		case err != nil:
			return fmt.Errorf("receive from rtnetlink: %w", err)
		default:
			m.doubts.hear(buf[:n])
		}
	}
}

// hear takes in a datagram. Only the kernel, and who may change links anyway, can send one.
func (d *doubts) hear(b []byte) {
	for len(b) > 0 {
		msg, rest, ok := cut(b)
		if !ok { // cut off
			d.everything()
			return
		}
		if h, ok := parseHint(msg.typ, msg.data); ok {
			d.add(h)
		}
		b = rest
	}
}

// follow reads the truth about what is in doubt, and offers it to the receiver of Events.
func (m *Monitor) follow(ctx context.Context) error {
	var (
		pending *Event
		settle  <-chan time.Time
		rest    time.Time // until then the latest reading is paid for
		failing bool
		audit   = time.NewTicker(30 * time.Second)
	)
	defer audit.Stop()
	for {
		var out chan<- Event
		var next Event
		ripe := settle
		if pending != nil {
			out, next = m.events, *pending
			if pending.alone {
				ripe = nil
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-m.doubts.wake:
			if settle == nil {
				settle = time.After(max(coalesce, time.Until(rest)))
			}
		case <-ripe:
			settle = nil
			begin := time.Now()
			ev, err := m.refresh()
			if err != nil && !failing {
				m.log.Error("interfaces could not be read; using what was known", "err", err)
			}
			if failing = err != nil; failing {
				settle = time.After(again)
				continue
			}
			pending = pending.fold(ev)
			rest = time.Now().Add(min(longest, 4*time.Since(begin)))
		case <-audit.C:
			m.doubts.everything()
		case d := <-m.audit:
			audit.Reset(d)
		case out <- next:
			pending, m.told = nil, next.Snapshot
		}
	}
}

// fold adds a later event to one that nobody has received yet; e is nil where there is none.
func (e *Event) fold(o *Event) *Event {
	if e == nil {
		return o
	}
	for i := range e.Touched {
		o.Touched[i] = true
	}
	o.All = o.All || e.All
	if o.Prefixes = append(e.Prefixes, o.Prefixes...); len(o.Prefixes) > mostPrefixes {
		o.All, o.Prefixes = true, nil
	}
	return o
}
