// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

// lab is two network namespaces without name, joined by two links; both go when the test's thread ends.
//
//	far (source and receivers)                    near (the dataplane)
//	in1  10.8.0.1/24 ─────────────────────────── in0  10.8.0.2/24
//	out1 10.10.0.2/24, local 10.9.0.0/16 ─────── out0 10.10.0.1/24, route 10.9.0.0/16
type lab struct {
	t         *testing.T
	near, far int
	in0, out0 plan.IfIndex
	in1, out1 int
	clock     *clock
	method    plan.Method // of onePoint
}

var (
	group     = netip.MustParseAddr("239.1.1.1")
	sourceIP  = netip.MustParseAddr("10.8.0.1")
	nearIP    = netip.MustParseAddr("10.10.0.1")
	groupPort = uint16(5000)
)

func newLab(t *testing.T) *lab {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	runtime.LockOSThread() // and never unlocked: the thread, with its namespace, ends with the test
	l := &lab{t: t}
	l.far, l.near = l.unshare(), l.unshare()
	t.Cleanup(func() { unix.Close(l.far); unix.Close(l.near) })
	for i, name := range []string{"in", "out"} {
		la := netlink.NewLinkAttrs()
		la.Name = name + "0"
		l.must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: la, PeerName: name + "1", PeerNamespace: netlink.NsFd(l.far)}))
		l.address(name+"0", []string{"10.8.0.2/24", "10.10.0.1/24"}[i])
	}
	l.address("lo", "")
	l.in0, l.out0 = plan.IfIndex(l.index("in0")), plan.IfIndex(l.index("out0"))
	l.must(netlink.RouteAdd(&netlink.Route{LinkIndex: int(l.out0), Dst: prefix("10.9.0.0/16"), Gw: net.IPv4(10, 10, 0, 2)}))
	l.inFar(func() {
		l.address("lo", "")
		l.address("in1", "10.8.0.1/24")
		l.address("out1", "10.10.0.2/24")
		l.in1, l.out1 = l.index("in1"), l.index("out1")
		l.must(netlink.RouteAdd(&netlink.Route{LinkIndex: l.index("lo"), Dst: prefix("10.9.0.0/16"), Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Scope: netlink.SCOPE_HOST}))
		l.must(os.WriteFile("/proc/sys/net/ipv4/icmp_ratelimit", []byte("0"), 0o644))
		l.ready("in1", "out1")
		for _, name := range []string{"icmp_msgs_per_sec", "icmp_msgs_burst"} { // of the namespace since Linux 6.13
			os.WriteFile("/proc/sys/net/ipv4/"+name, []byte("1000000"), 0o644) //nolint:errcheck // see above
		}
	})
	l.ready("in0", "out0")
	return l
}

// ready waits until the kernel has noticed the carrier: before that a link drops all that is sent, silently.
func (l *lab) ready(names ...string) {
	for _, name := range names {
		eventually(l.t, name+" up", func() bool {
			link, err := netlink.LinkByName(name)
			return err == nil && link.Attrs().OperState == netlink.OperUp
		})
	}
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) unshare() int {
	l.must(unix.Unshare(unix.CLONE_NEWNET))
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	l.must(err)
	return fd
}

func (l *lab) inFar(f func()) {
	l.must(unix.Setns(l.far, unix.CLONE_NEWNET))
	defer func() { l.must(unix.Setns(l.near, unix.CLONE_NEWNET)) }()
	f()
}

func (l *lab) address(name, addr string) {
	l.t.Helper()
	link, err := netlink.LinkByName(name)
	l.must(err)
	if addr != "" {
		a, err := netlink.ParseAddr(addr)
		l.must(err)
		l.must(netlink.AddrAdd(link, a))
	}
	l.must(netlink.LinkSetUp(link))
}

func (l *lab) index(name string) int {
	l.t.Helper()
	link, err := netlink.LinkByName(name)
	l.must(err)
	return link.Attrs().Index
}

func prefix(s string) *net.IPNet {
	_, n, _ := net.ParseCIDR(s)
	return n
}

// control runs f on the descriptor of c.
func control(c syscall.Conn, f func(fd int) error) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := rc.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// source sends to the group from the far end, from an address of its in1.
func (l *lab) source(ttl, tos int) *net.UDPConn { return l.sourceFrom(sourceIP, ttl, tos) }

func (l *lab) sourceFrom(src netip.Addr, ttl, tos int) *net.UDPConn {
	return l.dial(src, groupPort, ttl, tos)
}

func (l *lab) dial(src netip.Addr, port uint16, ttl, tos int) (c *net.UDPConn) {
	l.inFar(func() {
		var err error
		c, err = net.DialUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(src, 0)), net.UDPAddrFromAddrPort(netip.AddrPortFrom(group, port)))
		l.must(err)
		l.t.Cleanup(func() { c.Close() })
		l.must(control(c, func(fd int) error {
			unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, ttl)
			unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, tos)
			return unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(l.in1)})
		}))
	})
	return c
}

// receiver is a socket at the far end.
type receiver struct {
	*net.UDPConn
	t *testing.T
}

// got is one datagram as it arrived.
type got struct {
	payload  string
	ttl, tos int
	from     netip.AddrPort
	to       netip.Addr
}

func (l *lab) receiver(dest string) *receiver {
	l.t.Helper()
	a := netip.MustParseAddrPort(dest)
	r := &receiver{t: l.t}
	l.inFar(func() {
		lc := net.ListenConfig{Control: func(_, _ string, rc syscall.RawConn) error {
			return rc.Control(func(fd uintptr) {
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
				unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVTTL, 1)
				unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVTOS, 1)
				unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
			})
		}}
		pc, err := lc.ListenPacket(context.Background(), "udp4", dest)
		l.must(err)
		r.UDPConn = pc.(*net.UDPConn)
		if a.Addr().IsMulticast() {
			l.must(control(r.UDPConn, func(fd int) error {
				return unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreqn{Multiaddr: a.Addr().As4(), Ifindex: int32(l.out1)})
			}))
		}
	})
	l.t.Cleanup(func() { r.Close() })
	return r
}

// next waits for a datagram.
func (r *receiver) next() got {
	r.t.Helper()
	g, err := r.read(time.Now().Add(patience()))
	if err != nil {
		r.t.Fatalf("%v: %v", r.LocalAddr(), err)
	}
	return g
}

// all waits for n, as long as they keep coming, and takes what is there beyond them. What the worker has sent may be on its way for
// a while on a machine with other things to do.
func (r *receiver) all(n int) (all []got) {
	for len(all) < n {
		g, err := r.read(time.Now().Add(patience()))
		if err != nil {
			break // the test misses them
		}
		all = append(all, g)
	}
	return append(all, r.rest()...)
}

// rest takes what is there already. Twice nothing is the end: a deadline may pass before the read begins.
func (r *receiver) rest() (all []got) {
	for misses := 0; misses < 2; {
		g, err := r.read(time.Now().Add(patience() / 250)) // 20 ms
		if err != nil {
			misses++
			continue
		}
		misses = 0
		all = append(all, g)
	}
	return all
}

func (r *receiver) read(deadline time.Time) (got, error) {
	b, oob := make([]byte, 65536), make([]byte, 256)
	r.SetReadDeadline(deadline)
	n, oobn, _, from, err := r.ReadMsgUDPAddrPort(b, oob)
	if err != nil {
		return got{}, err
	}
	g := got{payload: string(b[:n]), from: netip.AddrPortFrom(from.Addr().Unmap(), from.Port())}
	cs, err := unix.ParseSocketControlMessage(oob[:oobn])
	for _, c := range cs {
		switch c.Header.Type {
		case unix.IP_TTL:
			g.ttl = int(c.Data[0])
		case unix.IP_TOS:
			g.tos = int(c.Data[0])
		case unix.IP_PKTINFO:
			g.to = netip.AddrFrom4([4]byte(c.Data[8:12]))
		}
	}
	return g, err
}

// payloads are what arrived, without the rest.
func payloads(gs []got) []string {
	var p []string
	for _, g := range gs {
		p = append(p, g.payload)
	}
	return p
}

// engines runs a test with each back end, each in a lab of its own.
func engines(t *testing.T, f func(t *testing.T, l *lab, e *Engine)) {
	for _, kind := range []plan.Engine{plan.EngineMMsg, plan.EngineURing} {
		t.Run(kind.String(), func(t *testing.T) { withEngine(t, kind, f) })
	}
}

// methods runs a test with each back end and each way of receiving.
func methods(t *testing.T, f func(t *testing.T, l *lab, e *Engine)) {
	for _, m := range []plan.Method{plan.MethodSocket, plan.MethodPacket} {
		for _, kind := range []plan.Engine{plan.EngineMMsg, plan.EngineURing} {
			t.Run(kind.String()+"/"+m.String(), func(t *testing.T) {
				withEngine(t, kind, func(t *testing.T, l *lab, e *Engine) {
					l.method = m
					f(t, l, e)
				})
			})
		}
	}
}

func withEngine(t *testing.T, kind plan.Engine, f func(t *testing.T, l *lab, e *Engine)) {
	l := newLab(t)
	e := l.start()
	if kind == plan.EngineURing && e.uringErr != nil {
		t.Skipf("no io_uring here: %v", e.uringErr)
	}
	l.apply(e, &plan.Plan{Settings: plan.Settings{Engine: kind}})
	if got := e.Info().Engine; got != kind {
		t.Fatalf("engine %v (%s), want %v", got, e.Info().EngineReason, kind)
	}
	f(t, l, e)
}

// shards runs a test with each back end, once with all outputs of a list on one shard, and once over all shards.
func shards(t *testing.T, f func(t *testing.T, l *lab, e *Engine)) {
	t.Run("one-shard", func(t *testing.T) { engines(t, f) })
	t.Run("all-shards", func(t *testing.T) {
		engines(t, func(t *testing.T, l *lab, e *Engine) {
			if len(e.shards) == 1 {
				t.Skip("there is one CPU")
			}
			e.spread = 1
			f(t, l, e)
		})
	})
}

// start opens and runs an Engine in the near namespace, until the test ends.
func (l *lab) start() *Engine {
	l.t.Helper()
	c := &clock{}
	e, end := l.startWith(Config{Clock: c.now})
	l.clock = c
	l.t.Cleanup(end)
	return e
}

func (l *lab) startWith(c Config) (e *Engine, end func()) {
	l.t.Helper()
	e, err := Open(c)
	l.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	return e, func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				l.t.Errorf("Run: %v", err)
			}
		case <-time.After(2 * patience()):
			buf := make([]byte, 1<<20)
			l.t.Fatalf("Run did not end:\n%s", buf[:runtime.Stack(buf, true)])
		}
	}
}

// clock is time, which a test may hold. The worker asks it once per wake-up.
type clock struct{ gate atomic.Pointer[gate] }

type gate struct{ reached, open chan struct{} }

func (c *clock) now() time.Time {
	if g := c.gate.Swap(nil); g != nil {
		close(g.reached)
		<-g.open
	}
	return time.Now()
}

// hold stops the worker at its next wake-up: reached is closed when it stands, closing open lets it go.
func (l *lab) hold() (reached, open chan struct{}) {
	g := &gate{make(chan struct{}), make(chan struct{})}
	l.clock.gate.Store(g)
	return g.reached, g.open
}

func (l *lab) setMTU(name string, mtu int) {
	link, err := netlink.LinkByName(name)
	l.must(err)
	l.must(netlink.LinkSetMTU(link, mtu))
}

// apply commits p, keeping the engine that runs, and waits for its adoption.
func (l *lab) apply(e *Engine, p *plan.Plan) {
	l.t.Helper()
	if ps := l.tryApply(e, p); len(ps) > 0 {
		l.t.Fatalf("problems: %v", ps)
	}
}

func (l *lab) tryApply(e *Engine, p *plan.Plan) []plan.Problem {
	l.t.Helper()
	if p.Settings.Engine == plan.EngineAuto {
		p.Settings.Engine = e.plan.Settings.Engine
	}
	a, err := e.Prepare(p)
	l.must(err)
	select {
	case <-a.Commit():
	case <-time.After(2 * patience()):
		buf := make([]byte, 1<<20)
		l.t.Fatalf("not adopted:\n%s", buf[:runtime.Stack(buf, true)])
	}
	return a.Problems()
}

// workersReceived waits until all workers together have received n datagrams, and are done with them.
func (l *lab) workersReceived(e *Engine, n uint64) {
	l.t.Helper()
	eventually(l.t, "received", func() bool { return packets(e) == n })
	l.tryApply(e, e.plan)
}

// packets is what all workers have received, those that have ended too.
func packets(e *Engine) (n uint64) {
	for _, s := range e.seats {
		n += s.stats.in.packets.Load() + s.stats.twin.packets.Load()
	}
	return n
}

// twins are the receive points of the group.
func (l *lab) twins(e *Engine) int {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return len(e.points[l.key()].points)
}

// received waits until the group's point has received n datagrams and the worker is done with them.
func (l *lab) received(e *Engine, n uint64) {
	l.t.Helper()
	eventually(l.t, "received", func() bool { c, _ := e.Point(l.key()); return c.Packets == n })
	l.tryApply(e, e.plan) // a worker adopts between two runs
}

// feed sends in the background, at some 40,000 a second and no faster than the group's point takes them: a queue that overflows
// because the machine stalls is not what these tests are about.
func (l *lab) feed(e *Engine, src *net.UDPConn, sent []string) (ended <-chan struct{}) {
	end := make(chan struct{})
	go func() {
		defer close(end)
		for i, s := range sent {
			src.Write([]byte(s)) //nolint:errcheck // seen at the receiver
			if i%20 > 0 {
				continue
			}
			time.Sleep(500 * time.Microsecond) // a pace, not a wait
			// A counter has no event. What is lost is never counted, so that this ends: the test then tells.
			for since := time.Now(); time.Since(since) < 10*time.Second; time.Sleep(time.Millisecond) {
				if c, _ := e.Point(l.key()); c.Packets+200 > uint64(i) {
					break
				}
			}
		}
	}()
	return end
}

// output is an up output on out0.
func (l *lab) output(id plan.OutputID, dest string) *plan.Output {
	return &plan.Output{
		ID: id, Up: true, Name: dest, IfIndex: l.out0, IfName: "out0", MTU: 1500,
		Dest: netip.MustParseAddrPort(dest), Source: nearIP, TTL: 64, DSCP: plan.DSCPKeep,
	}
}

// onePoint is a Plan with the group's receive point, and these lists for any source.
func (l *lab) onePoint(lists ...*plan.List) *plan.Plan {
	return &plan.Plan{Points: []*plan.Point{{
		PointKey: l.key(), IfName: "in0", Method: l.method, JoinAny: true, Any: &plan.Route{Lists: lists},
	}}}
}

func (l *lab) key() plan.PointKey {
	return plan.PointKey{IfIndex: l.in0, Group: group, Port: groupPort}
}

func (l *lab) send(c *net.UDPConn, payloads ...string) {
	l.t.Helper()
	for _, p := range payloads {
		_, err := c.Write([]byte(p))
		l.must(err)
	}
}

// patience is how long something may take that should be there at once. An emulated machine is ten times slower.
func patience() time.Duration {
	if os.Getenv("MCR_VM") != "" {
		return time.Minute
	}
	return 5 * time.Second
}

// some is n, or fewer in a short test.
func some(n int) int {
	if testing.Short() {
		return n / 8
	}
	return n
}

// eventually waits until f is true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.After(patience())
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// numbered is n payloads of size bytes that differ.
func numbered(n, size int) (ps []string) {
	for i := range n {
		head := fmt.Sprintf("%06d ", i)
		ps = append(ps, (head + strings.Repeat("x", max(size-len(head), 0)))[:size])
	}
	return ps
}

func (l *lab) near0(name string, up bool) {
	link, err := netlink.LinkByName(name)
	l.must(err)
	if up {
		l.must(netlink.LinkSetUp(link))
	} else {
		l.must(netlink.LinkSetDown(link))
	}
}

func (l *lab) far0Down(name string, down bool) { l.inFar(func() { l.near0(name, !down) }) }

func netRouteReplace(l *lab) error {
	return netlink.RouteReplace(&netlink.Route{LinkIndex: int(l.out0), Dst: prefix("10.9.0.0/16"), Gw: net.IPv4(10, 10, 0, 2)})
}

func (l *lab) withEngine(e *Engine, p *plan.Plan) *plan.Plan {
	p.Settings.Engine = e.plan.Settings.Engine
	return p
}
