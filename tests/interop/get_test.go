// SPDX-License-Identifier: Apache-2.0

package interop_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // G58
)

func get(ps ...string) *gpb.GetRequest { return &gpb.GetRequest{Path: paths(ps...)} }

func typed(kind gpb.GetRequest_DataType, ps ...string) *gpb.GetRequest {
	return &gpb.GetRequest{Type: kind, Path: paths(ps...)}
}

func TestGet(t *testing.T) {
	t.Parallel()
	tg := start(t)

	// The shapes of a leaf, a container and a list entry.
	tg.rule(t, "G10", func(c *client) {
		for p, want := range map[string]string{
			r1 + "/config/description": `"first"`, r1 + "/config/input-port": `5000`, r1 + "/config/enabled": `true`,
		} {
			u := c.one(gpb.Encoding_JSON, p)
			if text(nil, u.GetPath()) != p || string(u.GetVal().GetJsonVal()) != want {
				c.t.Errorf("%s: %v, want %s", p, u, want)
			}
		}
		if o, ok := c.json(r1 + "/config").(map[string]any); !ok || len(o) < 4 {
			c.t.Errorf("a container is %v", o)
		}
		if o, ok := c.json(r1).(map[string]any); !ok || member(o, "name") != "r1" {
			c.t.Errorf("a list entry is %v, want its key in it", o)
		}
	})

	// RFC 7951.
	tg.rule(t, "G11", func(c *client) {
		top := c.json("/").(map[string]any)
		for m := range top {
			if !slices.Contains([]string{"mcr:mcr", "mcr-interfaces:interfaces", "mcr-network-instance:network-instances"}, m) {
				c.t.Errorf("top member %q", m)
			}
		}
		if len(top) != 3 {
			c.t.Errorf("members of / are %v", slices.Collect(maps.Keys(top)))
		}
		eachMember(top["mcr:mcr"], func(name string, _ any) {
			if strings.Contains(name, ":") {
				c.t.Errorf("member %q, whose module is that of what it is in", name)
			}
		})
		for m := range c.json(r1).(map[string]any) {
			if !strings.HasPrefix(m, "mcr:") {
				c.t.Errorf("member %q of the answer's object", m)
			}
		}
		if got := c.json(revision); !isString(got) {
			c.t.Errorf("a uint64 is %v, want a string", got)
		}
		if got := c.json(r1 + "/config/input-port"); got != 5000.0 {
			c.t.Errorf("a uint16 is %v, want a number", got)
		}
		if got := c.json(pim + "/config/identifier"); got != "mcr-types:PIM" {
			c.t.Errorf("an identityref is %v", got)
		}
	})

	// Plain JSON.
	tg.rule(t, "G12", func(c *client) {
		n := 0
		for _, u := range c.get(get("/", r1, revision)).GetNotification() {
			if u.GetUpdate()[0].GetVal().GetJsonVal() == nil {
				c.t.Fatalf("not JSON: %v", u)
			}
			eachMember(decode(c.t, u.GetUpdate()[0].GetVal().GetJsonVal()), func(name string, _ any) {
				n++
				if strings.Contains(name, ":") {
					c.t.Errorf("member %q", name)
				}
			})
		}
		if n < 50 {
			c.t.Errorf("looked at %d members only", n)
		}
	})

	// PROTO: a scalar of its leaf's kind each.
	tg.rule(t, "G13", func(c *client) {
		for p, want := range map[string]*gpb.TypedValue{
			r1 + "/config/description": str("first"),
			r1 + "/config/input-port":  number(5000),
			r1 + "/config/enabled":     {Value: &gpb.TypedValue_BoolVal{BoolVal: true}},
			r1 + "/config/input-group": str("239.1.1.1"),
			pim + "/config/identifier": str("PIM"),
		} {
			got := c.one(gpb.Encoding_PROTO, p).GetVal()
			if got.String() != want.String() && !(strings.HasSuffix(got.GetStringVal(), ":PIM") && want.GetStringVal() == "PIM") {
				c.t.Errorf("%s: %v, want %v", p, got, want)
			}
		}
		if got := c.one(gpb.Encoding_PROTO, "/mcr/dataplane/state/features").GetVal().GetLeaflistVal(); len(got.GetElement()) == 0 {
			c.t.Errorf("a leaf-list is %v", got)
		}
		for _, u := range c.get(&gpb.GetRequest{Encoding: gpb.Encoding_PROTO, Path: paths(r1)}).GetNotification()[0].GetUpdate() {
			switch u.GetVal().GetValue().(type) {
			case *gpb.TypedValue_StringVal, *gpb.TypedValue_UintVal, *gpb.TypedValue_BoolVal, *gpb.TypedValue_LeaflistVal:
			default:
				c.t.Errorf("no scalar: %v", u)
			}
		}
	})

	// No encoding is JSON.
	tg.rule(t, "G14", func(c *client) {
		if got := c.get(get(r1 + "/config/name")).GetNotification()[0].GetUpdate()[0].GetVal(); string(got.GetJsonVal()) != `"r1"` {
			c.t.Errorf("got %v", got)
		}
	})

	// A notification a path, in order, of one moment.
	tg.rule(t, "G15", func(c *client) {
		before := time.Now().UnixNano()
		all := c.get(get(r2+"/config/name", r1+"/config/name", r2+"/config/name")).GetNotification()
		var got []string
		for _, n := range all {
			got = append(got, string(n.GetUpdate()[0].GetVal().GetJsonVal()))
			if n.GetTimestamp() != all[0].GetTimestamp() {
				c.t.Errorf("timestamps %d and %d in one answer", n.GetTimestamp(), all[0].GetTimestamp())
			}
		}
		if !slices.Equal(got, []string{`"r2"`, `"r1"`, `"r2"`}) {
			c.t.Errorf("got %v", got)
		}
		if at := all[0].GetTimestamp(); at < before || at > time.Now().UnixNano() {
			c.t.Errorf("timestamp %d is not that of the answer", at)
		}
	})

	// The types divide the tree.
	tg.rule(t, "G16", func(c *client) {
		all := c.all(rules)
		config, state := c.read(typed(gpb.GetRequest_CONFIG, rules)), c.read(typed(gpb.GetRequest_STATE, rules))
		key := func(p string) bool { return !strings.Contains(p, "/config/") && !strings.Contains(p, "/state/") }
		for p := range config {
			if strings.Contains(p, "/state/") {
				c.t.Errorf("CONFIG has %s", p)
			}
		}
		for p := range state {
			if strings.Contains(p, "/config/") {
				c.t.Errorf("STATE has %s", p)
			}
		}
		for p := range all {
			_, isConfig := config[p]
			_, isState := state[p]
			if !key(p) && isConfig == isState {
				c.t.Errorf("%s: CONFIG %t, STATE %t", p, isConfig, isState)
			}
		}
		operational := c.read(typed(gpb.GetRequest_OPERATIONAL, rules))
		for p := range operational {
			if _, ok := state[p]; !ok {
				c.t.Errorf("OPERATIONAL has %s, STATE has not", p)
			}
		}
		if len(operational.named("oper-status")) != 4 { // two rules, two outputs
			c.t.Errorf("OPERATIONAL is %v", operational)
		}
	})

	// Every way to say "all"; each match has its own path.
	tg.rule(t, "G17", func(c *client) {
		want := leaves{r1 + "/config/input-port": "5000", r2 + "/config/input-port": "5001"}
		for _, p := range []string{
			rules + "/rule[name=*]/config/input-port", rules + "/rule/config/input-port", "/mcr/forwarding/*/rule/config/input-port",
			rules + "/*/config/input-port", "/mcr/.../config/input-port", "/.../config/input-port", "/*/*/*/*/config/input-port",
		} {
			if diff := cmp.Diff(want, c.all(p)); diff != "" {
				c.t.Errorf("%s (-want +got):\n%s", p, diff)
			}
			if n := len(c.get(get(p)).GetNotification()[0].GetUpdate()); n != 2 {
				c.t.Errorf("%s: %d updates, want one a match", p, n)
			}
		}
	})

	// A list without keys: an update an entry.
	tg.rule(t, "G18", func(c *client) {
		var got []string
		for _, u := range c.get(get(rules + "/rule")).GetNotification()[0].GetUpdate() {
			got = append(got, text(nil, u.GetPath()))
		}
		if !slices.Equal(got, []string{r1, r2}) {
			c.t.Errorf("got %v", got)
		}
	})

	// No data: NotFound for a literal path, nothing for a wildcard; a default is data.
	tg.rule(t, "G19", func(c *client) {
		c.getRefused(get(rules+"/rule[name=zz]"), codes.NotFound, "rule[name=zz]")
		c.getRefused(get(r1+"/config/input-source"), codes.NotFound, "input-source")
		c.getRefused(get(r1, rules+"/rule[name=zz]/config"), codes.NotFound, "rule[name=zz]")
		n := c.get(get(rules + "/rule[name=zz]/outputs/output[name=*]")).GetNotification()
		if len(n) != 1 || len(n[0].GetUpdate()) != 0 {
			c.t.Errorf("a wildcard without a match: %v", n)
		}
		c.is(r1+"/config/silence-timeout", "10")
		if got := member(c.json(r1+"/config").(map[string]any), "silence-timeout"); got != 10.0 {
			c.t.Errorf("the container has silence-timeout %v, the leaf 10", got)
		}
		if got := c.all(r1)[r1+"/config/silence-timeout"]; got != "10" {
			c.t.Errorf("the entry has silence-timeout %q, the leaf 10", got)
		}
	})

	// What the schema has not, and what MCR has not.
	tg.rule(t, "G20", func(c *client) {
		c.getRefused(get("/mcr/forwardin/rules"), codes.InvalidArgument, "forwardin")
		c.getRefused(get(r1+"/config/colour"), codes.InvalidArgument, "colour")
		c.getRefused(get(r1+"/config/name/deeper"), codes.InvalidArgument, "deeper")
		c.getRefused(get("/nothing"), codes.InvalidArgument, "nothing")
		c.getRefused(get("/mcr/amt-relay"), codes.Unimplemented, "amt-relay")
		c.getRefused(get("/mcr/amt-relay/config/enabled"), codes.Unimplemented, "amt-relay")
	})

	// Keys.
	tg.rule(t, "G21", func(c *client) {
		c.getRefused(get(rules+"/rule[nam=r1]"), codes.InvalidArgument, "nam")
		c.getRefused(get(rules+"[name=r1]/rule"), codes.InvalidArgument, "rules")
		c.getRefused(get(r1+"/config/description[x=y]"), codes.InvalidArgument, "description")
		for i, name := range []string{"a/b", "a]b", "a[b", "a=b", `"q"\`, "[name=x]"} {
			p := &gpb.Path{Elem: append(path(rules).GetElem(), &gpb.PathElem{Name: "rule", Key: map[string]string{"name": name}})}
			in := fmt.Sprintf(`{"config":{"description":"odd","input-interface":"eth0","input-group":"239.2.0.%d","input-port":7000}}`, i)
			c.set(&gpb.SetRequest{Update: []*gpb.Update{{Path: p, Val: ietf(in)}}})
			n := c.get(&gpb.GetRequest{Path: []*gpb.Path{p}, Encoding: gpb.Encoding_JSON_IETF}).GetNotification()[0].GetUpdate()[0]
			key := n.GetPath().GetElem()[3].GetKey()["name"]
			if o := decode(c.t, n.GetVal().GetJsonIetfVal()).(map[string]any); key != name || member(o, "name") != name {
				c.t.Errorf("%q came back as %q and %v", name, key, o)
			}
			c.set(&gpb.SetRequest{Delete: []*gpb.Path{p}})
		}
		// Names have no blanks and are ASCII; a path with such a key is a good path all the same.
		c.getRefused(get(rules+"/rule[name=a b]"), codes.NotFound, "a b")
		c.getRefused(get(rules+"/rule[name=ünïcode ☃]"), codes.NotFound, "ünïcode ☃")
	})

	// Prefix and target.
	tg.rule(t, "G22", func(c *client) {
		r := get("/rule[name=r1]/config/name")
		r.Prefix = path(rules)
		r.Prefix.Target = "router-7"
		n := c.get(r).GetNotification()[0]
		if n.GetPrefix().GetTarget() != "router-7" || value(n.GetUpdate()[0].GetVal()) != `"r1"` ||
			text(n.GetPrefix(), n.GetUpdate()[0].GetPath()) != r1+"/config/name" {
			c.t.Errorf("got %v", n)
		}
		if p := c.get(get(r1)).GetNotification()[0].GetPrefix(); p.GetTarget() != "" {
			c.t.Errorf("prefix %v, no target was sent", p)
		}
		bad := get(r1)
		bad.Path[0].Target = "router-7"
		c.getRefused(bad, codes.InvalidArgument, "target")
	})

	// Origins.
	tg.rule(t, "G23", func(c *client) {
		for _, origin := range []string{"", "openconfig:", "mcr:", "openconfig-interfaces:"} {
			if got := value(c.one(gpb.Encoding_PROTO, origin+r1+"/config/name").GetVal()); got != "r1" {
				c.t.Errorf("origin %q: %q", origin, got)
			}
		}
		c.getRefused(get("cisco:"+r1), codes.InvalidArgument, "cisco")
		both := get("mcr:" + r1)
		both.Prefix = &gpb.Path{Origin: "openconfig"}
		c.getRefused(both, codes.InvalidArgument, "origin")
		both.Prefix.Origin = "mcr" // the same: what aiognmi sends
		c.get(both)
		c.named("openconfig:", "openconfig-network-instance:", "openconfig-policy-types:PIM")
		c.named("", "mcr-network-instance:", "mcr-types:PIM")
		c.named("mcr:", "mcr-network-instance:", "mcr-types:PIM")
		c.named("openconfig-network-instance:", "openconfig-network-instance:", "openconfig-policy-types:PIM") // what pygnmi sends
	})

	// use_models.
	tg.rule(t, "G25", func(c *client) {
		top := func(models ...string) []string {
			r := &gpb.GetRequest{Path: paths("/")}
			for _, m := range models {
				r.UseModels = append(r.UseModels, &gpb.ModelData{Name: m})
			}
			return slices.Sorted(maps.Keys(decode(c.t, c.get(r).GetNotification()[0].GetUpdate()[0].GetVal().GetJsonVal()).(map[string]any)))
		}
		for model, want := range map[string]string{
			"mcr": "mcr", "mcr-interfaces": "interfaces", "openconfig-interfaces": "interfaces", "mcr-network-instance": "network-instances",
			"openconfig-network-instance": "network-instances", "openconfig-pim": "network-instances", "openconfig-igmp": "network-instances",
		} {
			if got := top(model); !slices.Equal(got, []string{want}) {
				c.t.Errorf("with %s: %v", model, got)
			}
		}
		if got := top("mcr", "openconfig-interfaces"); !slices.Equal(got, []string{"interfaces", "mcr"}) {
			c.t.Errorf("with two models: %v", got)
		}
		c.getRefused(&gpb.GetRequest{Path: paths("/"), UseModels: []*gpb.ModelData{{Name: "openconfig-bgp"}}}, codes.InvalidArgument, "openconfig-bgp")
		c.getRefused(&gpb.GetRequest{Path: paths("/"), UseModels: []*gpb.ModelData{{Name: "mcr", Version: "99.0.0"}}}, codes.InvalidArgument, "99.0.0")
		for _, m := range c.capabilities().GetSupportedModels() {
			if strings.HasPrefix(m.GetName(), "openconfig-") {
				c.t.Errorf("Capabilities lists %s", m.GetName())
			}
		}
	})

	// Paths as they were before gNMI 0.4.
	tg.rule(t, "G26", func(c *client) {
		old := oldPath("mcr", "forwarding")
		c.getRefused(&gpb.GetRequest{Path: []*gpb.Path{old}}, codes.InvalidArgument, "use elem")
		c.getRefused(&gpb.GetRequest{Prefix: old, Path: paths("/")}, codes.InvalidArgument, "use elem")
		old.Elem = path(r1 + "/config/name").GetElem() // gnmi_cli sends both
		if got := value(c.get(&gpb.GetRequest{Path: []*gpb.Path{old}}).GetNotification()[0].GetUpdate()[0].GetVal()); got != `"r1"` {
			c.t.Errorf("with both forms: %s", got)
		}
	})

	// Compressed messages.
	tg.rule(t, "G58", func(c *client) {
		zip := grpc.UseCompressor("gzip")
		resp, err := c.Get(c.ctx(), get(r1+"/config/name"), zip)
		c.must(err)
		if got := value(resp.GetNotification()[0].GetUpdate()[0].GetVal()); got != `"r1"` {
			c.t.Errorf("got %s", got)
		}
		_, err = c.Capabilities(c.ctx(), &gpb.CapabilityRequest{}, zip)
		c.must(err)
		_, err = c.Set(c.ctx(), update(r1+"/config/description", `"zipped"`), zip)
		c.must(err)
		call, err := c.Subscribe(c.ctx(), zip)
		c.must(err)
		c.must(call.Send(request(once, onChange(r1+"/config/description")...)))
		m, err := call.Recv()
		c.must(err)
		if got := value(m.GetUpdate().GetUpdate()[0].GetVal()); got != "zipped" {
			c.t.Errorf("got %s", got)
		}
	})

	// depth, of Get and of Subscribe.
	tg.rule(t, "G107", func(c *client) {
		for level, want := range map[uint32][]string{
			1: {},
			2: {"name"},
			3: {"config/name", "name", "state/name"},
		} {
			r := get(rules)
			r.Extension = append(r.Extension, depth(level))
			sub := request(once, onChange(rules)...)
			sub.Extension = append(sub.Extension, depth(level))
			s := c.open(sub)
			s.sync()
			for what, all := range map[string]leaves{"Get": c.read(r), "Subscribe": s.now} {
				got := []string{}
				for _, p := range all.named("name").paths() {
					if rest, ok := strings.CutPrefix(p, r1+"/"); ok {
						got = append(got, rest)
					}
				}
				if !slices.Equal(got, want) {
					c.t.Errorf("%s, depth %d: names %v, want %v", what, level, got, want)
				}
			}
		}
		r := get(r1)
		r.Extension = append(r.Extension, depth(0))
		c.same(c.all(r1), c.read(r))
		r = get(r1 + "/config")
		r.Extension = append(r.Extension, depth(1))
		c.same(c.all(r1+"/config"), c.read(r))
	})
}

// Get and CONFIG at / with 10,000 outputs; what was read is what can be written.
func TestLarge(t *testing.T) {
	t.Parallel()
	tg := start(t)
	big := grpc.MaxCallRecvMsgSize(1 << 30)

	tg.rule(t, "G24", func(c *client) {
		var outs []string
		for i := range 10_000 {
			outs = append(outs, fmt.Sprintf(`{"name":"o%d","config":{"interface":"eth1","unicast-dest":"10.1.%d.%d"}}`, i, i>>8, i&255))
		}
		c.set(replace(r1+"/outputs", `{"output":[`+strings.Join(outs, ",")+`]}`))
		all, err := c.Get(c.ctx(), &gpb.GetRequest{Path: paths("/"), Encoding: gpb.Encoding_JSON_IETF}, big)
		c.must(err)
		whole := all.GetNotification()[0].GetUpdate()[0].GetVal().GetJsonIetfVal()
		if len(whole) < 4<<20 || strings.Count(string(whole), `"unicast-dest"`) < 10_000 {
			c.t.Errorf("Get / has %d bytes", len(whole))
		}
		before := c.leaf(revision)
		for _, origin := range []string{"", "mcr:", "openconfig:"} {
			r := typed(gpb.GetRequest_CONFIG, origin+"/")
			r.Encoding = gpb.Encoding_JSON_IETF
			resp, err := c.Get(c.ctx(), r, big)
			c.must(err)
			c.set(&gpb.SetRequest{Replace: []*gpb.Update{{Path: path(origin + "/"), Val: resp.GetNotification()[0].GetUpdate()[0].GetVal()}}})
			c.is(revision, before)
		}
	})
}

// named checks the names of module and identity in answers to an origin, of Get and Subscribe alike.
func (c *client) named(origin, module, identity string) {
	c.t.Helper()
	if o := c.json(origin + "/network-instances").(map[string]any); !strings.HasPrefix(slices.Collect(maps.Keys(o))[0], module) {
		c.t.Errorf("origin %q: members %v, want module %s", origin, slices.Collect(maps.Keys(o)), module)
	}
	if got := c.json(origin + pim + "/config/identifier"); got != identity {
		c.t.Errorf("origin %q: identity %v, want %s", origin, got, identity)
	}
	s := c.open(request(func(l *gpb.SubscriptionList) { once(l); l.Encoding = gpb.Encoding_JSON_IETF }, onChange(origin+pim+"/config/identifier")...))
	s.sync()
	if got := s.now[pim+"/config/identifier"]; got != `"`+identity+`"` {
		c.t.Errorf("origin %q: Subscribe says %s, want %s", origin, got, identity)
	}
}

// member is a member by its name, with or without module.
func member(o map[string]any, name string) any {
	for m, v := range o {
		if m == name || strings.HasSuffix(m, ":"+name) {
			return v
		}
	}
	return nil
}

// eachMember walks all members of JSON objects.
func eachMember(v any, f func(name string, v any)) {
	switch v := v.(type) {
	case map[string]any:
		for name, m := range v {
			f(name, m)
			eachMember(m, f)
		}
	case []any:
		for _, e := range v {
			eachMember(e, f)
		}
	}
}

func isString(v any) bool { _, ok := v.(string); return ok }
