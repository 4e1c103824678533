// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

// coalesce is how long the monitor waits for more messages before it reads the truth.
const coalesce = 5 * time.Millisecond

// Event says what changed since the one before.
type Event struct {
	Snapshot *Snapshot
	Touched  map[plan.IfIndex]bool // links of which the kernel said anything, also where the snapshot shows no difference
	Prefixes []netip.Prefix        // destinations whose route changed
	All      bool                  // an overrun, a rule change or an audit: trust nothing that was known
}

// Monitor follows one network namespace.
type Monitor struct {
	log    *slog.Logger
	handle *netlink.Handle
	socket *nl.NetlinkSocket
	events chan Event
	audit  chan time.Duration
	queues *queues

	mu   sync.Mutex
	last *Snapshot
}

// Open subscribes to the calling thread's network namespace and reads it once. Run must follow.
func Open(log *slog.Logger) (*Monitor, error) {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV4_RULE)
	if err != nil {
		return nil, fmt.Errorf("subscribe to rtnetlink: %w", err)
	}
	// Forced where allowed; an overrun is survived either way.
	if s.SetReceiveBufferSize(4<<20, true) != nil {
		_ = s.SetReceiveBufferSize(4<<20, false)
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	q, err := openQueues()
	if err != nil {
		s.Close()
		h.Close()
		return nil, err
	}
	m := &Monitor{log: log, handle: h, socket: s, queues: q, events: make(chan Event), audit: make(chan time.Duration, 1)}
	if m.last, err = m.dump(nil); err != nil {
		_ = m.Close()
		return nil, err
	}
	return m, nil
}

// Close gives the sockets back; Run does it at its end. It may be called again.
func (m *Monitor) Close() error {
	m.socket.Close()
	m.handle.Close()
	m.queues.socket.Close()
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

// hint is one message from the kernel, reduced to what it makes doubtful.
type hint struct {
	index  plan.IfIndex
	prefix netip.Prefix
	all    bool
}

// Run follows the kernel until ctx ends.
func (m *Monitor) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	hints := make(chan hint, 256)
	g.Go(func() error {
		<-ctx.Done()
		m.socket.Close() // ends receive
		return nil
	})
	g.Go(func() error { return m.receive(ctx, hints) })
	g.Go(func() error {
		defer m.handle.Close()
		defer m.queues.socket.Close()
		return m.follow(ctx, hints)
	})
	return g.Wait()
}

// receive turns kernel messages into hints. An overrun is a hint too: the socket goes on.
func (m *Monitor) receive(ctx context.Context, hints chan<- hint) error {
	for {
		msgs, from, err := m.socket.Receive()
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, unix.ENOBUFS) {
			send(ctx, hints, hint{all: true})
			continue
		}
		if err != nil {
			return fmt.Errorf("receive from rtnetlink: %w", err)
		}
		if from.Pid != nl.PidKernel {
			continue
		}
		for _, msg := range msgs {
			if h, ok := parseHint(msg.Header.Type, msg.Data); ok {
				send(ctx, hints, h)
			}
		}
	}
}

func send(ctx context.Context, hints chan<- hint, h hint) {
	select {
	case hints <- h:
	case <-ctx.Done():
	}
}

// parseHint reads the fixed header of a message, and the destination of a route.
func parseHint(typ uint16, data []byte) (hint, bool) {
	switch typ {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		if len(data) < unix.SizeofIfInfomsg {
			return hint{}, false
		}
		return hint{index: plan.IfIndex(nl.DeserializeIfInfomsg(data).Index)}, true
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		if len(data) < unix.SizeofIfAddrmsg {
			return hint{}, false
		}
		return hint{index: plan.IfIndex(nl.DeserializeIfAddrmsg(data).Index)}, true
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return parseRoute(data)
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		return hint{all: true}, true
	}
	return hint{}, false
}

func parseRoute(data []byte) (hint, bool) {
	if len(data) < unix.SizeofRtMsg {
		return hint{}, false
	}
	bits := int(data[1]) // rtm_dst_len
	dst := netip.IPv4Unspecified()
	if v, ok := attribute(data[unix.SizeofRtMsg:], unix.RTA_DST); ok {
		if dst, ok = netip.AddrFromSlice(v); !ok || !dst.Is4() {
			return hint{}, false
		}
	}
	p, err := dst.Prefix(bits)
	if err != nil {
		return hint{all: true}, true
	}
	return hint{prefix: p}, true
}

// attribute returns the value of the first route attribute of a type (struct rtattr, linux/rtnetlink.h). netlink's own
// parser panics on lengths that do not fit.
func attribute(b []byte, typ uint16) ([]byte, bool) {
	for len(b) >= unix.SizeofRtAttr {
		n, t := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if n < unix.SizeofRtAttr || n > len(b) {
			break
		}
		if t == typ {
			return b[unix.SizeofRtAttr:n], true
		}
		b = b[min(len(b), (n+3)&^3):]
	}
	return nil, false
}

// follow gathers hints, reads the truth, and offers it to the receiver of Events.
func (m *Monitor) follow(ctx context.Context, hints <-chan hint) error {
	var (
		pending *Event
		settle  <-chan time.Time
		audit   = time.NewTicker(30 * time.Second)
	)
	defer audit.Stop()
	note := func(h hint) {
		if pending == nil {
			pending = &Event{Touched: map[plan.IfIndex]bool{}}
		}
		pending.add(h)
		if settle == nil {
			settle = time.After(coalesce)
		}
	}
	for {
		var out chan Event
		var next Event
		if pending != nil && settle == nil {
			out, next = m.events, *pending
		}
		select {
		case <-ctx.Done():
			return nil
		case h := <-hints:
			note(h)
		case <-settle:
			settle = nil
			m.refresh(pending)
		case <-audit.C:
			note(hint{all: true})
		case d := <-m.audit:
			audit.Reset(d)
		case out <- next:
			pending = nil
		}
	}
}

func (e *Event) add(h hint) {
	switch {
	case h.all:
		e.All = true
	case h.prefix.IsValid():
		e.Prefixes = append(e.Prefixes, h.prefix)
		if len(e.Prefixes) > 4096 { // a whole table moved: cheaper to doubt everything
			e.All, e.Prefixes = true, nil
		}
	default:
		e.Touched[h.index] = true
	}
}

func (m *Monitor) refresh(e *Event) {
	s, err := m.dump(m.Snapshot())
	if err != nil {
		m.log.Error("interfaces could not be read; using what was known", "err", err)
		e.Snapshot = m.Snapshot()
		return
	}
	m.mu.Lock()
	m.last = s
	m.mu.Unlock()
	e.Snapshot = s
}

// dump reads all links and addresses. The kernel marks a dump during which something changed; it is read again.
func (m *Monitor) dump(old *Snapshot) (*Snapshot, error) {
	for try := 0; ; try++ {
		links, err := m.handle.LinkList()
		if err == nil {
			var addrs []netlink.Addr
			if addrs, err = m.handle.AddrList(nil, netlink.FAMILY_V4); err == nil {
				return newSnapshot(old, links, addrs, time.Now()), nil
			}
		}
		if !errors.Is(err, netlink.ErrDumpInterrupted) || try == 5 {
			return nil, fmt.Errorf("read links and addresses: %w", err)
		}
	}
}
