// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"time"

	"mcr/tests/lab"
)

// maxSinks is how many destinations are judged, spread over all.
const maxSinks = 16

// judge sends datagrams of mixed sizes in bursts, and says what real sockets get: content, loss, order, duplicates.
func (o *one) judge() (string, error) {
	n := min(o.N, maxSinks)
	sinks := make([]*lab.Sink, n)
	for i := range sinks {
		k := 0
		if n > 1 {
			k = i * (o.N - 1) / (n - 1)
		}
		sinks[i] = o.dst.Sink(o.outs[k].String())
		defer sinks[i].Close()
		if err := o.count.Set(o.keys[k], true); err != nil {
			return "", err
		}
	}
	// Runs of equal sizes, shorter tails, odd, tiny, as large as the MTU takes, and larger.
	s := o.Size
	sizes := []int{s, s, s, s, s, max(s-1, 0), s, s, s, 28, s, 1472, 3001, s, 29, s}
	backlog := softnetDrops()
	before, err := o.count.Sum(o.keys)
	if err != nil {
		return "", err
	}
	count := uint64(max(16, min(400, 100000/o.N)) &^ 15)
	o.src.Send(lab.Stream{Iface: "hs0", Group: inGroup, Port: inPort, Sizes: sizes, Count: count, Rate: 2 * float64(count), Burst: 16})
	packets := uint64(0) // of one turn of sizes: the counter sees fragments
	for _, s := range sizes {
		packets += uint64(max(1, (s+8+fragment(o.mtu())-1)/fragment(o.mtu())))
	}
	if err := o.settle(before+count/uint64(len(sizes))*packets*uint64(o.N), settled); err != nil {
		return "", err
	}
	var lost, dup, bad, reordered, foreign uint64
	for _, sink := range sinks {
		sink.Quiet(50 * time.Millisecond)
		r := sink.Report(count)
		lost, dup, bad = lost+r.Lost, dup+r.Duplicated, bad+r.Corrupted
		reordered, foreign = reordered+r.Reordered, foreign+r.Foreign
	}
	if lost+dup+bad+reordered+foreign == 0 {
		return fmt.Sprintf("ok %dx%d", n, count), nil
	}
	verdict := fmt.Sprintf("%dx%d lost %d dup %d bad %d reordered %d foreign %d", n, count, lost, dup, bad, reordered, foreign)
	if drops := softnetDrops() - backlog; drops > 0 { // of the whole machine
		verdict += fmt.Sprintf("; a CPU's backlog dropped %.0f", drops)
	}
	return verdict, nil
}

// fragment is how many bytes of an IPv4 payload one fragment carries.
func fragment(mtu int) int { return (mtu - 20) &^ 7 }
