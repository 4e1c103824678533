// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"mcr/cmd/mcrgen/stream"
	"mcr/tests/lab"
)

// receiver is the far end of a branch, and its books.
type receiver struct {
	t     lab.TB
	name  string
	addr  netip.AddrPort // where its datagrams go
	iface string         // that mcrd sends them on
	ttl   uint8          // that they must arrive with
	sink  *lab.Sink      // nil: the capture is all there is
	wire  *lab.Capture   // what arrives, as it was on the wire

	want uint64 // that were sent while it had a branch
	gap  uint64 // that it lost in the outage
}

func newReceiver(t lab.TB, name, addr, iface string, ttl uint8, sink *lab.Sink, wire *lab.Capture) *receiver {
	at := netip.AddrPortFrom(netip.MustParseAddr(addr), 5000)
	return &receiver{t: t, name: name, addr: at, iface: iface, ttl: ttl, sink: sink, wire: wire}
}

// branch is the name of its output.
func (r *receiver) branch() string { return fmt.Sprintf("%s@%v", r.iface, r.addr) }

func (r *receiver) path() string { return rulePath + "/outputs/output[name=" + r.branch() + "]" }

// output is its output as a Set has it.
func (r *receiver) output() any {
	return map[string]any{"name": r.branch(), "config": map[string]any{
		"name": r.branch(), "interface": r.iface, "port": r.addr.Port(), "unicast-dest": r.addr.Addr().String(),
	}}
}

// mine says whether a packet on the wire is one of its own.
func (r *receiver) mine(p lab.Packet) bool { return p.Dst == r.addr && (r.sink == nil || !p.Outgoing) }

// report is its account; expect is as of stream.Account.
func (r *receiver) report(expect uint64) stream.Report {
	if r.sink != nil {
		return r.sink.Report(expect)
	}
	var a stream.Account
	for _, p := range r.wire.Packets(r.mine) {
		a.Take(p.Payload, stream.Meta{Source: p.Src, TTL: p.TTL, TOS: p.TOS})
	}
	return a.Report(expect)
}

func (r *receiver) received() uint64 { return r.report(0).Received }

// holes is how many numbers are missing between those that came.
func (r *receiver) holes() uint64 { return r.report(0).Lost }

// more waits until n more have come.
func (r *receiver) more(n uint64) {
	r.t.Helper()
	from := r.received()
	lab.Until(r.t, patience, fmt.Sprintf("%d more datagrams at %s", n, r.name), func() error {
		if got := r.received() - from; got < n {
			return fmt.Errorf("%d came", got)
		}
		return nil
	})
}

// has waits until it has n, and demands that it has not more.
func (r *receiver) has(n uint64) {
	r.t.Helper()
	lab.Until(r.t, patience, fmt.Sprintf("%s has %d datagrams", r.name, n), func() error {
		if got := r.received(); got != n {
			return fmt.Errorf("it has %d", got)
		}
		return nil
	})
}

// quiet returns when nothing has come for a moment, which is far longer than a copy takes.
func (r *receiver) quiet() {
	const moment = 100 * time.Millisecond
	if r.sink != nil {
		r.sink.Quiet(moment)
		return
	}
	for n, last := -1, 0; n != last; {
		n = last
		time.Sleep(moment)
		last = len(r.wire.Packets(r.mine))
	}
}

const tableHead = "receiver  address          expected  received  lost  doubled  late  damaged  TTL  wrong checksums  median latency"

// account is its row of the table, and what is wrong in it.
func (r *receiver) account() (row string, faults []string) {
	got := r.report(r.want)
	right := uint64(len(r.wire.Packets(func(p lab.Packet) bool { return r.mine(p) && p.Checksum == lab.ChecksumRight })))
	wrong := got.Received - min(right, got.Received)
	damaged := got.Corrupted + got.Foreign + got.Short
	var ttls []string
	for ttl := range got.TTL {
		ttls = append(ttls, fmt.Sprint(ttl))
	}
	latency := "-" // a capture has no clock
	if r.sink != nil {
		latency = fmt.Sprintf("%.0f µs", got.Latency.P50)
	}
	row = fmt.Sprintf("%-9s %-15s %9d %9d %5d %8d %5d %8d %4s %16d %15s", r.name, r.addr.Addr(), r.want, got.Received, got.Lost,
		got.Duplicated, got.Reordered, damaged, strings.Join(ttls, ","), wrong, latency)
	check := func(ok bool, format string, a ...any) {
		if !ok {
			faults = append(faults, fmt.Sprintf(format, a...))
		}
	}
	check(got.Received+got.Lost == r.want, "received and lost are not what was sent")
	check(got.Lost == r.gap, "lost %d, of them %d in the outage", got.Lost, r.gap)
	check(r.holes() == r.gap, "the loss is not one stretch")
	check(got.Duplicated+got.Reordered+damaged == 0, "doubled, late or damaged datagrams")
	check(len(got.TTL) == 1 && got.TTL[r.ttl] == got.Received, "TTL %v, want %d", got.TTL, r.ttl)
	check(wrong == 0, "%d without a right checksum", wrong)
	return row, faults
}
