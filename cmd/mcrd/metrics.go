// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net"

	"mcr/northbound/metrics"
)

// scraping is the service for Prometheus; nil where none is wanted.
type scraping struct {
	server   *metrics.Server
	listener net.Listener
}

// openMetrics listens where the command line says. With TLS the same certificates and users hold as for gNMI; without, it is a
// loopback address, and who is on this machine may read.
func (d *parts) openMetrics(ctx context.Context, address string) error {
	if address == "" {
		return nil
	}
	conf := d.access.TLS()
	c := metrics.Config{Tree: d.tree, Log: d.log}
	if conf != nil {
		c.Allow = metrics.Readers(d.access)
	}
	server, err := metrics.New(c)
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
