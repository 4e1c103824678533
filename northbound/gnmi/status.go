// SPDX-License-Identifier: Apache-2.0

package gnmi

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mcr/northbound/access"
	"mcr/northbound/config"
	"mcr/northbound/telemetry"
)

// Conditions of a request, wrapped by refusals. toStatus turns them into codes.
var (
	errInvalid       = errors.New("invalid argument")
	errNotFound      = errors.New("not found")
	errUnimplemented = errors.New("not implemented")
	errLimit         = errors.New("limit reached")
	errStopping      = errors.New("the server is stopping")
	errStarting      = errors.New("the server is starting: call again in a moment")
	errSlow          = errors.New("the client does not read")
	errPermission    = errors.New("permission denied")
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

// A status travels in the trailer, and what exceeds a client's bound for headers costs it the connection, not the RPC alone:
// gRPC's C core takes 8 KiB in all, grpc-go 16 MiB. Paths and values that a client sent may be of any length.
const (
	maxFault   = 300  // bytes of one fault's text
	maxMessage = 1200 // of a message
	maxDetails = 2800 // of the details, which repeat the message and grow by a third on the way
)

// newStatus makes a status whose message is not too long.
func newStatus(code codes.Code, text string) *status.Status {
	return status.New(code, clip(text, maxMessage))
}

// clip cuts a text that is longer than n bytes.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}

// toStatus gives an error its gRPC status. It is the only place that chooses codes. nil stays nil.
func toStatus(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*telemetry.PathError](err); ok {
		return newStatus(codes.InvalidArgument, err.Error()).Err()
	}
	if _, ok := errors.AsType[*telemetry.UnimplementedError](err); ok {
		return newStatus(codes.Unimplemented, err.Error()).Err()
	}
	if e, ok := errors.AsType[*config.Error](err); ok && len(e.Faults) > 0 {
		return refusedSet(e)
	}
	if _, ok := errors.AsType[*panicked](err); ok {
		return newStatus(codes.Internal, err.Error()).Err()
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
		{errStarting, codes.Unavailable},
		{errSlow, codes.DeadlineExceeded},
		{telemetry.ErrSlow, codes.DeadlineExceeded},
		{errPermission, codes.PermissionDenied},
		{access.ErrCredentials, codes.Unauthenticated},
		{access.ErrLimit, codes.ResourceExhausted},
		{access.ErrBusy, codes.Unavailable},
		{context.DeadlineExceeded, codes.DeadlineExceeded},
		{context.Canceled, codes.Canceled},
	} {
		if errors.Is(err, c.cause) {
			return newStatus(c.code, err.Error()).Err()
		}
	}
	if s, ok := status.FromError(err); ok { // gRPC's own, such as a broken stream
		return s.Err()
	}
	return newStatus(codes.Internal, err.Error()).Err()
}

// codeOf is the code of a fault of the store.
func codeOf(c config.Code) codes.Code {
	switch c {
	case config.Invalid:
		return codes.InvalidArgument
	case config.NotFound:
		return codes.NotFound
	case config.Unimplemented:
		return codes.Unimplemented
	case config.AlreadyExists:
		return codes.AlreadyExists
	case config.Refused:
		return codes.Aborted
	case config.NotReady:
		return codes.Unavailable
	case config.Precondition:
		return codes.FailedPrecondition
	}
	return codes.Internal
}

// maxShown bounds the faults in the message; the details have as many as fit.
const maxShown = 5

// refusedSet is the status of a Set: the code of the first fault, the faults as text, and each as a detail.
func refusedSet(e *config.Error) error {
	var texts []string
	bad, size := &errdetails.BadRequest{}, 0
	for i, f := range e.Faults {
		if i < maxShown {
			texts = append(texts, clip(f.String(), maxFault))
		}
		field := f.Path
		if f.Op >= 0 {
			field = strings.TrimSpace(fmt.Sprintf("%v[%d] %s", f.Kind, f.Op, f.Path))
		}
		v := &errdetails.BadRequest_FieldViolation{Field: clip(field, maxFault), Description: clip(f.Reason, maxFault)}
		if size += len(v.Field) + len(v.Description) + 8; size <= maxDetails {
			bad.FieldViolations = append(bad.FieldViolations, v)
		}
	}
	if more := len(e.Faults) - maxShown; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	st := newStatus(codeOf(e.Faults[0].Code), strings.Join(texts, "; "))
	if with, err := st.WithDetails(bad); err == nil {
		st = with
	}
	return st.Err()
}
