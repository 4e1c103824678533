// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"maps"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mcr/tests/lab"
)

// Q1: workers, their CPUs, the engine, rings and buffers change while a stream runs: nothing is lost, nothing doubled, the
// counters are those of the receivers, and state says what runs.
func TestQ1_WorkersChangeUnderLoad(t *testing.T) {
	t.Parallel()
	const packets, rate = 20_000, 3_000
	b := newBed(t)
	multicast, one := b.dst.GroupSink("eth0", "239.2.2.2:5000"), b.dst.Sink("10.0.2.2:6001")
	b.start(ruleOn("r", "in", multi("lan", "out", "239.2.2.2", 5000), uni("one", "out", "10.0.2.2", 6001)))
	d := daemon{b.d, b.c}
	all := min(runtime.NumCPU(), 4)
	s := b.src.StartSend(steady(rate, packets))
	multicast.Wait(10, patience)
	const knobs, state = "mcr/dataplane/config", "mcr/dataplane/state"
	restarts := 0
	for s.Sent() < packets*9/10 {
		for _, c := range []struct {
			engine  string
			workers int
			cpus    []int
			more    obj
		}{
			{"uring", 1, nil, obj{"ring-entries": 128}},
			{"uring", all, []int{0}, obj{"receive-buffers": 128}},
			{"mmsg", all, nil, obj{"receive-socket-buffer": 4 << 20}},
			{"mmsg", 1, nil, nil},
		} {
			v := obj{"engine": c.engine, "workers": c.workers}
			maps.Copy(v, c.more)
			if c.cpus != nil {
				v["cpus"] = c.cpus
			}
			d.must(d.replace(knobs, v))
			restarts++
			d.await(state+"/worker-count", fmt.Sprint(c.workers))
			d.await(state+"/engine-used", c.engine)
		}
	}
	t.Logf("%d restarts within %d packets", restarts, s.Sent())
	for name, sink := range map[string]*lab.Sink{"lan": multicast, "one": one} {
		sink.Wait(packets, patience)
		sink.Exactly(packets)
		d.sent("r", name, packets)
	}
	if got := d.rule("r").num("counters/packets"); got != packets {
		t.Errorf("the rule counts %d", got)
	}
	const w0 = "mcr/dataplane/workers/worker[id=0]/state"
	if got := d.get(w0); got[w0+"/input-count"] != "1" || got[w0+"/output-count"] != "2" || got[w0+"/table-version"] == "" {
		t.Errorf("worker 0: %v", got)
	}
}

// Q1: more workers than CPUs, a CPU that there is not, and fewer sockets than the rules need are refused with the figure, and
// nothing changes.
func TestQ1_SettingsThatTheMachineCannotGive(t *testing.T) {
	t.Parallel()
	d := runRules(t, newHybrid(t).rtr, "", hybridRule())
	before := d.config("mcr")
	for _, c := range []struct {
		path  string
		value any
		says  string
	}{
		{"mcr/dataplane/config/workers", 256, "256 are wanted, and "},
		{"mcr/dataplane/config/cpus", []int{0, 4095}, "may be used"},
		{"mcr/forwarding/limits/config/maximum-sockets", 2, "the limit is 2 sockets, and 3 are needed"},
	} {
		err := d.replace(c.path, c.value)
		if st := status.Convert(err); st.Code() != codes.Aborted || !strings.Contains(st.Message(), c.says) || !strings.Contains(st.Message(), c.path) {
			t.Errorf("%s = %v: %v", c.path, c.value, err)
		}
		if got := d.config("mcr"); got != before {
			t.Fatalf("%s changed the configuration", c.path)
		}
	}
}
