// SPDX-License-Identifier: Apache-2.0

package gnmi_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gpb "github.com/openconfig/gnmi/proto/gnmi"

	"mcr/dataplane/plan"
	"mcr/mroute"
	"mcr/northbound/config"
	"mcr/northbound/gnmi"
	"mcr/northbound/state"
)

// loop is a router that takes everything and says of each rule that it is there.
type loop struct{}

type taken struct{ c *mroute.Config }

func (loop) Prepare(_ context.Context, c *mroute.Config, _ bool) (mroute.Prepared, error) {
	return taken{c}, nil
}

func (t taken) Commit(publish func(mroute.Batch)) {
	b := mroute.Batch{Time: time.Now(), Rules: map[string]*mroute.RuleState{}}
	for name, r := range t.c.Rules {
		b.Rules[name] = &mroute.RuleState{Rule: r}
	}
	publish(b)
}

func (taken) Discard() {}

// nothing is what a dataplane counts that never saw a packet.
type nothing struct{}

func (nothing) Output(plan.OutputID) (c plan.OutputCounters, s plan.OutputStatus, ok bool) {
	return c, s, false
}

func (nothing) List(plan.ListID) (c plan.ListCounters, ok bool) { return c, false }

func (nothing) Point(plan.PointKey) (c plan.PointCounters, ok bool) { return c, false }

func (nothing) Info() (i plan.Info) { return i }

func (nothing) Totals() (c plan.TotalCounters) { return c }

func (nothing) Workers() []plan.WorkerCounters { return nil }

// whole is a server on a real store and a real publisher; dir is the state directory. Before it serves, offer may add to it.
func whole(t testing.TB, offer ...func(*gnmi.Server)) (tg *target, store *config.Store, dir string) {
	t.Helper()
	dir = t.TempDir()
	tg = prepare(t, func(c *gnmi.Config) {
		for _, p := range []string{ruleCfg, ruleSt, "/network-instances/network-instance[name=default]/config"} { // the harness's
			dropUnit(t, c.Tree, p)
		}
		publisher := state.New(state.Config{Tree: c.Tree, Counters: nothing{}})
		var err error
		if store, err = config.Open(config.Options{Dir: dir, Router: loop{}, Publish: publisher.Commit}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		if err := store.Start(t.Context(), "", false); err != nil {
			t.Fatal(err)
		}
		c.Store = store
	})
	for _, o := range offer {
		o(tg.server)
	}
	tg.serve(t)
	return tg, store, dir
}

func ietf(t testing.TB, tg *target, kind gpb.GetRequest_DataType, path string) []byte {
	t.Helper()
	resp, err := tg.client.Get(t.Context(), &gpb.GetRequest{Type: kind, Encoding: gpb.Encoding_JSON_IETF, Path: []*gpb.Path{elems(path)}})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetNotification()[0].GetUpdate()[0].GetVal().GetJsonIetfVal()
}

func set(t testing.TB, c gpb.GNMIClient, req *gpb.SetRequest) {
	t.Helper()
	if _, err := c.Set(t.Context(), req); err != nil {
		t.Fatal(err)
	}
}

func ietfUpdate(path, value string) *gpb.Update {
	return &gpb.Update{Path: elems(path), Val: &gpb.TypedValue{Value: &gpb.TypedValue_JsonIetfVal{JsonIetfVal: []byte(value)}}}
}

const everything = `{rules:[
	{name:"a]\\[x=y/\"q\"<&>", description:"tab\tand \u00fc\u2028", input:{interface:"eth0",group:"239.1.1.1",port:5000,source:"10.9.9.9"}, outputs:[{interface:"wg0",unicast_dest:"10.0.0.1",ttl:9,dscp:0}]},
	{input:{interface:"eth0",group:"239.1.1.1",port:5000}}],
	forwarding:{unicast_ttl:7,limits:{maximum_outputs:100000}}, tunnel_endpoints:[{interface:"wg0",endpoints:["10.3.0.5"]}],
	pim:{enabled:true,interfaces:[{name:"tunnel0",auto_her:true}]}, igmp:{interfaces:[{name:"e0",version:2,query_interval:60}]}}`

// G24: the configuration, read at / and written back there, changes nothing: no revision, no notification, no file.
func TestConfigurationReadIsConfigurationWritten(t *testing.T) {
	tg, store, dir := whole(t)
	set(t, tg.client, &gpb.SetRequest{Replace: []*gpb.Update{{
		Path: &gpb.Path{Origin: "mcr_cli"}, Val: &gpb.TypedValue{Value: &gpb.TypedValue_AsciiVal{AsciiVal: everything}},
	}}})
	set(t, tg.client, &gpb.SetRequest{Update: []*gpb.Update{ietfUpdate("/mcr/dataplane/egress-interfaces/egress-interface[name=e0]/config/gso", `"off"`)}})
	for _, origin := range []string{"", "mcr", "openconfig"} {
		before := store.Running()
		file, err := os.ReadFile(filepath.Join(dir, "state.json"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := tg.client.Get(t.Context(), &gpb.GetRequest{
			Type: gpb.GetRequest_CONFIG, Encoding: gpb.Encoding_JSON_IETF, Path: []*gpb.Path{{Origin: origin}},
		})
		if err != nil {
			t.Fatal(err)
		}
		u := resp.GetNotification()[0].GetUpdate()[0]
		for _, leaf := range []string{"maximum-outputs", "auto-her", "query-interval", "gso", "10.0.0.1", "10.3.0.5", "239.1.1.1"} {
			if !strings.Contains(string(u.GetVal().GetJsonIetfVal()), leaf) {
				t.Errorf("origin %q: no %s in %s", origin, leaf, u.GetVal().GetJsonIetfVal())
			}
		}
		set(t, tg.client, &gpb.SetRequest{Replace: []*gpb.Update{{Path: &gpb.Path{Origin: origin}, Val: u.GetVal()}}})
		if store.Running() != before {
			t.Errorf("origin %q: the configuration changed: %s", origin, u.GetVal().GetJsonIetfVal())
		}
		after, err := os.ReadFile(filepath.Join(dir, "state.json"))
		if err != nil || string(after) != string(file) {
			t.Errorf("origin %q: the file was written anew, %v", origin, err)
		}
	}
}

// G19, G65, G89: a default in use is data in every answer: of its leaf, of its container, and of a stream, which hears of it
// again when a leaf goes back to it.
func TestDefaultsAreTheSameEverywhere(t *testing.T) {
	tg, store, _ := whole(t)
	const cfg = "/mcr/forwarding/rules/rule[name=r]/config"
	set(t, tg.client, &gpb.SetRequest{Update: []*gpb.Update{ietfUpdate(cfg, `{"input-interface":"eth0","input-group":"239.1.1.1","input-port":5000,"silence-timeout":3}`)}})
	for path, want := range map[string]string{
		cfg + "/enabled": `true`, "/mcr/forwarding/config/unicast-ttl": `64`, cfg: `"mcr:silence-timeout":3`,
		"/mcr/forwarding/rules/rule[name=r]": `"receive-method":"auto"`, "/mcr/forwarding": `"unicast-ttl":64`,
	} {
		if got := string(ietf(t, tg, gpb.GetRequest_CONFIG, path)); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want in it %s", path, got, want)
		}
	}
	s := tg.open(t, list(gpb.SubscriptionList_STREAM, gpb.SubscriptionMode_ON_CHANGE, cfg))
	client := untilSync(t, s)
	if client[cfg+"/enabled"] != "true" || client[cfg+"/silence-timeout"] != "3" {
		t.Errorf("initial data %v", client)
	}
	set(t, tg.client, &gpb.SetRequest{Delete: []*gpb.Path{elems(cfg + "/silence-timeout")}})
	m, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if n := m.GetUpdate(); len(n.GetDelete()) != 0 || len(n.GetUpdate()) != 1 || pathText(n.GetUpdate()[0].GetPath()) != cfg+"/silence-timeout" ||
		string(n.GetUpdate()[0].GetVal().GetJsonVal()) != "10" {
		t.Errorf("told %v", m)
	}
	before := store.Running()
	set(t, tg.client, &gpb.SetRequest{Update: []*gpb.Update{ietfUpdate(cfg+"/silence-timeout", `10`)}})
	if store.Running() != before {
		t.Error("a default that is spelt out is a change")
	}
}

// G24 at 10,000 outputs, and G52 in its first part.
func TestLargeConfigurationReadIsWritten(t *testing.T) {
	tg, store, _ := whole(t)
	var outs []string
	for i := range 10_000 {
		outs = append(outs, fmt.Sprintf(`{"name":"o%d","config":{"interface":"wg0","unicast-dest":"10.1.%d.%d"}}`, i, i>>8, i&255))
	}
	set(t, tg.client, &gpb.SetRequest{Replace: []*gpb.Update{ietfUpdate("/mcr/forwarding/rules", `{"rule":[{"name":"r","config":{"input-interface":"eth0",`+
		`"input-group":"239.1.1.1","input-port":5000},"outputs":{"output":[`+strings.Join(outs, ",")+`]}}]}`)}})
	before := store.Running()
	set(t, tg.client, &gpb.SetRequest{Replace: []*gpb.Update{ietfUpdate("/", string(ietf(t, tg, gpb.GetRequest_CONFIG, "/")))}})
	if store.Running() != before || before.Revision != 1 {
		t.Error("the configuration changed")
	}
}

// G30, G53: what a Set answered is there for the next Get on any connection, configuration and state alike, of one revision.
func TestSetIsVisibleAtOnce(t *testing.T) {
	tg, _, _ := whole(t)
	other := gpb.NewGNMIClient(dial(t, "unix://"+tg.path))
	for i := 1; i <= 50; i++ {
		group := fmt.Sprintf("239.1.1.%d", i)
		set(t, tg.client, &gpb.SetRequest{Replace: []*gpb.Update{ietfUpdate("/mcr/forwarding/rules/rule[name=r]",
			fmt.Sprintf(`{"config":{"input-interface":"eth0","input-group":%q,"input-port":5000}}`, group))}})
		resp, err := other.Get(t.Context(), &gpb.GetRequest{Encoding: gpb.Encoding_JSON, Path: []*gpb.Path{
			elems("/mcr/forwarding/rules/rule[name=r]/config/input-group"), elems("/mcr/forwarding/rules/rule[name=r]/state/input-group"),
			elems("/mcr/system/configuration/state/revision"), elems(fmt.Sprintf("/mcr/system/configuration/commits/commit[id=%d]/state/address", i)),
		}})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, n := range resp.GetNotification() {
			got = append(got, string(n.GetUpdate()[0].GetVal().GetJsonVal()))
		}
		if diff := cmp.Diff([]string{`"` + group + `"`, `"` + group + `"`, fmt.Sprint(i), `"unix"`}, got); diff != "" {
			t.Fatalf("after Set %d (-want +got):\n%s", i, diff)
		}
	}
}
