// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// batch is how many datagrams one system call carries.
const batch = 64

// SendConfig describes a stream to send.
type SendConfig struct {
	Interface  string         // egress; needed for a group, may be empty for a unicast destination
	Dest       netip.AddrPort // usually a group
	Source     netip.Addr     // invalid: the kernel's choice
	SourcePort uint16         // 0: the kernel's choice
	Sizes      []int          // bytes of payload, 0..MaxSize, taken in turn; none: 1,316
	Rate       float64        // datagrams a second; 0: as fast as it goes
	Burst      int            // sent back to back, 1..64, where there is a rate; 0: whatever is due
	Segments   int            // datagrams of one size in one segmented send (UDP_SEGMENT), 1..64; 0: each by itself
	Count      uint64         // 0: until the context ends
	TTL        int            // 1..255; 0: 16
	DSCP       int            // 0..63
	Stream     uint32         // 0: at random
}

// Sent says what was sent.
type Sent struct {
	Stream  uint32  `json:"stream"`
	Sent    uint64  `json:"sent"`
	Errors  uint64  `json:"errors"` // datagrams that the kernel refused
	Seconds float64 `json:"seconds"`
}

// Sender sends one stream.
type Sender struct {
	conf SendConfig
	conn *net.UDPConn
	msgs []ipv4.Message
	run  []ipv4.Message // the one message of a segmented send
	sent atomic.Uint64
}

// OpenSender makes the socket, in the network namespace of the calling thread.
func OpenSender(c SendConfig) (*Sender, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: c.Source.AsSlice(), Port: int(c.SourcePort)}, Control: c.control}
	conn, err := d.Dial("udp4", c.Dest.String())
	if err != nil {
		return nil, fmt.Errorf("open sender to %v on %q: %w", c.Dest, c.Interface, err)
	}
	s := &Sender{conf: c, conn: conn.(*net.UDPConn), msgs: make([]ipv4.Message, batch)}
	largest := 0
	for _, n := range c.Sizes {
		largest = max(largest, n)
	}
	for i := range s.msgs {
		p := make([]byte, largest)
		for j := range p {
			p[j] = byte(j*7 + i)
		}
		s.msgs[i].Buffers = [][]byte{p}
	}
	if c.Segments > 1 {
		s.run = []ipv4.Message{{OOB: segmentSize(largest)}}
	}
	return s, nil
}

func (c *SendConfig) complete() error {
	if len(c.Sizes) == 0 {
		c.Sizes = []int{1316}
	}
	for _, n := range c.Sizes {
		if n < 0 || n > MaxSize {
			return fmt.Errorf("size %d: not in 0..%d", n, MaxSize)
		}
	}
	if c.TTL == 0 {
		c.TTL = 16
	}
	for c.Stream == 0 {
		c.Stream = rand.Uint32()
	}
	switch {
	case !c.Dest.Addr().Is4() || c.Dest.Port() == 0:
		return fmt.Errorf("destination %v: an IPv4 address and a port are needed", c.Dest)
	case c.Dest.Addr().IsMulticast() && c.Interface == "":
		return fmt.Errorf("group %v: an interface is needed", c.Dest.Addr())
	case c.TTL < 1 || c.TTL > 255:
		return fmt.Errorf("TTL %d: not in 1..255", c.TTL)
	case c.DSCP < 0 || c.DSCP > 63:
		return fmt.Errorf("DSCP %d: not in 0..63", c.DSCP)
	case c.Burst < 0 || c.Burst > batch:
		return fmt.Errorf("burst %d: not in 0..%d", c.Burst, batch)
	case c.Rate < 0:
		return fmt.Errorf("rate %g: negative", c.Rate)
	case c.Segments < 0 || c.Segments > batch:
		return fmt.Errorf("segments %d: not in 0..%d", c.Segments, batch)
	case c.Segments > 1 && (len(c.Sizes) != 1 || c.Sizes[0] == 0 || c.Sizes[0]*c.Segments > MaxSize):
		return fmt.Errorf("%d segments: one size from 1 to %d is needed", c.Segments, MaxSize/c.Segments)
	}
	if c.Segments > 1 && c.Burst == 0 {
		c.Burst = c.Segments
	}
	return nil
}

// control sets the options before the socket is connected, as the route depends on them.
func (c *SendConfig) control(_, _ string, rc syscall.RawConn) error {
	var ifindex int
	if c.Interface != "" {
		i, err := net.InterfaceByName(c.Interface)
		if err != nil {
			return fmt.Errorf("interface %s: %w", c.Interface, err)
		}
		ifindex = i.Index
	}
	opts := []option{
		{unix.IPPROTO_IP, unix.IP_TTL, c.TTL},
		{unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, c.TTL},
		{unix.IPPROTO_IP, unix.IP_TOS, c.DSCP << 2},
		// Fragments at the interface's MTU, and no DF: what most senders of multicast do.
		{unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_OMIT},
		{unix.SOL_SOCKET, unix.SO_SNDBUF, 4 << 20},
	}
	return withFD(rc, func(fd int) error {
		if err := setOptions(fd, opts); err != nil {
			return err
		}
		if ifindex == 0 {
			return nil
		}
		if c.Dest.Addr().IsMulticast() {
			return unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(ifindex)})
		}
		return unix.BindToDevice(fd, c.Interface)
	})
}

// Sent is how many datagrams went out so far.
func (s *Sender) Sent() uint64 { return s.sent.Load() }

// LocalAddr is where the stream comes from.
func (s *Sender) LocalAddr() netip.AddrPort { return s.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// Close closes the socket.
func (s *Sender) Close() error { return s.conn.Close() }

// Run sends until Count is reached or ctx ends; both are success. A datagram that the kernel refuses is counted and skipped.
func (s *Sender) Run(ctx context.Context) (Sent, error) {
	out := Sent{Stream: s.conf.Stream}
	pc, start := ipv4.NewPacketConn(s.conn), time.Now()
	for seq := uint64(0); ctx.Err() == nil && (s.conf.Count == 0 || seq < s.conf.Count); {
		n := s.due(ctx, start, seq)
		s.fill(seq, n)
		for off := 0; off < n; {
			k, err := s.write(pc, s.msgs[off:n])
			if k <= 0 {
				if ctx.Err() != nil {
					break
				}
				if err == nil {
					return out, fmt.Errorf("send to %v: nothing taken", s.conf.Dest)
				}
				out.Errors++
				k = 1
			} else {
				s.sent.Add(uint64(k))
			}
			off += k
		}
		seq += uint64(n)
	}
	out.Sent, out.Seconds = s.sent.Load(), time.Since(start).Seconds()
	return out, nil
}

// write sends some of msgs, and returns how many.
func (s *Sender) write(pc *ipv4.PacketConn, msgs []ipv4.Message) (int, error) {
	if s.run == nil {
		return pc.WriteBatch(msgs, 0)
	}
	n := min(len(msgs), s.conf.Segments)
	m := &s.run[0]
	m.Buffers = m.Buffers[:0]
	for i := range n {
		m.Buffers = append(m.Buffers, msgs[i].Buffers[0])
	}
	k, err := pc.WriteBatch(s.run, 0)
	return k * n, err
}

// due waits for the time of datagram seq and says how many to send at once; 0 if ctx ended.
func (s *Sender) due(ctx context.Context, start time.Time, seq uint64) int {
	n := batch
	if s.conf.Rate > 0 {
		if !sleepUntil(ctx, start.Add(time.Duration(float64(seq)/s.conf.Rate*1e9))) {
			return 0
		}
		if n = s.conf.Burst; n == 0 {
			ahead := time.Since(start).Seconds()*s.conf.Rate - float64(seq)
			n = int(min(max(ahead, 1), batch))
		}
	}
	if s.conf.Count > 0 {
		n = int(min(uint64(n), s.conf.Count-seq))
	}
	return n
}

func (s *Sender) fill(seq uint64, n int) {
	now := time.Now()
	for i := range n {
		size := s.conf.Sizes[(seq+uint64(i))%uint64(len(s.conf.Sizes))]
		p := s.msgs[i].Buffers[0][:size]
		s.msgs[i].Buffers[0] = p
		Header{Stream: s.conf.Stream, Seq: seq + uint64(i), Sent: now}.Put(p)
	}
}

// sleepUntil is false if ctx ended first. The runtime's timers are a millisecond coarse when it is idle, hence nanosleep.
func sleepUntil(ctx context.Context, at time.Time) bool {
	for {
		d := time.Until(at)
		switch {
		case ctx.Err() != nil:
			return false
		case d <= 0:
			return true
		case d > 5*time.Millisecond:
			select {
			case <-ctx.Done():
			case <-time.After(d - 2*time.Millisecond):
			}
		case d > 100*time.Microsecond:
			ts := unix.NsecToTimespec(int64(d - 60*time.Microsecond))
			_ = unix.Nanosleep(&ts, nil) // EINTR: the loop looks at the time again
		}
	}
}
