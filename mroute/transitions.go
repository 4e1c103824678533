// SPDX-License-Identifier: Apache-2.0

package mroute

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"mcr/mroute/mrib"
)

// transitions writes one line for each change of an input or output, so many a second at most, and then says how many
// it left out. Configuration that switches something off is no news to the one who did it.
type transitions struct {
	log     *slog.Logger
	now     func() time.Time
	limit   *rate.Limiter
	dropped int
}

func newTransitions(log *slog.Logger, now func() time.Time) *transitions {
	return &transitions{log: log, now: now, limit: rate.NewLimiter(10, 50)}
}

func (t *transitions) line(level slog.Level, msg string, attrs ...any) {
	if !t.limit.AllowN(t.now(), 1) {
		t.dropped++
		return
	}
	t.log.Log(context.Background(), level, msg, attrs...)
}

// flush says how many lines were left out since the last flush.
func (t *transitions) flush() {
	if t.dropped > 0 && t.limit.AllowN(t.now(), 1) {
		t.log.Warn("more inputs and outputs changed than are logged; see their state", "left_out", t.dropped)
		t.dropped = 0
	}
}

// output tells that an output went down, came up, works in part, or does not for another reason; and what head-end replication makes of
// it. Of a row whose copies come back the input tells, for all its outputs: that is loop.
func (t *transitions) output(k RuleOutputKey, was, is *OutputState, loop bool, err error) {
	attrs := []any{"rule", k.Rule, "output", k.Output}
	switch {
	case was.Reason == is.Reason && was.Oper == is.Oper:
		t.rewritten(attrs, was, is)
		return
	case is.Reason == mrib.ReasonNone && was.Reason == mrib.Loop:
		return
	case is.Reason == mrib.ReasonNone:
		t.line(slog.LevelInfo, "output is up", append(attrs, "was", was.Reason.String())...)
		return
	case is.Reason == mrib.AdminDisabled, is.Reason == mrib.Loop && loop:
		return
	}
	attrs = append(attrs, "reason", is.Reason.String())
	if err != nil {
		attrs = append(attrs, "err", err)
	}
	t.line(slog.LevelWarn, "output is "+is.Oper.String(), attrs...)
}

// rewritten tells that an output is sent another way.
func (t *transitions) rewritten(attrs []any, was, is *OutputState) {
	switch {
	case was.HERActive && !is.HERActive:
		t.line(slog.LevelInfo, "output is multicast again", attrs...)
	case !was.HERActive && is.HERActive:
		t.line(slog.LevelInfo, "output is turned into unicast copies", append(attrs, "branches", is.Branches)...)
	case !is.HERActive:
	case was.Branches != is.Branches, is.Branches == 1 && was.Endpoint != is.Endpoint:
		attrs = append(attrs, "branches", is.Branches)
		if is.Branches == 1 {
			attrs = append(attrs, "destination", is.Endpoint)
		}
		t.line(slog.LevelInfo, "output follows its endpoints", attrs...)
	}
}

// flagless tells that multicast is sent on an interface without IFF_MULTICAST.
func (t *transitions) flagless(iface string) {
	t.line(slog.LevelWarn, "multicast is sent on an interface without multicast", "interface", iface)
}

// input tells the same of a rule's input, and whether a stream comes. was is nil for a new rule.
func (t *transitions) input(rule string, was, is *RuleState) {
	old := InputState{Status: InputNever}
	if was != nil {
		old = was.InputState
	}
	attrs := []any{"rule", rule}
	switch {
	case is.Reason != old.Reason && is.Reason == mrib.ReasonNone:
		t.line(slog.LevelInfo, "input is up", append(attrs, "was", old.Reason.String())...)
	case is.Reason != old.Reason && is.Reason == mrib.Loop:
		t.line(slog.LevelWarn, "input is down: its own copies come back", append(attrs, "reason", is.Reason.String(), "retry_in", is.Retry.Sub(t.now()).Round(time.Second))...)
	case is.Reason != old.Reason && is.Reason != mrib.AdminDisabled:
		t.line(slog.LevelWarn, "input is "+is.Oper.String(), append(attrs, "reason", is.Reason.String())...)
	case is.Status == old.Status:
	case is.Status == InputReceiving:
		t.line(slog.LevelInfo, "stream comes in", attrs...)
	case is.Status == InputSilent:
		t.line(slog.LevelWarn, "stream stopped", attrs...)
	case is.Status == InputDiscarding:
		t.line(slog.LevelWarn, "stream is dropped", append(attrs, "reason", is.DiscardReason)...)
	}
}

// elsewhere tells that the stream of a quiet input arrives on another interface.
func (t *transitions) elsewhere(r *mrib.Rule, iface string) {
	t.line(slog.LevelWarn, "stream arrives on another interface", "rule", r.Name, "interface", r.Interface, "arrives_on", iface)
}
