// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	gnmipb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"mcr/tests/lab"
)

var soak = flag.Bool("soak", false, "load tests: run in full length and hold the figures of a machine that does nothing else")

// length is how much of something a load test does: in full with -soak.
func length[T any](short, full T) T {
	if *soak {
		return full
	}
	return short
}

// sampledLeaf says whether a leaf moves by itself, so that it is sampled: counters, gauges and deadlines, times of the last
// packet, process figures. All else tells its changes.
func sampledLeaf(path string) bool {
	switch path[strings.LastIndexByte(path, '/')+1:] {
	case "last-packet-time", "last-error-time", "current-time", "expires", "buffer-memory", "residence-p50", "residence-p99":
		return true
	}
	return strings.Contains(path, "/counters/") || strings.HasPrefix(path, "mcr/system/process/")
}

// bigClient is a client that takes messages of any size, on bigConn.
func bigClient(t testing.TB, d *lab.MCRD) *client {
	t.Helper()
	return &client{t, gnmipb.NewGNMIClient(bigConn(t, d))}
}

func bigConn(t testing.TB, d *lab.MCRD) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+d.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30), grpc.MaxCallSendMsgSize(1<<30)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// processorTime is what mcrd has used, in user and system mode.
func processorTime(t testing.TB, d *lab.MCRD) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // proc(5): utime and stime are fields 14 and 15 of all
	var ticks int64
	for _, s := range f[11:13] {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100 // USER_HZ
}

// quantile is the value below which a share q of them lies; it sorts.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(len(all)-1, int(q*float64(len(all))))]
}

// milli is a duration as figures are told.
func milli(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/1e6) }

// subscription is one STREAM.
type subscription struct {
	synced chan struct{} // closed at the sync marker
	done   chan struct{} // closed at the end; err is set before
	err    error
	cancel context.CancelFunc
}

// onChange asks for paths in one mode and encoding.
func onChange(enc gnmipb.Encoding, paths ...string) *gnmipb.SubscribeRequest {
	return streamOf(gnmipb.SubscriptionMode_ON_CHANGE, enc, paths...)
}

func streamOf(mode gnmipb.SubscriptionMode, enc gnmipb.Encoding, paths ...string) *gnmipb.SubscribeRequest {
	list := &gnmipb.SubscriptionList{Encoding: enc}
	for _, p := range paths {
		list.Subscription = append(list.Subscription, &gnmipb.Subscription{Path: parsePath(p), Mode: mode})
	}
	return &gnmipb.SubscribeRequest{Request: &gnmipb.SubscribeRequest_Subscribe{Subscribe: list}}
}

// subscribe begins a stream; each answer goes to take, from one goroutine. It ends with the test.
func (c *client) subscribe(req *gnmipb.SubscribeRequest, take func(*gnmipb.SubscribeResponse)) *subscription {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &subscription{synced: make(chan struct{}), done: make(chan struct{}), cancel: cancel}
	stream, err := c.c.Subscribe(ctx)
	if err == nil {
		err = stream.Send(req)
	}
	if err != nil {
		cancel()
		c.t.Fatalf("subscribe: %v", err)
	}
	go func() {
		defer close(s.done)
		for {
			r, err := stream.Recv()
			if err != nil {
				s.err = err
				return
			}
			take(r)
			if r.GetSyncResponse() {
				close(s.synced)
			}
		}
	}()
	c.t.Cleanup(s.stop)
	return s
}

func (s *subscription) stop() { s.cancel(); <-s.done }

// inSync waits for the sync marker.
func (s *subscription) inSync(t testing.TB) {
	t.Helper()
	select {
	case <-s.synced:
	case <-s.done:
		t.Fatalf("the subscription ended before it was in sync: %v", s.err)
	case <-time.After(length(30*time.Second, time.Minute)):
		t.Fatal("the subscription is not in sync")
	}
}

// running demands that the stream has not ended.
func (s *subscription) running(t testing.TB) {
	t.Helper()
	select {
	case <-s.done:
		t.Fatalf("the subscription ended: %v", s.err)
	default:
	}
}

// replica is the tree as a stream told it: all, and then each change.
type replica struct {
	mu   sync.Mutex // guards root
	root twig
}

// twig is a node, with the nodes below it by the text of their path element.
type twig struct {
	value string
	leaf  bool
	below map[string]*twig
}

// elemText is a path element as pathText writes it.
func elemText(e *gnmipb.PathElem) string {
	if len(e.GetKey()) == 0 {
		return e.GetName()
	}
	return pathText(nil, &gnmipb.Path{Elem: []*gnmipb.PathElem{e}})
}

// apply takes in a notification: deletes, then updates.
func (r *replica) apply(n *gnmipb.Notification) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range n.GetDelete() {
		r.remove(p.GetElem())
	}
	for _, u := range n.GetUpdate() {
		at := &r.root
		for _, e := range u.GetPath().GetElem() {
			text := elemText(e)
			next := at.below[text]
			if next == nil {
				next = &twig{}
				if at.below == nil {
					at.below = map[string]*twig{}
				}
				at.below[text] = next
			}
			at = next
		}
		at.value, at.leaf = leafText(u.GetVal()), true
	}
}

func (r *replica) remove(elems []*gnmipb.PathElem) {
	at := &r.root
	for i, e := range elems {
		text := elemText(e)
		if i == len(elems)-1 {
			delete(at.below, text)
		} else if at = at.below[text]; at == nil {
			return
		}
	}
}

// get is the value of a leaf, "" if it is not there; no key in the path has a slash.
func (r *replica) get(path string) string {
	at := &r.root
	for text := range strings.SplitSeq(path, "/") {
		if at = at.below[text]; at == nil {
			return ""
		}
	}
	return at.value
}

// leaves are all event-driven leaves.
func (r *replica) leaves() leaves {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := leaves{}
	var walk func(t *twig, path string)
	walk = func(t *twig, path string) {
		if t.leaf && !sampledLeaf(path) {
			all[path] = t.value
		}
		for text, next := range t.below {
			walk(next, strings.TrimPrefix(path+"/"+text, "/"))
		}
	}
	walk(&r.root, "")
	return all
}

// leafText is the value of a leaf in any encoding, as the same text.
func leafText(v *gnmipb.TypedValue) string {
	text := v.GetJsonIetfVal()
	if text == nil {
		text = v.GetJsonVal()
	}
	if text == nil {
		return valueText(v)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		return fmt.Sprintf("%v in %s", err, text)
	}
	if list, ok := value.([]any); ok {
		var all []string
		for _, e := range list {
			all = append(all, fmt.Sprint(e))
		}
		return strings.Join(all, ",")
	}
	return fmt.Sprint(value)
}
