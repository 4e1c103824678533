// SPDX-License-Identifier: Apache-2.0

package gnmi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"

	"mcr/northbound/telemetry"
)

// Subscribe serves one client until it goes, is too slow, or the server stops.
func (s *Server) Subscribe(stream gpb.GNMI_SubscribeServer) error {
	return toStatus(s.subscribe(stream))
}

func (s *Server) subscribe(stream gpb.GNMI_SubscribeServer) error {
	if n := s.clients.Add(1); n > int64(s.cfg.MaxClients) {
		s.clients.Add(-1)
		return refuse(errLimit, "more than %d Subscribe calls", s.cfg.MaxClients)
	}
	defer s.clients.Add(-1)
	leave, err := enterStream(stream.Context(), s.cfg.MaxStreams)
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	defer context.AfterFunc(s.stopping, func() { cancel(errStopping) })()

	first, err := stream.Recv()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return refuse(errInvalid, "no subscription list")
		}
		return err
	}
	who := caller(ctx)
	list, req, err := s.readList(first, who)
	if err != nil {
		return err
	}
	if q := list.GetQos(); q != nil {
		if err := mark(ctx, q.GetMarking()); err != nil {
			s.log.Info("qos marking was not set", "address", who.address, "err", err)
		}
	}
	c := &subscriber{server: s, stream: stream, ctx: ctx, cancel: cancel, call: newCall(list, req, who)}
	s.calls.begin(c.call)
	defer s.calls.end(c.call)
	return c.serve(list.GetMode(), req)
}

func newCall(list *gpb.SubscriptionList, req telemetry.Request, who client) *call {
	k := &call{
		who: who, rpc: "subscribe", mode: strings.ToLower(list.GetMode().String()), encoding: list.GetEncoding().String(),
		stays: list.GetMode() == gpb.SubscriptionList_STREAM,
	}
	for i := range req.Subscriptions {
		if !k.asks(req.Subscriptions[i].Pattern.String()) {
			break
		}
	}
	return k
}

// serve answers until the client has all it asked for, is too slow, goes, or the server stops.
func (c *subscriber) serve(mode gpb.SubscriptionList_Mode, req telemetry.Request) error {
	s := c.server
	c.slow = time.AfterFunc(time.Hour, func() {
		c.cancel(refuse(errSlow, "the client took nothing for %v", s.cfg.SlowClient))
	})
	c.slow.Stop()
	defer c.slow.Stop()
	var err error
	switch mode {
	case gpb.SubscriptionList_ONCE:
		err = c.run(func() error { return s.tree.Once(req, c.send) })
	case gpb.SubscriptionList_POLL:
		err = c.run(func() error { return c.poll(req) })
	default:
		sub := s.tree.Subscribe(req)
		defer sub.Close()
		c.call.stream.Store(sub)
		go func() {
			if err := s.guard("Subscribe", c.drain); err != nil {
				c.cancel(err)
			}
		}()
		err = c.run(func() error { return sub.Run(c.ctx, c.send) })
	}
	if errors.Is(err, errSlow) || errors.Is(err, telemetry.ErrSlow) {
		s.calls.dropped.Add(1)
	}
	return err
}

// subscriber is one Subscribe call.
type subscriber struct {
	server *Server
	stream gpb.GNMI_SubscribeServer
	ctx    context.Context //nolint:containedctx // the call's own
	cancel context.CancelCauseFunc
	slow   *time.Timer // runs while a message is being sent
	call   *call
}

func (c *subscriber) send(m *telemetry.Message) error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	c.slow.Reset(c.server.cfg.SlowClient)
	defer c.slow.Stop()
	if err := c.stream.SendMsg(m); err != nil {
		return err
	}
	c.call.sent.Add(1)
	return nil
}

// run does the sending in a goroutine of its own: one that is blocked on the client ends when the handler returns, because
// gRPC then ends the stream.
func (c *subscriber) run(work func() error) error {
	done := make(chan error, 1)
	go func() { done <- c.server.guard("Subscribe", work) }()
	select {
	case err := <-done:
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		return err
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	}
}

// drain reads what a client sends on a STREAM after its list: nothing but the end of its side, after which the stream goes on.
func (c *subscriber) drain() error {
	m, err := c.stream.Recv()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	case m.GetPoll() != nil:
		return refuse(errInvalid, "poll on a STREAM")
	}
	return refuse(errInvalid, "a second subscription list")
}

// poll answers each Poll with everything and a sync marker.
func (c *subscriber) poll(req telemetry.Request) error {
	for {
		if err := c.server.tree.Once(req, c.send); err != nil {
			return err
		}
		m, err := c.stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case m.GetPoll() == nil:
			return refuse(errInvalid, "a second subscription list")
		}
		if _, err := readExtensions("Subscribe", m.GetExtension()); err != nil {
			return err
		}
	}
}

// readList checks the first message of a client.
func (s *Server) readList(m *gpb.SubscribeRequest, who client) (*gpb.SubscriptionList, telemetry.Request, error) {
	req := telemetry.Request{Now: s.cfg.Now}
	ext, err := readExtensions("Subscribe", m.GetExtension())
	if err != nil {
		return nil, req, err
	}
	list := m.GetSubscribe()
	switch {
	case m.GetPoll() != nil:
		return nil, req, refuse(errInvalid, "the first message is a poll: send the subscription list first")
	case list == nil || len(list.GetSubscription()) == 0:
		return nil, req, refuse(errInvalid, "no subscriptions")
	case len(list.GetSubscription()) > s.cfg.MaxSubscriptions:
		return nil, req, refuse(errLimit, "more than %d subscriptions in one call", s.cfg.MaxSubscriptions)
	case list.GetQos().GetMarking() > 63:
		return nil, req, refuse(errInvalid, "qos marking %d is above 63", list.GetQos().GetMarking())
	}
	if _, ok := gpb.SubscriptionList_Mode_name[int32(list.GetMode())]; !ok {
		return nil, req, refuse(errInvalid, "unknown mode %v", list.GetMode())
	}
	if err := checkPrefix(list.GetPrefix()); err != nil {
		return nil, req, err
	}
	if req.Filter.Modules, err = s.namespaces(list.GetUseModels()); err != nil {
		return nil, req, err
	}
	req.Filter.Readable = who.readable()
	req.Filter.Depth, req.CommitMarks, req.UpdatesOnly = ext.depth, ext.configOnly, list.GetUpdatesOnly()
	origin, seen := "", map[string]bool{}
	for i, sub := range list.GetSubscription() {
		t, o, err := s.readSubscription(list, sub)
		if err == nil {
			err = who.mayRead(t.Pattern)
		}
		if err != nil {
			return nil, req, err
		}
		switch {
		case i == 0 || o == origin:
			origin = o
		case meaning(o) == meaning(origin): // one prefix for all
			origin = meaning(o)
		default:
			return nil, req, refuse(errInvalid, "origins %q and %q in one call", origin, o)
		}
		// The same again adds nothing but the work.
		if key := fmt.Sprint(t.Pattern, t.Mode, t.Interval, t.Heartbeat, t.SuppressRedundant); !seen[key] {
			seen[key] = true
			req.Subscriptions = append(req.Subscriptions, t)
		}
	}
	req.Prefix = answerPrefix(list.GetPrefix().GetTarget(), origin)
	req.Encoding, err = encoding(list.GetEncoding(), origin)
	return list, req, err
}

func (s *Server) readSubscription(list *gpb.SubscriptionList, sub *gpb.Subscription) (telemetry.Subscription, string, error) {
	pattern, origin, err := s.query(list.GetPrefix(), sub.GetPath())
	if err != nil {
		return telemetry.Subscription{}, "", err
	}
	out := telemetry.Subscription{
		Pattern: pattern, SuppressRedundant: sub.GetSuppressRedundant(),
		Interval: nanoseconds(sub.GetSampleInterval()), Heartbeat: nanoseconds(sub.GetHeartbeatInterval()),
	}
	if list.GetMode() != gpb.SubscriptionList_STREAM { // modes and intervals mean nothing in ONCE and POLL
		return out, origin, nil
	}
	switch sub.GetMode() {
	case gpb.SubscriptionMode_TARGET_DEFINED:
		out.Mode = telemetry.TargetDefined
	case gpb.SubscriptionMode_ON_CHANGE:
		out.Mode = telemetry.OnChange
	case gpb.SubscriptionMode_SAMPLE:
		out.Mode = telemetry.Sample
	default:
		return out, "", refuse(errInvalid, "%s: unknown mode %v", pattern, sub.GetMode())
	}
	if err := out.Check(); err != nil {
		return out, "", &refusal{cause: errInvalid, text: fmt.Sprintf("%s: %v", pattern, err)}
	}
	return out, origin, nil
}

// nanoseconds reads an interval; one of centuries is as good as for ever.
func nanoseconds(n uint64) time.Duration { return time.Duration(min(n, math.MaxInt64/2)) }
