// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"mcr/dataplane/plan"
)

// mirror is what a receiver of events knows of links if it believes every word of them.
type mirror struct {
	links  map[plan.IfIndex]*Link
	events int
	faults []string
}

func newMirror(s *Snapshot) *mirror {
	m := &mirror{links: map[plan.IfIndex]*Link{}}
	for _, l := range s.Links() {
		m.links[l.Index] = l
	}
	return m
}

func (m *mirror) take(ev Event) {
	m.events++
	if ev.All {
		m.links = newMirror(ev.Snapshot).links
		return
	}
	for i := range ev.Touched {
		if l := ev.Snapshot.Index(i); l != nil {
			m.links[i] = l
		} else {
			delete(m.links, i)
		}
	}
}

// differs says in what the mirror is not the snapshot.
func (m *mirror) differs(s *Snapshot) []string {
	out := m.faults
	for i, l := range m.links {
		if s.Index(i) != l {
			out = append(out, fmt.Sprintf("%s changed and no event said so", l.Name))
		}
	}
	for _, l := range s.Links() {
		if m.links[l.Index] == nil {
			out = append(out, fmt.Sprintf("%s came and no event said so", l.Name))
		}
	}
	return out
}

// leaves are what a snapshot says, one line for each link.
func leaves(s *Snapshot) map[string]string {
	out := map[string]string{}
	for name, l := range s.Links() {
		var addrs []string
		for _, a := range l.Addrs {
			addrs = append(addrs, fmt.Sprintf("%v in %v", a.IP, a.Prefix.Masked()))
		}
		out[name] = fmt.Sprint(l.Index, l.Kind, l.Type, l.MTU, l.Up, l.Oper, l.Multicast, l.PointPoint, l.NoARP, l.Loopback, l.Master, l.MasterName, l.Enslaved, addrs)
	}
	return out
}

// kernel is the same, read with another program's decoder: netlink's own.
func kernel(t testing.TB) map[string]string {
	t.Helper()
	links, err := netlink.LinkList()
	for errors.Is(err, netlink.ErrDumpInterrupted) {
		links, err = netlink.LinkList()
	}
	must(t, err)
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	for errors.Is(err, netlink.ErrDumpInterrupted) {
		addrs, err = netlink.AddrList(nil, netlink.FAMILY_V4)
	}
	must(t, err)
	byIndex, of := map[int]netlink.Link{}, map[int][]string{}
	for _, l := range links {
		byIndex[l.Attrs().Index] = l
	}
	for _, a := range addrs {
		local, _ := netip.AddrFromSlice(a.IP.To4())
		bits, _ := a.Mask.Size()
		on := netip.PrefixFrom(local, bits)
		if a.Peer != nil {
			peer, _ := netip.AddrFromSlice(a.Peer.IP.To4())
			bits, _ = a.Peer.Mask.Size()
			on = netip.PrefixFrom(peer, bits)
		}
		of[a.LinkIndex] = append(of[a.LinkIndex], fmt.Sprintf("%v in %v", local, on.Masked()))
	}
	out := map[string]string{}
	for _, l := range links {
		a := l.Attrs()
		kind, master, enslaved := l.Type(), "", false
		if kind == "device" {
			kind = ""
		}
		if m := byIndex[a.MasterIndex]; m != nil {
			master, enslaved = m.Attrs().Name, m.Type() == "bridge"
		}
		has := func(f uint32) bool { return a.RawFlags&f != 0 }
		oper := strings.ToUpper(strings.ReplaceAll(a.OperState.String(), "-", "_"))
		if a.OperState == netlink.OperUnknown && !has(unix.IFF_UP) {
			oper = "DOWN"
		}
		if a.OperState == netlink.OperLowerLayerDown {
			oper = "LOWER_LAYER_DOWN"
		}
		out[a.Name] = fmt.Sprint(a.Index, kind, a.EncapType, a.MTU, has(unix.IFF_UP), oper, has(unix.IFF_MULTICAST), has(unix.IFF_POINTOPOINT),
			has(unix.IFF_NOARP), has(unix.IFF_LOOPBACK), a.MasterIndex, master, enslaved, of[a.Index])
	}
	return out
}

// unequal says in what two differ; at most a few lines.
func unequal(got, want map[string]string) []string {
	var out []string
	for name, w := range want {
		if got[name] != w {
			out = append(out, fmt.Sprintf("%s: got %q, the kernel says %q", name, got[name], w))
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			out = append(out, name+" is not there")
		}
	}
	slices.Sort(out)
	return out[:min(len(out), 10)]
}

// storm makes random changes to links of a namespace of its own, moving some to a second one and back.
type storm struct {
	t           testing.TB
	rnd         *rand.Rand
	near, far   netns.NsHandle
	there       *netlink.Handle // in the second namespace
	bridge      netlink.Link
	names, away []string
	made        int
}

// newStorm makes n links. The calling thread is in the namespace that is watched, and stays.
func newStorm(t testing.TB, n int) *storm {
	t.Helper()
	s := &storm{t: t, rnd: rand.New(rand.NewPCG(1, 2))}
	var err error
	s.near, err = netns.Get()
	must(t, err)
	s.far, err = netns.New()
	must(t, err)
	must(t, netns.Set(s.near))
	s.there, err = netlink.NewHandleAt(s.far)
	must(t, err)
	t.Cleanup(func() {
		s.there.Close()
		_ = s.far.Close()
		_ = s.near.Close()
	})
	s.bridge = &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
	must(t, netlink.LinkAdd(s.bridge))
	for range n {
		s.create(0)
	}
	return s
}

// create makes a link; with the index of one that went, if that is not 0.
func (s *storm) create(index int) {
	s.made++
	name := fmt.Sprintf("d%d", s.made)
	must(s.t, netlink.LinkAdd(&netlink.Ifb{LinkAttrs: netlink.LinkAttrs{Name: name, Index: index}}))
	s.names = append(s.names, name)
}

// lasting is how many kinds of change leave each link where it is.
const lasting = 93

// change makes one random change, of the first so many kinds of a hundred.
func (s *storm) change(kinds int) {
	t := s.t
	t.Helper()
	i := s.rnd.IntN(len(s.names))
	name := s.names[i]
	l, err := netlink.LinkByName(name)
	must(t, err)
	switch n := s.rnd.IntN(kinds); {
	case n < 35:
		a, err := netlink.ParseAddr(fmt.Sprintf("10.%d.%d.%d/%d", s.rnd.IntN(4), s.rnd.IntN(256), 1+s.rnd.IntN(250), 24+s.rnd.IntN(9)))
		must(t, err)
		if err := netlink.AddrAdd(l, a); !errors.Is(err, unix.EEXIST) {
			must(t, err)
		}
	case n < 50:
		addrs, err := netlink.AddrList(l, netlink.FAMILY_V4)
		must(t, err)
		if len(addrs) > 0 {
			must(t, netlink.AddrDel(l, &addrs[s.rnd.IntN(len(addrs))]))
		}
	case n < 60:
		must(t, netlink.LinkSetUp(l))
	case n < 65:
		must(t, netlink.LinkSetDown(l))
	case n < 70:
		must(t, netlink.LinkSetMulticastOn(l))
	case n < 75:
		must(t, netlink.LinkSetMulticastOff(l))
	case n < 80:
		must(t, netlink.LinkSetMTU(l, 1000+s.rnd.IntN(500)))
	case n < 84:
		s.made++
		s.names[i] = fmt.Sprintf("r%d", s.made)
		rename(t, l, s.names[i])
	case n < 86: // swap two names
		other, err := netlink.LinkByName(s.names[(i+1)%len(s.names)])
		must(t, err)
		rename(t, l, "swap")
		rename(t, other, name)
		rename(t, l, other.Attrs().Name)
	case n < 90:
		must(t, netlink.LinkSetMaster(l, s.bridge))
	case n < lasting:
		must(t, netlink.LinkSetNoMaster(l))
	case n < 96: // made again, half of them with the index that was
		must(t, netlink.LinkDel(l))
		s.names = slices.Delete(s.names, i, i+1)
		s.create(l.Attrs().Index * s.rnd.IntN(2))
	case n < 98:
		must(t, netlink.LinkSetNsFd(l, int(s.far)))
		s.names = slices.Delete(s.names, i, i+1)
		s.away = append(s.away, name)
	case len(s.away) > 0:
		back := s.away[0]
		s.away = s.away[1:]
		l, err := s.there.LinkByName(back)
		must(t, err)
		must(t, s.there.LinkSetNsFd(l, int(s.near)))
		s.names = append(s.names, back)
	}
}

// rename gives a link another name. Before Linux 6.2 it must be down.
func rename(t testing.TB, l netlink.Link, name string) {
	t.Helper()
	err := netlink.LinkSetName(l, name)
	if errors.Is(err, unix.EBUSY) {
		must(t, netlink.LinkSetDown(l))
		err = netlink.LinkSetName(l, name)
	}
	must(t, err)
}

// settled waits until the snapshot is what the kernel says, and events told it all.
func settled(t testing.TB, m *Monitor, told *mirror) {
	t.Helper()
	limit := time.After(30 * time.Second)
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case ev := <-m.Events():
			told.take(ev)
			continue
		case <-look.C:
		case <-limit:
			t.Fatalf("after 30 s the state is not the kernel's:\n%s", strings.Join(append(unequal(leaves(m.Snapshot()), kernel(t)), told.differs(m.Snapshot())...), "\n"))
		}
		if s := m.Snapshot(); len(unequal(leaves(s), kernel(t))) == 0 && len(told.differs(s)) == 0 {
			return
		}
	}
}

// P2.1, F3: among many links, and with up to 1,000 changes a second, as the machine makes them, the end is the kernel's state leaf by leaf, and one who
// heard the events alone knows it too.
func TestP2_1_Storm(t *testing.T) {
	for _, c := range []struct {
		name                  string
		links, short, changes int
		kinds                 int // of changes; those that stay are slow: a link that goes takes the kernel milliseconds
	}{
		{"5,000 links", 5000, 1000, 2000, lasting},
		{"links come and go", 500, 200, 1000, 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			inNamespace(t)
			if testing.Short() {
				c.links, c.changes = c.short, c.changes/5
			}
			s := newStorm(t, c.links)
			m := start(t)
			told := newMirror(m.Snapshot())
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				for {
					select {
					case ev := <-m.Events():
						told.take(ev)
					case <-stop:
						return
					}
				}
			}()
			before, begin := cpuTime(t), time.Now()
			pace := time.NewTicker(time.Millisecond)
			defer pace.Stop()
			for range c.changes {
				<-pace.C
				s.change(c.kinds)
			}
			took := time.Since(begin)
			close(stop)
			<-stopped
			used := cpuTime(t) - before
			settled(t, m, told)
			t.Logf("%d links: %.0f changes/s for %v, %d events, state and events settled %v later; this process used %.0f %% of a CPU, the changes themselves included",
				c.links, float64(c.changes)/took.Seconds(), took.Round(time.Millisecond), told.events,
				(time.Since(begin) - took).Round(time.Millisecond), 100*used.Seconds()/took.Seconds())
		})
	}
}

// cpuTime is what this process has used.
func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var u unix.Rusage
	must(t, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// One change among many links costs a fraction of reading them all.
func TestCostOfOneChange(t *testing.T) {
	inNamespace(t)
	links := 2000
	if testing.Short() {
		links = 500
	}
	newStorm(t, links)
	m, err := Open(discard())
	must(t, err)
	defer m.Close()
	i := m.Snapshot().Link("d77").Index
	// The best of several: others use the machine as well.
	cost := func(what func(*doubts)) time.Duration {
		best := time.Hour
		for range 10 {
			what(m.doubts)
			begin := time.Now()
			_, err := m.refresh()
			must(t, err)
			best = min(best, time.Since(begin))
		}
		return best
	}
	one := cost(func(d *doubts) { d.add(hint{link: i}) })
	all := cost((*doubts).everything)
	t.Logf("%d links: one change %v, everything %v", links, one, all)
	if one*10 > all {
		t.Errorf("one change costs %v, reading all %d links %v", one, links, all)
	}
}

// After an overrun, whatever was lost, the end is right.
func TestP2_6_Overrun(t *testing.T) {
	inNamespace(t)
	s := newStorm(t, 50)
	m, err := Open(discard())
	must(t, err)
	raw, err := m.heard.SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096) }))
	must(t, err)
	for range 300 { // nobody listens yet
		s.change(100)
	}
	told := newMirror(m.Snapshot())
	run(t, m)
	ev := await(t, m, "an event after the overrun", func(Event) bool { return true })
	told.take(ev)
	if !ev.All {
		t.Error("it does not say that all is in doubt")
	}
	settled(t, m, told)
}

// P2.7, F3: a link that was made again with the index it had, or came back from another namespace with it, is told as
// missing in between, however fast that was: what was bound to it is not any more.
func TestP2_7_MadeAgainIsToldMissing(t *testing.T) {
	for _, c := range []struct {
		name  string
		again func(*storm, netlink.Link)
	}{
		{"made again", func(s *storm, l netlink.Link) {
			must(s.t, netlink.LinkDel(l))
			must(s.t, netlink.LinkAdd(&netlink.Ifb{LinkAttrs: netlink.LinkAttrs{Name: "d1", Index: l.Attrs().Index}}))
		}},
		{"moved away and back", func(s *storm, l netlink.Link) {
			must(s.t, netlink.LinkSetNsFd(l, int(s.far)))
			must(s.t, s.there.LinkSetNsFd(l, int(s.near)))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inNamespace(t)
			s := newStorm(t, 20)
			m := start(t)
			was := m.Snapshot().Link("d1")
			for range 20 {
				c.again(s, mustLink(t, "d1"))
				missing := false
				await(t, m, "d1 missing, then there again", func(ev Event) bool {
					l := ev.Snapshot.Index(was.Index)
					missing = missing || l == nil
					return missing && l != nil
				})
			}
			if is := m.Snapshot().Link("d1"); is == nil || is.Index != was.Index {
				t.Errorf("d1 is %v, want index %d", is, was.Index)
			}
		})
	}
}

// Nobody receives for a while: changes are folded into one event, which says all that was touched.
func TestEventsAreFolded(t *testing.T) {
	inNamespace(t)
	s := newStorm(t, 100)
	m := start(t)
	told := newMirror(m.Snapshot())
	for range 300 {
		s.change(100)
	}
	settled(t, m, told)
	if told.events > 100 {
		t.Errorf("%d events for what came while nobody received", told.events)
	}
}

func TestDoubtsAreBounded(t *testing.T) {
	d := newDoubts()
	for i := range 3 * mostPrefixes {
		d.add(hint{prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32), via: 7})
	}
	for range 3 {
		d.add(hint{link: 7})
	}
	got := d.take()
	if len(got.prefixes) != mostPrefixes || !got.routes || !maps.Equal(got.via, map[plan.IfIndex]bool{7: true}) || !maps.Equal(got.links, map[plan.IfIndex]bool{7: false}) {
		t.Errorf("%d prefixes, all routes: %v, via %v, links %v", len(got.prefixes), got.routes, got.via, got.links)
	}
	// What could not be read is in doubt again, with what came since.
	d.add(hint{link: 8})
	d.again(got)
	if next := d.take(); len(next.links) != 2 || len(next.prefixes) != mostPrefixes || !next.routes || !next.via[7] {
		t.Errorf("put back: %d links, %d prefixes", len(next.links), len(next.prefixes))
	}
}

// run runs a monitor until the test ends.
func run(t *testing.T, m *Monitor) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}
