// SPDX-License-Identifier: Apache-2.0

package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/openconfig/ygot/ygot"

	"mcr/mroute"
	"mcr/northbound/config/tree"
)

// fakeRouter takes every configuration unless err is set.
type fakeRouter struct {
	mu       sync.Mutex
	err      error
	broken   error // refuses a start too
	running  *mroute.Config
	prepares int
	discards int
}

type fakePrepared struct {
	r *fakeRouter
	c *mroute.Config
}

func (r *fakeRouter) Prepare(ctx context.Context, c *mroute.Config, start bool) (mroute.Prepared, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prepares++
	if r.err != nil && !start {
		return nil, r.err
	}
	if r.broken != nil {
		return nil, r.broken
	}
	return &fakePrepared{r, c}, ctx.Err()
}

func (p *fakePrepared) Commit(publish func(mroute.Batch)) {
	p.r.mu.Lock()
	p.r.running = p.c
	p.r.mu.Unlock()
	publish(mroute.Batch{})
}

func (p *fakePrepared) Discard() {
	p.r.mu.Lock()
	p.r.discards++
	p.r.mu.Unlock()
}

// open returns a started store on dir with its router.
func open(t testing.TB, dir string) (*Store, *fakeRouter) {
	t.Helper()
	r := &fakeRouter{}
	s, err := Open(Options{Dir: dir, Router: r, Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Start(context.Background(), "", false); err != nil {
		t.Fatal(err)
	}
	return s, r
}

func gnmiPath(t testing.TB, s string) *gpb.Path {
	t.Helper()
	p, err := ygot.StringToStructuredPath(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func ietf(s string) *gpb.TypedValue {
	return &gpb.TypedValue{Value: &gpb.TypedValue_JsonIetfVal{JsonIetfVal: []byte(s)}}
}

func update(t testing.TB, path, value string) Op {
	return Op{Kind: Update, Path: gnmiPath(t, path), Value: ietf(value)}
}

func replace(t testing.TB, path, value string) Op {
	return Op{Kind: Replace, Path: gnmiPath(t, path), Value: ietf(value)}
}

func remove(t testing.TB, path string) Op { return Op{Kind: Delete, Path: gnmiPath(t, path)} }

func cli(kind Kind, text string) Op {
	return Op{Kind: kind, CLI: true, Value: &gpb.TypedValue{Value: &gpb.TypedValue_AsciiVal{AsciiVal: text}}}
}

// set numbers the operations by kind and applies them.
func set(s *Store, ops ...Op) (Result, error) {
	var n [4]int
	for i := range ops {
		ops[i].Index = n[ops[i].Kind]
		n[ops[i].Kind]++
	}
	return s.Set(context.Background(), Request{Ops: ops, User: "joe", Address: "10.0.0.9:41999"})
}

func mustSet(t testing.TB, s *Store, ops ...Op) Result {
	t.Helper()
	r, err := set(s, ops...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// faults returns the faults of an error, which must have some.
func faults(t testing.TB, err error) []Fault {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || len(e.Faults) == 0 {
		t.Fatalf("got %v, want an *Error", err)
	}
	return e.Faults
}

// outputJSON is one output to a host behind wg0.
func outputJSON(name, dest string, more string) string {
	return fmt.Sprintf(`{"name":%q,"config":{"interface":"wg0","unicast-dest":%q%s}}`, name, dest, more)
}

// ruleJSON is a rule on eth0:239.1.1.1:5000 with these outputs.
func ruleJSON(name string, outputs ...string) string {
	return fmt.Sprintf(`{"name":%q,"config":{"input-interface":"eth0","input-group":"239.1.1.1","input-port":5000},"outputs":{"output":[%s]}}`,
		name, strings.Join(outputs, ","))
}

func manyOutputs(n int) string {
	outs := make([]string, n)
	for i := range outs {
		outs[i] = outputJSON(fmt.Sprintf("o%d", i), fmt.Sprintf("10.1.%d.%d", i>>8, i&255), "")
	}
	return ruleJSON("r1", outs...)
}

func readFile(t testing.TB, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, stateName))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(b)
}

func writeFile(t testing.TB, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// contents returns what t writes.
func contents(tb testing.TB, t io.WriterTo) string {
	tb.Helper()
	var b strings.Builder
	if n, err := t.WriteTo(&b); err != nil || n != int64(b.Len()) {
		tb.Fatalf("%d of %d bytes, %v", n, b.Len(), err)
	}
	return b.String()
}

// checkAlike fails unless c is what compiling its tree from nothing gives.
func checkAlike(t testing.TB, c *compiled) {
	t.Helper()
	if got := string(tree.Append(nil, tree.Schema(), c.tree, nil)); got != contents(t, c) {
		t.Fatalf("assembled %s\nencoded   %s", contents(t, c), got)
	}
	fresh, err := transact(empty(), []change{changeOfFile("x", []byte(contents(t, c)))})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := describe(fresh.config), describe(c.config); a != b {
		t.Fatalf("translated anew  %s\nbit by bit       %s", a, b)
	}
	if fresh.digest != c.digest || fresh.outputs != c.outputs {
		t.Fatal("digest or count differ")
	}
}

// describe prints a configuration with what its pointers point to.
func describe(c *mroute.Config) string {
	var b strings.Builder
	ttl := func(p *uint8) string {
		if p == nil {
			return "-"
		}
		return fmt.Sprint(*p)
	}
	flat := *c
	flat.Rules, flat.Forwarding.MinimumInputTTL = nil, nil
	flat.PIM.Interfaces, flat.IGMP.Interfaces = nil, nil
	fmt.Fprintf(&b, "%+v %s\n", flat, ttl(c.Forwarding.MinimumInputTTL))
	for _, p := range []mroute.Protocol{c.PIM, c.IGMP} {
		for _, name := range sortedKeys(p.Interfaces) {
			i := p.Interfaces[name]
			auto := "-"
			if i.HER.Auto != nil {
				auto = fmt.Sprint(*i.HER.Auto)
			}
			fmt.Fprintf(&b, "%s: %v, auto-her %s, her-mode %v; ", name, i.Enabled, auto, i.HER.Mode)
		}
		b.WriteByte('\n')
	}
	for _, name := range sortedKeys(c.Rules) {
		r := *c.Rules[name]
		outs := r.Outputs
		fmt.Fprintf(&b, "%s: ", ttl(r.MinimumInputTTL))
		r.Outputs, r.MinimumInputTTL = nil, nil
		fmt.Fprintf(&b, "%+v\n", r)
		for _, o := range outs {
			fmt.Fprintf(&b, "  %+v\n", *o)
		}
	}
	return b.String()
}
