// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// fakeWireGuard answers with what it holds.
type fakeWireGuard struct {
	peers  []wgtypes.Peer
	err    error
	closed bool
}

func (f *fakeWireGuard) Device(string) (*wgtypes.Device, error) {
	if f.err != nil {
		return nil, f.err
	}
	return &wgtypes.Device{PrivateKey: wgtypes.Key{9}, Peers: f.peers}, nil
}

func (f *fakeWireGuard) Close() error {
	f.closed = true
	return nil
}

func ipNet(s string) net.IPNet {
	_, n, err := net.ParseCIDR(s)
	if err != nil {
		panic(err)
	}
	return *n
}

// P2.2: peers in one order, with what they are allowed in one order.
func TestP2_2_WireGuardPeers(t *testing.T) {
	f := &fakeWireGuard{peers: []wgtypes.Peer{
		{
			PublicKey: wgtypes.Key{2}, PresharedKey: wgtypes.Key{8}, Endpoint: &net.UDPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 51820},
			AllowedIPs: []net.IPNet{ipNet("10.6.0.0/16"), ipNet("fd00::2/128"), ipNet("10.5.0.2/32")},
		},
		{PublicKey: wgtypes.Key{1}},
	}}
	r := &peerReader{log: slog.New(slog.DiscardHandler), open: func() (wireguard, error) { return f, nil }}
	want := []Peer{
		{Key: wgtypes.Key{1}.String()},
		{
			Key: wgtypes.Key{2}.String(), Endpoint: netip.MustParseAddrPort("192.0.2.2:51820"),
			AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.5.0.2/32"), netip.MustParsePrefix("10.6.0.0/16"), netip.MustParsePrefix("fd00::2/128")},
		},
	}
	if diff := cmp.Diff(want, r.peers("wg0"), cmpopts.EquateComparable(netip.Prefix{}, netip.AddrPort{})); diff != "" {
		t.Errorf("peers (-want +got):\n%s", diff)
	}
}

// Without CAP_NET_ADMIN peers cannot be read: it is said once, and again after it worked.
func TestWireGuardWithoutLeaveIsSaidOnce(t *testing.T) {
	var out bytes.Buffer
	f := &fakeWireGuard{err: &net.OpError{Op: "netlink receive", Err: unix.EPERM}}
	r := &peerReader{log: slog.New(slog.NewTextHandler(&out, nil)), open: func() (wireguard, error) { return f, nil }}
	said := func(want int) {
		t.Helper()
		if n := strings.Count(out.String(), "WireGuard peers cannot be read"); n != want {
			t.Errorf("said %d times, want %d:\n%s", n, want, out.String())
		}
	}
	for range 3 {
		if p := r.peers("wg0"); p != nil {
			t.Errorf("peers: %v", p)
		}
	}
	said(1)
	if !strings.Contains(out.String(), "interface=wg0") || !strings.Contains(out.String(), "operation not permitted") {
		t.Errorf("it does not say what and why: %s", out.String())
	}
	f.err, f.peers = nil, []wgtypes.Peer{{PublicKey: wgtypes.Key{1}}}
	if len(r.peers("wg0")) != 1 {
		t.Error("no peers, now that they can be read")
	}
	f.err = unix.EPERM
	r.peers("wg0")
	said(2)
}

// A module that was loaded anew has another family number, and says that there is no such thing.
func TestWireGuardIsOpenedAnew(t *testing.T) {
	stale := &fakeWireGuard{err: os.ErrNotExist}
	fresh := &fakeWireGuard{peers: []wgtypes.Peer{{PublicKey: wgtypes.Key{1}}}}
	next := []wireguard{stale, fresh}
	r := &peerReader{log: slog.New(slog.DiscardHandler), open: func() (wireguard, error) {
		if len(next) == 0 {
			return nil, errors.New("opened too often")
		}
		w := next[0]
		next = next[1:]
		return w, nil
	}}
	if p := r.peers("wg0"); len(p) != 1 || !stale.closed {
		t.Errorf("peers: %v; the stale one is closed: %v", p, stale.closed)
	}
	r.close()
	if !fresh.closed {
		t.Error("it stays open")
	}
	if p := r.peers("wg0"); p != nil { // cannot be opened at all
		t.Errorf("peers: %v", p)
	}
}
