// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"mcr/northbound/access"
	"mcr/northbound/config"
	"mcr/northbound/gnmi"
)

// Set by the linker.
var version, commit, buildTime = "development", "", ""

// defaultStateDir is where the configuration and the users are.
const defaultStateDir = "/var/lib/mcr"

// flags are the command line of mcrd. What a YANG leaf says has no flag.
type flags struct {
	config    string
	replace   bool
	stateDir  string
	listen    []string
	insecure  bool
	tls       access.TLSFiles
	metrics   string
	logLevel  string
	logFormat string
}

// Exit codes.
const (
	exitDone = iota
	exitFailed
	exitUsage
)

// errUsage marks a command line that makes no sense.
var errUsage = errors.New("see mcrd --help")

// run is main without the process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var f flags
	root := &cobra.Command{
		Use: "mcrd", Short: "Multicast in, unicast out: the MCR daemon", Version: version, Args: cobra.NoArgs,
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), f, stderr) },
	}
	fl := root.Flags()
	fl.StringVar(&f.config, "config", "", "start-up `file`, JSON5 or RFC 7951 JSON; read while the state directory has no configuration")
	fl.BoolVar(&f.replace, "replace-config", false, "the start-up file is the configuration, at each start")
	fl.StringVar(&f.stateDir, "state-dir", defaultStateDir, "`folder` that holds the configuration")
	fl.StringArrayVar(&f.listen, "listen", []string{"unix:///run/mcr/mcrd.sock"}, "unix:///PATH, or HOST:PORT for TLS, to serve gNMI on; repeatable")
	fl.BoolVar(&f.insecure, "insecure", false, "allow TCP without TLS, on loopback addresses")
	fl.StringVar(&f.tls.Cert, "tls-cert", "", "PEM `file` with our certificate, and those between it and the authority: TCP speaks TLS")
	fl.StringVar(&f.tls.Key, "tls-key", "", "PEM `file` with its key")
	fl.StringVar(&f.tls.ClientCA, "tls-client-ca", "", "PEM `file` with the authorities of client certificates, which clients must then have")
	fl.StringVar(&f.metrics, "metrics-listen", "", "HOST:PORT to serve Prometheus' GET /metrics on (default: nowhere)")
	fl.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	fl.StringVar(&f.logFormat, "log-format", "text", "text or json")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", err, errUsage) })
	root.AddCommand(checkCommand(stdout), passwdCommand(stdout, stderr))
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	fmt.Fprintln(stderr, "mcrd:", err)
	if errors.Is(err, errUsage) {
		return exitUsage
	}
	return exitFailed
}

func checkCommand(stdout io.Writer) *cobra.Command {
	return &cobra.Command{
		Use: "check FILE", Short: "Check a configuration file and exit", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			data, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			if err := config.Check(data, args[0]); err != nil {
				return err
			}
			fmt.Fprintln(stdout, args[0]+": ok")
			return nil
		},
	}
}

func (f flags) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return nil, fmt.Errorf("--log-level %s: %w", f.logLevel, errUsage)
	}
	opts := &slog.HandlerOptions{Level: level}
	switch f.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, fmt.Errorf("--log-format %s: neither text nor json: %w", f.logFormat, errUsage)
}

// serve runs the daemon until a signal, or the failure of a part, ends it.
func serve(ctx context.Context, f flags, stderr io.Writer) error {
	log, err := f.logger(stderr)
	if err != nil {
		return err
	}
	if f.replace && f.config == "" {
		return fmt.Errorf("--replace-config needs --config: %w", errUsage)
	}
	if err := f.tls.Check(); err != nil {
		return fmt.Errorf("--tls-cert, --tls-key, --tls-client-ca: %w: %w", err, errUsage)
	}
	if f.insecure && f.tls.Cert != "" {
		return fmt.Errorf("--insecure and --tls-cert exclude each other: %w", errUsage)
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)

	d, err := open(f, log)
	if err != nil {
		return err
	}
	if err := d.openMetrics(ctx, f.metrics); err != nil {
		return errors.Join(err, d.close())
	}
	listeners, err := listen(f, log)
	if err != nil {
		return errors.Join(err, d.close())
	}
	return d.run(ctx, f, listeners, hup)
}

func listen(f flags, log *slog.Logger) (out []net.Listener, err error) {
	defer func() {
		if err != nil {
			for _, l := range out {
				l.Close()
			}
		}
	}()
	for _, address := range f.listen {
		open := gnmi.ListenTLS
		if f.tls.Cert == "" || strings.HasPrefix(address, "unix:") {
			open = func(address string) (net.Listener, error) { return gnmi.Listen(address, f.insecure) }
		}
		l, err := open(address)
		if err != nil {
			return out, err
		}
		if l.Addr().Network() != "unix" && f.insecure {
			log.Warn("serving without TLS: whoever is on this machine may do everything", "address", l.Addr().String())
		}
		out = append(out, l)
	}
	return out, nil
}

// run starts the parts from the packets up, and stops them from the clients down.
func (d *parts) run(ctx context.Context, f flags, listeners []net.Listener, hup <-chan os.Signal) error {
	core, stopCore := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stopCore(nil)
	parts := map[string]func(context.Context) error{
		"dataplane": d.engine.Run, "interfaces": d.monitor.Run, "router": d.router.Run,
		"access": func(ctx context.Context) error { d.access.Run(ctx, hup); return nil },
	}
	failed := make(chan error, len(parts))
	ended := 0
	for name, part := range parts {
		go func() {
			err := part(core)
			if err != nil {
				err = fmt.Errorf("%s: %w", name, err)
			}
			stopCore(err)
			failed <- err
		}()
	}
	err := d.serve(ctx, core, f, listeners)
	err = errors.Join(err, d.store.Close())
	stopCore(nil)
	for ; ended < cap(failed); ended++ {
		err = errors.Join(err, <-failed)
	}
	return errors.Join(err, d.close())
}

// serve answers clients until the process is told to end or a part below fails. Until the configuration runs they hear that it
// does not yet.
func (d *parts) serve(ctx, core context.Context, f flags, listeners []net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(core, cancel)()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.server.Serve(ctx, listeners...) })
	g.Go(func() error {
		if err := d.store.Start(ctx, f.config, f.replace); err != nil {
			if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
				return nil // told to end before it was ready
			}
			return err
		}
		d.server.Ready()
		s := d.store.Running()
		d.log.Info("ready", "version", version, "revision", s.Revision, "digest", s.Digest)
		notify(daemon.SdNotifyReady)
		defer notify(daemon.SdNotifyStopping)
		start := time.Now()
		if d.scraping != nil {
			d.scraping.run(ctx, d)
		}
		<-ctx.Done()
		d.log.Info("stopping", "after", time.Since(start).Round(time.Second).String())
		return nil
	})
	return g.Wait()
}

// notify tells systemd, where it listens.
func notify(state string) { _, _ = daemon.SdNotify(false, state) }
