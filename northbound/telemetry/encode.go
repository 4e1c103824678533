// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"encoding/json"
	"strconv"
	"strings"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
)

// Encoding is a form of values.
type Encoding uint8

// Encodings. EncodingAlias is RFC 7951 with the names of Schema.SetAlias.
const (
	EncodingJSON Encoding = iota
	EncodingIETF
	EncodingProto
	EncodingAlias
	encodings
)

// Typed returns the value of a leaf as gNMI carries it.
func (n *Node) Typed(enc Encoding, v Value) *gpb.TypedValue {
	switch enc {
	case EncodingJSON:
		return &gpb.TypedValue{Value: &gpb.TypedValue_JsonVal{JsonVal: n.appendValue(nil, enc, v)}}
	case EncodingProto:
		return protoValue(v)
	default:
		return &gpb.TypedValue{Value: &gpb.TypedValue_JsonIetfVal{JsonIetfVal: n.appendValue(nil, enc, v)}}
	}
}

func protoValue(v Value) *gpb.TypedValue {
	switch v.Kind {
	case KindBool:
		return &gpb.TypedValue{Value: &gpb.TypedValue_BoolVal{BoolVal: v.Num != 0}}
	case KindUint:
		return &gpb.TypedValue{Value: &gpb.TypedValue_UintVal{UintVal: v.Num}}
	case KindInt:
		return &gpb.TypedValue{Value: &gpb.TypedValue_IntVal{IntVal: int64(v.Num)}}
	case KindStrings, KindUints:
		list := &gpb.ScalarArray{}
		for _, s := range v.Strs() {
			list.Element = append(list.Element, protoValue(String(s)))
		}
		for _, n := range v.Nums() {
			list.Element = append(list.Element, protoValue(Uint(n)))
		}
		return &gpb.TypedValue{Value: &gpb.TypedValue_LeaflistVal{LeaflistVal: list}}
	}
	return &gpb.TypedValue{Value: &gpb.TypedValue_StringVal{StringVal: strings.ToValidUTF8(v.Str, "\uFFFD")}}
}

// appendValue appends the JSON of a leaf.
func (n *Node) appendValue(b []byte, enc Encoding, v Value) []byte {
	quote := n.bits == 64 && enc != EncodingJSON
	number := func(b []byte, num uint64, signed bool) []byte {
		if quote {
			b = append(b, '"')
		}
		if signed {
			b = strconv.AppendInt(b, int64(num), 10)
		} else {
			b = strconv.AppendUint(b, num, 10)
		}
		if quote {
			b = append(b, '"')
		}
		return b
	}
	switch v.Kind {
	case KindBool:
		return strconv.AppendBool(b, v.Num != 0)
	case KindUint, KindInt:
		return number(b, v.Num, v.Kind == KindInt)
	case KindString:
		return appendString(b, n.text(enc, v.Str))
	}
	b = append(b, '[')
	for i, str := range v.Strs() {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, n.text(enc, str))
	}
	for i, num := range v.Nums() {
		if i > 0 {
			b = append(b, ',')
		}
		b = number(b, num, false)
	}
	return append(b, ']')
}

// text puts the module before an identity, where the encoding has it.
func (n *Node) text(enc Encoding, text string) string {
	mod := n.identities[text]
	if mod == "" || enc == EncodingJSON {
		return text
	}
	if other, ok := n.otherNames[text]; ok && enc == EncodingAlias {
		return other
	}
	return mod + ":" + text
}

// module returns the name of the node's module in an encoding.
func (n *Node) module(enc Encoding) string {
	if enc == EncodingAlias && n.alias != "" {
		return n.alias
	}
	return n.Module
}

func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			var sb strings.Builder
			enc := json.NewEncoder(&sb)
			enc.SetEscapeHTML(false)
			_ = enc.Encode(s) // a string always encodes
			return append(b, strings.TrimSuffix(sb.String(), "\n")...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
