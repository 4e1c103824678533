// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"cmp"

	"mcr/dataplane/plan"
)

// spreadFrom is how many outputs a list has on each of its shards before it takes another one: a twin, which receives
// everything once more, is then small beside what it wins.
const spreadFrom = 256

// place chooses the shards of new inlets and outputs. What has one keeps it.
func (p *prep) place() {
	p.load = make([]int, len(p.e.shards))
	for i, s := range p.e.shards {
		p.load[i] = s.inputs + s.outputs
	}
	for _, ip := range p.inlets { // what is there already attracts what comes
		if ip.in.first != nil {
			p.placeInlet(ip)
		}
	}
	for _, ip := range p.inlets {
		if ip.in.first == nil {
			p.placeInlet(ip)
		}
	}
}

func (p *prep) placeInlet(ip *inletPrep) {
	p.placePrimary(ip)
	same := siblings(ip)
	for lg := range ip.view.legs() {
		if lg.parts == nil {
			p.placeList(lg.fanout, ip, same)
		}
	}
}

// placePrimary puts the primary point where outputs are that it is to serve, else where the least is.
func (p *prep) placePrimary(ip *inletPrep) {
	if ip.first = ip.in.first; ip.first != nil {
		return
	}
	defer func() { p.load[ip.first.id]++ }()
	for lg := range ip.view.legs() {
		for i, o := range lg.all {
			if ip.first = o.shard; ip.first != nil && !isBranch(lg.plan.Outputs[i]) {
				return
			}
		}
	}
	ip.first = p.e.shards[least(p.load)]
}

func (p *prep) placeList(f *fanout, ip *inletPrep, same map[peer]*shard) {
	n := make([]int, len(p.e.shards))
	sharing := map[plan.OutputID]*shard{} // where those are that others send for from now on
	for i, o := range f.all {
		po := f.plan.Outputs[i]
		if o.shard != nil && !isBranch(po) {
			n[o.shard.id]++
		}
		if o.shard != nil && po.Shares != 0 {
			sharing[po.Shares] = o.shard
		}
	}
	f.parts = make([]*part, len(p.e.shards))
	for i := range f.parts {
		f.parts[i] = noPart
	}
	for i, o := range f.all {
		po := f.plan.Outputs[i]
		if isBranch(po) {
			continue
		}
		if o.shard == nil {
			if o.shard = cmp.Or(sharing[o.id], same[peerOf(o)]); o.shard == nil {
				o.shard = p.shardFor(n, ip, p.headOf(po))
			}
			if same != nil {
				same[peerOf(o)] = o.shard
			}
			n[o.shard.id]++
			p.load[o.shard.id]++
		}
		if f.parts[o.shard.id] == noPart {
			f.parts[o.shard.id] = &part{}
		}
	}
	for i, o := range f.all { // these need no point
		if o.shard == nil {
			o.shard = p.placeBranch(f.plan.Outputs[i], ip)
		}
	}
}

// placeBranch puts an output that sends nothing itself where it will send, should it come to that: then it takes over between two
// datagrams.
func (p *prep) placeBranch(po *plan.Output, ip *inletPrep) *shard {
	if with := p.find(po.Shares); po.Shares != 0 && with != nil && with.shard != nil {
		return with.shard
	}
	if b := p.branchOf(po); b != nil && b.shard != nil {
		return b.shard
	}
	return ip.first
}

// siblings are the shards of outputs by where they send, where that matters: with several lists one of them serves what
// others skip, and which does may change. On one shard that happens between two datagrams.
func siblings(ip *inletPrep) map[peer]*shard {
	var first *list
	several, fresh := false, false
	for lg := range ip.view.legs() {
		if first == nil {
			first = lg.list
		}
		several = several || lg.list != first
		fresh = fresh || lg.parts == nil
	}
	if !several || !fresh {
		return nil
	}
	same := map[peer]*shard{}
	for lg := range ip.view.legs() {
		for _, o := range lg.all {
			if o.shard != nil {
				same[peerOf(o)] = o.shard
			}
		}
	}
	return same
}

// peerOf is where o sends from now on.
func peerOf(o *output) peer {
	po := o.plan
	if o.prep != nil && o.prep.plan != nil {
		po = o.prep.plan
	}
	if po == nil { // one that an earlier Plan had twice
		return peer{}
	}
	return peer{po.IfIndex, po.Dest}
}

// shardFor chooses for one more output of a list that has n outputs, by shard. An instance goes where its head is, which may have
// sent to the same place before, or will.
func (p *prep) shardFor(n []int, ip *inletPrep, head *output) *shard {
	first := ip.first.id
	switch {
	case ip.once():
		return ip.first
	case head != nil && head.shard != nil && n[head.shard.id] < p.e.spread:
		return head.shard
	case n[first] > 0 && n[first] < p.e.spread:
		return ip.first
	}
	some := false
	for i, k := range n {
		if k > 0 && k < p.e.spread {
			return p.e.shards[i]
		}
		some = some || k > 0
	}
	if !some {
		return ip.first
	}
	return p.e.shards[least(n)]
}

// least is the position of the lowest.
func least(n []int) int {
	best := 0
	for i, k := range n {
		if k < n[best] {
			best = i
		}
	}
	return best
}
