// SPDX-License-Identifier: Apache-2.0

package interop_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mcr/tests/lab"
)

// gnmic is the program of that name, where it is in PATH.
type gnmic struct {
	tg   *target
	path string
}

func newGNMIC(t *testing.T, tg *target) gnmic {
	t.Helper()
	p, err := exec.LookPath("gnmic")
	if err != nil {
		t.Skip("GNMIC NOT TESTED: it is not in PATH")
	}
	return gnmic{tg, p}
}

func (g gnmic) start(args ...string) *lab.Proc {
	return g.tg.rtr.Start(append([]string{g.path, "-a", "unix://" + g.tg.Socket, "--insecure", "--format", "json", "--log=false"}, args...)...)
}

// run runs gnmic to its end; code is that of a refusal.
func (g gnmic) run(t *testing.T, args ...string) (out, code, message string) {
	t.Helper()
	p := g.start(args...)
	if err := p.Wait(time.Minute); err != nil {
		return "", grpcCode(p.Stdout.String() + p.Stderr.String()), p.Stdout.String() + p.Stderr.String()
	}
	return p.Stdout.String(), "", ""
}

func (g gnmic) capabilities(t *testing.T) (encodings []string, models int, version string) {
	out, _, message := g.run(t, "capabilities")
	var c struct {
		Version   string   `json:"version"`
		Models    []any    `json:"supported-models"`
		Encodings []string `json:"encodings"`
	}
	if err := json.Unmarshal([]byte(out), &c); err != nil {
		t.Fatalf("%v in %s%s", err, out, message)
	}
	return c.Encodings, len(c.Models), c.Version
}

// event is a notification as gnmic prints it.
type event struct {
	Prefix  string `json:"prefix"`
	Updates []struct {
		Path   string         `json:"Path"`
		Values map[string]any `json:"values"`
	} `json:"updates"`
	Deletes []string `json:"deletes"`
	Sync    bool     `json:"sync-response"`
}

func (e event) values() map[string]any {
	out := map[string]any{}
	for _, u := range e.Updates {
		for _, v := range u.Values {
			out["/"+strings.Trim(e.Prefix+"/"+u.Path, "/")] = v
		}
	}
	return out
}

func (g gnmic) get(t *testing.T, p, kind, encoding string) (map[string]any, string) {
	out, code, _ := g.run(t, "get", "--path", p, "--type", strings.ToLower(kind), "-e", strings.ToLower(encoding))
	if code != "" {
		return nil, code
	}
	var all []event
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	values := map[string]any{}
	for _, e := range all {
		maps.Copy(values, e.values())
	}
	return values, ""
}

func (g gnmic) set(t *testing.T, c change) (ops []string, code, message string) {
	args, dir := []string{"set", "-e", "json_ietf"}, t.TempDir()
	file := func(v string) string {
		name := filepath.Join(dir, fmt.Sprint(len(args), ".json"))
		if err := os.WriteFile(name, []byte(v), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, p := range c.remove {
		args = append(args, "--delete", p)
	}
	for _, p := range slices.Sorted(maps.Keys(c.replace)) {
		args = append(args, "--replace-path", p, "--replace-file", file(c.replace[p]))
	}
	for _, p := range slices.Sorted(maps.Keys(c.update)) {
		args = append(args, "--update-path", p, "--update-file", file(c.update[p]))
	}
	out, code, message := g.run(t, args...)
	if code != "" {
		return nil, code, message
	}
	var r struct {
		Results []struct{ Operation string } `json:"results"`
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	for _, u := range r.Results {
		ops = append(ops, u.Operation)
	}
	return ops, "", ""
}

// events are what gnmic has printed of a subscription.
func (g gnmic) events(t *testing.T, p *lab.Proc) (all []event) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(p.Stdout.String()))
	for {
		var e event
		if err := d.Decode(&e); err != nil { // the end, for now
			return all
		}
		all = append(all, e)
	}
}

func (g gnmic) subscribe(p string, args ...string) *lab.Proc {
	return g.start(append([]string{"subscribe", "--path", p, "-e", "json_ietf"}, args...)...)
}

func (g gnmic) once(t *testing.T, p string) map[string]any {
	cli := g.subscribe(p, "--mode", "once")
	if err := cli.Wait(patience); err != nil {
		t.Errorf("gnmic: %v", err)
	}
	return g.merged(t, cli)
}

func (g gnmic) merged(t *testing.T, cli *lab.Proc) map[string]any {
	values := map[string]any{}
	for _, e := range g.events(t, cli) {
		maps.Copy(values, e.values())
	}
	return values
}

func (g gnmic) poll(t *testing.T, p string) map[string]any { return g.once(t, p) } // its POLL asks a terminal

func (g gnmic) follow(t *testing.T, p string, f func()) (before, after map[string]any) {
	cli := g.subscribe(p, "--mode", "stream", "--stream-mode", "on-change")
	defer cli.Stop()
	lab.Until(t, patience, "the first data", func() error {
		for _, e := range g.events(t, cli) {
			if e.Sync {
				return nil
			}
		}
		return fmt.Errorf("no sync in %s", cli.Stdout.String())
	})
	before = g.merged(t, cli)
	n := len(g.events(t, cli))
	f()
	lab.Until(t, patience, "the change", func() error {
		if len(g.events(t, cli)) == n {
			return fmt.Errorf("nothing new in %s", cli.Stdout.String())
		}
		return nil
	})
	return before, g.events(t, cli)[n].values()
}
