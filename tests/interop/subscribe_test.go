// SPDX-License-Identifier: Apache-2.0

package interop_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc/codes"
)

const description = r1 + "/config/description"

func TestSubscribe(t *testing.T) {
	t.Parallel()
	tg := start(t, "--insecure", "--listen", "127.0.0.1:9339")

	// ONCE: all, one sync, the end.
	tg.rule(t, "G60", func(c *client) {
		s := c.open(request(once, onChange(rules)...))
		s.sync()
		s.ends(codes.OK)
		c.same(c.all(rules), s.now)
	})

	// POLL: all and one sync for each Poll, however fast they come.
	tg.rule(t, "G61", func(c *client) {
		s := c.open(request(poll, onChange(r1+"/config")...), pollNow, pollNow, pollNow)
		want := c.all(r1 + "/config")
		for range 4 {
			s.now = leaves{}
			s.sync()
			c.same(want, s.now)
		}
		c.set(update(description, `"polled"`))
		c.must(s.call.Send(pollNow))
		s.sync()
		if got := s.now[description]; got != "polled" {
			c.t.Errorf("the next Poll says %q", got)
		}
		c.must(s.call.CloseSend())
		s.ends(codes.OK)
	})

	// STREAM: the first data, one sync, then what changes; a change amid the first data is not lost.
	tg.rule(t, "G62", func(c *client) {
		var write sync.WaitGroup
		last := ""
		stop := make(chan struct{})
		writer := c.other()
		write.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				last = fmt.Sprintf("amid %d", i)
				if _, err := writer.Set(c.t.Context(), update(description, `"`+last+`"`)); err != nil {
					c.t.Errorf("Set: %v", err)
					return
				}
			}
		})
		var all []*stream
		for range 20 {
			all = append(all, c.stream(onChange(rules)...))
		}
		close(stop)
		write.Wait()
		for _, s := range all {
			s.until(patience, "the last value", func(l leaves) bool { return l[description] == last })
		}
		c.set(update(description, `"end"`))
		want := c.all(rules)
		for _, s := range all {
			s.until(patience, "the end", func(l leaves) bool { return l[description] == "end" })
			c.same(want, s.now)
			if slices.ContainsFunc(s.waiting(), func(m message) bool { return m.GetSyncResponse() }) {
				c.t.Error("a second sync")
			}
		}
	})

	// ON_CHANGE: at once, only what changed, in the encoding asked for.
	tg.rule(t, "G63", func(c *client) {
		for e, want := range map[gpb.Encoding]string{gpb.Encoding_JSON: `"%s"`, gpb.Encoding_JSON_IETF: `"%s"`, gpb.Encoding_PROTO: "%s"} {
			s := c.open(request(func(l *gpb.SubscriptionList) { l.Encoding = e }, onChange(rules+"/rule/config")...))
			s.sync()
			var delays []time.Duration
			for i := range 20 {
				v := fmt.Sprintf("%v %d", e, i)
				c.set(update(description, `"`+v+`"`))
				answered := time.Now()
				m := s.note()
				delays = append(delays, m.at.Sub(answered))
				if u := m.GetUpdate().GetUpdate(); len(u) != 1 || value(u[0].GetVal()) != fmt.Sprintf(want, v) || len(m.GetUpdate().GetDelete()) != 0 {
					c.t.Errorf("told %v, want %s alone", m.GetUpdate(), v)
				}
			}
			slices.Sort(delays)
			if median := delays[len(delays)/2]; median > 200*time.Millisecond || delays[len(delays)-1] > time.Second {
				c.t.Errorf("%v: a change arrives after %v, at most %v", e, median, delays[len(delays)-1])
			}
		}
	})

	// Deletes.
	tg.rule(t, "G64", func(c *client) {
		whole := c.stream(onChange("/mcr/forwarding")...)
		one := c.stream(onChange(r2 + "/config/description")...)
		c.set(remove(description))
		if _, d := told(whole.note().GetUpdate()); !slices.Contains(d, description) || slices.Contains(d, r1) {
			c.t.Errorf("a removed leaf: deletes %v", d)
		}
		c.set(remove(r1))
		u, d := told(whole.note().GetUpdate())
		if !slices.Equal(d, []string{r1}) {
			c.t.Errorf("a removed entry: deletes %v, updates %v", d, u)
		}
		c.set(remove(r2)) // it never had a description, so one was told nothing
		c.restart()
		c.set(update(r2+"/config/description", `"now"`))
		if u, d := told(one.note().GetUpdate()); len(d) != 0 || !slices.Equal(u, []string{r2 + "/config/description"}) {
			c.t.Errorf("told first: updates %v, deletes %v", u, d)
		}
		whole.until(patience, "the new state", func(l leaves) bool { return l[r2+"/config/description"] == "now" })
		c.same(c.all("/mcr/forwarding"), whole.now)
	})

	// Back to the default is an update.
	tg.rule(t, "G65", func(c *client) {
		at := r1 + "/config/silence-timeout"
		c.set(update(at, `3`))
		s := c.stream(onChange(r1 + "/config")...)
		c.set(remove(at))
		n := s.note().GetUpdate()
		if u, d := told(n); !slices.Equal(u, []string{at}) || len(d) != 0 || value(n.GetUpdate()[0].GetVal()) != "10" {
			c.t.Errorf("told %v", n)
		}
		c.same(c.all(r1+"/config"), s.now)
	})

	// A Set of what is there says nothing.
	tg.rule(t, "G66", func(c *client) {
		s := c.stream(onChange("/mcr/forwarding")...)
		c.set(update(description, `"first"`))
		c.restart()
		c.set(update(description, `"second"`))
		n := s.note().GetUpdate()
		if u, d := told(n); len(d) != 0 || !slices.Contains(u, description) {
			c.t.Errorf("told first: updates %v, deletes %v", u, d)
		}
	})

	// updates_only.
	tg.rule(t, "G72", func(c *client) {
		news := func(l *gpb.SubscriptionList) { l.UpdatesOnly = true }
		s := c.open(request(news, onChange(rules)...))
		if first := s.sync(); len(first) != 0 {
			c.t.Errorf("before the sync: %v", first)
		}
		c.set(update(description, `"news"`))
		if u, _ := told(s.note().GetUpdate()); !slices.Contains(u, description) {
			c.t.Errorf("told %v", u)
		}
		s = c.open(request(func(l *gpb.SubscriptionList) { once(l); news(l) }, onChange(rules)...))
		if first := s.sync(); len(first) != 0 {
			c.t.Errorf("ONCE: %v", first)
		}
		s.ends(codes.OK)
	})

	// A path without data.
	tg.rule(t, "G75", func(c *client) {
		s := c.open(request(once, onChange(r3, r1+"/config/input-source")...))
		if first := s.sync(); len(first) != 0 {
			c.t.Errorf("ONCE: %v", first)
		}
		s.ends(codes.OK)
		s = c.stream(onChange(r3)...)
		c.set(update(r3, r3JSON))
		s.until(patience, "the new entry", func(l leaves) bool { return l[r3+"/config/input-port"] == "5003" })
	})

	// Paths that cannot have data.
	tg.rule(t, "G76", func(c *client) {
		for _, mode := range []func(*gpb.SubscriptionList){nil, once, poll} {
			c.open(request(mode, onChange(r1, "/mcr/forwardin")...)).ends(codes.InvalidArgument, "forwardin")
			c.open(request(mode, onChange(r1+"/config/colour")...)).ends(codes.InvalidArgument, "colour")
			c.open(request(mode, onChange(r1, "/mcr/amt-relay")...)).ends(codes.Unimplemented, "amt-relay")
		}
	})

	// Wildcards cover what comes later.
	tg.rule(t, "G77", func(c *client) {
		var all []*stream
		for _, p := range []string{"/", "/...", rules + "/rule[name=*]", rules + "/rule", rules + "/rule/config/name", "/mcr/.../name", "/mcr/*/rules/rule/config"} {
			all = append(all, c.stream(onChange(p)...))
		}
		c.set(update(r3, r3JSON))
		for _, s := range all {
			s.until(patience, "the new entry", func(l leaves) bool { return l[r3+"/config/name"] == "r3" })
		}
		c.set(remove(r3))
		for _, s := range all {
			s.until(patience, "its end", func(l leaves) bool { return l[r3+"/config/name"] == "" })
		}
	})

	// What is no subscription.
	tg.rule(t, "G79", func(c *client) {
		good := c.stream(onChange(description)...)
		c.open(request(nil)).ends(codes.InvalidArgument, "no subscription")
		c.open(&gpb.SubscribeRequest{}).ends(codes.InvalidArgument)
		c.open(pollNow).ends(codes.InvalidArgument, "poll")
		for _, mode := range []func(*gpb.SubscriptionList){nil, poll} {
			s := c.open(request(mode, onChange(description)...))
			s.sync()
			c.must(s.call.Send(request(mode, onChange(description)...)))
			s.ends(codes.InvalidArgument, "second")
		}
		s := c.stream(onChange(description)...)
		c.must(s.call.Send(pollNow))
		s.ends(codes.InvalidArgument, "poll")
		c.set(update(description, `"still here"`))
		good.until(patience, "the change", func(l leaves) bool { return l[description] == "still here" })
	})

	// Encodings, leaf by leaf.
	tg.rule(t, "G80", func(c *client) {
		c.open(request(func(l *gpb.SubscriptionList) { l.Encoding = gpb.Encoding_ASCII }, onChange(r1)...)).ends(codes.Unimplemented, "ASCII")
		c.open(request(func(l *gpb.SubscriptionList) { l.Encoding = gpb.Encoding_BYTES }, onChange(r1)...)).ends(codes.Unimplemented, "BYTES")
		for e, want := range map[gpb.Encoding]string{gpb.Encoding_JSON: "*gnmi.TypedValue_JsonVal", gpb.Encoding_JSON_IETF: "*gnmi.TypedValue_JsonIetfVal"} {
			s := c.open(request(func(l *gpb.SubscriptionList) { once(l); l.Encoding = e }, onChange("/")...))
			n := 0
			for _, note := range s.sync() {
				for _, u := range note.GetUpdate() {
					if got := fmt.Sprintf("%T", u.GetVal().GetValue()); got != want {
						c.t.Fatalf("%v: %v", e, u)
					}
					n++
				}
			}
			if n < 50 {
				c.t.Errorf("%v: %d leaves", e, n)
			}
		}
	})

	// A leaf an Update; those of one Notification are of one moment.
	tg.rule(t, "G81", func(c *client) {
		s := c.open(request(func(l *gpb.SubscriptionList) { once(l); l.Encoding = gpb.Encoding_JSON_IETF }, onChange("/")...))
		for _, n := range s.sync() {
			for _, u := range n.GetUpdate() {
				if strings.HasPrefix(value(u.GetVal()), "{") {
					c.t.Fatalf("not a leaf: %v", u)
				}
			}
		}
		live := c.stream(onChange(rules)...)
		c.set(&gpb.SetRequest{Update: []*gpb.Update{put(description, str("together")), put(r2+"/config/description", str("together"))}})
		if u, _ := told(live.note().GetUpdate()); !slices.Contains(u, description) || !slices.Contains(u, r2+"/config/description") {
			c.t.Errorf("one Set told apart: %v", u)
		}
	})

	// Prefix and timestamps.
	tg.rule(t, "G82", func(c *client) {
		r := request(func(l *gpb.SubscriptionList) {
			l.Prefix = &gpb.Path{Target: "router-7", Origin: "openconfig", Elem: path(rules).GetElem()}
		},
			onChange("/rule[name=r1]")...)
		s := c.open(r)
		check := func(n *gpb.Notification) {
			if n.GetPrefix().GetTarget() != "router-7" || n.GetPrefix().GetOrigin() != "openconfig" {
				c.t.Errorf("prefix %v", n.GetPrefix())
			}
			for _, u := range n.GetUpdate() {
				if !strings.HasPrefix(text(n.GetPrefix(), u.GetPath()), r1+"/") {
					c.t.Errorf("path %s", text(n.GetPrefix(), u.GetPath()))
				}
			}
		}
		last := map[string]int64{}
		order := func(n *gpb.Notification) {
			for _, u := range n.GetUpdate() {
				p := text(n.GetPrefix(), u.GetPath())
				if n.GetTimestamp() < last[p] {
					c.t.Errorf("%s: timestamps %d, then %d", p, last[p], n.GetTimestamp())
				}
				last[p] = n.GetTimestamp()
			}
		}
		for _, n := range s.sync() {
			check(n)
			order(n)
		}
		for i := range 20 {
			before := time.Now().UnixNano()
			c.set(update(description, fmt.Sprintf(`"at %d"`, i)))
			after := time.Now().UnixNano()
			n := s.note().GetUpdate()
			check(n)
			order(n)
			if at := n.GetTimestamp(); at < before || at > after {
				c.t.Errorf("the event was between %d and %d, its timestamp is %d", before, after, at)
			}
		}
		// What is first told of a leaf is when it changed, not when it was asked for.
		began := time.Now().UnixNano()
		for _, n := range c.open(request(once, onChange(description)...)).sync() {
			if at := n.GetTimestamp(); at >= began || n.GetPrefix().GetTarget() != "" || n.GetPrefix().GetOrigin() != "" {
				c.t.Errorf("got %v, want the time of the last change and no target", n)
			}
		}
	})

	// A client that has said all it has to say.
	tg.rule(t, "G83", func(c *client) {
		s := c.open(request(nil, onChange(description)...))
		c.must(s.call.CloseSend())
		s.sync()
		for i := range 5 {
			v := fmt.Sprintf("half closed %d", i)
			c.set(update(description, `"`+v+`"`))
			s.until(patience, v, func(l leaves) bool { return l[description] == v })
		}
	})

	// A client that reads nothing harms nobody; and it is told at the end how much it missed.
	tg.rule(t, "G84", func(c *client) { c.stuck(nil) })
	tg.rule(t, "G85", func(c *client) {
		c.stuck(func(rounds int, call gpb.GNMI_SubscribeClient) {
			values, now, deletes := map[string]int{}, leaves{}, 0
			for now[r3+"/config/input-port"] == "" {
				m, err := call.Recv()
				c.must(err)
				now.apply(m.GetUpdate())
				for _, u := range m.GetUpdate().GetUpdate() {
					values[text(m.GetUpdate().GetPrefix(), u.GetPath())] += 1 + int(u.GetDuplicates())
				}
				if _, d := told(m.GetUpdate()); slices.Contains(d, r2) {
					deletes++
				}
			}
			if got := values[rules+"/rule[name=long0]/config/description"]; got != rounds {
				c.t.Errorf("%d values and merged ones, want %d: one for each Set", got, rounds)
			}
			if deletes != 1 || now[r2+"/config/description"] != "" || now[r2+"/config/input-port"] != "5055" {
				c.t.Errorf("deleted and made anew: %d deletes, description %q, port %q", deletes, now[r2+"/config/description"], now[r2+"/config/input-port"])
			}
		})
	})

	// Clients that come and go leave nothing.
	tg.rule(t, "G86", func(c *client) {
		figure := func(name string) uint64 {
			n, err := strconv.ParseUint(c.leaf("/mcr/system/process/state/"+name), 10, 64)
			if err != nil {
				c.t.Fatalf("%s: %v", name, err)
			}
			return n
		}
		churn := func(rounds int) {
			for range rounds {
				s := c.stream(onChange("/")...)
				s.close()
			}
		}
		churn(20)
		goroutines, files := figure("goroutines"), figure("open-files")
		churn(200)
		within(c.t, "as many goroutines and files as before", func() error {
			if g, f, n := figure("goroutines"), figure("open-files"), figure("gnmi-subscriptions"); g > goroutines+5 || f > files+5 || n != 0 {
				return fmt.Errorf("%d goroutines, %d files, %d subscriptions, were %d, %d, 0", g, f, n, goroutines, files)
			}
			return nil
		})
	})

	// A thousand clients on a hundred connections.
	tg.rule(t, "G87", func(c *client) {
		var calls []gpb.GNMI_SubscribeClient
		for range 100 {
			conn := c.other()
			for range 10 {
				call, err := conn.Subscribe(c.t.Context())
				c.must(err)
				c.must(call.Send(request(nil, onChange(description)...)))
				calls = append(calls, call)
			}
		}
		for _, call := range calls {
			for synced := false; !synced; {
				m, err := call.Recv()
				c.must(err)
				synced = m.GetSyncResponse()
			}
		}
		c.set(update(description, `"for all"`))
		answered := time.Now()
		var latest time.Duration
		for _, call := range calls {
			m, err := call.Recv()
			c.must(err)
			if got := value(m.GetUpdate().GetUpdate()[0].GetVal()); got != "for all" {
				c.t.Fatalf("told %q", got)
			}
			latest = max(latest, time.Since(answered))
		}
		c.t.Logf("1,000 clients know after %v", latest)
		if latest > time.Second {
			c.t.Errorf("1,000 clients know after %v", latest)
		}
	})

	// The stream equals the tree, after any mix of Sets, good and bad.
	tg.rule(t, "G89", func(c *client) {
		s := c.stream(onChange("/mcr/forwarding", "/network-instances", "/mcr/mrib", "/mcr/system/configuration")...)
		dice := rand.New(rand.NewPCG(7, 11))
		taken := 0
		for range 150 {
			if _, err := c.Set(c.ctx(), anySet(dice)); err == nil {
				taken++
			}
		}
		if taken < 50 || taken > 149 {
			c.t.Errorf("%d of 150 Sets were taken", taken)
		}
		c.set(update(pim+"/config", `{"enabled":true}`))
		c.set(update("/mcr/forwarding/config/unicast-ttl", `77`))
		s.until(patience, "the end", func(l leaves) bool { return l["/mcr/forwarding/config/unicast-ttl"] == "77" })
		within(c.t, "stream and tree are equal", func() error {
			s.waiting()
			tree := c.all("/mcr/forwarding", "/network-instances", "/mcr/mrib", "/mcr/system/configuration").events()
			for p, v := range tree {
				if s.now[p] != v {
					return fmt.Errorf("%s: stream %q, tree %q", p, s.now[p], v)
				}
			}
			for p := range s.now.events() {
				if _, ok := tree[p]; !ok {
					return fmt.Errorf("%s: only the stream has it", p)
				}
			}
			return nil
		})
	})

	// atomic is for containers that the schema marks, and MCR has none.
	tg.rule(t, "G91", func(c *client) {
		s := c.open(request(once, onChange("/")...))
		for _, n := range s.sync() {
			if n.GetAtomic() {
				c.t.Fatalf("atomic: %v", n)
			}
		}
	})

	// Packet markings.
	tg.rule(t, "G92", func(c *client) {
		marked := func(n uint32) *gpb.SubscribeRequest {
			return request(func(l *gpb.SubscriptionList) { l.Qos = &gpb.QOSMarking{Marking: n} }, onChange(r1)...)
		}
		for _, c := range []*client{c, tg.tcp(c.t, "127.0.0.1:9339")} {
			c.open(marked(64)).ends(codes.InvalidArgument, "64", "63")
			c.open(marked(63)).sync()
			c.open(marked(10)).sync()
		}
	})
}

// stuck has a client that reads nothing while others, and Sets, go on as ever. At the end it may read.
func (c *client) stuck(after func(rounds int, call gpb.GNMI_SubscribeClient)) {
	c.t.Helper()
	const rounds, entries = 40, 60
	call, err := c.other().Subscribe(c.t.Context())
	c.must(err)
	c.must(call.Send(request(nil, onChange("/mcr/forwarding")...)))
	for synced := false; !synced; {
		m, err := call.Recv()
		c.must(err)
		synced = m.GetSyncResponse()
	}
	c.set(update(r2+"/config/description", `"goes with the entry"`))
	live := c.stream(onChange(description)...)
	var took []time.Duration
	for i := range rounds {
		r := &gpb.SetRequest{}
		for e := range entries { // 15 kB of news in each
			r.Update = append(r.Update, put(fmt.Sprintf("%s/rule[name=long%d]", rules, e), ietf(fmt.Sprintf(
				`{"config":{"description":"%d %s","input-interface":"eth0","input-group":"239.4.0.%d","input-port":8000}}`, i, strings.Repeat("x", 240), e))))
		}
		v := fmt.Sprint("round ", i)
		r.Update = append(r.Update, put(description, str(v)))
		begin := time.Now()
		c.set(r)
		live.until(patience, v, func(l leaves) bool { return l[description] == v })
		took = append(took, time.Since(begin))
	}
	c.set(remove(r2))
	c.set(update(r2, `{"config":{"input-interface":"eth0","input-group":"239.1.1.2","input-port":5055}}`))
	c.set(update(r3, r3JSON)) // the last news
	slices.Sort(took)
	if median := took[rounds/2]; median > time.Second {
		c.t.Errorf("a Set of %d rules and its news took %v beside a client that does not read", entries, median)
	}
	if after != nil {
		after(rounds, call)
	}
}

// anySet is a Set of a few operations, good or bad.
func anySet(dice *rand.Rand) *gpb.SetRequest {
	r := &gpb.SetRequest{}
	for range 1 + dice.IntN(3) {
		rule := fmt.Sprintf("%s/rule[name=d%d]", rules, dice.IntN(6))
		output := fmt.Sprintf("%s/outputs/output[name=o%d]", rule, dice.IntN(3))
		group := fmt.Sprintf("239.5.0.%d", dice.IntN(4))
		ruleJSON := fmt.Sprintf(`{"config":{"input-interface":"eth0","input-group":%q,"input-port":%d,"silence-timeout":%d}}`, group, 5000+dice.IntN(3), dice.IntN(20))
		outJSON := fmt.Sprintf(`{"config":{"interface":"eth1","unicast-dest":"10.0.1.%d","port":%d}}`, 1+dice.IntN(3), 6000+dice.IntN(3))
		switch dice.IntN(9) {
		case 0:
			r.Delete = append(r.Delete, path(rule))
		case 1:
			r.Delete = append(r.Delete, path(output))
		case 2, 3:
			r.Replace = append(r.Replace, put(rule, ietf(ruleJSON)))
		case 4, 5:
			r.Update = append(r.Update, put(rule, ietf(ruleJSON)))
		case 6, 7:
			r.Update = append(r.Update, put(output, ietf(outJSON)))
		case 8:
			r.Update = append(r.Update, put(rule+"/config/description", str(fmt.Sprint(dice.IntN(3)))))
		}
	}
	return r
}

// within waits for what no event tells.
func within(t *testing.T, what string, ok func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, patience, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Stop and start.
func TestStop(t *testing.T) {
	t.Parallel()
	tg := start(t)
	tg.rule(t, "G90", func(c *client) {
		s := c.stream(onChange(r1)...)
		health := c.watchHealth()
		begin := time.Now()
		stopped := make(chan error, 1)
		go func() { stopped <- tg.Stop() }()
		for m := s.next(patience); ; m = s.next(patience) {
			if m.err == nil {
				continue
			}
			if errors.Is(m.err, io.EOF) {
				m.err = nil
			}
			c.refused(m.err, codes.Unavailable)
			break
		}
		if d := time.Since(begin); d > 2*time.Second {
			c.t.Errorf("the stream ended after %v", d)
		}
		if last := health(); last != "NOT_SERVING" {
			c.t.Errorf("the last that health said is %s", last)
		}
		c.must(<-stopped)
		tg.Start()
		s = c.stream(onChange(r1)...)
		c.same(c.all(r1), s.now)
		if len(s.now) < 10 {
			c.t.Errorf("after the restart: %v", s.now)
		}
	})
}
