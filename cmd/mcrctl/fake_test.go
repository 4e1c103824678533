// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"

	mcrv1 "mcr/northbound/operations/mcr/v1"
)

var updateGolden = flag.Bool("update", false, "write the golden files anew")

// snapshotTime is the time of every answer of the fake.
var snapshotTime = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// fake is a server of gNMI and Operations with canned answers that remembers what it was told.
type fake struct {
	gpb.UnimplementedGNMIServer
	mcrv1.UnimplementedOperationsServer
	address string

	mu        sync.Mutex
	sets      []*gpb.SetRequest
	answers   map[string][]pathValue // by the path asked for
	setErr    error
	commits   map[uint64]*mcrv1.GetCommitResponse
	validated []*gpb.SetRequest
	validate  *mcrv1.ValidateResponse
	subscribe func(gpb.GNMI_SubscribeServer) error
}

// startFake serves on a unix socket of its own.
func startFake(t testing.TB) *fake {
	t.Helper()
	dir, err := os.MkdirTemp("", "mcrctl") // t.TempDir may be too long for a socket's name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	return serveFake(t, l, "unix://"+socket)
}

func serveFake(t testing.TB, l net.Listener, address string, opts ...grpc.ServerOption) *fake {
	t.Helper()
	f := &fake{address: address, answers: map[string][]pathValue{}}
	s := grpc.NewServer(opts...)
	gpb.RegisterGNMIServer(s, f)
	mcrv1.RegisterOperationsServer(s, f)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return f
}

// answer makes a Get of path return value there.
func (f *fake) answer(path, value string) {
	f.answers[path] = []pathValue{{path, json.RawMessage(value)}}
}

func (f *fake) Get(_ context.Context, req *gpb.GetRequest) (*gpb.GetResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if req.GetEncoding() != gpb.Encoding_JSON_IETF || len(req.GetPath()) != 1 {
		return nil, status.Error(codes.InvalidArgument, "not what mcrctl asks for")
	}
	path := pathString(req.GetPath()[0])
	found, ok := f.answers[path]
	if !ok && !strings.Contains(path, "=*]") {
		return nil, status.Errorf(codes.NotFound, "%s: no data", path)
	}
	n := &gpb.Notification{Timestamp: snapshotTime.UnixNano()}
	for _, a := range found {
		p, err := parsePath(a.Path)
		if err != nil {
			return nil, err
		}
		n.Update = append(n.Update, &gpb.Update{
			Path: p, Val: &gpb.TypedValue{Value: &gpb.TypedValue_JsonIetfVal{JsonIetfVal: a.Value}},
		})
	}
	return &gpb.GetResponse{Notification: []*gpb.Notification{n}}, nil
}

func (f *fake) Set(_ context.Context, req *gpb.SetRequest) (*gpb.SetResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sets = append(f.sets, req)
	return &gpb.SetResponse{}, f.setErr
}

func (f *fake) GetCommit(_ context.Context, req *mcrv1.GetCommitRequest) (*mcrv1.GetCommitResponse, error) {
	if c, ok := f.commits[req.GetRevision()]; ok {
		return c, nil
	}
	return nil, status.Errorf(codes.NotFound, "commit %d is not kept", req.GetRevision())
}

func (f *fake) Validate(_ context.Context, req *gpb.SetRequest) (*mcrv1.ValidateResponse, error) {
	f.validated = append(f.validated, req)
	return f.validate, f.setErr
}

func (f *fake) Subscribe(s gpb.GNMI_SubscribeServer) error { return f.subscribe(s) }

// setText prints the Sets that came, an operation a line.
func (f *fake) setText() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	op := func(what string, us []*gpb.Update) {
		for _, u := range us {
			value := string(u.GetVal().GetJsonIetfVal()) + u.GetVal().GetAsciiVal()
			b.WriteString(what + " " + pathString(u.GetPath()) + " " + value + "\n")
		}
	}
	for _, s := range f.sets {
		for _, p := range s.GetDelete() {
			b.WriteString("delete " + pathString(p) + "\n")
		}
		op("replace", s.GetReplace())
		op("update", s.GetUpdate())
		for _, e := range s.GetExtension() {
			text, err := prototext.MarshalOptions{}.Marshal(e)
			if err != nil {
				panic(err)
			}
			b.WriteString(strings.Join(strings.Fields(string(text)), " ") + "\n") // the spaces are not stable
		}
	}
	return b.String()
}

// result is what a command line did.
type result struct {
	code           int
	stdout, stderr string
}

func (f *fake) run(t testing.TB, args ...string) result {
	t.Helper()
	return runAt(t, f.address, args...)
}

func runAt(t testing.TB, address string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), append([]string{"--address", address}, args...), &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

// done is run for a command that must succeed.
func (f *fake) done(t testing.TB, args ...string) string {
	t.Helper()
	r := f.run(t, args...)
	if r.code != exitDone {
		t.Fatalf("mcrctl %s: exit code %d\n%s", strings.Join(args, " "), r.code, r.stderr)
	}
	return r.stdout
}

// golden compares text with testdata/NAME.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *updateGolden {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func readTestdata(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
