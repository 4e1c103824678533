// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"mcr/northbound/access"
)

// G122, G123: the users of gNMI, and who may not read all reads nothing.
func TestReaders(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	users := fmt.Sprintf(`{"format":1,"roles":{"guest":{"/":"read","/mcr/forwarding":"none"}},
		"users":{"prom":{"role":"viewer","password":%q},"guest":{"role":"guest","password":%q}}}`, hash, hash)
	if err := os.WriteFile(filepath.Join(dir, "users"), []byte(users), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := access.Open(access.Options{Dir: dir, Schema: schema()})
	if err != nil {
		t.Fatal(err)
	}
	tree, _ := newTree(t)
	address := serve(t, Config{Tree: tree, Allow: Readers(a)}, nil)
	c := client(t)
	for _, tt := range []struct {
		login  string
		status int
		says   string
	}{
		{"", http.StatusUnauthorized, ""},
		{"prom:wrong@", http.StatusUnauthorized, "wrong username or password"},
		{"nobody:secret@", http.StatusUnauthorized, "wrong username or password"},
		{"prom:secret@", http.StatusOK, "mcr_build_info"},
		{"guest:secret@", http.StatusForbidden, "read all of /mcr"},
	} {
		status, body := get(t, c, "http://"+tt.login+address+"/metrics")
		if status != tt.status || !strings.Contains(body, tt.says) || status != http.StatusOK && strings.Contains(body, "mcr_") {
			t.Errorf("%q: status %d, want %d with %q in\n%s", tt.login, status, tt.status, tt.says, body)
		}
	}
	resp, err := c.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Basic ") {
		t.Errorf("WWW-Authenticate: %q", got)
	}
	status := 0
	for range 20 { // guesses
		status, _ = get(t, c, "http://prom:guess@"+address+"/metrics")
	}
	if status != http.StatusTooManyRequests {
		t.Errorf("status %d after many guesses", status)
	}
}
