// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mcr/tests/certs"
	"mcr/tests/lab"
)

// G120, G122, G123: mcrctl and Prometheus over TCP, with a user each: the one may write, the other read.
func TestG122_UsersOverTLS(t *testing.T) {
	t.Parallel()
	n := newHybrid(t)
	ca := certs.New(t)
	pair := ca.Issue(t, certs.Name{IP: "127.0.0.1"})
	const address = "127.0.0.1:9339"
	mcrd := n.rtr.MCRD(lab.MCRDConfig{Args: []string{
		"--listen", address, "--tls-cert", pair.Cert, "--tls-key", pair.Key, "--metrics-listen", "127.0.0.1:0",
	}})
	d := daemon{mcrd, dial(t, mcrd)}
	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte("correct horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for user, role := range map[string]string{"ann": "admin", "prom": "viewer"} {
		n.rtr.Run("sh", "-c", lab.Bin(t, "mcrd")+" passwd --state-dir "+d.StateDir+" --role "+role+" "+user+" < "+secret)
	}
	d.Signal(syscall.SIGHUP)
	read := func(line string) bool {
		return strings.Contains(line, "the users have changed") && strings.Contains(line, "users=2")
	}
	if _, err := d.Stderr.WaitLine(patience, d.Done(), read); err != nil {
		t.Fatal(err)
	}
	ctl := func(user string, args ...string) *lab.Proc {
		t.Helper()
		p := n.rtr.Start(append([]string{
			lab.Bin(t, "mcrctl"), "--address", address, "--tls-ca", ca.File, "--user", user, "--password-file", secret,
		}, args...)...)
		_ = p.Wait(patience)
		return p
	}
	if p := ctl("ann", "apply", file(t, roadmap["hybrid"])); p.ExitCode() != 0 {
		t.Errorf("ann may not write: %s", p.Stderr.String())
	}
	if p := ctl("prom", "list"); p.ExitCode() != 0 || !strings.Contains(p.Stdout.String(), "hybrid-feed") {
		t.Errorf("prom may not read: %s%s", p.Stdout.String(), p.Stderr.String())
	}
	for _, args := range [][]string{
		{"remove", "hybrid-feed"}, {"apply", file(t, spokeOnly)}, {"apply", file(t, spokeOnly), "--dry-run"}, {"rollback", "1"},
	} {
		if p := ctl("prom", args...); p.ExitCode() != 1 {
			t.Errorf("prom may %s: exit code %d, %s", args[0], p.ExitCode(), p.Stderr.String())
		}
	}
	if p := ctl("eve", "list"); p.ExitCode() != 1 || !strings.Contains(p.Stderr.String(), "--user and --password-file") {
		t.Errorf("eve: exit code %d, %s", p.ExitCode(), p.Stderr.String())
	}
	if got := d.ctl("show", "commits"); strings.Count(got, "\n") != 2 || !strings.Contains(got, " ann ") {
		t.Errorf("commits:\n%s", got)
	}

	m := newPrometheus(t, n.rtr, d)
	m.trust(ca)
	if status := m.status(); status != http.StatusUnauthorized {
		t.Errorf("status %d of the metrics for nobody", status)
	}
	m.login("prom", "correct horse")
	if v, is := value(m.scrape(), "mcr_rules", nil); !is || v != 1 {
		t.Errorf("mcr_rules is %v (there: %v)", v, is)
	}
}
