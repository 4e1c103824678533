// SPDX-License-Identifier: Apache-2.0

package telemetry_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"mcr/northbound/telemetry"
)

// reads returns a Filter.Readable for roles by prefix: the longest prefix of a path that is in rows decides, none is no.
func reads(rows map[string]bool) func(telemetry.Path) telemetry.Access {
	return func(p telemetry.Path) telemetry.Access {
		text := p.String()
		ok, best := false, -1
		below := false
		for prefix, may := range rows {
			prefix = strings.TrimSuffix(prefix, "/")
			if n := len(prefix); n > best && (text == prefix || strings.HasPrefix(text, prefix+"/")) {
				ok, best = may, n
			}
			below = below || strings.HasPrefix(prefix, text+"/")
		}
		switch {
		case below:
			return telemetry.AccessSome
		case ok:
			return telemetry.AccessAll
		}
		return telemetry.AccessNone
	}
}

var (
	// operator sees the state of rule r1 and no configuration, but for the name of its outputs.
	operator = map[string]bool{ruleSt: true, ruleSt + "/counters/octets": false, outCfg + "/name": true}
	// auditor sees all but one rule.
	auditor = map[string]bool{"/": true, "/mcr/forwarding/rules/rule[name=r1]": false}
)

func TestG123GetLeavesOutWhatMayNotBeRead(t *testing.T) {
	const rule = "/mcr/forwarding/rules/rule[name=r1]"
	tests := []struct {
		name string
		role map[string]bool
		path string
		want map[string]string
	}{
		{"an entry has its keys and what may be read", operator, "/mcr/forwarding", map[string]string{
			"/mcr/forwarding": `{"rules":{"rule":[{"name":"r1","outputs":{"output":[{"name":"o1","config":{"name":"o1"}}]},"state":{"counters":{"packets":7},"name":"r1","oper-status":"up"}}]}}`,
		}},
		{"a named leaf may be read", operator, outCfg + "/name", map[string]string{outCfg + "/name": `"o1"`}},
		{"a named leaf may not be read", operator, outCfg + "/interface", map[string]string{}},
		{"wildcards find only what may be read", operator, "/mcr/forwarding/rules/rule/*/name", map[string]string{ruleSt + "/name": `"r1"`}},
		{"any depth", operator, "/.../name", map[string]string{
			rule + "/name": `"r1"`, ruleSt + "/name": `"r1"`, outCfg + "/name": `"o1"`, rule + "/outputs/output[name=o1]/name": `"o1"`,
		}},
		{"a hidden entry is not there", auditor, "/mcr/forwarding/rules/rule", map[string]string{}},
		{"beside a hidden entry", auditor, "/mcr/.../cpus", map[string]string{"/mcr/dataplane/config/cpus": "[1,2]"}},
		{"nobody", nil, "/", map[string]string{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := get(t, sample(t), tt.path, telemetry.Filter{Readable: reads(tt.role)}, telemetry.EncodingJSON)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFilterAccess(t *testing.T) {
	for path, want := range map[string]telemetry.Access{
		"/":                               telemetry.AccessSome,
		ruleSt:                            telemetry.AccessAll,
		ruleSt + "/*":                     telemetry.AccessAll,
		ruleSt + "/counters/octets":       telemetry.AccessNone,
		ruleCfg:                           telemetry.AccessNone,
		"/mcr/forwarding/rules/rule":      telemetry.AccessSome,
		"/mcr/system":                     telemetry.AccessNone,
		"/mcr/system/.../counters":        telemetry.AccessNone,
		"/mcr/forwarding/rules/rule/name": telemetry.AccessSome,
	} {
		f := telemetry.Filter{Readable: reads(operator)}
		if got := f.Access(schema(t), pattern(t, path)); got != want && !(want == telemetry.AccessAll && got == telemetry.AccessSome) {
			t.Errorf("%s: access %d, want %d", path, got, want)
		}
	}
}

func TestG123StreamLeavesOutWhatMayNotBeRead(t *testing.T) {
	tests := []struct {
		name string
		role map[string]bool
		want []event
	}{
		{"operator", operator, []event{
			{Path: ruleSt + "/oper-status", Value: `"down"`},
			{Path: rule1 + "/outputs/output[name=o1]", Value: "deleted"},
			{Path: rule1, Value: "deleted"},
		}},
		{"auditor", auditor, nil},
		{"all", map[string]bool{"/": true}, []event{
			{Path: ruleSt + "/oper-status", Value: `"down"`},
			{Path: ruleCfg + "/input-group", Value: `"239.9.9.9"`},
			{Path: outCfg + "/interface", Value: `"eth9"`},
			{Path: outCfg + "/interface", Value: "deleted"},
			{Path: rule1 + "/outputs/output[name=o1]", Value: "deleted"},
			{Path: rule1, Value: "deleted"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tree, r := sample(t), &reader{}
				req := onChange(t, "/mcr/forwarding")
				req.Filter.Readable = reads(tt.role)
				follow(t, tree, r, req)
				r.take()
				apply(t, tree, time.Now(), unit(t, ruleSt, str("name", "r1"), str("oper-status", "up")))
				synctest.Wait()
				r.take() // the counters have gone with the Unit
				for _, u := range []*telemetry.Unit{
					unit(t, ruleSt, str("name", "r1"), str("oper-status", "down")),
					unit(t, ruleCfg, str("input-group", "239.9.9.9"), num("input-port", 5000), str("name", "r1")),
					unit(t, outCfg, str("interface", "eth9"), str("name", "o1")),
					unit(t, outCfg, str("name", "o1")),
				} {
					apply(t, tree, time.Now(), u)
					synctest.Wait()
				}
				remove(t, tree, outCfg)
				synctest.Wait()
				remove(t, tree, ruleCfg, ruleSt)
				wantEvents(t, r, tt.want...)
			})
		})
	}
}

// A role costs nothing where its prefix is above the subscription, and little else.
func TestReadableIsAskedOncePerItem(t *testing.T) {
	tree := sample(t)
	asked := 0
	f := telemetry.Filter{Readable: func(p telemetry.Path) telemetry.Access {
		asked++
		return reads(auditor)(p)
	}}
	leaves := 0
	tree.Snapshot().Select(pattern(t, "/mcr/mrib/entries/entry/state"), f, start, func(*telemetry.Hit) bool { leaves++; return true })
	if leaves != 3 || asked > 5 {
		t.Errorf("%d leaves, asked %d times", leaves, asked)
	}
}

func TestG20UnimplementedIsAnErrorOfItsOwn(t *testing.T) {
	s := newSchema(t)
	if err := s.MarkUnimplemented("/mcr/amt-relay", "/mcr/forwarding/rules/rule/senders/sender/state", ruleSchema+"/state/expires"); err == nil ||
		!strings.Contains(err.Error(), "expires") {
		t.Errorf("a path that the schema lacks is not named: %v", err)
	}
	if err := s.MarkUnimplemented("/mcr/forwarding/rules/rule/config/receive-method"); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		"/mcr/amt-relay":                                          true,
		"/mcr/amt-relay/config/port":                              true,
		"/mcr/amt-relay/gateways/gateway":                         true,
		"/mcr/*/gateways":                                         true,
		"/mcr/forwarding/rules/rule/senders":                      true, // all that is in it
		"/mcr/forwarding/rules/rule[name=x]/senders/sender":       true,
		"/mcr/forwarding/rules/rule[name=x]/config":               false,
		"/mcr/forwarding/rules/rule/config/receive-method":        true,
		"/mcr/forwarding/rules/rule/.../receive-method":           false, // state has one, too
		"/mcr/*/config":                                           false,
		"/mcr/.../name":                                           false,
		"/":                                                       false,
		"/mcr/forwarding/rules/rule[name=x]":                      false,
		"/mcr/forwarding/rules/rule[name=x]/state/receive-method": false,
	} {
		_, err := s.Resolve(parse(t, path))
		if un, got := errors.AsType[*telemetry.UnimplementedError](err); got != want || got && un.Path != telemetry.FormatElems(parse(t, path)) {
			t.Errorf("%s: %v, want unimplemented %v", path, err, want)
		}
	}
}

const ruleSchema = "/mcr/forwarding/rules/rule"
