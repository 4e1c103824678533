// SPDX-License-Identifier: Apache-2.0

package operations_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"

	"mcr/northbound/config"
	"mcr/northbound/operations"
	mcrv1 "mcr/northbound/operations/mcr/v1"
)

var errForbidden = errors.New("forbidden")

// target refuses who is nobody.
type target struct{ nobody bool }

func (g target) MayReadAll(context.Context) error {
	if g.nobody {
		return errForbidden
	}
	return nil
}

func (g target) MayWriteAll(ctx context.Context) error { return g.MayReadAll(ctx) }

func (target) Validate(_ context.Context, req *gpb.SetRequest) (config.Preview, error) {
	if len(req.GetDelete()) == 0 {
		return config.Preview{}, errors.New("as Set")
	}
	return config.Preview{Revision: 3, Changes: []config.LeafChange{{Path: "/mcr/a", Old: "1"}, {Path: "/mcr/b", New: `"x"`}}}, nil
}

type history struct{}

func (history) Running() *config.Snapshot { return &config.Snapshot{Revision: 9} }

func (history) Content(revision uint64) ([]byte, config.Commit, error) {
	if revision < 8 {
		return nil, config.Commit{}, errors.New("not kept")
	}
	return []byte("{}"), config.Commit{Revision: revision, User: "ann", Address: "unix", Time: time.Unix(1, 5)}, nil
}

func TestGetCommit(t *testing.T) {
	s := &operations.Server{Target: target{}, History: history{}}
	for asked, want := range map[uint64]uint64{0: 9, 8: 8} {
		c, err := s.GetCommit(t.Context(), &mcrv1.GetCommitRequest{Revision: asked})
		if err != nil {
			t.Fatal(err)
		}
		if c.GetRevision() != want || c.GetUser() != "ann" || c.GetAddress() != "unix" || c.GetTime() != 1_000_000_005 || string(c.GetJsonIetf()) != "{}" {
			t.Errorf("commit %d: %v", asked, c)
		}
	}
	if _, err := s.GetCommit(t.Context(), &mcrv1.GetCommitRequest{Revision: 1}); err == nil || err.Error() != "not kept" {
		t.Errorf("a commit that is not kept: %v", err)
	}
}

func TestValidate(t *testing.T) {
	s := &operations.Server{Target: target{}}
	p, err := s.Validate(t.Context(), &gpb.SetRequest{Delete: []*gpb.Path{{}}})
	if err != nil {
		t.Fatal(err)
	}
	if c := p.GetChanges(); p.GetRevision() != 3 || len(c) != 2 || c[0].GetPath() != "/mcr/a" || c[0].GetOld() != "1" || c[0].GetNew() != "" || c[1].GetNew() != `"x"` {
		t.Errorf("got %v", p)
	}
	if _, err := s.Validate(t.Context(), &gpb.SetRequest{}); err == nil || err.Error() != "as Set" {
		t.Errorf("a refused one: %v", err)
	}
}

// Each kind of learnt state is refused by its own name; what is no kind is the caller's mistake.
func TestClearAndRevoke(t *testing.T) {
	s := &operations.Server{Target: target{}}
	check := func(err error, code config.Code, says string) {
		t.Helper()
		e, ok := errors.AsType[*config.Error](err)
		if !ok || e.Faults[0].Code != code || !strings.Contains(e.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
	for n, name := range mcrv1.Learnt_name {
		code := config.Unimplemented
		if n == 0 {
			code = config.Invalid
		}
		_, err := s.Clear(t.Context(), &mcrv1.ClearRequest{Learnt: mcrv1.Learnt(n)})
		check(err, code, name)
	}
	_, err := s.Clear(t.Context(), &mcrv1.ClearRequest{Learnt: 99})
	check(err, config.Invalid, "99")
	_, err = s.RevokeLease(t.Context(), &mcrv1.RevokeLeaseRequest{Id: "x"})
	check(err, config.Unimplemented, "lease")
	_, err = s.RevokeLease(t.Context(), &mcrv1.RevokeLeaseRequest{})
	check(err, config.Invalid, "no id")
}

func TestRightsComeFirst(t *testing.T) {
	s := &operations.Server{Target: target{nobody: true}, History: history{}}
	for name, call := range map[string]func() error{
		"Clear":       func() error { _, err := s.Clear(t.Context(), &mcrv1.ClearRequest{}); return err },
		"RevokeLease": func() error { _, err := s.RevokeLease(t.Context(), &mcrv1.RevokeLeaseRequest{}); return err },
		"GetCommit":   func() error { _, err := s.GetCommit(t.Context(), &mcrv1.GetCommitRequest{}); return err },
	} {
		if err := call(); !errors.Is(err, errForbidden) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
