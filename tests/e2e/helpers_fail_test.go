// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	gnmipb "github.com/openconfig/gnmi/proto/gnmi"

	"mcr/tests/lab"
)

// obj is a JSON object.
type obj = map[string]any

// bed is the smallest topology that forwards: a source, the router with mcrd, and a receiver.
//
//	src            rtr                      dst
//	eth0 ───────── in        out ────────── eth0
//	10.0.1.1       10.0.1.2  10.0.2.1       10.0.2.2
type bed struct {
	t             *testing.T
	l             *lab.Lab
	src, rtr, dst *lab.Host
	d             *lab.MCRD
	c             *client
}

// newBed makes the topology; mcrd is not started.
func newBed(t *testing.T) *bed {
	t.Helper()
	l := lab.New(t)
	b := &bed{t: t, l: l, src: l.Host("src"), rtr: l.Host("rtr"), dst: l.Host("dst")}
	l.Link(b.src, "eth0", "10.0.1.1/24", b.rtr, "in", "10.0.1.2/24")
	l.Link(b.rtr, "out", "10.0.2.1/24", b.dst, "eth0", "10.0.2.2/24")
	return b
}

// link2 adds a second way to the receiver: rtr out2 10.0.3.1/24 - dst eth1 10.0.3.2/24.
func (b *bed) link2() {
	b.t.Helper()
	b.l.Link(b.rtr, "out2", "10.0.3.1/24", b.dst, "eth1", "10.0.3.2/24")
}

// start starts mcrd with these rules.
func (b *bed) start(rules ...obj) { b.t.Helper(); b.startWith("", rules...) }

// startWith is start with an engine, unless that is "".
func (b *bed) startWith(engine string, rules ...obj) {
	b.t.Helper()
	b.d = b.rtr.MCRD(lab.MCRDConfig{})
	b.c = dial(b.t, b.d)
	if engine != "" {
		b.c.must(b.c.update("mcr/dataplane/config/engine", engine))
		b.c.follow("mcr/dataplane/state/engine-used").is(patience, "mcr/dataplane/state/engine-used", engine)
	}
	if len(rules) > 0 {
		b.c.must(b.c.setRules(rules...))
	}
}

// restart stops mcrd, cleanly if it can, and starts it again; the client is a new one.
func (b *bed) restart() {
	b.t.Helper()
	b.d.Restart()
	b.c = dial(b.t, b.d)
}

const group = "239.1.1.1"

// steady is traffic to the group of ruleOn, without an end unless Count is set.
func steady(rate float64, count uint64) lab.Stream {
	return lab.Stream{Iface: "eth0", Group: group, Port: 5000, Size: 200, Rate: rate, Count: count}
}

// ruleOn is a rule for group:5000 on an interface.
func ruleOn(name, iface string, outputs ...obj) obj {
	return withOutputs(obj{"name": name, "config": obj{
		"name": name, "input-interface": iface, "input-group": group, "input-port": 5000,
	}}, outputs...)
}

func withOutputs(rule obj, outputs ...obj) obj {
	if len(outputs) > 0 {
		rule["outputs"] = obj{"output": outputs}
	}
	return rule
}

// with adds leaves to the config of a rule or an output.
func with(node obj, leaves obj) obj {
	c := maps.Clone(node["config"].(obj))
	maps.Copy(c, leaves)
	node = maps.Clone(node)
	node["config"] = c
	return node
}

// uni is an output to a host, multi one to a group.
func uni(name, iface, dest string, port int) obj {
	return obj{"name": name, "config": obj{"name": name, "interface": iface, "unicast-dest": dest, "port": port}}
}

func multi(name, iface, group string, port int) obj {
	return obj{"name": name, "config": obj{"name": name, "interface": iface, "group": group, "port": port}}
}

// client speaks gNMI to one mcrd.
type client struct {
	t testing.TB
	c gnmipb.GNMIClient
}

func dial(t testing.TB, d *lab.MCRD) *client {
	t.Helper()
	c := &client{t, d.GNMI()}
	p := d.Proc // a restart has a client of its own, or none
	t.Cleanup(func() {
		if t.Failed() {
			all, err := c.read(context.Background(), "mcr/forwarding/rules", "mcr/dataplane/state")
			snmp, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/snmp", p.Pid()))
			t.Logf("what mcrd says at the end: %v\n%v\n%s", err, all.news(), snmp)
		}
	})
	return c
}

func (c *client) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// set does one Set, of at most 30 s.
func (c *client) set(req *gnmipb.SetRequest) error {
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	_, err := c.c.Set(ctx, req)
	return err
}

// update merges a value in at a path, replace puts it there, remove deletes.
func (c *client) update(path string, value any) error {
	return c.set(&gnmipb.SetRequest{Update: []*gnmipb.Update{put(path, value)}})
}

func (c *client) replace(path string, value any) error {
	return c.set(&gnmipb.SetRequest{Replace: []*gnmipb.Update{put(path, value)}})
}

func (c *client) remove(path string) error {
	return c.set(&gnmipb.SetRequest{Delete: []*gnmipb.Path{parsePath(path)}})
}

// setRules makes these rules all there are.
func (c *client) setRules(rules ...obj) error {
	return c.replace(rulesPath, obj{"rule": append([]obj{}, rules...)})
}

const rulesPath = "mcr/forwarding/rules"

func rulePath(name string) string { return rulesPath + "/rule[name=" + name + "]" }
func outputPath(rule, name string) string {
	return rulePath(rule) + "/outputs/output[name=" + name + "]"
}

func put(path string, value any) *gnmipb.Update {
	text, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("value of a test: %v", err))
	}
	return &gnmipb.Update{Path: parsePath(path), Val: &gnmipb.TypedValue{Value: &gnmipb.TypedValue_JsonIetfVal{JsonIetfVal: text}}}
}

// parsePath reads a/b[k=v]/c; a key value has neither slash nor bracket. "/" is the root.
func parsePath(s string) *gnmipb.Path {
	p := &gnmipb.Path{}
	for part := range strings.SplitSeq(strings.Trim(s, "/"), "/") {
		if part == "" {
			continue
		}
		name, keys, _ := strings.Cut(part, "[")
		e := &gnmipb.PathElem{Name: name}
		for kv := range strings.SplitSeq(strings.TrimSuffix(keys, "]"), "][") {
			if k, v, ok := strings.Cut(kv, "="); ok {
				if e.Key == nil {
					e.Key = map[string]string{}
				}
				e.Key[k] = v
			}
		}
		p.Elem = append(p.Elem, e)
	}
	return p
}

func pathText(prefix, p *gnmipb.Path) string {
	var b strings.Builder
	for _, e := range append(slices.Clone(prefix.GetElem()), p.GetElem()...) {
		b.WriteString("/" + e.GetName())
		for _, k := range slices.Sorted(maps.Keys(e.GetKey())) {
			fmt.Fprintf(&b, "[%s=%s]", k, e.GetKey()[k])
		}
	}
	return strings.TrimPrefix(b.String(), "/")
}

// leaves are values by path, as text.
type leaves map[string]string

// num reads a leaf that is a number; one that is not there is 0.
func (l leaves) num(path string) uint64 {
	n, _ := strconv.ParseUint(l[path], 10, 64)
	return n
}

func (l leaves) String() string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(l)) {
		fmt.Fprintf(&b, "%s = %s\n", k, l[k])
	}
	return b.String()
}

// news are the leaves that a reader of a failure wants.
func (l leaves) news() leaves {
	all := maps.Clone(l)
	maps.DeleteFunc(all, func(k, v string) bool {
		name := k[strings.LastIndex(k, "/")+1:]
		switch {
		case strings.Contains(k, "/config/"), v == "0":
			return true
		case strings.Contains(k, "/counters/"), strings.Contains(name, "status"), strings.Contains(name, "reason"):
			return false
		}
		return name != "joined" && name != "gso-used"
	})
	return all
}

func valueText(v *gnmipb.TypedValue) string {
	switch v := v.GetValue().(type) {
	case *gnmipb.TypedValue_StringVal:
		return v.StringVal
	case *gnmipb.TypedValue_UintVal:
		return strconv.FormatUint(v.UintVal, 10)
	case *gnmipb.TypedValue_IntVal:
		return strconv.FormatInt(v.IntVal, 10)
	case *gnmipb.TypedValue_BoolVal:
		return strconv.FormatBool(v.BoolVal)
	case *gnmipb.TypedValue_LeaflistVal:
		var all []string
		for _, e := range v.LeaflistVal.GetElement() {
			all = append(all, valueText(e))
		}
		return strings.Join(all, ",")
	}
	return v.String()
}

// get reads all leaves below the paths.
func (c *client) get(paths ...string) leaves {
	c.t.Helper()
	all, err := c.read(c.t.Context(), paths...)
	if err != nil {
		c.t.Fatalf("get %v: %v", paths, err)
	}
	return all
}

func (c *client) read(ctx context.Context, paths ...string) (leaves, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req := &gnmipb.GetRequest{Encoding: gnmipb.Encoding_PROTO}
	for _, p := range paths {
		req.Path = append(req.Path, parsePath(p))
	}
	resp, err := c.c.Get(ctx, req)
	if err != nil {
		return nil, err
	}
	all := leaves{}
	for _, n := range resp.GetNotification() {
		for _, u := range n.GetUpdate() {
			all[pathText(n.GetPrefix(), u.GetPath())] = valueText(u.GetVal())
		}
	}
	return all, nil
}

// config is the configuration below a path.
func (c *client) config(path string) string {
	c.t.Helper()
	all := c.get(path)
	maps.DeleteFunc(all, func(k, _ string) bool { return !strings.Contains(k, "/config/") })
	return all.String()
}

// output reads the state of one output, with the path up to the output left off.
func (c *client) output(rule, name string) leaves {
	c.t.Helper()
	return c.get(outputPath(rule, name) + "/state").below(outputPath(rule, name) + "/state/")
}

// rule reads the state of one rule in the same way.
func (c *client) rule(name string) leaves {
	c.t.Helper()
	return c.get(rulePath(name) + "/state").below(rulePath(name) + "/state/")
}

func (l leaves) below(prefix string) leaves {
	out := leaves{}
	for k, v := range l {
		if rest, ok := strings.CutPrefix(k, prefix); ok {
			out[rest] = v
		}
	}
	return out
}

// watch follows leaves as they change.
type watch struct {
	t testing.TB

	mu      sync.Mutex // guards what follows
	now     leaves
	changes []change
	err     error
	changed chan struct{} // closed, and made anew, with each change
}

// change is one value that a leaf took; a deleted leaf takes "".
type change struct {
	at          time.Time // of its arrival here
	path, value string
}

// follow subscribes ON_CHANGE and returns when all that is there has come.
func (c *client) follow(paths ...string) *watch {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s, err := c.c.Subscribe(ctx)
	c.must(err)
	list := &gnmipb.SubscriptionList{Encoding: gnmipb.Encoding_PROTO}
	for _, p := range paths {
		list.Subscription = append(list.Subscription, &gnmipb.Subscription{Path: parsePath(p), Mode: gnmipb.SubscriptionMode_ON_CHANGE})
	}
	c.must(s.Send(&gnmipb.SubscribeRequest{Request: &gnmipb.SubscribeRequest_Subscribe{Subscribe: list}}))
	w := &watch{t: c.t, now: leaves{}, changed: make(chan struct{})}
	synced := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { w.run(s, sync.OnceFunc(func() { close(synced) })) })
	c.t.Cleanup(func() { cancel(); wg.Wait() })
	select {
	case <-synced:
	case <-time.After(patience):
		c.t.Fatalf("subscribe to %v: not in sync after %v", paths, patience)
	}
	return w
}

func (w *watch) run(s gnmipb.GNMI_SubscribeClient, synced func()) {
	defer synced()
	for {
		r, err := s.Recv()
		if err != nil {
			w.note(func() { w.err = err })
			return
		}
		if r.GetSyncResponse() {
			synced()
			continue
		}
		n, at := r.GetUpdate(), time.Now()
		w.note(func() {
			for _, p := range n.GetDelete() {
				gone := pathText(n.GetPrefix(), p)
				for k := range w.now {
					if k == gone || strings.HasPrefix(k, gone+"/") {
						delete(w.now, k)
						w.changes = append(w.changes, change{at, k, ""})
					}
				}
			}
			for _, u := range n.GetUpdate() {
				k, v := pathText(n.GetPrefix(), u.GetPath()), valueText(u.GetVal())
				w.now[k] = v
				w.changes = append(w.changes, change{at, k, v})
			}
		})
	}
}

func (w *watch) note(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	close(w.changed)
	w.changed = make(chan struct{})
}

// until waits until the leaves are as ok wants them and returns when that came about, or ends the test.
func (w *watch) until(within time.Duration, what string, ok func(leaves) bool) time.Time {
	w.t.Helper()
	deadline := time.After(within)
	for {
		w.mu.Lock()
		good, at, changed, err := ok(w.now), time.Now(), w.changed, w.err
		if n := len(w.changes); n > 0 {
			at = w.changes[n-1].at
		}
		now := maps.Clone(w.now)
		w.mu.Unlock()
		if good {
			return at
		}
		if err != nil {
			w.t.Fatalf("%s: the subscription ended: %v", what, err)
		}
		select {
		case <-changed:
		case <-deadline:
			w.t.Fatalf("%s: not within %v; now\n%v", what, within, now.news())
		}
	}
}

// is waits until one leaf has one value.
func (w *watch) is(within time.Duration, path, value string) time.Time {
	w.t.Helper()
	return w.until(within, path+" = "+value, func(l leaves) bool { return l[path] == value })
}

// values lists what a leaf was, one after the other.
func (w *watch) values(path string) (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.changes {
		if c.path == path && (len(all) == 0 || all[len(all)-1] != c.value) {
			all = append(all, c.value)
		}
	}
	return all
}

// all are the changes so far.
func (w *watch) all() []change {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.changes)
}

// logLines lists the lines of mcrd's log that have all the words.
func logLines(d *lab.MCRD, words ...string) (lines []string) {
	for line := range strings.Lines(d.Stderr.String()) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// logged demands that so many lines of mcrd's log have all the words. They come by a pipe, hence a little late.
func logged(t *testing.T, d *lab.MCRD, least, most int, words ...string) {
	t.Helper()
	lab.Until(t, time.Second, fmt.Sprintf("log lines with %q", words), func() error {
		if n := len(logLines(d, words...)); n < least {
			return fmt.Errorf("%d, want %d", n, least)
		}
		return nil
	})
	if lines := logLines(d, words...); len(lines) > most {
		t.Errorf("%d log lines with %q, want at most %d: %q", len(lines), words, most, lines)
	}
}

// reaches waits until the sink has more than it had, and says how long that took.
func reaches(s *lab.Sink, more uint64, within time.Duration) time.Duration {
	begin := time.Now()
	_, had, _ := s.Counts()
	s.Wait(had+more, within)
	return time.Since(begin)
}
