// SPDX-License-Identifier: Apache-2.0

package operations

import (
	"context"
	"fmt"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc"

	"mcr/northbound/config"
	mcrv1 "mcr/northbound/operations/mcr/v1"
)

// Target is what the service needs of the gNMI service.
type Target interface {
	// Validate says what a Set would do, or refuses as it would.
	Validate(ctx context.Context, req *gpb.SetRequest) (config.Preview, error)
	// MayReadAll refuses a caller that may not read the whole configuration; MayWriteAll one that may not change it.
	MayReadAll(ctx context.Context) error
	MayWriteAll(ctx context.Context) error
}

// History is what the service needs of the configuration store.
type History interface {
	Running() *config.Snapshot
	// Content returns the configuration of a commit as RFC 7951 JSON. The error is a *config.Error.
	Content(revision uint64) ([]byte, config.Commit, error)
}

// Server is the service. Its zero value with both fields set is ready; it is safe for use by any goroutine.
type Server struct {
	mcrv1.UnimplementedOperationsServer

	Target  Target
	History History
}

// Register adds the service to a gRPC server that turns a *config.Error into a status.
func (s *Server) Register(r grpc.ServiceRegistrar) { mcrv1.RegisterOperationsServer(r, s) }

// learnt says of each kind of learnt state why there is none.
var learnt = map[mcrv1.Learnt]string{
	mcrv1.Learnt_LEARNT_IGMP:         "IGMP does not run yet, so no membership is learnt",
	mcrv1.Learnt_LEARNT_PIM:          "PIM does not run yet, so no neighbour, join or prune is learnt",
	mcrv1.Learnt_LEARNT_MRIB:         "static rules alone make entries, so none is learnt",
	mcrv1.Learnt_LEARNT_ENDPOINTS:    "endpoint discovery does not exist yet, so no endpoint is learnt",
	mcrv1.Learnt_LEARNT_AMT:          "the AMT relay does not exist yet, so no gateway is learnt",
	mcrv1.Learnt_LEARNT_REMOTE_JOINS: "the remote-join service does not exist yet, so no membership is learnt",
}

// Clear refuses by the name of what it is to forget: nothing is learnt yet.
func (s *Server) Clear(ctx context.Context, req *mcrv1.ClearRequest) (*mcrv1.ClearResponse, error) {
	if err := s.Target.MayWriteAll(ctx); err != nil {
		return nil, err
	}
	if why, ok := learnt[req.GetLearnt()]; ok {
		return nil, refuse(config.Unimplemented, "clear %v: %s", req.GetLearnt(), why)
	}
	return nil, refuse(config.Invalid, "clear: say what is to be forgotten: %v is not a kind of learnt state", req.GetLearnt())
}

// RevokeLease refuses: there are no leases yet.
func (s *Server) RevokeLease(ctx context.Context, req *mcrv1.RevokeLeaseRequest) (*mcrv1.RevokeLeaseResponse, error) {
	if err := s.Target.MayWriteAll(ctx); err != nil {
		return nil, err
	}
	if req.GetId() == "" {
		return nil, refuse(config.Invalid, "revoke a lease: no id")
	}
	return nil, refuse(config.Unimplemented, "revoke a lease: the registration service does not exist yet, so there are no leases")
}

// GetCommit returns a commit of the history.
func (s *Server) GetCommit(ctx context.Context, req *mcrv1.GetCommitRequest) (*mcrv1.GetCommitResponse, error) {
	if err := s.Target.MayReadAll(ctx); err != nil {
		return nil, err
	}
	revision := req.GetRevision()
	if revision == 0 {
		revision = s.History.Running().Revision
	}
	content, c, err := s.History.Content(revision)
	if err != nil {
		return nil, err
	}
	resp := &mcrv1.GetCommitResponse{Revision: c.Revision, User: c.User, Address: c.Address, JsonIetf: content}
	if !c.Time.IsZero() {
		resp.Time = c.Time.UnixNano()
	}
	return resp, nil
}

// Validate says what a Set would do.
func (s *Server) Validate(ctx context.Context, req *gpb.SetRequest) (*mcrv1.ValidateResponse, error) {
	p, err := s.Target.Validate(ctx, req)
	if err != nil {
		return nil, err
	}
	resp := &mcrv1.ValidateResponse{Revision: p.Revision, Changes: make([]*mcrv1.Change, 0, len(p.Changes))}
	for _, c := range p.Changes {
		resp.Changes = append(resp.Changes, &mcrv1.Change{Path: c.Path, Old: c.Old, New: c.New})
	}
	return resp, nil
}

func refuse(code config.Code, format string, args ...any) error {
	return &config.Error{Faults: []config.Fault{{Op: -1, Code: code, Reason: fmt.Sprintf(format, args...)}}}
}
