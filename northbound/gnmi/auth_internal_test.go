// SPDX-License-Identifier: Apache-2.0

package gnmi

import (
	"errors"
	"net"
	"testing"

	gpb "github.com/openconfig/gnmi/proto/gnmi"

	"mcr/northbound/access"
	"mcr/northbound/telemetry"
)

func TestNobodyMayDoNothing(t *testing.T) {
	c := client{rights: &access.Rights{}}
	if err := c.mayWrite([]*gpb.PathElem{}); !errors.Is(err, errPermission) {
		t.Errorf("write: %v", err)
	}
	if err := c.mayRead(&telemetry.Pattern{}); !errors.Is(err, errPermission) {
		t.Errorf("read something: %v", err)
	}
	if err := c.mayReadAll(); !errors.Is(err, errPermission) {
		t.Errorf("read all: %v", err)
	}
}

func TestTCPConnectionOfACaller(t *testing.T) {
	c := &net.TCPConn{}
	if (client{raw: c}).tcp() != c || (client{raw: &net.UnixConn{}}).tcp() != nil || (client{}).tcp() != nil {
		t.Error("wrong connection")
	}
}
