// SPDX-License-Identifier: Apache-2.0

package access

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sys/unix"
)

const annsHash = "$2a$04$GxGxGxGxGxGxGxGxGxGxGuTcfrAGAYu5VIp.X.5C2WQ7VvHZ7y1jO"

func TestUsersFileThatIsWrongIsRefusedByName(t *testing.T) {
	for text, says := range map[string]string{
		``:                             "line 1",
		`{"format":2}`:                 "format is not 1",
		`{}`:                           "format is not 1",
		`{"format":1,"user":{}}`:       `"user"`,
		`{"format":1,"users":[]}`:      "users",
		"{\"format\":1,\n\"users\":{}": "line 2",
		`{"format":1,"users":{"a":{"role":"viewer"},"a":{"role":"admin"}}}`:                                                            `"a"`,
		`{"format":1,"users":{"ann":{"role":"king"}}}`:                                                                                 `user "ann": no role "king": there are admin, viewer`,
		`{"format":1,"users":{"ann":{}}}`:                                                                                              `no role ""`,
		`{"format":1,"users":{"ann":{"role":"admin","password":"geheim"}}}`:                                                            "not a bcrypt hash",
		`{"format":1,"users":{"":{"role":"admin"}}}`:                                                                                   "user name",
		`{"format":1,"users":{"a\u0000b":{"role":"admin"}}}`:                                                                           "user name",
		`{"format":1,"roles":{"admin":{"/":"read"}}}`:                                                                                  "built in",
		`{"format":1,"roles":{"noc":{"/mcr/sytem":"none"}}}`:                                                                           `role "noc"`,
		`{"format":1,"users":{"ann":{"role":"admin","pasword":"x"}}}`:                                                                  "pasword",
		`{"format":1,"users":{"ann":{"role":"admin"}}} {"format":1,"users":{}}`:                                                        "line 1",
		`{"format":1,"users":{"ann":{"role":"admin","password":"$2a$31$GxGxGx` + `GxGxGxGxGxGxGxGuTcfrAGAYu5VIp.X.5C2WQ7VvHZ7y1jO"}}}`: "not a bcrypt hash",
	} {
		if u, err := parseUsers(schema(t), []byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v %v, want %q in it", text, u, err, says)
		}
	}
}

// What mcrd passwd writes it can read, and what people wrote into the file stays.
func TestEditKeepsTheRest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, fileName)
	text := `{"format":1,"roles":{"noc":{"/":"read","/mcr/forwarding":"write"}},"users":{"ann":{"role":"noc","password":"` + annsHash + `"}}}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Edit(schema(t), dir, func(u *Users) error { return u.Put("<bob>", "noc", "") }); err != nil {
		t.Fatal(err)
	}
	u, err := Load(schema(t), dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := u.Names(); !slices.Equal(got, []string{"<bob>", "ann"}) || u.users["ann"].Password != annsHash || u.rights["noc"].String() != "/mcr/forwarding write, / read" {
		t.Errorf("%v %+v %v", got, u.users, u.rights["noc"])
	}
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", fi, err)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Users) error{
		"no role":     func(u *Users) error { return u.Put("eve", "king", "") },
		"no hash":     func(u *Users) error { return u.Put("eve", "", "geheim") },
		"no name":     func(u *Users) error { return u.Put("a\nb", "", "") },
		"own refusal": func(u *Users) error { u.Delete("ann"); return errors.New("no") },
	} {
		if err := Edit(schema(t), dir, change); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if after, _ := os.ReadFile(file); string(after) != string(before) {
		t.Errorf("a refused edit changed the file:\n%s\n%s", before, after)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left over: %v", entries)
	}
}

func TestEditsTakeTurns(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for _, name := range strings.Fields("a b c d e f g h") {
		wg.Go(func() {
			if err := Edit(schema(t), dir, func(u *Users) error { return u.Put(name, "", "") }); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if u, err := Load(schema(t), dir); err != nil || len(u.Names()) != 8 {
		t.Errorf("%v %v", u.Names(), err)
	}
}

func TestPasswords(t *testing.T) {
	if _, err := Hash(""); err == nil {
		t.Error("an empty password was taken")
	}
	long := strings.Repeat("x", maxPassword)
	if _, err := Hash(long + "x"); err == nil {
		t.Error("a password whose tail does not count was taken")
	}
	h, err := Hash(long)
	if err != nil {
		t.Fatal(err)
	}
	if !matches(h, long) || matches(h, long+"x") || matches(h, long[1:]) || matches(h, "") || matches("", "") || matches("", "x") {
		t.Error("wrong matches")
	}
}

// TestMain makes hashes cheap: under the race detector a real one takes seconds.
func TestMain(m *testing.M) {
	cost = bcrypt.MinCost
	nobody = []byte(strings.Replace(string(nobody), "$10$", "$04$", 1))
	os.Exit(m.Run())
}

// G122: the time does not tell whether there is such a user.
func TestG122UnknownUserTakesAsLong(t *testing.T) {
	if got, err := bcrypt.Cost(nobody); err != nil || got != cost {
		t.Fatalf("cost %d, %v, want that of new hashes", got, err)
	}
	b, err := bcrypt.GenerateFromPassword([]byte("geheim"), 8)
	if err != nil {
		t.Fatal(err)
	}
	h := string(b)
	nobody = []byte(strings.Replace(string(nobody), "$04$", "$08$", 1))
	defer func() { nobody = []byte(strings.Replace(string(nobody), "$08$", "$04$", 1)) }()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	measure := func(hash string) time.Duration { // of the processor: neighbours on the machine do not count
		best := time.Hour
		for range 5 {
			start := threadTime(t)
			matches(hash, "wrong")
			best = min(best, threadTime(t)-start)
		}
		return best
	}
	if known, unknown := measure(h), measure(""); unknown < known/2 || unknown > 2*known {
		t.Errorf("%v with a user, %v without", known, unknown)
	}
}

// threadTime is the processor time that this thread has used.
func threadTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
