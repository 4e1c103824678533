// SPDX-License-Identifier: Apache-2.0

package mroute

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"mcr/dataplane/plan"
)

func everyPort() *Rule {
	r := twoOutputs()
	r.Port = 0
	for i, o := range r.Outputs {
		keep := *o
		keep.Port, keep.Interface = 0, "eth1"
		r.Outputs[i] = &keep
	}
	return r
}

func (g *rig) learnt(ports ...uint16) {
	var ev plan.Event
	for _, p := range ports {
		ev.Learnt = append(ev.Learnt, g.port(p))
	}
	g.dp.events <- ev
	synctest.Wait()
}

func (g *rig) port(p uint16) plan.PointKey {
	return plan.PointKey{IfIndex: 1, Group: netip.MustParseAddr("239.1.1.1"), Port: p}
}

// ports are the receive points of the running plan; 0 is the learner, and -1 a full one.
func (g *rig) ports() (ports []int) {
	g.dp.mu.Lock()
	defer g.dp.mu.Unlock()
	for _, p := range g.dp.running.Points {
		if p.Full {
			ports = append(ports, -1)
		} else {
			ports = append(ports, int(p.Port))
		}
	}
	return ports
}

// P1.8, Q1: ports that are learnt within 5 ms make one Plan; there are as many as the limit and the sockets allow; a silent one goes.
func TestP1_8_PortsAreLearntAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startRig(t, link(1, "eth0", "10.0.0.1"), link(2, "eth1", "10.1.0.1"))
		if err := g.set(everyPort()); err != nil {
			t.Fatal(err)
		}
		version := g.dp.version()
		g.learnt(5000, 5001)
		g.learnt(5002, 5000)
		g.want("before 5 ms", g.ports(), []int{0})
		time.Sleep(6 * time.Millisecond)
		synctest.Wait()
		g.want("after 5 ms", g.ports(), []int{0, 5000, 5001, 5002})
		g.want("plans", g.dp.version()-version, uint64(1))
		g.want("rule", g.rule("r").LearntPorts, 3)

		// Two outputs keep the port: a port takes 3 sockets, and a tenth of the limit stays for the configuration.
		g.dp.mu.Lock()
		g.dp.info = plan.Info{SocketLimit: 100, InputSockets: 40, OutputSockets: 44}
		g.dp.mu.Unlock()
		g.learnt(6000, 6001, 6002, 6003)
		time.Sleep(6 * time.Millisecond)
		synctest.Wait()
		g.want("no socket left", g.ports(), []int{-1, 5000, 5001, 5002, 6000, 6001})
		g.dp.mu.Lock()
		g.dp.info = plan.Info{SocketLimit: 100}
		g.dp.mu.Unlock()
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		g.want("sockets again", g.ports(), []int{0, 5000, 5001, 5002, 6000, 6001})

		var flood []uint16
		for p := range uint16(2000) {
			flood = append(flood, 10_000+p)
		}
		version = g.dp.version()
		g.learnt(flood[:500]...)
		g.learnt(flood[500:]...)
		time.Sleep(6 * time.Millisecond)
		synctest.Wait()
		g.dp.mu.Lock()
		g.dp.info = plan.Info{SocketLimit: 10_000}
		g.dp.mu.Unlock()
		g.learnt(flood...)
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		g.learnt(flood...)
		time.Sleep(6 * time.Millisecond)
		synctest.Wait()
		g.want("ports at the limit, and the learner", len(g.ports()), 65)
		if n := g.dp.version() - version; n > 5 {
			t.Errorf("a flood made %d Plans", n)
		}

		for range 250 {
			g.dp.mu.Lock()
			c := g.dp.points[g.port(5001)]
			c.Packets++
			g.dp.points[g.port(5001)] = c
			g.dp.mu.Unlock()
			time.Sleep(time.Second)
		}
		synctest.Wait()
		g.want("after silence but for one", g.ports(), []int{0, 5001})
	})
}

// The dataplane finds that another socket holds an address: packet takes its place, and gives it back.
func TestHeldAddressIsReceivedByPacket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startRig(t, link(1, "eth0", "10.0.0.1"), link(2, "eth1", "10.1.0.1"))
		g.dp.held = true
		if err := g.set(twoOutputs()); err != nil {
			t.Fatal(err)
		}
		method := func() string {
			st := g.rule("r")
			return fmt.Sprint(st.Method, ", ", st.MethodReason, ", ", st.Joined, ", ", g.dp.running.Points[0].Method)
		}
		g.want("held", method(), "packet, another socket holds the address, true, packet")
		version := g.dp.version()
		time.Sleep(100 * time.Second)
		synctest.Wait()
		g.want("still held", method(), "packet, another socket holds the address, true, packet")
		g.want("version after tries in vain", g.dp.version(), version)
		g.dp.mu.Lock()
		g.dp.held = false
		g.dp.mu.Unlock()
		time.Sleep(31 * time.Second)
		synctest.Wait()
		g.want("free again", method(), "socket, nothing keeps the datagrams from a socket, true, socket")
	})
}
