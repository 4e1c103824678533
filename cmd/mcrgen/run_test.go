// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"mcr/cmd/mcrgen/stream"
	"mcr/tests/lab"

	"github.com/google/go-cmp/cmp"
)

func TestMain(m *testing.M) { os.Exit(lab.CheckLeaks(m.Run)) }

func TestRefusesWrongUsage(t *testing.T) {
	for name, args := range map[string]string{
		"no_group":            "send --port 5000 --interface lo",
		"no_port":             "send --group 239.1.1.1 --interface lo",
		"rate_zero":           "send --group 239.1.1.1 --port 1 --interface lo --rate 0",
		"rate_word":           "send --group 239.1.1.1 --port 1 --interface lo --rate fast",
		"ipv6":                "send --group ff02::1 --port 1 --interface lo",
		"port_too_large":      "send --group 239.1.1.1 --port 65536 --interface lo",
		"output_unknown":      "send --group 239.1.1.1 --port 1 --interface lo -o xml",
		"sink_of_nothing":     "sink",
		"sink_of_both":        "sink --listen 10.0.0.1:1 --group 239.1.1.1 --interface lo",
		"sink_group_alone":    "sink --group 239.1.1.1",
		"sink_group_unicast":  "sink --group 10.0.0.1 --interface lo",
		"sink_listen_a_group": "sink --listen 239.1.1.1:5000",
		"extra_word":          "sink --listen 10.0.0.1:1 more",
		"unknown_command":     "receive",
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), strings.Fields(args), &stdout, &stderr)
			if code != exitUsage || stdout.Len() > 0 || !strings.Contains(stderr.String(), "mcrgen: ") {
				t.Errorf("code %d, stdout %q, stderr %q", code, stdout.String(), stderr.String())
			}
		})
	}
	for name, args := range map[string]string{
		"no_such_interface": "send --group 239.1.1.1 --port 5000 --interface nosuch0",
		"size_too_large":    "send --group 239.1.1.1 --port 5000 --interface lo --size 65508",
		"ttl_too_large":     "send --group 239.1.1.1 --port 5000 --interface lo --ttl 256",
		"foreign_address":   "sink --listen 192.0.2.77:5000",
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			if code := run(t.Context(), strings.Fields(args), io.Discard, &stderr); code != exitFailed {
				t.Errorf("code %d, stderr %q", code, stderr.String())
			}
		})
	}
}

// Two processes, as a user runs them: a group on a veth.
func TestSendReachesSink(t *testing.T) {
	l := lab.New(t)
	src, dst := l.Host("src"), l.Host("dst")
	l.Link(src, "eth0", "10.0.1.1/24", dst, "eth0", "10.0.1.2/24")
	mcrgen := lab.Bin(t, "mcrgen")

	sink := dst.Start(mcrgen, "sink", "--group", "239.1.1.1", "--interface", "eth0", "--port", "6000", "--count", "500", "--idle", "10s", "-o", "json")
	if _, err := sink.Stderr.WaitLine(10*time.Second, sink.Done(), func(l string) bool { return l == "listening on 239.1.1.1:6000" }); err != nil {
		t.Fatal(err)
	}
	src.Run(mcrgen, "send", "--interface", "eth0", "--group", "239.1.1.1", "--port", "6000", "--source-port", "4000",
		"--size", "1316,0,28", "--rate", "5000", "--count", "500", "--ttl", "5", "--dscp", "34", "--stream", "9")
	if err := sink.Wait(10 * time.Second); err != nil {
		t.Fatalf("sink: %v\n%s%s", err, sink.Stdout.String(), sink.Stderr.String())
	}
	var got stream.Report
	if err := json.Unmarshal([]byte(sink.Stdout.String()), &got); err != nil {
		t.Fatal(err)
	}
	want := stream.Report{
		Received: 500, Bytes: 167*1316 + 166*28, Short: 167, Streams: 1, MaxSize: 1316,
		TTL: map[uint8]uint64{5: 500}, DSCP: map[uint8]uint64{34: 500}, ECN: map[uint8]uint64{0: 500},
		Sources: map[netip.AddrPort]uint64{netip.MustParseAddrPort("10.0.1.1:4000"): 500},
		Latency: got.Latency, Seconds: got.Seconds,
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}

func TestSinkEnds(t *testing.T) {
	h := lab.New(t).Host("a")
	listen := func(ctx context.Context, args ...string) (code int, out string) {
		var stdout bytes.Buffer
		err := h.Do(func() error {
			code = run(ctx, append([]string{"sink", "--listen", "127.0.0.1:5000"}, args...), &stdout, io.Discard)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return code, stdout.String()
	}
	t.Run("at_silence_with_a_report_and_a_failure_where_a_count_was_wanted", func(t *testing.T) {
		code, out := listen(t.Context(), "--count", "3", "--idle", "20ms")
		if code != exitFailed || !strings.Contains(out, "lost          3\n") {
			t.Errorf("code %d, output\n%s", code, out)
		}
	})
	t.Run("when_told_with_success", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if code, out := listen(ctx); code != exitOK || !strings.Contains(out, "received      0\n") {
			t.Errorf("code %d, output\n%s", code, out)
		}
	})
}

// Most of it must be the kernel's: see the profile.
func BenchmarkStream(b *testing.B) {
	l := lab.New(b)
	src, dst := l.Host("src"), l.Host("dst")
	l.Link(src, "eth0", "10.0.1.1/24", dst, "eth0", "10.0.1.2/24")
	sink := dst.Sink("10.0.1.2:5000")
	b.ResetTimer()
	sent := src.Send(lab.Stream{Group: "10.0.1.2", Port: 5000, Count: uint64(b.N)})
	b.StopTimer()
	sink.Quiet(100 * time.Millisecond)
	b.ReportMetric(float64(sent.Sent)/sent.Seconds, "sent/s")
	b.ReportMetric(100*float64(sink.Report(uint64(b.N)).Lost)/float64(b.N), "lost-%")
}
