// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// certificate writes a self-signed certificate for 127.0.0.1 and its key, and returns their files.
func certificate(t *testing.T) (cert tls.Certificate, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if cert, err = tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		t.Fatal(err)
	}
	return cert, certFile, keyFile
}

func TestTLSAndLogin(t *testing.T) {
	cert, certFile, keyFile := certificate(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	creds := credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAnyClientCert})
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
	mutual := []string{"--tls-ca", certFile, "--tls-cert", certFile, "--tls-key", keyFile}
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
		{"missing_key", []string{"--tls-cert", certFile}, exitRefused, "--tls-key"},
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
