// SPDX-License-Identifier: Apache-2.0

package gnmi

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"math"
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
	"google.golang.org/grpc/status"

	"mcr/northbound/access"
	"mcr/northbound/telemetry"
)

const (
	maxRequest    = 64 << 20 // bytes
	maxHeader     = 64 << 10 // bytes of metadata
	handshakeTime = 10 * time.Second
	stopTime      = 1500 * time.Millisecond
	// unaryCalls is how many calls a connection may have beside its streams; gRPC's clients wait with more.
	unaryCalls = 100
)

// Config is what a Server works on.
type Config struct {
	Store  Store             // takes Sets
	Tree   *telemetry.Tree   // all that Get and Subscribe show
	Schema *telemetry.Schema // nil: the tree's
	Models []*gpb.ModelData  // for Capabilities: gen's ΓModelData
	Access *access.Access    // who may do what, and TLS; nil: everybody may do everything
	Log    *slog.Logger      // nil: none
	// Starting: until Ready is called health says NOT_SERVING and calls are refused as Unavailable.
	Starting bool
	Now      func() time.Time // nil: time.Now

	MaxClients       int           // Subscribe calls at a time; 0: 10,000
	MaxStreams       int           // Subscribe calls of one connection at a time; 0: 5,000
	MaxSubscriptions int           // of one call; 0: 10,000
	MaxPaths         int           // of one Get; 0: 10,000
	MaxOperations    int           // of one Set; 0: 100,000
	MaxAnswer        int           // bytes of the answer to a Get; 0: 256 MiB
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

	services []func(grpc.ServiceRegistrar) // beside gNMI
	arbiter  *arbiter
	calls    *calls

	health   *health.Server
	ready    atomic.Bool
	clients  atomic.Int64 // Subscribe calls
	streams  streams
	stopping context.Context
	stop     context.CancelFunc
}

// New returns a server that does not listen yet.
func New(cfg Config) *Server {
	cfg.MaxClients = orDefault(cfg.MaxClients, 10_000)
	cfg.MaxStreams = orDefault(cfg.MaxStreams, 5_000)
	cfg.MaxSubscriptions = orDefault(cfg.MaxSubscriptions, 10_000)
	cfg.MaxPaths = orDefault(cfg.MaxPaths, 10_000)
	cfg.MaxOperations = orDefault(cfg.MaxOperations, 100_000)
	cfg.MaxAnswer = orDefault(cfg.MaxAnswer, 256<<20)
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
	s := &Server{
		cfg: cfg, log: cfg.Log, tree: cfg.Tree, schema: cfg.Schema, ownsNodes: map[string]bool{},
		arbiter: newArbiter(), health: health.NewServer(),
	}
	s.say(healthpb.HealthCheckResponse_NOT_SERVING)
	if !cfg.Starting {
		s.Ready()
	}
	s.calls = newCalls(&cfg, func(err error) { s.log.Error("the tree does not take what is told of calls", "err", err) })
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.streams.open = map[*openStream]struct{}{}
	if s.cfg.Access != nil {
		s.cfg.Access.OnChange(s.recheck)
	}
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

// Ready lets calls in where the server was made as Starting.
func (s *Server) Ready() {
	s.ready.Store(true)
	s.say(healthpb.HealthCheckResponse_SERVING)
}

// say tells the health of the process and of gNMI (G05).
func (s *Server) say(status healthpb.HealthCheckResponse_ServingStatus) {
	for _, service := range []string{"", gpb.GNMI_ServiceDesc.ServiceName} {
		s.health.SetServingStatus(service, status)
	}
}

// Clients returns the number of Subscribe calls.
func (s *Server) Clients() int { return int(s.clients.Load()) }

// Offer adds a service to those that Serve offers, behind the same checks. Its errors may be *config.Error.
func (s *Server) Offer(register func(grpc.ServiceRegistrar)) {
	s.services = append(s.services, register)
}

// Serve answers on the listeners until ctx ends, then stops within 2 s: health says NOT_SERVING, streams end with
// Unavailable. It closes the listeners. A Server serves once.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	creds := newHandshake(s.cfg.Access)
	for _, l := range listeners {
		if _, secured := l.(securedListener); secured && creds.tls == nil {
			for _, l := range listeners {
				_ = l.Close()
			}
			return errNoTLS
		}
	}
	srv := grpc.NewServer(
		grpc.Creds(creds),
		grpc.ConnectionTimeout(handshakeTime),
		grpc.MaxHeaderListSize(maxHeader),
		grpc.InTapHandle(s.admit),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.MaxConcurrentStreams(uint32(min(s.cfg.MaxStreams+unaryCalls, math.MaxInt32))),
		grpc.ForceServerCodecV2(newCodec()),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 20 * time.Second}),
		grpc.ChainUnaryInterceptor(s.auditOperation, s.guardUnary, s.trackUnary),
		grpc.ChainStreamInterceptor(s.guardStream, s.follow),
	)
	services := registrar{srv, func(method string, err error) { s.calls.count(rpcs[method], status.Code(err)) }}
	gpb.RegisterGNMIServer(services, s)
	for _, register := range s.services {
		register(services)
	}
	healthpb.RegisterHealthServer(srv, s.health)
	reflection.Register(srv)

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.calls.run(ctx) })
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
		s.health.Shutdown()
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

// guardUnary and guardStream are the outermost interceptors: whatever comes out of a call gets its status, and is counted.
func (s *Server) guardUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (resp any, err error) {
	err = errStopping
	if s.stopping.Err() == nil {
		err = s.guard(info.FullMethod, func() (e error) {
			resp, e = h(ctx, req)
			return e
		})
	}
	return resp, s.ended(info.FullMethod, err)
}

func (s *Server) guardStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, h grpc.StreamHandler) error {
	return s.ended(info.FullMethod, s.guard(info.FullMethod, func() error { return h(srv, inbound{stream}) }))
}

func (s *Server) ended(method string, err error) error {
	err = toStatus(err)
	s.calls.count(rpcs[method], status.Code(err))
	return err
}

// rpcs are the calls that the tree tells of, as it names them.
var rpcs = map[string]string{
	gpb.GNMI_Capabilities_FullMethodName: "capabilities",
	gpb.GNMI_Get_FullMethodName:          "get",
	gpb.GNMI_Set_FullMethodName:          "set",
	gpb.GNMI_Subscribe_FullMethodName:    "subscribe",
}

// trackUnary lets the tree tell of calls of gNMI that take long.
func (s *Server) trackUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
	k := &call{who: caller(ctx), rpc: rpcs[info.FullMethod]}
	switch req := req.(type) {
	case *gpb.GetRequest:
		k.encoding = req.GetEncoding().String()
		for _, p := range req.GetPath() {
			k.asks(fullPath(req.GetPrefix(), p))
		}
	case *gpb.SetRequest:
		for op := range operationsOf(req) {
			if !k.asks(fullPath(req.GetPrefix(), op.path)) {
				break
			}
		}
	}
	if k.rpc != "" {
		s.calls.begin(k)
		defer s.calls.end(k)
	}
	return h(ctx, req)
}
