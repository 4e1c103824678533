// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

// janitor closes what an adoption took away, once the workers have adopted it. It ends with ctx.
func (e *Engine) janitor(ctx context.Context) error {
	for {
		a := e.nextRetired()
		if a == nil {
			select {
			case <-e.retire:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		select {
		case <-a.done:
		case <-ctx.Done():
			return nil
		}
		as := e.adoptedByNow()
		e.clean(as)
		e.mu.Lock()
		e.retired = e.retired[len(as):]
		e.mu.Unlock()
	}
}

// adoptedByNow are the oldest that the workers have adopted.
func (e *Engine) adoptedByNow() []*adoption {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for i, a := range e.retired {
		select {
		case <-a.done:
		default:
			return e.retired[:i:i]
		}
	}
	return e.retired[:len(e.retired):len(e.retired)]
}

func (e *Engine) nextRetired() *adoption {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if len(e.retired) == 0 {
		return nil
	}
	return e.retired[0]
}

// clean closes what they took away. Nobody else knows these sockets any more.
func (e *Engine) clean(as []*adoption) {
	for _, a := range as {
		e.leave(a)
		e.foldBranches(a)
		e.foldGroups(a)
	}
	e.closeRemoved(as)
	for _, a := range as {
		for _, pt := range a.joins {
			e.prepMu.Lock()
			e.narrow(pt)
			e.prepMu.Unlock()
		}
		for _, l := range a.narrow {
			e.prepMu.Lock()
			e.narrowLearner(l)
			e.prepMu.Unlock()
		}
	}
}

// closeRemoved closes the sockets that no worker uses any more.
func (e *Engine) closeRemoved(as []*adoption) {
	var pts []*point
	var ls []*learner
	for _, a := range as {
		for i := range a.shares {
			for _, fd := range a.shares[i].removeSockets {
				unix.Close(fd)
			}
			pts = append(pts, a.shares[i].removePoints...)
		}
		ls = append(ls, a.learners...)
	}
	e.closePoints(pts, ls)
}

// closePoints closes the sockets of pts and ls. Closing a packet socket takes milliseconds in which the kernel waits for all
// processors (synchronize_net in packet_release, net/packet/af_packet.c), and as many at a time take no longer.
func (e *Engine) closePoints(pts []*point, ls []*learner) {
	var g errgroup.Group
	g.SetLimit(64)
	for _, pt := range pts {
		if pt.method == plan.MethodSocket {
			pt.close()
			continue
		}
		g.Go(func() error {
			pt.close()
			return nil
		})
	}
	for _, l := range ls {
		e.learners.remove(l)
		g.Go(func() error {
			l.close()
			return nil
		})
	}
	g.Wait() //nolint:errcheck // none
}

func (pt *point) close() {
	if pt.fd >= 0 {
		pt.member.Close() // first: a socket that something still holds stays joined
		unix.Close(pt.fd)
		pt.fd = -1
	}
}

// shut closes everything, once the workers have ended. Safe twice.
func (e *Engine) shut() {
	e.prepMu.Lock()
	defer e.prepMu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running = false
	if e.closed {
		return
	}
	e.closed = true
	for _, a := range e.retired {
		select {
		case <-a.done:
		default:
			close(a.done)
		}
		a.joins, a.narrow = nil, nil
	}
	e.closeRemoved(e.retired)
	e.retired = nil
	for _, o := range e.outputs {
		if o.sock != nil {
			unix.Close(o.sock.fd)
			o.sock = nil
		}
	}
	var pts []*point
	var ls []*learner
	for _, in := range e.points {
		pts = append(pts, in.points...)
		if in.learner != nil {
			ls = append(ls, in.learner)
		}
	}
	e.closePoints(pts, ls)
	e.learners.close()
	for _, s := range e.shards {
		s.mem.Free()
	}
	e.sockets = 0
	for _, s := range e.seats {
		unix.Close(s.eventfd)
	}
	if e.snmp != nil {
		e.snmp.Close()
	}
}
