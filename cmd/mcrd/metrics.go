// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"net"

	"mcr/northbound/metrics"
	"mcr/northbound/telemetry"
)

// scraping is the service for Prometheus; nil where none is wanted.
type scraping struct {
	server   *metrics.Server
	listener net.Listener
}

// openMetrics listens where the command line says. Without TLS (conf is nil) that must be a loopback address.
func (d *parts) openMetrics(ctx context.Context, address string, tree *telemetry.Tree, conf *tls.Config) error {
	if address == "" {
		return nil
	}
	server, err := metrics.New(metrics.Config{Tree: tree, Log: d.log})
	if err != nil {
		return err
	}
	l, err := metrics.Listen(ctx, address, conf)
	if err != nil {
		return err
	}
	d.closers = append(d.closers, func() error { _ = l.Close(); return nil }) // mostly the server has closed it
	d.scraping = &scraping{server, l}
	d.log.Info("serving metrics", "address", l.Addr().String())
	return nil
}

// run serves until ctx ends. The daemon does without it if it fails.
func (s *scraping) run(ctx context.Context, d *parts) {
	if err := s.server.Serve(ctx, s.listener); err != nil {
		d.log.Error("metrics are no longer served", "err", err)
	}
}
