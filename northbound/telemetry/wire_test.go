// SPDX-License-Identifier: Apache-2.0

package telemetry_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"mcr/northbound/telemetry"
)

// What a stream sends is what protobuf's own encoder makes of the same leaves, in each encoding.
func TestWireEqualsProtobuf(t *testing.T) {
	s := newSchema(t)
	s.SetAlias(telemetry.Alias{Identities: map[string]string{"mcr-types:PIM": "openconfig-policy-types:PIM"}})
	tree := telemetry.New(s)
	long := strings.Repeat("long ", 100)
	const key = "a]b/\\c [x=y] ü\x00"
	entry := telemetry.Path{{Name: "mcr"}, {Name: "forwarding"}, {Name: "rules"}, {Name: "rule", Keys: []telemetry.Key{{Name: "name", Value: key}}}}
	for _, u := range []*telemetry.Unit{
		{Path: append(entry[:4:4], telemetry.Elem{Name: "config"}), Leaves: []telemetry.Leaf{
			str("description", long), {Name: "enabled", Value: telemetry.Bool(true)}, num("input-port", 0), str("name", key),
		}},
		{Path: append(entry[:4:4], telemetry.Elem{Name: "state"}), Leaves: []telemetry.Leaf{num("created", math.MaxUint64)}},
		unit(t, "/mcr/dataplane/config", telemetry.Leaf{Name: "cpus", Value: telemetry.Uints([]uint64{1, 300})}),
		unit(t, "/mcr/mrib/entries/entry[interface=eth0][source=0.0.0.0][group=239.1.1.1][port=5000]/state",
			telemetry.Leaf{Name: "origins", Value: telemetry.Strings([]string{"static", "igmp"})}),
		unit(t, "/network-instances/network-instance[name=default]/protocols/protocol[identifier=PIM][name=pim]/config", str("identifier", "PIM")),
	} {
		apply(t, tree, start, u)
	}
	prefix := &gpb.Path{Target: "t1", Origin: "openconfig"}
	for _, enc := range []telemetry.Encoding{telemetry.EncodingJSON, telemetry.EncodingIETF, telemetry.EncodingAlias, telemetry.EncodingProto} {
		req := onChange(t, "/")
		req.Encoding, req.Prefix = enc, prefix
		want := &gpb.Notification{Timestamp: start.UnixNano(), Prefix: prefix}
		tree.Snapshot().Select(req.Subscriptions[0].Pattern, telemetry.Filter{}, start, func(h *telemetry.Hit) bool {
			want.Update = append(want.Update, &gpb.Update{Path: &gpb.Path{Elem: h.Path().Elems()}, Val: h.Node.Typed(enc, h.Leaf.Value)})
			return true
		})
		var got []*gpb.SubscribeResponse
		if err := tree.Once(req, func(m *telemetry.Message) error { got = append(got, decoded(m)); return nil }); err != nil {
			t.Fatal(err)
		}
		if len(got) != 2 || len(want.GetUpdate()) < 10 {
			t.Fatalf("%d messages, %d updates", len(got), len(want.GetUpdate()))
		}
		if diff := cmp.Diff(want, got[0].GetUpdate(), protocmp.Transform()); diff != "" {
			t.Errorf("encoding %d (-protobuf +wire):\n%s", enc, diff)
		}
		if !proto.Equal(got[1], &gpb.SubscribeResponse{Response: &gpb.SubscribeResponse_SyncResponse{SyncResponse: true}}) {
			t.Errorf("marker %v", got[1])
		}
	}
}

// A Get in wire form is the Get.
func TestCollectWireEqualsCollect(t *testing.T) {
	tree := sample(t)
	for path, f := range map[string]telemetry.Filter{
		"/": {}, ruleSt: {}, "/mcr/forwarding": {StateOnly: true}, "/mcr/.../name": {ConfigOnly: true}, "/mcr/system": {},
	} {
		want := &gpb.Notification{Update: tree.Snapshot().Collect(pattern(t, path), f, telemetry.EncodingProto, start)}
		b, n := tree.Snapshot().CollectWire(pattern(t, path), f, start)
		got := &gpb.Notification{}
		if err := proto.Unmarshal(b, got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || n != len(want.GetUpdate()) {
			t.Errorf("%s: %d updates (-messages +wire):\n%s", path, n, diff)
		}
	}
}

// A key or value that is not UTF-8 does not break the message that it is in.
func TestWireIsUTF8(t *testing.T) {
	tree := telemetry.New(schema(t))
	p := telemetry.Path{{Name: "mcr"}, {Name: "forwarding"}, {Name: "rules"}, {Name: "rule", Keys: []telemetry.Key{{Name: "name", Value: "a\xff"}}}, {Name: "config"}}
	apply(t, tree, time.Now(), &telemetry.Unit{Path: p, Leaves: []telemetry.Leaf{str("description", "b\xff")}})
	req := onChange(t, "/")
	req.Encoding = telemetry.EncodingProto
	n := 0
	if err := tree.Once(req, func(m *telemetry.Message) error { n += len(decoded(m).GetUpdate().GetUpdate()); return nil }); err != nil || n != 2 {
		t.Errorf("%d updates, %v", n, err)
	}
}

// G87: a change is encoded once, however many clients it goes to.
func TestG87EncodingIsPaidOnce(t *testing.T) {
	cost := func(clients int) float64 {
		tree := sample(t)
		var streams []*telemetry.Stream
		for range clients {
			s := tree.Subscribe(onChange(t, "/"))
			defer s.Close()
			streams = append(streams, s)
		}
		units := make([]*telemetry.Unit, 2)
		for i, iface := range []string{"eth7", "eth8"} {
			units[i] = unit(t, outCfg, str("interface", iface), str("name", "o1"))
		}
		i := 0
		return testing.AllocsPerRun(20, func() {
			apply(t, tree, start, units[i%2])
			i++
			telemetry.Drain(streams)
		})
	}
	one, many := cost(1), cost(101)
	if each := (many - one) / 100; each > 8 {
		t.Errorf("%.1f allocations for each more client, %.0f for one", each, one)
	}
}
