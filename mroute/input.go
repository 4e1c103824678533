// SPDX-License-Identifier: Apache-2.0

package mroute

import (
	"time"

	"mcr/dataplane/plan"
	"mcr/mroute/mrib"
)

// inputWatch follows the counters of one input to say whether a stream comes (F7).
type inputWatch struct {
	list     plan.ListID // whose counters these are
	packets  uint64
	drops    [len(dropReasons)]uint64
	flows    bool      // something was forwarded between the last two looks
	good     time.Time // when something was last forwarded
	bad      time.Time // when something was last dropped
	reason   string    // why
	limited  time.Time // when datagrams were last beyond the limit of learnt ports
	where    string    // the interface a stream was seen on, for reason wrong-interface
	over     bool      // limited is recent
	status   InputStatus
	oper     mrib.Oper
	operWhen time.Time
}

// tickJitter is how much early a look may come.
const tickJitter = 100 * time.Millisecond

// dropReasons are the YANG discard-reasons that the dataplane counts per input, in the order of drops.
var dropReasons = [...]string{"ttl", "truncated", "overrun", "checksum", "gso", "limit", "loop"}

const (
	limitDrops = 5 // in dropReasons
	loopDrops  = 6
)

// watch returns the watch of a row's rule, a new one where the row is new.
func (r *Router) watch(e *mrib.Entry, now time.Time) *inputWatch {
	w := r.inputs[e.Rule.Name]
	if w == nil || w.list != e.List.ID {
		w = &inputWatch{list: e.List.ID, status: InputNever, operWhen: now, drops: r.counts(e).drops} // a point may be older
		r.inputs[e.Rule.Name] = w
	}
	return w
}

// watchInputs looks at the counters of every input, and tells what changed.
func (r *Router) watchInputs(b *Batch) {
	csum := r.dp.Totals().ChecksumErrors
	wrong := csum > r.csum
	r.csum = csum
	if len(r.table.Entries) == 0 {
		return
	}
	elsewhere := r.strays.find(r)
	for _, e := range r.table.Entries {
		w := r.watch(e, b.Time)
		w.look(r.counts(e), wrong, b.Time)
		if iface := elsewhere[e.Rule.Name]; iface != "" && !w.flows {
			if w.bad, w.reason = b.Time, "wrong-interface"; w.where != iface {
				w.where = iface
				r.warn.elsewhere(e.Rule, iface)
			}
		}
		over := w.over
		w.over = w.overLimit(b.Time)
		if status := w.judge(e.Rule.SilenceTimeout, b.Time); status != w.status || status == InputDiscarding || over != w.over {
			w.status = status
			r.publishInput(b, e)
		}
	}
}

// inputCounts is what the dataplane counted for one input.
type inputCounts struct {
	packets uint64
	last    time.Time // of packets
	drops   [len(dropReasons)]uint64
}

func (r *Router) counts(e *mrib.Entry) inputCounts {
	var c inputCounts
	if lc, ok := r.dp.List(e.List.ID); ok {
		c.packets, c.last, c.drops[0], c.drops[loopDrops] = lc.Packets, lc.LastPacketTime, lc.DroppedTTL, lc.DroppedLoop
	}
	if k, ok := r.table.Point(e.Key); ok {
		if pc, ok := r.dp.Point(k); ok {
			c.drops = [...]uint64{c.drops[0], pc.Truncated, pc.Overrun, pc.Checksum, pc.GSO, pc.Limit, c.drops[loopDrops]}
		}
	}
	return c
}

// look takes in the counters as they are now; wrong says that somewhere checksums were wrong since the last look.
func (w *inputWatch) look(c inputCounts, wrong bool, now time.Time) {
	if w.flows = c.packets > w.packets; w.flows {
		w.good = now
		if !c.last.IsZero() && c.last.Before(now) {
			w.good = c.last
		}
	}
	if c.drops[limitDrops] > w.drops[limitDrops] {
		w.limited = now
	}
	most := uint64(0)
	for i := range c.drops {
		if d := c.drops[i] - w.drops[i]; c.drops[i] > w.drops[i] && d > most {
			most, w.bad, w.reason = d, now, dropReasons[i]
		}
	}
	// The kernel counts wrong checksums for the whole namespace only. They are laid to the inputs that get nothing.
	if wrong && most == 0 && !w.flows {
		w.bad, w.reason = now, "checksum"
	}
	w.packets, w.drops = c.packets, c.drops
}

// limitMemory is how long an input is degraded after datagrams for more ports than it may learn.
const limitMemory = 10 * time.Second

func (w *inputWatch) overLimit(now time.Time) bool {
	return !w.limited.IsZero() && now.Sub(w.limited) < limitMemory
}

// judge says what the input is doing. Drops beside a stream that flows are counters, not a status.
func (w *inputWatch) judge(silence time.Duration, now time.Time) InputStatus {
	recent := func(t time.Time, limit time.Duration) bool { return !t.IsZero() && now.Sub(t) < limit }
	limit := max(silence, time.Second)
	switch {
	case recent(w.good, limit), silence == 0 && !w.good.IsZero():
		return InputReceiving
	case recent(w.bad, limit-tickJitter): // drops have the time of the look that found them
		return InputDiscarding
	case w.good.IsZero():
		return InputNever
	}
	return InputSilent
}

// inputState puts together what is known of a row's input, with the outputs of the rule, and with those of the row.
func (r *Router) inputState(e *mrib.Entry, now time.Time) (rule, row InputState) {
	w := r.watch(e, now)
	st := InputState{Created: e.Created, Status: w.status, DiscardReason: "none", LearntPorts: r.table.LearntPorts(e.Key)}
	st.Method, st.MethodReason = r.table.Receive(e.Key)
	in := r.table.Ingress(e.Key)
	st.Reason = in.Reason
	if p, ok := r.table.Point(e.Key); ok {
		if d, deaf := r.deaf[p]; !deaf {
			st.Joined = true
		} else if st.Reason == mrib.ReasonNone {
			st.Reason = joinReason(d.err)
		}
	}
	if st.Reason == mrib.ReasonNone && e.Reason != mrib.ReasonNone {
		st.Reason, st.Retry = e.Reason, r.loops.retry(e.Key)
	}
	rows, rowsUp := r.countOutputs(e, &st)
	switch {
	case st.Reason != mrib.ReasonNone:
		st.Oper = mrib.Down
	case w.overLimit(now):
		st.Oper, st.Reason = mrib.Degraded, mrib.LimitExceeded
	case st.OutputsUp < st.Outputs:
		st.Oper = mrib.Degraded
	}
	if !st.Joined {
		st.Status = InputNotJoined
	}
	if st.Status == InputDiscarding {
		st.DiscardReason = w.reason
	}
	if w.oper != st.Oper {
		w.oper, w.operWhen = st.Oper, now
	}
	st.LastChange = w.operWhen
	row = st
	row.Outputs, row.OutputsUp = rows, rowsUp
	return st, row
}

// countOutputs counts the outputs of the rule into st, and returns those of the row. An output of the rule with several instances is up
// when they all are.
func (r *Router) countOutputs(e *mrib.Entry, st *InputState) (rows, rowsUp int) {
	heads := map[plan.OutputID]bool{} // that are up so far
	for _, m := range e.Members {
		up := r.reason(e, m) == mrib.ReasonNone
		if m.Row() {
			rows++
			if up {
				rowsUp++
			}
		}
		switch {
		case !m.Instance():
			st.Outputs++
			if up {
				st.OutputsUp++
				if m.Copies > 1 {
					heads[m.ID()] = true
				}
			}
		case !up && heads[m.Trunk()]:
			delete(heads, m.Trunk())
			st.OutputsUp--
		}
	}
	return rows, rowsUp
}

// joinReason says in the MRIB's words why there is no receive socket.
func joinReason(err error) mrib.Reason {
	if reason := socketReason(err); reason != mrib.SendFailing && reason != mrib.NoAddress && reason != mrib.NoRoute {
		return reason
	}
	return mrib.JoinFailed
}

// disabledInput is the state of a rule that is switched off.
func (r *Router) disabledInput(name string, outputs int, b *Batch) InputState {
	st := InputState{
		Created: b.Time, Status: InputNotJoined, DiscardReason: "none", Oper: mrib.Down, Reason: mrib.AdminDisabled,
		LastChange: b.Time, Outputs: outputs,
	}
	if was := r.seen.rules[name]; was != nil {
		st.Created = was.Created
		if was.Oper == st.Oper && was.Reason == st.Reason {
			st.LastChange = was.LastChange
		}
	}
	return st
}
