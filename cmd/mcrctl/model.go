// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
)

// number is an unsigned integer of any width: RFC 7951 writes 64 bits as a string.
type number uint64

func (n *number) UnmarshalJSON(b []byte) error {
	v, err := strconv.ParseUint(strings.Trim(string(b), `"`), 10, 64)
	*n = number(v)
	return err
}

// moment is nanoseconds since 1970; 0: absent.
func (n number) moment() time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(n))
}

// ruleLeaves are the leaves that config and state of a rule have in common.
type ruleLeaves struct {
	Name            string  `json:"name"`
	Enabled         *bool   `json:"enabled"`
	InputInterface  string  `json:"input-interface"`
	InputGroup      string  `json:"input-group"`
	InputPort       uint16  `json:"input-port"`
	InputSource     string  `json:"input-source"`
	MinimumInputTTL *uint8  `json:"minimum-input-ttl"`
	SilenceTimeout  *number `json:"silence-timeout"`
}

// inputState is the state of a rule's or an entry's input.
type inputState struct {
	OperStatus     string `json:"oper-status"`
	DownReason     string `json:"down-reason"`
	InputStatus    string `json:"input-status"`
	DiscardReason  string `json:"discard-reason"`
	Joined         bool   `json:"joined"`
	RetryTime      number `json:"retry-time"`
	Created        number `json:"created"`
	LastPacketTime number `json:"last-packet-time"`
	OutputCount    number `json:"output-count"`
	OutputUpCount  number `json:"output-up-count"`
	Counters       struct {
		Packets               number `json:"packets"`
		Octets                number `json:"octets"`
		DroppedTTL            number `json:"dropped-ttl"`
		DroppedChecksum       number `json:"dropped-checksum"`
		DroppedTruncated      number `json:"dropped-truncated"`
		DroppedOverrun        number `json:"dropped-overrun"`
		DroppedWrongInterface number `json:"dropped-wrong-interface"`
		DroppedGSO            number `json:"dropped-gso"`
		DroppedLimit          number `json:"dropped-limit"`
		DroppedLoop           number `json:"dropped-loop"`
	} `json:"counters"`
}

// dropped is what came in and was not forwarded.
func (s *inputState) dropped() number {
	c := &s.Counters
	return c.DroppedTTL + c.DroppedChecksum + c.DroppedTruncated + c.DroppedOverrun + c.DroppedWrongInterface +
		c.DroppedGSO + c.DroppedLimit + c.DroppedLoop
}

// rule is …/rules/rule.
type rule struct {
	Name   string     `json:"name"`
	Config ruleLeaves `json:"config"`
	State  struct {
		ruleLeaves
		inputState
		ReceiveMethodUsed   string `json:"receive-method-used"`
		ReceiveMethodReason string `json:"receive-method-reason"`
	} `json:"state"`
	Outputs struct {
		Output []*output `json:"output"`
	} `json:"outputs"`
	Senders struct {
		Sender []struct {
			Address string `json:"address"`
		} `json:"sender"`
	} `json:"senders"`

	raw json.RawMessage // as it came
}

// leaves are those in force where there is state, else the configured ones.
func (r *rule) leaves() *ruleLeaves {
	if r.State.InputInterface != "" {
		return &r.State.ruleLeaves
	}
	return &r.Config
}

// outputLeaves are the leaves that config and state of a configured output have in common.
type outputLeaves struct {
	Name        string `json:"name"`
	Enabled     *bool  `json:"enabled"`
	Interface   string `json:"interface"`
	Group       string `json:"group"`
	Port        uint16 `json:"port"`
	UnicastDest string `json:"unicast-dest"`
}

// outputState is the state of a configured output or of an MRIB entry's.
type outputState struct {
	OperStatus     string         `json:"oper-status"`
	DownReason     string         `json:"down-reason"`
	Endpoint       string         `json:"endpoint"`
	EndpointPort   uint16         `json:"endpoint-port"`
	EndpointOrigin string         `json:"endpoint-origin"`
	HER            bool           `json:"her-active"`
	BranchCount    number         `json:"branch-count"`
	LastPacketTime number         `json:"last-packet-time"`
	LastChange     number         `json:"last-change"`
	Counters       outputCounters `json:"counters"`
}

// her says where the copies of a multicast output go that is turned into unicast ones; "-" for one that is not.
func (s *outputState) her() string {
	switch {
	case !s.HER:
		return "-"
	case s.BranchCount > 1:
		return fmt.Sprintf("%d %s", s.BranchCount, s.EndpointOrigin)
	case s.Endpoint == "":
		return "unresolved"
	}
	return s.EndpointOrigin
}

type outputCounters struct {
	Packets       number `json:"packets"`
	Octets        number `json:"octets"`
	NotReady      number `json:"not-ready"`
	Dropped       number `json:"dropped"`
	SkippedTTL    number `json:"skipped-ttl"`
	Errors        number `json:"errors"`
	ErrorsRefused number `json:"errors-refused"`
	LastError     string `json:"last-error"`
	LastErrorTime number `json:"last-error-time"`
}

// output is …/outputs/output of a rule.
type output struct {
	Name   string       `json:"name"`
	Config outputLeaves `json:"config"`
	State  struct {
		outputLeaves
		outputState
	} `json:"state"`
}

func (o *output) leaves() *outputLeaves {
	if o.State.Interface != "" {
		return &o.State.outputLeaves
	}
	return &o.Config
}

// on says whether an enabled leaf, which is true by default, is true.
func on(enabled *bool) bool { return enabled == nil || *enabled }

// decode reads list entries of one kind; the keys that a server left out of an entry are in its path.
func decode[T any](us []update) ([]*T, error) {
	all := make([]*T, 0, len(us))
	for _, u := range us {
		v := new(T)
		if err := json.Unmarshal(u.JSON, v); err != nil {
			return nil, fmt.Errorf("answer for %s: %w", pathString(u.Path), err)
		}
		all = append(all, v)
	}
	return all, nil
}

// rules reads rules with their outputs, both ascending by name. now is the time of the snapshot.
func (c *client) rules(ctx context.Context, kind gpb.GetRequest_DataType, path *gpb.Path) (all []*rule, now time.Time, err error) {
	us, err := c.list(ctx, kind, path)
	if err != nil {
		return nil, now, err
	}
	if all, err = decode[rule](us); err != nil {
		return nil, now, err
	}
	for i, r := range all {
		r.raw, now = us[i].JSON, us[i].Time
		r.Name = cmp.Or(r.Name, lastKey(us[i].Path, "name"))
		slices.SortFunc(r.Outputs.Output, func(a, b *output) int { return strings.Compare(a.Name, b.Name) })
	}
	slices.SortFunc(all, func(a, b *rule) int { return strings.Compare(a.Name, b.Name) })
	return all, now, nil
}

// noRule is the error for a rule that is not there.
func noRule(name string) error { return fmt.Errorf("there is no rule %s; mcrctl list shows all", name) }

// checkName refuses what would be all rules in a path.
func checkName(rule string) error {
	if rule == "*" || rule == "" {
		return &usageError{arg: strconv.Quote(rule), pos: -1, err: errors.New("no rule can have this name")}
	}
	return nil
}

// oneRule reads a rule that must be there.
func (c *client) oneRule(ctx context.Context, kind gpb.GetRequest_DataType, name string) (*rule, time.Time, error) {
	if err := checkName(name); err != nil {
		return nil, time.Time{}, err
	}
	all, now, err := c.rules(ctx, kind, rulePath(name))
	if err == nil && len(all) == 0 {
		err = noRule(name)
	}
	if err != nil {
		return nil, now, err
	}
	return all[0], now, nil
}

// hasConfig says whether a list entry is configured, without reading what is below it.
func (c *client) hasConfig(ctx context.Context, entry *gpb.Path) (bool, error) {
	path := &gpb.Path{Elem: append(slices.Clone(entry.GetElem()), at("config").Elem...)}
	us, err := c.list(ctx, gpb.GetRequest_CONFIG, path)
	return len(us) > 0, err
}

// needRule is an error where a rule is not configured.
func (c *client) needRule(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	there, err := c.hasConfig(ctx, rulePath(name))
	if err == nil && !there {
		err = noRule(name)
	}
	return err
}

// someRules reads the rule that args name, else all.
func (c *client) someRules(ctx context.Context, kind gpb.GetRequest_DataType, args []string) ([]*rule, error) {
	if len(args) == 0 {
		all, _, err := c.rules(ctx, kind, rulePath("*"))
		return all, err
	}
	r, _, err := c.oneRule(ctx, kind, args[0])
	if err != nil {
		return nil, err
	}
	return []*rule{r}, nil
}

func lastKey(p *gpb.Path, key string) string {
	if n := len(p.GetElem()); n > 0 {
		return p.Elem[n-1].Key[key]
	}
	return ""
}
