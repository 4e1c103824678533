// SPDX-License-Identifier: Apache-2.0

package access

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"mcr/tests/certs"
)

// rig is an Access with a clock and a log of its own.
type rig struct {
	*Access
	dir string
	log bytes.Buffer
	mu  sync.Mutex
	now time.Time
}

func (r *rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

// quick is a hash that costs next to nothing.
func quick(tb testing.TB, password string) string {
	tb.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		tb.Fatal(err)
	}
	return string(h)
}

func newRig(t *testing.T, files TLSFiles) *rig {
	t.Helper()
	r := &rig{dir: t.TempDir(), now: time.Unix(1e9, 0)}
	r.write(t, fmt.Sprintf(`{"format":1,
		"roles": {"noc": {"/": "read", "/mcr/forwarding": "write"}},
		"users": {
			"ann": {"role": "admin", "password": %q},
			"bob": {"role": "noc", "password": %q},
			"root": {"role": "viewer"},
			"spiffe://example.net/collector": {"role": "viewer"},
			"noc.example.net": {"role": "noc"}
		}}`, quick(t, "anns"), quick(t, "bobs")))
	var err error
	r.Access, err = Open(Options{
		Dir: r.dir, Schema: schema(t), TLS: files, Now: r.clock, Log: slog.New(slog.NewTextHandler(&r.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, fileName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func from(address string) *Connection { return &Connection{Address: netip.MustParseAddr(address)} }

func TestG121G122WhoACallerIs(t *testing.T) {
	r := newRig(t, TLSFiles{})
	for _, tt := range []struct {
		name       string
		conn       *Connection
		login      Login
		user, role string // empty: refused
	}{
		{"nothing", from("192.0.2.1"), Login{}, "", ""},
		{"login", from("192.0.2.1"), Login{"ann", "anns"}, "ann", Admin},
		{"wrong_password", from("192.0.2.1"), Login{"ann", "bobs"}, "", ""},
		{"unknown_user", from("192.0.2.1"), Login{"eve", "anns"}, "", ""},
		{"no_password_sent", from("192.0.2.1"), Login{"ann", ""}, "", ""},
		{"user_without_password", from("192.0.2.1"), Login{"root", ""}, "", ""},
		{"only_a_password", from("192.0.2.1"), Login{"", "anns"}, "", ""},
		{"certificate_by_URI", &Connection{Names: []string{"spiffe://example.net/collector", "noc.example.net"}}, Login{}, "spiffe://example.net/collector", Viewer},
		{"certificate_by_DNS", &Connection{Names: []string{"spiffe://example.net/x", "noc.example.net", "ann"}}, Login{}, "noc.example.net", "noc"},
		{"certificate_by_CN", &Connection{Names: []string{"spiffe://example.net/x", "ann"}}, Login{}, "ann", Admin},
		{"certificate_of_nobody", &Connection{Names: []string{"host1"}}, Login{}, "", ""},
		{"certificate_of_nobody_and_login", &Connection{Names: []string{"host1"}}, Login{"bob", "bobs"}, "bob", "noc"},
		{"certificate_and_wrong_login", &Connection{Names: []string{"ann"}}, Login{"bob", "x"}, "", ""},
		{"socket", &Connection{Trusted: "carol"}, Login{}, "carol", Admin},
		{"socket_of_a_user_in_the_file", &Connection{Trusted: "root"}, Login{}, "root", Viewer},
		{"socket_and_login", &Connection{Trusted: "carol"}, Login{"bob", "bobs"}, "bob", "noc"},
		{"socket_and_wrong_login", &Connection{Trusted: "carol"}, Login{"bob", "x"}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := r.Admit(t.Context(), tt.conn, tt.login)
			if tt.user == "" {
				if !errors.Is(err, ErrCredentials) || c.Rights != nil {
					t.Errorf("%+v %v", c, err)
				}
				return
			}
			if err != nil || c.User != tt.user || c.Role != tt.role || c.Rights != r.users.Load().rights[tt.role] {
				t.Errorf("%+v %v", c, err)
			}
		})
	}
	for _, secret := range []string{"anns", "bobs", "$2a$"} {
		if strings.Contains(r.log.String(), secret) {
			t.Errorf("the log tells %q:\n%s", secret, r.log.String())
		}
	}
	if !strings.Contains(r.log.String(), `msg="login refused" user=ann address=192.0.2.1`) {
		t.Errorf("the log does not tell who failed:\n%s", r.log.String())
	}
}

// After ten wrong passwords an address waits; others do not, nor does a connection that has logged in before.
func TestG122FailuresAreLimitedByAddress(t *testing.T) {
	r := newRig(t, TLSFiles{})
	old := from("192.0.2.1")
	if _, err := r.Admit(t.Context(), old, Login{"ann", "anns"}); err != nil {
		t.Fatal(err)
	}
	for i := range failures {
		if _, err := r.Admit(t.Context(), from("192.0.2.1"), Login{"ann", fmt.Sprint(i)}); !errors.Is(err, ErrCredentials) {
			t.Fatalf("failure %d: %v", i, err)
		}
	}
	good := Login{"ann", "anns"}
	_, err := r.Admit(t.Context(), from("192.0.2.1"), good)
	if !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), "10") || !strings.Contains(err.Error(), "6s") {
		t.Errorf("eleventh: %v", err)
	}
	if _, err := r.Admit(t.Context(), from("192.0.2.2"), good); err != nil {
		t.Errorf("another address: %v", err)
	}
	if _, err := r.Admit(t.Context(), old, good); err != nil {
		t.Errorf("a connection that has logged in: %v", err)
	}
	if _, err := r.Admit(t.Context(), old, Login{"ann", "guess"}); !errors.Is(err, ErrLimit) {
		t.Errorf("a guess on that connection: %v", err)
	}
	r.mu.Lock()
	r.now = r.now.Add(failureEvery + time.Millisecond)
	r.mu.Unlock()
	if _, err := r.Admit(t.Context(), from("192.0.2.1"), good); err != nil {
		t.Errorf("later: %v", err)
	}

	t.Run("one_IPv6_network_is_one_address", func(t *testing.T) {
		for i := range failures {
			_, _ = r.Admit(t.Context(), from(fmt.Sprintf("2001:db8::%x", i)), Login{"bob", "x"})
		}
		if _, err := r.Admit(t.Context(), from("2001:db8::ffff"), Login{"bob", "bobs"}); !errors.Is(err, ErrLimit) {
			t.Errorf("same network: %v", err)
		}
		if _, err := r.Admit(t.Context(), from("2001:db8:0:1::1"), Login{"bob", "bobs"}); err != nil {
			t.Errorf("another network: %v", err)
		}
	})
}

// A hash is paid for once, not for each call, and again when the password changes.
func TestG122PasswordIsHashedOnce(t *testing.T) {
	r := newRig(t, TLSFiles{})
	slow, err := bcrypt.GenerateFromPassword([]byte("slow"), 8)
	if err != nil {
		t.Fatal(err)
	}
	set := func(hash string) {
		r.write(t, fmt.Sprintf(`{"format":1,"users":{"dan":{"role":"admin","password":%q}}}`, hash))
		r.Reload()
	}
	set(string(slow))
	c := from("192.0.2.1")
	start := time.Now()
	if _, err := r.Admit(t.Context(), c, Login{"dan", "slow"}); err != nil {
		t.Fatal(err)
	}
	one := time.Since(start)
	start = time.Now()
	for range 100 {
		if _, err := r.Admit(t.Context(), c, Login{"dan", "slow"}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Admit(t.Context(), from("192.0.2.3"), Login{"dan", "slow"}); err != nil {
			t.Fatal(err)
		}
	}
	if d := time.Since(start); d > 50*one {
		t.Errorf("200 calls took %v, the first one %v", d, one)
	}
	set(quick(t, "new"))
	if _, err := r.Admit(t.Context(), c, Login{"dan", "slow"}); !errors.Is(err, ErrCredentials) {
		t.Errorf("the old password: %v", err)
	}
	if _, err := r.Admit(t.Context(), c, Login{"dan", "new"}); err != nil {
		t.Errorf("the new password: %v", err)
	}
}

func TestLoginEndsWithItsCall(t *testing.T) {
	r := newRig(t, TLSFiles{})
	<-r.logins.turn // somebody else's login, for ever
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Admit(ctx, from("192.0.2.1"), Login{"ann", "anns"}); !errors.Is(err, ErrBusy) {
		t.Errorf("%v", err)
	}
}

func TestG124UsersAreReadAgain(t *testing.T) {
	r := newRig(t, TLSFiles{})
	told := 0
	r.OnChange(func() { told++ })
	ann, err := r.Admit(t.Context(), from("192.0.2.1"), Login{"ann", "anns"})
	if err != nil {
		t.Fatal(err)
	}
	carol, err := r.Admit(t.Context(), &Connection{Trusted: "carol"}, Login{})
	if err != nil {
		t.Fatal(err)
	}
	r.Reload()
	if told != 0 || !r.Current(ann) || !r.Current(carol) {
		t.Errorf("told %d times of nothing", told)
	}

	r.write(t, `{"format":1,"users":`)
	for range 3 {
		r.Reload()
	}
	if n := strings.Count(r.log.String(), "level=WARN"); n != 1 || told != 0 || !r.Current(ann) {
		t.Errorf("a broken file: %d warnings, told %d times\n%s", n, told, r.log.String())
	}

	r.write(t, `{"format":1,"users":{"carol":{"role":"viewer"}}}`)
	r.Reload()
	if told != 1 || r.Current(ann) || r.Current(carol) {
		t.Errorf("told %d times; still the same: %v %v", told, r.Current(ann), r.Current(carol))
	}
	if c, err := r.Admit(t.Context(), &Connection{Trusted: "carol"}, Login{}); err != nil || c.Role != Viewer {
		t.Errorf("%+v %v", c, err)
	}
	if err := os.Remove(filepath.Join(r.dir, fileName)); err != nil {
		t.Fatal(err)
	}
	r.Reload()
	if !r.Current(carol) {
		t.Error("without a file the socket's users are admins")
	}
}

// Nobody needs to send a signal.
func TestG124FilesAreLookedAtNowAndThen(t *testing.T) {
	schema(t) // outside of the bubble
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, TLSFiles{})
		ann, err := r.Admit(t.Context(), from("192.0.2.1"), Login{"ann", "anns"})
		if err != nil {
			t.Fatal(err)
		}
		go r.Run(t.Context(), nil)
		time.Sleep(pollInterval)
		synctest.Wait()
		if !r.Current(ann) {
			t.Error("ann changed")
		}
		r.write(t, `{"format":1}`)
		time.Sleep(pollInterval)
		synctest.Wait()
		if r.Current(ann) {
			t.Error("ann is still there")
		}
	})
}

func TestOpenRefusesWhatIsBroken(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, fileName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: dir, Schema: schema(t)}); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, fileName)) {
		t.Errorf("users: %v", err)
	}
	ca := certs.New(t)
	one, two := ca.Issue(t, certs.Name{}), ca.Issue(t, certs.Name{})
	for name, f := range map[string]TLSFiles{
		"no key":         {Cert: one.Cert},
		"no certificate": {Key: one.Key},
		"CA alone":       {ClientCA: ca.File},
		"missing":        {Cert: one.Cert, Key: filepath.Join(dir, "none")},
		"not a pair":     {Cert: one.Cert, Key: two.Key},
		"CA is a key":    {Cert: one.Cert, Key: one.Key, ClientCA: one.Key},
		"a folder":       {Cert: dir, Key: one.Key},
	} {
		if _, err := Open(Options{Dir: t.TempDir(), Schema: schema(t), TLS: f}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// handshake makes one connection and returns the state at the client.
func handshake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			s := tls.Server(c, server)
			err = s.Handshake()
			_ = s.Close()
		}
		done <- err
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), client)
	var state tls.ConnectionState
	if err == nil {
		state = c.ConnectionState()
		_ = c.Close()
	}
	return state, errors.Join(err, <-done)
}

func TestG120G124CertificatesAreReadAgain(t *testing.T) {
	ca, other := certs.New(t), certs.New(t)
	pair := ca.Issue(t, certs.Name{IP: "127.0.0.1", Common: "first"})
	ann, eve := ca.Issue(t, certs.Name{Common: "ann"}).Load(t), other.Issue(t, certs.Name{Common: "eve"}).Load(t)
	clients := filepath.Join(t.TempDir(), "clients.pem")
	copyFile(t, ca.File, clients)
	r := newRig(t, TLSFiles{Cert: pair.Cert, Key: pair.Key, ClientCA: clients})
	server := r.TLS()
	dial := func(cert *tls.Certificate, change func(*tls.Config)) (string, error) {
		c := &tls.Config{RootCAs: ca.Pool()}
		if cert != nil {
			c.Certificates = []tls.Certificate{*cert}
		}
		if change != nil {
			change(c)
		}
		s, err := handshake(t, server, c)
		if err != nil {
			return "", err
		}
		return s.PeerCertificates[0].Subject.CommonName, nil
	}
	want := func(what string, cert *tls.Certificate, name string) {
		t.Helper()
		if got, err := dial(cert, nil); got != name || (err == nil) != (name != "") {
			t.Errorf("%s: %q %v, want %q", what, got, err, name)
		}
	}
	want("at first", &ann, "first")
	want("no certificate", nil, "")
	want("another authority's certificate", &eve, "")
	if _, err := dial(&ann, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS11; c.MinVersion = tls.VersionTLS10 }); err == nil {
		t.Error("TLS 1.1 was taken")
	}
	if s, err := handshake(t, server, &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{ann}}); err != nil || s.Version != tls.VersionTLS13 {
		t.Errorf("version %x, %v", s.Version, err)
	}

	// A certificate without its key, as between two renames, changes nothing and is told once.
	key, err := os.ReadFile(pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	ca.Renew(t, pair, certs.Name{IP: "127.0.0.1", Common: "second"})
	newKey, err := os.ReadFile(pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, pair.Key, key)
	for range 3 {
		r.Reload()
	}
	want("while broken", &ann, "first")
	if n := strings.Count(r.log.String(), "level=WARN"); n != 1 || strings.Contains(r.log.String(), "PRIVATE") {
		t.Errorf("%d warnings:\n%s", n, r.log.String())
	}
	writeFile(t, pair.Key, newKey)
	r.Reload()
	want("renewed", &ann, "second")

	copyFile(t, other.File, clients)
	r.Reload()
	want("the authority is another", &eve, "second")
	want("the authority was another", &ann, "")
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, to, b)
}

func writeFile(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
