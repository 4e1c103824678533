// SPDX-License-Identifier: Apache-2.0

package access

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"mcr/northbound/config/json5"
	"mcr/northbound/telemetry"
)

// The users file, in the state directory. It is written by mcrd passwd, and by people:
//
//	{
//	  "format": 1,
//	  "roles": {"noc": {"/": "read", "/mcr/forwarding": "write", "/mcr/system": "none"}},
//	  "users": {"ann": {"role": "noc", "password": "$2a$10$…"}, "collector.example.net": {"role": "viewer"}}
//	}
//
// A user without a password comes with a certificate or over the unix socket. Hashes that htpasswd -B makes are taken.
const (
	fileName    = "users"
	fileFormat  = 1
	maxUserName = 255 // bytes; a SAN URI may be long
	maxFile     = 16 << 20
)

// user is one entry.
type user struct {
	Role     string `json:"role"`
	Password string `json:"password,omitempty"` // bcrypt; empty: none
}

// Users is the contents of a users file. The zero value is an empty one.
type Users struct {
	users  map[string]user
	roles  map[string]map[string]string // as in the file
	rights map[string]*Rights           // of roles and of the built-in ones
}

// parseUsers reads a file. An error says where and why.
func parseUsers(schema *telemetry.Schema, data []byte) (*Users, error) {
	v, err := json5.ParseJSON(data)
	if err != nil {
		e, _ := errors.AsType[*json5.SyntaxError](err)
		line, column := json5.Position(data, e.Pos)
		return nil, fmt.Errorf("line %d, column %d: %s", line, column, e.Reason)
	}
	if f := v.Get("format"); f == nil || f.Kind != json5.Number || f.Text != fmt.Sprint(fileFormat) {
		return nil, fmt.Errorf("format is not %d", fileFormat)
	}
	// The strict parser has found double members and nesting; now the types.
	var in struct {
		Format int                          `json:"format"`
		Roles  map[string]map[string]string `json:"roles"`
		Users  map[string]user              `json:"users"`
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return nil, err
	}
	u := &Users{users: in.Users, roles: in.Roles, rights: map[string]*Rights{
		Admin: everything, Viewer: {rules: []rule{{nil, Read}}},
	}}
	for name, rules := range in.Roles {
		if name == Admin || name == Viewer {
			return nil, fmt.Errorf("role %q is built in", name)
		}
		r, err := newRights(schema, rules)
		if err != nil {
			return nil, fmt.Errorf("role %q: %w", name, err)
		}
		u.rights[name] = r
	}
	for name, user := range in.Users {
		if err := u.check(name, user); err != nil {
			return nil, fmt.Errorf("user %q: %w", name, err)
		}
	}
	return u, nil
}

func (u *Users) check(name string, user user) error {
	if err := checkName(name); err != nil {
		return err
	}
	if u.rights[user.Role] == nil {
		return fmt.Errorf("no role %q: there are %s", user.Role, strings.Join(u.Roles(), ", "))
	}
	if user.Password != "" && !isHash(user.Password) {
		return errors.New("the password is not a bcrypt hash: use mcrd passwd")
	}
	return nil
}

// checkName refuses names that cannot be told apart or sent.
func checkName(name string) error {
	bad := func(r rune) bool { return unicode.IsControl(r) || !unicode.IsPrint(r) }
	if name == "" || len(name) > maxUserName || !utf8.ValidString(name) || strings.ContainsFunc(name, bad) {
		return fmt.Errorf("a user name has 1 to %d printable characters", maxUserName)
	}
	return nil
}

// Roles returns the names of all roles, sorted.
func (u *Users) Roles() []string { return slices.Sorted(maps.Keys(u.rights)) }

// Names returns the names of all users, sorted.
func (u *Users) Names() []string { return slices.Sorted(maps.Keys(u.users)) }

// User returns the role of a user and whether it has a password.
func (u *Users) User(name string) (role string, password, ok bool) {
	e, ok := u.users[name]
	return e.Role, e.Password != "", ok
}

// Put adds or changes a user. An empty role keeps the one it has, or is viewer; an empty hash keeps the password.
func (u *Users) Put(name, role, hash string) error {
	e := u.users[name]
	if role != "" {
		e.Role = role
	}
	if e.Role == "" {
		e.Role = Viewer
	}
	if hash != "" {
		e.Password = hash
	}
	if err := u.check(name, e); err != nil {
		return fmt.Errorf("user %q: %w", name, err)
	}
	if u.users == nil {
		u.users = map[string]user{}
	}
	u.users[name] = e
	return nil
}

// DropPassword leaves a user without a password.
func (u *Users) DropPassword(name string) {
	if e, ok := u.users[name]; ok {
		e.Password = ""
		u.users[name] = e
	}
}

// Delete removes a user and says whether there was one.
func (u *Users) Delete(name string) bool {
	_, ok := u.users[name]
	delete(u.users, name)
	return ok
}

func (u *Users) text() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(struct {
		Format int                          `json:"format"`
		Roles  map[string]map[string]string `json:"roles,omitempty"`
		Users  map[string]user              `json:"users"`
	}{fileFormat, u.roles, u.users})
	return b.Bytes(), err
}

// readUsers returns the users of a state directory, and the text of the file; none where there is no file.
func readUsers(schema *telemetry.Schema, dir string) (*Users, []byte, error) {
	name := filepath.Join(dir, fileName)
	data, err := readFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		u, err := parseUsers(schema, fmt.Appendf(nil, `{"format":%d}`, fileFormat))
		return u, nil, err
	}
	if err != nil {
		return nil, nil, err
	}
	u, err := parseUsers(schema, data)
	if err != nil {
		return nil, data, fmt.Errorf("%s: %w", name, err)
	}
	return u, data, nil
}

// readFile is os.ReadFile for files that people put there: one that is far too large is none.
func readFile(name string) ([]byte, error) {
	fi, err := os.Stat(name)
	if err == nil && (fi.Size() > maxFile || !fi.Mode().IsRegular()) {
		err = fmt.Errorf("%s: not a file of at most %d MiB", name, maxFile>>20)
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(name)
}

// Edit changes the users of a state directory, which it makes if it is missing. At any moment the old file or the new one is
// there, whole. Edits take turns, also of several processes.
func Edit(schema *telemetry.Schema, dir string, change func(*Users) error) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("make the state directory: %w", err)
	}
	turn, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer turn.Close() //nolint:errcheck // read only
	if err := unix.Flock(int(turn.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("wait for another edit of the users: %w", err)
	}
	u, old, err := readUsers(schema, dir)
	if err != nil {
		return err
	}
	if err := change(u); err != nil {
		return err
	}
	data, err := u.text()
	if err != nil || bytes.Equal(data, old) {
		return err
	}
	if _, err := parseUsers(schema, data); err != nil { // before everybody is locked out
		return err
	}
	return write(turn, filepath.Join(dir, fileName), data)
}

// write replaces a file of a directory, durably. It belongs to whom the directory belongs to, so that a daemon that is not
// root can read what root wrote.
func write(dir *os.File, name string, data []byte) (err error) {
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	var st unix.Stat_t
	if unix.Fstat(int(dir.Fd()), &st) == nil {
		_ = f.Chown(int(st.Uid), int(st.Gid)) // without the right to do so it stays ours
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(name+".new", name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(name+".new"))
	}
	return dir.Sync()
}

// Load returns the users of a state directory.
func Load(schema *telemetry.Schema, dir string) (*Users, error) {
	u, _, err := readUsers(schema, dir)
	return u, err
}
