// SPDX-License-Identifier: Apache-2.0

package gnmi

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcencoding "google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// A field of two bytes on the wire is a hundred in memory: 64 MiB of empty updates would take gigabytes. So the messages inside
// a large message are counted before any of them is made.
const (
	maxParts  = 1 << 20  // messages within one
	smallPart = 64 << 10 // bytes of a message that is not looked at: it cannot hold enough of them to matter
	maxNested = 32       // levels that are looked at; leaf-lists of leaf-lists alone go deeper, and the decoder has its own bound
)

// codec is gRPC's, with that bound.
type codec struct{ grpcencoding.CodecV2 }

func newCodec() grpcencoding.CodecV2 { return codec{grpcencoding.GetCodecV2(protocodec.Name)} }

// Unmarshal makes a message. gRPC wraps its error into a status Internal; see malformed.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(proto.Message)
	if !ok || data.Len() < smallPart {
		return c.CodecV2.Unmarshal(data, v)
	}
	buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buf.Free()
	if n := countParts(buf.ReadOnlyData(), m.ProtoReflect().Descriptor(), maxParts, maxNested); n > maxParts {
		return errParts
	}
	return proto.Unmarshal(buf.ReadOnlyData(), m)
}

// errParts reaches toStatus as text alone.
var errParts = fmt.Errorf("more than %d parts in one message", maxParts)

// countParts counts the messages within a message, up to a little more than most. What is wrong with the bytes is left to the
// decoder.
func countParts(b []byte, d protoreflect.MessageDescriptor, most, levels int) int {
	n := 0
	for len(b) > 0 && n <= most && levels > 0 {
		num, typ, size := protowire.ConsumeTag(b)
		if size < 0 {
			return n
		}
		b = b[size:]
		if size = protowire.ConsumeFieldValue(num, typ, b); size < 0 {
			return n
		}
		field := d.Fields().ByNumber(num)
		if typ == protowire.BytesType && field != nil {
			switch {
			case field.Message() != nil:
				inner, _ := protowire.ConsumeBytes(b)
				n += 1 + countParts(inner, field.Message(), most-n, levels-1)
			case field.IsList():
				n++
			}
		}
		b = b[size:]
	}
	return n
}

// malformed turns gRPC's status for bytes that are no message of the kind, such as invalid UTF-8, into a refusal: it is the
// client's mistake, and not an internal error of ours. Other errors stay as they are.
func malformed(err error) error {
	st, ok := status.FromError(err)
	if !ok || st.Code() != codes.Internal || !strings.Contains(st.Message(), "unmarshal") {
		return err
	}
	if strings.Contains(st.Message(), errParts.Error()) {
		return refuse(errLimit, "%v", errParts)
	}
	_, text, _ := strings.Cut(st.Message(), "message: ")
	return refuse(errInvalid, "the message cannot be read: %s", text)
}

// registrar registers services whose unary calls answer a malformed message as streams do.
type registrar struct {
	grpc.ServiceRegistrar
	refused func(method string, err error) // is told of it, since no interceptor is
}

func (r registrar) RegisterService(desc *grpc.ServiceDesc, impl any) {
	d := *desc
	d.Methods = slices.Clone(desc.Methods)
	for i := range d.Methods {
		handler, method := d.Methods[i].Handler, "/"+d.ServiceName+"/"+d.Methods[i].MethodName
		d.Methods[i].Handler = func(srv any, ctx context.Context, dec func(any) error, icpt grpc.UnaryServerInterceptor) (any, error) {
			return handler(srv, ctx, func(v any) error {
				err := dec(v)
				if err != nil {
					err = toStatus(malformed(err))
					r.refused(method, err)
				}
				return err
			}, icpt)
		}
	}
	r.ServiceRegistrar.RegisterService(&d, impl)
}
