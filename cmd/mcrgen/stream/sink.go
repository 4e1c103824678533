// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// SinkConfig says where to listen.
type SinkConfig struct {
	Listen    netip.AddrPort // a group is joined on Interface; any other address is bound
	Interface string         // needed for a group
	Source    netip.Addr     // of a source-specific join; invalid: any source
}

// Sink receives and keeps the account.
type Sink struct {
	conn *net.UDPConn

	mu      sync.Mutex // guards what follows
	acc     Account
	drops   uint64        // of SO_RXQ_OVFL, which counts since the socket was made
	changed chan struct{} // closed, and made anew, at each arrival
}

// OpenSink makes the socket, in the network namespace of the calling thread; from then on the kernel queues what
// arrives.
func OpenSink(c SinkConfig) (*Sink, error) {
	if !c.Listen.Addr().Is4() || c.Listen.Port() == 0 {
		return nil, fmt.Errorf("listen on %v: an IPv4 address and a port are needed", c.Listen)
	}
	conn, err := c.open()
	if err != nil {
		return nil, fmt.Errorf("open sink on %v: %w", c.Listen, err)
	}
	s := &Sink{conn: conn, changed: make(chan struct{})}
	if c.Listen.Addr().IsMulticast() {
		if err := c.join(s.conn); err != nil {
			return nil, errors.Join(fmt.Errorf("join %v on %q: %w", c.Listen.Addr(), c.Interface, err), conn.Close())
		}
	}
	return s, nil
}

// open makes the socket by hand, since net.ListenPacket binds a group to all addresses.
func (c *SinkConfig) open() (*net.UDPConn, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "sink")
	defer f.Close() // FilePacketConn duplicates it
	if err := setOptions(fd, c.options(fd)); err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(c.Listen.Port()), Addr: c.Listen.Addr().As4()}); err != nil {
		return nil, fmt.Errorf("bind: %w", err)
	}
	conn, err := net.FilePacketConn(f)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

func (c *SinkConfig) options(fd int) []option {
	opts := []option{
		{unix.IPPROTO_IP, unix.IP_RECVTTL, 1},
		{unix.IPPROTO_IP, unix.IP_RECVTOS, 1},
		{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1},
		{unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1},
	}
	if c.Listen.Addr().IsMulticast() {
		// Two sinks of one group on a host each get every datagram. MULTICAST_ALL 0: only what this socket joined.
		opts = append(opts, option{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}, option{unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0})
	}
	const room = 32 << 20
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, room) != nil { // needs CAP_NET_ADMIN
		opts = append(opts, option{unix.SOL_SOCKET, unix.SO_RCVBUF, room})
	}
	return opts
}

func (c *SinkConfig) join(conn *net.UDPConn) error {
	ifi, err := net.InterfaceByName(c.Interface)
	if err != nil {
		return err
	}
	pc, group := ipv4.NewPacketConn(conn), &net.UDPAddr{IP: c.Listen.Addr().AsSlice()}
	if c.Source.IsValid() {
		return pc.JoinSourceSpecificGroup(ifi, group, &net.UDPAddr{IP: c.Source.AsSlice()})
	}
	return pc.JoinGroup(ifi, group)
}

// Run receives until ctx ends or the sink is closed; both are success.
func (s *Sink) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { s.conn.SetReadDeadline(time.Unix(1, 0)) })()
	pc, msgs := ipv4.NewPacketConn(s.conn), make([]ipv4.Message, batch)
	for i := range msgs {
		msgs[i].Buffers, msgs[i].OOB = [][]byte{make([]byte, MaxSize)}, make([]byte, 256)
	}
	for {
		n, err := pc.ReadBatch(msgs, 0)
		switch {
		case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("receive: %w", err)
		}
		s.take(msgs[:n])
	}
}

func (s *Sink) take(msgs []ipv4.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range msgs {
		m := &msgs[i]
		from := m.Addr.(*net.UDPAddr).AddrPort()
		meta := Meta{Source: netip.AddrPortFrom(from.Addr().Unmap(), from.Port())}
		s.control(m.OOB[:m.NN], &meta)
		s.acc.Take(m.Buffers[0][:m.N], meta)
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// control reads the control messages that the options above ask for.
func (s *Sink) control(oob []byte, m *Meta) {
	for len(oob) >= unix.SizeofCmsghdr {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return
		}
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_TTL && len(data) >= 4:
			m.TTL = uint8(binary.NativeEndian.Uint32(data))
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_TOS && len(data) >= 1:
			m.TOS = data[0]
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_TIMESTAMPNS && len(data) >= 16:
			m.Arrival = time.Unix(int64(binary.NativeEndian.Uint64(data)), int64(binary.NativeEndian.Uint64(data[8:])))
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_RXQ_OVFL && len(data) >= 4:
			s.drops = uint64(binary.NativeEndian.Uint32(data))
		}
		oob = rest
	}
	if m.Arrival.IsZero() {
		m.Arrival = time.Now()
	}
}

// Report sums up; expect is the number of datagrams that were sent, 0 if that is not known.
func (s *Sink) Report(expect uint64) Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.acc.Report(expect)
	r.SocketDrops = s.drops
	return r
}

// Counts says how many datagrams of ours came, how many of them for the first time, and gives a channel that is closed when more
// do, or anything else arrives.
func (s *Sink) Counts() (received, distinct uint64, more <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acc.r.Received, s.acc.r.Distinct(), s.changed
}

// LocalAddr is where the sink listens.
func (s *Sink) LocalAddr() netip.AddrPort { return s.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// Close ends Run.
func (s *Sink) Close() error { return s.conn.Close() }
