// SPDX-License-Identifier: Apache-2.0

package gnmi

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"mcr/northbound/access"
	"mcr/northbound/telemetry"
)

// client is who calls.
type client struct {
	user    string
	address string // address and port, or "unix"
	pid     int32  // at the other end of a unix socket

	rights   *access.Rights
	admitted access.Caller // zero where everybody is
	schema   *telemetry.Schema
	raw      net.Conn
}

// mayWrite says whether the client may change all that a path can match, and all below. The error is a refusal with the path.
// nil elements are the root.
func (c client) mayWrite(elems []*gpb.PathElem) error {
	if all, _ := c.rights.Allows(nil, access.Write); all {
		return nil
	}
	if all, some := c.rights.Allows(c.known(elems), access.Write); all {
		return nil
	} else if some {
		return refuse(errPermission, "%s: user %q may not write all that is in it: use a narrower path", telemetry.FormatElems(elems), c.user)
	}
	return refuse(errPermission, "%s: user %q may not write there", telemetry.FormatElems(elems), c.user)
}

// known returns the canonical path of as many elements as the schema knows. What is not known is refused later and by its own
// name, if the client may do all where it seems to be.
func (c client) known(elems []*gpb.PathElem) telemetry.Path {
	for n := min(len(elems), maxKnown); n > 0; n-- {
		if p, _ := c.schema.Resolve(elems[:n]); p != nil {
			return p.Path()
		}
	}
	return nil
}

// maxKnown bounds the elements that are looked at; the schema is far less deep.
const maxKnown = 64

// mayRead says whether the client may read anything of what a pattern can match.
func (c client) mayRead(p *telemetry.Pattern) error {
	if _, some := c.rights.Allows(p.Path(), access.Read); !some {
		return refuse(errPermission, "%s: user %q may not read it", p, c.user)
	}
	return nil
}

// readable is the filter for what the client may read; nil: everything.
func (c client) readable() func(telemetry.Path) telemetry.Access {
	if all, _ := c.rights.Allows(nil, access.Read); all {
		return nil
	}
	return func(p telemetry.Path) telemetry.Access {
		switch all, some := c.rights.Allows(p, access.Read); {
		case all:
			return telemetry.AccessAll
		case some:
			return telemetry.AccessSome
		}
		return telemetry.AccessNone
	}
}

// mayReadAll says whether the client may read everything.
func (c client) mayReadAll() error {
	if all, _ := c.rights.Allows(nil, access.Read); !all {
		return refuse(errPermission, "user %q may not read everything", c.user)
	}
	return nil
}

// tcp returns the connection, if it is one of TCP; with TLS it is what is below.
func (c client) tcp() *net.TCPConn {
	t, _ := c.raw.(*net.TCPConn)
	return t
}

type callerKey struct{}

// caller returns who calls. Outside of a call that was admitted it is somebody who may do nothing.
func caller(ctx context.Context) client {
	if c, ok := ctx.Value(callerKey{}).(client); ok {
		return c
	}
	return client{rights: &access.Rights{}}
}

// admit lets a call in, or not, before a byte of its message is read, and puts the caller into its context. It runs in the
// goroutine that reads the connection: checking a password holds up the client that sent it, and nobody else.
func (s *Server) admit(ctx context.Context, info *tap.Info) (_ context.Context, err error) {
	out := ctx
	err = s.guard(info.FullMethodName, func() error {
		if strings.HasPrefix(info.FullMethodName, "/"+healthpb.Health_ServiceDesc.ServiceName+"/") {
			return nil // whoever watches over processes has no name
		}
		switch {
		case s.stopping.Err() != nil:
			return errStopping
		case !s.ready.Load():
			return errStarting
		}
		c, err := s.identify(ctx, info.Header)
		if err == nil {
			out = context.WithValue(ctx, callerKey{}, c)
		}
		return err
	})
	if err != nil {
		err = s.ended(info.FullMethodName, err)
	}
	return out, err
}

// identify finds out who calls.
func (s *Server) identify(ctx context.Context, header metadata.MD) (client, error) {
	info, addr := peerOf(ctx)
	if info == nil {
		return client{}, &access.Refusal{Cause: access.ErrCredentials, Text: "unknown connection"}
	}
	c := client{address: addr.String(), pid: info.pid, raw: info.raw, schema: s.schema}
	if info.pid != 0 {
		c.address = "unix"
	}
	if s.cfg.Access == nil {
		c.user, c.rights = info.Trusted, access.Everything()
		return c, nil
	}
	var err error
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()
	login := access.Login{User: first(header["username"]), Password: first(header["password"])}
	if c.admitted, err = s.cfg.Access.Admit(ctx, &info.Connection, login); err != nil {
		return c, err
	}
	c.user, c.rights = c.admitted.User, c.admitted.Rights
	return c, nil
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}

// streams are the calls that are open, so that they end when their caller's rights change.
type streams struct {
	mu   sync.Mutex
	open map[*openStream]struct{}
}

type openStream struct {
	grpc.ServerStream
	ctx    context.Context //nolint:containedctx // the call's own
	cancel context.CancelCauseFunc
}

func (o *openStream) Context() context.Context { return o.ctx }

// follow keeps a stream in view while it is open.
func (s *Server) follow(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, h grpc.StreamHandler) error {
	o := &openStream{ServerStream: stream}
	o.ctx, o.cancel = context.WithCancelCause(stream.Context())
	defer o.cancel(nil)
	s.streams.mu.Lock()
	s.streams.open[o] = struct{}{}
	s.streams.mu.Unlock()
	defer func() {
		s.streams.mu.Lock()
		delete(s.streams.open, o)
		s.streams.mu.Unlock()
	}()
	s.check(o) // the rights may have changed since the call was let in
	return h(srv, o)
}

// recheck ends the streams whose caller would not be let in as before.
func (s *Server) recheck() {
	s.streams.mu.Lock()
	defer s.streams.mu.Unlock()
	for o := range s.streams.open {
		s.check(o)
	}
}

func (s *Server) check(o *openStream) {
	if c := caller(o.ctx); c.admitted.User != "" && !s.cfg.Access.Current(c.admitted) {
		o.cancel(refuse(errPermission, "the rights of user %q have changed: call again", c.user))
	}
}

// auditOperation writes one line for each call of mcr.v1.Operations. Set writes its own, which says more.
func (s *Server) auditOperation(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
	resp, err := h(ctx, req)
	if name, ok := strings.CutPrefix(info.FullMethod, "/mcr.v1.Operations/"); ok {
		c := caller(ctx)
		attrs := []slog.Attr{slog.String("operation", name), slog.String("user", c.user), slog.String("address", c.address)}
		if c.pid != 0 {
			attrs = append(attrs, slog.Int("pid", int(c.pid)))
		}
		attrs = append(attrs, slog.String("code", status.Code(err).String()))
		if err != nil {
			attrs = append(attrs, slog.String("err", status.Convert(err).Message()))
		}
		s.log.LogAttrs(ctx, slog.LevelInfo, "operation", attrs...)
	}
	return resp, err
}
