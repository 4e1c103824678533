// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// facts are what the cause of a rule's trouble is read from.
type facts struct {
	Rule *rule
	Now  time.Time // of the snapshot
	// ChecksumErrors counts datagrams that the kernel dropped in the whole network namespace: where a socket receives,
	// nobody else sees them.
	ChecksumErrors number
	// Masters are the bridges, bonds and VRFs that interfaces belong to, as far as they are of interest here.
	Masters map[string]string
	// Unresolved says why interfaces have no unicast endpoint, as far as they are of interest here.
	Unresolved map[string]string
}

// master is what an enslaved interface belongs to.
func (f facts) master(iface string) string { return cmp.Or(f.Masters[iface], "its master") }

// refusalAge is how old an ECONNREFUSED may be to count as "the port is closed" while the output is not down for it.
const refusalAge = 10 * time.Second

// cause says in one line why a rule does not do what it should, or that it does (F7). The input comes first: where
// nothing comes in, nothing goes out.
func cause(f facts) string {
	in, out := inputCause(f), outputsCause(f)
	switch {
	case !on(f.Rule.leaves().Enabled):
		return "the rule is switched off (admin-disabled)"
	case in != "" && out != "":
		return in + "; " + out
	case in != "" || out != "":
		return in + out
	case f.Rule.State.OperStatus == "":
		return "mcrd has no state for this rule yet"
	case len(f.Rule.Outputs.Output) == 0:
		return "receiving; the rule has no outputs"
	}
	return fmt.Sprintf("receiving, and %s", plural(len(f.Rule.Outputs.Output), "the output sends", "all %d outputs send"))
}

// stream names what a rule is to receive, and where.
func stream(r *ruleLeaves) string { return streamName(r) + " on " + r.InputInterface }

func streamName(r *ruleLeaves) string {
	s := r.InputGroup
	if r.InputPort != 0 {
		s += fmt.Sprintf(":%d", r.InputPort)
	}
	if r.InputSource != "" {
		s += " from " + r.InputSource
	}
	return s
}

func inputCause(f facts) string {
	r, s := f.Rule.leaves(), &f.Rule.State.inputState
	if s.OperStatus == "down" && s.DownReason != "" && s.DownReason != "none" {
		return inputDown(f, s.DownReason)
	}
	if s.OperStatus == "degraded" && s.DownReason == "limit-exceeded" {
		return fmt.Sprintf("datagrams for %s come on more ports than may be learnt, see maximum-learnt-ports and the limit of sockets: %s dropped (limit-exceeded)",
			stream(r), datagrams(s.Counters.DroppedLimit))
	}
	switch s.InputStatus {
	case "not-joined":
		return inputDown(f, cmp.Or(s.DownReason, "not-joined"))
	case "discarding":
		return discarding(f)
	case "never":
		return fmt.Sprintf("nothing has come for %s since the rule was made %s: the source is silent, or its stream does not reach %s (never)%s",
			stream(r), ago(f.Now, s.Created), r.InputInterface, checksumHint(f))
	case "silent":
		return fmt.Sprintf("the source is silent: the last datagram for %s came %s (silent)%s",
			stream(r), ago(f.Now, s.LastPacketTime), checksumHint(f))
	}
	return ""
}

func checksumHint(f facts) string {
	if f.ChecksumErrors == 0 || f.Rule.State.ReceiveMethodUsed == "packet" {
		return ""
	}
	return fmt.Sprintf(", or its UDP checksum is wrong: the kernel has dropped %s for that on this host", datagrams(f.ChecksumErrors))
}

func inputDown(f facts, reason string) string {
	r := f.Rule.leaves()
	var why string
	switch reason {
	case "interface-missing":
		why = fmt.Sprintf("input interface %s does not exist", r.InputInterface)
	case "interface-down":
		why = fmt.Sprintf("input interface %s is down or has no carrier", r.InputInterface)
	case "interface-enslaved":
		why = fmt.Sprintf("input interface %s is a bridge port or bond slave: receive on %s", r.InputInterface, f.master(r.InputInterface))
	case "join-failed", "not-joined", "none":
		why = fmt.Sprintf("group %s is not joined on %s: the kernel refused the membership", r.InputGroup, r.InputInterface)
		if r.InputPort == 0 {
			why += ", or the port learner, which needs CAP_NET_RAW"
		}
	case "address-in-use":
		why = fmt.Sprintf("another program holds %s:%d for itself, and receive-method is socket", r.InputGroup, r.InputPort)
	case "no-address":
		why = fmt.Sprintf("%s is not an address of this host", r.InputGroup)
	case "loop":
		why = "its own copies come back to it" + retry(f)
	case "limit-exceeded":
		why = "a limit is reached, so the input could not be opened"
	case "rp-filter":
		why = fmt.Sprintf("the kernel's reverse-path filter on %s drops the source", r.InputInterface)
	case "scope":
		why = fmt.Sprintf("a boundary keeps group %s from %s", r.InputGroup, r.InputInterface)
	default:
		why = fmt.Sprintf("the input %s is down", stream(r))
	}
	return why + " (" + reason + ")"
}

// retry says when an input that is down for a loop is tried again.
func retry(f facts) string {
	at := f.Rule.State.RetryTime
	if at == 0 {
		return ""
	}
	return fmt.Sprintf(", so it is down and tried again in %d s, or when the rule changes", max(at.moment().Sub(f.Now), 0)/time.Second)
}

func discarding(f facts) string {
	r, s := f.Rule.leaves(), &f.Rule.State.inputState
	c := &s.Counters
	what, why := stream(r), ""
	var n number // 0: not counted for this input
	switch s.DiscardReason {
	case "ttl":
		least := "minimum-input-ttl"
		if r.MinimumInputTTL != nil {
			least += fmt.Sprintf(" %d", *r.MinimumInputTTL)
		}
		why, n = "with a TTL below "+least, c.DroppedTTL
	case "checksum": // at a socket it is the kernel that drops, and counts for the whole namespace
		why, n = "with a wrong UDP checksum", cmp.Or(c.DroppedChecksum, f.ChecksumErrors)
	case "wrong-interface":
		what, why, n = streamName(r), "on another interface than "+r.InputInterface, c.DroppedWrongInterface
	case "truncated":
		why, n = "longer than a receive buffer, or cut short", c.DroppedTruncated
	case "overrun":
		why, n = "faster than it is read, so that the kernel's receive queue overflows", c.DroppedOverrun
	case "gso":
		why, n = "longer than the MTU, with no known segment size", c.DroppedGSO
	case "limit":
		why, n = "beyond a limit, such as that of learnt ports", c.DroppedLimit
	case "loop":
		why, n = "a second time: its own copies come back", c.DroppedLoop
	default:
		why, n = "in a way that mcrd drops", s.dropped()
	}
	if n > 0 {
		why += ": " + datagrams(n) + " dropped"
	}
	return fmt.Sprintf("the stream %s arrives %s (%s)", what, why, cmp.Or(s.DiscardReason, "discarding"))
}

// outputsCause names the outputs that do not send.
func outputsCause(f facts) string {
	var bad []*output
	looped := f.Rule.State.DownReason == "loop" // said already
	for _, o := range f.Rule.Outputs.Output {
		if outputFails(o, f.Now) && !(looped && o.State.DownReason == "loop") {
			bad = append(bad, o)
		}
	}
	switch len(bad) {
	case 0:
		return ""
	case 1:
		if s := &bad[0].State; s.HER && s.BranchCount > 1 && s.OperStatus == "degraded" {
			return fmt.Sprintf("output %s does not send to all of its %s endpoints, show mrib has each (%s)",
				bad[0].Name, count(s.BranchCount), outputReason(bad[0]))
		}
		return fmt.Sprintf("output %s does not send: %s", bad[0].Name, outputDown(f, bad[0]))
	}
	const most = 3
	var names []string
	for _, o := range bad[:min(len(bad), most)] {
		names = append(names, fmt.Sprintf("%s (%s)", o.Name, outputReason(o)))
	}
	if n := len(bad) - most; n > 0 {
		names = append(names, fmt.Sprintf("%d more", n))
	}
	return fmt.Sprintf("%d of %d outputs do not send: %s", len(bad), len(f.Rule.Outputs.Output), strings.Join(names, ", "))
}

// outputFails says whether an output is not up, or its receiver refuses what it is sent now.
func outputFails(o *output, now time.Time) bool {
	s := &o.State
	return s.OperStatus == "down" || s.OperStatus == "degraded" ||
		s.Counters.LastError == "ECONNREFUSED" && now.Sub(s.Counters.LastErrorTime.moment()) < refusalAge
}

// outputReason is the down-reason, as exact as the counters make it.
func outputReason(o *output) string {
	s := &o.State
	reason := s.DownReason
	if reason == "none" || reason == "" {
		reason = "send-failing"
	}
	if reason == "send-failing" && s.Counters.LastError != "" {
		return reason + ": " + s.Counters.LastError
	}
	return reason
}

func outputDown(f facts, o *output) string {
	r := f.Rule
	l, reason := o.leaves(), outputReason(o)
	dest, port := destination(r, o)
	var why string
	switch reason {
	case "admin-disabled":
		why = "it is switched off"
	case "interface-missing":
		why = fmt.Sprintf("interface %s does not exist", l.Interface)
	case "interface-down":
		why = fmt.Sprintf("interface %s is down or has no carrier", l.Interface)
	case "interface-enslaved":
		why = fmt.Sprintf("interface %s is a bridge port or bond slave: send on %s", l.Interface, f.master(l.Interface))
	case "no-address":
		why = fmt.Sprintf("interface %s has no IPv4 address to send from", l.Interface)
	case "no-route":
		why = fmt.Sprintf("there is no route to %s", dest)
	case "route-elsewhere":
		why = fmt.Sprintf("the route to %s does not leave by %s", dest, l.Interface)
	case "endpoint-unresolved":
		why = unresolved(l.Interface, f.Unresolved[l.Interface])
	case "limit-exceeded":
		why = "a limit is reached"
	case "loop":
		why = "its copies come back to the input"
		if in := r.leaves(); l.Interface == in.InputInterface && l.UnicastDest == "" && cmp.Or(l.Group, in.InputGroup) == in.InputGroup && !o.State.HER {
			why = fmt.Sprintf("%s is not sent out of the interface it comes in on; her-mode always makes unicast copies of it", in.InputGroup)
		}
	case "ttl-too-low":
		why = "what arrives has too low a TTL for another hop, see multicast-ttl-policy"
	case "wireguard-no-peer":
		why = fmt.Sprintf("no WireGuard peer of %s may have %s", l.Interface, dest)
	case "wireguard-no-endpoint":
		why = "the WireGuard peer has no endpoint yet"
	case "scope":
		why = fmt.Sprintf("a boundary keeps the group from %s", l.Interface)
	case "send-failing: ECONNREFUSED":
		why = fmt.Sprintf("the receiver %s has no program on UDP port %s, refused %s", dest, port,
			plural(int(o.State.Counters.ErrorsRefused), "once", "%d times"))
	default:
		if !strings.HasPrefix(reason, "send-failing") {
			return reason
		}
		why = sendFailing(o, dest)
	}
	return why + " (" + reason + ")"
}

// sendFailing says what the latest errno of an output means.
func sendFailing(o *output, dest string) string {
	c, iface := &o.State.Counters, o.leaves().Interface
	var why string
	switch c.LastError {
	case "EPERM", "EACCES":
		why = fmt.Sprintf("a filter or policy of the host forbids sending to %s", dest)
	case "ENOBUFS", "ENOMEM", "EAGAIN":
		why = fmt.Sprintf("the send queue of %s is full", iface)
	case "EHOSTUNREACH", "EHOSTDOWN":
		why = fmt.Sprintf("nobody answers for %s, or a router cannot reach it", dest)
	case "ENETUNREACH", "ENETDOWN":
		why = fmt.Sprintf("there is no way to %s, or a router says so", dest)
	case "EMSGSIZE":
		why = fmt.Sprintf("datagrams to %s are too long for the path", dest)
	case "ENOKEY":
		why = fmt.Sprintf("no WireGuard peer of %s may have %s", iface, dest)
	case "EDESTADDRREQ":
		why = "the WireGuard peer has no endpoint yet"
	default:
		why = fmt.Sprintf("sending to %s fails", dest)
	}
	if c.Errors > 0 {
		why += ": " + datagrams(c.Errors) + " lost"
	}
	return why
}

// destination is where the copies of an output go, for a person.
func destination(r *rule, o *output) (dest, port string) {
	l, s := o.leaves(), &o.State
	dest = cmp.Or(s.Endpoint, l.UnicastDest, l.Group, r.leaves().InputGroup)
	switch {
	case !s.HER || s.Endpoint != "":
	case s.BranchCount == 0:
		dest = "no endpoint"
	default:
		dest = fmt.Sprintf("%d endpoints", s.BranchCount)
	}
	n := cmp.Or(s.EndpointPort, l.Port, r.leaves().InputPort)
	if n == 0 {
		return dest, "of the input"
	}
	return dest, fmt.Sprint(n)
}
