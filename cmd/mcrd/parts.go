// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"log/slog"
	"time"

	"mcr/dataplane"
	"mcr/dataplane/afpacket"
	"mcr/gen"
	"mcr/mroute"
	"mcr/mroute/netif"
	"mcr/northbound/access"
	"mcr/northbound/config"
	"mcr/northbound/gnmi"
	"mcr/northbound/operations"
	"mcr/northbound/state"
	"mcr/northbound/telemetry"
)

// parts are what a daemon is made of.
type parts struct {
	log      *slog.Logger
	engine   *dataplane.Engine
	monitor  *netif.Monitor
	router   *mroute.Router
	store    *config.Store
	access   *access.Access
	server   *gnmi.Server
	tree     *telemetry.Tree
	scraping *scraping
	closers  []func() error // of what does not close itself, last first
}

// open makes the parts; nothing runs yet, and nobody can reach it. Without the state directory there is no daemon.
func open(f flags, log *slog.Logger) (d *parts, err error) {
	d = &parts{log: log}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if d.engine, err = dataplane.Open(dataplane.Config{Log: log}); err != nil {
		return d, err
	}
	d.closers = append(d.closers, d.engine.Close)
	if d.monitor, err = netif.Open(log); err != nil {
		return d, err
	}
	d.closers = append(d.closers, d.monitor.Close)

	schema, err := state.NewSchema()
	if err != nil {
		return d, err
	}
	schema.SetAlias(gnmi.OpenConfigNames())
	tree := telemetry.New(schema)
	d.tree = tree
	publisher := state.New(state.Config{
		Tree: tree, Counters: d.engine, Log: log,
		Version: version, Commit: commit, BuildTime: buildTime, Start: time.Now(),
		Subscriptions: func() int { return d.server.Clients() }, // asked by clients of the server alone
		QueueDrops:    d.monitor.QueueDrops, CarrierTransitions: d.monitor.CarrierTransitions,
	})
	opts := mroute.Options{Log: log, Dataplane: d.engine, Netif: d.monitor, Publish: publisher.Batch}
	if eye, err := afpacket.OpenStray(); err != nil {
		log.Info("a stream on the wrong interface will not be told from silence", "err", err)
	} else {
		opts.Strays = eye
		d.closers = append(d.closers, eye.Close)
	}
	d.router = mroute.New(opts)
	d.store, err = config.Open(config.Options{
		Dir: f.stateDir, Router: d.router, Log: log, Publish: publisher.Commit, Version: version,
	})
	if err != nil {
		return d, err
	}
	d.closers = append(d.closers, d.store.Close)
	if d.access, err = access.Open(access.Options{Dir: f.stateDir, Schema: schema, TLS: f.tls, Log: log}); err != nil {
		return d, err
	}
	d.server = gnmi.New(gnmi.Config{Store: d.store, Tree: tree, Access: d.access, Models: gen.ΓModelData, Log: log, Starting: true})
	d.server.Offer((&operations.Server{Target: d.server, History: d.store}).Register)
	return d, nil
}

// close closes everything, in the order in which it may be needed. Each part may be closed twice.
func (d *parts) close() (err error) {
	for i := len(d.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, d.closers[i]())
	}
	d.closers = nil
	return err
}
