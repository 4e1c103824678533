// SPDX-License-Identifier: Apache-2.0

package gnmi

import (
	"context"
	"errors"
	"slices"

	gpb "github.com/openconfig/gnmi/proto/gnmi"

	"mcr/northbound/access"
	"mcr/northbound/config"
	"mcr/northbound/telemetry"
)

// Set hands one transaction to the store and writes one audit line.
func (s *Server) Set(ctx context.Context, req *gpb.SetRequest) (*gpb.SetResponse, error) {
	who := caller(ctx)
	resp, revision, err := s.set(ctx, req, who)
	err = toStatus(err)
	s.audit(ctx, req, who, revision, err)
	return resp, err
}

func (s *Server) set(ctx context.Context, req *gpb.SetRequest, who client) (*gpb.SetResponse, uint64, error) {
	c, err := s.readSet(req, who)
	if err != nil {
		return nil, 0, err
	}
	if c.arbitration != nil {
		done, err := s.arbiter.enter(ctx, c.arbitration)
		if err != nil {
			return nil, 0, err
		}
		defer done()
	}
	res, err := s.change(ctx, c, who)
	if err != nil {
		return nil, 0, err
	}
	resp := &gpb.SetResponse{Prefix: req.GetPrefix(), Timestamp: s.now().UnixNano()}
	if !res.Time.IsZero() {
		resp.Timestamp = res.Time.UnixNano()
	}
	for op := range operationsOf(req) {
		resp.Response = append(resp.Response, &gpb.UpdateResult{Path: op.path, Op: results[op.kind]})
	}
	return resp, res.Revision, nil
}

// change does what a request asks for.
func (s *Server) change(ctx context.Context, c setRequest, who client) (config.Result, error) {
	by := config.Client{User: who.user, Address: who.address}
	req := config.Request{Ops: c.ops, User: who.user, Address: who.address}
	if c.commit == nil {
		if len(c.ops) == 0 && c.arbitration != nil { // it says who is master, and nothing else (G108)
			return config.Result{}, nil
		}
		return s.cfg.Store.Set(ctx, req)
	}
	if c.commit.action != actionCommit {
		if err := s.mayDecide(who); err != nil {
			return config.Result{}, err
		}
	}
	switch c.commit.action {
	case actionConfirm:
		return s.cfg.Store.Confirm(ctx, c.commit.id, by)
	case actionCancel:
		return s.cfg.Store.Cancel(ctx, c.commit.id, by)
	case actionSetRollback:
		return s.cfg.Store.SetRollback(ctx, c.commit.id, c.commit.rollback, by)
	}
	req.Confirm = &config.Confirm{ID: c.commit.id, Rollback: c.commit.rollback}
	return s.cfg.Store.Set(ctx, req)
}

// Validate says what a Set of the same request by the same client would do. It fails as that would, and changes nothing: no
// election and no commit is registered.
func (s *Server) Validate(ctx context.Context, req *gpb.SetRequest) (config.Preview, error) {
	who := caller(ctx)
	c, err := s.readSet(req, who)
	if err != nil {
		return config.Preview{}, err
	}
	if c.arbitration != nil {
		done, err := s.arbiter.check(ctx, c.arbitration)
		if err != nil {
			return config.Preview{}, err
		}
		done()
	}
	r := config.Request{Ops: c.ops, User: who.user, Address: who.address}
	if c.commit != nil {
		if c.commit.action != actionCommit {
			return config.Preview{}, refuse(errInvalid, "extension commit: %s cannot be validated", c.commit.action)
		}
		r.Confirm = &config.Confirm{ID: c.commit.id, Rollback: c.commit.rollback}
	}
	return s.cfg.Store.Validate(ctx, r)
}

// setRequest is a SetRequest whose form has been checked.
type setRequest struct {
	ops []config.Op
	extensions
}

// readSet checks all of a request that can be checked without the configuration.
func (s *Server) readSet(req *gpb.SetRequest, who client) (c setRequest, err error) {
	if err := mayChange(req, who); err != nil {
		return c, err
	}
	if c.extensions, err = readExtensions("Set", req.GetExtension()); err != nil {
		return c, err
	}
	if err := checkPrefix(req.GetPrefix()); err != nil {
		return c, err
	}
	if n := operationCount(req); n > s.cfg.MaxOperations {
		return c, refuse(errLimit, "%d operations in one Set: at most %d are taken", n, s.cfg.MaxOperations)
	}
	if c.ops, err = operations(req); err != nil {
		return c, err
	}
	if len(req.GetUnionReplace()) > 0 && operationCount(req) > len(req.GetUnionReplace()) {
		return c, refuse(errInvalid, "union_replace together with delete, replace or update")
	}
	if c.commit != nil && c.commit.action != actionCommit && len(c.ops) > 0 {
		return c, refuse(errInvalid, "extension commit: %s together with operations", c.commit.action)
	}
	return c, nil
}

// mayChange asks for each path before anything else is looked at (G123). A text may name anything, so it needs the root. Without
// operations the extensions are left, and those need the right to write something.
func mayChange(req *gpb.SetRequest, who client) error {
	for o := range operationsOf(req) {
		elems := slices.Concat(req.GetPrefix().GetElem(), o.path.GetElem())
		if isCLI(req.GetPrefix().GetOrigin()) || isCLI(o.path.GetOrigin()) {
			elems = nil
		}
		if err := who.mayWrite(elems); err != nil {
			return err
		}
	}
	if _, some := who.rights.Allows(nil, access.Write); !some {
		return refuse(errPermission, "user %q may not write anything", who.user)
	}
	return nil
}

// mayDecide says whether a client may confirm or cancel the commit that waits: whoever made it, or may write everything.
func (s *Server) mayDecide(who client) error {
	if s.cfg.Store.Running().User == who.user {
		return nil
	}
	return who.mayWrite(nil)
}

// results are the kinds of operation as a response tells them.
var results = map[config.Kind]gpb.UpdateResult_Operation{
	config.Delete:       gpb.UpdateResult_DELETE,
	config.Replace:      gpb.UpdateResult_REPLACE,
	config.UnionReplace: gpb.UpdateResult_UNION_REPLACE,
	config.Update:       gpb.UpdateResult_UPDATE,
}

// setOperation is one operation as it was sent.
type setOperation struct {
	kind   config.Kind
	index  int // in its field
	path   *gpb.Path
	update *gpb.Update // nil for a delete
}

// operationsOf yields the operations of a request in the order in which they are done (G32).
func operationsOf(req *gpb.SetRequest) func(yield func(setOperation) bool) {
	return func(yield func(setOperation) bool) {
		for i, p := range req.GetDelete() {
			if !yield(setOperation{config.Delete, i, p, nil}) {
				return
			}
		}
		for _, field := range []struct {
			kind    config.Kind
			updates []*gpb.Update
		}{{config.Replace, req.GetReplace()}, {config.UnionReplace, req.GetUnionReplace()}, {config.Update, req.GetUpdate()}} {
			for i, u := range field.updates {
				if !yield(setOperation{field.kind, i, u.GetPath(), u}) {
					return
				}
			}
		}
	}
}

func operationCount(req *gpb.SetRequest) int {
	return len(req.GetDelete()) + len(req.GetReplace()) + len(req.GetUnionReplace()) + len(req.GetUpdate())
}

// operations reads the operations of a request. Its error is a *config.Error with every fault of form.
func operations(req *gpb.SetRequest) ([]config.Op, error) {
	ops := make([]config.Op, 0, operationCount(req))
	var bad config.Error
	for o := range operationsOf(req) {
		op, err := operation(o, req.GetPrefix())
		if err == nil {
			ops = append(ops, op)
			continue
		}
		f := config.Fault{Op: o.index, Kind: o.kind, Path: fullPath(req.GetPrefix(), o.path), Reason: err.Error()}
		if errors.Is(err, errUnimplemented) {
			f.Code = config.Unimplemented
		}
		bad.Faults = append(bad.Faults, f)
	}
	if len(bad.Faults) > 0 {
		return nil, &bad
	}
	return ops, nil
}

// operation checks the form of one operation.
func operation(o setOperation, prefix *gpb.Path) (config.Op, error) {
	elems, origin, err := join(prefix, o.path)
	if err != nil {
		return config.Op{}, err
	}
	op := config.Op{Kind: o.kind, Index: o.index, Path: &gpb.Path{Elem: elems}, Value: o.update.GetVal()}
	if o.update != nil {
		if err := checkValue(o.update); err != nil {
			return config.Op{}, err
		}
	}
	if !isCLI(origin) {
		return op, nil
	}
	op.CLI, op.Path = true, nil
	if o.kind == config.Delete {
		return config.Op{}, refuse(errInvalid, "origin %q cannot be deleted", origin)
	}
	if _, ok := o.update.GetVal().GetValue().(*gpb.TypedValue_AsciiVal); !ok {
		return config.Op{}, refuse(errInvalid, "origin %q takes the text of a configuration file as ascii_val", origin)
	}
	return op, nil
}

// checkValue refuses values that no leaf or subtree takes.
func checkValue(u *gpb.Update) error {
	if hasOldValue(u) {
		return refuse(errInvalid, "the field value is deprecated: use val")
	}
	switch u.GetVal().GetValue().(type) {
	case nil:
		return refuse(errInvalid, "no value")
	case *gpb.TypedValue_AnyVal:
		return refuse(errUnimplemented, "any_val is not implemented: use json_ietf_val or a scalar")
	case *gpb.TypedValue_ProtoBytes:
		return refuse(errUnimplemented, "proto_bytes is not implemented: use json_ietf_val or a scalar")
	}
	return nil
}

func fullPath(prefix, path *gpb.Path) string {
	return telemetry.FormatElems(slices.Concat(prefix.GetElem(), path.GetElem()))
}

// MayReadAll refuses a caller that may not read everything.
func (s *Server) MayReadAll(ctx context.Context) error { return caller(ctx).mayReadAll() }

// MayWriteAll refuses a caller that may not write everything.
func (s *Server) MayWriteAll(ctx context.Context) error { return caller(ctx).mayWrite(nil) }
