// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"path/filepath"
	"time"

	gnmipb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// heap is mcrd's Go heap in use, bytes: what lives, and what died since the latest garbage collection. 0: not known, or no mcrd.
func (o *one) heap() uint64 {
	if o.f.mcrd == nil {
		return 0
	}
	conn, err := grpc.NewClient("unix://"+filepath.Join(o.dir, "mcrd.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return 0
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(o.t.Context(), 2*time.Second)
	defer cancel()
	path := &gnmipb.Path{}
	for _, name := range []string{"mcr", "system", "process", "state", "heap-memory"} {
		path.Elem = append(path.Elem, &gnmipb.PathElem{Name: name})
	}
	r, err := gnmipb.NewGNMIClient(conn).Get(ctx, &gnmipb.GetRequest{Path: []*gnmipb.Path{path}, Encoding: gnmipb.Encoding_PROTO})
	if err != nil || len(r.GetNotification()) == 0 || len(r.GetNotification()[0].GetUpdate()) == 0 {
		return 0
	}
	return r.GetNotification()[0].GetUpdate()[0].GetVal().GetUintVal()
}

// perDatagram is what the heap grew by for each datagram. heaps are three readings: the first two follow one another at once, so
// that what they differ by is what a reading itself takes. Where the heap shrank there was a garbage collection, and nothing is
// known.
func perDatagram(heaps [3]uint64, datagrams float64) *float64 {
	reading, all := heaps[1]-heaps[0], heaps[2]-heaps[1]
	if heaps[0] == 0 || heaps[1] < heaps[0] || heaps[2] < heaps[1] {
		return nil
	}
	x := float64(all-min(reading, all)) / datagrams
	return &x
}
