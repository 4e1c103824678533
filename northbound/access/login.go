// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

// Limits of failed logins, for each address, or /64 of IPv6.
const (
	failures      = 10              // at once
	failureEvery  = 6 * time.Second // and then one each
	maxAddresses  = 4096            // that are remembered
	maxLoginWait  = 2 * time.Second // for other logins
	maxNameLogged = 64              // bytes
)

// Connection is what a connection tells about its other end. It must not be copied.
type Connection struct {
	Address netip.Addr // invalid for a unix socket
	Trusted string     // user name at a connection that needs no login; else empty
	Names   []string   // of the verified client certificate

	proven atomic.Pointer[proof] // of the latest login: it costs nothing on the same connection
}

// Login is what a client sends with a call.
type Login struct{ User, Password string }

// proof is a keyed hash of a user, the stored hash and the password that fitted it.
type proof [sha256.Size]byte

// logins checks passwords.
type logins struct {
	secret [32]byte      // of this process
	turn   chan struct{} // holds a token while nobody computes a hash: logins must not take the CPUs from traffic

	// Whoever has the turn may use what follows. So no guess is compared with anything but after a look at the limit.
	proven map[string]proof // by user: the latest login
	failed *lru.LRU[netip.Prefix, *rate.Limiter]
}

func (l *logins) init() (err error) {
	l.proven, l.turn = map[string]proof{}, make(chan struct{}, 1)
	l.turn <- struct{}{}
	if _, err := rand.Read(l.secret[:]); err != nil {
		return err
	}
	l.failed, err = lru.NewLRU[netip.Prefix, *rate.Limiter](maxAddresses, nil)
	return err
}

func (l *logins) proof(hash string, in Login) (p proof) {
	m := hmac.New(sha256.New, l.secret[:])
	for _, s := range []string{in.User, hash, in.Password} {
		_ = binary.Write(m, binary.BigEndian, uint64(len(s)))
		m.Write([]byte(s))
	}
	m.Sum(p[:0])
	return p
}

// login checks name and password. A wrong name takes as long as a wrong password.
func (a *Access) login(ctx context.Context, u *Users, c *Connection, in Login) (Caller, error) {
	l := &a.logins
	e, known := u.users[in.User]
	p := l.proof(e.Password, in)
	if old := c.proven.Load(); known && old != nil && hmac.Equal(old[:], p[:]) {
		return u.caller(in.User, false), nil
	}
	if err := l.take(ctx); err != nil {
		return Caller{}, err
	}
	defer func() { l.turn <- struct{}{} }()
	fails := l.limiter(c.Address)
	now := a.opts.Now()
	if left := fails.TokensAt(now); left < 1 {
		wait := time.Duration((1 - left) * float64(failureEvery)).Round(time.Second)
		return Caller{}, &Refusal{ErrLimit, fmt.Sprintf("more than %d failed logins from this address: try again in %v", failures, max(wait, time.Second))}
	}
	old, before := l.proven[in.User]
	if !(known && before && hmac.Equal(old[:], p[:])) && !matches(e.Password, in.Password) {
		fails.AllowN(now, 1)
		a.log.Warn("login refused", "user", clip(in.User), "address", c.Address.String(), "left", int(fails.TokensAt(now)))
		return Caller{}, &Refusal{ErrCredentials, "wrong username or password"}
	}
	c.proven.Store(&p)
	l.proven[in.User] = p
	return u.caller(in.User, false), nil
}

func (l *logins) take(ctx context.Context) error {
	wait := time.NewTimer(maxLoginWait)
	defer wait.Stop()
	select {
	case <-l.turn:
		return nil
	case <-wait.C:
		return &Refusal{ErrBusy, "too many logins at a time: try again"}
	case <-ctx.Done():
		return &Refusal{ErrBusy, context.Cause(ctx).Error()}
	}
}

// limiter returns that of an address. It has the turn.
func (l *logins) limiter(a netip.Addr) *rate.Limiter {
	bits := 32
	if a = a.Unmap(); a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // the zero Prefix for a unix socket
	if r, ok := l.failed.Get(p); ok {
		return r
	}
	r := rate.NewLimiter(rate.Every(failureEvery), failures)
	l.failed.Add(p, r)
	return r
}

func clip(s string) string { return s[:min(len(s), maxNameLogged)] }
