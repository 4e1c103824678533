// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	gnmipb "github.com/openconfig/gnmi/proto/gnmi"

	"mcr/tests/lab"
)

// manyOutputs are n unicast outputs, each to an address of its own in 10.9.0.0/16.
func manyOutputs(n int, leaves obj) []obj {
	all := make([]obj, n)
	for i := range all {
		all[i] = with(uni(fmt.Sprint("b", i), "out", manyDest(i), 5000), leaves)
	}
	return all
}

func manyDest(i int) string { return fmt.Sprintf("10.9.%d.%d", i/250, 1+i%250) }

// manyReceivers makes the receiver own 10.9.0.0/16.
func (b *bed) manyReceivers() {
	b.t.Helper()
	b.rtr.Route("10.9.0.0/16", "10.0.2.2")
	b.dst.Run("ip", "route", "add", "local", "10.9.0.0/16", "dev", "lo")
}

// An ON_CHANGE subscription to / tells nothing but counters while 1,000 outputs forward a stream. G66.
func TestG66_SilentButForCounters(t *testing.T) {
	t.Parallel()
	const outputs = 1000
	b := newBed(t)
	b.manyReceivers()
	sink := b.dst.Sink("0.0.0.0:5000")
	b.start(ruleOn("r", "in", manyOutputs(outputs, nil)...))
	sender := b.src.StartSend(steady(length(10.0, 50), 0))
	sink.Wait(3, patience)
	daemon{b.d, b.c}.await(rulePath("r")+"/state/input-status", "receiving")

	var mu sync.Mutex // guards what follows
	inSync, counters, sent := false, 0, 0
	var others []string
	var latest time.Time // of the others
	s := b.c.subscribe(onChange(gnmipb.Encoding_PROTO, "/"), func(r *gnmipb.SubscribeResponse) {
		mu.Lock()
		defer mu.Unlock()
		if !inSync {
			inSync, latest = r.GetSyncResponse(), time.Now()
			return
		}
		n, before := r.GetUpdate(), len(others)
		defer func() {
			if len(others) > before {
				latest = time.Now()
			}
		}()
		for _, p := range n.GetDelete() {
			others = append(others, pathText(n.GetPrefix(), p)+" deleted")
		}
		for _, u := range n.GetUpdate() {
			switch path := pathText(n.GetPrefix(), u.GetPath()); {
			case !sampledLeaf(path):
				others = append(others, path+" = "+valueText(u.GetVal()))
			default:
				counters++
				if strings.HasPrefix(path, rulePath("r")+"/outputs/") && strings.HasSuffix(path, "/counters/packets") {
					sent++
				}
			}
		}
	})
	s.inSync(t)
	lab.Until(t, patience, "what the test did has been told", func() error { // the clients themselves are in the tree
		mu.Lock()
		defer mu.Unlock()
		if time.Since(latest) < 3*time.Second {
			return fmt.Errorf("%q", others)
		}
		counters, sent, others = 0, 0, nil
		return nil
	})
	time.Sleep(length(21*time.Second, 5*time.Minute)) // silence has no event
	s.running(t)
	mu.Lock()
	t.Logf("%d outputs, %d datagrams: %d updates of counters, %d other", outputs, sender.Sent(), counters, len(others))
	if len(others) > 0 {
		t.Errorf("%d updates though nothing changed, such as %q", len(others), others[:min(len(others), 20)])
	}
	if sent < outputs { // counters below a container are told each 10 s
		t.Errorf("%d updates of the outputs' counters, want at least one each", sent)
	}
	others = nil
	mu.Unlock()

	b.c.must(b.c.update(rulePath("r")+"/config/description", "awake"))
	want := rulePath("r") + "/config/description = awake"
	lab.Until(t, patience, "the stream tells a change", func() error {
		mu.Lock()
		defer mu.Unlock()
		for _, o := range others {
			if o == want {
				return nil
			}
		}
		return fmt.Errorf("it told %q", others)
	})
}
