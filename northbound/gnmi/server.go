// SPDX-License-Identifier: Apache-2.0

package gnmi

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // clients may compress (G58)
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"mcr/northbound/telemetry"
)

const (
	maxRequest = 64 << 20 // bytes
	stopTime   = 1500 * time.Millisecond
)

// Config is what a Server works on.
type Config struct {
	Store  Store             // takes Sets
	Tree   *telemetry.Tree   // all that Get and Subscribe show
	Schema *telemetry.Schema // nil: the tree's
	Models []*gpb.ModelData  // for Capabilities: gen's ΓModelData
	Log    *slog.Logger      // nil: none
	Now    func() time.Time  // nil: time.Now

	MaxClients       int           // Subscribe calls at a time; 0: 10,000
	MaxSubscriptions int           // of one call; 0: 10,000
	SlowClient       time.Duration // a client that takes nothing for so long is dropped; 0: 60 s
}

// Server is the gNMI service.
type Server struct {
	gpb.UnimplementedGNMIServer

	cfg       Config
	log       *slog.Logger
	tree      *telemetry.Tree
	schema    *telemetry.Schema
	models    []*gpb.ModelData // sorted, each once
	ownsNodes map[string]bool  // modules that are the namespace of a node

	clients  atomic.Int64 // Subscribe calls
	stopping context.Context
	stop     context.CancelFunc
}

// New returns a server that does not listen yet.
func New(cfg Config) *Server {
	cfg.MaxClients = orDefault(cfg.MaxClients, 10_000)
	cfg.MaxSubscriptions = orDefault(cfg.MaxSubscriptions, 10_000)
	cfg.SlowClient = orDefault(cfg.SlowClient, time.Minute)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Schema == nil {
		cfg.Schema = cfg.Tree.Schema()
	}
	s := &Server{cfg: cfg, log: cfg.Log, tree: cfg.Tree, schema: cfg.Schema, ownsNodes: map[string]bool{}}
	s.stopping, s.stop = context.WithCancel(context.Background())
	byName := func(a, b *gpb.ModelData) int { return strings.Compare(a.GetName(), b.GetName()) }
	s.models = slices.CompactFunc(slices.SortedFunc(slices.Values(cfg.Models), byName),
		func(a, b *gpb.ModelData) bool { return a.GetName() == b.GetName() })
	for _, n := range cfg.Schema.Root.Children {
		noteModules(n, s.ownsNodes)
	}
	return s
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

func noteModules(n *telemetry.Node, seen map[string]bool) {
	seen[n.Module] = true
	for _, c := range n.Children {
		noteModules(c, seen)
	}
}

// Clients returns the number of Subscribe calls.
func (s *Server) Clients() int { return int(s.clients.Load()) }

// Serve answers on the listeners until ctx ends, then stops within 2 s: health says NOT_SERVING, streams end with
// Unavailable. It closes the listeners. A Server serves once.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	srv := grpc.NewServer(
		grpc.Creds(peerCredentials{}),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 20 * time.Second}),
		grpc.UnaryInterceptor(s.guardUnary),
		grpc.StreamInterceptor(s.guardStream),
	)
	gpb.RegisterGNMIServer(srv, s)
	alive := health.NewServer()
	alive.SetServingStatus(gpb.GNMI_ServiceDesc.ServiceName, healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(srv, alive)
	reflection.Register(srv)

	g, ctx := errgroup.WithContext(ctx)
	for _, l := range listeners {
		g.Go(func() error {
			if err := srv.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
				return err
			}
			return nil
		})
	}
	g.Go(func() error {
		<-ctx.Done()
		alive.Shutdown()
		s.stop()
		hard := time.AfterFunc(stopTime, srv.Stop)
		defer hard.Stop()
		srv.GracefulStop()
		return nil
	})
	return g.Wait()
}

// guard runs f; a panic becomes an error with an id that is in the log with the stack.
func (s *Server) guard(rpc string, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			id := rand.Text()[:12]
			s.log.Error("panic in an RPC", "rpc", rpc, "id", id, "err", r, "stack", string(debug.Stack()))
			err = &panicked{id: id}
		}
	}()
	return f()
}

func (s *Server) guardUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (resp any, err error) {
	if s.stopping.Err() != nil {
		return nil, toStatus(errStopping)
	}
	err = s.guard(info.FullMethod, func() (e error) {
		resp, e = h(ctx, req)
		return e
	})
	return resp, asStatus(err)
}

func (s *Server) guardStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, h grpc.StreamHandler) error {
	return asStatus(s.guard(info.FullMethod, func() error { return h(srv, stream) }))
}

// asStatus gives a panic its status; handlers have done so with everything else.
func asStatus(err error) error {
	if _, ok := errors.AsType[*panicked](err); ok {
		return toStatus(err)
	}
	return err
}
