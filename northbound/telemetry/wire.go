// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"strings"
	"unicode/utf8"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Message is a gnmi.SubscribeResponse in its wire form. A sample of ten thousand outputs has a quarter of a million leaves a
// second, each with a path of ten elements: as Go structs they cost twenty times as much. It is immutable.
type Message struct{ buf mem.Buffer }

// Wire returns the message as protobuf. It must not be written to.
func (m *Message) Wire() []byte { return m.buf.ReadOnlyData() }

// Buffer returns the message as protobuf, to be freed once, when it has been sent: memory of the pool is then used for another, so that
// nothing may be asked of the Message any more. One that is never freed is left to the collector.
func (m *Message) Buffer() mem.Buffer { return m.buf }

// pool has the memory of messages that have been sent. Samples have some 60 kB, and none more than maxBytes and a leaf.
var pool = mem.NewTieredBufferPool(4<<10, 32<<10, 128<<10, maxBytes+128<<10)

// Tags of gnmi.proto 0.10: field number and wire type.
const (
	tagResponseUpdate = 1<<3 | byte(protowire.BytesType)

	tagTimestamp = 1<<3 | byte(protowire.VarintType)
	tagPrefix    = 2<<3 | byte(protowire.BytesType)
	tagUpdate    = 4<<3 | byte(protowire.BytesType)
	tagDelete    = 5<<3 | byte(protowire.BytesType)

	tagPath       = 1<<3 | byte(protowire.BytesType)
	tagVal        = 3<<3 | byte(protowire.BytesType)
	tagDuplicates = 4<<3 | byte(protowire.VarintType)

	tagElem = 3<<3 | byte(protowire.BytesType)
	tagName = 1<<3 | byte(protowire.BytesType)
	tagKey  = 2<<3 | byte(protowire.BytesType)

	tagMapKey   = 1<<3 | byte(protowire.BytesType)
	tagMapValue = 2<<3 | byte(protowire.BytesType)

	tagString   = 1<<3 | byte(protowire.BytesType)
	tagInt      = 2<<3 | byte(protowire.VarintType)
	tagUint     = 3<<3 | byte(protowire.VarintType)
	tagBool     = 4<<3 | byte(protowire.VarintType)
	tagLeafList = 8<<3 | byte(protowire.BytesType)
	tagJSON     = 10<<3 | byte(protowire.BytesType)
	tagJSONIETF = 11<<3 | byte(protowire.BytesType)

	tagElement = 1<<3 | byte(protowire.BytesType)
)

// encode makes a message of a response that is not sent often.
func encode(m *gpb.SubscribeResponse) *Message {
	b, err := proto.Marshal(m)
	if err != nil { // our own text, always UTF-8
		panic(err)
	}
	return &Message{mem.SliceBuffer(b)}
}

func appendText(b []byte, tag byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	b = protowire.AppendVarint(append(b, tag), uint64(len(s)))
	return append(b, s...)
}

func appendBytes(b []byte, tag byte, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	b = protowire.AppendVarint(append(b, tag), uint64(n))
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// appendElems appends the elements of a gnmi.Path.
func appendElems(b []byte, p []Elem) []byte {
	var room, pair [128]byte
	for i := range p {
		e := appendText(room[:0], tagName, p[i].Name)
		for _, k := range p[i].Keys {
			e = appendBytes(e, tagKey, appendText(appendText(pair[:0], tagMapKey, k.Name), tagMapValue, k.Value))
		}
		b = appendBytes(b, tagElem, e)
	}
	return b
}

// appendTyped appends a gnmi.TypedValue.
func (n *Node) appendTyped(b []byte, enc Encoding, v *Value) []byte {
	switch enc {
	case EncodingProto:
		return appendScalar(b, v)
	case EncodingJSON:
		b = append(b, tagJSON)
	default:
		b = append(b, tagJSONIETF)
	}
	at := len(b)
	b = n.appendValue(append(b, 0), enc, *v)
	size := len(b) - at - 1
	if size < 1<<7 { // one byte, as is there
		b[at] = byte(size)
		return b
	}
	extra := protowire.SizeVarint(uint64(size)) - 1
	b = append(b, make([]byte, extra)...)
	copy(b[at+1+extra:], b[at+1:])
	protowire.AppendVarint(b[:at], uint64(size))
	return b
}

func appendScalar(b []byte, v *Value) []byte {
	switch v.Kind {
	case KindBool:
		return protowire.AppendVarint(append(b, tagBool), v.Num)
	case KindUint:
		return protowire.AppendVarint(append(b, tagUint), v.Num)
	case KindInt:
		return protowire.AppendVarint(append(b, tagInt), v.Num)
	case KindStrings, KindUints:
		var list []byte
		for _, s := range v.Strs() {
			list = appendBytes(list, tagElement, appendText(nil, tagString, s))
		}
		for _, n := range v.Nums() {
			list = appendBytes(list, tagElement, protowire.AppendVarint([]byte{tagUint}, n))
		}
		return appendBytes(b, tagLeafList, list)
	}
	return appendText(b, tagString, v.Str)
}

// notification collects the updates and deletes of one message. What it has room for is used again for the next.
type notification struct {
	enc    Encoding
	prefix []byte // of a Notification, with its tag; empty: none

	time  int64
	count int
	body  []byte

	it    *item
	elems []byte // of the item's path
	val   []byte
}

func newNotification(enc Encoding, prefix *gpb.Path) *notification {
	n := &notification{enc: enc}
	if prefix != nil {
		b, err := proto.Marshal(prefix)
		if err == nil { // it came over the wire, so it is UTF-8
			n.prefix = appendBytes(nil, tagPrefix, b)
		}
	}
	return n
}

// leaf adds an update.
func (n *notification) leaf(it *item, ref *leafRef, v *Value) {
	if n.it != it {
		n.it, n.elems = it, appendElems(n.elems[:0], it.path)
	}
	n.val = ref.node.appendTyped(n.val[:0], n.enc, v)
	path, val := len(n.elems)+len(ref.wire), len(n.val)
	b := append(n.body, tagUpdate)
	b = protowire.AppendVarint(b, uint64(2+protowire.SizeVarint(uint64(path))+path+protowire.SizeVarint(uint64(val))+val))
	b = protowire.AppendVarint(append(b, tagPath), uint64(path))
	b = append(append(b, n.elems...), ref.wire...)
	b = protowire.AppendVarint(append(b, tagVal), uint64(val))
	n.body = append(b, n.val...)
	n.count++
}

// update adds an update whose path and value are encoded already.
func (n *notification) update(pathAndVal []byte, duplicates uint32) {
	var room [8]byte
	dups := room[:0]
	if duplicates > 0 {
		dups = protowire.AppendVarint(append(dups, tagDuplicates), uint64(duplicates))
	}
	n.body = appendBytes(n.body, tagUpdate, pathAndVal, dups)
	n.count++
}

// remove adds a delete whose path elements are encoded already.
func (n *notification) remove(elems []byte) {
	n.body = appendBytes(n.body, tagDelete, elems)
	n.count++
}

// message returns what was collected, and begins anew; nil: nothing was.
func (n *notification) message() *Message {
	if n.count == 0 {
		return nil
	}
	size := 1 + protowire.SizeVarint(uint64(n.time)) + len(n.prefix) + len(n.body)
	room := pool.Get(1 + protowire.SizeVarint(uint64(size)) + size)
	b := (*room)[:0]
	b = protowire.AppendVarint(append(b, tagResponseUpdate), uint64(size))
	b = protowire.AppendVarint(append(b, tagTimestamp), uint64(n.time))
	*room = append(append(b, n.prefix...), n.body...)
	n.count, n.body = 0, n.body[:0]
	return &Message{mem.NewBuffer(room, pool)}
}
