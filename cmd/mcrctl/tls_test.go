// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"mcr/tests/certs"
)

func TestTLSAndLogin(t *testing.T) {
	ca := certs.New(t)
	server, ours := ca.Issue(t, certs.Name{IP: "127.0.0.1"}), ca.Issue(t, certs.Name{Common: "ann"})
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	creds := credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{server.Load(t)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(),
	})
	f := serveFake(t, l, l.Addr().String(), grpc.Creds(creds), grpc.UnaryInterceptor(
		func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			md, _ := metadata.FromIncomingContext(ctx)
			if strings.Join(md.Get("username"), "") != "ann" || strings.Join(md.Get("password"), "") != "secret word" {
				return nil, status.Error(codes.Unauthenticated, "who are you?")
			}
			return handle(ctx, req)
		}))
	f.answer("/a", `"x"`)
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("secret word\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mutual := []string{"--tls-ca", ca.File, "--tls-cert", ours.Cert, "--tls-key", ours.Key}
	login := []string{"--user", "ann", "--password-file", password}
	for _, tt := range []struct {
		name   string
		flags  []string
		code   int
		stderr string
	}{
		{"all_there", append(mutual[:6:6], login...), exitDone, ""},
		{"no_login", mutual, exitRefused, "who are you?"},
		{"unknown_authority", append(mutual[2:6:6], login...), exitNotReached, "--tls-ca names the authorities"},
		{"no_TLS", append([]string{"--insecure"}, login...), exitNotReached, ""},
		{"missing_CA_file", []string{"--tls-ca", "/nonexistent"}, exitRefused, "--tls-ca"},
		{"missing_key", []string{"--tls-cert", ours.Cert}, exitRefused, "--tls-key"},
		{"missing_password", append(mutual[:6:6], "--user", "ann"), exitRefused, "password of --user ann"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := f.run(t, append(tt.flags, "--timeout", "5s", "get", "/a")...)
			if got.code != tt.code || !strings.Contains(got.stderr, tt.stderr) {
				t.Errorf("exit code %d, want %d, with %q in: %s", got.code, tt.code, tt.stderr, got.stderr)
			}
		})
	}
}
