// SPDX-License-Identifier: Apache-2.0

package gnmi

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mcr/northbound/telemetry"
)

// Conditions of a request, wrapped by refusals. toStatus turns them into codes.
var (
	errInvalid       = errors.New("invalid argument")
	errNotFound      = errors.New("not found")
	errUnimplemented = errors.New("not implemented")
	errLimit         = errors.New("limit reached")
	errStopping      = errors.New("the server is stopping")
	errSlow          = errors.New("the client does not read")
)

// refusal is a request that is not taken: the condition and a text for the client.
type refusal struct {
	cause error
	text  string
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.cause }

func refuse(cause error, format string, args ...any) error {
	return &refusal{cause: cause, text: fmt.Sprintf(format, args...)}
}

// panicked is a fault in MCR; the id is in the log.
type panicked struct{ id string }

func (p *panicked) Error() string { return "internal error, id " + p.id + " in the log" }

// toStatus gives an error its gRPC status. It is the only place that chooses codes. nil stays nil.
func toStatus(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*telemetry.PathError](err); ok {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	if e, ok := errors.AsType[*opError](err); ok {
		return e.status()
	}
	if _, ok := errors.AsType[*panicked](err); ok {
		return status.Error(codes.Internal, err.Error())
	}
	for _, c := range []struct {
		cause error
		code  codes.Code
	}{
		{errInvalid, codes.InvalidArgument},
		{errNotFound, codes.NotFound},
		{errUnimplemented, codes.Unimplemented},
		{errLimit, codes.ResourceExhausted},
		{errStopping, codes.Unavailable},
		{errSlow, codes.DeadlineExceeded},
		{context.DeadlineExceeded, codes.DeadlineExceeded},
		{context.Canceled, codes.Canceled},
	} {
		if errors.Is(err, c.cause) {
			return status.Error(c.code, err.Error())
		}
	}
	if s, ok := status.FromError(err); ok { // gRPC's own, such as a broken stream
		return s.Err()
	}
	return status.Error(codes.Internal, err.Error())
}

// code is the code of a fault of the store.
func (c FaultCode) code() codes.Code {
	switch c {
	case FaultInvalid:
		return codes.InvalidArgument
	case FaultNotFound:
		return codes.NotFound
	case FaultUnimplemented:
		return codes.Unimplemented
	case FaultExists:
		return codes.AlreadyExists
	case FaultPrecondition:
		return codes.FailedPrecondition
	case FaultExhausted:
		return codes.ResourceExhausted
	case FaultAborted:
		return codes.Aborted
	case FaultStopping:
		return codes.Unavailable
	}
	return codes.Internal
}

// opError is a refused Set: faults with the names of their operations.
type opError struct{ faults []opFault }

// opFault is one fault: "update[3] /path: reason".
type opFault struct {
	op, path, reason string
	code             codes.Code
}

func (f opFault) String() string {
	return strings.TrimPrefix(strings.TrimPrefix(f.op+" "+f.path, " ")+": "+f.reason, ": ")
}

// maxShown bounds the faults in the message; the details have all.
const maxShown = 5

func (e *opError) Error() string {
	var texts []string
	for i, f := range e.faults {
		if i == maxShown {
			texts = append(texts, fmt.Sprintf("and %d more", len(e.faults)-i))
			break
		}
		texts = append(texts, f.String())
	}
	return strings.Join(texts, "; ")
}

func (e *opError) status() error {
	st := status.New(e.faults[0].code, e.Error())
	bad := &errdetails.BadRequest{}
	for _, f := range e.faults {
		bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{
			Field: strings.TrimSpace(f.op + " " + f.path), Description: f.reason,
		})
	}
	if with, err := st.WithDetails(bad); err == nil {
		st = with
	}
	return st.Err()
}
