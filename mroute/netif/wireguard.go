// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"

	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// peerReader reads the peers of WireGuard interfaces, which rtnetlink does not tell: they come from the generic netlink
// family "wireguard" (Linux 5.6, CAP_NET_ADMIN). It sends no notices, so that a peer added to a standing interface is
// found with the route that leads to it, which wg-quick makes as well, or by the audit. The answer holds the keys of the
// interface too; only public ones are kept. One goroutine may use it at a time.
type peerReader struct {
	log    *slog.Logger
	open   func() (wireguard, error)
	client wireguard // nil: not open. It is opened for the first interface, since that loads the kernel's module.
	told   bool      // that peers cannot be read
}

// wireguard is what is used of wgctrl.
type wireguard interface {
	Device(name string) (*wgtypes.Device, error)
	Close() error
}

func newPeerReader(log *slog.Logger) *peerReader {
	return &peerReader{log: log, open: func() (wireguard, error) { return wgctrl.New() }}
}

// peers returns the peers of an interface; nil where they cannot be read, which is told once.
func (r *peerReader) peers(name string) []Peer {
	d, err := r.device(name)
	switch {
	case errors.Is(err, os.ErrNotExist): // it went, of which there will be a notice
		return nil
	case err != nil:
		if !r.told {
			r.told = true
			r.log.Warn("WireGuard peers cannot be read, so they give no endpoints", "interface", name, "err", err)
		}
		return nil
	}
	r.told = false
	return newPeers(d.Peers)
}

// device asks again where the module was loaded anew, under another number.
func (r *peerReader) device(name string) (d *wgtypes.Device, err error) {
	for range 2 {
		if r.client == nil {
			if r.client, err = r.open(); err != nil {
				r.client = nil
				return nil, err
			}
		}
		switch d, err = r.client.Device(name); {
		case err == nil:
			return d, nil
		case errors.Is(err, os.ErrPermission):
			return nil, fmt.Errorf("it takes CAP_NET_ADMIN: %w", err)
		}
		r.close()
	}
	return nil, err
}

func (r *peerReader) close() {
	if r.client != nil {
		_ = r.client.Close()
		r.client = nil
	}
}

func newPeers(peers []wgtypes.Peer) []Peer {
	var out []Peer
	for _, p := range peers {
		is := Peer{Key: p.PublicKey.String(), AllowedIPs: newPrefixes(p.AllowedIPs)}
		if p.Endpoint != nil {
			e := p.Endpoint.AddrPort()
			is.Endpoint = netip.AddrPortFrom(e.Addr().Unmap(), e.Port())
		}
		out = append(out, is)
	}
	slices.SortFunc(out, func(a, b Peer) int { return cmp.Compare(a.Key, b.Key) })
	return out
}

// newPrefixes returns them in ascending order. What is no prefix is left out.
func newPrefixes(nets []net.IPNet) []netip.Prefix {
	var out []netip.Prefix
	for _, n := range nets {
		a, ok := netip.AddrFromSlice(n.IP)
		bits, size := n.Mask.Size()
		if a = a.Unmap(); ok && size == a.BitLen() {
			out = append(out, netip.PrefixFrom(a, bits))
		}
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	return out
}
