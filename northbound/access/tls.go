// SPDX-License-Identifier: Apache-2.0

package access

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// TLSFiles names PEM files. Without Cert and Key there is no TLS; ClientCA makes clients show a certificate of it.
type TLSFiles struct{ Cert, Key, ClientCA string }

// Check refuses files that make no sense together.
func (f TLSFiles) Check() error {
	switch {
	case (f.Cert == "") != (f.Key == ""):
		return errors.New("a certificate needs its key, and a key its certificate")
	case f.ClientCA != "" && f.Cert == "":
		return errors.New("an authority for clients needs a certificate and key of our own")
	}
	return nil
}

// identity is what we show to clients and ask of them, read from files.
//
// grpc's certprovider/pemfile is not used: it wants certificate and key in one folder, has no reload at once, and its warning
// about a key that does not fit prints the key.
type identity struct {
	files   TLSFiles
	texts   [3][]byte // of the files, as they were last tried
	err     error     // what was wrong with them
	current atomic.Pointer[tls.Config]
}

// reload reads the files and, if they say something new and make sense, uses them from now on. What is wrong leaves what there is.
func (t *identity) reload(log *slog.Logger) (changed bool, err error) {
	if t.files.Cert == "" {
		return false, nil
	}
	var texts [3][]byte
	for i, name := range []string{t.files.Cert, t.files.Key, t.files.ClientCA} {
		if name == "" {
			continue
		}
		if texts[i], err = readFile(name); err != nil {
			return false, err
		}
	}
	if bytes.Equal(texts[0], t.texts[0]) && bytes.Equal(texts[1], t.texts[1]) && bytes.Equal(texts[2], t.texts[2]) {
		return false, t.err
	}
	c, err := t.config(texts)
	t.texts, t.err = texts, err
	if err != nil {
		return false, err
	}
	if end := c.Certificates[0].Leaf.NotAfter; end.Before(time.Now()) {
		log.Warn("the certificate has expired", "file", t.files.Cert, "since", end)
	}
	t.current.Store(c)
	return true, nil
}

func (t *identity) config(texts [3][]byte) (*tls.Config, error) {
	cert, err := tls.X509KeyPair(texts[0], texts[1])
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", t.files.Cert, t.files.Key, err)
	}
	c := newTLS()
	c.Certificates = []tls.Certificate{cert}
	if t.files.ClientCA != "" {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		if !c.ClientCAs.AppendCertsFromPEM(texts[2]) {
			return nil, fmt.Errorf("%s: no certificate in it", t.files.ClientCA)
		}
	}
	return c, nil
}

// newTLS is what holds for every connection. There is no session resumption: a session of before would outlive a change of
// the client's authority, and connections of gRPC last.
func newTLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true}
}

// server returns a configuration that follows the files.
func (t *identity) server() *tls.Config {
	c := newTLS()
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		return t.current.Load(), nil
	}
	return c
}

// Names returns the names of a verified client certificate, in the order in which a user is looked for: SAN URI, SAN DNS, CN.
func Names(s *tls.ConnectionState) []string {
	if s == nil || len(s.VerifiedChains) == 0 {
		return nil
	}
	leaf := s.PeerCertificates[0]
	var names []string
	for _, u := range leaf.URIs {
		names = append(names, u.String())
	}
	names = append(names, leaf.DNSNames...)
	if cn := leaf.Subject.CommonName; cn != "" {
		names = append(names, cn)
	}
	return names
}
