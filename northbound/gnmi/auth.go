// SPDX-License-Identifier: Apache-2.0

package gnmi

import (
	"context"

	gpb "github.com/openconfig/gnmi/proto/gnmi"

	"mcr/northbound/access"
	"mcr/northbound/telemetry"
)

// client is who calls.
type client struct {
	user    string
	address string // address and port, or "unix"
	pid     int32  // at the other end of a unix socket

	rights *access.Rights
	schema *telemetry.Schema
}

// mayWrite says whether the client may change all that a path can match, and all below. The error is a refusal with the path.
// nil elements are the root.
func (c client) mayWrite(elems []*gpb.PathElem) error {
	if all, _ := c.rights.Allows(nil, access.Write); all {
		return nil
	}
	if all, some := c.rights.Allows(c.known(elems), access.Write); all {
		return nil
	} else if some {
		return refuse(errPermission, "%s: user %q may not write all that is in it: use a narrower path", telemetry.FormatElems(elems), c.user)
	}
	return refuse(errPermission, "%s: user %q may not write there", telemetry.FormatElems(elems), c.user)
}

// known returns the canonical path of as many elements as the schema knows. What is not known is refused later and by its own
// name, if the client may do all where it seems to be.
func (c client) known(elems []*gpb.PathElem) telemetry.Path {
	for n := min(len(elems), maxKnown); n > 0; n-- {
		if p, err := c.schema.Resolve(elems[:n]); err == nil {
			return p.Path()
		}
	}
	return nil
}

// maxKnown bounds the elements that are looked at; the schema is far less deep.
const maxKnown = 64

// mayRead says whether the client may read anything of what a pattern can match.
func (c client) mayRead(p *telemetry.Pattern) error {
	if _, some := c.rights.Allows(p.Path(), access.Read); !some {
		return refuse(errPermission, "%s: user %q may not read it", p, c.user)
	}
	return nil
}

// mayReadAll says whether the client may read everything.
func (c client) mayReadAll() error {
	if all, _ := c.rights.Allows(nil, access.Read); !all {
		return refuse(errPermission, "user %q may not read everything", c.user)
	}
	return nil
}

// caller returns who calls.
func caller(ctx context.Context) client {
	c := peerOf(ctx)
	c.rights = access.Everything()
	return c
}
