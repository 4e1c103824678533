// SPDX-License-Identifier: Apache-2.0

package gnmi_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"golang.org/x/crypto/bcrypt"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"mcr/northbound/access"
	"mcr/northbound/gnmi"
	"mcr/northbound/operations"
	mcrv1 "mcr/northbound/operations/mcr/v1"
	"mcr/tests/certs"
)

// guarded is a server that knows users.
type guarded struct {
	*target
	access *access.Access
	dir    string
	addr   string // of TCP
}

// users are ann, who may do all, bob, who may see the forwarding of r1 alone, and by certificate noc, who reads.
const users = `{"format":1,
	"roles": {"r1": {"/mcr/forwarding/rules/rule[name=r1]": "read", "/mcr/forwarding/rules/rule[name=r1]/outputs": "write"}},
	"users": {"ann": {"role": "admin", "password": %q}, "bob": {"role": "r1", "password": %q}, "noc": {"role": "viewer"}%s}}`

func (g *guarded) write(tb testing.TB, more string) {
	tb.Helper()
	hash := func(password string) string {
		h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			tb.Fatal(err)
		}
		return string(h)
	}
	text := fmt.Sprintf(users, hash("anns"), hash("bobs"), more)
	if err := os.WriteFile(filepath.Join(g.dir, "users"), []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
}

// guard serves on a unix socket and on TCP, with TLS if there are files.
func guard(tb testing.TB, files access.TLSFiles, change ...func(*gnmi.Server)) *guarded {
	tb.Helper()
	g := &guarded{dir: tb.TempDir(), target: &target{tree: newTree(tb), store: &fakeStore{}, log: &lockedBuffer{}}}
	g.write(tb, "")
	schema, err := loadSchema()
	if err != nil {
		tb.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(g.log, nil))
	if g.access, err = access.Open(access.Options{Dir: g.dir, Schema: schema, TLS: files, Log: log}); err != nil {
		tb.Fatal(err)
	}
	g.server = gnmi.New(gnmi.Config{Store: g.store, Tree: g.tree, Access: g.access, Log: log})
	for _, c := range change {
		c(g.server)
	}
	short, err := os.MkdirTemp("", "gnmi")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(short) })
	g.path = filepath.Join(short, "s")
	socket, err := gnmi.Listen("unix://"+g.path, false)
	if err != nil {
		tb.Fatal(err)
	}
	tcp, err := gnmi.Listen("127.0.0.1:0", true)
	if files.Cert != "" {
		tcp, err = gnmi.ListenTLS("127.0.0.1:0")
	}
	if err != nil {
		tb.Fatal(err)
	}
	g.addr = tcp.Addr().String()
	g.run(tb, socket, tcp)
	return g
}

// client connects over TCP; nil is plaintext.
func (g *guarded) dial(tb testing.TB, c *tls.Config) *grpc.ClientConn {
	tb.Helper()
	creds := insecure.NewCredentials()
	if c != nil {
		creds = credentials.NewTLS(c)
	}
	conn, err := grpc.NewClient(g.addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return conn
}

// as adds a login to a call.
func as(ctx context.Context, user, password string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "username", user, "password", password)
}

func TestG121G122TLSAndLogins(t *testing.T) {
	ca := certs.New(t)
	server := ca.Issue(t, certs.Name{IP: "127.0.0.1"})
	for name, mutual := range map[string]bool{"TLS": false, "mTLS": true} {
		t.Run(name, func(t *testing.T) {
			files := access.TLSFiles{Cert: server.Cert, Key: server.Key}
			if mutual {
				files.ClientCA = ca.File
			}
			g := guard(t, files)
			plain := &tls.Config{RootCAs: ca.Pool()}
			with := func(n certs.Name) *tls.Config {
				return &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{ca.Issue(t, n).Load(t)}}
			}
			for _, tt := range []struct {
				name           string
				conf           *tls.Config
				user, password string
				tls, mtls      codes.Code
			}{
				{"nothing", plain, "", "", codes.Unauthenticated, codes.Unavailable},
				{"login", plain, "ann", "anns", codes.OK, codes.Unavailable},
				{"wrong_login", plain, "ann", "bobs", codes.Unauthenticated, codes.Unavailable},
				{"certificate", with(certs.Name{Common: "noc"}), "", "", codes.Unauthenticated, codes.OK},
				{"certificate_of_nobody", with(certs.Name{Common: "host"}), "", "", codes.Unauthenticated, codes.Unauthenticated},
				{"certificate_and_login", with(certs.Name{Common: "host"}), "ann", "anns", codes.OK, codes.OK},
				{"certificate_and_wrong_login", with(certs.Name{Common: "noc"}), "ann", "x", codes.Unauthenticated, codes.Unauthenticated},
				{"plaintext", nil, "ann", "anns", codes.Unavailable, codes.Unavailable},
				{"TLS_1.1", &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "ann", "anns", codes.Unavailable, codes.Unavailable},
			} {
				t.Run(tt.name, func(t *testing.T) {
					want := tt.tls
					if mutual {
						want = tt.mtls
					}
					ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
					defer cancel()
					if tt.user != "" {
						ctx = as(ctx, tt.user, tt.password)
					}
					_, err := gpb.NewGNMIClient(g.dial(t, tt.conf)).Capabilities(ctx, &gpb.CapabilityRequest{})
					wantStatus(t, err, want)
				})
			}
			if strings.Contains(g.log.String(), "bobs") {
				t.Errorf("a password in the log:\n%s", g.log.String())
			}
		})
	}
}

// Whoever watches over processes needs no name; reflection and what is not there do.
func TestG122WhatNeedsALogin(t *testing.T) {
	ca := certs.New(t)
	pair := ca.Issue(t, certs.Name{IP: "127.0.0.1"})
	g := guard(t, access.TLSFiles{Cert: pair.Cert, Key: pair.Key})
	conn := g.dial(t, &tls.Config{RootCAs: ca.Pool()})
	if _, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("health: %v", err)
	}
	list := func(ctx context.Context) error {
		s, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
		if err == nil {
			err = s.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}})
		}
		if err == nil || errors.Is(err, io.EOF) { // EOF: refused already; Recv says why
			_, err = s.Recv()
		}
		return err
	}
	wantStatus(t, list(t.Context()), codes.Unauthenticated)
	wantStatus(t, list(as(t.Context(), "bob", "bobs")), codes.OK)
	wantStatus(t, conn.Invoke(t.Context(), "/none.None/None", &healthpb.HealthCheckRequest{}, &healthpb.HealthCheckResponse{}), codes.Unauthenticated)
	wantStatus(t, conn.Invoke(as(t.Context(), "bob", "bobs"), "/none.None/None", &healthpb.HealthCheckRequest{}, &healthpb.HealthCheckResponse{}), codes.Unimplemented)
}

// Somebody without a name makes the server hold none of what it sends.
func TestG122MessageOfAStrangerIsNotRead(t *testing.T) {
	ca := certs.New(t)
	pair := ca.Issue(t, certs.Name{IP: "127.0.0.1"})
	g := guard(t, access.TLSFiles{Cert: pair.Cert, Key: pair.Key})
	big := &gpb.SetRequest{Update: []*gpb.Update{{
		Path: elems("/mcr"), Val: &gpb.TypedValue{Value: &gpb.TypedValue_JsonIetfVal{JsonIetfVal: make([]byte, 32<<20)}},
	}}}
	_, err := gpb.NewGNMIClient(g.dial(t, &tls.Config{RootCAs: ca.Pool()})).Set(t.Context(), big)
	wantStatus(t, err, codes.Unauthenticated, "username and password")
	if len(g.store.got) != 0 {
		t.Error("the store was asked")
	}
}

func TestG123SocketIsForAdminsUnlessTheFileSaysOtherwise(t *testing.T) {
	g := guard(t, access.TLSFiles{})
	c := gpb.NewGNMIClient(dial(t, "unix://"+g.path))
	set := &gpb.SetRequest{Update: []*gpb.Update{{
		Path: elems("/mcr/forwarding/rules/rule[name=r2]/config/description"),
		Val:  &gpb.TypedValue{Value: &gpb.TypedValue_StringVal{StringVal: "x"}},
	}}}
	_, err := c.Set(t.Context(), set)
	wantStatus(t, err, codes.OK)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if r := g.store.last(t); r.User != me.Username || r.Address != "unix" {
		t.Errorf("%q from %q", r.User, r.Address)
	}
	_, err = c.Set(as(t.Context(), "ann", "wrong"), set)
	wantStatus(t, err, codes.Unauthenticated)
}

// What bob may not see is not there, and what he names of it is refused.
func TestG123GetAndSubscribeLeaveOutWhatMayNotBeRead(t *testing.T) {
	g := guard(t, access.TLSFiles{})
	apply(t, g.tree, rule("r2", "secret"))
	c := gpb.NewGNMIClient(g.dial(t, nil))
	bob := as(t.Context(), "bob", "bobs")
	get := func(path string, enc gpb.Encoding) (string, error) {
		r, err := c.Get(bob, &gpb.GetRequest{Path: []*gpb.Path{elems(path)}, Encoding: enc})
		return fmt.Sprint(r), err
	}
	for _, enc := range []gpb.Encoding{gpb.Encoding_JSON_IETF, gpb.Encoding_JSON, gpb.Encoding_PROTO} {
		for _, path := range []string{"/", "/mcr/forwarding/rules", "/mcr/forwarding/rules/rule", "/mcr/.../description", "/*"} {
			got, err := get(path, enc)
			if err != nil || strings.Contains(got, "secret") || strings.Contains(got, "r2") || strings.Contains(got, "DEFAULT_INSTANCE") {
				t.Errorf("%s in %v: %v %s", path, enc, err, got)
			}
			if !strings.Contains(got, "first") {
				t.Errorf("%s in %v lacks what bob may read: %s", path, enc, got)
			}
		}
	}
	refused := []string{"/network-instances", "/mcr/forwarding/rules/rule[name=r2]", "/mcr/forwarding/rules/rule[name=r2]/config/description", "/mcr/system"}
	for _, path := range refused {
		_, err := get(path, gpb.Encoding_JSON_IETF)
		wantStatus(t, err, codes.PermissionDenied, path, `"bob"`)
		s, err := c.Subscribe(bob)
		if err == nil {
			err = s.Send(list(gpb.SubscriptionList_STREAM, gpb.SubscriptionMode_ON_CHANGE, "/mcr/forwarding/rules", path))
		}
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Recv()
		wantStatus(t, err, codes.PermissionDenied, path)
	}

	// A stream tells nothing of it either: no value, no entry, no delete.
	s, err := c.Subscribe(bob)
	if err == nil {
		err = s.Send(list(gpb.SubscriptionList_STREAM, gpb.SubscriptionMode_ON_CHANGE, "/"))
	}
	if err != nil {
		t.Fatal(err)
	}
	for path := range untilSync(t, s) {
		if !strings.HasPrefix(path, "/mcr/forwarding/rules/rule[name=r1]/") {
			t.Errorf("the stream tells %s", path)
		}
	}
	apply(t, g.tree, rule("r2", "secret again"), rule("r3", "secret"))
	dropUnit(t, g.tree, "/mcr/forwarding/rules/rule[name=r2]/config")
	apply(t, g.tree, rule("r1", "second"))
	m, err := s.Recv()
	if err != nil || len(m.GetUpdate().GetUpdate()) != 1 || len(m.GetUpdate().GetDelete()) != 0 || string(m.GetUpdate().GetUpdate()[0].GetVal().GetJsonVal()) != `"second"` {
		t.Errorf("first after the sync: %v %v", m, err)
	}
}

func TestG123SetIsRefusedBeforeAnythingElse(t *testing.T) {
	g := guard(t, access.TLSFiles{})
	c := gpb.NewGNMIClient(g.dial(t, nil))
	bob := as(t.Context(), "bob", "bobs")
	text := &gpb.TypedValue{Value: &gpb.TypedValue_StringVal{StringVal: "x"}}
	outputs := "/mcr/forwarding/rules/rule[name=r1]/outputs"
	update := func(path string) *gpb.Update { return &gpb.Update{Path: elems(path), Val: text} }
	for name, tt := range map[string]struct {
		req  *gpb.SetRequest
		code codes.Code
	}{
		"allowed":        {&gpb.SetRequest{Update: []*gpb.Update{update(outputs + "/output[name=o1]/config/group")}}, codes.OK},
		"allowed_delete": {&gpb.SetRequest{Delete: []*gpb.Path{elems(outputs)}}, codes.OK},
		"typo_below":     {&gpb.SetRequest{Update: []*gpb.Update{update(outputs + "/outpt")}}, codes.OK}, // the store's to refuse
		"readable":       {&gpb.SetRequest{Update: []*gpb.Update{update(ruleCfg + "/description")}}, codes.PermissionDenied},
		"above":          {&gpb.SetRequest{Replace: []*gpb.Update{update("/mcr/forwarding/rules/rule[name=r1]")}}, codes.PermissionDenied},
		"root":           {&gpb.SetRequest{Delete: []*gpb.Path{{}}}, codes.PermissionDenied},
		"wildcard":       {&gpb.SetRequest{Delete: []*gpb.Path{elems("/mcr/forwarding/rules/rule[name=*]/outputs")}}, codes.PermissionDenied},
		"any_depth":      {&gpb.SetRequest{Delete: []*gpb.Path{elems("/mcr/.../outputs")}}, codes.PermissionDenied},
		"no_key":         {&gpb.SetRequest{Delete: []*gpb.Path{elems("/mcr/forwarding/rules/rule/outputs")}}, codes.PermissionDenied},
		"typo":           {&gpb.SetRequest{Update: []*gpb.Update{update("/mcr/forwading")}}, codes.PermissionDenied},
		"nonsense":       {&gpb.SetRequest{Update: []*gpb.Update{{Path: elems("/none[a=b]")}}}, codes.PermissionDenied},
		"second_is_not_allowed": {&gpb.SetRequest{
			Delete: []*gpb.Path{elems(outputs)}, Update: []*gpb.Update{update("/mcr/forwarding/config")},
		}, codes.PermissionDenied},
		"by_prefix": {&gpb.SetRequest{
			Prefix: elems("/mcr/forwarding/rules/rule[name=r2]"), Delete: []*gpb.Path{elems("/outputs")},
		}, codes.PermissionDenied},
		"text": {&gpb.SetRequest{Replace: []*gpb.Update{{
			Path: &gpb.Path{Origin: "mcr_cli"}, Val: &gpb.TypedValue{Value: &gpb.TypedValue_AsciiVal{AsciiVal: "{}"}},
		}}}, codes.PermissionDenied},
		"text_with_a_path": {&gpb.SetRequest{Replace: []*gpb.Update{{
			Path: &gpb.Path{Origin: "cli", Elem: elems(outputs).GetElem()}, Val: &gpb.TypedValue{Value: &gpb.TypedValue_AsciiVal{AsciiVal: "{}"}},
		}}}, codes.PermissionDenied},
		"union_replace": {&gpb.SetRequest{UnionReplace: []*gpb.Update{update("/")}}, codes.PermissionDenied},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.Set(bob, tt.req)
			wantStatus(t, err, tt.code)
		})
	}
	if n := len(g.store.got); n != 3 {
		t.Errorf("the store was asked %d times", n)
	}
	for _, line := range []string{"set refused", "user=bob", "code=PermissionDenied"} {
		if !strings.Contains(g.log.String(), line) {
			t.Errorf("no %q in the audit:\n%s", line, g.log.String())
		}
	}
}

// Operations has the same rules, and a line in the log for each call.
func TestG123G126OperationsAreGuardedAndAudited(t *testing.T) {
	g := guard(t, access.TLSFiles{}, func(s *gnmi.Server) { s.Offer((&operations.Server{Target: s}).Register) })
	c := mcrv1.NewOperationsClient(g.dial(t, nil))
	_, err := c.GetCommit(as(t.Context(), "bob", "wrong"), &mcrv1.GetCommitRequest{})
	wantStatus(t, err, codes.Unauthenticated)
	bob := as(t.Context(), "bob", "bobs")
	_, err = c.GetCommit(bob, &mcrv1.GetCommitRequest{})
	wantStatus(t, err, codes.PermissionDenied)
	_, err = c.Clear(bob, &mcrv1.ClearRequest{Learnt: mcrv1.Learnt_LEARNT_MRIB})
	wantStatus(t, err, codes.PermissionDenied)
	_, err = c.Validate(bob, &gpb.SetRequest{Delete: []*gpb.Path{{}}})
	wantStatus(t, err, codes.PermissionDenied)
	_, err = c.Clear(as(t.Context(), "ann", "anns"), &mcrv1.ClearRequest{Learnt: mcrv1.Learnt_LEARNT_MRIB})
	wantStatus(t, err, codes.Unimplemented)
	for _, line := range []string{
		"msg=operation operation=GetCommit user=bob address=127.0.0.1:", "operation=Clear user=bob", "operation=Validate user=bob",
		"operation=Clear user=ann", "code=PermissionDenied", "code=Unimplemented",
	} {
		if !strings.Contains(g.log.String(), line) {
			t.Errorf("no %q in the audit:\n%s", line, g.log.String())
		}
	}
}

// A listener for TLS is not served in plaintext by mistake.
func TestG120ListenerForTLSNeedsCertificates(t *testing.T) {
	l, err := gnmi.ListenTLS("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := gnmi.New(gnmi.Config{Tree: newTree(t)}).Serve(t.Context(), l); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("%v", err)
	}
	if _, err := l.Accept(); err == nil {
		t.Error("the listener is open")
	}
}

// A stream of somebody whose rights have changed ends; others stay.
func TestG123StreamEndsWithTheRights(t *testing.T) {
	g := guard(t, access.TLSFiles{})
	c := gpb.NewGNMIClient(g.dial(t, nil))
	open := func(ctx context.Context) gpb.GNMI_SubscribeClient {
		s, err := c.Subscribe(ctx)
		if err == nil {
			err = s.Send(list(gpb.SubscriptionList_STREAM, gpb.SubscriptionMode_ON_CHANGE, ruleCfg))
		}
		if err != nil {
			t.Fatal(err)
		}
		untilSync(t, s)
		return s
	}
	anns, bobs, mine := open(as(t.Context(), "ann", "anns")), open(as(t.Context(), "bob", "bobs")), open(t.Context())
	g.write(t, `, "carol": {"role": "viewer"}`) // new hashes: ann and bob log in again
	g.access.Reload()
	for _, s := range []gpb.GNMI_SubscribeClient{anns, bobs} {
		_, err := s.Recv()
		wantStatus(t, err, codes.PermissionDenied, "have changed")
	}
	apply(t, g.tree, rule("r1", "second"))
	if m, err := mine.Recv(); err != nil || len(m.GetUpdate().GetUpdate()) != 1 {
		t.Errorf("%v %v", m, err)
	}
}
