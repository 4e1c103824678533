// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mcr/tests/certs"
	"mcr/tests/lab"
)

// secured is mcrd with TLS on TCP, and the ways to it.
type secured struct {
	daemon
	t    *testing.T
	host *lab.Host
	ca   *certs.Authority
}

const tlsAddress = "127.0.0.1:9339"

// passwd runs mcrd passwd with a password on standard input.
func (s *secured) passwd(password string, args ...string) string {
	s.t.Helper()
	line := append([]string{"sh", "-c", `printf '%s\n' "$1" | { shift; exec "$@"; }`, "sh", password, lab.Bin(s.t, "mcrd"), "passwd", "--state-dir", s.StateDir}, args...)
	return s.host.Run(line...)
}

// reload sends SIGHUP and waits until mcrd has said so.
func (s *secured) reload(says string) {
	s.t.Helper()
	seen := strings.Count(s.Stderr.String(), says)
	s.Signal(syscall.SIGHUP)
	n := 0
	if _, err := s.Stderr.WaitLine(patience, s.Done(), func(line string) bool {
		if strings.Contains(line, says) {
			n++
		}
		return n > seen
	}); err != nil {
		s.t.Fatalf("no new line %q: %v\n%s", says, err, s.Stderr.String())
	}
}

// over runs mcrctl over TCP; the code is its exit code.
func (s *secured) over(code int, args ...string) (stdout, stderr string) {
	s.t.Helper()
	p := s.host.Start(append([]string{lab.Bin(s.t, "mcrctl"), "--address", tlsAddress, "--timeout", "10s"}, args...)...)
	if err := p.Wait(2 * patience); err != nil && p.ExitCode() != code || p.ExitCode() != code {
		s.t.Errorf("mcrctl %s: exit code %d, want %d\n%s", strings.Join(args, " "), p.ExitCode(), code, p.Stderr.String())
	}
	return p.Stdout.String(), p.Stderr.String()
}

func keep(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// What an operator does on a new machine: TLS, users, roles, another certificate; all at the running daemon.
func TestG120ToG126_UsersOverTLS(t *testing.T) {
	t.Parallel()
	ca := certs.New(t)
	pair := ca.Issue(t, certs.Name{IP: "127.0.0.1", Common: "first"})
	l := lab.New(t)
	h := l.Host("rtr")
	m := h.MCRD(lab.MCRDConfig{Args: []string{"--listen", tlsAddress, "--tls-cert", pair.Cert, "--tls-key", pair.Key}})
	s := &secured{daemon: daemon{m, dial(t, m)}, t: t, host: h, ca: ca}
	const password = "correct horse"
	anns := []string{"--tls-ca", ca.File, "--user", "ann", "--password-file", keep(t, password+"\n")}
	noc := []string{"--tls-ca", ca.File, "--user", "noc", "--password-file", keep(t, "battery staple")}

	// Nobody is known yet but by the socket.
	_, words := s.over(1, append(anns, "show", "rules")...)
	if !strings.Contains(words, "wrong username or password") {
		t.Errorf("unknown user: %s", words)
	}
	_, words = s.over(1, "--tls-ca", ca.File, "show", "rules")
	if !strings.Contains(words, "no username and password") {
		t.Errorf("no login: %s", words)
	}
	s.over(3, "--insecure", "show", "rules")

	// Users and a role of our own, taken at once after SIGHUP.
	s.passwd(password, "--role", "admin", "ann")
	s.passwd("battery staple", "noc")
	users := filepath.Join(s.StateDir, "users")
	text, err := os.ReadFile(users)
	if err != nil {
		t.Fatal(err)
	}
	roles := `"roles": {"operator": {"/": "read", "/mcr/forwarding/rules": "write", "/mcr/system": "none"}}, "users"`
	edited := strings.Replace(strings.Replace(string(text), `"users"`, roles, 1), `"role": "viewer"`, `"role": "operator"`, 1)
	if err := os.WriteFile(users, []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	s.reload("the users have changed")
	rule := []string{"--input-interface", "lo", "--input-group", "239.1.1.1", "--input-port", "5000", "--outputs", "239.1.1.2:5000:lo"}
	s.over(0, append(anns, append([]string{"add", "--name", "tv"}, rule...)...)...)
	if out, _ := s.over(0, append(noc, "get", "/mcr/forwarding/rules/rule[name=tv]/config/name")...); !strings.Contains(out, "tv") {
		t.Errorf("the operator reads %q", out)
	}
	s.over(0, append(noc, "remove", "tv")...)
	for path, says := range map[string]string{"/mcr/system": "/mcr/system", "/mcr/system/state/version": "/mcr/system/state/version"} {
		if _, words := s.over(1, append(noc, "get", path)...); !strings.Contains(words, says) || !strings.Contains(words, "may not read") {
			t.Errorf("the operator gets %s: %s", path, words)
		}
	}
	if out, _ := s.over(0, append(noc, "get", "/")...); strings.Contains(out, `"mcr:system"`) || !strings.Contains(out, "forwarding") {
		t.Errorf("the operator gets all: %.300s", out)
	}
	if _, words := s.over(1, append(noc, "set", "/mcr/forwarding/config/worker-threads", "1")...); !strings.Contains(words, "may not write") {
		t.Errorf("the operator writes: %s", words)
	}

	// Another certificate of another authority, without a restart.
	other := certs.New(t)
	other.Renew(t, pair, certs.Name{IP: "127.0.0.1", Common: "second"})
	s.reload("the certificates have changed")
	s.over(3, append(anns, "show", "rules")...)
	anns[1] = other.File
	s.over(0, append(anns, "show", "rules")...)

	// Without ann, nobody is ann.
	s.passwd("", "--delete", "ann")
	s.reload("the users have changed")
	s.over(1, append(anns, "show", "rules")...)

	log := s.Stderr.String()
	for _, line := range []string{"msg=set user=ann address=127.0.0.1:", `msg="set refused" user=noc`, "code=PermissionDenied", `msg="login refused" user=ann`} {
		if !strings.Contains(log, line) {
			t.Errorf("the log has no %q", line)
		}
	}
	for _, secret := range []string{password, "battery", "$2a$"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log tells %q", secret)
		}
	}
}

// A client without a certificate gets nowhere; one with a certificate is whom it names.
func TestG121_ClientCertificates(t *testing.T) {
	t.Parallel()
	ca := certs.New(t)
	pair := ca.Issue(t, certs.Name{IP: "127.0.0.1"})
	l := lab.New(t)
	h := l.Host("rtr")
	m := h.MCRD(lab.MCRDConfig{Args: []string{
		"--listen", tlsAddress, "--tls-cert", pair.Cert, "--tls-key", pair.Key, "--tls-client-ca", ca.File,
	}})
	s := &secured{daemon: daemon{m, dial(t, m)}, t: t, host: h, ca: ca}
	s.passwd("", "--no-password", "spiffe://example.net/collector")
	s.passwd("", "--no-password", "--role", "admin", "ann")
	s.reload("the users have changed")
	with := func(n certs.Name) []string {
		p := ca.Issue(t, n)
		return []string{"--tls-ca", ca.File, "--tls-cert", p.Cert, "--tls-key", p.Key}
	}
	s.over(3, "--tls-ca", ca.File, "show", "rules")
	if _, words := s.over(1, append(with(certs.Name{Common: "eve"}), "show", "rules")...); !strings.Contains(words, "eve") {
		t.Errorf("unknown name: %s", words)
	}
	collector := with(certs.Name{Common: "ann", URI: "spiffe://example.net/collector"})
	s.over(0, append(collector, "show", "rules")...)
	s.over(1, append(collector, "set", "/mcr/forwarding/config/worker-threads", "1")...)
	s.over(0, append(with(certs.Name{Common: "ann"}), "show", "rules")...)
}
