// SPDX-License-Identifier: Apache-2.0

package interop_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/openconfig/gnmi/proto/gnmi_ext"
	"google.golang.org/grpc/codes"
)

// stream is one Subscribe call. A goroutine takes what comes and notes when.
type stream struct {
	t     *testing.T
	c     *client
	call  gpb.GNMI_SubscribeClient
	got   chan message
	now   leaves // all that was taken from got, applied
	close func() // ends the call; safe twice
}

// message is what came at one moment; err is how the call ended.
type message struct {
	*gpb.SubscribeResponse
	at  time.Time
	err error
}

// request is a Subscribe call's first message, STREAM with PROTO unless f makes it something else.
func request(f func(*gpb.SubscriptionList), subs ...*gpb.Subscription) *gpb.SubscribeRequest {
	l := &gpb.SubscriptionList{Encoding: gpb.Encoding_PROTO, Subscription: subs}
	if f != nil {
		f(l)
	}
	return &gpb.SubscribeRequest{Request: &gpb.SubscribeRequest_Subscribe{Subscribe: l}}
}

// The other modes of a subscription list.
func once(l *gpb.SubscriptionList) { l.Mode = gpb.SubscriptionList_ONCE }
func poll(l *gpb.SubscriptionList) { l.Mode = gpb.SubscriptionList_POLL }

var pollNow = &gpb.SubscribeRequest{Request: &gpb.SubscribeRequest_Poll{Poll: &gpb.Poll{}}}

// onChange and sample are subscriptions to paths.
func onChange(ps ...string) (subs []*gpb.Subscription) {
	for _, p := range ps {
		subs = append(subs, &gpb.Subscription{Path: path(p), Mode: gpb.SubscriptionMode_ON_CHANGE})
	}
	return subs
}

func sample(every time.Duration, p string) *gpb.Subscription {
	return &gpb.Subscription{Path: path(p), Mode: gpb.SubscriptionMode_SAMPLE, SampleInterval: uint64(every)}
}

// open starts a Subscribe call and sends its first messages.
func (c *client) open(first ...*gpb.SubscribeRequest) *stream {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	call, err := c.Subscribe(ctx)
	c.must(err)
	s := &stream{t: c.t, c: c, call: call, got: make(chan message, 100_000), now: leaves{}}
	for _, m := range first {
		if err := call.Send(m); err != nil && !errors.Is(err, io.EOF) { // EOF: refused by now; what is received says why
			c.t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			r, err := call.Recv()
			select {
			case s.got <- message{r, time.Now(), err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	})
	s.close = sync.OnceFunc(func() { cancel(); wg.Wait() })
	c.t.Cleanup(s.close)
	return s
}

// stream opens a STREAM and reads up to its sync marker.
func (c *client) stream(subs ...*gpb.Subscription) *stream {
	c.t.Helper()
	s := c.open(request(nil, subs...))
	s.sync()
	return s
}

// next is the next message, or the end of the call.
func (s *stream) next(within time.Duration) message {
	s.t.Helper()
	select {
	case m := <-s.got:
		s.now.apply(m.GetUpdate())
		return m
	case <-time.After(within):
		s.t.Fatalf("nothing came within %v", within)
		return message{}
	}
}

// note is the next notification.
func (s *stream) note() message {
	s.t.Helper()
	m := s.next(patience)
	if m.err != nil || m.GetUpdate() == nil {
		s.t.Fatalf("got %v, %v, want a notification", m.SubscribeResponse, m.err)
	}
	return m
}

// sync reads up to the sync marker and returns the notifications before it.
func (s *stream) sync() (all []*gpb.Notification) {
	s.t.Helper()
	for {
		m := s.next(patience)
		if m.err != nil {
			s.t.Fatalf("no sync: %v", m.err)
		}
		if m.GetSyncResponse() {
			return all
		}
		all = append(all, m.GetUpdate())
	}
}

// ends demands that the call ends now with this code, and nothing before that.
func (s *stream) ends(code codes.Code, words ...string) {
	s.t.Helper()
	m := s.next(patience)
	switch {
	case m.err == nil:
		s.t.Errorf("got %v, want the end with %v", m.SubscribeResponse, code)
	case errors.Is(m.err, io.EOF):
		s.c.refused(nil, code, words...)
	default:
		s.c.refused(m.err, code, words...)
	}
}

// until reads until the leaves are as ok wants them.
func (s *stream) until(within time.Duration, what string, ok func(leaves) bool) {
	s.t.Helper()
	deadline := time.Now().Add(within)
	for !ok(s.now) {
		select {
		case m := <-s.got:
			if m.err != nil {
				s.t.Fatalf("%s: the call ended: %v", what, m.err)
			}
			s.now.apply(m.GetUpdate())
		case <-time.After(time.Until(deadline)):
			s.t.Fatalf("%s: not within %v; now %v", what, within, s.now)
		}
	}
}

// during takes what comes in this time.
func (s *stream) during(d time.Duration) (all []message) {
	s.t.Helper()
	end := time.After(d)
	for {
		select {
		case m := <-s.got:
			if m.err != nil {
				s.t.Fatalf("the call ended: %v", m.err)
			}
			s.now.apply(m.GetUpdate())
			all = append(all, m)
		case <-end:
			return all
		}
	}
}

// waiting takes what has come.
func (s *stream) waiting() (all []message) {
	s.t.Helper()
	for len(s.got) > 0 {
		all = append(all, s.next(patience))
	}
	return all
}

// told are the paths of a notification, updates and deletes.
func told(n *gpb.Notification) (updates, deletes []string) {
	for _, u := range n.GetUpdate() {
		updates = append(updates, text(n.GetPrefix(), u.GetPath()))
	}
	for _, p := range n.GetDelete() {
		deletes = append(deletes, text(n.GetPrefix(), p))
	}
	return updates, deletes
}

// depth is the extension of that name.
func depth(n uint32) *gnmi_ext.Extension {
	return &gnmi_ext.Extension{Ext: &gnmi_ext.Extension_Depth{Depth: &gnmi_ext.Depth{Level: n}}}
}
