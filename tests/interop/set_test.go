// SPDX-License-Identifier: Apache-2.0

package interop_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/openconfig/gnmi/proto/gnmi_ext"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/anypb"
)

// r3 is an entry that start.json has not, and a value for it.
const (
	r3     = rules + "/rule[name=r3]"
	r3JSON = `{"config":{"input-interface":"eth0","input-group":"239.1.1.3","input-port":5003}}`
)

func TestSet(t *testing.T) {
	t.Parallel()
	tg := start(t)

	// What was taken is there for the very next Get, whoever asks.
	tg.rule(t, "G30", func(c *client) {
		other := c.other()
		for i := range 20 {
			c.set(update(r1+"/config/description", fmt.Sprintf(`"take %d"`, i)))
			other.is(r1+"/config/description", fmt.Sprintf("take %d", i))
		}
	})

	// The answer names every operation, in the order in which they are done.
	tg.rule(t, "G31", func(c *client) {
		r := &gpb.SetRequest{
			Prefix:  &gpb.Path{Target: "router-7", Elem: path(rules).GetElem()},
			Update:  []*gpb.Update{put("/rule[name=r1]/config/description", ietf(`"one"`)), put("/rule[name=r3]", ietf(r3JSON))},
			Replace: []*gpb.Update{put("/rule[name=r2]/config/input-port", ietf(`5009`))},
			Delete:  paths("/rule[name=r1]/outputs/output[name=lan]"),
		}
		resp := c.set(r)
		var got []string
		for _, u := range resp.GetResponse() {
			got = append(got, u.GetOp().String()+" "+text(nil, u.GetPath()))
		}
		want := []string{
			"DELETE /rule[name=r1]/outputs/output[name=lan]", "REPLACE /rule[name=r2]/config/input-port",
			"UPDATE /rule[name=r1]/config/description", "UPDATE /rule[name=r3]",
		}
		if !slices.Equal(got, want) || resp.GetPrefix().GetTarget() != "router-7" {
			c.t.Errorf("results %q with prefix %v", got, resp.GetPrefix())
		}
		if off := time.Since(time.Unix(0, resp.GetTimestamp())).Abs(); off > 5*time.Second {
			c.t.Errorf("the timestamp is %v off", off)
		}
		if p := c.set(update(r1+"/config/description", `"two"`)).GetPrefix(); p.GetTarget() != "" {
			c.t.Errorf("prefix %v, no target was sent", p)
		}
	})

	// Delete, then replace, then update.
	tg.rule(t, "G32", func(c *client) {
		at := r1 + "/config/description"
		c.set(&gpb.SetRequest{Update: []*gpb.Update{put(at, str("updated"))}, Replace: []*gpb.Update{put(at, str("replaced"))}, Delete: paths(at)})
		c.is(at, "updated")
		c.set(&gpb.SetRequest{Replace: []*gpb.Update{put(at, str("replaced"))}, Delete: paths(r1 + "/config/description")})
		c.is(at, "replaced")
	})

	// A failure changes nothing, tells nobody, and costs no packet (the last is P1.7's test).
	tg.rule(t, "G33", func(c *client) {
		s := c.stream(onChange("/mcr/forwarding", "/network-instances", revision)...)
		c.setRefused(&gpb.SetRequest{
			Delete: paths(lan), Replace: []*gpb.Update{put(r2+"/config/input-port", number(5009))},
			Update: []*gpb.Update{put(r1+"/config/description", str("half")), put(r1+"/config/input-port", number(70000))},
		}, codes.InvalidArgument, "input-port")
		c.set(update(r1+"/config/description", `"whole"`)) // the next thing that is told
		if u, d := told(s.note().GetUpdate()); len(d) != 0 || !slices.Contains(u, r1+"/config/description") || slices.Contains(u, r2+"/config/input-port") {
			c.t.Errorf("told %v, deleted %v", u, d)
		}
		if got := s.now[r1+"/config/description"]; got != "whole" {
			c.t.Errorf("the first that was told is %q", got)
		}
	})

	// Replace of a container.
	tg.rule(t, "G34", func(c *client) {
		c.set(update(r1+"/config", `{"silence-timeout":3}`))
		c.set(replace(r1+"/config", `{"input-interface":"eth0","input-group":"239.1.1.1","input-port":5000}`))
		c.is(r1+"/config/description", "")
		c.is(r1+"/config/silence-timeout", "10")
		c.is(lan+"/config/interface", "eth1")
		c.is(r2+"/config/input-port", "5001")
	})

	// Replace of a list.
	tg.rule(t, "G35", func(c *client) {
		c.set(replace(rules+"/rule", `[{"name":"r2","config":{"input-interface":"eth0","input-group":"239.1.1.2","input-port":5002}}]`))
		if got := c.all(rules).named("name").paths(); slices.Contains(got, r1+"/name") || !slices.Contains(got, r2+"/name") {
			c.t.Errorf("names %v", got)
		}
		c.is(r2+"/config/input-port", "5002")
		c.is(pim+"/config/enabled", "true")
	})

	// Nothing as a value.
	tg.rule(t, "G36", func(c *client) {
		c.setRefused(replace(r1, `{}`), codes.InvalidArgument, "rule[name=r1]")
		c.setRefused(replace(r1+"/config/description", `null`), codes.InvalidArgument, "description")
		c.setRefused(&gpb.SetRequest{Update: []*gpb.Update{{Path: path(r1 + "/config/description")}}}, codes.InvalidArgument, "no value")
		c.setRefused(&gpb.SetRequest{Replace: []*gpb.Update{{Path: path(r1), Val: &gpb.TypedValue{}}}}, codes.InvalidArgument, "no value")
	})

	// Update never deletes.
	tg.rule(t, "G37", func(c *client) {
		c.set(update("/", `{"mcr:mcr":{"forwarding":{"rules":{"rule":[{"name":"r1","config":{"silence-timeout":5},"outputs":{"output":[{"name":"lan","config":{"ttl":3}}]}}]}}}}`))
		c.is(r1+"/config/description", "first")
		c.is(r1+"/config/silence-timeout", "5")
		c.is(lan+"/config/port", "5000")
		c.is(lan+"/config/ttl", "3")
		c.is(r1+"/outputs/output[name=spoke]/config/ttl", "9")
		c.is(r2+"/config/input-port", "5001")
	})

	// Keys in path and value.
	tg.rule(t, "G38", func(c *client) {
		c.set(update(r3, r3JSON))
		c.is(r3+"/config/name", "r3")
		c.set(update(r3, `{"name":"r3","config":{"name":"r3","description":"said twice"}}`))
		c.setRefused(update(r3, `{"name":"r4"}`), codes.InvalidArgument, "r4")
		c.setRefused(update(r3, `{"config":{"name":"r4"}}`), codes.InvalidArgument, "r4")
		c.setRefused(update(r3+"/config/name", `"r4"`), codes.InvalidArgument, "r4")
	})

	// Keys that are missing, and wildcards, name no node to write to.
	tg.rule(t, "G39", func(c *client) {
		for _, p := range []string{
			rules + "/rule[name=*]/config/description", rules + "/rule/config/description", "/mcr/*/rules", "/mcr/.../description",
			"/network-instances/network-instance[name=default]/protocols/protocol[identifier=PIM]/config/enabled",
		} {
			c.setRefused(update(p, `"x"`), codes.InvalidArgument)
			c.setRefused(replace(p, `"x"`), codes.InvalidArgument)
		}
	})

	// Delete.
	tg.rule(t, "G40", func(c *client) {
		s := c.stream(onChange("/mcr/forwarding", "/network-instances", revision)...)
		c.set(remove(rules+"/rule[name=zz]", r1+"/config/input-source", "/mcr/forwarding/boundaries"))
		c.set(remove(r1))
		if _, d := told(s.note().GetUpdate()); !slices.Equal(d, []string{r1}) {
			c.t.Errorf("deletes told first: %v", d)
		}
		if got := c.all(rules); len(got.named("lan")) != 0 || got[r1+"/name"] != "" {
			c.t.Errorf("children stayed: %v", got)
		}
		c.restart()
		c.set(remove(rules + "/rule[name=*]/outputs/output[name=*]/config/ttl"))
		c.is(r1+"/outputs/output[name=spoke]/config/ttl", "")
		c.set(remove(rules + "/rule/config/description"))
		c.is(r1+"/config/description", "")
		c.set(remove(rules + "/rule[name=*]"))
		r := typed(gpb.GetRequest_CONFIG, "/mcr")
		r.Encoding = gpb.Encoding_JSON_IETF
		_, err := c.Get(c.ctx(), r)
		if err == nil {
			if got := string(c.get(r).GetNotification()[0].GetUpdate()[0].GetVal().GetJsonIetfVal()); strings.Contains(got, `"rules"`) || strings.Contains(got, "{}") {
				c.t.Errorf("an empty shell is left: %s", got)
			}
		}
	})

	// State is read-only.
	tg.rule(t, "G41", func(c *client) {
		for _, r := range []*gpb.SetRequest{
			update(r1+"/state/description", `"x"`), replace(r1+"/state", `{"description":"x"}`), remove(r1 + "/state"), remove(revision),
			update(r1, `{"state":{"description":"x"}}`), update("/mcr/system", `{"state":{"version":"1"}}`),
		} {
			c.setRefused(r, codes.InvalidArgument, "read-only")
		}
		c.set(update(r1, `{"name":"r1","config":{"name":"r1","description":"keys are fine"}}`))
	})

	// Names that do not exist.
	tg.rule(t, "G42", func(c *client) {
		c.setRefused(update("/mcr/forwardin", `{}`), codes.NotFound, "forwardin")
		c.setRefused(replace(r1+"/config/colour", `"red"`), codes.NotFound, "colour")
		c.setRefused(remove("/mcr/forwarding/rulez"), codes.NotFound, "rulez")
		c.setRefused(update(r1+"/config", `{"colour":"red"}`), codes.InvalidArgument, "colour")
		c.setRefused(update("/", `{"mcr:mcr":{"forwarding":{"colour":{}}}}`), codes.InvalidArgument, "colour")
	})

	// Values: path, value and the rule that they break.
	tg.rule(t, "G43", func(c *client) {
		c.setRefused(update(r1+"/config/input-port", `65536`), codes.InvalidArgument, "input-port", "65536", "65535")
		c.setRefused(update(r1+"/config/input-port", `-1`), codes.InvalidArgument, "input-port", "-1")
		c.setRefused(update(r1+"/config/input-port", `"no"`), codes.InvalidArgument, "input-port")
		c.setRefused(update(r1+"/config/description", `"`+strings.Repeat("x", 256)+`"`), codes.InvalidArgument, "description", "255")
		c.setRefused(update(r1+"/config/description", `5`), codes.InvalidArgument, "description")
		c.setRefused(update(r1+"/config/input-group", `"239.1.1"`), codes.InvalidArgument, "input-group", "239.1.1")
		c.setRefused(update(r1+"/config/receive-method", `"magic"`), codes.InvalidArgument, "receive-method", "magic")
		c.setRefused(update(r1+"/config/enabled", `"true"`), codes.InvalidArgument, "enabled")
		c.setRefused(update(pim+"/config/identifier", `"OSPF9"`), codes.InvalidArgument, "identifier", "OSPF9")
		c.setRefused(update(r1+"/config", `[]`), codes.InvalidArgument, "config")
	})

	// The whole is checked, not each operation: what is wrong for a moment inside a request is not wrong.
	tg.rule(t, "G44", func(c *client) {
		c.set(&gpb.SetRequest{Update: []*gpb.Update{
			put(r3+"/config/input-group", str("239.1.1.3")), put(r3+"/config/input-port", number(5003)), put(r3+"/config/input-interface", str("eth0")),
		}})
		// r2 and r1 change their inputs: for a moment both have the same.
		c.set(&gpb.SetRequest{Update: []*gpb.Update{
			put(r1+"/config", ietf(`{"input-group":"239.1.1.2","input-port":5001}`)), put(r2+"/config", ietf(`{"input-group":"239.1.1.1","input-port":5000}`)),
		}})
		c.setRefused(update(r3+"/config", `{"input-group":"239.1.1.1","input-port":5000}`), codes.AlreadyExists, "r2")
	})

	// The same path more than once.
	tg.rule(t, "G45", func(c *client) {
		at := r1 + "/config/description"
		c.set(&gpb.SetRequest{Update: []*gpb.Update{put(at, str("one")), put(at, str("two")), put(at, str("three"))}})
		c.is(at, "three")
		c.set(&gpb.SetRequest{Replace: []*gpb.Update{put(r3, ietf(r3JSON)), put(at, str("child")), put(r3+"/config/description", str("after the parent"))}})
		c.is(r3+"/config/description", "after the parent")
		c.set(&gpb.SetRequest{Replace: []*gpb.Update{put(r3+"/config/description", str("before the parent")), put(r3, ietf(r3JSON))}})
		c.is(r3+"/config/description", "")
		c.set(&gpb.SetRequest{Delete: paths(r3, r3, r3+"/config")})
	})

	// Nothing to do.
	tg.rule(t, "G46", func(c *client) {
		before := c.leaf(revision)
		if n := len(c.set(&gpb.SetRequest{}).GetResponse()); n != 0 {
			c.t.Errorf("%d results", n)
		}
		c.set(&gpb.SetRequest{Extension: []*gnmi_ext.Extension{{Ext: &gnmi_ext.Extension_RegisteredExt{
			RegisteredExt: &gnmi_ext.RegisteredExtension{Id: gnmi_ext.ExtensionID_EID_EXPERIMENTAL, Msg: []byte("x")},
		}}}})
		c.is(revision, before)
	})

	// JSON as clients write it.
	tg.rule(t, "G47", func(c *client) {
		c.set(update("/", `{"mcr:mcr":{"mcr:forwarding":{"rules":{"mcr:rule":[{"mcr:name":"r1","config":{"mcr:description":"with names"}}]}}}}`))
		c.is(r1+"/config/description", "with names")
		c.set(update("/", `{"mcr":{"forwarding":{"rules":{"rule":[{"name":"r1","config":{"description":"without"}}]}}}}`))
		c.is(r1+"/config/description", "without")
		c.set(&gpb.SetRequest{Update: []*gpb.Update{put(r1+"/config", plain(`{"description":"plain JSON"}`))}})
		c.is(r1+"/config/description", "plain JSON")
		c.set(update(pim+"/config", `{"identifier":"mcr-types:PIM","enabled":false}`))
		c.set(update(pim+"/config", `{"identifier":"PIM","enabled":true}`))
		c.setRefused(update(r1+"/config", `{"mcr-igmp:description":"x"}`), codes.InvalidArgument, "mcr-igmp")
		c.setRefused(update(r1+"/config", `{"nobody:description":"x"}`), codes.InvalidArgument, "nobody")
		c.setRefused(update(r1+"/config", `{"description":"x","description":"y"}`), codes.InvalidArgument, "description")
		c.setRefused(update(r1+"/config", `{"description":"x","mcr:description":"y"}`), codes.InvalidArgument, "description")
		c.setRefused(update(r1+"/config", `{"description":"x"} trailing`), codes.InvalidArgument)
		c.setRefused(update(r1+"/config", `{"description":`), codes.InvalidArgument)
		c.setRefused(update(r1+"/config", ``), codes.InvalidArgument)
		c.setRefused(update(r1+"/config", `{description:"x"}`), codes.InvalidArgument)
	})

	// Typed values.
	tg.rule(t, "G48", func(c *client) {
		port, text := r1+"/config/input-port", r1+"/config/description"
		signed := func(n int64) *gpb.TypedValue { return &gpb.TypedValue{Value: &gpb.TypedValue_IntVal{IntVal: n}} }
		yes := &gpb.TypedValue{Value: &gpb.TypedValue_BoolVal{BoolVal: true}}
		for _, ok := range []struct {
			path string
			v    *gpb.TypedValue
			want string
		}{
			{port, number(5010), "5010"},
			{port, signed(5011), "5011"},
			{port, plain(`5012`), "5012"},
			{text, str("typed"), "typed"},
			{r1 + "/config/input-group", str("239.1.1.9"), "239.1.1.9"},
			{r1 + "/config/receive-method", str("socket"), "socket"},
			{r1 + "/config/enabled", yes, "true"},
			{pim + "/config/identifier", str("PIM"), ""},
			{pim + "/config/identifier", str("mcr-types:PIM"), ""},
			{
				pim + "/pim/global/ssm/config/ssm-prefix",
				&gpb.TypedValue{Value: &gpb.TypedValue_LeaflistVal{LeaflistVal: &gpb.ScalarArray{Element: []*gpb.TypedValue{str("232.0.0.0/8")}}}},
				"[232.0.0.0/8]",
			},
		} {
			c.set(&gpb.SetRequest{Update: []*gpb.Update{put(ok.path, ok.v)}})
			if ok.want != "" {
				c.is(ok.path, ok.want)
			}
		}
		for _, bad := range []*gpb.Update{
			put(port, number(65536)), put(port, number(1<<32+5000)), put(port, signed(-1)), put(port, signed(-60536)), put(port, str("5000 ")),
			put(port, yes), put(text, number(5)), put(r1+"/config/enabled", number(1)), put(r1+"/config/enabled", str("maybe")),
			put(r1+"/config", str("x")), put(text, &gpb.TypedValue{Value: &gpb.TypedValue_LeaflistVal{LeaflistVal: &gpb.ScalarArray{}}}),
		} {
			c.setRefused(&gpb.SetRequest{Update: []*gpb.Update{bad}}, codes.InvalidArgument)
		}
	})

	// Fields of the past, and kinds of values that are nothing here.
	tg.rule(t, "G49", func(c *client) {
		old := oldUpdate(r1+"/config/description", `"x"`)
		c.setRefused(&gpb.SetRequest{Update: []*gpb.Update{old}}, codes.InvalidArgument, "use val")
		was := oldPath("mcr", "forwarding")
		c.setRefused(&gpb.SetRequest{Delete: []*gpb.Path{was}}, codes.InvalidArgument, "use elem")
		c.setRefused(&gpb.SetRequest{Update: []*gpb.Update{{Path: was, Val: ietf(`{}`)}}}, codes.InvalidArgument, "use elem")
		c.setRefused(&gpb.SetRequest{Update: []*gpb.Update{put(r1, &gpb.TypedValue{Value: &gpb.TypedValue_AnyVal{AnyVal: &anypb.Any{}}})}}, codes.Unimplemented, "any_val")
		c.setRefused(&gpb.SetRequest{Update: []*gpb.Update{put(r1, &gpb.TypedValue{Value: &gpb.TypedValue_ProtoBytes{ProtoBytes: []byte{1}}})}}, codes.Unimplemented, "proto_bytes")
	})

	// The text of a configuration file.
	tg.rule(t, "G51", func(c *client) {
		file := `{rules: [{name: "from-text", input: {interface: "eth0", group: "239.9.9.9", port: 9}}]}`
		for _, origin := range []string{"mcr_cli", "cli"} {
			c.restart()
			c.set(&gpb.SetRequest{Replace: []*gpb.Update{{Path: &gpb.Path{Origin: origin}, Val: ascii(file)}}})
			c.is(rules+"/rule[name=from-text]/config/input-port", "9")
			c.is(r1+"/config/name", "")
			c.is(pim+"/config/enabled", "true") // the file says nothing of it
			c.setRefused(&gpb.SetRequest{Delete: []*gpb.Path{{Origin: origin}}}, codes.InvalidArgument, origin)
			c.setRefused(&gpb.SetRequest{Replace: []*gpb.Update{{Path: &gpb.Path{Origin: origin}, Val: ascii(`{rulez: []}`)}}}, codes.InvalidArgument, "rulez")
			c.setRefused(&gpb.SetRequest{Replace: []*gpb.Update{{Path: &gpb.Path{Origin: origin}, Val: ietf(`{}`)}}}, codes.InvalidArgument, "ascii_val")
		}
		c.setRefused(&gpb.SetRequest{Replace: []*gpb.Update{{Path: &gpb.Path{Origin: "ios_cli"}, Val: ascii(file)}}}, codes.InvalidArgument, "ios_cli")
	})

	// Sets take turns: each takes effect, and no reader sees a mix.
	tg.rule(t, "G53", func(c *client) {
		const writers, rounds = 8, 10
		c.set(&gpb.SetRequest{Update: []*gpb.Update{put(r1+"/config/description", str("start")), put(r2+"/config/description", str("start"))}})
		done := make(chan struct{})
		var read sync.WaitGroup
		reader := c.other()
		read.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				resp, err := reader.Get(c.t.Context(), &gpb.GetRequest{Encoding: gpb.Encoding_PROTO, Path: paths(r1+"/config/description", r2+"/config/description")})
				if err != nil {
					c.t.Errorf("Get: %v", err)
					return
				}
				var got []string
				for _, n := range resp.GetNotification() {
					got = append(got, value(n.GetUpdate()[0].GetVal()))
				}
				if got[0] != got[1] {
					c.t.Errorf("one Get sees %q", got)
				}
			}
		})
		var write sync.WaitGroup
		for w := range writers {
			writer := c.other()
			write.Go(func() {
				for i := range rounds {
					v := str(fmt.Sprintf("writer %d round %d", w, i))
					_, err := writer.Set(c.t.Context(), &gpb.SetRequest{Update: []*gpb.Update{
						put(r1+"/config/description", v), put(r2+"/config/description", v),
						put(rules+fmt.Sprintf("/rule[name=w%d]", w), ietf(fmt.Sprintf(
							`{"config":{"description":"round %d","input-interface":"eth0","input-group":"239.3.0.%d","input-port":%d}}`, i, w+1, 6000+i))),
					}})
					if err != nil {
						c.t.Errorf("Set: %v", err)
					}
				}
			})
		}
		write.Wait()
		close(done)
		read.Wait()
		for w := range writers {
			c.is(rules+fmt.Sprintf("/rule[name=w%d]/config/input-port", w), fmt.Sprint(6000+rounds-1))
		}
	})

	// A Set that changes nothing is no change: no revision, no notification.
	tg.rule(t, "G55", func(c *client) {
		s := c.stream(onChange("/")...)
		before, stored := c.leaf(revision), c.stored()
		c.restart()
		c.set(update(r1+"/config/description", `"first"`))
		c.set(update(r1+"/config/silence-timeout", `10`)) // its default
		c.is(revision, before)
		if c.stored() != stored {
			c.t.Error("the state directory was written to")
		}
		c.set(update(r1+"/config/description", `"changed"`))
		s.until(patience, "the change", func(l leaves) bool { return l[r1+"/config/description"] == "changed" })
		if got := s.now[revision]; got != next(before) {
			c.t.Errorf("revision %s after one change of %s", got, before)
		}
	})

	// Every fault, with its operation.
	tg.rule(t, "G56", func(c *client) {
		st := c.setRefused(&gpb.SetRequest{
			Delete:  paths("/mcr/forwarding/rulez"),
			Replace: []*gpb.Update{put(r2+"/config/input-port", number(5002))},
			Update: []*gpb.Update{
				put(r1+"/config/description", str("good")), put(r1+"/config/input-port", number(65536)),
				put(r1+"/config", ietf(`{"colour":1,"shape":2}`)), put(r1+"/state", ietf(`{}`)),
			},
		}, codes.NotFound, "delete[0] /mcr/forwarding/rulez", "update[1] "+r1+"/config/input-port")
		for _, want := range []string{"delete[0] /mcr/forwarding/rulez", "update[1] " + r1 + "/config/input-port", "update[2]", "colour", "shape", "update[3] " + r1 + "/state"} {
			if got := violations(st); !strings.Contains(strings.Join(got, "\n"), want) {
				c.t.Errorf("the details do not have %q: %q", want, got)
			}
		}
	})

	// Fields that nobody knows.
	tg.rule(t, "G57", func(c *client) {
		unknown := protowire.AppendString(protowire.AppendTag(nil, 4711, protowire.BytesType), "from the future")
		r := update(r1+"/config/description", `"future"`)
		r.ProtoReflect().SetUnknown(unknown)
		r.Update[0].ProtoReflect().SetUnknown(unknown)
		c.set(r)
		g := get(r1 + "/config/description")
		g.ProtoReflect().SetUnknown(unknown)
		if got := value(c.get(g).GetNotification()[0].GetUpdate()[0].GetVal()); got != `"future"` {
			c.t.Errorf("got %s", got)
		}
		s := c.open(request(func(l *gpb.SubscriptionList) {
			once(l)
			l.AllowAggregation = true
			l.ProtoReflect().SetUnknown(unknown)
		}, onChange(r1+"/config/description")...))
		s.sync()
		s.ends(codes.OK)
	})
}

func TestSetLimits(t *testing.T) {
	t.Parallel()
	tg := start(t)

	// Messages of up to 64 MiB, 10,000 outputs within a second.
	tg.rule(t, "G52", func(c *client) {
		large := func(bytes int) *gpb.SetRequest { // blanks are JSON too
			return update(r1+"/config", `{"description":"large"`+strings.Repeat(" ", bytes)+`}`)
		}
		c.set(large(60 << 20))
		c.is(r1+"/config/description", "large")
		c.setRefused(large(64<<20), codes.ResourceExhausted)
		var outs []string
		for i := range 10_000 {
			outs = append(outs, fmt.Sprintf(`{"name":"o%d","config":{"interface":"eth1","unicast-dest":"10.0.%d.%d","port":%d}}`, i, 2+i>>8, i&255, 7000))
		}
		// The clock shows what else the machine does, so that this bounds mcrd's own time, widely; the second is shown
		// where the machine is idle.
		begin, used := time.Now(), c.cpu()
		c.set(replace(r1+"/outputs", `{"output":[`+strings.Join(outs, ",")+`]}`))
		took, used := time.Since(begin), c.cpu()-used
		c.t.Logf("10,000 outputs in one Set: %v, %v of CPU time", took, used)
		if used > 4*time.Second {
			c.t.Errorf("10,000 outputs in one Set: %v of CPU time, want 4 s at most", used)
		}
		c.is("/mcr/forwarding/state/output-count", "10000")
	})
}

// cpu is the CPU time that mcrd has used.
func (c *client) cpu() time.Duration {
	c.t.Helper()
	n, err := strconv.ParseInt(c.leaf("/mcr/system/process/state/cpu-time"), 10, 64)
	c.must(err)
	return time.Duration(n)
}

// next is the number after one.
func next(n string) string {
	var i uint64
	if _, err := fmt.Sscan(n, &i); err != nil {
		return err.Error()
	}
	return fmt.Sprint(i + 1)
}
