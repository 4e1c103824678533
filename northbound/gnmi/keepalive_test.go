// SPDX-License-Identifier: Apache-2.0

package gnmi_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gpb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/test/bufconn"

	"mcr/northbound/gnmi"
)

// mutable is a connection whose cable can be pulled: nothing that is written arrives, and nothing is to be read.
type mutable struct {
	net.Conn
	mute   atomic.Bool
	closed chan struct{}
}

func (m *mutable) Write(b []byte) (int, error) {
	if m.mute.Load() {
		return len(b), nil
	}
	return m.Conn.Write(b)
}

func (m *mutable) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	if m.mute.Load() {
		<-m.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (m *mutable) Close() error {
	select {
	case <-m.closed:
	default:
		close(m.closed)
	}
	return m.Conn.Close()
}

// bubble runs f in a bubble of fake time, with a stream that has had its sync and the connection that it runs on.
func bubble(t *testing.T, f func(t *testing.T, tg *target, s gpb.GNMI_SubscribeClient, c *mutable)) {
	t.Helper()
	if _, err := loadSchema(); err != nil { // outside, since others use it too
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		tg := &target{tree: newTree(t)}
		tg.server = gnmi.New(gnmi.Config{Tree: tg.tree})
		l := bufconn.Listen(1 << 20)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- tg.server.Serve(ctx, l) }()
		var conn *mutable
		client, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, PermitWithoutStream: true}),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
				c, err := l.DialContext(ctx)
				conn = &mutable{Conn: c, closed: make(chan struct{})}
				return conn, err
			}))
		if err != nil {
			t.Fatal(err)
		}
		stream, err := gpb.NewGNMIClient(client).Subscribe(ctx)
		if err == nil {
			err = stream.Send(list(gpb.SubscriptionList_STREAM, gpb.SubscriptionMode_ON_CHANGE, ruleCfg))
		}
		if err != nil {
			t.Fatal(err)
		}
		untilSync(t, stream)
		f(t, tg, stream, conn)
		cancel()
		_ = client.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A client may ping each ten seconds, and a stream on which nothing happens for hours stays up.
func TestG125IdleStreamStaysUp(t *testing.T) {
	bubble(t, func(t *testing.T, tg *target, s gpb.GNMI_SubscribeClient, _ *mutable) {
		time.Sleep(5 * time.Hour)
		apply(t, tg.tree, rule("r1", "second"))
		if m, err := s.Recv(); err != nil || len(m.GetUpdate().GetUpdate()) != 1 {
			t.Errorf("%v %v", m, err)
		}
	})
}

// A client whose cable was pulled is gone within a minute.
func TestG125DeadPeerIsFound(t *testing.T) {
	bubble(t, func(t *testing.T, tg *target, _ gpb.GNMI_SubscribeClient, c *mutable) {
		if n := tg.server.Clients(); n != 1 {
			t.Fatalf("%d clients", n)
		}
		c.mute.Store(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := tg.server.Clients(); n != 0 {
			t.Errorf("%d clients", n)
		}
	})
}
