// SPDX-License-Identifier: Apache-2.0

package gnmi

import (
	"context"
	"net"
	"net/netip"
	"os/user"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"

	"mcr/northbound/access"
)

// anonymous is the user of plaintext on loopback, which tells nothing about the other end.
const anonymous = "anonymous"

// peerInfo is what a connection tells about its other end.
type peerInfo struct {
	credentials.CommonAuthInfo
	access.Connection
	pid int32    // at the other end of a unix socket
	raw net.Conn // below TLS

	streams atomic.Int64 // Subscribe calls that run
}

// AuthType names the kind of information.
func (*peerInfo) AuthType() string { return "mcr" }

// peerOf returns what is known of the connection of a call; nil outside of one.
func peerOf(ctx context.Context) (*peerInfo, net.Addr) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, nil
	}
	info, _ := p.AuthInfo.(*peerInfo)
	return info, p.Addr
}

// handshake is the transport credentials of all listeners: the kernel's word at unix sockets; elsewhere TLS if there are
// certificates, and else nothing.
type handshake struct {
	tls credentials.TransportCredentials // nil: there is none
}

func newHandshake(a *access.Access) handshake {
	if a == nil {
		return handshake{}
	}
	c := a.TLS()
	if c == nil {
		return handshake{}
	}
	return handshake{credentials.NewTLS(c)}
}

func (h handshake) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if u, ok := c.(*net.UnixConn); ok {
		info, err := unixPeer(u)
		return c, info, err
	}
	if h.tls != nil {
		return h.secure(c)
	}
	info := &peerInfo{raw: c, CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}}
	info.Address, info.Trusted = addressOf(c), anonymous
	return c, info, nil
}

func (h handshake) secure(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, auth, err := h.tls.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	info := &peerInfo{raw: raw, CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}
	info.Address = addressOf(raw)
	if t, ok := auth.(credentials.TLSInfo); ok {
		info.Names = access.Names(&t.State)
	}
	return c, info, nil
}

// unixPeer asks the kernel who is at the other end.
func unixPeer(c *net.UnixConn) (*peerInfo, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var credErr error
	// SO_PEERCRED, unix(7): the credentials at the time of connect.
	if err := raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return nil, err
	}
	if credErr != nil {
		return nil, credErr
	}
	info := &peerInfo{raw: c, pid: cred.Pid, CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}
	info.Trusted = strconv.Itoa(int(cred.Uid))
	if named, err := user.LookupId(info.Trusted); err == nil {
		info.Trusted = named.Username
	}
	return info, nil
}

func addressOf(c net.Conn) netip.Addr {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

func (handshake) ClientHandshake(ctx context.Context, name string, c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return insecure.NewCredentials().ClientHandshake(ctx, name, c)
}

func (h handshake) Info() credentials.ProtocolInfo {
	if h.tls != nil {
		return h.tls.Info()
	}
	return credentials.ProtocolInfo{SecurityProtocol: "insecure"}
}

func (h handshake) Clone() credentials.TransportCredentials { return h }
func (handshake) OverrideServerName(string) error           { return nil }
