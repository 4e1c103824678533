// SPDX-License-Identifier: Apache-2.0

package interop_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-cmp/cmp"
	gpb "github.com/openconfig/gnmi/proto/gnmi"
)

// leaves are values by path, as text.
type leaves map[string]string

// value is the text of a value; JSON stays JSON.
func value(v *gpb.TypedValue) string {
	switch v := v.GetValue().(type) {
	case *gpb.TypedValue_StringVal:
		return v.StringVal
	case *gpb.TypedValue_UintVal:
		return strconv.FormatUint(v.UintVal, 10)
	case *gpb.TypedValue_IntVal:
		return strconv.FormatInt(v.IntVal, 10)
	case *gpb.TypedValue_BoolVal:
		return strconv.FormatBool(v.BoolVal)
	case *gpb.TypedValue_JsonVal:
		return string(v.JsonVal)
	case *gpb.TypedValue_JsonIetfVal:
		return string(v.JsonIetfVal)
	case *gpb.TypedValue_LeaflistVal:
		var all []string
		for _, e := range v.LeaflistVal.GetElement() {
			all = append(all, value(e))
		}
		return "[" + strings.Join(all, " ") + "]"
	}
	return fmt.Sprint(v)
}

// apply does to the leaves what a notification says.
func (l leaves) apply(n *gpb.Notification) {
	for _, p := range n.GetDelete() {
		gone := text(n.GetPrefix(), p)
		maps.DeleteFunc(l, func(k, _ string) bool { return k == gone || strings.HasPrefix(k, gone+"/") })
	}
	for _, u := range n.GetUpdate() {
		l[text(n.GetPrefix(), u.GetPath())] = value(u.GetVal())
	}
}

// sampled says whether a leaf moves by itself.
func sampled(p string) bool {
	name := p[strings.LastIndex(p, "/")+1:]
	return strings.Contains(p, "/counters/") || strings.HasPrefix(p, "/mcr/system/process/") || strings.HasSuffix(name, "expires") ||
		slices.Contains([]string{"last-packet-time", "last-error-time", "current-time", "residence-p50", "residence-p99"}, name)
}

// events are the leaves that do not move by themselves.
func (l leaves) events() leaves {
	out := maps.Clone(l)
	maps.DeleteFunc(out, func(k, _ string) bool { return sampled(k) })
	return out
}

// named are the leaves of this name.
func (l leaves) named(name string) leaves {
	out := maps.Clone(l)
	maps.DeleteFunc(out, func(k, _ string) bool { return !strings.HasSuffix(k, "/"+name) })
	return out
}

func (l leaves) paths() []string { return slices.Sorted(maps.Keys(l)) }

// all reads every leaf below the paths with PROTO.
func (c *client) all(ps ...string) leaves {
	c.t.Helper()
	return c.read(&gpb.GetRequest{Path: paths(ps...)})
}

// read is a Get with PROTO; a path without data gives nothing.
func (c *client) read(r *gpb.GetRequest) leaves {
	c.t.Helper()
	r.Encoding = gpb.Encoding_PROTO
	out := leaves{}
	for _, n := range c.get(r).GetNotification() {
		out.apply(n)
	}
	return out
}

// same demands equal leaves, those aside that move by themselves.
func (c *client) same(want, got leaves) {
	c.t.Helper()
	if diff := cmp.Diff(want.events(), got.events()); diff != "" {
		c.t.Errorf("(-want +got):\n%s", diff)
	}
}
