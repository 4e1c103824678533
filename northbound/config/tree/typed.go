// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"fmt"
	"strconv"

	gpb "github.com/openconfig/gnmi/proto/gnmi"

	"mcr/northbound/config/json5"
)

// FromTyped turns the value of a gNMI operation at path into the form that Update and Replace take. Text is the JSON that
// offsets refer to, if the value is JSON. A fault is returned with the path empty.
func FromTyped(path *gpb.Path, tv *gpb.TypedValue) (v *json5.Value, text []byte, fault *Fault) {
	switch x := tv.GetValue().(type) {
	case *gpb.TypedValue_JsonVal:
		text = x.JsonVal
	case *gpb.TypedValue_JsonIetfVal:
		text = x.JsonIetfVal
	case *gpb.TypedValue_AsciiVal:
		return fromASCII(path, x.AsciiVal), nil, nil
	case *gpb.TypedValue_AnyVal, *gpb.TypedValue_ProtoBytes:
		return nil, nil, &Fault{Code: Unimplemented, Reason: fmt.Sprintf("values of type %s are not supported", valueName(tv)), Pos: -1}
	default:
		if v = scalar(tv); v == nil {
			return nil, nil, &Fault{Reason: fmt.Sprintf("%s fits no leaf", valueName(tv)), Pos: -1}
		}
		return v, nil, nil
	}
	v, err := json5.ParseJSON(text)
	if err != nil {
		e := err.(*json5.SyntaxError)
		return nil, text, &Fault{Reason: "JSON: " + e.Reason, Pos: e.Pos}
	}
	return v, text, nil
}

func valueName(tv *gpb.TypedValue) string {
	if tv.GetValue() == nil {
		return "no value"
	}
	m := tv.ProtoReflect()
	if f := m.WhichOneof(m.Descriptor().Oneofs().ByName("value")); f != nil {
		return string(f.Name())
	}
	return "this value"
}

// scalar returns nil for what is no scalar or fits no type of ours.
func scalar(tv *gpb.TypedValue) *json5.Value {
	switch x := tv.GetValue().(type) {
	case *gpb.TypedValue_StringVal:
		return &json5.Value{Kind: json5.String, Text: x.StringVal, Pos: -1}
	case *gpb.TypedValue_BoolVal:
		return &json5.Value{Kind: json5.Bool, Text: strconv.FormatBool(x.BoolVal), Pos: -1}
	case *gpb.TypedValue_UintVal:
		return &json5.Value{Kind: json5.Number, Text: strconv.FormatUint(x.UintVal, 10), Pos: -1}
	case *gpb.TypedValue_IntVal:
		return &json5.Value{Kind: json5.Number, Text: strconv.FormatInt(x.IntVal, 10), Pos: -1}
	case *gpb.TypedValue_LeaflistVal:
		list := &json5.Value{Kind: json5.Array, Pos: -1}
		for _, el := range x.LeaflistVal.GetElement() {
			v := scalar(el)
			if v == nil || v.Kind == json5.Array {
				return nil
			}
			list.Elems = append(list.Elems, v)
		}
		return list
	}
	return nil
}

// fromASCII gives a bare text the kind that the leaf at path wants.
func fromASCII(path *gpb.Path, s string) *json5.Value {
	v := &json5.Value{Kind: json5.String, Text: s, Pos: -1}
	n := Schema()
	for _, el := range path.GetElem() {
		if n, _ = n.lookup(el.GetName()); n == nil {
			return v
		}
	}
	switch {
	case n.Type == nil:
	case n.Type.ranges != nil:
		v.Kind = json5.Number
	case (s == "true" || s == "false") && n.Type.goType.Kind().String() == "bool":
		v.Kind = json5.Bool
	}
	return v
}
