// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"time"

	"mcr/cmd/mcrgen/stream"
)

// job is a set of runs that are compared with each other: in each round every forwarder has its turn.
type job struct {
	Name       string
	N, Size    int           // destinations; bytes of payload
	Rate       float64       // datagrams a second; 0 saturates
	Share      float64       // of the forwarder's own capacity, as found just before; sets the rate
	Burst      int           // datagrams back to back, where there is a rate; 0: what is due
	NoUSO      bool          // the egress has no UDP segmentation offload
	Latency    bool          // the last destination is a socket, which measures the delay
	Check      bool          // judge what real sockets get, in the first round
	Syscalls   bool          // count system calls, after the measured time
	Profile    string        // folder for a profile of each forwarder, by perf, after the measured time; "": none
	Source     bool          // measure the bare source in each round, for peers that work on its time
	Time, Warm time.Duration // measured, and before that
	Rounds     int
	Forwarders []string
}

// single is the job whose source sends as fast as it can, but each datagram by itself.
const single = "single"

// segments is how many datagrams the source has in one send. Where it saturates they are as many as one may carry: sent by itself a datagram
// costs the source as much as a good forwarder with ten outputs, which then waits for the source and wakes for a few datagrams at a time.
func (j job) segments() int {
	if j.Rate+j.Share > 0 || j.Name == single {
		return 1
	}
	return max(1, min(64, stream.MaxSize/j.Size))
}

// jumbo says that the datagrams want a larger MTU than Ethernet's.
func (j job) jumbo() bool { return j.Size > 1472 }

func (j job) String() string {
	s := fmt.Sprintf("%s N=%d %d B", j.Name, j.N, j.Size)
	if j.Rate > 0 {
		s += fmt.Sprintf(" %g/s", j.Rate)
	}
	return s
}

// key names a run among all of a folder.
type key struct {
	Job       string
	N, Size   int
	Rate      float64 // asked for in the job, not where it follows from Share
	Forwarder string
	Round     int
}

func (j job) key(forwarder string, round int) key {
	return key{j.Name, j.N, j.Size, j.Rate, forwarder, round}
}

// estimate is about how long the job takes.
func (j job) estimate() time.Duration {
	runs := len(j.Forwarders)
	if j.Source {
		runs++
	}
	start := 500*time.Millisecond + time.Duration(j.N)*300*time.Microsecond
	one := j.Time + j.Warm + start
	if j.Syscalls {
		one += syscallTime
	}
	if j.Rate+j.Share > 0 {
		one += soon
	}
	all := time.Duration(runs*j.Rounds) * one
	if j.Check {
		all += time.Duration(runs) * time.Second
	}
	return all
}
