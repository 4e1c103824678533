// SPDX-License-Identifier: Apache-2.0

package gnmi

import (
	"context"
	"fmt"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
)

// Store is what a Set needs of the configuration store.
type Store interface {
	// Set applies the operations in order, all or none. It returns after the result is durable and handed on. A refusal is
	// a *SetError.
	Set(ctx context.Context, r SetRequest) (SetResult, error)
}

// OpKind is what an operation does.
type OpKind uint8

// Kinds of operations, in the order in which one request does them.
const (
	OpDelete OpKind = iota + 1
	OpReplace
	OpUpdate
)

func (k OpKind) String() string {
	switch k {
	case OpDelete:
		return "delete"
	case OpReplace:
		return "replace"
	case OpUpdate:
		return "update"
	}
	return fmt.Sprintf("operation %d", uint8(k))
}

// Op is one operation of a Set.
type Op struct {
	Kind  OpKind
	Index int             // in its list of the request
	Path  *gpb.Path       // absolute; nil with CLI
	Value *gpb.TypedValue // nil for a delete
	CLI   bool            // Value is the text of a start-up file
}

// SetRequest is one transaction.
type SetRequest struct {
	Ops     []Op
	User    string
	Address string
}

// SetResult is what a transaction led to.
type SetResult struct {
	Revision uint64
	Time     time.Time
}

// Reason classes of a Fault.
type FaultCode uint8

// Fault codes.
const (
	FaultInvalid  FaultCode = iota // bad value, key, type, or read-only
	FaultNotFound                  // no such node in the schema
	FaultUnimplemented
	FaultExists       // an input that another rule has
	FaultPrecondition // a commit is pending
	FaultExhausted    // a limit
	FaultAborted      // valid, but the system refuses it; rolled back
	FaultStopping
	FaultInternal // disk
)

// Fault is one reason why a Set was refused.
type Fault struct {
	Op     int // index into SetRequest.Ops; -1: the configuration as a whole
	Path   string
	Code   FaultCode
	Reason string
}

// SetError is a refused Set, with every fault that was found.
type SetError struct{ Faults []Fault }

func (e *SetError) Error() string {
	if len(e.Faults) == 0 {
		return "refused"
	}
	return e.Faults[0].Path + ": " + e.Faults[0].Reason
}
