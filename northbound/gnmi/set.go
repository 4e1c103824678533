// SPDX-License-Identifier: Apache-2.0

package gnmi

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc/status"

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
	if _, err := readExtensions("Set", req.GetExtension()); err != nil {
		return nil, 0, err
	}
	if err := checkPrefix(req.GetPrefix()); err != nil {
		return nil, 0, err
	}
	if len(req.GetUnionReplace()) > 0 {
		return nil, 0, refuse(errUnimplemented, "union_replace is not implemented: use replace")
	}
	ops, err := operations(req)
	if err != nil {
		return nil, 0, err
	}
	resp := &gpb.SetResponse{Prefix: req.GetPrefix(), Timestamp: s.now().UnixNano()}
	if len(ops) == 0 {
		return resp, 0, nil
	}
	res, err := s.cfg.Store.Set(ctx, config.Request{Ops: ops, User: who.user, Address: who.address})
	if err != nil {
		return nil, 0, err
	}
	if !res.Time.IsZero() {
		resp.Timestamp = res.Time.UnixNano()
	}
	for _, p := range req.GetDelete() {
		resp.Response = append(resp.Response, &gpb.UpdateResult{Path: p, Op: gpb.UpdateResult_DELETE})
	}
	for _, u := range req.GetReplace() {
		resp.Response = append(resp.Response, &gpb.UpdateResult{Path: u.GetPath(), Op: gpb.UpdateResult_REPLACE})
	}
	for _, u := range req.GetUpdate() {
		resp.Response = append(resp.Response, &gpb.UpdateResult{Path: u.GetPath(), Op: gpb.UpdateResult_UPDATE})
	}
	return resp, res.Revision, nil
}

// operations reads the operations of a request in the order in which they are done. Its error is a *config.Error with every
// fault of form.
func operations(req *gpb.SetRequest) ([]config.Op, error) {
	var ops []config.Op
	var bad config.Error
	add := func(kind config.Kind, i int, path *gpb.Path, u *gpb.Update) {
		op, err := operation(kind, i, req.GetPrefix(), path, u)
		if err == nil {
			ops = append(ops, op)
			return
		}
		f := config.Fault{Op: i, Kind: kind, Path: fullPath(req.GetPrefix(), path), Reason: err.Error()}
		if errors.Is(err, errUnimplemented) {
			f.Code = config.Unimplemented
		}
		bad.Faults = append(bad.Faults, f)
	}
	for i, p := range req.GetDelete() {
		add(config.Delete, i, p, nil)
	}
	for i, u := range req.GetReplace() {
		add(config.Replace, i, u.GetPath(), u)
	}
	for i, u := range req.GetUpdate() {
		add(config.Update, i, u.GetPath(), u)
	}
	if len(bad.Faults) > 0 {
		return nil, &bad
	}
	return ops, nil
}

// operation checks the form of one operation; u is nil for a delete.
func operation(kind config.Kind, i int, prefix, path *gpb.Path, u *gpb.Update) (config.Op, error) {
	elems, origin, err := join(prefix, path)
	if err != nil {
		return config.Op{}, err
	}
	op := config.Op{Kind: kind, Index: i, Path: &gpb.Path{Elem: elems}, Value: u.GetVal()}
	if u != nil {
		if err := checkValue(u); err != nil {
			return config.Op{}, err
		}
	}
	if !isCLI(origin) {
		return op, nil
	}
	op.CLI, op.Path = true, nil
	if kind == config.Delete {
		return config.Op{}, refuse(errInvalid, "origin %q cannot be deleted", origin)
	}
	if _, ok := u.GetVal().GetValue().(*gpb.TypedValue_AsciiVal); !ok {
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
	elems := append(append([]*gpb.PathElem{}, prefix.GetElem()...), path.GetElem()...)
	return telemetry.FormatElems(elems)
}

// maxAudited bounds the paths in an audit line.
const maxAudited = 20

// audit writes who changed what, without values.
func (s *Server) audit(ctx context.Context, req *gpb.SetRequest, who client, revision uint64, err error) {
	var paths []string
	add := func(op string, p *gpb.Path) {
		if len(paths) < maxAudited {
			paths = append(paths, op+" "+clip(fullPath(req.GetPrefix(), p), maxFault))
		}
	}
	for _, p := range req.GetDelete() {
		add("delete", p)
	}
	for _, u := range req.GetReplace() {
		add("replace", u.GetPath())
	}
	for _, u := range req.GetUpdate() {
		add("update", u.GetPath())
	}
	attrs := []slog.Attr{
		slog.String("user", who.user), slog.String("address", who.address), slog.String("paths", strings.Join(paths, ", ")),
		slog.Int("operations", len(req.GetDelete())+len(req.GetReplace())+len(req.GetUpdate())+len(req.GetUnionReplace())),
	}
	if who.pid != 0 {
		attrs = append(attrs, slog.Int("pid", int(who.pid)))
	}
	if err != nil {
		st := status.Convert(err)
		attrs = append(attrs, slog.String("code", st.Code().String()), slog.String("err", st.Message()))
		s.log.LogAttrs(ctx, slog.LevelInfo, "set refused", attrs...)
		return
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "set", append(attrs, slog.Uint64("revision", revision))...)
}
