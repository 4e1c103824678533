// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"mcr/tests/certs"
	"mcr/tests/lab"
)

// prometheus scrapes a daemon from its own host.
type prometheus struct {
	t         *testing.T
	transport *http.Transport
	url       string
	auth      func(*http.Request) // nil: none
}

// servingMetrics finds the address in the log.
var servingMetrics = regexp.MustCompile(`msg="serving metrics" address=(\S+)`)

func newPrometheus(t *testing.T, h *lab.Host, d daemon) *prometheus {
	t.Helper()
	m := servingMetrics.FindStringSubmatch(d.Stderr.String())
	if m == nil {
		t.Fatalf("no address in\n%s", d.Stderr.String())
	}
	tr := &http.Transport{DialContext: func(_ context.Context, network, address string) (c net.Conn, err error) {
		err = h.Do(func() error { c, err = net.Dial(network, address); return err })
		return c, err
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &prometheus{t: t, transport: tr, url: "http://" + m[1] + "/metrics"}
}

// trust makes it speak TLS with servers of an authority.
func (p *prometheus) trust(ca *certs.Authority) {
	p.transport.TLSClientConfig = &tls.Config{RootCAs: ca.Pool()}
	p.url = "https" + strings.TrimPrefix(p.url, "http")
}

// login makes it say who it is: basic_auth.
func (p *prometheus) login(user, password string) {
	p.auth = func(r *http.Request) { r.SetBasicAuth(user, password) }
}

func (p *prometheus) get() *http.Response {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.url, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if p.auth != nil {
		p.auth(req)
	}
	resp, err := (&http.Client{Transport: p.transport}).Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp
}

func (p *prometheus) status() int {
	p.t.Helper()
	resp := p.get()
	resp.Body.Close()
	return resp.StatusCode
}

// scrape reads everything, with Prometheus' own parser.
func (p *prometheus) scrape() map[string]*dto.MetricFamily {
	p.t.Helper()
	resp := p.get()
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		p.t.Fatalf("%s: %s", resp.Status, text)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	all, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return all
}

// value is the value of the one series that has these labels among its own; false: there is none.
func value(all map[string]*dto.MetricFamily, name string, labels map[string]string) (v float64, is bool) {
	for _, m := range all[name].GetMetric() {
		n := 0
		for _, l := range m.GetLabel() {
			if want, ok := labels[l.GetName()]; ok && want == l.GetValue() {
				n++
			}
		}
		if n == len(labels) {
			return m.GetCounter().GetValue() + m.GetGauge().GetValue(), true
		}
	}
	return 0, false
}

// is waits until a series has this value.
func (p *prometheus) is(name string, labels map[string]string, want float64) {
	p.t.Helper()
	lab.Until(p.t, patience, name, func() error {
		if got, is := value(p.scrape(), name, labels); !is || got != want {
			return fmt.Errorf("%v is %v (there: %v), want %v", labels, got, is, want)
		}
		return nil
	})
}

// What Prometheus reads per branch is what its receiver got, and a branch that goes down is seen with its reason.
func TestMetricsAreWhatReceiversGot(t *testing.T) {
	t.Parallel()
	n := newHybrid(t)
	lan, spoke := n.lan.GroupSink("eth0", "239.1.1.1:5000"), n.far.Sink("10.2.0.5:5000")
	mcrd := n.rtr.MCRD(lab.MCRDConfig{Args: []string{"--metrics-listen", "127.0.0.1:0"}})
	d := daemon{mcrd, dial(t, mcrd)}
	p := newPrometheus(t, n.rtr, d)
	d.must(d.setRules(hybridRule()))
	d.up("hybrid-feed", "spoke")
	n.src.Send(feed(300))
	lan.Exactly(300)
	spoke.Exactly(300)
	d.sent("hybrid-feed", "spoke", 300)
	d.sent("hybrid-feed", "lan", 300)

	toLAN := map[string]string{"rule": "hybrid-feed", "output": "lan", "interface": "eth1", "destination": group, "port": "5000"}
	toSpoke := map[string]string{"rule": "hybrid-feed", "output": "spoke", "interface": "gre0", "destination": "10.2.0.5", "port": "5000"}
	input := map[string]string{"rule": "hybrid-feed", "interface": "eth0", "group": group, "port": "5000"}
	all := p.scrape()
	size := d.get(outputPath("hybrid-feed", "spoke") + "/state/counters/octets").num(outputPath("hybrid-feed", "spoke") + "/state/counters/octets")
	for _, want := range []struct {
		name   string
		labels map[string]string
		value  float64
	}{
		{"mcr_output_sent_packets_total", toLAN, 300},
		{"mcr_output_sent_packets_total", toSpoke, 300},
		{"mcr_output_sent_bytes_total", toSpoke, float64(size)},
		{"mcr_output_errors_total", toSpoke, 0},
		{"mcr_output_up", toLAN, 1},
		{"mcr_output_up", toSpoke, 1},
		{"mcr_rule_received_packets_total", input, 300},
		{"mcr_rule_up", input, 1},
		{"mcr_rules", nil, 1},
		{"mcr_outputs", nil, 2},
	} {
		if got, is := value(all, want.name, want.labels); !is || got != want.value {
			t.Errorf("%s%v is %v (there: %v), want %v", want.name, want.labels, got, is, want.value)
		}
	}
	for _, name := range []string{"mcr_build_info", "process_cpu_seconds_total", "process_resident_memory_bytes", "mcr_dataplane_sent_packets_total"} {
		if got, _ := value(all, name, nil); got <= 0 {
			t.Errorf("%s is %v", name, got)
		}
	}

	n.rtr.Down("gre0")
	d.down("hybrid-feed", "spoke", "interface-down")
	p.is("mcr_output_up", toSpoke, 0)
	why := map[string]string{"reason": "interface-down"}
	for k, v := range toSpoke {
		why[k] = v
	}
	p.is("mcr_output_down_reason", why, 1)
	p.is("mcr_output_sent_packets_total", toSpoke, 300)
	if _, is := value(p.scrape(), "mcr_output_down_reason", toLAN); is {
		t.Error("the other branch has a reason to be down")
	}
}
