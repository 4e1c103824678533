// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	gnmipb "github.com/openconfig/gnmi/proto/gnmi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"mcr/tests/lab"
)

// plain is where mcrd serves gNMI over TCP in these tests; a lab's loopback is its own.
const plain = "127.0.0.1:9339"

// startTCP starts mcrd with a TCP listener beside the unix socket.
func (b *bed) startTCP(rules ...obj) {
	b.t.Helper()
	b.d = b.rtr.MCRD(lab.MCRDConfig{Args: []string{"--insecure", "--listen", plain}})
	b.c = dial(b.t, b.d)
	b.c.must(b.c.setRules(rules...))
}

// dialTCP is a connection of a client on the router itself, and the socket below it.
func (b *bed) dialTCP() (*grpc.ClientConn, func() *net.TCPConn) {
	b.t.Helper()
	var mu sync.Mutex
	var tcp *net.TCPConn
	conn, err := grpc.NewClient("passthrough:///"+plain, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			var c net.Conn
			err := b.rtr.Do(func() (err error) { c, err = net.Dial("tcp4", plain); return err })
			if err != nil {
				return nil, err
			}
			mu.Lock()
			defer mu.Unlock()
			tcp = c.(*net.TCPConn)
			return c, nil
		}))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { conn.Close() })
	return conn, func() *net.TCPConn { mu.Lock(); defer mu.Unlock(); return tcp }
}

// held is what mcrd says that it holds.
type held struct{ goroutines, files uint64 }

func (b *bed) holds() held {
	const process = "mcr/system/process/state/"
	l := b.c.get(process)
	return held{l.num(process + "goroutines"), l.num(process + "open-files")}
}

// returns waits until mcrd holds no more than it did.
func (b *bed) returns(to held, within time.Duration, what string) time.Duration {
	b.t.Helper()
	began := time.Now()
	lab.Until(b.t, within, what, func() error {
		if n := descriptors(b.t, b.d); uint64(n) > to.files { // asked for at little cost
			return fmt.Errorf("%d descriptors, %d before", n, to.files)
		}
		if now := b.holds(); now.goroutines > to.goroutines || now.files > to.files {
			return fmt.Errorf("%+v, %+v before", now, to)
		}
		return nil
	})
	return time.Since(began)
}

// rest waits until what mcrd holds stands still.
func (b *bed) rest() (h held) {
	b.t.Helper()
	since := time.Now()
	lab.Until(b.t, patience, "goroutines and descriptors settle", func() error {
		if now := b.holds(); now != h {
			h, since = now, time.Now()
		}
		if time.Since(since) < 200*time.Millisecond {
			return fmt.Errorf("%+v since %v", h, time.Since(since))
		}
		return nil
	})
	return h
}

// A thousand clients come and go in every way that there is; nothing of them stays. G86.
func TestG86_ClientsThatGoLeaveNothing(t *testing.T) {
	t.Parallel()
	const rounds, warm = 1000, 200
	b := newBed(t)
	b.startTCP(ruleOn("r", "in", manyOutputs(3, nil)...))
	ways := []struct {
		name  string
		leave func()
	}{
		{"cancel", func() { b.visit(b.c.c, true)() }},
		{"connection_closed", func() {
			conn := b.d.Dial()
			end := b.visit(gnmipb.NewGNMIClient(conn), true)
			conn.Close()
			end()
		}},
		{"closed_before_the_data", func() {
			conn := b.d.Dial()
			end := b.visit(gnmipb.NewGNMIClient(conn), false)
			conn.Close()
			end()
		}},
		{"half_closed_then_cancelled", func() { b.halfClose()() }},
		{"reset", func() {
			conn, tcp := b.dialTCP()
			end := b.visit(gnmipb.NewGNMIClient(conn), true)
			if err := tcp().SetLinger(0); err != nil {
				t.Fatal(err)
			}
			tcp().Close() // with RST
			conn.Close()
			end()
		}},
	}
	for i := range warm {
		ways[i%len(ways)].leave()
	}
	before, memory, began := b.rest(), resident(t, b.d), time.Now()
	for i := range rounds {
		ways[i%len(ways)].leave()
	}
	took := time.Since(began)
	b.returns(before, patience, "goroutines and descriptors after 1,000 rounds")
	now := resident(t, b.d)
	t.Logf("%d rounds in %v: %d goroutines and %d descriptors before and after, %d kB resident before, %d after",
		rounds, took.Round(time.Millisecond), before.goroutines, before.files, memory, now)
	if now > memory+8<<10 {
		t.Errorf("memory grew from %d to %d kB", memory, now)
	}
	if rows := b.c.get("mcr/system/clients/client/state/id"); len(rows) > 1 {
		t.Errorf("clients that are gone are in the tree:\n%v", rows)
	}
}

// visit subscribes, waits for the data if it is to, and returns what ends it.
func (b *bed) visit(c gnmipb.GNMIClient, data bool) (end func()) {
	b.t.Helper()
	return b.open(c, data, false)
}

// halfClose subscribes and closes the client's side at once; the stream goes on.
func (b *bed) halfClose() (end func()) { b.t.Helper(); return b.open(b.c.c, true, true) }

func (b *bed) open(c gnmipb.GNMIClient, data, closeSend bool) (end func()) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	s, err := c.Subscribe(ctx)
	if err == nil {
		err = s.Send(onChange(gnmipb.Encoding_PROTO, "/"))
	}
	if err == nil && closeSend {
		err = s.CloseSend()
	}
	for err == nil && data {
		var m *gnmipb.SubscribeResponse
		if m, err = s.Recv(); m.GetSyncResponse() {
			break
		}
	}
	if err != nil {
		b.t.Fatalf("subscribe: %v", err)
	}
	return func() {
		cancel()
		for err == nil {
			_, err = s.Recv()
		}
	}
}

// A client whose machine is gone, so that nothing answers and nothing refuses, is found within a minute. G86, G125.
func TestG86_HalfOpenClientIsFound(t *testing.T) {
	t.Parallel()
	for name, busy := range map[string]bool{"idle": false, "with_changes": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			b.startTCP(ruleOn("r", "in", manyOutputs(3, nil)...))
			conn, _ := b.dialTCP() // whatever is made with the first client is made now
			b.visit(gnmipb.NewGNMIClient(conn), true)()
			conn.Close()
			before := b.rest()

			gone, tcp := b.dialTCP()
			b.visit(gnmipb.NewGNMIClient(gone), true)
			if now := b.holds(); now.files <= before.files || now.goroutines <= before.goroutines {
				t.Fatalf("the client is not there: %+v, %+v before", now, before)
			}
			unplug(t, tcp())
			if busy {
				stop := make(chan struct{})
				var wg sync.WaitGroup
				defer wg.Wait()
				defer close(stop)
				wg.Go(func() { b.c.keepChanging(stop) })
			}
			took := b.returns(before, time.Minute, "the client that is gone is found")
			t.Logf("found after %v", took.Round(time.Second))
		})
	}
}

// keepChanging makes a change each 100 ms.
func (c *client) keepChanging(stop <-chan struct{}) {
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-again.C:
			if err := c.update(rulePath("r")+"/config/description", strings.Repeat("x", 1+i%100)); err != nil {
				c.t.Errorf("change: %v", err)
				return
			}
		}
	}
}

// unplug makes a socket's kernel throw away all that comes in, with no answer, as a machine without power does.
func unplug(t *testing.T, c *net.TCPConn) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	nothing := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K} // 0 bytes of each segment
	err2 := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing})
	})
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
}
