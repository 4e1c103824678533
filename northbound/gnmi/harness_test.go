// SPDX-License-Identifier: Apache-2.0

package gnmi_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/openconfig/ygot/ygot"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"mcr/gen"
	"mcr/northbound/config"
	"mcr/northbound/gnmi"
	"mcr/northbound/state"
	"mcr/northbound/telemetry"
)

var loadSchema = sync.OnceValues(func() (*telemetry.Schema, error) {
	s, err := state.NewSchema()
	if err == nil {
		s.SetAlias(gnmi.OpenConfigNames())
	}
	return s, err
})

// fakeStore remembers the latest Set and answers as told.
type fakeStore struct {
	mu      sync.Mutex
	got     []config.Request
	decided []string // calls about the commit that waits
	err     error
	after   func(config.Request)
}

func (f *fakeStore) Set(_ context.Context, r config.Request) (config.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = append(f.got, r)
	if f.after != nil {
		f.after(r)
	}
	return config.Result{Revision: 7, Time: time.Now()}, f.err
}

func (f *fakeStore) Validate(_ context.Context, r config.Request) (config.Preview, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = append(f.got, r)
	return config.Preview{Revision: 7, Changes: []config.LeafChange{{Path: "/mcr/a", New: "1"}}}, f.err
}

func (*fakeStore) Running() *config.Snapshot { return &config.Snapshot{} }

func (f *fakeStore) decide(what string) (config.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.decided = append(f.decided, what)
	return config.Result{Revision: 8, Time: time.Now()}, f.err
}

func (f *fakeStore) Confirm(_ context.Context, id string, by config.Client) (config.Result, error) {
	return f.decide("confirm " + id + " from " + by.Address)
}

func (f *fakeStore) Cancel(_ context.Context, id string, by config.Client) (config.Result, error) {
	return f.decide("cancel " + id + " from " + by.Address)
}

func (f *fakeStore) SetRollback(_ context.Context, id string, d time.Duration, by config.Client) (config.Result, error) {
	return f.decide("set " + id + " to " + d.String() + " from " + by.Address)
}

func (f *fakeStore) last(t *testing.T) config.Request {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.got) == 0 {
		t.Fatal("the store was not asked")
	}
	return f.got[len(f.got)-1]
}

// target is a server on a unix socket with a client.
type target struct {
	tree   *telemetry.Tree
	store  *fakeStore
	server *gnmi.Server
	conn   *grpc.ClientConn
	client gpb.GNMIClient
	log    *lockedBuffer
	path   string
	stop   func() error // ends the server and returns Serve's error; safe twice
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newTree(tb testing.TB) *telemetry.Tree {
	tb.Helper()
	s, err := loadSchema()
	if err != nil {
		tb.Fatal(err)
	}
	tree := telemetry.New(s)
	st := unit(tb, ruleSt, telemetry.Leaf{Name: "name", Value: telemetry.String("r1")}, telemetry.Leaf{Name: "oper-status", Value: telemetry.String("up")})
	st.Sample = func(dst []telemetry.Leaf) []telemetry.Leaf {
		return append(dst, telemetry.Leaf{Name: "counters/packets", Value: telemetry.Uint(uint64(7))})
	}
	apply(tb, tree, rule("r1", "first"), st,
		unit(tb, "/network-instances/network-instance[name=default]/config",
			telemetry.Leaf{Name: "name", Value: telemetry.String("default")},
			telemetry.Leaf{Name: "type", Value: telemetry.String("DEFAULT_INSTANCE")}))
	return tree
}

const (
	ruleCfg = "/mcr/forwarding/rules/rule[name=r1]/config"
	ruleSt  = "/mcr/forwarding/rules/rule[name=r1]/state"
)

func unit(tb testing.TB, path string, leaves ...telemetry.Leaf) *telemetry.Unit {
	tb.Helper()
	s, err := loadSchema()
	if err != nil {
		tb.Fatal(err)
	}
	p, err := s.Resolve(elems(path).GetElem())
	if err != nil {
		tb.Fatal(err)
	}
	return &telemetry.Unit{Path: p.Path(), Leaves: leaves}
}

func rule(name, description string) *telemetry.Unit {
	p := telemetry.Path{{Name: "mcr"}, {Name: "forwarding"}, {Name: "rules"}, {Name: "rule", Keys: []telemetry.Key{{Name: "name", Value: name}}}, {Name: "config"}}
	return &telemetry.Unit{Path: p, Leaves: []telemetry.Leaf{
		{Name: "description", Value: telemetry.String(description)},
		{Name: "input-group", Value: telemetry.String("239.1.1.1")},
		{Name: "name", Value: telemetry.String(name)},
	}}
}

func apply(tb testing.TB, tree *telemetry.Tree, units ...*telemetry.Unit) {
	tb.Helper()
	if err := tree.Apply(telemetry.Changes{Time: time.Now(), Update: units}); err != nil {
		tb.Fatal(err)
	}
}

// elems parses a path; it is for literals of tests.
func elems(path string) *gpb.Path {
	p, err := ygot.StringToStructuredPath(path)
	if err != nil {
		panic(err)
	}
	return p
}

func serve(tb testing.TB, change ...func(*gnmi.Config)) *target {
	tb.Helper()
	tg := prepare(tb, change...)
	tg.serve(tb)
	return tg
}

// prepare makes a server that does not serve yet.
func prepare(tb testing.TB, change ...func(*gnmi.Config)) *target {
	tb.Helper()
	dir, err := os.MkdirTemp("", "gnmi")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	tg := &target{tree: newTree(tb), store: &fakeStore{}, log: &lockedBuffer{}, path: filepath.Join(dir, "s")}
	cfg := gnmi.Config{
		Store: tg.store, Tree: tg.tree, Models: gen.ΓModelData, Log: slog.New(slog.NewTextHandler(tg.log, nil)),
	}
	for _, c := range change {
		c(&cfg)
	}
	tg.server = gnmi.New(cfg)
	return tg
}

func (tg *target) serve(tb testing.TB) {
	tb.Helper()
	l, err := gnmi.Listen("unix://"+tg.path, false)
	if err != nil {
		tb.Fatal(err)
	}
	tg.run(tb, l)
	tg.conn = dial(tb, "unix://"+tg.path)
	tg.client = gpb.NewGNMIClient(tg.conn)
}

func (tg *target) run(tb testing.TB, l ...net.Listener) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tg.server.Serve(ctx, l...) }()
	tg.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	tb.Cleanup(func() {
		if err := tg.stop(); err != nil {
			tb.Errorf("serve: %v", err)
		}
	})
}

func dial(tb testing.TB, address string) *grpc.ClientConn {
	tb.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30)))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return conn
}

// open starts a Subscribe call and sends its first message.
func (tg *target) open(tb testing.TB, first *gpb.SubscribeRequest) gpb.GNMI_SubscribeClient {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	tb.Cleanup(cancel)
	s, err := tg.client.Subscribe(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.Send(first); err != nil && !errors.Is(err, io.EOF) { // EOF: refused already; Recv says why
		tb.Fatal(err)
	}
	return s
}

func list(mode gpb.SubscriptionList_Mode, subMode gpb.SubscriptionMode, paths ...string) *gpb.SubscribeRequest {
	l := &gpb.SubscriptionList{Mode: mode}
	for _, p := range paths {
		l.Subscription = append(l.Subscription, &gpb.Subscription{Path: elems(p), Mode: subMode})
	}
	return &gpb.SubscribeRequest{Request: &gpb.SubscribeRequest_Subscribe{Subscribe: l}}
}

// untilSync reads up to the sync marker and returns path and JSON of what came.
func untilSync(tb testing.TB, s gpb.GNMI_SubscribeClient) map[string]string {
	tb.Helper()
	out := map[string]string{}
	for {
		m, err := s.Recv()
		if err != nil {
			tb.Fatalf("no sync: %v", err)
		}
		if m.GetSyncResponse() {
			return out
		}
		for _, u := range m.GetUpdate().GetUpdate() {
			out[pathText(u.GetPath())] = string(u.GetVal().GetJsonVal())
		}
	}
}

func pathText(p *gpb.Path) string {
	s, err := ygot.PathToString(p)
	if err != nil {
		panic(err)
	}
	return s
}

// wantStatus checks the code of an error, and that its text names what it should.
func wantStatus(tb testing.TB, err error, code codes.Code, names ...string) {
	tb.Helper()
	if status.Code(err) != code {
		tb.Errorf("got %v, want %v", err, code)
	}
	for _, n := range names {
		if !strings.Contains(status.Convert(err).Message(), n) {
			tb.Errorf("error %v does not name %q", err, n)
		}
	}
}

// eventually waits for a condition.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			tb.Fatalf("%s\n%s", what, buf[:runtime.Stack(buf, true)])
		}
	}
}

func dropUnit(tb testing.TB, tree *telemetry.Tree, path string) {
	tb.Helper()
	if err := tree.Apply(telemetry.Changes{Time: time.Now(), Delete: []telemetry.Path{unit(tb, path).Path}}); err != nil {
		tb.Fatal(err)
	}
}
