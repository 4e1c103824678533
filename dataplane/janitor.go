// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"

	"golang.org/x/sys/unix"
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
			e.clean(a)
		case <-ctx.Done():
			return nil
		}
		e.mu.Lock()
		e.retired = e.retired[1:]
		e.mu.Unlock()
	}
}

func (e *Engine) nextRetired() *adoption {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if len(e.retired) == 0 {
		return nil
	}
	return e.retired[0]
}

// clean closes what a took away. Nobody else knows these sockets any more.
func (e *Engine) clean(a *adoption) {
	e.foldBranches(a)
	e.foldGroups(a)
	a.closeRemoved()
	for _, pt := range a.joins {
		e.prepMu.Lock()
		e.narrow(pt)
		e.prepMu.Unlock()
	}
}

// closeRemoved closes the sockets that no worker uses any more.
func (a *adoption) closeRemoved() {
	for i := range a.shares {
		for _, fd := range a.shares[i].removeSockets {
			unix.Close(fd)
		}
		for _, pt := range a.shares[i].removePoints {
			pt.close()
		}
	}
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
		a.joins = nil
		a.closeRemoved()
	}
	e.retired = nil
	for _, o := range e.outputs {
		if o.sock != nil {
			unix.Close(o.sock.fd)
			o.sock = nil
		}
	}
	for _, in := range e.points {
		for _, pt := range in.points {
			pt.close()
		}
	}
	e.sockets = 0
	for _, s := range e.seats {
		unix.Close(s.eventfd)
	}
	if e.snmp != nil {
		e.snmp.Close()
	}
}
