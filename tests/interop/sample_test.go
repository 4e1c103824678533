// SPDX-License-Identifier: Apache-2.0

package interop_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc/codes"

	"mcr/tests/lab"
)

const (
	lanCounters = lan + "/state/counters"
	lanPackets  = lanCounters + "/packets"
)

// moments are the timestamps at which a stream told each leaf.
func moments(all []message) map[string][]time.Time {
	out := map[string][]time.Time{}
	for _, m := range all {
		for _, u := range m.GetUpdate().GetUpdate() {
			p := text(m.GetUpdate().GetPrefix(), u.GetPath())
			out[p] = append(out[p], time.Unix(0, m.GetUpdate().GetTimestamp()))
		}
	}
	return out
}

// every demands that moments are so far apart, a tenth more or less.
func every(t *testing.T, what string, d time.Duration, all []time.Time, least int) {
	t.Helper()
	if len(all) < least {
		t.Errorf("%s: told %d times, want %d", what, len(all), least)
	}
	for i := 1; i < len(all); i++ {
		if gap := all[i].Sub(all[i-1]); gap < d*9/10 || gap > d*11/10 {
			t.Errorf("%s: told again after %v, want %v", what, gap, d)
		}
	}
}

// All cases of the clock watch one stream of datagrams at the same time, each by a call of its own; none of them changes
// what another sees.
func TestSample(t *testing.T) {
	t.Parallel()
	tg := start(t)
	tg.dst.GroupSink("eth0", "239.1.1.1:5000")
	tg.rule(t, "start", func(c *client) { c.becomes(lan+"/state/oper-status", "up") })
	tg.src.StartSend(lab.Stream{Iface: "eth0", Group: "239.1.1.1", Port: 5000, Rate: 500})
	beside := func(id string, f func(c *client)) {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			f(&client{t, tg, gpb.NewGNMIClient(dial(t, "unix://"+tg.Socket))})
		})
	}

	// SAMPLE: each leaf each time, changed or not.
	beside("G67", func(c *client) {
		s := c.open(request(nil, sample(time.Second, r1)))
		first := len(s.sync())
		if first == 0 || s.now[lanPackets] == "" || s.now[description] != "first" {
			c.t.Errorf("before the sync: %v", s.now)
		}
		told := moments(s.during(5500 * time.Millisecond))
		for _, p := range []string{lanPackets, description, r1 + "/state/oper-status"} {
			every(c.t, p, time.Second, told[p], 5)
			if n := len(told[p]); n > 6 {
				c.t.Errorf("%s: %d times in 5.5 s", p, n)
			}
		}
	})

	// The shortest interval.
	beside("G68", func(c *client) {
		c.is("/mcr/system/gnmi/state/minimum-sample-interval", "1000")
		c.open(request(nil, sample(time.Millisecond, lanCounters))).ends(codes.InvalidArgument, "1s")
		c.open(request(nil, sample(999*time.Millisecond, lanCounters))).ends(codes.InvalidArgument, "1s")
		s := c.stream(sample(0, lanPackets))
		every(c.t, "interval 0", time.Second, moments(s.during(3500 * time.Millisecond))[lanPackets], 3)
	})

	// suppress_redundant, and heartbeat with it.
	beside("G69", func(c *client) {
		sub := sample(time.Second, r1)
		sub.SuppressRedundant = true
		s := c.stream(sub)
		told := moments(s.during(4500 * time.Millisecond))
		every(c.t, "a counter that moves", time.Second, told[lanPackets], 4)
		for _, p := range []string{description, r1 + "/config/name", lan + "/config/port", lanCounters + "/failed-packets"} {
			if len(told[p]) != 0 {
				c.t.Errorf("%s did not change and was told %d times", p, len(told[p]))
			}
		}
	})
	beside("G70", func(c *client) {
		sub := sample(time.Second, r1)
		sub.SuppressRedundant, sub.HeartbeatInterval = true, uint64(3*time.Second)
		s := c.stream(sub)
		told := moments(s.during(7500 * time.Millisecond))
		every(c.t, "a leaf that does not change", 3*time.Second, told[description], 2)
		if n := len(told[lanPackets]); n < 7 { // a heartbeat may come beside a sample
			c.t.Errorf("a counter that moves: %d times in 7.5 s", n)
		}
	})

	// ON_CHANGE with heartbeat.
	beside("G71", func(c *client) {
		short := onChange(r1)
		short[0].HeartbeatInterval = uint64(100 * time.Millisecond)
		c.open(request(nil, short...)).ends(codes.InvalidArgument, "heartbeat")
		sub := onChange(r1 + "/config")
		sub[0].HeartbeatInterval = uint64(2 * time.Second)
		began := time.Now()
		s := c.stream(sub...)
		told := moments(s.during(4500 * time.Millisecond))
		for p := range c.all(r1 + "/config") {
			every(c.t, p, 2*time.Second, told[p], 2)
			if len(told[p]) > 0 && told[p][0].Before(began) {
				c.t.Errorf("%s: resent with the time of the change, %v", p, told[p][0])
			}
		}
	})

	// TARGET_DEFINED.
	beside("G73", func(c *client) {
		defined := func(every time.Duration) *stream {
			return c.stream(&gpb.Subscription{Path: path(r1), SampleInterval: uint64(every)})
		}
		slow, quick := defined(0), defined(2*time.Second)
		fast := moments(quick.during(6500 * time.Millisecond))
		every(c.t, "counters with an interval", 2*time.Second, fast[lanPackets], 3)
		if n := len(fast[description]); n != 0 {
			c.t.Errorf("configuration that did not change was told %d times", n)
		}
		own := moments(slow.during(14 * time.Second)) // and what came in the time before
		every(c.t, "counters", 10*time.Second, own[lanPackets], 2)
	})

	// ON_CHANGE on counters.
	beside("G74", func(c *client) {
		named := c.stream(onChange(rules + "/rule[name=*]/outputs/output[name=*]/state/counters/packets")...)
		below := c.stream(onChange(r1)...)
		if n := len(moments(named.during(12 * time.Second))[lanPackets]); n < 6 || n > 13 {
			c.t.Errorf("a counter that is named: %d times in 12 s", n)
		}
		if n := len(moments(below.waiting())[lanPackets]); n < 1 || n > 2 {
			c.t.Errorf("a counter below a container: %d times in 12 s", n)
		}
	})

	// Each subscription has its mode, and one sync is for all.
	beside("G78", func(c *client) {
		s := c.open(request(nil, append(onChange(r1+"/config"), sample(time.Second, lanPackets), sample(2*time.Second, r2+"/config/name"), sample(time.Second, r1+"/config/name"))...))
		s.sync()
		for _, p := range []string{description, lanPackets, r2 + "/config/name", r1 + "/config/name"} {
			if s.now[p] == "" {
				c.t.Errorf("%s is not in the first data", p)
			}
		}
		all := s.during(4500 * time.Millisecond)
		told := moments(all)
		every(c.t, lanPackets, time.Second, told[lanPackets], 4)
		every(c.t, r2+"/config/name", 2*time.Second, told[r2+"/config/name"], 2)
		every(c.t, "a leaf in two subscriptions", time.Second, told[r1+"/config/name"], 4)
		if len(told[description]) != 0 {
			c.t.Errorf("%s was told %d times", description, len(told[description]))
		}
		if slices.ContainsFunc(all, func(m message) bool { return m.GetSyncResponse() }) {
			c.t.Error("a second sync")
		}
	})

	// Nothing but counters while packets run.
	beside("G66", func(c *client) {
		s := c.stream(onChange("/")...)
		for _, m := range s.during(12 * time.Second) {
			updates, deletes := told(m.GetUpdate())
			for _, p := range updates {
				// Other cases come and go as clients: that is an event, and the only one.
				if !sampled(p) && !strings.HasPrefix(p, "/mcr/system/clients/") {
					c.t.Errorf("told %s", fmt.Sprint(m.GetUpdate()))
				}
			}
			for _, p := range deletes {
				if !strings.HasPrefix(p, "/mcr/system/clients/") {
					c.t.Errorf("deleted %s", p)
				}
			}
		}
	})
}
