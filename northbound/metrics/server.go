// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"

	"mcr/northbound/telemetry"
)

// Bounds of what clients can make us do.
const (
	maxConnections = 32
	maxScrapes     = 2 // at a time; more are told to come back
	headTime       = 10 * time.Second
	scrapeTime     = time.Minute     // in which a client must have read the answer
	idleTime       = 5 * time.Minute // between scrapes on one connection
	maxHeader      = 16 << 10
)

// Config is what a Server needs. Tree is needed.
type Config struct {
	Tree *telemetry.Tree
	Log  *slog.Logger // nil: nothing is logged
	// Allow decides about each request: StatusOK lets it in, any other is the answer, with a reason. Nil: who reaches us may read.
	Allow func(*http.Request) (status int, why string)
}

// Server answers GET /metrics.
type Server struct {
	log  *slog.Logger
	http *http.Server
}

// New returns a Server that serves nothing yet.
func New(c Config) (*Server, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	g, err := NewGatherer(c.Tree)
	if err != nil {
		return nil, err
	}
	s := &Server{log: c.Log}
	scrape := promhttp.HandlerFor(g, promhttp.HandlerOpts{
		ErrorLog: errorLog{c.Log}, ErrorHandling: promhttp.HTTPErrorOnError, MaxRequestsInFlight: maxScrapes,
	})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.guard(c.Allow, scrape))
	s.http = &http.Server{
		Handler: mux, ReadHeaderTimeout: headTime, ReadTimeout: headTime, WriteTimeout: scrapeTime, IdleTimeout: idleTime,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// guard lets in whom allow lets in, and ends the request alone where what is below panics.
func (s *Server) guard(allow func(*http.Request) (int, string), next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if fault := recover(); fault != nil && fault != http.ErrAbortHandler {
				s.log.Error("a scrape of the metrics went wrong", "err", fault, "stack", string(debug.Stack()))
				http.Error(w, "a fault in MCR; its log says more", http.StatusInternalServerError)
			}
		}()
		if allow != nil {
			if status, why := allow(r); status != http.StatusOK {
				if status == http.StatusUnauthorized {
					w.Header().Set("WWW-Authenticate", `Basic realm="MCR", charset="UTF-8"`)
				}
				http.Error(w, why, status)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// errorLog is what promhttp writes to: mostly of clients that went away.
type errorLog struct{ log *slog.Logger }

func (e errorLog) Println(v ...any) { e.log.Debug("scrape of the metrics", "err", fmt.Sprint(v...)) }

// Listen opens HOST:PORT for Serve. Without TLS (conf is nil) it must be a loopback address.
func Listen(ctx context.Context, address string, conf *tls.Config) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("metrics on %s: not HOST:PORT: %w", address, err)
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if ip, err := netip.ParseAddr(host); conf == nil && (err != nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("metrics on %s: without TLS only a loopback address such as 127.0.0.1 is allowed", address)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("metrics on %s: %w", address, err)
	}
	l = netutil.LimitListener(l, maxConnections) // below TLS, whose connections the server must see
	if conf != nil {
		l = tls.NewListener(l, conf)
	}
	return l, nil
}

// Serve answers on l until ctx ends, and closes it. The error is of a listener that failed; nothing else of MCR needs to
// end for it.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer context.AfterFunc(ctx, func() { _ = s.http.Close() })()
	err := s.http.Serve(l)
	if ctx.Err() != nil || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("metrics on %s: %w", l.Addr(), err)
}
