// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"sync"
	"time"

	"mcr/cmd/mcrgen/stream"

	"golang.org/x/sys/unix"
)

// Stream is traffic to send, as of mcrgen send; zero fields are as in stream.SendConfig.
type Stream struct {
	Iface      string
	Group      string // or a unicast address
	Port       uint16
	Source     string // an address of the host
	SourcePort uint16
	Size       int // bytes of payload; use Sizes for 0
	Sizes      []int
	Rate       float64 // datagrams a second
	Burst      int
	Segments   int
	Count      uint64
	TTL        int
	DSCP       int
}

// Sender is a stream that is being sent.
type Sender struct {
	*stream.Sender
	end func() stream.Sent
}

// Stop ends the stream and says what was sent. It may be called again.
func (s *Sender) Stop() stream.Sent { return s.end() }

// StartSend begins to send; it ends with Count, with Stop or with the test.
func (h *Host) StartSend(s Stream) *Sender {
	h.t.Helper()
	snd, wait, cancel := h.send(s)
	end := func() stream.Sent { cancel(); return wait() }
	h.t.Cleanup(func() { end() })
	return &Sender{Sender: snd, end: end}
}

// Send sends Count datagrams and returns when the last one is out.
func (h *Host) Send(s Stream) stream.Sent {
	h.t.Helper()
	if s.Count == 0 {
		h.t.Fatalf("host %s: Send without Count has no end", h.Name)
	}
	_, wait, cancel := h.send(s)
	defer cancel()
	sent := wait()
	if sent.Errors > 0 || sent.Sent != s.Count {
		h.t.Fatalf("host %s: sent %d of %d, %d errors", h.Name, sent.Sent, s.Count, sent.Errors)
	}
	return sent
}

func (h *Host) send(s Stream) (snd *stream.Sender, wait func() stream.Sent, cancel context.CancelFunc) {
	h.t.Helper()
	c := stream.SendConfig{
		Interface: s.Iface, Dest: netip.AddrPortFrom(h.addr(s.Group), s.Port), SourcePort: s.SourcePort,
		Sizes: s.Sizes, Rate: s.Rate, Burst: s.Burst, Segments: s.Segments, Count: s.Count, TTL: s.TTL, DSCP: s.DSCP,
	}
	if s.Size != 0 {
		c.Sizes = []int{s.Size}
	}
	if s.Source != "" {
		c.Source = h.addr(s.Source)
	}
	err := h.Do(func() (err error) { snd, err = stream.OpenSender(c); return err })
	if err != nil {
		h.fatal(err, "send")
	}
	ctx, cancel := context.WithCancel(h.t.Context())
	var (
		wg   sync.WaitGroup
		sent stream.Sent
		bad  error
	)
	wg.Go(func() { sent, bad = snd.Run(ctx) })
	return snd, sync.OnceValue(func() stream.Sent {
		wg.Wait()
		snd.Close()
		if bad != nil {
			h.t.Errorf("host %s: %v", h.Name, bad)
		}
		return sent
	}), cancel
}

// Sink receives on a host and keeps the account. It ends with the test.
type Sink struct {
	*stream.Sink
	t    TB
	name string
}

// Sink listens on an address and port of the host, such as "10.0.0.1:5000"; "0.0.0.0:5000" takes all addresses.
func (h *Host) Sink(at string) *Sink { h.t.Helper(); return h.sink(at, "", "") }

// GroupSink joins a group on an interface and listens on "GROUP:PORT"; with a source, from that source only.
func (h *Host) GroupSink(iface, group string, source ...string) *Sink {
	h.t.Helper()
	return h.sink(group, iface, append(source, "")[0])
}

func (h *Host) sink(at, iface, source string) *Sink {
	h.t.Helper()
	listen, err := netip.ParseAddrPort(at)
	if err != nil {
		h.fatal(err, "sink")
	}
	c := stream.SinkConfig{Listen: listen, Interface: iface}
	if source != "" {
		c.Source = h.addr(source)
	}
	s := &Sink{t: h.t, name: h.Name + "/" + at}
	// A program that another test has just started holds the socket of a sink that was closed, between fork and exec.
	Until(h.t, Patience(5*time.Second), h.Name+": sink", func() error {
		err := h.Do(func() (err error) { s.Sink, err = stream.OpenSink(c); return err })
		if err != nil && !errors.Is(err, unix.EADDRINUSE) {
			h.fatal(err, "sink")
		}
		return err
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(context.Background()); err != nil {
			h.t.Errorf("sink %s: %v", s.name, err)
		}
	})
	h.t.Cleanup(func() { s.Close(); wg.Wait() })
	return s
}

// Close stops listening: its port answers with ICMP from then on.
func (s *Sink) Close() { s.Sink.Close() }

// Received is how many datagrams came so far.
func (s *Sink) Received() uint64 { n, _, _ := s.Counts(); return n }

// Wait waits until n different datagrams have come.
func (s *Sink) Wait(n uint64, within time.Duration) {
	s.t.Helper()
	deadline := time.After(within)
	for {
		_, distinct, more := s.Counts()
		if distinct >= n {
			return
		}
		select {
		case <-more:
		case <-deadline:
			s.t.Fatalf("sink %s: %d of %d datagrams within %v\n%s", s.name, distinct, n, within, dump(s.Report(n)))
		}
	}
}

// Quiet returns when nothing has come for the given time.
func (s *Sink) Quiet(d time.Duration) {
	for {
		_, _, more := s.Counts()
		select {
		case <-more:
		case <-time.After(d):
			return
		}
	}
}

// settle is how long Exactly waits for what should not come. A copy of a datagram that has come is microseconds behind it.
const settle = 100 * time.Millisecond

// Exactly waits for n datagrams, and for a moment longer, and demands that each came once, unchanged and in order, and
// nothing else. Exactly(0) demands silence.
func (s *Sink) Exactly(n uint64) stream.Report {
	s.t.Helper()
	s.Wait(n, Patience(10*time.Second))
	s.Quiet(settle)
	r := s.Report(n)
	if r.Received != n || !r.Clean() {
		s.t.Fatalf("sink %s: want exactly %d datagrams, clean\n%s", s.name, n, dump(r))
	}
	return r
}

// String is the report so far.
func (s *Sink) String() string { return dump(s.Report(0)) }

func dump(r stream.Report) string {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}
