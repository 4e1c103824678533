// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"

	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

// prepareOutputs decides on the socket of each output that changes, and opens it: what closes makes room under the limit
// first.
func (p *prep) prepareOutputs() {
	for _, op := range p.outputs {
		o := op.o
		if op.to != nil && o.home != nil && o.home != op.to && op.from != o.home {
			p.outputProblem(o, fmt.Errorf("output in list %d and list %d: %w", o.home.id, op.to.id, unix.EEXIST))
			op.to, op.plan = nil, nil
			continue
		}
		if op.to != nil {
			p.prepareOutput(op)
		}
		if o.sock != nil && o.sock != op.sock && !op.ignored() {
			p.sockets--
		}
	}
	for _, op := range p.outputs {
		if op.up && op.sock == nil {
			p.openOutput(op)
		}
	}
}

// ignored says that nothing happens to the output.
func (op *outputPrep) ignored() bool { return op.to == nil && op.from == nil }

func (p *prep) prepareOutput(op *outputPrep) {
	o, po := op.o, op.plan
	op.up = po.Up
	op.egress = p.egressOf(po)
	if isBranch(po) {
		op.up = false
		return
	}
	if op.denied != nil && op.up {
		op.up = false
		p.outputProblem(o, op.denied)
		return
	}
	// A socket survives its output's going down: after down and up of the interface it works as before.
	if o.sock != nil && o.sock.socketKey == keyOf(po) {
		op.sock = o.sock
		ttl, tos := headerOf(po)
		op.header = tos != o.sock.tos || (ttl != o.sock.ttl && ttl != 0)
	}
}

func (p *prep) openOutput(op *outputPrep) {
	var err error
	if op.sock, err = p.openSocket(op.plan, p.lastPort(op)); err != nil {
		op.up = false
		p.outputProblem(op.o, err)
		return
	}
	op.opened = true
	p.sockets++
	p.notePort(op)
}

func (p *prep) openSocket(po *plan.Output, last uint16) (*socket, error) {
	a := po.Dest.Addr()
	if !a.Is4() || a.IsUnspecified() || po.Dest.Port() == 0 || (po.Source.IsValid() && !po.Source.Is4()) {
		return nil, fmt.Errorf("output %s: from %v to %v: %w", po.Name, po.Source, po.Dest, unix.EINVAL)
	}
	if p.full() {
		return nil, p.refuse("output " + po.Name)
	}
	s, err := p.e.ports.open(po, last)
	if err != nil {
		return nil, fmt.Errorf("output %s: %w", po.Name, err)
	}
	return s, nil
}

func (p *prep) egressOf(po *plan.Output) *egress {
	k := egressKey{ifIndex: po.IfIndex, mtu: po.MTU}
	eg := p.e.egresses[k]
	if eg == nil {
		eg = &egress{key: k}
		eg.configure(p.plan.Settings.GSOOff)
		p.e.egresses[k] = eg
	}
	return eg
}

func (eg *egress) configure(off map[plan.IfIndex]bool) {
	if off[eg.key.ifIndex] {
		eg.off.Or(offConfigured)
	} else {
		eg.off.And(^uint32(offConfigured))
	}
}

// finishLists fills in which outputs of the new lists send.
func (p *prep) finishLists() {
	for _, lp := range p.lists {
		f := lp.view
		if f == nil {
			continue
		}
		for i, o := range f.all {
			sends := o.sends && o.home == f.list
			if o.prep != nil {
				sends = o.prep.up && o.prep.to == f.list
			}
			if sends {
				part := f.parts[o.shard.id]
				part.up, part.pos = append(part.up, o), append(part.pos, int32(i))
				f.sends++
			}
		}
	}
	for _, ip := range p.inlets {
		ip.view.width = ip.view.widest()
	}
}

// change is what the worker does about op.
func (op *outputPrep) change() change {
	po := op.plan
	c := change{
		o: op.o, up: op.up, fresh: op.opened,
		binding: binding{fd: -1, dst: number(po.Dest.Addr()), maxSeg: max(po.MTU-overhead, 0), variant: variantOf(po), egress: op.egress},
	}
	if !isBranch(po) {
		c.tally = op.to.tally(op.o.shard)
	}
	if po.TTLMode == plan.TTLAtMost {
		c.atMost = uint16(po.TTL) + 1
	}
	if op.sock != nil {
		c.fd = int32(op.sock.fd)
	}
	if op.header {
		c.setHeader, c.multicast = true, po.Dest.Addr().IsMulticast()
		c.ttl, c.tos = headerOf(po)
	}
	return c
}
