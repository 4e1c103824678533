// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"golang.org/x/sys/unix"

	"mcr/northbound/telemetry"
)

// serve serves a tree on a loopback address, which it returns, until the test ends.
func serve(t testing.TB, c Config, conf *tls.Config) string {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen(t.Context(), "localhost:0", conf)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func get(t testing.TB, c *http.Client, url string) (code int, body string) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func client(t testing.TB) *http.Client {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func TestServer(t *testing.T) {
	tree, p := newTree(t)
	p.Batch(many(3))
	address := serve(t, Config{Tree: tree}, nil)
	c := client(t)
	code, body := get(t, c, "http://"+address+"/metrics")
	if code != http.StatusOK || strings.Count(body, "\nmcr_output_up{") != 3 {
		t.Errorf("status %d:\n%s", code, body)
	}
	if code, _ := get(t, c, "http://"+address+"/"); code != http.StatusNotFound {
		t.Errorf("status %d of /", code)
	}
	resp, err := c.Post("http://"+address+"/metrics", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("status %d of a POST", resp.StatusCode)
	}
}

func TestListen(t *testing.T) {
	for _, tt := range []struct {
		address string
		conf    *tls.Config
		err     string // empty: works
	}{
		{"127.0.0.1:0", nil, ""},
		{"[::1]:0", nil, ""},
		{"localhost:0", nil, ""},
		{"0.0.0.0:0", nil, "without TLS only a loopback address"},
		{":0", nil, "without TLS only a loopback address"},
		{"example.com:9100", nil, "without TLS only a loopback address"},
		{"9100", nil, "not HOST:PORT"},
		{"0.0.0.0:0", &tls.Config{MinVersion: tls.VersionTLS12}, ""},
		{"127.0.0.1:port", nil, "metrics on 127.0.0.1:port"},
	} {
		l, err := Listen(t.Context(), tt.address, tt.conf)
		if err == nil {
			l.Close()
		}
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v, want %q", tt.address, err, tt.err)
		}
	}
}

func TestTLS(t *testing.T) {
	ts := httptest.NewUnstartedServer(nil) // for its certificate
	ts.StartTLS()
	conf := &tls.Config{Certificates: ts.TLS.Certificates, MinVersion: tls.VersionTLS12}
	ts.Close()
	tree, _ := newTree(t)
	var secure bool
	address := serve(t, Config{Tree: tree, Allow: func(r *http.Request) (int, string) {
		secure = r.TLS != nil
		return http.StatusOK, ""
	}}, conf)
	code, body := get(t, client(t), "https://"+address+"/metrics")
	if code != http.StatusOK || !strings.Contains(body, "mcr_build_info{") || !secure {
		t.Errorf("status %d, TLS seen %v:\n%s", code, secure, body)
	}
}

// A fault in a scrape ends that scrape: the client hears of it, the log has it, and the next one is answered.
func TestAFaultEndsTheScrapeAlone(t *testing.T) {
	tree, p := newTree(t)
	p.Batch(many(1))
	var broken sync.Once
	err := tree.Apply(telemetry.Changes{Time: t0, Update: []*telemetry.Unit{{
		Path: telemetry.Path{{Name: "mcr"}, {Name: "system"}, {Name: "gnmi"}, {Name: "state"}},
		Sample: func(dst []telemetry.Leaf) []telemetry.Leaf {
			broken.Do(func() { panic("broken") })
			return dst
		},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	var log lockedText
	address := serve(t, Config{Tree: tree, Log: slog.New(slog.NewTextHandler(&log, nil))}, nil)
	c := client(t)
	if code, _ := get(t, c, "http://"+address+"/metrics"); code != http.StatusInternalServerError {
		t.Errorf("status %d of the broken scrape", code)
	}
	if got := log.String(); !strings.Contains(got, "err=broken") || !strings.Contains(got, "server_test.go") {
		t.Errorf("log: %s", got)
	}
	if code, _ := get(t, c, "http://"+address+"/metrics"); code != http.StatusOK {
		t.Errorf("status %d of the next scrape", code)
	}
}

// More scrapes at a time than we want to pay for are told to come back.
func TestScrapesAtATime(t *testing.T) {
	tree, p := newTree(t)
	p.Batch(many(1))
	entered, leave := make(chan bool, 10), make(chan bool)
	err := tree.Apply(telemetry.Changes{Time: t0, Update: []*telemetry.Unit{{
		Path: telemetry.Path{{Name: "mcr"}, {Name: "system"}, {Name: "gnmi"}, {Name: "state"}},
		Sample: func(dst []telemetry.Leaf) []telemetry.Leaf {
			entered <- true
			<-leave
			return dst
		},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + serve(t, Config{Tree: tree}, nil) + "/metrics"
	c := client(t)
	var all sync.WaitGroup
	for range maxScrapes {
		all.Go(func() {
			if code, _ := get(t, c, url); code != http.StatusOK {
				t.Errorf("status %d", code)
			}
		})
		<-entered
	}
	if code, _ := get(t, c, url); code != http.StatusServiceUnavailable {
		t.Errorf("status %d of one too many", code)
	}
	close(leave)
	all.Wait()
}

// Connections that say nothing do not keep others out for longer than headTime, and never more than maxConnections are open.
func TestConnectionsAreBounded(t *testing.T) {
	tree, _ := newTree(t)
	address := serve(t, Config{Tree: tree}, nil)
	var idle []net.Conn
	for range maxConnections {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		idle = append(idle, c)
	}
	done := make(chan int, 1)
	go func() {
		code, _ := get(t, client(t), "http://"+address+"/metrics")
		done <- code
	}()
	select {
	case <-done:
		t.Fatal("answered beyond the bound")
	case <-time.After(100 * time.Millisecond):
	}
	idle[0].Close()
	if code := <-done; code != http.StatusOK {
		t.Errorf("status %d when there was room again", code)
	}
}

// 10,000 outputs are scraped in a second, as Prometheus asks: with gzip. It is CPU time that is limited, and of the best of three,
// so that a busy machine does not matter; on an idle one the clock shows less, for the collector of garbage works beside.
func TestTenThousandOutputs(t *testing.T) {
	if racing {
		t.Skip("figures under the race detector say nothing")
	}
	tree, p := newTree(t)
	p.Batch(many(10000))
	url := "http://" + serve(t, Config{Tree: tree}, nil) + "/metrics"
	c := client(t)
	best := time.Hour
	var zipped []byte
	for range 3 {
		start, cpu := time.Now(), cpuTime(t)
		zipped = getZipped(t, c, url)
		took, cpu := time.Since(start), cpuTime(t)-cpu
		t.Logf("%d KiB zipped in %v, CPU time %v", len(zipped)>>10, took, cpu)
		best = min(best, cpu)
	}
	if best > time.Second {
		t.Errorf("CPU time %v", best)
	}
	r, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	parsed, err := parser.TextToMetricFamilies(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mcr_output_up", "mcr_output_sent_packets_total", "mcr_output_errors_total"} {
		if got := len(parsed[name].GetMetric()); got != 10000 {
			t.Errorf("%d series %s", got, name)
		}
	}
}

// getZipped is the body of an answer as it came.
func getZipped(t testing.TB, c *http.Client, url string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "gzip")
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("%v, %v", err, resp.Header)
	}
	return b
}

// cpuTime is what this process has used.
func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

func BenchmarkGather(b *testing.B) {
	tree, p := newTree(b)
	p.Batch(many(10000))
	g := newGatherer(b, tree)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}

// lockedText is a text that several goroutines write.
type lockedText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
