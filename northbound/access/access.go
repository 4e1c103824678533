// SPDX-License-Identifier: Apache-2.0

package access

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"mcr/northbound/telemetry"
)

// pollInterval is how often the files are looked at.
const pollInterval = 10 * time.Second

// Options of an Access.
type Options struct {
	Dir    string // state directory: the users file is in it
	Schema *telemetry.Schema
	TLS    TLSFiles
	Log    *slog.Logger     // nil: none
	Now    func() time.Time // nil: time.Now
}

// Access knows the users and the certificates.
type Access struct {
	opts   Options
	log    *slog.Logger
	users  atomic.Pointer[Users]
	tls    identity
	logins logins

	mu       sync.Mutex // guards what follows; one reload at a time
	text     []byte     // of the users file, as it was last tried
	complain [2]string  // what is wrong with the users file and with TLS, as it was last logged
	changed  func()
}

// Open reads the files. Here alone a file with a mistake is an error.
func Open(o Options) (*Access, error) {
	a := &Access{opts: o, log: o.Log, tls: identity{files: o.TLS}}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if a.opts.Now == nil {
		a.opts.Now = time.Now
	}
	if err := o.TLS.Check(); err != nil {
		return nil, err
	}
	if err := a.logins.init(); err != nil {
		return nil, err
	}
	u, text, err := readUsers(o.Schema, o.Dir)
	if err != nil {
		return nil, fmt.Errorf("users: %w", err)
	}
	a.users.Store(u)
	a.text = text
	if _, err := a.tls.reload(a.log); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return a, nil
}

// TLS returns the server's side of TLS, which follows the files; nil where there is none.
func (a *Access) TLS() *tls.Config {
	if a.opts.TLS.Cert == "" {
		return nil
	}
	return a.tls.server()
}

// OnChange has f called after each change of the users. There is one f; it may call Current.
func (a *Access) OnChange(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.changed = f
}

// Run looks at the files every ten seconds, and at once when told to, until ctx ends.
func (a *Access) Run(ctx context.Context, now <-chan os.Signal) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-now:
		}
		a.Reload()
	}
}

// Reload reads the files again. One with a mistake leaves what there is and is logged, once for each mistake.
func (a *Access) Reload() {
	a.mu.Lock()
	defer a.mu.Unlock()
	changed, err := a.tls.reload(a.log)
	if changed {
		a.log.Info("the certificates have changed: new connections get them", "file", a.opts.TLS.Cert)
	}
	a.report(1, "the certificates stay as they were", err)
	changed, err = a.reloadUsers()
	a.report(0, "the users stay as they were", err)
	if changed {
		a.log.Info("the users have changed", "users", len(a.users.Load().users))
		if a.changed != nil {
			a.changed()
		}
	}
}

func (a *Access) reloadUsers() (changed bool, err error) {
	u, text, err := readUsers(a.opts.Schema, a.opts.Dir)
	if err != nil {
		return false, err
	}
	if bytes.Equal(text, a.text) {
		return false, nil
	}
	a.text = text
	a.users.Store(u)
	return true, nil
}

// report logs a mistake unless it has been logged already.
func (a *Access) report(i int, what string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != a.complain[i] {
		a.log.Warn(what, "err", err)
	}
	a.complain[i] = text
}

// Conditions of an error of Admit.
var (
	ErrCredentials = errors.New("no valid credentials")
	ErrLimit       = errors.New("too many failed logins")
	ErrBusy        = errors.New("too many logins at a time")
)

// Refusal is why somebody is not let in: the condition, and a text for the client, which says nothing about what there is.
type Refusal struct {
	Cause error
	Text  string
}

func (r *Refusal) Error() string { return r.Text }
func (r *Refusal) Unwrap() error { return r.Cause }

// Caller is somebody who was let in.
type Caller struct {
	User   string
	Role   string
	Rights *Rights

	entry   user // as it was then
	trusted bool // no login was needed
}

// Admit says who calls, or why not: the error is a *Refusal. l is what was sent with the call; the zero Login is nothing.
func (a *Access) Admit(ctx context.Context, c *Connection, l Login) (Caller, error) {
	u := a.users.Load()
	if l != (Login{}) {
		return a.login(ctx, u, c, l)
	}
	if c.Trusted != "" {
		return u.caller(c.Trusted, true), nil
	}
	for _, n := range c.Names {
		if _, ok := u.users[n]; ok {
			return u.caller(n, false), nil
		}
	}
	if len(c.Names) > 0 {
		return Caller{}, &Refusal{ErrCredentials, fmt.Sprintf("no user of a name in the certificate: %.300q", c.Names)}
	}
	return Caller{}, &Refusal{ErrCredentials, "no client certificate, and no username and password in the metadata"}
}

// caller returns a user as it is now. One that is trusted and not in the file is an admin.
func (u *Users) caller(name string, trusted bool) Caller {
	e, ok := u.users[name]
	if !ok && trusted {
		e.Role = Admin
	}
	c := Caller{User: name, Role: e.Role, Rights: u.rights[e.Role], entry: e, trusted: trusted}
	if c.Rights == nil {
		c.Rights = &Rights{}
	}
	return c
}

// Current says whether a caller would be let in now with the same rights.
func (a *Access) Current(c Caller) bool {
	now := a.users.Load().caller(c.User, c.trusted)
	return now.entry == c.entry && now.Rights.String() == c.Rights.String()
}
