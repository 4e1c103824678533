// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	gnmipb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"mcr/tests/lab"
)

// Ten thousand outputs: what a Set of one, a Set of all, a Get of / and SAMPLE of all counters each second cost. G24, G52, G67.
func TestG52_TenThousandOutputs(t *testing.T) { // not parallel: it measures
	const outputs = 10_000
	b := newBed(t)
	b.rtr.Sysctl("net/ipv4/ip_local_port_range", "40000 41999")
	b.manyReceivers()
	b.dst.Sink("0.0.0.0:5000")
	b.start()
	conn := bigConn(t, b.d)
	m := &meter{t: t, d: b.d, conn: conn, c: &client{t, gnmipb.NewGNMIClient(conn)}}
	m.line("mcrd without configuration", 0, 0)

	all := func(leaves obj) func() {
		req := &gnmipb.SetRequest{Replace: []*gnmipb.Update{put(rulePath("r"), ruleOn("r", "in", manyOutputs(outputs, leaves)...))}}
		return func() { m.c.must(m.c.set(req)) }
	}
	m.do("Set that makes all", all(nil))
	if up := b.c.rule("r").num("output-up-count"); up != outputs {
		t.Fatalf("%d outputs are up", up)
	}
	one := m.best("Set of one leaf of one output", length(20, 100), func(i int) func() {
		req := &gnmipb.SetRequest{Update: []*gnmipb.Update{put(outputPath("r", "b5000")+"/config/dscp", 1+i%63)}}
		return func() { m.c.must(m.c.set(req)) }
	})
	more := m.best("Set that adds one output", length(10, 50), func(i int) func() {
		name := fmt.Sprint("extra", i)
		req := &gnmipb.SetRequest{Update: []*gnmipb.Update{put(outputPath("r", name), uni(name, "out", manyDest(outputs+i), 5000))}}
		return func() { m.c.must(m.c.set(req)) }
	})
	less := m.best("Set that removes one output", length(10, 50), func(i int) func() {
		req := &gnmipb.SetRequest{Delete: []*gnmipb.Path{parsePath(outputPath("r", fmt.Sprint("extra", i)))}}
		return func() { m.c.must(m.c.set(req)) }
	})
	every := m.best("Set that changes all", length(2, 5), func(i int) func() { return all(obj{"dscp": 1 + i}) })
	m.best("Set of all that changes nothing", length(1, 5), func(int) func() { return all(obj{"dscp": length(2, 5)}) })

	m.get("Get of /, JSON_IETF", gnmipb.Encoding_JSON_IETF, gnmipb.GetRequest_ALL)
	if *soak { // it takes memory
		m.get("Get of /, PROTO", gnmipb.Encoding_PROTO, gnmipb.GetRequest_ALL)
	}
	config := &gnmipb.GetResponse{}
	if err := proto.Unmarshal(m.get("Get of /, type CONFIG", gnmipb.Encoding_JSON_IETF, gnmipb.GetRequest_CONFIG), config); err != nil {
		t.Fatal(err)
	}
	revision := b.c.get("mcr/system/configuration/state/revision").String()
	m.do("Set that puts that back", func() {
		m.c.must(m.c.set(&gnmipb.SetRequest{Replace: []*gnmipb.Update{{Path: &gnmipb.Path{}, Val: config.GetNotification()[0].GetUpdate()[0].GetVal()}}}))
	})
	if now := b.c.get("mcr/system/configuration/state/revision").String(); now != revision {
		t.Errorf("the configuration read and written back made a revision: %s after %s", now, revision)
	}

	b.src.StartSend(steady(1, 0))
	if worst := m.sample(outputs, length(5, 30)); *soak && worst > 100*time.Millisecond { // 10 % of the interval
		t.Errorf("an interval of samples was off by %v", worst)
	}

	limit := length(10, 1) // other tests and programs use the machine too
	for _, f := range []struct {
		what string
		took time.Duration
		most time.Duration
	}{
		{"of one leaf of one output", one, 5 * time.Millisecond},
		{"that adds one output", more, 5 * time.Millisecond},
		{"that removes one output", less, 5 * time.Millisecond},
		{"that changes all outputs", every, time.Second},
	} {
		if f.took > time.Duration(limit)*f.most {
			t.Errorf("a Set %s took %v (median), more than %v", f.what, f.took, time.Duration(limit)*f.most)
		}
	}
}

// meter tells what things cost mcrd.
type meter struct {
	t    *testing.T
	d    *lab.MCRD
	conn *grpc.ClientConn
	c    *client
}

func (m *meter) line(what string, took, cpu time.Duration, more ...any) {
	m.t.Helper()
	m.t.Logf("%-32s %10s %10s of processor %6d MB resident %s", what, milli(took), milli(cpu), resident(m.t, m.d)>>10, fmt.Sprint(more...))
}

// do measures one thing done once.
func (m *meter) do(what string, f func()) time.Duration {
	m.t.Helper()
	before, began := processorTime(m.t, m.d), time.Now()
	f()
	took := time.Since(began)
	m.line(what, took, processorTime(m.t, m.d)-before)
	return took
}

// best measures what prepare returns, n times, and returns the median.
func (m *meter) best(what string, n int, prepare func(i int) func()) time.Duration {
	m.t.Helper()
	var all []time.Duration
	before := processorTime(m.t, m.d)
	for i := range n {
		f := prepare(i)
		began := time.Now()
		f()
		all = append(all, time.Since(began))
	}
	cpu := (processorTime(m.t, m.d) - before) / time.Duration(n)
	median := quantile(all, .5)
	m.line(what, median, cpu, fmt.Sprintf("median of %d, %s to %s", n, milli(all[0]), milli(all[n-1])))
	return median
}

// get measures a Get of /, up to its bytes: what a client makes of them is its own affair.
func (m *meter) get(what string, enc gnmipb.Encoding, kind gnmipb.GetRequest_DataType) []byte {
	m.t.Helper()
	before, began := processorTime(m.t, m.d), time.Now()
	var resp wire
	m.c.must(m.conn.Invoke(m.t.Context(), gnmipb.GNMI_Get_FullMethodName,
		&gnmipb.GetRequest{Path: []*gnmipb.Path{{}}, Encoding: enc, Type: kind}, &resp, grpc.ForceCodec(wireCodec{})))
	m.line(what, time.Since(began), processorTime(m.t, m.d)-before, fmt.Sprintf("%.1f MB", float64(len(resp))/1e6))
	if n := bytes.Count(resp, []byte(manyDest(9_999))); n == 0 {
		m.t.Errorf("%s: %d bytes without the last output", what, len(resp))
	}
	return resp
}

// sample takes all counters of all outputs each second: every round comes whole. It returns how far an interval was off at most.
func (m *meter) sample(outputs, rounds int) (worst time.Duration) {
	m.t.Helper()
	type round struct {
		time   int64
		took   time.Duration // until the last of it was here
		seen   int           // outputs
		octets int
	}
	req := streamOf(gnmipb.SubscriptionMode_SAMPLE, gnmipb.Encoding_PROTO, rulesPath+"/rule/outputs/output/state/counters")
	req.GetSubscribe().GetSubscription()[0].SampleInterval = uint64(time.Second)
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Duration(rounds+20)*2*time.Second)
	defer cancel()
	s, err := m.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, gnmipb.GNMI_Subscribe_FullMethodName,
		grpc.ForceCodec(wireCodec{}))
	m.c.must(err)
	m.c.must(s.SendMsg(req))
	var all []round
	for {
		var msg wire
		m.c.must(s.RecvMsg(&msg))
		if _, sync := msg.header(); sync {
			break
		}
	}
	before, began := processorTime(m.t, m.d), time.Now()
	for {
		var msg wire
		m.c.must(s.RecvMsg(&msg))
		at, _ := msg.header()
		if len(all) == 0 || all[len(all)-1].time != at {
			if len(all) == rounds {
				break
			}
			all = append(all, round{time: at})
		}
		now := &all[len(all)-1]
		now.took = time.Since(time.Unix(0, at))
		now.seen += bytes.Count(msg, []byte("\x0a\x07packets")) // the name of a PathElem
		now.octets += len(msg)
	}
	cpu := float64(processorTime(m.t, m.d)-before) / float64(time.Since(began))
	var took []time.Duration
	for i, r := range all {
		took = append(took, r.took)
		if r.seen != outputs {
			m.t.Errorf("round %d of samples has %d outputs, want %d", i, r.seen, outputs)
		}
		if i > 0 {
			off := time.Duration(r.time-all[i-1].time) - time.Second
			worst = max(worst, off, -off)
		}
	}
	m.line("SAMPLE of all counters, 1 s", quantile(took, .5), 0, fmt.Sprintf("median until the last of a round of %.1f MB; %.0f %% of a processor; intervals off by %s at most",
		float64(all[0].octets)/1e6, 100*cpu, milli(worst)))
	return worst
}

// wire is a message as it came.
type wire []byte

// header reads the time of a notification, or that the message is the sync marker.
func (w wire) header() (at int64, sync bool) {
	field, _, n := protowire.ConsumeTag(w)
	if n < 0 || field == 3 { // sync_response
		return 0, true
	}
	update, _ := protowire.ConsumeBytes(w[n:])
	if field, _, n = protowire.ConsumeTag(update); n < 0 || field != 1 { // timestamp, written first
		return 0, false
	}
	v, _ := protowire.ConsumeVarint(update[n:])
	return int64(v), false
}

// wireCodec sends messages of protocol buffers and leaves what comes as it is.
type wireCodec struct{}

func (wireCodec) Name() string                       { return "proto" }
func (wireCodec) Marshal(v any) ([]byte, error)      { return proto.Marshal(v.(proto.Message)) }
func (wireCodec) Unmarshal(data []byte, v any) error { *v.(*wire) = bytes.Clone(data); return nil }
