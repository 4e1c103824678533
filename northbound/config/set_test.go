// SPDX-License-Identifier: Apache-2.0

package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/openconfig/ygot/ygot"

	"mcr/mroute"
)

// G30, G55: a change shows at once with the next revision; a Set that changes nothing does nothing.
func TestSet(t *testing.T) {
	dir := t.TempDir()
	s, r := open(t, dir)
	var published []Committed
	s.opts.Publish = func(c Committed) { published = append(published, c) }
	res := mustSet(t, s, update(t, rulePath, "["+ruleJSON("r1", outputJSON("a", "10.0.0.1", ""))+"]"))
	snap := s.Running()
	if !res.Changed || res.Revision != 1 || snap.Revision != 1 || snap.User != "joe" || snap.Address != "10.0.0.9:41999" || !snap.Time.Equal(res.Time) {
		t.Errorf("result %+v, snapshot %+v", res, snap)
	}
	if got := snap.Tree.GetMcr().GetForwarding().GetRules().GetRule("r1").GetConfig().GetInputPort(); got != 5000 {
		t.Errorf("port %d", got)
	}
	if len(published) != 1 || published[0].New != snap || published[0].Old.Revision != 0 {
		t.Errorf("published %v", published)
	}
	if r.running != snap.c.config {
		t.Error("the router runs something else")
	}
	file, prepares := readFile(t, dir), r.prepares
	res = mustSet(t, s, update(t, rulePath+"[name=r1]/config/input-port", `5000`), remove(t, rulePath+"[name=none]"), replace(t, "/", contents(t, snap.c)))
	if res.Changed || res.Revision != 1 || s.Running() != snap || r.prepares != prepares || readFile(t, dir) != file || len(published) != 1 {
		t.Errorf("a Set that changes nothing did something: %+v", res)
	}
	if res = mustSet(t, s); res.Changed { // G46
		t.Error("an empty Set changed something")
	}
}

// G32: delete, then replace, then update, in whatever order they come.
func TestSetOrder(t *testing.T) {
	s, _ := open(t, t.TempDir())
	mustSet(t, s,
		update(t, "/mcr/forwarding/config/multicast-ttl", `7`),
		replace(t, "/mcr/forwarding/config", `{"unicast-ttl":5}`),
		remove(t, "/mcr/forwarding/config"))
	if got := s.Running().Tree.Mcr.Forwarding.Config; got.GetMulticastTtl() != 7 || got.GetUnicastTtl() != 5 {
		t.Errorf("%+v", got)
	}
	mustSet(t, s, update(t, "/mcr/forwarding/config/unicast-ttl", `8`), update(t, "/mcr/forwarding/config/unicast-ttl", `9`)) // G45
	if got := s.Running().Tree.Mcr.Forwarding.Config.GetUnicastTtl(); got != 9 {
		t.Errorf("%d", got)
	}
}

// G33: one bad operation among good ones changes nothing.
func TestSetIsAllOrNothing(t *testing.T) {
	s, _ := open(t, t.TempDir())
	if _, err := set(s, update(t, "/mcr/forwarding/config/unicast-ttl", `8`), update(t, "/mcr/forwarding/config/multicast-ttl", `0`)); err == nil {
		t.Fatal("taken")
	}
	if s.Running().Revision != 0 || s.Running().Tree.Mcr != nil {
		t.Error("half was done")
	}
}

// Aborted in gNMI's words: right, but not here and now.
func TestRouterRefuses(t *testing.T) {
	dir := t.TempDir()
	s, r := open(t, dir)
	r.err = &mroute.RefusalError{Refusals: []mroute.Refusal{
		{Rule: "r1", Err: errors.New("no memory")}, {Rule: "r1", Output: "a", Err: errors.New("too many open files")},
	}}
	_, err := set(s, update(t, rulePath, "["+ruleJSON("r1", outputJSON("a", "10.0.0.1", ""))+"]"))
	f := faults(t, err)
	if len(f) != 2 || f[1].Code != Refused || f[1].Path != rulePath+"[name=r1]/outputs/output[name=a]" || f[1].Op != 0 {
		t.Errorf("%+v", f)
	}
	if s.Running().Revision != 0 || readFile(t, dir) != "" {
		t.Error("something was changed")
	}
	r.err = errors.New("broken")
	_, err = set(s, update(t, "/mcr/forwarding/config/unicast-ttl", `8`))
	if f := faults(t, err); f[0].Code != Internal {
		t.Errorf("%+v", f)
	}
}

// G53: Sets of many clients all take effect. G54: a client that gives up changes nothing.
func TestConcurrentSets(t *testing.T) {
	s, _ := open(t, t.TempDir())
	mustSet(t, s, update(t, rulePath, "["+ruleJSON("r1")+"]"))
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			name := fmt.Sprintf("o%d", i)
			if _, err := set(s, update(t, rulePath+"[name=r1]/outputs/output[name="+name+"]", outputJSON(name, fmt.Sprintf("10.0.0.%d", i+1), ""))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(s.Running().Tree.Mcr.Forwarding.Rules.Rule["r1"].Outputs.Output); n != 20 || s.Running().Revision != 21 {
		t.Errorf("%d outputs, revision %d", n, s.Running().Revision)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := s.Set(ctx, Request{Ops: []Op{remove(t, "/")}})
	if !errors.Is(err, context.Canceled) || s.Running().Revision != 21 {
		t.Errorf("%v, revision %d", err, s.Running().Revision)
	}
	<-s.turn // another change runs
	_, err = s.Set(ctx, Request{Ops: []Op{remove(t, "/")}})
	s.give()
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestSetBeforeStartAndAfterClose(t *testing.T) {
	s, err := Open(Options{Dir: t.TempDir(), Router: &fakeRouter{}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := set(s, remove(t, "/")); faults(t, err)[0].Code != NotReady {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// G51: the text of a start-up file in a Set.
func TestSetOfText(t *testing.T) {
	s, _ := open(t, t.TempDir())
	mustSet(t, s, cli(Replace, `{rules:[{name:"r1",input:{interface:"eth0",group:"239.1.1.1",port:5000}}], forwarding:{unicast_ttl:9}}`))
	mustSet(t, s, cli(Update, `{rules:[{name:"r2",input:{interface:"eth0",group:"239.1.1.2",port:5000}}]}`))
	if n := len(s.Running().c.rules); n != 2 {
		t.Errorf("an update left %d rules, want 2", n)
	}
	mustSet(t, s, cli(Replace, `{rules:[]}`))
	if c := s.Running().c; len(c.rules) != 0 || c.config.Forwarding.UnicastTTL != 9 {
		t.Errorf("a replace of rules left %d rules, TTL %d", len(c.rules), c.config.Forwarding.UnicastTTL)
	}
	mustSet(t, s, cli(Replace, `{forwarding:{limits:{maximum_rules:5}}}`)) // all below a key is replaced, also what it does not name
	if f := s.Running().Tree.Mcr.Forwarding; f.Config != nil || f.Limits.Config.GetMaximumRules() != 5 {
		t.Errorf("%+v %+v", f.Config, f.Limits)
	}
	mustSet(t, s, cli(Replace, `{forwarding:{unicast_ttl:9}}`))
	if f := s.Running().Tree.Mcr.Forwarding; f.Limits != nil {
		t.Error("the limits outlive the replace of forwarding")
	}
	for _, op := range []Op{
		{Kind: Delete, CLI: true}, {Kind: Replace, CLI: true}, {Kind: Replace, CLI: true, Value: ietf("{}")}, cli(Replace, "{"),
	} {
		if _, err := set(s, op); faults(t, err)[0].Code != Invalid {
			t.Error(err)
		}
	}
	_, err := set(s, cli(Replace, "{\n  rules: [{\n    inputt: {} }] }"))
	if f := faults(t, err); f[0].Line != 3 || !strings.Contains(f[0].Reason, `"inputt"`) {
		t.Errorf("%+v", f)
	}
	if _, err := set(s, remove(t, "/"), Op{Kind: Update, Path: &gpb.Path{}}); faults(t, err)[0].Code != Invalid { // G36
		t.Error(err)
	}
}

// What did not change has the pointer that it had, whichever way the change was written.
func TestUnchangedIsShared(t *testing.T) {
	s, _ := open(t, t.TempDir())
	r2 := strings.Replace(ruleJSON("r2", outputJSON("a", "10.0.0.1", "")), "239.1.1.1", "239.1.1.2", 1)
	mustSet(t, s, update(t, rulePath, "["+ruleJSON("r1", outputJSON("a", "10.0.0.1", ""), outputJSON("b", "10.0.0.2", ""))+","+r2+"]"))
	old := s.Running().c.config
	for i, op := range []Op{
		update(t, rulePath+"[name=r1]/outputs/output[name=b]/config/port", `7`),
		replace(t, "/", strings.Replace(contents(t, s.Running().c), `"unicast-dest":"10.0.0.2"`, `"port":8,"unicast-dest":"10.0.0.2"`, 1)),
		replace(t, rulePath+"[name=r1]", ruleJSON("r1", outputJSON("a", "10.0.0.1", ""))),
		update(t, rulePath+"[name=r1]/config/description", `"x"`),
	} {
		mustSet(t, s, op)
		c := s.Running().c.config
		if c.Rules["r2"] != old.Rules["r2"] || c.Rules["r1"].Outputs[0] != old.Rules["r1"].Outputs[0] {
			t.Errorf("change %d: what is equal is not shared", i)
		}
		checkAlike(t, s.Running().c)
	}
	mustSet(t, s, update(t, "/mcr/forwarding/config/unicast-ttl", `7`))
	if s.Running().c.config.Rules["r1"] == nil || reflect.ValueOf(s.Running().c.config.Rules).Pointer() == reflect.ValueOf(old.Rules).Pointer() {
		t.Error("rules")
	}
}

// An output without a group follows its rule's input group.
func TestOutputsFollowInputGroup(t *testing.T) {
	s, _ := open(t, t.TempDir())
	mustSet(t, s, update(t, rulePath, "["+ruleJSON("r1", `{"name":"a","config":{"interface":"eth1"}}`, `{"name":"b","config":{"interface":"eth1","group":"239.9.9.9"}}`)+"]"))
	mustSet(t, s, update(t, rulePath+"[name=r1]/config/input-group", `"239.1.1.7"`))
	outs := s.Running().c.config.Rules["r1"].Outputs
	if outs[0].Group.String() != "239.1.1.7" || outs[1].Group.String() != "239.9.9.9" {
		t.Errorf("%v %v", outs[0].Group, outs[1].Group)
	}
}

// randomOp is an operation that is often wrong.
func randomOp(t testing.TB, r func(n int) int) Op {
	pick := func(s ...string) string { return s[r(len(s))] }
	rule := rulePath + "[name=" + pick("r1", "r2", "*", "r1") + "]"
	out := rule + "/outputs/output[name=" + pick("a", "b", "c", "*", "d") + "]"
	path := pick("/", rule, out, rule+"/config", out+"/config/port", out+"/config/unicast-dest", rule+"/config/input-group", rulePath, "/mcr/forwarding",
		"/mcr/forwarding/limits/config/maximum-outputs", "/network-instances", "/mcr/.../port", "/mcr/*", rule+"/state", "/mcr/dataplane/config")
	port := fmt.Sprint(r(4) * 5000)
	value := pick(`{}`, port, `"10.0.0.1"`, `"239.1.1.2"`, "["+ruleJSON("r1", outputJSON("a", "10.0.0.1", ""))+"]", `{"config":{"port":`+port+`}}`,
		outputJSON(pick("a", "b"), "10.0.0."+pick("1", "2"), ""), ruleJSON("r2"), `{"input-interface":"`+pick("eth0", "eth1")+`"}`, "null", "[", `{"x":1}`,
		`{"mcr:mcr":{"forwarding":{"rules":{"rule":[`+ruleJSON("r1", outputJSON("a", "10.0.0.1", ""), outputJSON("b", "10.0.0.2", ""))+`]}}}}`)
	switch r(4) {
	case 0:
		return remove(t, path)
	case 1:
		return replace(t, path, value)
	case 2:
		return cli(Kind(1+r(3)), pick(`{rules:[]}`, `{pim:{enabled:true}}`, `{rules:[{input:{interface:"eth0",group:"239.1.1.1",port:5000},outputs:[{interface:"wg0",unicast_dest:"10.0.0.`+pick("1", "2")+`"}]}]}`, "{", "{x:1}"))
	}
	return update(t, path, value)
}

// tryRandomSet makes one random Set: the old tree never changes, a refused Set changes nothing, and an accepted one
// leaves what compiling the tree anew would give.
func tryRandomSet(t testing.TB, s *Store, r func(n int) int) (accepted bool) {
	t.Helper()
	var ops []Op
	for range 1 + r(4) {
		ops = append(ops, randomOp(t, r))
	}
	old := s.Running()
	copied, err := ygot.DeepCopy(old.Tree)
	if err != nil {
		t.Fatal(err)
	}
	_, err = set(s, ops...)
	if !reflect.DeepEqual(copied, ygot.GoStruct(old.Tree)) {
		t.Fatalf("the old tree changed under %v", ops)
	}
	if err != nil {
		if e, ok := errors.AsType[*Error](err); !ok || len(e.Faults) == 0 || s.Running() != old {
			t.Fatalf("%v: bad error %v", ops, err)
		}
		for _, f := range err.(*Error).Faults {
			if f.Reason == "" || f.Code == Internal {
				t.Fatalf("%v: bad fault %+v", ops, f)
			}
		}
		return false
	}
	checkAlike(t, s.Running().c)
	return s.Running() != old
}

func TestRandomSets(t *testing.T) {
	s, _ := open(t, t.TempDir())
	s.files = files{write: func(string, io.WriterTo) error { return nil }, rename: func(string, string) error { return nil }, sync: func(string) error { return nil }}
	r := rand.New(rand.NewPCG(5, 6))
	accepted := 0
	for range 500 {
		if tryRandomSet(t, s, r.IntN) {
			accepted++
		}
	}
	if accepted < 20 {
		t.Errorf("only %d Sets changed something", accepted)
	}
}

func FuzzSet(f *testing.F) {
	f.Add([]byte("some bytes to choose operations by"))
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5})
	f.Fuzz(func(t *testing.T, data []byte) {
		s := &Store{turn: make(chan struct{}, 1), started: true, opts: Options{Router: &fakeRouter{}, Publish: func(Committed) {}, Clock: zeroClock}}
		s.files = files{write: func(string, io.WriterTo) error { return nil }, rename: func(string, string) error { return nil }, sync: func(string) error { return nil }}
		s.running.Store(newSnapshot(header{}, empty()))
		s.give()
		next := func(n int) int {
			if len(data) == 0 {
				return 0
			}
			b := data[0]
			data = data[1:]
			return int(b) % n
		}
		for range 8 {
			if len(data) == 0 {
				break
			}
			tryRandomSet(t, s, next)
		}
	})
}

// FuzzSetValue gives arbitrary bytes as the value of arbitrary paths.
func FuzzSetValue(f *testing.F) {
	for _, p := range []string{"/", rulePath, rulePath + "[name=r1]", rulePath + "[name=r1]/config/input-port", "/network-instances/network-instance", "/.../x", "/mcr/mrib/entries/entry[port=1]"} {
		f.Add(p, []byte(ruleJSON("r1")), uint8(1))
		f.Add(p, []byte(`[{"name":"x","config":{"input-port":1e3}}]`), uint8(2))
		f.Add(p, []byte(`5`), uint8(0))
	}
	base, err := transact(empty(), []change{changeOfFile("x", []byte(`{rules:[{name:"r1",input:{interface:"eth0",group:"239.1.1.1",port:5000},outputs:[{interface:"e"}]}]}`))})
	if err != nil {
		f.Fatal(err)
	}
	want := contents(f, base)
	f.Fuzz(func(t *testing.T, path string, value []byte, kind uint8) {
		p, err := ygot.StringToStructuredPath(path)
		if err != nil {
			return
		}
		c, cerr := transact(base, []change{changeOf(Op{Kind: Kind(kind % 4), Path: p, Value: ietf(string(value))})})
		if cerr == nil && c != base {
			checkAlike(t, c)
		}
		checkAlike(t, base)
		if contents(t, base) != want || base.tree.Mcr.Forwarding.Rules.Rule["r1"].Config.GetInputPort() != 5000 {
			t.Fatal("the old configuration changed")
		}
	})
}
