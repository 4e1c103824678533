// SPDX-License-Identifier: Apache-2.0

package gnmi

import (
	"context"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/protobuf/proto"

	"mcr/northbound/telemetry"
)

// Capabilities tells the version, the models and the encodings (G01 to G04).
func (s *Server) Capabilities(_ context.Context, req *gpb.CapabilityRequest) (*gpb.CapabilityResponse, error) {
	if _, err := readExtensions("Capabilities", req.GetExtension()); err != nil {
		return nil, toStatus(err)
	}
	return &gpb.CapabilityResponse{SupportedModels: s.models, SupportedEncodings: encodings, GNMIVersion: version()}, nil
}

// Get answers from one snapshot: a notification per path, in the order of the request.
func (s *Server) Get(ctx context.Context, req *gpb.GetRequest) (*gpb.GetResponse, error) {
	resp, err := s.get(ctx, req)
	return resp, toStatus(err)
}

// getPath is one path of a Get, checked.
type getPath struct {
	pattern *telemetry.Pattern
	origin  string
	enc     telemetry.Encoding
}

func (s *Server) get(ctx context.Context, req *gpb.GetRequest) (*gpb.GetResponse, error) {
	who := caller(ctx)
	filter, err := s.getFilter(req)
	if err != nil {
		return nil, err
	}
	filter.Readable = who.readable()
	paths := req.GetPath()
	if len(paths) == 0 { // the prefix alone is a path
		paths = []*gpb.Path{{}}
	}
	if len(paths) > s.cfg.MaxPaths {
		return nil, refuse(errLimit, "%d paths in one Get: at most %d are taken", len(paths), s.cfg.MaxPaths)
	}
	var asked []getPath
	for _, p := range paths {
		pattern, origin, err := s.query(req.GetPrefix(), p)
		if err == nil {
			err = who.mayRead(pattern)
		}
		if err != nil {
			return nil, err
		}
		enc, err := encoding(req.GetEncoding(), origin)
		if err != nil {
			return nil, err
		}
		asked = append(asked, getPath{pattern, origin, enc})
	}
	snap, now := s.tree.Snapshot(), s.now()
	resp, size := &gpb.GetResponse{}, 0
	for _, a := range asked {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		n := &gpb.Notification{Timestamp: now.UnixNano(), Prefix: answerPrefix(req.GetPrefix().GetTarget(), a.origin)}
		found := 0
		if a.enc == telemetry.EncodingProto {
			var updates []byte
			updates, found = snap.CollectWire(a.pattern, filter, now)
			n.ProtoReflect().SetUnknown(updates) // which goes out as it is
		} else {
			n.Update = snap.Collect(a.pattern, filter, a.enc, now)
			found = len(n.GetUpdate())
		}
		if found == 0 && !a.pattern.Wild() {
			if n.Update, err = s.noData(snap, a, filter); err != nil {
				return nil, err
			}
		}
		if size += proto.Size(n); size > s.cfg.MaxAnswer {
			return nil, refuse(errLimit, "the answer exceeds %d bytes: ask for less at a time, or subscribe with ONCE", s.cfg.MaxAnswer)
		}
		resp.Notification = append(resp.Notification, n)
	}
	return resp, nil
}

// getFilter checks what holds for all paths of a Get.
func (s *Server) getFilter(req *gpb.GetRequest) (telemetry.Filter, error) {
	ext, err := readExtensions("Get", req.GetExtension())
	if err != nil {
		return telemetry.Filter{}, err
	}
	f := telemetry.Filter{Depth: ext.depth}
	if err := checkPrefix(req.GetPrefix()); err != nil {
		return f, err
	}
	switch t := req.GetType(); t {
	case gpb.GetRequest_ALL:
	case gpb.GetRequest_CONFIG:
		f.ConfigOnly = true
	case gpb.GetRequest_STATE:
		f.StateOnly = true
	case gpb.GetRequest_OPERATIONAL:
		f.Operational = true
	default:
		return f, refuse(errInvalid, "unknown type %v", t)
	}
	f.Modules, err = s.namespaces(req.GetUseModels())
	return f, err
}

// noData answers a literal path without data: an empty object for the root, and for a node of which the depth hides all, else
// NotFound.
func (s *Server) noData(snap *telemetry.Snapshot, a getPath, f telemetry.Filter) ([]*gpb.Update, error) {
	if !hasData(snap, a, f) {
		return nil, refuse(errNotFound, "%s: no data", a.pattern)
	}
	u := &gpb.Update{Path: &gpb.Path{Elem: a.pattern.Elems()}}
	switch a.enc {
	case telemetry.EncodingProto:
		return nil, nil
	case telemetry.EncodingJSON:
		u.Val = &gpb.TypedValue{Value: &gpb.TypedValue_JsonVal{JsonVal: []byte("{}")}}
	default:
		u.Val = &gpb.TypedValue{Value: &gpb.TypedValue_JsonIetfVal{JsonIetfVal: []byte("{}")}}
	}
	return []*gpb.Update{u}, nil
}

// hasData says whether there is a node, which for the root is always so, whatever depth was asked for.
func hasData(snap *telemetry.Snapshot, a getPath, f telemetry.Filter) bool {
	found := len(a.pattern.Path()) == 0
	if f.Depth > 0 && !found {
		f.Depth = 0
		snap.Select(a.pattern, f, time.Time{}, func(*telemetry.Hit) bool { found = true; return false })
	}
	return found
}

// now is the time for timestamps.
func (s *Server) now() time.Time { return s.cfg.Now() }
