// SPDX-License-Identifier: Apache-2.0

package gnmi

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	grpcencoding "google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"mcr/northbound/telemetry"
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

// received takes a message from the codec, and why there is none: an error of the codec itself goes to the client as Internal
// before anybody here sees it, and bytes that are no message of the kind, such as invalid UTF-8, are the client's mistake.
type received struct {
	msg any
	err error
}

// Marshal takes the messages of subscriptions as they are.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if m, ok := v.(*telemetry.Message); ok {
		return mem.BufferSlice{m.Buffer()}, nil
	}
	return c.CodecV2.Marshal(v)
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	r, ok := v.(*received)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	m, ok := r.msg.(proto.Message)
	if !ok || data.Len() < smallPart {
		r.err = c.CodecV2.Unmarshal(data, r.msg)
	} else {
		buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
		defer buf.Free()
		if n := countParts(buf.ReadOnlyData(), m.ProtoReflect().Descriptor(), maxParts, maxNested); n > maxParts {
			r.err = refuse(errLimit, "more than %d parts in one message", maxParts)
			return nil
		}
		r.err = proto.Unmarshal(buf.ReadOnlyData(), m)
	}
	if r.err != nil {
		r.err = refuse(errInvalid, "the message cannot be read: %v", r.err)
	}
	return nil
}

// receive is recv, such as a stream's RecvMsg, with the codec's errors as they are.
func receive(recv func(any) error, v any) error {
	r := &received{msg: v}
	if err := recv(r); err != nil {
		return err
	}
	return r.err
}

// inbound is a stream that receives so.
type inbound struct{ grpc.ServerStream }

func (s inbound) RecvMsg(v any) error { return receive(s.ServerStream.RecvMsg, v) }

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
				err := receive(dec, v)
				if err != nil {
					err = toStatus(err)
					r.refused(method, err)
				}
				return err
			}, icpt)
		}
	}
	r.ServiceRegistrar.RegisterService(&d, impl)
}
