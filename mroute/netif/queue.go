// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

// queuesAge is how long one reading of all queueing disciplines serves: a thousand links are sampled one by one.
const queuesAge = 50 * time.Millisecond

// queues reads how many packets the queueing disciplines threw away. It has a socket of its own: a reader of counters
// waits for nobody, and nobody for it.
type queues struct {
	socket *nl.SocketHandle

	mu    sync.Mutex // guards what follows
	links map[plan.IfIndex]*queue
	at    time.Time // of the latest reading
	err   error     // what came of it
}

// queue is what is known of the root discipline of a link.
type queue struct {
	qdisc
	total uint64 // of this discipline and of those before it, as far as they were read
}

// qdisc is one queueing discipline as the kernel tells it.
type qdisc struct {
	handle uint32
	kind   string
	drops  uint32 // packets; of a root discipline with those of its children
}

func openQueues() (*queues, error) {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE) // to nothing: this is how a socket is made in the thread's namespace
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	return &queues{socket: &nl.SocketHandle{Socket: s}, links: map[plan.IfIndex]*queue{}}, nil
}

// QueueDrops returns how many packets the queueing disciplines of a link threw away, from whatever sender, since they were
// first looked at; false: that is not known. The kernel's own figure has 32 bits and begins anew with each discipline; the
// sum goes on. What one threw away between the latest reading and its end is not in it.
func (m *Monitor) QueueDrops(name string) (uint64, bool) {
	s := m.Snapshot()
	l := s.Link(name)
	if l == nil {
		return 0, false
	}
	q := m.queues
	q.mu.Lock()
	defer q.mu.Unlock()
	if now := time.Now(); q.at.IsZero() || now.Sub(q.at) > queuesAge {
		q.read(s, now)
	}
	if q.err != nil {
		return 0, false
	}
	if l := q.links[l.Index]; l != nil {
		return l.total, true
	}
	return 0, true // such as noqueue, which the kernel leaves out
}

// read asks for all disciplines of all links: a dump cannot be restricted to one link on older kernels.
func (q *queues) read(s *Snapshot, now time.Time) {
	req := &nl.NetlinkRequest{
		NlMsghdr: unix.NlMsghdr{Len: unix.SizeofNlMsghdr, Type: unix.RTM_GETQDISC, Flags: unix.NLM_F_REQUEST | unix.NLM_F_DUMP},
		Sockets:  map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: q.socket},
	}
	req.AddData(&nl.TcMsg{Family: unix.AF_UNSPEC})
	q.at = now
	msgs, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWQDISC)
	if errors.Is(err, nl.ErrDumpInterrupted) { // a link may be missing, or there twice: no harm, and mended by the next
		err = nil
	}
	if q.err = err; err != nil {
		return
	}
	for _, msg := range msgs {
		if i, d, ok := parseQdisc(msg); ok {
			q.note(i, d)
		}
	}
	for i := range q.links {
		if s.Index(i) == nil {
			delete(q.links, i)
		}
	}
}

// note takes in one root discipline.
func (q *queues) note(i plan.IfIndex, d qdisc) {
	l := q.links[i]
	if l == nil {
		l = &queue{}
		q.links[i] = l
	}
	if l.handle == d.handle && l.kind == d.kind {
		l.total += uint64(d.drops - l.drops) // past 32 bits, too
	} else {
		l.total += uint64(d.drops)
	}
	l.qdisc = d
}

// parseQdisc reads a message of type RTM_NEWQDISC: struct tcmsg, TCA_KIND, and in TCA_STATS2 a struct gnet_stats_queue
// (linux/rtnetlink.h, linux/gen_stats.h). ok says that it is the root discipline of a link.
func parseQdisc(data []byte) (i plan.IfIndex, d qdisc, ok bool) {
	const (
		tcaKind, tcaStats2 = 1, 7
		tcaStatsQueue      = 3
		dropsAt            = 8 // qlen, backlog, drops
	)
	if len(data) < nl.SizeofTcMsg {
		return 0, d, false
	}
	order := binary.NativeEndian
	i, d.handle = plan.IfIndex(order.Uint32(data[4:])), order.Uint32(data[8:])
	if i <= 0 || order.Uint32(data[12:]) != 0xffffffff { // TC_H_ROOT
		return 0, d, false
	}
	attrs := data[nl.SizeofTcMsg:]
	if kind, found := attribute(attrs, tcaKind); found {
		d.kind = unix.ByteSliceToString(kind)
	}
	stats, _ := attribute(attrs, tcaStats2)
	if queue, found := attribute(stats, tcaStatsQueue); found && len(queue) >= dropsAt+4 {
		d.drops = order.Uint32(queue[dropsAt:])
	}
	return i, d, true
}
