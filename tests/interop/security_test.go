// SPDX-License-Identifier: Apache-2.0

package interop_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"mcr/tests/certs"
	"mcr/tests/lab"
)

const tlsAddress = "127.0.0.1:9340"

// guarded is mcrd with TLS, and users: ann may do all, bob reads all but the second rule and writes the outputs of the first.
type guarded struct {
	*target
	ca     *certs.Authority
	server certs.Pair
}

func startGuarded(t *testing.T, args ...string) *guarded {
	t.Helper()
	ca := certs.New(t)
	g := &guarded{ca: ca, server: ca.Issue(t, certs.Name{IP: "127.0.0.1"})}
	g.target = start(t, append([]string{"--listen", tlsAddress, "--tls-cert", g.server.Cert, "--tls-key", g.server.Key}, args...)...)
	g.passwd(t, "anns\n", "--role", "admin", "ann")
	g.passwd(t, "bobs\n", "--role", "viewer", "bob")
	g.passwd(t, "", "--role", "admin", "--no-password", "spiffe://example.net/carol")
	g.passwd(t, "", "--role", "admin", "--no-password", "dave.example.net")
	g.passwd(t, "", "--role", "admin", "--no-password", "erin")
	g.restrict(t, "bob")
	return g
}

func (g *guarded) passwd(t *testing.T, stdin string, args ...string) {
	t.Helper()
	script := fmt.Sprintf("printf %%s '%s' | exec \"$@\"", stdin)
	g.rtr.Run(append([]string{"sh", "-c", script, "sh", lab.Bin(t, "mcrd"), "passwd", "--state-dir", g.StateDir}, args...)...)
}

// restrict writes a role for a user into the users file, as a person would, and has mcrd read it.
func (g *guarded) restrict(t *testing.T, user string) {
	t.Helper()
	name := filepath.Join(g.StateDir, "users")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	file := decode(t, text).(map[string]any)
	file["roles"] = map[string]any{"part": map[string]string{"/": "read", r2: "none", r1 + "/outputs": "write"}}
	file["users"].(map[string]any)[user].(map[string]any)["role"] = "part"
	if text, err = json.Marshal(file); err == nil {
		err = os.WriteFile(name, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	g.Signal(syscall.SIGHUP)
}

// by is a client over TLS.
func (g *guarded) by(t *testing.T, conf *tls.Config, user, password string) *client {
	t.Helper()
	if conf == nil {
		conf = &tls.Config{}
	}
	conf.RootCAs = g.ca.Pool()
	opts := []grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(conf))}
	if user != "" {
		login := metadata.Pairs("username", user, "password", password)
		opts = append(opts,
			grpc.WithUnaryInterceptor(func(ctx context.Context, m string, req, resp any, cc *grpc.ClientConn, next grpc.UnaryInvoker, o ...grpc.CallOption) error {
				return next(metadata.NewOutgoingContext(ctx, login), m, req, resp, cc, o...)
			}),
			grpc.WithStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, m string, next grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
				return next(metadata.NewOutgoingContext(ctx, login), d, cc, m, o...)
			}))
	}
	return g.tcp(t, tlsAddress, opts...)
}

// answer is how the server takes a client.
func (c *client) answer() error {
	_, err := c.Capabilities(c.ctx(), &gpb.CapabilityRequest{})
	return err
}

func TestSecurity(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	tg := g.target

	// TLS or nothing.
	tg.rule(t, "G120", func(c *client) {
		for _, bad := range [][]string{{"--listen", "127.0.0.1:9341"}, {"--insecure", "--listen", "10.0.0.2:9341"}, {"--insecure", "--listen", "0.0.0.0:9341"}} {
			p := tg.rtr.Start(append([]string{lab.Bin(c.t, "mcrd"), "--state-dir", c.t.TempDir()}, bad...)...)
			if err := p.Wait(patience); err == nil || !strings.Contains(strings.ToLower(p.Stderr.String()), "tls") {
				c.t.Errorf("mcrd %v: %v, %q", bad, err, p.Stderr.String())
			}
		}
		c.must(g.by(c.t, nil, "ann", "anns").answer())
		c.must(g.by(c.t, &tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12}, "ann", "anns").answer())
		c.refused(g.by(c.t, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "ann", "anns").answer(), codes.Unavailable)
		c.refused(tg.tcp(c.t, tlsAddress).answer(), codes.Unavailable) // plaintext
		fi, err := os.Stat(tg.Socket)
		c.must(err)
		if fi.Mode() != fs.ModeSocket|0o660 {
			c.t.Errorf("the socket has mode %v", fi.Mode())
		}
	})

	// Name and password.
	tg.rule(t, "G122", func(c *client) {
		c.must(g.by(c.t, nil, "ann", "anns").answer())
		for _, bad := range [][2]string{{"", ""}, {"ann", "bobs"}, {"ann", ""}, {"nobody", "anns"}} {
			c.refused(g.by(c.t, nil, bad[0], bad[1]).answer(), codes.Unauthenticated)
		}
		g.by(c.t, nil, "ann", "anns").set(update(description, `"from TLS"`))
		c.is("/mcr/system/configuration/state/last-commit-user", "ann")
		for file, text := range map[string]string{"log": tg.Stderr.String(), "users": g.users(c.t)} {
			if strings.Contains(text, "anns") || strings.Contains(text, "bobs") {
				c.t.Errorf("a password is in the %s", file)
			}
		}
		if !strings.Contains(g.users(c.t), "$2") {
			c.t.Errorf("no bcrypt hash in %s", g.users(c.t))
		}
	})

	// Roles.
	tg.rule(t, "G123", func(c *client) {
		bob := g.by(c.t, nil, "bob", "bobs")
		want, got := c.all(rules), bob.all(rules)
		for p := range want {
			if strings.HasPrefix(p, r2+"/") {
				delete(want, p)
			}
		}
		c.same(want, got)
		bob.getRefused(get(r2), codes.PermissionDenied, "r2")
		bob.getRefused(get(r1, r2+"/config/name"), codes.PermissionDenied, "r2")
		bob.open(request(once, onChange(r2)...)).ends(codes.PermissionDenied, "r2")
		s := bob.stream(onChange(rules)...)
		c.set(update(r2+"/config/description", `"not for bob"`))
		bob.set(update(lan+"/config/ttl", `7`))
		s.until(patience, "the change", func(l leaves) bool { return l[lan+"/config/ttl"] == "7" })
		for p := range s.now {
			if strings.HasPrefix(p, r2+"/") {
				c.t.Errorf("bob was told %s", p)
			}
		}
		bob.setRefused(update(description, `"x"`), codes.PermissionDenied, "description")
		bob.setRefused(update("/mcr/nothing", `"x"`), codes.PermissionDenied) // before anything else is looked at
		both := update(lan+"/config/ttl", `8`)
		both.Delete = paths(r2)
		bob.setRefused(both, codes.PermissionDenied, "r2")
		c.is(lan+"/config/ttl", "7")
	})

	// New certificates without a restart; a broken one changes nothing.
	tg.rule(t, "G124", func(c *client) {
		g.ca.Renew(c.t, g.server, certs.Name{IP: "127.0.0.1", Common: "the new one"})
		g.Signal(syscall.SIGHUP)
		within(c.t, "the new certificate", func() error {
			seen := ""
			conf := &tls.Config{VerifyConnection: func(s tls.ConnectionState) error {
				seen = s.PeerCertificates[0].Subject.CommonName
				return nil
			}}
			if err := g.by(c.t, conf, "ann", "anns").answer(); err != nil || seen != "the new one" {
				return fmt.Errorf("%q, %w", seen, err)
			}
			return nil
		})
		c.must(os.WriteFile(g.server.Cert, []byte("broken"), 0o600))
		g.Signal(syscall.SIGHUP)
		within(c.t, "a word in the log", func() error {
			if !strings.Contains(tg.Stderr.String(), g.server.Cert) {
				return fmt.Errorf("nothing about %s", g.server.Cert)
			}
			return nil
		})
		c.must(g.by(c.t, nil, "ann", "anns").answer())
		g.ca.Renew(c.t, g.server, certs.Name{IP: "127.0.0.1"})
	})

	// A line for each Set.
	tg.rule(t, "G126", func(c *client) {
		ann := g.by(c.t, nil, "ann", "anns")
		ann.set(update(description, `"a value that is nobody's business"`))
		ann.setRefused(update(r1+"/config/input-port", `70000`), codes.InvalidArgument)
		number := c.leaf(revision)
		within(c.t, "the lines", func() error {
			var good, bad bool
			for line := range strings.Lines(tg.Stderr.String()) {
				who := strings.Contains(line, "user=ann") && strings.Contains(line, "address=127.0.0.1:")
				good = good || who && strings.Contains(line, description) && strings.Contains(line, "revision="+number)
				bad = bad || who && strings.Contains(line, "input-port") && strings.Contains(line, "InvalidArgument")
			}
			if !good || !bad {
				return fmt.Errorf("taken %t, refused %t", good, bad)
			}
			return nil
		})
		if strings.Contains(tg.Stderr.String(), "nobody's business") {
			c.t.Error("a value is in the log")
		}
	})

	// The server in its own tree.
	tg.rule(t, "G127", func(c *client) {
		ann := g.by(c.t, nil, "ann", "anns")
		s := ann.stream(onChange(r1+"/config", r2)...)
		ann.getRefused(get("/nothing"), codes.InvalidArgument)
		within(c.t, "ann is shown", func() error {
			clients, rpcs := c.all("/mcr/system/clients/client"), c.all("/mcr/system/rpcs/rpc")
			for p, v := range clients.named("user") {
				is := func(leaf, want string) bool {
					return strings.Contains(clients[strings.TrimSuffix(p, "user")+leaf], want)
				}
				if v == "ann" && is("rpc", "subscribe") && is("mode", "stream") && is("address", "127.0.0.1:") && is("paths", r1+"/config") &&
					clients[strings.TrimSuffix(p, "user")+"counters/sent"] != "" && rpcs["/mcr/system/rpcs/rpc[code=INVALID_ARGUMENT][name=get]/state/counters/calls"] != "" {
					return nil
				}
			}
			return fmt.Errorf("clients %v, rpcs %v", clients, rpcs)
		})
		s.close()
		within(c.t, "ann is gone", func() error {
			for _, v := range c.all("/mcr/system/clients/client").named("user") {
				if v == "ann" {
					return fmt.Errorf("%v", v)
				}
			}
			return nil
		})
	})
}

func (g *guarded) users(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(g.StateDir, "users"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Client certificates, and whose they are.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	ca := certs.New(t)
	g := startGuarded(t, "--tls-client-ca", ca.File)
	g.rule(t, "G121", func(c *client) {
		by := func(n certs.Name) *client {
			return g.by(c.t, &tls.Config{Certificates: []tls.Certificate{ca.Issue(c.t, n).Load(c.t)}}, "", "")
		}
		c.refused(g.by(c.t, nil, "ann", "anns").answer(), codes.Unavailable) // no certificate
		for who, n := range map[string]certs.Name{
			"spiffe://example.net/carol": {URI: "spiffe://example.net/carol", DNS: "dave.example.net", Common: "erin"},
			"dave.example.net":           {DNS: "dave.example.net", Common: "erin"},
			"erin":                       {Common: "erin"},
		} {
			by(n).set(update(description, `"by `+who+`"`))
			c.is("/mcr/system/configuration/state/last-commit-user", who)
		}
		c.refused(by(certs.Name{Common: "mallory"}).answer(), codes.Unauthenticated)
		stranger := certs.New(c.t).Issue(c.t, certs.Name{Common: "erin"})
		c.refused(g.by(c.t, &tls.Config{Certificates: []tls.Certificate{stranger.Load(c.t)}}, "", "").answer(), codes.Unavailable)
	})
}
