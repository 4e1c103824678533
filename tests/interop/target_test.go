// SPDX-License-Identifier: Apache-2.0

package interop_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/openconfig/gnmi/proto/gnmi_ext"
	"github.com/openconfig/ygot/ygot"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mcr/tests/lab"
)

// patience is how long something may take that should be there at once; the machine may be busy.
const patience = 10 * time.Second

// target is mcrd between a source and a receiver:
//
//	src eth0 10.0.0.1 ── 10.0.0.2 eth0 rtr eth1 10.0.1.2 ── 10.0.1.1 eth0 dst
type target struct {
	*lab.MCRD
	src, rtr, dst *lab.Host
	conn          *grpc.ClientConn
}

// start starts mcrd with these further arguments.
func start(t *testing.T, args ...string) *target {
	t.Helper()
	l := lab.New(t)
	tg := &target{src: l.Host("src"), rtr: l.Host("rtr"), dst: l.Host("dst")}
	l.Link(tg.src, "eth0", "10.0.0.1/24", tg.rtr, "eth0", "10.0.0.2/24")
	l.Link(tg.rtr, "eth1", "10.0.1.2/24", tg.dst, "eth0", "10.0.1.1/24")
	tg.MCRD = tg.rtr.MCRD(lab.MCRDConfig{Args: args})
	tg.conn = tg.Dial()
	return tg
}

// rule runs the case of one rule, which begins with the configuration of start.json.
func (tg *target) rule(t *testing.T, id string, f func(c *client)) {
	t.Helper()
	t.Run(id, func(t *testing.T) {
		c := &client{t, tg, gpb.NewGNMIClient(tg.conn)}
		c.restart()
		f(c)
	})
}

// client is a gNMI client in the hands of one case.
type client struct {
	t  *testing.T
	tg *target
	gpb.GNMIClient
}

// restart brings the configuration of start.json back.
func (c *client) restart() {
	c.t.Helper()
	text, err := os.ReadFile("testdata/start.json")
	c.must(err)
	c.set(replace("/", string(text)))
}

// other is the same client on a connection of its own.
func (c *client) other() *client {
	conn := dial(c.t, "unix://"+c.tg.Socket)
	return &client{c.t, c.tg, gpb.NewGNMIClient(conn)}
}

func dial(t *testing.T, address string, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, append([]grpc.DialOption{plaintext}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (c *client) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// ctx is that of one call.
func (c *client) ctx() context.Context {
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	c.t.Cleanup(cancel)
	return ctx
}

// path reads gNMI's usual form, with an origin before a colon: "openconfig:/interfaces".
func path(s string) *gpb.Path {
	origin, rest, ok := strings.Cut(s, ":/")
	if !ok || strings.ContainsAny(origin, "/[") {
		origin, rest = "", strings.TrimPrefix(s, "/")
	}
	p, err := ygot.StringToStructuredPath("/" + rest)
	if err != nil {
		panic(err) // a literal of a test
	}
	p.Origin = origin
	return p
}

func paths(all ...string) (out []*gpb.Path) {
	for _, s := range all {
		out = append(out, path(s))
	}
	return out
}

// text is a path in gNMI's usual form, that of the prefix before it.
func text(prefix, p *gpb.Path) string {
	s, err := ygot.PathToString(&gpb.Path{Elem: append(append([]*gpb.PathElem{}, prefix.GetElem()...), p.GetElem()...)})
	if err != nil {
		panic(err)
	}
	return s
}

const (
	rules    = "/mcr/forwarding/rules"
	r1       = rules + "/rule[name=r1]"
	r2       = rules + "/rule[name=r2]"
	lan      = r1 + "/outputs/output[name=lan]"
	pim      = "/network-instances/network-instance[name=default]/protocols/protocol[identifier=PIM][name=pim]"
	revision = "/mcr/system/configuration/state/revision"
)

// ietf is a value as RFC 7951 JSON.
func ietf(s string) *gpb.TypedValue {
	return &gpb.TypedValue{Value: &gpb.TypedValue_JsonIetfVal{JsonIetfVal: []byte(s)}}
}

func plain(s string) *gpb.TypedValue {
	return &gpb.TypedValue{Value: &gpb.TypedValue_JsonVal{JsonVal: []byte(s)}}
}

func str(s string) *gpb.TypedValue {
	return &gpb.TypedValue{Value: &gpb.TypedValue_StringVal{StringVal: s}}
}

func number(n uint64) *gpb.TypedValue {
	return &gpb.TypedValue{Value: &gpb.TypedValue_UintVal{UintVal: n}}
}

func ascii(s string) *gpb.TypedValue {
	return &gpb.TypedValue{Value: &gpb.TypedValue_AsciiVal{AsciiVal: s}}
}

// put is a value for a path.
func put(p string, v *gpb.TypedValue) *gpb.Update { return &gpb.Update{Path: path(p), Val: v} }

// update, replace, remove and union make a Set of one operation; the value is RFC 7951 JSON.
func update(p, v string) *gpb.SetRequest {
	return &gpb.SetRequest{Update: []*gpb.Update{put(p, ietf(v))}}
}

func replace(p, v string) *gpb.SetRequest {
	return &gpb.SetRequest{Replace: []*gpb.Update{put(p, ietf(v))}}
}

func union(p, v string) *gpb.SetRequest {
	return &gpb.SetRequest{UnionReplace: []*gpb.Update{put(p, ietf(v))}}
}

func remove(all ...string) *gpb.SetRequest { return &gpb.SetRequest{Delete: paths(all...)} }

// with adds an extension to a Set.
func with(r *gpb.SetRequest, e *gnmi_ext.Extension) *gpb.SetRequest {
	r.Extension = append(r.Extension, e)
	return r
}

// set does a Set that must be taken.
func (c *client) set(r *gpb.SetRequest) *gpb.SetResponse {
	c.t.Helper()
	resp, err := c.Set(c.ctx(), r)
	c.must(err)
	return resp
}

// setRefused does a Set that must be refused with this code, a message that has all the words, and no effect at all: no
// leaf of the configuration, and no revision, is another afterwards.
func (c *client) setRefused(r *gpb.SetRequest, code codes.Code, words ...string) *status.Status {
	c.t.Helper()
	before := c.all("/mcr/forwarding", "/network-instances", revision)
	_, err := c.Set(c.ctx(), r)
	c.refused(err, code, words...)
	c.same(before, c.all("/mcr/forwarding", "/network-instances", revision))
	return status.Convert(err)
}

// refused checks code and message of an error.
func (c *client) refused(err error, code codes.Code, words ...string) {
	c.t.Helper()
	if status.Code(err) != code {
		c.t.Errorf("got %v, want %v", err, code)
	}
	for _, w := range words {
		if !strings.Contains(strings.ToLower(status.Convert(err).Message()), strings.ToLower(w)) {
			c.t.Errorf("error %v does not say %q", err, w)
		}
	}
}

// violations are the fields of the BadRequest details of a refusal.
func violations(s *status.Status) (fields []string) {
	for _, d := range s.Details() {
		if b, ok := d.(*errdetails.BadRequest); ok {
			for _, v := range b.GetFieldViolations() {
				fields = append(fields, v.GetField()+": "+v.GetDescription())
			}
		}
	}
	return fields
}

// get does a Get that must be answered.
func (c *client) get(r *gpb.GetRequest) *gpb.GetResponse {
	c.t.Helper()
	resp, err := c.Get(c.ctx(), r)
	c.must(err)
	return resp
}

// getRefused does a Get that must be refused.
func (c *client) getRefused(r *gpb.GetRequest, code codes.Code, words ...string) {
	c.t.Helper()
	_, err := c.Get(c.ctx(), r)
	c.refused(err, code, words...)
}

// one reads one path with one encoding and returns the only update.
func (c *client) one(e gpb.Encoding, p string) *gpb.Update {
	c.t.Helper()
	resp := c.get(&gpb.GetRequest{Encoding: e, Path: paths(p)})
	if len(resp.GetNotification()) != 1 || len(resp.GetNotification()[0].GetUpdate()) != 1 {
		c.t.Fatalf("Get %s: %v, want one update", p, resp)
	}
	return resp.GetNotification()[0].GetUpdate()[0]
}

// json reads one path as RFC 7951 JSON, decoded.
func (c *client) json(p string) any {
	c.t.Helper()
	return decode(c.t, c.one(gpb.Encoding_JSON_IETF, p).GetVal().GetJsonIetfVal())
}

// leaf reads one leaf as text; one that has no value is "".
func (c *client) leaf(p string) string {
	c.t.Helper()
	resp, err := c.Get(c.ctx(), &gpb.GetRequest{Encoding: gpb.Encoding_PROTO, Path: paths(p)})
	if status.Code(err) == codes.NotFound {
		return ""
	}
	c.must(err)
	if n := resp.GetNotification(); len(n) == 1 && len(n[0].GetUpdate()) == 1 {
		return value(n[0].GetUpdate()[0].GetVal())
	}
	c.t.Fatalf("Get %s: %v, want one leaf", p, resp)
	return ""
}

// is checks the value of a leaf.
func (c *client) is(p, want string) {
	c.t.Helper()
	if got := c.leaf(p); got != want {
		c.t.Errorf("%s is %q, want %q", p, got, want)
	}
}

// becomes waits until a leaf has this value.
func (c *client) becomes(p, want string) {
	c.t.Helper()
	s := c.stream(&gpb.Subscription{Path: path(p), Mode: gpb.SubscriptionMode_ON_CHANGE})
	s.until(patience, p+" = "+want, func(l leaves) bool { return l[p] == want })
	s.close()
}

func decode(t *testing.T, text []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// stored is what the state file holds, as a text that differs when it was written anew.
func (c *client) stored() string {
	c.t.Helper()
	fi, err := os.Stat(filepath.Join(c.tg.StateDir, "state.json"))
	c.must(err)
	return fmt.Sprint(fi.ModTime().UnixNano(), fi.Size(), fi.Sys().(*syscall.Stat_t).Ino)
}
