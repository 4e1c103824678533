// SPDX-License-Identifier: Apache-2.0

package interop_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/protobuf/encoding/prototext"

	"mcr/tests/lab"
)

// driver is another's client in the hands of TestClients.
type driver interface {
	capabilities(t *testing.T) (encodings []string, models int, version string)
	get(t *testing.T, path, kind, encoding string) (values map[string]any, code string)
	set(t *testing.T, r change) (ops []string, code, message string)
}

// follower is a driver that can subscribe.
type follower interface {
	once(t *testing.T, path string) map[string]any
	poll(t *testing.T, path string) map[string]any
	follow(t *testing.T, path string, f func()) (before, after map[string]any)
}

// change is a Set; values are JSON.
type change struct {
	remove          []string
	replace, update map[string]string
}

// The same questions, by each client; what it shows is what our own connection gets.
func TestClients(t *testing.T) {
	t.Parallel()
	tg := start(t, "--insecure", "--listen", "127.0.0.1:9339")
	tg.rule(t, "gnmi_cli", func(c *client) { c.compare(newGNMICLI(c.t, tg)) })
	tg.rule(t, "pygnmi", func(c *client) { c.compare(pythonClient{openPython(c.t, tg, "pygnmi", "unix://"+tg.Socket, "0")}) })
	tg.rule(t, "pygnmi over TCP", func(c *client) { c.compare(pythonClient{openPython(c.t, tg, "pygnmi", "127.0.0.1", "9339")}) })
	tg.rule(t, "aiognmi", func(c *client) { c.compare(getter{pythonClient{openPython(c.t, tg, "aiognmi", "127.0.0.1", "9339")}}) })
	tg.rule(t, "gnmic", func(c *client) { c.compare(newGNMIC(c.t, tg)) })
}

// compare asks a client and ourselves.
func (c *client) compare(d driver) {
	c.t.Helper()
	own := c.capabilities()
	encodings, models, version := d.capabilities(c.t)
	var want []string
	for _, e := range own.GetSupportedEncodings() {
		want = append(want, e.String())
	}
	slices.Sort(want)
	slices.Sort(encodings)
	if !slices.Equal(encodings, want) || models != len(own.GetSupportedModels()) || version != own.GetGNMIVersion() {
		c.t.Errorf("capabilities: %v, %d models, version %q; want %v, %d, %q", encodings, models, version, want, len(own.GetSupportedModels()), own.GetGNMIVersion())
	}

	for _, q := range []struct{ path, kind, encoding string }{
		{r1 + "/config/description", "ALL", "JSON"},
		{r1 + "/config/input-port", "ALL", "JSON_IETF"},
		{r1, "CONFIG", "JSON_IETF"},
		{rules, "CONFIG", "JSON"},
		{rules + "/rule[name=*]/config/input-port", "ALL", "JSON_IETF"},
		{pim + "/config", "CONFIG", "JSON_IETF"},
	} {
		got, code := d.get(c.t, q.path, q.kind, q.encoding)
		if diff := cmp.Diff(c.values(originOf(d)+q.path, q.kind, q.encoding), got); diff != "" || code != "" {
			c.t.Errorf("Get %v: %s (-want +got):\n%s", q, code, diff)
		}
	}
	if _, code := d.get(c.t, r1+"/config/colour", "ALL", "JSON"); code != "INVALID_ARGUMENT" {
		c.t.Errorf("Get of an unknown path: %q", code)
	}
	if _, code := d.get(c.t, r3, "ALL", "JSON"); code != "NOT_FOUND" {
		c.t.Errorf("Get of nothing: %q", code)
	}

	c.done(d, []string{"UPDATE"}, change{update: map[string]string{description: `"by a client"`}})
	c.is(description, "by a client")
	c.done(d, []string{"REPLACE"}, change{replace: map[string]string{r3: r3JSON}})
	c.is(r3+"/config/input-port", "5003")
	c.done(d, []string{"DELETE", "UPDATE"}, change{remove: []string{r3}, update: map[string]string{description: `"both"`}})
	c.is(r3+"/config/input-port", "")
	c.is(description, "both")
	before := c.all(rules)
	_, code, message := d.set(c.t, change{remove: []string{r2}, update: map[string]string{r1 + "/config/input-port": `70000`}})
	if code != "INVALID_ARGUMENT" || !strings.Contains(message, "update[0] "+r1+"/config/input-port") || !strings.Contains(message, "70000") {
		c.t.Errorf("a bad Set: %s %q", code, message)
	}
	c.same(before, c.all(rules))

	f, ok := d.(follower)
	if !ok {
		return
	}
	if diff := cmp.Diff(c.leafValues(rules), events(f.once(c.t, rules))); diff != "" {
		c.t.Errorf("ONCE (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(c.leafValues(r1+"/config"), events(f.poll(c.t, r1+"/config"))); diff != "" {
		c.t.Errorf("POLL (-want +got):\n%s", diff)
	}
	was := c.leafValues(r1 + "/config")
	first, then := f.follow(c.t, r1+"/config", func() { c.set(update(description, `"followed"`)) })
	if diff := cmp.Diff(was, first); diff != "" {
		c.t.Errorf("STREAM, the first data (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]any{description: "followed"}, then); diff != "" {
		c.t.Errorf("STREAM, the change (-want +got):\n%s", diff)
	}
}

// done does a Set that must be taken.
func (c *client) done(d driver, want []string, r change) {
	c.t.Helper()
	if ops, code, message := d.set(c.t, r); code != "" || !slices.Equal(ops, want) {
		c.t.Errorf("Set %v: %s %q, results %v, want %v", r, code, message, ops, want)
	}
}

// values is what our own Get says, decoded.
func (c *client) values(p, kind, encoding string) map[string]any {
	c.t.Helper()
	r := &gpb.GetRequest{
		Path: paths(p), Type: gpb.GetRequest_DataType(gpb.GetRequest_DataType_value[kind]), Encoding: gpb.Encoding(gpb.Encoding_value[encoding]),
	}
	return decodeAll(c.t, c.get(r).GetNotification())
}

// leafValues are the leaves below a path that do not move by themselves, decoded.
func (c *client) leafValues(p string) map[string]any {
	c.t.Helper()
	s := c.open(request(func(l *gpb.SubscriptionList) { once(l); l.Encoding = gpb.Encoding_JSON_IETF }, onChange(p)...))
	return events(decodeAll(c.t, s.sync()))
}

func decodeAll(t *testing.T, all []*gpb.Notification) map[string]any {
	t.Helper()
	out := map[string]any{}
	for _, n := range all {
		for _, u := range n.GetUpdate() {
			out[text(n.GetPrefix(), u.GetPath())] = decode(t, append(u.GetVal().GetJsonVal(), u.GetVal().GetJsonIetfVal()...))
		}
	}
	return out
}

func events(all map[string]any) map[string]any {
	for p := range all {
		if sampled(p) {
			delete(all, p)
		}
	}
	return all
}

// pythonClient is client.py.
type pythonClient struct{ *python }

// getter is one that cannot subscribe.
type getter struct{ driver }

// originOf is the origin that a client always sends.
func originOf(d driver) string {
	if _, ok := d.(getter); ok { // aiognmi
		return "openconfig:"
	}
	return ""
}

func (p pythonClient) capabilities(*testing.T) ([]string, int, string) {
	a := p.ask("capabilities", nil)
	return a.Encodings, a.Models, a.Version
}

func (p pythonClient) get(_ *testing.T, path, kind, encoding string) (map[string]any, string) {
	a := p.ask("get", map[string]any{"path": path, "type": strings.ToLower(kind), "encoding": strings.ToLower(encoding)})
	return a.Values, a.Error
}

func (p pythonClient) set(_ *testing.T, r change) (ops []string, code, message string) {
	pairs := func(m map[string]string) (all [][2]any) {
		for path, v := range m {
			all = append(all, [2]any{path, json.RawMessage(v)})
		}
		return all
	}
	q := map[string]any{}
	if r.remove != nil {
		q["delete"] = r.remove
	}
	if r.replace != nil {
		q["replace"] = pairs(r.replace)
	}
	if r.update != nil {
		q["update"] = pairs(r.update)
	}
	a := p.ask("set", q)
	return a.Ops, a.Error, a.Message
}

func (p pythonClient) once(t *testing.T, path string) map[string]any {
	a := p.ask("once", map[string]any{"path": path})
	if a.Synced != 1 {
		t.Errorf("ONCE: %d syncs, %s", a.Synced, a.Error)
	}
	return a.Values
}

func (p pythonClient) poll(_ *testing.T, path string) map[string]any {
	return p.ask("poll", map[string]any{"path": path}).Values
}

func (p pythonClient) follow(_ *testing.T, path string, f func()) (before, after map[string]any) {
	before = p.ask("open", map[string]any{"path": path}).Values
	f()
	return before, p.ask("next", nil).Values
}

// gnmiCLI is gnmi_cli of openconfig/gnmi.
type gnmiCLI struct {
	tg   *target
	path string
}

func newGNMICLI(t *testing.T, tg *target) gnmiCLI {
	t.Helper()
	out, err := exec.Command("go", "tool", "-n", "gnmi_cli").CombinedOutput()
	if err != nil {
		t.Fatalf("gnmi_cli: %v\n%s", err, out)
	}
	return gnmiCLI{tg, strings.TrimSpace(string(out))}
}

// run runs gnmi_cli to its end and returns what it printed; code is that of a refusal.
func (g gnmiCLI) run(t *testing.T, args ...string) (out, code, message string) {
	t.Helper()
	p := g.tg.rtr.Start(append([]string{g.path, "-insecure", "-a", "unix://" + g.tg.Socket, "-timeout", "20s"}, args...)...)
	if err := p.Wait(time.Minute); err != nil {
		return "", grpcCode(p.Stdout.String() + p.Stderr.String()), p.Stdout.String() + p.Stderr.String()
	}
	return p.Stdout.String(), "", ""
}

// grpcCode reads "code = InvalidArgument" as INVALID_ARGUMENT.
func grpcCode(s string) string {
	m := regexp.MustCompile(`code = (\w+)`).FindStringSubmatch(s)
	if m == nil {
		return "?"
	}
	return strings.ToUpper(regexp.MustCompile(`([a-z])([A-Z])`).ReplaceAllString(m[1], "${1}_$2"))
}

func (g gnmiCLI) capabilities(t *testing.T) (encodings []string, models int, version string) {
	out, _, message := g.run(t, "-capabilities")
	var c gpb.CapabilityResponse
	if err := prototext.Unmarshal([]byte(out), &c); err != nil {
		t.Fatalf("%v in %s%s", err, out, message)
	}
	for _, e := range c.GetSupportedEncodings() {
		encodings = append(encodings, e.String())
	}
	return encodings, len(c.GetSupportedModels()), c.GetGNMIVersion()
}

func (g gnmiCLI) get(t *testing.T, p, kind, encoding string) (map[string]any, string) {
	out, code, _ := g.run(t, "-get", "-proto", fmt.Sprintf("path:{%s} type:%s encoding:%s", prototext.Format(path(p)), kind, encoding))
	if code != "" {
		return nil, code
	}
	var r gpb.GetResponse
	if err := prototext.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return decodeAll(t, r.GetNotification()), ""
}

func (g gnmiCLI) set(t *testing.T, c change) (ops []string, code, message string) {
	r := &gpb.SetRequest{Delete: paths(c.remove...)}
	for p, v := range c.replace {
		r.Replace = append(r.Replace, put(p, ietf(v)))
	}
	for p, v := range c.update {
		r.Update = append(r.Update, put(p, ietf(v)))
	}
	out, code, message := g.run(t, "-set", "-proto", prototext.Format(r))
	if code != "" {
		return nil, code, message
	}
	var resp gpb.SetResponse
	if err := prototext.Unmarshal([]byte(out), &resp); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	for _, u := range resp.GetResponse() {
		ops = append(ops, u.GetOp().String())
	}
	return ops, "", ""
}

// subscribe starts a subscription whose answers gnmi_cli prints as they come.
func (g gnmiCLI) subscribe(t *testing.T, p string, mode gpb.SubscriptionList_Mode, args ...string) *lab.Proc {
	t.Helper()
	r := request(func(l *gpb.SubscriptionList) {
		l.Prefix, l.Mode, l.Encoding = &gpb.Path{}, mode, gpb.Encoding_JSON_IETF // gnmi_cli wants a prefix
	}, onChange(p)...)
	return g.tg.rtr.Start(append([]string{
		g.path, "-insecure", "-a", "unix://" + g.tg.Socket, "-dt", "proto", "-proto", prototext.Format(r),
	}, args...)...)
}

// responses are the messages that gnmi_cli has printed, one text each.
func responses(t *testing.T, p *lab.Proc) (all []*gpb.SubscribeResponse) {
	t.Helper()
	text := "\n" + p.Stdout.String()
	for _, field := range []string{"update:", "sync_response:"} {
		text = strings.ReplaceAll(text, "\n"+field, "\x00"+field)
	}
	for one := range strings.SplitSeq(text, "\x00") {
		m := &gpb.SubscribeResponse{}
		if err := prototext.Unmarshal([]byte(one), m); err != nil {
			t.Fatalf("%v in %s", err, one)
		}
		if m.GetResponse() != nil {
			all = append(all, m)
		}
	}
	return all
}

// synced waits for so many sync markers and returns what came before the last of them, and since the one before that.
func synced(t *testing.T, p *lab.Proc, n int) map[string]any {
	t.Helper()
	lab.Until(t, patience, fmt.Sprint(n, " syncs"), func() error {
		if got := strings.Count(p.Stdout.String(), "sync_response: true"); got < n {
			return fmt.Errorf("%d", got)
		}
		return nil
	})
	var notes []*gpb.Notification
	for _, m := range responses(t, p) {
		if m.GetSyncResponse() {
			if n--; n == 0 {
				break
			}
			notes = nil
		} else {
			notes = append(notes, m.GetUpdate())
		}
	}
	return decodeAll(t, notes)
}

func (g gnmiCLI) once(t *testing.T, p string) map[string]any {
	cli := g.subscribe(t, p, gpb.SubscriptionList_ONCE, "-qt", "once")
	if err := cli.Wait(patience); err != nil {
		t.Errorf("gnmi_cli: %v", err)
	}
	return synced(t, cli, 1)
}

func (g gnmiCLI) poll(t *testing.T, p string) map[string]any {
	cli := g.subscribe(t, p, gpb.SubscriptionList_POLL, "-qt", "polling")
	defer cli.Stop()
	return synced(t, cli, 1) // shown as text protos, it sends no Poll
}

func (g gnmiCLI) follow(t *testing.T, p string, f func()) (before, after map[string]any) {
	cli := g.subscribe(t, p, gpb.SubscriptionList_STREAM, "-qt", "streaming")
	defer cli.Stop()
	before = synced(t, cli, 1)
	n := len(responses(t, cli))
	f()
	lab.Until(t, patience, "the change", func() error {
		if out := cli.Stdout.String(); !strings.HasSuffix(strings.TrimSpace(out[strings.LastIndex(out, "sync_response"):]), "}") {
			return fmt.Errorf("nothing new in %s", out)
		}
		return nil
	})
	return before, decodeAll(t, []*gpb.Notification{responses(t, cli)[n].GetUpdate()})
}
