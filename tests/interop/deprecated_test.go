// SPDX-License-Identifier: Apache-2.0

//lint:file-ignore SA1019 what is deprecated is sent to see what becomes of it

package interop_test

import (
	gpb "github.com/openconfig/gnmi/proto/gnmi"
	oldreflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
)

// oldPath is a path as it was before gNMI 0.4 (G26, G49).
func oldPath(elements ...string) *gpb.Path {
	return &gpb.Path{Element: elements} //nolint:staticcheck // see above
}

// oldUpdate has its value in the field of before gNMI 0.4 (G49).
func oldUpdate(p, json string) *gpb.Update {
	return &gpb.Update{Path: path(p), Value: &gpb.Value{Value: []byte(json), Type: gpb.Encoding_JSON}} //nolint:staticcheck // see above
}

// oldReflection is the answer of the first version of reflection, which gRPC's tools still ask (G05).
func (c *client) oldReflection() string {
	c.t.Helper()
	call, err := oldreflectionpb.NewServerReflectionClient(c.tg.conn).ServerReflectionInfo(c.ctx())
	c.must(err)
	c.must(call.Send(&oldreflectionpb.ServerReflectionRequest{MessageRequest: &oldreflectionpb.ServerReflectionRequest_ListServices{}}))
	answer, err := call.Recv()
	c.must(err)
	return answer.String()
}
