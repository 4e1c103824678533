// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mcr/tests/lab"
)

// patience is how long something may take that should be there at once; the machine may be busy.
var patience = lab.Patience(10 * time.Second)

// quiet is how long nothing must come to say that no more comes; copies are microseconds behind their original.
const quiet = 100 * time.Millisecond

// hybrid is the topology of the roadmap's first examples:
//
//	src eth0 10.0.0.1 ── 10.0.0.2 eth0 rtr eth1 10.0.1.2 ── 10.0.1.1 eth0 lan
//	                                   rtr gre0 10.2.0.1 ── 10.2.0.5 eth0 far      gre0 without IFF_MULTICAST
type hybrid struct {
	*lab.Lab
	src, rtr, lan, far *lab.Host
}

func newHybrid(t *testing.T) hybrid {
	t.Helper()
	l := lab.New(t)
	n := hybrid{l, l.Host("src"), l.Host("rtr"), l.Host("lan"), l.Host("far")}
	l.Link(n.src, "eth0", "10.0.0.1/24", n.rtr, "eth0", "10.0.0.2/24")
	l.Link(n.rtr, "eth1", "10.0.1.2/24", n.lan, "eth0", "10.0.1.1/24")
	l.Link(n.rtr, "gre0", "10.2.0.1/24", n.far, "eth0", "10.2.0.5/24")
	n.rtr.Multicast("gre0", false)
	return n
}

// hybridRule is the roadmap's first rule, made of these outputs where there are any.
func hybridRule(outputs ...obj) obj {
	if len(outputs) == 0 {
		outputs = []obj{multi("lan", "eth1", group, 5000), uni("spoke", "gre0", "10.2.0.5", 5000)}
	}
	return ruleOn("hybrid-feed", "eth0", outputs...)
}

// feed is count datagrams for that rule; 0 has no end.
func feed(count uint64) lab.Stream {
	return lab.Stream{Iface: "eth0", Group: group, Port: 5000, Count: count, Rate: 2000}
}

// engines runs f with each engine of the dataplane.
func engines(t *testing.T, f func(t *testing.T, engine string)) {
	t.Parallel()
	for _, e := range []string{"uring", "mmsg"} {
		t.Run(e, func(t *testing.T) {
			t.Parallel()
			f(t, e)
		})
	}
}

// daemon is mcrd with a gNMI client, which lasts over restarts.
type daemon struct {
	*lab.MCRD
	*client
}

// run starts mcrd with a JSON5 configuration; "" is none.
func run(t testing.TB, h *lab.Host, config string) daemon {
	t.Helper()
	d := h.MCRD(lab.MCRDConfig{Config: config})
	return daemon{d, dial(t, d)}
}

// runRules starts mcrd, with this engine unless it is "", and gives it rules.
func runRules(t testing.TB, h *lab.Host, engine string, rules ...obj) daemon {
	t.Helper()
	d := run(t, h, "")
	if engine != "" {
		d.must(d.update("mcr/dataplane/config/engine", engine))
		d.await("mcr/dataplane/state/engine-used", engine)
	}
	d.must(d.setRules(rules...))
	return d
}

// await waits until a leaf that tells its changes has this value.
func (d daemon) await(path, value string) {
	d.t.Helper()
	d.follow(path).is(patience, path, value)
}

// up waits until an output is up, down until it is down for a reason.
func (d daemon) up(rule, output string) {
	d.t.Helper()
	d.await(outputPath(rule, output)+"/state/oper-status", "up")
}

func (d daemon) down(rule, output, reason string) {
	d.t.Helper()
	w := d.follow(outputPath(rule, output) + "/state")
	w.is(patience, outputPath(rule, output)+"/state/down-reason", reason)
	w.is(patience, outputPath(rule, output)+"/state/oper-status", "down")
}

// counts waits until a counter has this value.
func (d daemon) counts(path string, want uint64) {
	d.t.Helper()
	lab.Until(d.t, patience, path, func() error {
		if got := d.get(path)[path]; got != fmt.Sprint(want) {
			return fmt.Errorf("%q, want %d", got, want)
		}
		return nil
	})
}

// sent demands that an output counted as many datagrams as its receiver got (P4.4).
func (d daemon) sent(rule, output string, want uint64) {
	d.t.Helper()
	d.counts(outputPath(rule, output)+"/state/counters/packets", want)
}

// ctl runs mcrctl, which must succeed, and returns what it printed.
func (d daemon) ctl(args ...string) string {
	d.t.Helper()
	p := d.Ctl(args...)
	if err := p.Wait(patience); err != nil {
		d.t.Fatalf("mcrctl %s: %v\n%s", strings.Join(args, " "), err, p.Stderr.String())
	}
	return p.Stdout.String()
}

// ctlRefused runs mcrctl, which must end with this exit code, and returns its standard error.
func (d daemon) ctlRefused(code int, args ...string) string {
	d.t.Helper()
	p := d.Ctl(args...)
	if err := p.Wait(patience); err == nil || p.ExitCode() != code {
		d.t.Errorf("mcrctl %s: %v, want exit code %d\n%s", strings.Join(args, " "), err, code, p.Stderr.String())
	}
	return p.Stderr.String()
}

// stored is every file of the state dir.
func (d daemon) stored() leaves {
	d.t.Helper()
	all := leaves{}
	err := filepath.WalkDir(d.StateDir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	})
	if err != nil {
		d.t.Fatalf("state dir: %v", err)
	}
	return all
}

// file writes a configuration for mcrctl apply.
func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "mcr.json5")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}
